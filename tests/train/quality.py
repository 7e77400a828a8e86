"""How good the trainer's trees are: against LightGBM's and scikit-learn's HistGradientBoosting on the same rows, with the
same rate, leaves and rows to stop by.

`quality.py TRAINER OUT.jsonl [SEEDS]`: for every data set and seed, rows are shuffled, the last fifth is judged, of the others the
last 15 % stop the rounds. Writes a line for each; `quality.py table OUT.jsonl` prints, for each data set, the mean relative
difference of the loss (log loss, or RMSE) with its 95 % interval over seeds; below 0 the trainer is better.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np

RATE, LEAVES, ROUNDS, PATIENCE = 0.05, 31, 1000, 50


def synthetic(kind, rows):
    """Rows with missing values, categories of many kinds and columns that say nothing."""
    random = np.random.default_rng(11)
    a, b, c = random.normal(size=rows), random.uniform(size=rows), random.exponential(size=rows)
    noise = random.normal(size=(rows, 4))
    city = random.zipf(1.5, rows) % 60
    effect = random.normal(size=60)[city]
    plan = random.integers(0, 4, rows)
    score = np.sin(2 * a) + b * (plan - 1.5) + effect + 0.3 * np.log1p(c) * (plan == 2)
    gone = random.uniform(size=rows) < 0.15
    columns = {"a": np.where(gone, np.nan, a), "b": b, "c": c}
    columns |= {f"n{i}": noise[:, i] for i in range(4)}
    columns |= {"city": np.array([f"c{v}" for v in city], dtype=object), "plan": np.array([f"p{v}" for v in plan], dtype=object)}
    if kind == "value":
        return columns, score + random.normal(size=rows) * 0.5, "value"
    if kind == "two":
        return columns, (random.uniform(size=rows) < 1 / (1 + np.exp(-2 * score))).astype(int), "class"
    return columns, np.digitize(score + random.logistic(size=rows) * 0.4, [-1, 0, 1]), "class"


def shipped(name):
    from sklearn import datasets

    data = getattr(datasets, f"load_{name}")()
    columns = {f"x{i}": data.data[:, i] for i in range(data.data.shape[1])}
    return columns, data.target, "value" if name == "diabetes" else "class"


def statsmodels(name):
    import statsmodels.api as sm

    if name == "fair":
        data = sm.datasets.fair.load_pandas().data
        y = (data.pop("affairs") > 0).astype(int).to_numpy()
        return {k: data[k].to_numpy() for k in data}, y, "class"
    if name == "star98":
        data = sm.datasets.star98.load_pandas().data
        y = (data.pop("NABOVE") / (data.pop("NBELOW") + 1)).to_numpy()
        return {k: data[k].to_numpy() for k in data}, np.log1p(y), "value"
    data = sm.datasets.anes96.load_pandas().data
    y = data.pop("vote").to_numpy().astype(int)
    return {k: data[k].to_numpy() for k in data}, y, "class"


DATA = {
    "breast_cancer": lambda: shipped("breast_cancer"),
    "digits": lambda: shipped("digits"),
    "diabetes": lambda: shipped("diabetes"),
    "wine": lambda: shipped("wine"),
    "fair": lambda: statsmodels("fair"),
    "anes96": lambda: statsmodels("anes96"),
    "star98": lambda: statsmodels("star98"),
    "synthetic_value": lambda: synthetic("value", 20000),
    "synthetic_two": lambda: synthetic("two", 20000),
    "synthetic_four": lambda: synthetic("four", 20000),
}


def loss(y, answers):
    if answers.ndim == 1:
        return float(np.sqrt(((y - answers) ** 2).mean()))
    return float(-np.log(np.clip(answers[np.arange(len(y)), y], 1e-7, 1)).mean())


def others(columns, y, kind, parts):
    import lightgbm
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    frame = pd.DataFrame({k: pd.Categorical(v) if v.dtype == object else v.astype(np.float32) for k, v in columns.items()})
    train, stop, test = (frame.iloc[p] for p in parts)
    answer = (lambda m: m.predict(test)) if kind == "value" else (lambda m: m.predict_proba(test))
    pick = lightgbm.LGBMRegressor if kind == "value" else lightgbm.LGBMClassifier
    model = pick(n_estimators=ROUNDS, learning_rate=RATE, num_leaves=LEAVES, verbose=-1, n_jobs=2, seed=7)
    model.fit(train, y[parts[0]], eval_set=[(stop, y[parts[1]])], callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)])
    found = {"lightgbm": loss(y[parts[2]], answer(model))}
    pick = HistGradientBoostingRegressor if kind == "value" else HistGradientBoostingClassifier
    model = pick(max_iter=ROUNDS, learning_rate=RATE, max_leaf_nodes=LEAVES, early_stopping=True, n_iter_no_change=PATIENCE,
                 categorical_features="from_dtype", tol=0, random_state=7)
    model.fit(train, y[parts[0]], X_val=stop, y_val=y[parts[1]])
    return found | {"histgradientboosting": loss(y[parts[2]], answer(model))}


def ours(trainer, columns, y, kind, order):
    with tempfile.TemporaryDirectory() as folder:
        with open(Path(folder) / "rows.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["t", *columns, "y"])
            text = lambda v: v if isinstance(v, str) else "" if np.isnan(v) else repr(float(v))
            table.writerows([i, *(text(v[at]) for v in columns.values()), y[at]] for i, at in enumerate(order))
        task = "regression" if kind == "value" else "classification"
        Path(folder, "train.toml").write_text(
            f'[model]\nname = "m"\n[data]\nrows_min = 10\nduplicates_max = 1.0\nleak_max = 1.0\n[data.sources]\nrows = "rows.csv"\n[schema]\ntarget = "y"\n'
            f'time = "t"\ntask = "{task}"\n[fit.trees]\nlearning_rate = {RATE}\nleaves_max = {LEAVES}\n'
            f'rounds_max = {ROUNDS}\npatience = {PATIENCE}\n[publish]\npolicy = "manual"\n'
        )
        run = [trainer, "run", f"{folder}/train.toml", "--registry", f"file://{folder}/registry", "--json"]
        said = subprocess.run(run, capture_output=True, text=True)
        assert said.returncode == 0, said.stderr + said.stdout
        metrics = json.loads(said.stdout)["record"]["metrics"]
        return metrics["rmse" if kind == "value" else "log_loss"]


def measure(trainer, out, seeds):
    for name, load in DATA.items():
        columns, y, kind = load()
        n = len(y)
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(n)
            at = int(np.floor(n * (1 - 0.2)))
            known = int(np.floor(at * (1 - 0.15)))
            parts = order[:known], order[known:at], order[at:]
            found = {"data": name, "rows": n, "seed": seed, "ortus": ours(trainer, columns, y, kind, order)}
            found |= others(columns, y, kind, parts)
            with open(out, "a") as file:
                file.write(json.dumps(found) + "\n")


def table(path):
    rows = [json.loads(line) for line in open(path)]
    for name in dict.fromkeys(r["data"] for r in rows):
        own = [r for r in rows if r["data"] == name]
        cells = [f"{name:16} {own[0]['rows']:6} rows {len(own):3} seeds  loss {np.mean([r['ortus'] for r in own]):.5f}"]
        for other in ("lightgbm", "histgradientboosting"):
            apart = np.array([r["ortus"] - r[other] for r in own]) / np.mean([r[other] for r in own])
            half = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
            cells.append(f"{other} {apart.mean():+.2%} ± {half:.2%}")
        print("  ".join(cells))


if sys.argv[1] == "table":
    table(sys.argv[2])
else:
    measure(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10)
