"""Writes a transformer with token ids and an attention mask: model.py FILE LAYERS WIDTH. M5 of the load tests has
4 layers of width 128 and 4 heads."""
import sys
import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

LAYERS, WIDTH = int(sys.argv[2]), int(sys.argv[3])
HEADS, WORDS = 4, 1000
rng = np.random.default_rng(5)
nodes, weights = [], []


def weight(values):
    name = f"w{len(weights)}"
    weights.append(numpy_helper.from_array(np.asarray(values), name))
    return name


def add(op, *inputs, **attributes):
    name = f"t{len(nodes)}"
    nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
    return name


def floats(*shape):
    return weight((rng.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32))


def norm(at):
    return add("LayerNormalization", at, weight(np.ones(WIDTH, np.float32)), weight(np.zeros(WIDTH, np.float32)), axis=-1)


def heads(at, order):
    apart = add("Reshape", add("MatMul", at, floats(WIDTH, WIDTH)), weight(np.array([0, 0, HEADS, WIDTH // HEADS])))
    return add("Transpose", apart, perm=order)


def build(path):
    real = add("Cast", "attention_mask", to=TensorProto.FLOAT)
    bias = add("Mul", add("Sub", weight(np.float32(1)), real), weight(np.float32(-1e9)))
    bias = add("Unsqueeze", bias, weight(np.array([1, 2])))
    column = add("Unsqueeze", real, weight(np.array([2])))
    at = add("Gather", floats(WORDS, WIDTH), "input_ids")
    for _ in range(LAYERS):
        normed = norm(at)
        q, k, v = heads(normed, [0, 2, 1, 3]), heads(normed, [0, 2, 3, 1]), heads(normed, [0, 2, 1, 3])
        scores = add("Mul", add("MatMul", q, k), weight(np.float32((WIDTH // HEADS) ** -0.5)))
        shares = add("Softmax", add("Add", scores, bias), axis=-1)
        mixed = add("Transpose", add("MatMul", shares, v), perm=[0, 2, 1, 3])
        joined = add("Reshape", mixed, weight(np.array([0, 0, WIDTH])))
        at = add("Add", at, add("MatMul", joined, floats(WIDTH, WIDTH)))
        wide = add("Relu", add("MatMul", norm(at), floats(WIDTH, 4 * WIDTH)))
        at = add("Add", at, add("MatMul", wide, floats(4 * WIDTH, WIDTH)))
    one = weight(np.array([1]))
    total = add("ReduceSum", add("Mul", at, column), one, keepdims=0)
    nodes.append(helper.make_node("Div", [total, add("ReduceSum", column, one, keepdims=0)], ["y"]))
    ids = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "sequence"]) for n in ("input_ids", "attention_mask")]
    graph = helper.make_graph(nodes, "m5", ids, [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", WIDTH])], weights)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


build(sys.argv[1])
