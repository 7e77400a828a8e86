"""What every recipe in this folder shares: finishing a graph, checking it and writing its files.

A recipe trains a model and builds an ONNX graph. It then calls, in this order:

    finish      give the graph its output names, a symbolic first axis "N" and pinned versions
    save        check the graph and write it
    check_rows  prove that a row answers the same alone and inside a batch
    write_sample, write_golden, write_evaluation, write_sums

Import this module before numpy: it sets the numeric libraries to one thread, so
that two runs on one machine add numbers in the same order and write the same bytes.
"""

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parent
OPSET = 18
ML_OPSET = 3
IR_VERSION = 8

# ONNX element type -> (Open Inference Protocol name, numpy type)
TYPES = {
    TensorProto.FLOAT: ("FP32", np.float32),
    TensorProto.INT64: ("INT64", np.int64),
    TensorProto.STRING: ("BYTES", np.object_),
}


# --- the graph ---------------------------------------------------------------


def finish(model, name, description, outputs):
    """Return `model` with the outputs named and shaped as given, and the first axis called "N".

    `outputs` lists (name, element type, row shape) in the order in which the graph has them;
    the row shape is the shape without the first axis: () for [N], (3,) for [N, 3].
    """
    graph = model.graph
    graph.name = name
    graph.doc_string = description
    model.doc_string = description
    model.ir_version = IR_VERSION
    # the converter may name one operator set twice
    versions = {opset.domain: opset.version for opset in model.opset_import}
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*pair) for pair in sorted(versions.items()))
    if len(graph.output) != len(outputs):
        raise AssertionError(f"{len(graph.output)} graph outputs, {len(outputs)} described")

    new_names = {old.name: new[0] for old, new in zip(graph.output, outputs)}
    for node in graph.node:
        for side in (node.input, node.output):
            for position, value in enumerate(side):
                # an inner value that already has the wanted name steps aside
                if value in new_names:
                    side[position] = new_names[value]
                elif value in new_names.values():
                    side[position] = value + "_inner"
    del graph.output[:]
    for output_name, element, row in outputs:
        graph.output.append(helper.make_tensor_value_info(output_name, element, ["N", *row]))
    del graph.value_info[:]
    for value in graph.input:
        first = value.type.tensor_type.shape.dim[0]
        first.Clear()
        first.dim_param = "N"
    return model


def save(model, path):
    """Check `model` against the promises of models/README.md and write it."""
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version <= 10, model.ir_version
    for opset in model.opset_import:
        assert opset.version <= {"": 21, "ai.onnx": 21, "ai.onnx.ml": 3}[opset.domain], opset
    for value in [*model.graph.input, *model.graph.output]:
        tensor = value.type.tensor_type
        assert value.type.HasField("tensor_type"), f"{value.name} is not a tensor"
        assert tensor.elem_type in TYPES, value
        assert tensor.shape.dim[0].dim_param == "N", value
        assert all(dim.dim_value > 0 for dim in tensor.shape.dim[1:]), value
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def session(path):
    """An ONNX Runtime session for `path` on one CPU thread, without a log."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def predict(path, inputs):
    """Answers of the model file, as {output name: array}; asserts the declared shapes."""
    loaded = session(path)
    answers = dict(zip([o.name for o in loaded.get_outputs()], loaded.run(None, inputs)))
    rows = len(next(iter(inputs.values())))
    for output in loaded.get_outputs():
        declared = tuple([rows, *output.shape[1:]])
        assert answers[output.name].shape == declared, (output.name, answers[output.name].shape)
    return answers


def check_rows(path, inputs, limit=1e-6):
    """Assert that a row answers the same alone, in a batch and in a batch in reverse order.

    Integers must be equal; floats must agree to `limit`, relative to values above one (the
    runtime may add the terms of a sum in another order for another batch size). Returns the
    largest difference seen.
    """
    rows = len(next(iter(inputs.values())))
    batch = predict(path, inputs)
    reverse = predict(path, {name: value[::-1].copy() for name, value in inputs.items()})
    loaded = session(path)
    names = [output.name for output in loaded.get_outputs()]
    worst = 0.0

    def compare(expected, found):
        nonlocal worst
        if expected.dtype != np.float32:
            assert np.array_equal(expected, found), (expected, found)
            return
        difference = np.abs(expected.astype(np.float64) - found) / np.maximum(1, np.abs(expected))
        worst = max(worst, float(difference.max()))
        assert worst <= limit, worst

    for name in names:
        compare(batch[name], reverse[name][::-1])
    for row in range(rows):
        single = {name: value[row : row + 1] for name, value in inputs.items()}
        for name, answer in zip(names, loaded.run(None, single)):
            compare(batch[name][row : row + 1], answer)
    return worst


# --- the files ---------------------------------------------------------------


def _plain(array):
    """The elements of `array` in row-major order as JSON values."""
    flat = np.asarray(array).reshape(-1)
    if flat.dtype == np.float32:
        # the shortest decimal text that reads back as the same 32-bit float
        return [float(str(value)) for value in flat]
    if flat.dtype.kind in "iu":
        return [int(value) for value in flat]
    return [str(value) for value in flat]


def _tensor(name, array, datatype):
    return {
        "name": name,
        "shape": list(np.asarray(array).shape),
        "datatype": datatype,
        "data": _plain(array),
    }


def _datatypes(values):
    names = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(string)": "BYTES"}
    return {value.name: names[value.type] for value in values}


def _write(path, document):
    """JSON with one top-level key a line and one tensor a line."""
    lines = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            items = ",\n".join("    " + json.dumps(item) for item in value)
            lines.append(f"  {json.dumps(key)}: [\n{items}\n  ]")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def write_sample(folder, inputs):
    """sample.json: an infer request with the rows of `inputs`."""
    datatypes = _datatypes(session(folder / "1" / "model.onnx").get_inputs())
    tensors = [_tensor(name, array, datatypes[name]) for name, array in inputs.items()]
    _write(folder / "sample.json", {"inputs": tensors})


def read_sample(folder):
    """The tensors of sample.json as a client would send them."""
    kinds = {"FP32": np.float32, "INT64": np.int64, "BYTES": np.object_}
    document = json.loads((folder / "sample.json").read_text(encoding="utf-8"))
    return {
        tensor["name"]: np.array(tensor["data"], dtype=kinds[tensor["datatype"]]).reshape(
            tensor["shape"]
        )
        for tensor in document["inputs"]
    }


def write_golden(folder, directory="1", version="1"):
    """answer.json: what ONNX Runtime answers to sample.json as it stands in the file."""
    path = folder / directory / "model.onnx"
    answers = predict(path, read_sample(folder))
    datatypes = _datatypes(session(path).get_outputs())
    tensors = []
    for name, array in answers.items():
        tensor = _tensor(name, array, datatypes[name])
        if array.dtype == np.float32:
            assert np.array_equal(np.array(tensor["data"], np.float32), array.reshape(-1))
        # the order of the keys is that of an infer response
        tensors.append({key: tensor[key] for key in ("name", "datatype", "shape", "data")})
    target = folder / "answer.json" if directory == "1" else folder / directory / "answer.json"
    _write(target, {"model_name": folder.name, "model_version": version, "outputs": tensors})


def check_versions_differ(folder, output, least=1e-3):
    """Assert that 1/ and .next/ can be told apart by every row of sample.json."""
    inputs = read_sample(folder)
    old = predict(folder / "1" / "model.onnx", inputs)[output]
    new = predict(folder / ".next" / "model.onnx", inputs)[output]
    difference = np.abs(old - new).reshape(len(old), -1).max(axis=1)
    assert difference.min() > least, difference


def write_evaluation(folder, numbers):
    """evaluation.json: what the recipe measured. Asserts that README.md states the same numbers."""
    rounded = {
        key: {name: round(float(value), 4) for name, value in group.items()}
        if isinstance(group, dict)
        else group
        for key, group in numbers.items()
    }
    path = folder / "evaluation.json"
    path.write_text(json.dumps(rounded, indent=2) + "\n", encoding="utf-8")
    card = (folder / "README.md").read_text(encoding="utf-8")
    for key, group in rounded.items():
        if isinstance(group, dict):
            for name, value in group.items():
                assert f"{value:.4f}" in card, f"README.md lacks {key} {name} = {value:.4f}"
    print(folder.name, json.dumps(rounded))


def write_sums(folder):
    """SHA256SUMS of the model files, the sample and the golden answers."""
    names = ["1/model.onnx", ".next/model.onnx", "sample.json", "answer.json", ".next/answer.json"]
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in names
        if (folder / name).exists()
    ]
    (folder / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


# --- the rows and the measures -----------------------------------------------


def first_of_each(labels, count=3):
    """Positions of `count` rows with as many different labels as there are, in order of position."""
    labels = np.asarray(labels)
    firsts = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]
    rest = [row for row in range(len(labels)) if row not in firsts]
    return sorted((sorted(firsts) + rest)[:count])


def classification(path, inputs, labels):
    """Accuracy and log loss of a model file on the given rows."""
    answers = predict(path, inputs)
    labels = np.asarray(labels)
    chosen = answers["probabilities"][np.arange(len(labels)), labels].astype(np.float64)
    assert np.allclose(answers["probabilities"].sum(axis=1), 1, atol=1e-5)
    assert np.array_equal(answers["probabilities"].argmax(axis=1), answers["label"])
    return {
        "accuracy": (answers["label"] == labels).mean(),
        "log_loss": -np.log(np.clip(chosen, 1e-7, 1)).mean(),
    }


def regression(path, inputs, targets):
    """R2, root mean square error and mean absolute error of a model file on the given rows."""
    error = predict(path, inputs)["y"][:, 0].astype(np.float64) - targets
    spread = targets - targets.mean()
    return {
        "r2": 1 - (error**2).sum() / (spread**2).sum(),
        "rmse": np.sqrt((error**2).mean()),
        "mae": np.abs(error).mean(),
    }
