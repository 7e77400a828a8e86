"""What scikit-learn makes of the same labelled rows: reads {"scores": [[…], …], "labels": […]} and, for values,
{"values": […], "labels": […]}; prints every measure as JSON, by the definitions of docs/monitoring.md."""

import json
import sys

import numpy as np
from sklearn import metrics as m


def ece(scores, labels):
    top = scores.max(axis=1)
    hit = scores.argmax(axis=1) == labels
    part = np.clip(np.ceil(top * 10), 1, 10)
    return float(sum(abs(top[part == b].sum() - hit[part == b].sum()) for b in range(1, 11)) / len(labels))


def classes(scores, labels):
    decided = scores.argmax(axis=1)
    two = scores.shape[1] == 2
    average = "binary" if two else "macro"
    onehot = np.eye(scores.shape[1])[labels]
    area = [m.roc_auc_score(onehot[:, c], scores[:, c]) for c in ([1] if two else range(scores.shape[1]))]
    precision = [m.average_precision_score(onehot[:, c], scores[:, c]) for c in ([1] if two else range(scores.shape[1]))]
    squares = (scores - onehot) ** 2
    return {
        "accuracy": m.accuracy_score(labels, decided),
        "precision": m.precision_score(labels, decided, average=average, zero_division=0),
        "recall": m.recall_score(labels, decided, average=average, zero_division=0),
        "f1": m.f1_score(labels, decided, average=average, zero_division=0),
        "auc": float(np.mean(area)),
        "average_precision": float(np.mean(precision)),
        "log_loss": float(-np.log(np.clip(scores[np.arange(len(labels)), labels], 1e-15, 1 - 1e-15)).mean()),
        "brier": float((squares[:, 1] if two else squares.sum(axis=1)).mean()),
        "ece": ece(scores, labels),
    }


def values(found, labels):
    return {
        "mae": m.mean_absolute_error(labels, found),
        "rmse": m.mean_squared_error(labels, found) ** 0.5,
        "bias": float((found - labels).mean()),
        "r2": m.r2_score(labels, found),
        "quantile_loss_10": m.mean_pinball_loss(labels, found, alpha=0.1),
        "quantile_loss_90": m.mean_pinball_loss(labels, found, alpha=0.9),
    }


given = json.load(sys.stdin)
if "scores" in given:
    print(json.dumps(classes(np.array(given["scores"]), np.array(given["labels"]))))
else:
    print(json.dumps(values(np.array(given["values"]), np.array(given["labels"]))))
