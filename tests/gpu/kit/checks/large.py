"""Models of a real size: a conv net of 102 MB and a transformer of 92 MB, written on this machine with their golden answers.

Answers first, with one lane. Then rows per second for several numbers of lanes, of which 0 is the default: requests of
one row, few and many in flight, which the server merges. ONNX Runtime alone runs each number of rows with 1, 2 and 4 sessions,
and then with rows that change from run to run.
"""

import subprocess

from .. import device
from ..load import load, raw
from ..pieces import KitError
from ..rows import Rows
from ..server import Server, copy_model, fresh_folder
from ..setting import BATCHES
from .golden import compare_all, copy_models

MODELS = ("conv50", "text90")
RAW_LANES, LANES = (1, 2, 4), (0, 1, 4)
IN_FLIGHT = (8, 128)
BATCH_ROWS_MAX = 64


def check(setting, clock, figures):
    write_models(setting, clock)
    figures |= {"differences": {}, "raw": [], "served": []}
    golden(setting, clock, figures["differences"])
    is_full = setting.size.reloads >= 50
    raw_lanes, lanes = (RAW_LANES, LANES) if is_full else (setting.size.raw_lanes, LANES[:1])
    folder = setting.work / "large"
    for model in MODELS:
        cells = raw(setting, folder, model, BATCHES, clock, raw_lanes)
        cells += raw(setting, folder, model, BATCHES, clock, (1,), "--changing")
        figures["raw"] += [{"model": model} | cell for cell in cells]
    for count in lanes:
        figures["served"] += serve(setting, clock, count)


def write_models(setting, clock):
    """They are too large to be carried, and are the same wherever they are written."""
    target = setting.kit / "models"
    if missing := [model for model in MODELS if not (target / model / "rows.json").is_file()]:
        command = [str(setting.program("ortus-loadtest")), "models", str(target), *missing, "--library", str(setting.library)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=clock.left(), env=setting.environment(setting.work))
        if ran.returncode != 0:
            raise KitError(f"the large models cannot be written: {ran.stderr.strip()[-500:]}")


def golden(setting, clock, differences):
    models = fresh_folder(setting.work, "large")
    served, tables = copy_models(setting, models, MODELS, MODELS)
    with Server(setting, clock, models, defaults=setting.defaults(lanes=1), tables=tables) as server:
        server.require_ready()
        compare_all(setting, server, served, differences)


def serve(setting, clock, lanes):
    """Lines of rows per second of merged single rows, and memory with both models."""
    models = fresh_folder(setting.work, f"large-{lanes}")
    samples = {}
    for model in MODELS:
        copy_model(setting.kit, model, models / model)
        samples[model] = models.parent / f"{model}.json"
        samples[model].write_bytes(Rows(setting.kit, model).request([0]))
    lines = []
    begin = clock.used()
    with Server(setting, clock, models, defaults=setting.defaults(lanes, BATCH_ROWS_MAX)) as server:
        server.require_ready()
        ready = clock.used() - begin
        for model, sample in samples.items():
            for in_flight in IN_FLIGHT:
                pace = {"in_flight": in_flight, "seconds": 2 * setting.size.cell_seconds}
                # Learns first.
                load(setting, server, model, sample, clock, **pace)
                speed = load(setting, server, model, sample, clock, **pace)
                gpu = device.gpu_used_mib(setting.device) if setting.provider == "cuda" else None
                lines.append({
                    "model": model, "lanes": lanes, "in_flight": in_flight, "rows_per_s": speed["rate"],
                    "p99_us": speed.get("p99_us"), "ready_s": ready, "gpu_mib": gpu,
                    "resident_mib": device.resident_mib(server.process.pid), "explain": server.explain(model),
                })  # fmt: skip
    return lines
