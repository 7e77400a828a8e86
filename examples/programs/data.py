"""Writes the rows that the examples learn from: `tumours.csv` and `diabetes.csv`, from scikit-learn's own data.

    python examples/programs/data.py
"""

import csv
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes

FOLDER = Path(__file__).resolve().parent


def write(name, header, rows):
    with open(FOLDER / name, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


tumours = load_breast_cancer()
columns = [str(name).replace(" ", "_") for name in tumours.feature_names[:10]]
texture = np.digitize(tumours.data[:, 1], [17.0, 20.0])
rows = []
for row, (values, kind) in enumerate(zip(tumours.data[:, :10], tumours.target)):
    cells = [f"{value:.6g}" for value in values]
    # Some are missing, as they are in life.
    if row % 11 == 3:
        cells[4] = ""
    cells[1] = ["fine", "middling", "coarse"][texture[row]]
    rows.append([*cells, "benign" if kind else "malignant"])
write("tumours.csv", [*columns, "diagnosis"], rows)

diabetes = load_diabetes(scaled=False)
write("diabetes.csv", [*diabetes.feature_names, "progression"], [[*x, y] for x, y in zip(diabetes.data.tolist(), diabetes.target)])
