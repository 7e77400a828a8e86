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


def area(edges, x, y):
    """The area between the distribution functions, as the sum over cells of the area's absolute value.

    Within a cell the area follows from the shares up to its ends and the sum of its values.
    """
    total = 0.0
    ends = np.concatenate([[-np.inf], edges, [np.inf]])
    for low, high in zip(ends[:-1], ends[1:]):
        of = []
        for values in (x, y):
            inside = values[(values > low) & (values <= high)]
            if np.isinf(high):
                of.append(-np.sum(inside - low) / len(values))
            else:
                above_low = 0.0 if np.isinf(low) else low * np.mean(values <= low)
                of.append(high * np.mean(values <= high) - above_low - np.sum(inside) / len(values))
        total += abs(of[0] - of[1])
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
    scale = iqr if iqr > 0 else np.std(x)
    mass = np.maximum(p[1:-1] / len(y), q[1:-1] / len(x))
    exact = float(wasserstein_distance(y, x)) / scale
    share = lambda values: sum(v == "" for v in values) / len(values)
    return {
        "binned": {
            "ks": float(np.max(np.abs(d))),
            "wasserstein": area(edges, x, y) / scale,
            "psi": psi,
            "js": js,
            "missing": abs(share(after) - share(before)),
        },
        "exact": {
            "ks": float(ks_2samp(y, x).statistic),
            "wasserstein": exact,
        },
        "bound": {"ks": float(np.max(mass)), "wasserstein": 0.05 * exact + 0.001},
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
