"""Real rows for the breast-cancer model: those it was trained on, and then the larger half of all tumours, as a
hospital that is sent the hard cases would see them. Writes two tables: the features in the model's order, and
`malignant` as the model has it (its class 1 is benign)."""

import csv
import sys

import numpy as np
from sklearn.datasets import load_breast_cancer

rows = load_breast_cancer()
names = [name.replace(" ", "_") for name in rows.feature_names]
large = rows.data[:, 0] > np.median(rows.data[:, 0])


def write(path, chosen):
    with open(path, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(names + ["benign"])
        for x, y in zip(rows.data[chosen], rows.target[chosen]):
            table.writerow([repr(float(np.float32(v))) for v in x] + [int(y)])


write(sys.argv[1], np.ones(len(large), dtype=bool))
write(sys.argv[2], large)
