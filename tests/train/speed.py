"""How fast the trainer is: one million rows of fifty columns from Parquet to a published version, against LightGBM's own fit and
predict on the same rows, as many rounds, on the same cores.

`speed.py TRAINER FOLDER [ROWS] [ROUNDS]`: makes the rows where they are not there, runs both in turn three times, prints seconds,
ratios and peak memory.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
CORES = str(len(os.sched_getaffinity(0)))
os.environ.setdefault("OMP_NUM_THREADS", CORES)

import numpy as np

TRAINER, FOLDER = sys.argv[1], Path(sys.argv[2])
ROWS = int(sys.argv[3]) if len(sys.argv) > 3 else 1_000_000
ROUNDS = int(sys.argv[4]) if len(sys.argv) > 4 else 100
COLUMNS = 50


def make(path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(7)
    weights = random.normal(size=COLUMNS)
    with pq.ParquetWriter(path, pa.schema([("t", pa.int64())] + [(f"x{i}", pa.float64()) for i in range(COLUMNS)] + [("y", pa.int64())])) as out:
        for start in range(0, ROWS, 100_000):
            n = min(100_000, ROWS - start)
            x = random.normal(size=(n, COLUMNS))
            score = x @ weights / 4 + np.sin(3 * x[:, 0]) * x[:, 1] + (x[:, 2] > 1) * x[:, 3]
            y = (random.uniform(size=n) < 1 / (1 + np.exp(-score))).astype(np.int64)
            out.write_table(pa.table({"t": np.arange(start, start + n), **{f"x{i}": x[:, i] for i in range(COLUMNS)}, "y": y}))


def theirs(path):
    """In a process of its own, so that its memory is its own."""
    code = f"""
import lightgbm, pyarrow.parquet as pq, numpy as np, time, resource
table = pq.read_table({str(path)!r})
x = np.column_stack([table[f"x{{i}}"].to_numpy() for i in range({COLUMNS})]); y = table["y"].to_numpy()
at = int(len(y) * 0.8); known = int(at * 0.85)
del table
start = time.perf_counter()
model = lightgbm.LGBMClassifier(n_estimators={ROUNDS}, learning_rate=0.1, num_leaves=31, n_jobs={CORES}, verbose=-1)
model.fit(x[:known], y[:known], eval_set=[(x[known:at], y[known:at])])
p = model.predict_proba(x[at:])[:, 1]
took = time.perf_counter() - start
loss = -np.log(np.clip(np.where(y[at:] == 1, p, 1 - p), 1e-15, 1)).mean()
print(took, loss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    took, loss, memory = map(float, subprocess.check_output([sys.executable, "-c", code], text=True).split())
    return {"seconds": took, "log_loss": loss, "mib": memory / 1024}


def ours(path, at):
    spec = FOLDER / "train.toml"
    spec.write_text(
        f'[model]\nname = "m{at}"\n[data]\nmemory_max = "8GiB"\n[data.sources]\nrows = "{path.name}"\n[schema]\ntarget = "y"\ntime = "t"\n[fit]\nseed = {at}\n'
        f'[fit.trees]\nlearning_rate = 0.1\nleaves_max = 31\nrounds_max = {ROUNDS}\npatience = 10000\n[publish]\npolicy = "manual"\n'
    )
    start = time.perf_counter()
    run = subprocess.Popen([TRAINER, "run", str(spec), "--registry", f"file://{FOLDER}/registry", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    out, err = run.communicate()
    took = time.perf_counter() - start
    assert run.returncode == 0, err + out
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"seconds": took, "log_loss": json.loads(out)["record"]["metrics"]["log_loss"], "mib": memory / 1024}


FOLDER.mkdir(parents=True, exist_ok=True)
path = FOLDER / f"rows-{ROWS}.parquet"
if not path.exists():
    make(path)
seed = int(time.time()) % 1_000_000
ratios = []
for at in range(3):
    # Ours first: the memory of children is the most that any of them took.
    own = ours(path, seed + at)
    other = theirs(path)
    ratios.append(own["seconds"] / other["seconds"])
    print(json.dumps({"rows": ROWS, "rounds": ROUNDS, "cores": int(CORES), "ortus": own, "lightgbm": other, "ratio": ratios[-1]}), flush=True)
print(f"median ratio {sorted(ratios)[1]:.2f}; in Arrow form the rows are {ROWS * (COLUMNS + 2) * 8 / 2**20:.0f} MiB")
