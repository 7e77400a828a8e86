"""What scikit-learn makes of the same rows as the trainer's linear models.

`make FOLDER`: tables of numbers with a value, two classes, three classes.
`check FOLDER`: holds every exported graph to ONNX's checker, and the answers of the linear ones to those of scikit-learn
with the same penalty, fitted to the first four fifths of the rows by their time.
"""

import csv
import os
import sys
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np

FOLDER = Path(sys.argv[2])
COLUMNS = 6


def make():
    random = np.random.default_rng(7)
    x = random.normal(0, [1, 10, 0.1, 1, 5, 100], (3000, COLUMNS)) + [0, 5, 1, -3, 100, 0]
    x = x.astype(np.float32).astype(float)
    z = (x - x.mean(0)) / x.std(0)
    score = z @ [1, -2, 0.5, 0, 1.5, -1]
    targets = {
        "values": 10 + 3 * score + random.normal(0, 1, len(x)),
        "two": np.where(random.uniform(size=len(x)) < 1 / (1 + np.exp(-score)), "yes", "no"),
        "three": np.array(["a", "b", "c"])[np.digitize(score + random.logistic(size=len(x)), [-1.5, 1.5])],
    }
    for name, y in targets.items():
        with open(FOLDER / f"{name}.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["t"] + [f"x{i}" for i in range(COLUMNS)] + ["y"])
            table.writerows([i, *(repr(float(v)) for v in row), label] for i, (row, label) in enumerate(zip(x, y)))


def check():
    import onnx
    import onnxruntime
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.preprocessing import StandardScaler

    for name in ("values", "two", "three"):
        for algorithm in ("linear", "trees"):
            path = FOLDER / f"{name}-{algorithm}" / "model.onnx"
            onnx.checker.check_model(str(path), full_check=True)
        with open(FOLDER / f"{name}.csv") as file:
            rows = list(csv.reader(file))[1:]
        x = np.array([[float(v) for v in row[1:-1]] for row in rows], dtype=np.float32)
        y = np.array([row[-1] for row in rows])
        session = onnxruntime.InferenceSession(FOLDER / f"{name}-linear" / "model.onnx")
        answers = session.run(None, {f"x{i}": x[:, i : i + 1] for i in range(COLUMNS)})[-1]
        # It is judged by the last fifth in time.
        chosen = np.arange(len(x) * 4 // 5)
        known = x[chosen].astype(float)
        scale = StandardScaler().fit(known)
        if name == "values":
            model = Ridge(alpha=0.5).fit(scale.transform(known), y[chosen].astype(float))
            expected = model.predict(scale.transform(x.astype(float)))[:, None]
        else:
            model = LogisticRegression(C=2.0, tol=1e-10, max_iter=10000).fit(scale.transform(known), y[chosen])
            expected = model.predict_proba(scale.transform(x.astype(float)))
        worst = np.abs(answers - expected).max() / max(1.0, np.abs(expected).max())
        print(f"{name}: {worst:.2e} apart")
        assert worst < 1e-3, name
    print("all the same")


{"make": make, "check": check}[sys.argv[1]]()
