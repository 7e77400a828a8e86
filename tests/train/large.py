"""How much memory ten million rows of fifty columns take: read, split, binned, a few rounds learned, judged, published.

`large.py TRAINER FOLDER [ROWS]`: makes the rows where they are not there, prints seconds and peak memory as JSON.
"""

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TRAINER, FOLDER = sys.argv[1], Path(sys.argv[2])
ROWS = int(sys.argv[3]) if len(sys.argv) > 3 else 10_000_000
COLUMNS = 50
CHUNK = 250_000

FOLDER.mkdir(parents=True, exist_ok=True)
path = FOLDER / f"large-{ROWS}.parquet"
if not path.exists():
    random = np.random.default_rng(7)
    weights = random.normal(size=COLUMNS).astype(np.float32)
    fields = [("t", pa.int64())] + [(f"x{i}", pa.float32()) for i in range(COLUMNS)] + [("y", pa.int64())]
    with pq.ParquetWriter(path, pa.schema(fields)) as out:
        for start in range(0, ROWS, CHUNK):
            n = min(CHUNK, ROWS - start)
            x = random.standard_normal(size=(n, COLUMNS), dtype=np.float32)
            y = (random.uniform(size=n) < 1 / (1 + np.exp(-(x @ weights) / 4))).astype(np.int64)
            out.write_table(pa.table({"t": np.arange(start, start + n), **{f"x{i}": x[:, i] for i in range(COLUMNS)}, "y": y}))

spec = FOLDER / "large.toml"
spec.write_text(
    f'[model]\nname = "large"\n[data]\nmemory_max = "1GiB"\n[data.sources]\nrows = "{path.name}"\n[schema]\ntarget = "y"\ntime = "t"\n'
    f'[fit]\nseed = {int(time.time()) % 1_000_000}\n[fit.trees]\nrounds_max = 10\npatience = 100\n[publish]\npolicy = "manual"\n'
)
start = time.perf_counter()
run = subprocess.run([TRAINER, "run", str(spec), "--registry", f"file://{FOLDER}/registry", "--json"], capture_output=True, text=True)
took = time.perf_counter() - start
assert run.returncode == 0, run.stderr + run.stdout
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
record = json.loads(run.stdout)["record"]
print(json.dumps({"rows": ROWS, "columns": COLUMNS, "seconds": round(took, 1), "peak_gib": round(peak, 2), "arrow_gib": round(ROWS * (COLUMNS + 4) * 4 / 2**30, 2), "auc": record["metrics"]["auc"]}))
