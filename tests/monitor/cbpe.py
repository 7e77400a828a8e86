"""What performance to expect of scores without labels: the reference for Ortus's estimate.

`make DATASET REFERENCE ANALYSIS`: two tables of a data set that scikit-learn brings, with noise, so that there are enough
rows; those of the analysis are of the larger half of the first column. The reference has the true class in `label`.

`estimate`: reads {"reference": scores, "labels": classes, "analysis": scores}, prints the measures as JSON: each class's
scores calibrated by isotonic regression on the reference, together one, and summed up as CBPE defines it. With
`estimate nannyml`, what NannyML itself says of the same scores.
"""

import csv
import json
import sys

import numpy as np


def make(name, reference, analysis):
    from sklearn import datasets

    data = {"breast-cancer": datasets.load_breast_cancer, "wine": datasets.load_wine}[name]()
    random = np.random.default_rng(7)

    def write(path, chosen, rows, labelled):
        at = random.choice(np.flatnonzero(chosen), rows)
        x = data.data[at] + random.normal(0, 0.6, (rows, data.data.shape[1])) * data.data.std(axis=0)
        with open(path, "w", newline="") as file:
            table = csv.writer(file)
            table.writerow([f"f{i}" for i in range(x.shape[1])] + (["label"] if labelled else []))
            for row, label in zip(x.astype(np.float32), data.target[at]):
                table.writerow([repr(float(v)) for v in row] + ([int(label)] if labelled else []))

    write(reference, np.ones(len(data.data), dtype=bool), 6000, True)
    write(analysis, data.data[:, 0] > np.median(data.data[:, 0]), 2000, False)


def area(scores, weights):
    """The area under the curve where each row is of the class with this chance; ties count half."""
    order = np.argsort(scores, kind="stable")
    s, w = scores[order], weights[order]
    _, first, inverse = np.unique(s, return_index=True, return_inverse=True)
    pos, neg = np.bincount(inverse, w), np.bincount(inverse, 1 - w)
    below = np.concatenate([[0], np.cumsum(neg)[:-1]])
    return float((pos * (below + neg / 2)).sum() / (pos.sum() * neg.sum()))


def summed(scores, shares):
    decided = scores.argmax(axis=1)
    classes = [1] if scores.shape[1] == 2 else range(scores.shape[1])
    precision, recall, f1, auc = [], [], [], []
    for c in classes:
        p, is_c = shares[:, c], decided == c
        right, wrong, missed = p[is_c].sum(), (1 - p[is_c]).sum(), p[~is_c].sum()
        precision.append(right / (right + wrong))
        recall.append(right / (right + missed))
        f1.append(2 * right / (2 * right + wrong + missed))
        auc.append(area(scores[:, c], p))
    accuracy = shares[np.arange(len(shares)), decided].mean()
    values = {"precision": precision, "recall": recall, "f1": f1, "auc": auc}
    return {"accuracy": float(accuracy)} | {k: float(np.mean(v)) for k, v in values.items()}


def estimate(given):
    from sklearn.isotonic import IsotonicRegression

    reference, labels, analysis = (np.array(given[k]) for k in ("reference", "labels", "analysis"))
    shares = np.zeros_like(analysis)
    two = analysis.shape[1] == 2
    for c in [1] if two else range(analysis.shape[1]):
        curve = IsotonicRegression(out_of_bounds="clip").fit(reference[:, c], labels == c)
        shares[:, c] = curve.predict(analysis[:, c])
    if two:
        shares[:, 0] = 1 - shares[:, 1]
    return summed(analysis, shares / shares.sum(axis=1, keepdims=True))


def nannyml(given):
    import os

    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
    import pandas as pd
    from nannyml import CBPE

    reference, labels, analysis = (np.array(given[k]) for k in ("reference", "labels", "analysis"))
    two = reference.shape[1] == 2

    def frame(scores):
        table = pd.DataFrame({f"p{c}": scores[:, c] for c in range(scores.shape[1])})
        return table.assign(y_pred=scores.argmax(axis=1))

    names = ["accuracy", "precision", "recall", "f1", "roc_auc"]
    estimator = CBPE(
        y_pred_proba="p1" if two else {c: f"p{c}" for c in range(reference.shape[1])},
        y_pred="y_pred",
        y_true="y_true",
        metrics=names,
        chunk_size=len(analysis),
        problem_type="classification_binary" if two else "classification_multiclass",
    )
    estimator.fit(frame(reference).assign(y_true=labels))
    found = estimator.estimate(frame(analysis)).filter(period="analysis").to_df()
    value = lambda name: float(found[(name, "value")].iloc[0])
    return {("auc" if name == "roc_auc" else name): value(name) for name in names}


if sys.argv[1] == "make":
    make(*sys.argv[2:5])
else:
    given = json.load(sys.stdin)
    print(json.dumps(nannyml(given) if sys.argv[2:] == ["nannyml"] else estimate(given)))
