"""What the `shap` package makes of models that the trainer made.

`make FOLDER`: tables of numbers with missing values, and for the linear models of a category, with a value, two classes, three
classes; and the rows that are explained.
`check FOLDER`: reads `explanation.bin` of each version by a reader of its own, and compares what `ortus-trainer explain`
printed (`NAME.json`) with shap's TreeExplainer of the same trees, and with its LinearExplainer of the weights over
the training rows, the first four fifths by their time.
"""

import csv
import json
import struct
import sys
import warnings
from pathlib import Path

import numpy as np

FOLDER = Path(sys.argv[2])
ROWS, EXPLAINED, NUMBERS, WORDS = 3000, 150, 6, ["red", "green", "blue"]
WITHIN = 1e-5
CODES = 256


def make():
    random = np.random.default_rng(19)
    x = random.normal(0, [1, 10, 0.1, 1, 5, 100], (ROWS, NUMBERS)) + [0, 5, 1, -3, 100, 0]
    z = (x - x.mean(0)) / x.std(0)
    words = random.choice(WORDS, ROWS, p=[0.5, 0.3, 0.2])
    score = np.sin(2 * z[:, 0]) + z @ [0, -1, 0.5, 0, 1, -0.7] + z[:, 1] * z[:, 2] + (words == "red")
    x = x.astype(np.float32)
    x[random.uniform(size=x.shape) < 0.12] = np.nan
    targets = {
        "values": 10 + 3 * score + random.normal(0, 1, ROWS),
        "two": np.where(random.uniform(size=ROWS) < 1 / (1 + np.exp(-score)), "yes", "no"),
        "three": np.array(["a", "b", "c"])[np.digitize(score + random.logistic(size=ROWS), [-1, 1])],
    }
    names = [f"x{i}" for i in range(NUMBERS)]
    cells = [["" if np.isnan(v) else repr(float(v)) for v in row] for row in x]
    for name, y in targets.items():
        for algorithm in ("trees", "linear"):
            has_word = algorithm == "linear"
            with open(FOLDER / f"{name}-{algorithm}.csv", "w", newline="") as file:
                table = csv.writer(file)
                table.writerow(["t"] + names + ["word"] * has_word + ["y"])
                for i, label in enumerate(y):
                    table.writerow([i] + cells[i] + [words[i]] * has_word + [label])
    for algorithm in ("trees", "linear"):
        with open(FOLDER / f"{algorithm}.jsonl", "w") as file:
            for row, word in zip(x[-EXPLAINED:], words[-EXPLAINED:]):
                known = {name: None if np.isnan(v) else float(v) for name, v in zip(names, row)}
                file.write(json.dumps(known | ({"word": str(word)} if algorithm == "linear" else {})) + "\n")


class Reader:
    """The numbers behind the first line of a file."""

    def __init__(self, path):
        line, _, self.bytes = path.read_bytes().partition(b"\n")
        self.head, self.at = json.loads(line), 0
        assert self.head["format"] == 1

    def take(self, form, count=1):
        form = f"<{count}{form}"
        values = struct.unpack_from(form, self.bytes, self.at)
        self.at += struct.calcsize(form)
        return values

    def one(self, form):
        return self.take(form)[0]


def tree(read):
    """A tree in the arrays of scikit-learn, which shap takes."""
    keys = ["children_left", "children_right", "children_default", "features", "thresholds", "values", "node_sample_weight"]
    all = {key: [] for key in keys}

    def node():
        at = len(all["features"])
        for key in all:
            all[key].append(-1)
        mark = read.one("B")
        if mark == 0:
            all["values"][at], all["node_sample_weight"][at] = read.one("f"), read.one("I")
            return at
        assert mark in (1, 2), "these trees split no category"
        all["features"][at], all["thresholds"][at], all["values"][at] = read.one("I"), read.one("f"), 0.0
        left, right = node(), node()
        all["children_left"][at], all["children_right"][at] = left, right
        all["children_default"][at] = left if mark == 1 else right
        all["node_sample_weight"][at] = all["node_sample_weight"][left] + all["node_sample_weight"][right]
        return at

    node()
    arrays = {key: np.array(values) for key, values in all.items()}
    for key in ("children_left", "children_right", "children_default", "features"):
        arrays[key] = arrays[key].astype(np.int32)
    arrays["values"] = arrays["values"].astype(float)[:, None]
    arrays["thresholds"] = arrays["thresholds"].astype(float)
    arrays["node_sample_weight"] = arrays["node_sample_weight"].astype(float)
    return arrays


def by_trees(read, x):
    """The base and the contributions of each score."""
    import shap

    scores = read.head["scores"]
    start = read.take("d", scores)
    trees = [tree(read) for _ in range(read.head["trees"])]
    bases, all = [], []
    for score in range(scores):
        model = {
            "trees": trees[score::scores],
            "base_offset": start[score],
            "tree_output": "raw_value",
            "objective": "squared_error",
            "input_dtype": np.float32,
            "internal_dtype": np.float64,
        }
        explainer = shap.TreeExplainer(model, feature_perturbation="tree_path_dependent")
        all.append(explainer.shap_values(x, check_additivity=False))
        # shap leaves the offset out of what it expects.
        expected = sum(np.average(t["values"][leaves(t), 0], weights=t["node_sample_weight"][leaves(t)]) for t in model["trees"])
        bases.append(start[score] + expected)
    return bases, all


def leaves(tree):
    return tree["children_left"] < 0


def encoded(read, columns):
    """The weights of each place, and a function that encodes rows: places of one feature lie together."""
    scores = read.head["scores"]
    start = read.take("d", scores)
    weights, encoders, owners = [], [], []
    for at, feature in enumerate(read.head["features"]):
        if "categories" in feature:
            known = feature["categories"]
            own = np.array(read.take("f", CODES * scores)).reshape(CODES, scores)
            places = list(range(len(known))) + [CODES - 2, CODES - 1]

            def one_hot(column, known=known, places=places):
                codes = [CODES - 1 if w == "" else known.index(w) if w in known else CODES - 2 for w in column]
                return (np.array(codes)[:, None] == np.array(places)[None]).astype(float)

            weights.append(own[places])
            encoders.append(one_hot)
        else:
            mean, spread, clip = read.take("f", 3)
            own = np.array([read.take("f", scores), read.take("f", scores)])

            def scaled(column, mean=mean, spread=spread, clip=clip):
                column = np.asarray(column, dtype=np.float32)
                gone = np.isnan(column)
                z = np.clip((column - np.float32(mean)) / np.float32(spread), -clip, clip)
                return np.stack([np.where(gone, 0, z), gone], axis=1).astype(float)

            weights.append(own)
            encoders.append(scaled)
        owners += [at] * len(weights[-1])
        read.take("d", scores)

    def encode(table):
        return np.concatenate([encode(table[column]) for encode, column in zip(encoders, columns)], axis=1)

    return np.concatenate(weights), np.array(start), np.array(owners), encode


def by_weights(read, columns, training, explained):
    import shap

    weights, start, owners, encode = encoded(read, columns)
    background, x = encode(training), encode(explained)
    bases, all = [], []
    for score in range(read.head["scores"]):
        masker = shap.maskers.Independent(background, max_samples=len(background))
        explainer = shap.LinearExplainer((weights[:, score], start[score]), masker)
        found = explainer.shap_values(x)
        all.append(np.stack([found[:, owners == at].sum(1) for at in range(len(columns))], axis=1))
        bases.append(float(explainer.expected_value))
    return bases, all


def check():
    warnings.filterwarnings("ignore")
    names = [f"x{i}" for i in range(NUMBERS)]
    for task in ("values", "two", "three"):
        for algorithm in ("trees", "linear"):
            name = f"{task}-{algorithm}"
            read = Reader(FOLDER / name / "explanation.bin")
            columns = [feature["name"] for feature in read.head["features"]]
            assert sorted(columns) == sorted(names + ["word"] * (algorithm == "linear")), columns
            with open(FOLDER / f"{name}.csv") as file:
                table = list(csv.DictReader(file))
            of = lambda rows, c: [r[c] if c == "word" else float(r[c] or "nan") for r in rows]
            explained = {c: of(table[-EXPLAINED:], c) for c in columns}
            if algorithm == "trees":
                x = np.stack([explained[c] for c in columns], axis=1).astype(np.float32)
                bases, all = by_trees(read, x)
            else:
                training = {c: of(table[: ROWS * 4 // 5], c) for c in columns}
                bases, all = by_weights(read, columns, training, explained)
            assert read.at == len(read.bytes), "the file goes on"

            printed = json.loads((FOLDER / f"{name}.json").read_text())["rows"]
            assert len(printed) == EXPLAINED
            worst = size = 0.0
            for at, row in enumerate(printed):
                assert len(row["scores"]) == len(bases)
                for score, base, expected in zip(row["scores"], bases, all):
                    worst = max(worst, abs(score["base"] - base))
                    found = {one["feature"]: one["contribution"] for one in score["contributions"]}
                    assert len(found) == len(columns)
                    for place, column in enumerate(columns):
                        size = max(size, abs(found[column]))
                        worst = max(worst, abs(found[column] - expected[at][place]))
            print(f"{name}: {worst:.1e} apart, contributions up to {size:.2f}")
            assert worst <= WITHIN and size > 0.1, name
    print("all the same")


{"make": make, "check": check}[sys.argv[1]]()
