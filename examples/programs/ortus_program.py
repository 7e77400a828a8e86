"""What a program shares that `ortus-trainer` runs: reading what it is given, leaving what it made.

The trainer puts the path of `spec.json` into ORTUS_SPEC and starts the program in that folder.
Words that are missing are empty, numbers that are missing are NaN.
"""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet

SPEC_PATH = Path(os.environ["ORTUS_SPEC"])
FOLDER = SPEC_PATH.parent
SPEC = json.loads(SPEC_PATH.read_text())
FEATURES = [feature["name"] for feature in SPEC["features"]]
NUMBERS = [feature["name"] for feature in SPEC["features"] if feature["kind"] == "number"]
WORDS = [feature["name"] for feature in SPEC["features"] if feature["kind"] == "category"]


def read(part):
    """The columns of a part of the rows: "train", "stop" or "test", by name."""
    table = parquet.read_table(FOLDER / SPEC[part])
    return {name: table.column(name).to_numpy(zero_copy_only=False) for name in table.column_names}


def target(columns):
    """What is to be predicted: the place of each row's class, or its value."""
    values = columns[SPEC["target"]]
    if SPEC["task"] == "regression":
        return values.astype(np.float64)
    places = {name: place for place, name in enumerate(SPEC["classes"])}
    return np.array([places[value] for value in values])


def leave(model, predicted, scores=None, metrics=None, importances=None):
    """Leaves the ONNX file's bytes, what was predicted of "test", and what is worth telling.

    `predicted` holds values, or places of classes with `scores`, a row of probabilities for each.
    """
    (FOLDER / SPEC["out"]["model"]).write_bytes(model)
    with open(FOLDER / SPEC["out"]["predictions"], "w", newline="") as file:
        writer = csv.writer(file)
        if SPEC["task"] == "regression":
            writer.writerow(["value"])
            writer.writerows([float(value)] for value in predicted)
        else:
            writer.writerow(["label"] + [f"p{place}" for place in range(len(SPEC["classes"]))])
            for place, row in zip(predicted, scores):
                writer.writerow([SPEC["classes"][place]] + [float(score) for score in row])
    told = {"metrics": metrics or {}, "importances": importances or {}, "features": []}
    (FOLDER / SPEC["out"]["metrics"]).write_text(json.dumps(told))
