"""A model that answers a value, with a companion that says how large its errors are likely to be.

`make FOLDER`: writes `model.onnx`, `companion.onnx`, `reference.csv` with the true value in `label`, and `analysis.csv`,
rows of a harder kind, with it too. Both models are trained on rows of their own; the noise grows with the third column.

`estimate FOLDER`: prints, of the rows of the analysis, the mean of what the companion answers through ONNX Runtime, and
the mean absolute error of the model.
"""

import csv
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np

FOLDER = Path(sys.argv[2])


def rows(random, count, harder):
    x = random.uniform(0, 1, (count, 3))
    if harder:
        x[:, 2] = np.sqrt(x[:, 2])
    return x.astype(np.float32), 3 * x[:, 0] + np.sin(6 * x[:, 1]) + random.normal(0, 0.05 + 1.5 * x[:, 2] ** 2, count)


def make():
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import GradientBoostingRegressor

    random = np.random.default_rng(7)
    fit = lambda x, y: GradientBoostingRegressor(n_estimators=60, max_depth=4, random_state=7).fit(x, y)
    x, y = rows(random, 6000, False)
    model = fit(x, y)
    x, y = rows(random, 6000, False)
    companion = fit(x, np.abs(y - model.predict(x)))
    for name, fitted in (("model", model), ("companion", companion)):
        graph = to_onnx(fitted, initial_types=[("x", FloatTensorType([None, 3]))], target_opset={"": 18, "ai.onnx.ml": 3})
        (FOLDER / f"{name}.onnx").write_bytes(graph.SerializeToString())
    for name, harder in (("reference", False), ("analysis", True)):
        x, y = rows(random, 3000, harder)
        with open(FOLDER / f"{name}.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["a", "b", "c", "label"])
            table.writerows([repr(float(v)) for v in row] + [repr(float(label))] for row, label in zip(x, y))


def estimate():
    import onnxruntime

    with open(FOLDER / "analysis.csv") as file:
        table = np.array([[float(v) for v in row] for row in list(csv.reader(file))[1:]])
    x, y = table[:, :3].astype(np.float32), table[:, 3]
    run = lambda name: onnxruntime.InferenceSession(FOLDER / f"{name}.onnx").run(None, {"x": x})[0][:, 0]
    answers = run("model").astype(np.float64)
    print(json.dumps({"expected": float(run("companion").astype(np.float64).mean()), "real": float(np.abs(y - answers).mean())}))


{"make": make, "estimate": estimate}[sys.argv[1]]()
