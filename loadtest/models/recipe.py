"""Writes the models of the load tests, M0 to M6, from fixed seeds.

Usage: python recipe.py OUT
Leaves OUT/<name>/1/model.onnx, sample.json and golden.json. Weights are random:
only the cost of these models means anything. Needs numpy, onnx, onnxruntime.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(20261123)
OPSET = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]


class Graph:
    """A graph of one input `x` and one output `y`, grown node by node."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def weight(self, values, dtype=np.float32):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype=dtype), name))
        return name

    def random(self, *shape, fan_in=None):
        return self.weight(RNG.standard_normal(shape) / np.sqrt(fan_in or shape[0]))

    def add(self, op, *inputs, output=None, **attributes):
        name = output or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def model(self, x, y):
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes, "g", [info("x", TensorProto.FLOAT, x)], [info("y", TensorProto.FLOAT, y)], self.weights
        )
        model = helper.make_model(graph, opset_imports=OPSET, ir_version=8)
        onnx.checker.check_model(model)
        return model


def identity(*shape):
    g = Graph()
    g.add("Identity", "x", output="y")
    return g.model(["N", *shape], ["N", *shape])


def logistic():
    g = Graph()
    logit = g.add("Gemm", "x", g.random(32, 1), g.weight([0.1]))
    g.add("Sigmoid", logit, output="y")
    return g.model(["N", 32], ["N", 1])


def trees(count=200, depth=6, features=30):
    """Full binary trees: node i has children 2i+1 and 2i+2."""
    inner, nodes = 2**depth - 1, 2 ** (depth + 1) - 1
    a = {k: [] for k in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids")}
    targets, weights = {"treeids": [], "nodeids": []}, []
    for tree in range(count):
        for node in range(nodes):
            leaf = node >= inner
            a["treeids"].append(tree)
            a["nodeids"].append(node)
            a["featureids"].append(0 if leaf else int(RNG.integers(features)))
            a["modes"].append("LEAF" if leaf else "BRANCH_LEQ")
            a["values"].append(0.0 if leaf else float(np.float32(RNG.standard_normal() * 0.5)))
            a["truenodeids"].append(0 if leaf else 2 * node + 1)
            a["falsenodeids"].append(0 if leaf else 2 * node + 2)
            if leaf:
                targets["treeids"].append(tree)
                targets["nodeids"].append(node)
                weights.append(float(np.float32(RNG.standard_normal() * 0.01)))
    g = Graph()
    attributes = {f"nodes_{key}": values for key, values in a.items()}
    attributes |= {f"target_{key}": values for key, values in targets.items()}
    g.add(
        "TreeEnsembleRegressor", "x", output="y", domain="ai.onnx.ml", n_targets=1, post_transform="NONE",
        aggregate_function="SUM", target_ids=[0] * len(weights), target_weights=weights, **attributes,
    )
    return g.model(["N", features], ["N", 1])


def mlp(sizes=(256, 512, 512, 10)):
    g, at = Graph(), "x"
    for layer, (a, b) in enumerate(zip(sizes, sizes[1:])):
        last = layer == len(sizes) - 2
        at = g.add("Gemm", at, g.random(a, b), g.random(b), output="y" if last else None)
        at = at if last else g.add("Relu", at)
    return g.model(["N", sizes[0]], ["N", sizes[-1]])


def conv():
    g, at = Graph(), "x"
    for a, b in ((3, 16), (16, 32), (32, 64)):
        at = g.add("Conv", at, g.random(b, a, 3, 3, fan_in=9 * a), g.weight(np.zeros(b)), pads=[1] * 4, strides=[2] * 2)
        at = g.add("Relu", at)
    flat = g.add("Flatten", g.add("GlobalAveragePool", at))
    g.add("Gemm", flat, g.random(64, 10), g.weight(np.zeros(10)), output="y")
    return g.model(["N", 3, 64, 64], ["N", 10])


def transformer(layers=4, d=128, heads=4):
    """Embedded tokens in, one vector out; the length L is dynamic."""
    g, at = Graph(), "x"
    split = g.weight([0, 0, heads, d // heads], np.int64)
    join = g.weight([0, 0, d], np.int64)
    scale = g.weight(1 / np.sqrt(d // heads))

    def norm(t):
        return g.add("LayerNormalization", t, g.weight(np.ones(d)), g.weight(np.zeros(d)), axis=-1)

    for _ in range(layers):
        h = norm(at)
        q, k, v = (g.add("Reshape", g.add("MatMul", h, g.random(d, d)), split) for _ in range(3))
        q, v = (g.add("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
        k = g.add("Transpose", k, perm=[0, 2, 3, 1])
        weights = g.add("Softmax", g.add("Mul", g.add("MatMul", q, k), scale), axis=-1)
        mixed = g.add("Transpose", g.add("MatMul", weights, v), perm=[0, 2, 1, 3])
        at = g.add("Add", at, g.add("MatMul", g.add("Reshape", mixed, join), g.random(d, d)))
        wide = g.add("Relu", g.add("MatMul", norm(at), g.random(d, 4 * d)))
        at = g.add("Add", at, g.add("MatMul", wide, g.random(4 * d, d)))
    g.add("ReduceMean", at, axes=[1], keepdims=0, output="y")
    return g.model(["N", "L", d], ["N", d])


def write(out, name, model, *shape):
    import onnxruntime

    folder = out / name
    (folder / "1").mkdir(parents=True, exist_ok=True)
    file = folder / "1" / "model.onnx"
    onnx.save(model, file)
    values = RNG.standard_normal((1, *shape)).astype(np.float32).round(3)
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {"x": values})

    def tensor(tensor_name, array):
        flat = [float(v) for v in array.ravel()]
        return {"name": tensor_name, "shape": list(array.shape), "datatype": "FP32", "data": flat}

    (folder / "sample.json").write_text(json.dumps({"inputs": [tensor("x", values)]}) + "\n")
    golden = {"model_name": name, "model_version": "1", "outputs": [tensor("y", answer)]}
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    print(name, answer.shape)


def main():
    out = Path(sys.argv[1])
    write(out, "m0", identity(16), 16)
    write(out, "m1", logistic(), 32)
    write(out, "m2", trees(), 30)
    write(out, "m3", mlp(), 256)
    write(out, "m4", conv(), 3, 64, 64)
    write(out, "m5", transformer(), 24, 128)
    write(out, "m6", identity(3, 224, 224), 3, 224, 224)


if __name__ == "__main__":
    main()
