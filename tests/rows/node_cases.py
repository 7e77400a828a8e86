"""The node tests of the ONNX project as models with a free first axis, and what ONNX Runtime says of their rows.

`make FOLDER`: writes a model file for each node test, and for each way to free the first axis of its inputs: of the first
input, or of all inputs that have as many rows. The other inputs become constants. `FOLDER/values` has the inputs of the tests.

`check FOLDER VERDICTS BATCHES TABLE`: reads lines of a model, a verdict and a reason. Runs the rows of each model whose rows
are said to be independent alone and in so many random batches, and writes a table. Exits with 1 if a row's answer
depends on its batch.
"""

import collections
import os
import pickle
import re
import sys
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnx
from onnx import numpy_helper

# exp(x) - 1 and x - x lose what is under the last place of 1, whatever their result.
PLACES_OF_ONE = 5e-7
# Rows that batches are drawn from, and the most rows of a batch.
POOL, BATCH = 32, 6
SCALES = [1.0, 1e-6, 1e3, 1e-2, 1e6, 1e-4, 30.0]
TOLERANCE = {np.dtype(np.float16): 1e-2, np.dtype(np.float64): 1e-9}


def cases():
    """Node tests whose inputs and outputs are tensors: name, model, inputs of the first data set."""
    from onnx.backend.test.loader import load_model_tests

    for case in load_model_tests(kind="node"):
        if case.model is not None:
            model, sets = case.model, case.data_sets
            yield case.name, model, [np.asarray(x) if not isinstance(x, (list, dict, type(None))) else x for x in sets[0][0]]
            continue
        path = Path(case.model_dir)
        model = onnx.load(path / "model.onnx")
        inputs = []
        for at in range(len(model.graph.input)):
            file = path / "test_data_set_0" / f"input_{at}.pb"
            kind = model.graph.input[at].type.WhichOneof("value")
            tensor = onnx.TensorProto()
            if kind != "tensor_type" or not file.exists():
                inputs.append(None)
                continue
            tensor.ParseFromString(file.read_bytes())
            inputs.append(numpy_helper.to_array(tensor))
        yield case.name, model, inputs


def variants(values):
    """Sets of inputs whose first axis is freed."""
    free = [at for at, x in enumerate(values) if isinstance(x, np.ndarray) and x.ndim]
    if not free:
        return []
    alike = [at for at in free if len(values[at]) == len(values[free[0]])]
    return list(dict.fromkeys([tuple(alike), (free[0],)]))


def freed(model, values, chosen):
    """The model with these inputs freed and the others as constants; none where that is not possible."""
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    # The newest that the pinned ONNX Runtime takes.
    freed.ir_version = min(freed.ir_version, 13)
    for opset in freed.opset_import:
        opset.version = min(opset.version, 26)
    graph = freed.graph
    del graph.input[:]
    del graph.value_info[:]
    for at, (info, value) in enumerate(zip(model.graph.input, values)):
        if at in chosen:
            graph.input.append(info)
            dims = graph.input[-1].type.tensor_type.shape.dim
            dims[0].Clear()
            dims[0].dim_param = "N"
        elif isinstance(value, np.ndarray) and info.type.WhichOneof("value") == "tensor_type":
            constant = numpy_helper.from_array(value, info.name)
            constant.data_type = info.type.tensor_type.elem_type if value.dtype == object else constant.data_type
            graph.initializer.append(constant)
        else:
            return None
    for info in graph.output:
        if info.type.WhichOneof("value") != "tensor_type":
            return None
        shape = info.type.tensor_type.shape
        for at, dim in enumerate(shape.dim):
            dim.Clear()
            dim.dim_param = "N" if at == 0 else f"{info.name}_{at}"
    return freed


def make(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kept, left_out = {}, []
    for name, model, values in cases():
        made = 0
        for chosen in variants(values):
            try:
                free = freed(model, values, chosen)
                file = free and free.SerializeToString()
            except Exception:
                continue
            if not free or not all(o.type.tensor_type.shape.dim for o in free.graph.output):
                continue
            key = f"{name}.{'_'.join(map(str, chosen))}"
            (folder / f"{key}.onnx").write_bytes(file)
            kept[key] = [values[at] for at in chosen]
            made += 1
        if not made:
            left_out.append(name)
    (folder / "values").write_bytes(pickle.dumps((kept, left_out)))
    print(len(kept), "models;", len(left_out), "node tests without a free first axis")


def row(random, value, kind):
    """One row in the manner of a test's input: its kind, other values."""
    shape = (1, *value.shape[1:])
    if value.dtype == bool:
        return random.random(shape) < 0.5
    if value.dtype.kind in "OUST":
        words = [str(x) for x in value.ravel()] or [""]
        longer = words + [w + " " + w for w in words] + ["", "a b c d"]
        return np.array([longer[random.integers(len(longer))] for _ in range(int(np.prod(shape)))], object).reshape(shape)
    if value.dtype.kind in "iu":
        low, high = (int(value.min()), int(value.max())) if value.size else (0, 1)
        return random.integers(low, high, shape, endpoint=True).astype(value.dtype)
    if kind % 3 == 0 and value.size:
        return random.permutation(value.ravel())[: int(np.prod(shape))].reshape(shape)
    scale = SCALES[kind % len(SCALES)]
    limit = 1e3 if value.dtype.itemsize < 4 else 1e30
    return np.asarray(random.normal(0, min(scale, limit), shape)).astype(value.dtype)


def agree(a, b):
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind not in "fV":
        return bool(np.array_equal(a, b))
    tolerance = TOLERANCE.get(a.dtype, 1e-4)
    a, b = a.astype(np.float64), b.astype(np.float64)
    size = np.nanmax(np.abs(np.where(np.isfinite(b), b, 0)), initial=0)
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.abs(a - b) <= tolerance * np.maximum(np.abs(b), size) + PLACES_OF_ONE
    return bool(np.all(near | (a == b) | (np.isnan(a) & np.isnan(b))))


def disagreement(session, values, batches, random):
    """Why a batch answers a row in another way than the row alone does; none if none does."""
    names = [i.name for i in session.get_inputs()]
    pool = []
    for at in range(3 * POOL):
        rows = [row(random, value, at) for value in values]
        try:
            outputs = session.run(None, dict(zip(names, rows)))
        except Exception as error:
            refusal = str(error)
            continue
        if any(not o.shape or o.shape[0] != 1 for o in outputs):
            return f"one row gives {[o.shape for o in outputs]}"
        pool.append((rows, outputs))
        if len(pool) == POOL:
            break
    if len(pool) < 2:
        raise RuntimeError(refusal)
    for _ in range(batches):
        order = random.integers(len(pool), size=random.integers(2, BATCH + 1))
        feed = {name: np.concatenate([pool[at][0][i] for at in order]) for i, name in enumerate(names)}
        outputs = session.run(None, feed)
        for place, at in enumerate(order):
            for output, alone in zip(outputs, pool[at][1]):
                if len(output) != len(order):
                    return f"{len(order)} rows give {output.shape}"
                if not agree(output[place : place + 1], alone):
                    return f"row {place} of {len(order)}: {output[place : place + 1].ravel()[:4]} and alone {alone.ravel()[:4]}"
    return None


def told(error):
    """The words of ONNX Runtime, without its places in files."""
    words = str(error).rsplit(" failed:", 1)[-1]
    words = re.sub(r"\[ONNXRuntimeError\] : \d+ : |/onnxruntime_src/\S+ ?", "", words)
    return " ".join(words.split())[:160]


def check(folder, verdicts, batches, table):
    import onnxruntime

    folder, random = Path(folder), np.random.default_rng(14)
    kept, left_out = pickle.loads((folder / "values").read_bytes())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    counts, lines, wrong = collections.Counter(), [], 0
    for line in sorted(Path(verdicts).read_text().splitlines()):
        key, verdict, reason = line.split("\t")
        result = "-"
        if verdict == "independent":
            try:
                session = onnxruntime.InferenceSession(str(folder / f"{key}.onnx"), options, providers=["CPUExecutionProvider"])
                why = disagreement(session, kept[key], int(batches), random)
                result = f"{batches} batches agree" if why is None else f"WRONG: {why}"
            except Exception as error:
                result = "not run: " + told(error)
        wrong += result.startswith("WRONG")
        counts[verdict, result.split(":")[0]] += 1
        lines.append(f"{key}\t{verdict}\t{result}\t{reason}")
    lines += [f"{name}\tno tensor with a free first axis\t-\t" for name in sorted(left_out)]
    Path(table).write_text("node test . freed inputs\tverdict\tONNX Runtime\treason\n" + "\n".join(lines) + "\n")
    for (verdict, result), count in sorted(counts.items()):
        print(f"{verdict}, {result}: {count}")
    print("without a free first axis:", len(left_out))
    for line in lines:
        if "\tWRONG" in line:
            print(line)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](*sys.argv[2:])
