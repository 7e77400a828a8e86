"""What NumPy and SciPy make of the same rows: reads two tables and a baseline, prints every metric as JSON.

`binned`: the metric as it is defined on the baseline's cells, from raw values, by NumPy alone.
`exact`: SciPy on the raw values, without cells; `bound`: how far cells may move it.
"""

import csv
import json
import math
import sys

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance


def read(path):
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows] for name in rows[0]}


def area(x, d):
    """The area under |d|, straight between the points x, split where it crosses zero."""
    total = 0.0
    for x0, x1, d0, d1 in zip(x[:-1], x[1:], d[:-1], d[1:]):
        if d0 * d1 < 0:
            middle = x0 + (x1 - x0) * d0 / (d0 - d1)
            total += abs(d0) * (middle - x0) / 2 + abs(d1) * (x1 - middle) / 2
        else:
            total += (abs(d0) + abs(d1)) / 2 * (x1 - x0)
    return total


def cells(p, q):
    """PSI less its mean by chance, and the Jensen-Shannon distance, of counts."""
    used = (p + q) > 0
    a, b = p[used] + 0.5, q[used] + 0.5
    a, b = a / a.sum(), b / b.sum()
    chance = (used.sum() - 1) * (1 / p.sum() + 1 / q.sum())
    psi = max(0.0, float(np.sum((a - b) * np.log(a / b))) - chance)
    return psi, float(jensenshannon(p / p.sum(), q / q.sum(), base=2))


def numbers(column, before, after):
    held = column["values"]["numbers"]
    edges = np.array(held["edges"])
    x = np.array([float(np.float32(v)) for v in before if v != ""])
    y = np.array([float(np.float32(v)) for v in after if v != ""])
    p = np.bincount(np.searchsorted(edges, y, side="left"), minlength=len(edges) + 1).astype(float)
    q = np.bincount(np.searchsorted(edges, x, side="left"), minlength=len(edges) + 1).astype(float)
    d = np.array([np.mean(y <= e) - np.mean(x <= e) for e in edges])
    psi, js = cells(p, q)
    iqr = np.quantile(x, 0.75) - np.quantile(x, 0.25)
    at = np.concatenate([[min(y.min(), edges[0])], edges, [max(y.max(), edges[-1])]])
    width = np.diff(edges)
    mass = np.maximum(p[1:-1] / len(y), q[1:-1] / len(x))
    beyond = p[0] / len(y) * max(0.0, edges[0] - y.min()) + p[-1] / len(y) * max(0.0, y.max() - edges[-1])
    share = lambda values: sum(v == "" for v in values) / len(values)
    return {
        "binned": {
            "ks": float(np.max(np.abs(d))),
            "wasserstein": area(at, np.concatenate([[0.0], d, [0.0]])) / iqr,
            "psi": psi,
            "js": js,
            "missing": abs(share(after) - share(before)),
        },
        "exact": {
            "ks": float(ks_2samp(y, x).statistic),
            "wasserstein": float(wasserstein_distance(y, x)) / iqr,
        },
        "bound": {"ks": float(np.max(mass)), "wasserstein": (float(np.sum(width * mass)) + beyond) / iqr},
    }


def words(column, before, after):
    held = column["values"]["words"]
    known = [word for word, _ in held["words"]]
    counts = lambda values: np.array(
        [sum(v == w for v in values) for w in known]
        + [sum(v in held.get("others", []) for v in values)]
        + [sum(v != "" and v not in known and v not in held.get("others", []) for v in values)],
        dtype=float,
    )
    p, q = counts(after), counts(before)
    psi, js = cells(p, q)
    share = lambda values: sum(v == "" for v in values) / len(values)
    largest = float(np.max(np.abs(p / p.sum() - q / q.sum())))
    missing = abs(share(after) - share(before))
    return {"binned": {"psi": psi, "js": js, "largest": largest, "missing": missing}, "exact": {}, "bound": {}}


before, after = read(sys.argv[1]), read(sys.argv[2])
with open(sys.argv[3]) as file:
    baseline = json.load(file)
found = {}
for column in baseline["inputs"]:
    measure = numbers if "numbers" in column["values"] else words
    found[column["name"]] = measure(column, before[column["name"]], after[column["name"]])
assert not any(math.isnan(v) for c in found.values() for v in c["binned"].values())
json.dump(found, sys.stdout)
