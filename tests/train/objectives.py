"""How good the trainer's objectives are: Poisson, Tweedie, quantiles, LambdaRank and monotone features against LightGBM's on the
same rows, with the same rate, leaves and rows to stop by.

`objectives.py TRAINER OUT.jsonl [SEEDS [ROWS [CASE …]]]`: for every case and seed, rows (queries, for rankings) are shuffled, the last fifth is
judged, of the others the last 15 % stop the rounds. Writes a line for each; `objectives.py table OUT.jsonl` prints, for each case, the
mean relative difference of the loss with its 95 % interval over seeds; below 0 the trainer is better.
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

RATE, LEAVES, ROUNDS, PATIENCE = 0.05, 31, 400, 50
PER_QUERY = 20


def world(rows, seed):
    """Numbers with missing ones, a category, and a signal of all of them."""
    random = np.random.default_rng(seed)
    a, b, c = random.normal(size=rows), random.uniform(size=rows), random.exponential(size=rows)
    city = random.zipf(1.5, rows) % 40
    effect = np.random.default_rng(3).normal(size=40)[city]
    signal = np.sin(2 * a) + 2 * b * (city % 3 - 1) + 0.5 * effect + 0.3 * np.log1p(c)
    columns = {"a": np.where(random.uniform(size=rows) < 0.1, np.nan, a), "b": b, "c": c, "noise": random.normal(size=rows)}
    return columns | {"city": np.array([f"c{v}" for v in city], dtype=object)}, signal, random


def poisson_deviance(y, p):
    return 2 * float(np.mean(np.where(y > 0, y * np.log(np.where(y > 0, y, 1) / p), 0) - y + p))


def tweedie_deviance(y, p, power=1.5):
    one, two = 1 - power, 2 - power
    return 2 * float(np.mean(y**two / (one * two) - y * p**one / one + p**two / two))


def pinball(y, p, level):
    return float(np.mean(np.where(y >= p, level * (y - p), (1 - level) * (p - y))))


def ndcg_loss(y, p):
    """1 - NDCG@10, as scikit-learn computes it, of queries that have an order."""
    from sklearn.metrics import ndcg_score

    y, p = (v.reshape(-1, PER_QUERY) for v in (y, p))
    known = y.max(axis=1) > 0
    return 1 - float(ndcg_score(2 ** y[known] - 1, p[known], k=10))


def case(name, rows, seed):
    """Returns columns, target, settings of [fit], parameters of LightGBM, and the loss with its name in the record."""
    columns, signal, random = world(rows, seed)
    rate = np.exp(signal - 0.5)
    if name == "poisson":
        return columns, random.poisson(rate), 'objective = "poisson"', {"objective": "poisson"}, poisson_deviance, "poisson_deviance"
    if name == "monotone":
        target = random.poisson(np.exp(2 * columns["b"] - columns["c"] / 2 + signal / 4))
        ours = 'objective = "poisson"\nmonotone = { b = "increasing", c = "decreasing" }'
        theirs = {"objective": "poisson", "monotone_constraints": [0, 1, -1, 0, 0], "monotone_constraints_method": "basic"}
        return columns, target, ours, theirs, poisson_deviance, "poisson_deviance"
    if name == "tweedie":
        claims = random.poisson(rate)
        target = np.array([random.gamma(2.0, 0.5, n).sum() for n in claims])
        theirs = {"objective": "tweedie", "tweedie_variance_power": 1.5}
        return columns, target, 'objective = "tweedie"', theirs, tweedie_deviance, "tweedie_deviance"
    if name.startswith("quantile"):
        level = int(name[-2:]) / 100
        target = signal + (0.5 + columns["b"]) * random.gumbel(size=rows)
        theirs = {"objective": "quantile", "alpha": level, "metric": "quantile"}
        loss = lambda y, p: pinball(y, p, level)
        return columns, target, f'objective = "quantile"\nquantile = {level}', theirs, loss, "pinball_loss"
    target = np.clip(np.floor(1.2 * (signal + random.normal(size=rows))), 0, 4)
    theirs = {"objective": "lambdarank", "metric": "ndcg", "eval_at": [10]}
    return columns, target, 'objective = "lambdarank"', theirs, ndcg_loss, "ndcg_at_10"


CASES = ["poisson", "tweedie", "quantile_10", "quantile_50", "quantile_90", "lambdarank", "monotone"]


def lightgbm_loss(columns, y, parameters, loss, parts):
    import lightgbm
    import pandas as pd

    frame = pd.DataFrame({k: pd.Categorical(v) if v.dtype == object else v.astype(np.float32) for k, v in columns.items()})
    is_ranking = parameters["objective"] == "lambdarank"
    data = lambda part: lightgbm.Dataset(
        frame.iloc[part], y[part], group=[PER_QUERY] * (len(part) // PER_QUERY) if is_ranking else None, free_raw_data=False
    )
    settings = {"learning_rate": RATE, "num_leaves": LEAVES, "verbose": -1, "num_threads": 2, "seed": 7} | parameters
    train = data(parts[0])
    model = lightgbm.train(
        settings, train, ROUNDS, valid_sets=[train.create_valid(frame.iloc[parts[1]], y[parts[1]], group=data(parts[1]).group)],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    return loss(y[parts[2]], model.predict(frame.iloc[parts[2]]))


def trainer_loss(trainer, columns, y, fit, name, order):
    with tempfile.TemporaryDirectory() as folder:
        with open(Path(folder) / "rows.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["t", "q", *columns, "y"])
            text = lambda v: v if isinstance(v, str) else "" if np.isnan(v) else repr(float(v))
            # The rows of a query have one time, so that no query is cut.
            table.writerows(
                [i // PER_QUERY, i // PER_QUERY, *(text(v[at]) for v in columns.values()), repr(float(y[at]))] for i, at in enumerate(order)
            )
        Path(folder, "train.toml").write_text(
            f'[model]\nname = "m"\n[data]\nrows_min = 10\nduplicates_max = 1.0\nleak_max = 1.0\n[data.sources]\nrows = "rows.csv"\n'
            f'[schema]\ntarget = "y"\ntask = "regression"\ntime = "t"\ngroup = "q"\n[fit]\n{fit}\n[fit.trees]\nlearning_rate = {RATE}\nleaves_max = {LEAVES}\n'
            f'rounds_max = {ROUNDS}\npatience = {PATIENCE}\n[publish]\npolicy = "manual"\n'
        )
        run = [trainer, "run", f"{folder}/train.toml", "--registry", f"file://{folder}/registry", "--json"]
        said = subprocess.run(run, capture_output=True, text=True)
        assert said.returncode == 0, said.stderr + said.stdout
        found = json.loads(said.stdout)["record"]["metrics"][name]
        return 1 - found if name.startswith("ndcg") else found


def measure(trainer, out, seeds, rows, cases):
    for name in cases or CASES:
        for seed in range(seeds):
            columns, y, fit, parameters, loss, measured = case(name, rows, 100 + seed)
            queries = rows // PER_QUERY
            at, order = int(queries * 0.8), np.arange(rows)
            known = int(at * (1 - 0.15))
            parts = np.split(order, [known * PER_QUERY, at * PER_QUERY])
            found = {"case": name, "rows": rows, "seed": seed}
            found["ortus"] = trainer_loss(trainer, columns, y, fit, measured, order)
            found["lightgbm"] = lightgbm_loss(columns, y, parameters, loss, parts)
            # The loss of one prediction for all rows, so that a difference has a scale.
            constant = {"poisson": np.mean, "monotone": np.mean, "tweedie": np.mean}.get(name)
            level = int(name[-2:]) / 100 if name.startswith("quantile") else 0
            guess = constant(y[parts[0]]) if constant else np.quantile(y[parts[0]], level) if level else 0.0
            if name != "lambdarank":
                found["constant"] = loss(y[parts[2]], np.full(len(parts[2]), guess))
            print(found, flush=True)
            with open(out, "a") as file:
                file.write(json.dumps(found) + "\n")


def table(path):
    rows = [json.loads(line) for line in open(path)]
    for name in dict.fromkeys(r["case"] for r in rows):
        own = [r for r in rows if r["case"] == name]
        apart = np.array([r["ortus"] / r["lightgbm"] - 1 for r in own])
        half = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart)) if len(apart) > 1 else float("nan")
        loss = np.mean([r["ortus"] for r in own])
        print(f"{name:12} {own[0]['rows']:6} rows {len(own):3} seeds  loss {loss:.5f}  against LightGBM {100 * apart.mean():+.2f}% ± {100 * half:.2f}%")


if __name__ == "__main__":
    if sys.argv[1] == "table":
        table(sys.argv[2])
    else:
        trainer, out, *more = sys.argv[1:]
        seeds, rows, *cases = more + ["5", "10000"][len(more) :]
        measure(trainer, out, int(seeds), int(rows), cases)
