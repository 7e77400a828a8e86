"""Make the model directory with which memory and start are measured: five models, two of them large.

    python models.py FOLDER

identity, mlp (16-64-64-1) and trees are small; transformer has 90 MB of weights in 12 layers, convnet 102 MB
in the shape of ResNet-50. The weights are random, with a fixed seed. Needs the package `onnx`.
"""

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

RANDOM = np.random.default_rng(15)


class Graph:
    """Collects nodes and weights."""

    def __init__(self):
        self.nodes, self.weights, self.count = [], [], 0

    def weight(self, *shape, scale=None):
        name = f"w{len(self.weights)}"
        fan_in = int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
        values = RANDOM.standard_normal(shape, dtype=np.float32)
        values *= np.float32(scale if scale is not None else fan_in**-0.5)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def constant(self, values):
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, op, *inputs, **attributes):
        self.count += 1
        name = f"v{self.count}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"n{self.count}", **attributes))
        return name

    def save(self, folder, model, inputs, output, opset=17):
        self.nodes.append(helper.make_node("Identity", [output[0]], ["y"], name="last"))
        tensors = [helper.make_tensor_value_info(*given) for given in inputs]
        y = helper.make_tensor_value_info("y", *output[1:])
        graph = helper.make_graph(self.nodes, model, tensors, [y], self.weights)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
        path = Path(folder) / model / "1" / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
        print(model, path.stat().st_size)


FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64


def identity(folder):
    g = Graph()
    g.save(folder, "identity", [("x", FLOAT, ["n", 16])], ("x", FLOAT, ["n", 16]))


def mlp(folder):
    g = Graph()
    x = "x"
    for width, wider in [(16, 64), (64, 64)]:
        x = g.node("Relu", g.node("Gemm", x, g.weight(width, wider), g.weight(wider)))
    x = g.node("Gemm", x, g.weight(64, 1), g.weight(1))
    g.save(folder, "mlp", [("x", FLOAT, ["n", 16])], (x, FLOAT, ["n", 1]))


def trees(folder, count=200, depth=6):
    """A regression forest of complete trees."""
    inner, size = 2**depth - 1, 2 ** (depth + 1) - 1
    nodes = np.tile(np.arange(size), count)
    ids = np.repeat(np.arange(count), size)
    is_leaf = nodes >= inner
    leaves = is_leaf.nonzero()[0]
    g = Graph()
    y = g.node(
        "TreeEnsembleRegressor",
        "x",
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=ids.tolist(),
        nodes_nodeids=nodes.tolist(),
        nodes_featureids=np.where(is_leaf, 0, RANDOM.integers(0, 16, nodes.size)).tolist(),
        nodes_values=np.where(is_leaf, 0, RANDOM.standard_normal(nodes.size)).astype(np.float32).tolist(),
        nodes_modes=np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_truenodeids=np.where(is_leaf, 0, 2 * nodes + 1).tolist(),
        nodes_falsenodeids=np.where(is_leaf, 0, 2 * nodes + 2).tolist(),
        target_treeids=ids[leaves].tolist(),
        target_nodeids=nodes[leaves].tolist(),
        target_ids=[0] * leaves.size,
        target_weights=RANDOM.standard_normal(leaves.size).astype(np.float32).tolist(),
    )
    g.save(folder, "trees", [("x", FLOAT, ["n", 16])], (y, FLOAT, ["n", 1]))


def layer_norm(g, x, width):
    return g.node("LayerNormalization", x, g.weight(width), g.weight(width), axis=-1, epsilon=1e-5)


def transformer(folder, layers=12, width=384, heads=6, inner=1536, words=3_000, length=64):
    """An encoder of token ids: attention, two dense layers, the mean over the words."""
    g = Graph()
    x = g.node("Gather", g.weight(words, width, scale=1.0), "ids")
    x = g.node("Add", x, g.weight(length, width, scale=1.0))
    split = g.constant(np.array([0, 0, heads, width // heads], np.int64))
    merged = g.constant(np.array([0, 0, width], np.int64))
    scale = g.constant(np.float32((width // heads) ** -0.5))
    for _ in range(layers):
        n = layer_norm(g, x, width)
        q, k, v = (g.node("Add", g.node("MatMul", n, g.weight(width, width)), g.weight(width)) for _ in range(3))
        q, k, v = (g.node("Reshape", part, split) for part in (q, k, v))
        q = g.node("Transpose", q, perm=[0, 2, 1, 3])
        k = g.node("Transpose", k, perm=[0, 2, 3, 1])
        v = g.node("Transpose", v, perm=[0, 2, 1, 3])
        weights = g.node("Softmax", g.node("Mul", g.node("MatMul", q, k), scale), axis=-1)
        a = g.node("Transpose", g.node("MatMul", weights, v), perm=[0, 2, 1, 3])
        a = g.node("MatMul", g.node("Reshape", a, merged), g.weight(width, width))
        x = g.node("Add", x, a)
        h = g.node("Relu", g.node("Add", g.node("MatMul", layer_norm(g, x, width), g.weight(width, inner)), g.weight(inner)))
        x = g.node("Add", x, g.node("MatMul", h, g.weight(inner, width)))
    x = g.node("ReduceMean", x, axes=[1], keepdims=0)
    g.save(folder, "transformer", [("ids", INT, ["n", length])], (x, FLOAT, ["n", width]))


def convnet(folder):
    """ResNet-50 without batch normalisation, which is part of the weights after training."""
    g = Graph()

    def conv(x, into, out, size, stride=1):
        pad = size // 2
        return g.node(
            "Conv", x, g.weight(out, into, size, size), g.weight(out, scale=0.01), kernel_shape=[size, size],
            strides=[stride, stride], pads=[pad, pad, pad, pad],
        )

    x = g.node("Relu", conv("x", 3, 64, 7, 2))
    x = g.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    into = 64
    for stage, blocks in enumerate([3, 4, 6, 3]):
        middle = 64 * 2**stage
        for block in range(blocks):
            stride = 2 if block == 0 and stage > 0 else 1
            h = g.node("Relu", conv(x, into, middle, 1))
            h = g.node("Relu", conv(h, middle, middle, 3, stride))
            h = conv(h, middle, 4 * middle, 1)
            skip = conv(x, into, 4 * middle, 1, stride) if block == 0 else x
            x = g.node("Relu", g.node("Add", h, skip))
            into = 4 * middle
    x = g.node("Flatten", g.node("GlobalAveragePool", x))
    x = g.node("Gemm", x, g.weight(into, 1000), g.weight(1000))
    g.save(folder, "convnet", [("x", FLOAT, ["n", 3, 224, 224])], (x, FLOAT, ["n", 1000]))


if __name__ == "__main__":
    for make in (identity, mlp, trees, transformer, convnet):
        make(sys.argv[1])
