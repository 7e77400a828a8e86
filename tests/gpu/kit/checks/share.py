"""Rows per second through the server, as a share of ONNX Runtime alone on the same device.

Raw, server, raw: ONNX Runtime in a loop with one and with two sessions, of which the better counts, before and after the
server with two lanes. A request has as many rows as the batch limit, so each run has exactly that size. One more figure
has requests of one row, which the server merges into batches of up to 32.
"""

import statistics

from ..load import load, raw
from ..rows import Rows
from ..server import Server, copy_model, fresh_folder
from ..setting import BATCHES

MODELS = ("m3", "m4", "m5")
IN_FLIGHT, IN_FLIGHT_SINGLE = 8, 128


def alias(model, batch):
    return f"{model}-batch-{batch}"


def check(setting, clock, figures):
    models = fresh_folder(setting.work, "share")
    figures |= {"table": [], "merged_single_rows_per_s": {}}
    raw_runs = [raw_speeds(setting, models.parent, clock)]
    served = serve(setting, clock, models, figures["merged_single_rows_per_s"])
    # The first half stands even if the time does not suffice for the second.
    fill(figures["table"], served, raw_runs)
    raw_runs.append(raw_speeds(setting, models.parent, clock))
    fill(figures["table"], served, raw_runs)


def fill(table, served, raw_runs):
    table.clear()
    for (model, batch), rows_per_s in served.items():
        table.append(line(model, batch, rows_per_s, [speeds[model][batch] for speeds in raw_runs]))


def line(model, batch, rows_per_s, raw_runs):
    best = statistics.mean(raw_runs)
    return {
        "model": model, "batch": batch, "rows_per_s": rows_per_s, "raw_rows_per_s": best, "share": rows_per_s / best,
        "raw_drift": max(raw_runs) / min(raw_runs) - 1,
    }  # fmt: skip


def raw_speeds(setting, folder, clock):
    return {model: best_of(raw(setting, folder, model, BATCHES, clock)) for model in MODELS}


def best_of(cells):
    """Rows per second for each number of rows: the best over numbers of sessions."""
    return {rows: max(cell["rows_per_s"] for cell in cells if cell["rows"] == rows) for rows in BATCHES}


def serve(setting, clock, models, merged):
    tables, samples = [], {}
    for model in MODELS:
        rows = Rows(setting.kit, model)
        for batch in BATCHES:
            copy_model(setting.kit, model, models / alias(model, batch))
            tables += [f'[model."{alias(model, batch)}"]', f"batch_rows_max = {batch}"]
            samples[model, batch] = models.parent / f"{alias(model, batch)}.json"
            samples[model, batch].write_bytes(rows.request(range(batch)))
    speeds = {}
    with Server(setting, clock, models, defaults=setting.defaults(lanes=2), tables=tables) as server:
        server.require_ready()
        for (model, batch), sample in samples.items():
            pace = {"in_flight": IN_FLIGHT, "seconds": setting.size.cell_seconds}
            speeds[model, batch] = batch * load(setting, server, alias(model, batch), sample, clock, **pace)["rate"]
        for model in MODELS:
            pace = {"in_flight": IN_FLIGHT_SINGLE, "seconds": setting.size.cell_seconds}
            merged[model] = load(setting, server, alias(model, BATCHES[-1]), samples[model, 1], clock, **pace)["rate"]
    return speeds
