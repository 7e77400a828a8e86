"""Models whose rows influence each other, and models as exporters write them, whose rows do not.

`make FOLDER EXPECTED`: a model directory with a folder for each model, and a file that says for each whether the graph proves that its
rows are independent, and if not, the operator that must be named.

`check FOLDER EXPECTED BATCHES`: runs the rows of the models whose rows are independent alone and in so many random batches.
Exits with 1 if a row's answer depends on its batch.
"""

import json
import os
import sys
from pathlib import Path

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from onnx import numpy_helper

F, I, S, B = T.FLOAT, T.INT64, T.STRING, T.BOOL
random = np.random.default_rng(5)


def info(name, kind, dims):
    return h.make_tensor_value_info(name, kind, dims)


def weights(*shape):
    return random.normal(0, 0.3, shape).astype(np.float32)


class Graph:
    """A model over `x` that is written node by node."""

    def __init__(self, dims, kind=F, opset=21, more=()):
        self.nodes, self.constants, self.opset, self.functions = [], [], opset, []
        self.inputs = [info("x", kind, dims), *more]

    def constant(self, value, kind=np.int64):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind if isinstance(value, (int, float, list)) else None), name))
        return name

    def add(self, op, *inputs, outputs=1, name=None, domain="", **attributes):
        inputs = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        base = name or f"{op.lower()}_{len(self.nodes)}"
        names = [f"{base}:{at}" for at in range(outputs)]
        self.nodes.append(h.make_node(op, inputs, names, name=base, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def model(self, y, dims, kind=F):
        self.nodes.append(h.make_node("Identity", [y], ["y"], name="out"))
        graph = h.make_graph(self.nodes, "g", self.inputs, [info("y", kind, dims)], self.constants)
        opsets = [h.make_opsetid("", self.opset), h.make_opsetid("ai.onnx.ml", 3), h.make_opsetid("local", 1)]
        return h.make_model(graph, opset_imports=opsets, ir_version=10, functions=self.functions)

    def size(self, x, axis, scalar=False):
        """`x.size(axis)` as exporters write it."""
        shape = self.add("Shape", x)
        return self.add("Gather", shape, self.constant(axis) if scalar else self.constant([axis]))


def body(nodes, inputs, outputs, constants=()):
    return h.make_graph(nodes, "body", inputs, outputs, constants)


MIXING, PROVEN = {}, {}


def mixing(operator, dims=("N", 4), out=("N", 4), kind=F, out_kind=F, opset=21):
    """A model that mixes rows; its maker names the node `culprit`."""

    def take(make):
        def whole():
            graph = Graph(list(dims), kind, opset)
            return graph.model(make(graph), list(out), out_kind)

        MIXING[make.__name__] = (operator, whole)
        return make

    return take


def proven(dims=("N", 4), out=("N", 4), kind=F, out_kind=F, opset=21, more=()):
    def take(make):
        def whole():
            graph = Graph(list(dims), kind, opset, more)
            return graph.model(make(graph), list(out), out_kind)

        PROVEN[make.__name__] = whole
        return make

    return take


# Rows influence each other.


@mixing("DynamicQuantizeLinear", out=("N",), out_kind=I)
def quantized_label(g):
    q, s, z = g.add("DynamicQuantizeLinear", "x", outputs=3, name="culprit")
    a = g.add("MatMulInteger", q, g.constant(random.integers(-100, 100, (4, 3)).astype(np.int8)), z)
    return g.add("ArgMax", g.add("Cast", a, to=F), axis=1, keepdims=0)


@mixing("StringSplit", dims=("N",), out=("N", "P"), kind=S, out_kind=S)
def text_split(g):
    return g.add("StringSplit", "x", delimiter=" ", outputs=2, name="culprit")[0]


@mixing("StringNormalizer", dims=("N",), out=("N",), kind=S, out_kind=S)
def text_stopwords(g):
    return g.add("StringNormalizer", "x", stopwords=["a", "The"], is_case_sensitive=1, locale="C", name="culprit")


@mixing("ReduceMax")
def scaled_by_largest(g):
    return g.add("Div", "x", g.add("Max", g.add("ReduceMax", "x", keepdims=1, name="culprit"), g.constant(1.0, np.float32)))


@mixing("ReduceMean")
def centred(g):
    return g.add("Sub", "x", g.add("ReduceMean", "x", [0], name="culprit"))


@mixing("ReduceSum")
def normed_by_attribute(g):
    return g.add("Div", "x", g.add("ReduceSum", g.add("Abs", "x"), [-2], keepdims=1, name="culprit"))


@mixing("CumSum")
def running(g):
    return g.add("CumSum", "x", g.constant(0), name="culprit")


@mixing("CumSum")
def running_from_behind(g):
    return g.add("CumSum", "x", g.constant(-2), reverse=1, name="culprit")


@mixing("TopK")
def sorted_rows(g):
    return g.add("TopK", "x", g.size("x", 0), axis=0, outputs=2, name="culprit")[0]


@mixing("Softmax")
def softmax_over_rows(g):
    return g.add("Softmax", "x", axis=0, name="culprit")


@mixing("Softmax", opset=11)
def old_softmax_over_all(g):
    return g.add("Softmax", "x", axis=0, name="culprit")


@mixing("LpNormalization")
def normed_over_rows(g):
    return g.add("LpNormalization", "x", axis=0, name="culprit")


@mixing("Hardmax")
def hardmax_over_rows(g):
    return g.add("Hardmax", "x", axis=0, name="culprit")


@mixing("NonZero", out=("N", 2), out_kind=I)
def places(g):
    return g.add("Transpose", g.add("NonZero", "x", name="culprit"))


@mixing("BatchNormalization")
def trained_norm(g):
    parameters = [g.constant(np.full(4, v, np.float32)) for v in (1, 0, 0, 1)]
    return g.add("BatchNormalization", "x", *parameters, training_mode=1, outputs=3, name="culprit")[0]


@mixing("MeanVarianceNormalization", dims=("N", 2, 3, 3), out=("N", 2, 3, 3))
def normed_with_batch(g):
    return g.add("MeanVarianceNormalization", "x", name="culprit")


@mixing("MatMul", out=("N", "M"))
def similarities(g):
    return g.add("MatMul", "x", g.add("Transpose", "x"), name="culprit")


@mixing("MatMul")
def attention_over_rows(g):
    scores = g.add("MatMul", "x", g.add("Transpose", "x"), name="culprit")
    return g.add("MatMul", g.add("Softmax", scores), "x")


@mixing("Einsum", out=("N", "M"))
def similarities_by_letters(g):
    return g.add("Einsum", "x", "x", equation="ij,kj->ik", name="culprit")


@mixing("Reshape")
def turned_and_cut(g):
    return g.add("Reshape", g.add("Transpose", "x"), [-1, 4], name="culprit")


@mixing("ReduceMax")
def loop_over_values(g):
    count = g.add("Cast", g.add("ReduceMax", g.add("Clip", "x", g.constant(0.0, np.float32), g.constant(9.0, np.float32)), keepdims=0, name="largest"), to=I)
    return g.add("Loop", count, "", "x", body=LOOP_DOUBLES, name="culprit")


@mixing("CumSum")
def loop_body(g):
    inside = body(
        [h.make_node("CumSum", ["v", "axis"], ["w"], name="culprit"), h.make_node("Identity", ["go"], ["on"])],
        [info("i", I, []), info("go", B, []), info("v", F, None)],
        [info("on", B, []), info("w", F, None)],
        [numpy_helper.from_array(np.int64(0), "axis")],
    )
    return g.add("Loop", g.constant(2), "", "x", body=inside)


@mixing("Softmax")
def second_pass_of_a_loop(g):
    """Rows come to the place that the body mixes in the second pass only: two states change places."""
    inside = body(
        [
            h.make_node("Softmax", ["a"], ["s"], axis=0, name="culprit"),
            h.make_node("Identity", ["b"], ["c"]),
            h.make_node("Identity", ["go"], ["on"]),
            h.make_node("Add", ["b", "s"], ["d"]),
        ],
        [info("i", I, []), info("go", B, []), info("a", F, None), info("b", F, None)],
        [info("on", B, []), info("c", F, None), info("d", F, None)],
    )
    zeros = g.add("Mul", "x", g.constant(0.0, np.float32))
    return g.add("Loop", g.constant(3), "", zeros, "x", body=inside, outputs=2)[1]


@mixing("Scan")
def scan_over_rows(g):
    inside = body(
        [h.make_node("Add", ["s", "e"], ["t"]), h.make_node("Identity", ["t"], ["u"])],
        [info("s", F, [4]), info("e", F, [4])],
        [info("t", F, [4]), info("u", F, [4])],
    )
    return g.add("Scan", g.constant(np.zeros(4, np.float32)), "x", body=inside, num_scan_inputs=1, outputs=2, name="culprit")[1]


@mixing("ReduceSum")
def condition_of_rows(g):
    condition = g.add("Greater", g.add("ReduceSum", "x", keepdims=0, name="culprit"), g.constant(0.0, np.float32))
    return g.add("If", condition, **branches(h.make_node("Neg", ["x"], ["t"]), h.make_node("Identity", ["x"], ["e"])))


@mixing("CumSum")
def branch_body(g):
    many = g.add("Greater", g.size("x", 1), [2])
    nodes = branches(h.make_node("CumSum", ["x", g.constant(0)], ["t"], name="culprit"), h.make_node("Identity", ["x"], ["e"]))
    return g.add("If", g.add("Squeeze", many), **nodes)


@mixing("Greater")
def branch_by_rows(g):
    many = g.add("Greater", g.add("Cast", g.size("x", 0, True), to=F), g.constant(2.0, np.float32))
    return g.add("If", many, **branches(h.make_node("Neg", ["x"], ["t"]), h.make_node("Identity", ["x"], ["e"])))


@mixing("Compress")
def chosen_rows(g):
    first = g.add("Reshape", g.add("Slice", "x", [0], [1], [1]), [-1])
    return g.add("Compress", "x", g.add("Greater", first, g.constant(0.0, np.float32)), axis=0, name="culprit")


@mixing("Unique", out=("N",))
def different_values(g):
    return g.add("Unique", "x", outputs=4, name="culprit")[0]


@mixing("Where", dims=("N", 1), out=("N", "M"))
def where_over_rows(g):
    turned = g.add("Transpose", "x")
    return g.add("Where", g.add("Greater", turned, g.constant(0.0, np.float32)), "x", turned, name="culprit")


@mixing("Concat", dims=("N",), out=("N",))
def constant_for_each_place(g):
    padded = g.add("Concat", "x", g.constant(np.zeros(3, np.float32)), axis=0, name="culprit")
    return g.add("Slice", padded, [0], g.size("x", 0))


@mixing("Resize")
def resized_rows(g):
    return g.add("Resize", "x", "", g.constant(np.float32([2, 1])), mode="linear", name="culprit")


@mixing("Slice")
def reversed_rows(g):
    return g.add("Slice", "x", [-1], [-(2**31)], [0], [-1], name="culprit")


@mixing("Expand")
def reversed_by_length(g):
    lengths = g.add("Expand", g.size("x", 0), [4])
    return g.add("ReverseSequence", "x", lengths, time_axis=0, batch_axis=1, name="culprit")


@mixing("Pad")
def padded_rows(g):
    return g.add("Pad", "x", [1, 0, 0, 0], name="culprit")


@mixing("ArgMax")
def gathered_along_rows(g):
    places = g.add("ArgMax", "x", axis=0, keepdims=1, name="culprit")
    return g.add("GatherElements", "x", g.add("Expand", places, g.add("Shape", "x")), axis=0)


@mixing("Div")
def divided_by_rows(g):
    return g.add("Div", "x", g.add("Cast", g.size("x", 0), to=F), name="culprit")


@mixing("Range")
def numbered_rows(g):
    numbers = g.add("Range", g.constant(0), g.size("x", 0, True), g.constant(1), name="culprit")
    return g.add("Add", "x", g.add("Cast", g.add("Unsqueeze", numbers, [1]), to=F))


@mixing("RandomNormalLike")
def noise(g):
    return g.add("Add", "x", g.add("RandomNormalLike", "x", name="culprit"))


@mixing("EyeLike")
def identity_matrix(g):
    return g.add("Add", "x", g.add("EyeLike", "x", name="culprit"))


@mixing("Normalizer", dims=("N",), out=("N",))
def normalizer_of_a_vector(g):
    return g.add("Normalizer", "x", domain="ai.onnx.ml", norm="L2", name="culprit")


@mixing("ReduceMax")
def function_of_the_model(g):
    nodes = [
        h.make_node("ReduceMax", ["a"], ["m"], keepdims=1, name="culprit"),
        h.make_node("Sub", ["a", "m"], ["b"]),
    ]
    g.functions.append(h.make_function("local", "Shifted", ["a"], ["b"], nodes, [h.make_opsetid("", 21)]))
    return g.add("Shifted", "x", domain="local")


@mixing("Softmax")
def function_with_an_attribute(g):
    node = h.make_node("Softmax", ["a"], ["b"], name="culprit")
    reference = node.attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "axis", "along", onnx.AttributeProto.INT
    g.functions.append(h.make_function("local", "Soft", ["a"], ["b"], [node], [h.make_opsetid("", 21)], ["along"]))
    return g.add("Soft", "x", domain="local", along=0)


@mixing("LSTM", dims=("N", 5, 4), out=("N", 1, 5, 3))
def lstm_over_rows(g):
    parameters = [g.constant(weights(1, 12, 4)), g.constant(weights(1, 12, 3))]
    return g.add("LSTM", "x", *parameters, hidden_size=3, outputs=3, name="culprit")[0]


def branches(then, other):
    then_branch = h.make_graph([then], "then", [], [info(then.output[0], F, None)])
    else_branch = h.make_graph([other], "else", [], [info(other.output[0], F, None)])
    return {"then_branch": then_branch, "else_branch": else_branch}


LOOP_DOUBLES = body(
    [h.make_node("Add", ["v", "v"], ["w"]), h.make_node("Identity", ["go"], ["on"])],
    [info("i", I, []), info("go", B, []), info("v", F, None)],
    [info("on", B, []), info("w", F, None)],
)

# As exporters write models.


def heads_of(g, x, count=2, width=4):
    """`x.view(n, l, heads, width).transpose(1, 2)` as torch.onnx writes it."""
    n, l = g.size(x, 0, True), g.size(x, 1, True)
    parts = [g.add("Unsqueeze", part, [0]) for part in (n, l)]
    shape = g.add("Concat", *parts, g.constant([count]), g.constant([width]), axis=0)
    return g.add("Transpose", g.add("Reshape", x, shape), perm=[0, 2, 1, 3])


@proven(dims=("N", "L", 8), out=("N", "L", 8))
def torch_attention(g):
    q, k, v = (heads_of(g, g.add("Add", g.add("MatMul", "x", g.constant(weights(8, 8))), g.constant(weights(8)))) for _ in range(3))
    scores = g.add("MatMul", q, g.add("Transpose", k, perm=[0, 1, 3, 2]))
    # The square root of the last length, cut out of the shape.
    width = g.add("Slice", g.add("Shape", q), [-1], [2**63 - 1])
    scale = g.add("Sqrt", g.add("Cast", width, to=F))
    mixed = g.add("Transpose", g.add("MatMul", g.add("Softmax", g.add("Div", scores, scale), axis=-1), v), perm=[0, 2, 1, 3])
    n, l = g.size(mixed, 0), g.size(mixed, 1)
    joined = g.add("Reshape", mixed, g.add("Concat", n, l, g.constant([8]), axis=0))
    out = g.add("LayerNormalization", g.add("Add", joined, "x"), g.constant(weights(8)), g.constant(weights(8)), axis=-1)
    return out


@proven(dims=("N", "L", 8), out=("N", "L", 8))
def reshape_with_zeros(g):
    split = g.add("Transpose", g.add("Reshape", "x", [0, -1, 2, 4]), perm=[0, 2, 1, 3])
    scores = g.add("MatMul", split, g.add("Transpose", split, perm=[0, 1, 3, 2]))
    back = g.add("Transpose", g.add("MatMul", g.add("Softmax", scores), split), perm=[0, 2, 1, 3])
    return g.add("Reshape", back, [0, 0, -1])


@proven(dims=("N", 2, 4, 3), out=("N", 5))
def torch_flatten(g):
    """`torch.flatten(x, 1)` before operator set 13."""
    shape = g.add("Shape", "x")
    flat = g.add("Reshape", "x", g.add("Concat", g.add("Slice", shape, [0], [1]), g.constant([-1]), axis=0))
    return g.add("Gemm", flat, g.constant(weights(24, 5)), g.constant(weights(5)))


@proven(dims=("N", 2, 4, 3), out=("N", 24))
def keras_flatten(g):
    """`Flatten` as tf2onnx writes it: the number of rows and the product of the rest."""
    shape = g.add("Cast", g.add("Shape", "x"), to=T.INT32)
    rows = g.add("Squeeze", g.add("Slice", shape, [0], [1]), [0])
    rest = g.add("ReduceProd", g.add("Cast", g.add("Slice", shape, [1], [4]), to=F), keepdims=0)
    parts = [g.add("Unsqueeze", part, [0]) for part in (rows, g.add("Cast", rest, to=T.INT32))]
    return g.add("Reshape", "x", g.add("Cast", g.add("Concat", *parts, axis=0), to=I))


@proven(dims=("N", 12), out=("N", 3, 4))
def keras_reshape(g):
    rows = g.add("Squeeze", g.add("Slice", g.add("Cast", g.add("Shape", "x"), to=T.INT32), [0], [1]), [0])
    parts = [g.add("Unsqueeze", rows, [0]), g.constant(np.int32([3])), g.constant(np.int32([4]))]
    return g.add("Reshape", "x", g.add("Cast", g.add("Concat", *parts, axis=0), to=I))


@proven(dims=("N", "H", "W", 2), out=("N", "H", "W", 3))
def keras_convolution(g):
    """Channels last, turned for the convolution and back."""
    turned = g.add("Transpose", "x", perm=[0, 3, 1, 2])
    made = g.add("Conv", turned, g.constant(weights(3, 2, 3, 3)), pads=[1, 1, 1, 1])
    return g.add("Transpose", g.add("Relu", made), perm=[0, 2, 3, 1])


def recurrent(g, op, gates, state):
    turned = g.add("Transpose", "x", perm=[1, 0, 2])
    parameters = [g.constant(weights(1, gates * 3, 4)), g.constant(weights(1, gates * 3, 3))]
    states = [state(g)] * (2 if op == "LSTM" else 1) if state else []
    outputs = g.add(op, turned, *parameters, "", "", *states, hidden_size=3, outputs=3 if op == "LSTM" else 2)
    return g.add("Transpose", g.add("Squeeze", outputs[0], [1]), perm=[1, 0, 2])


def zeros_of(g):
    """The state of torch: zeros of (1, n, hidden)."""
    shape = g.add("Concat", g.constant([1]), g.size("x", 0), g.constant([3]), axis=0)
    return g.add("ConstantOfShape", shape, value=numpy_helper.from_array(np.float32([0])))


def expanded_state(g):
    """A learned state, repeated for each row by Shape and Expand with −1 for lengths that stay."""
    target = g.add("Concat", g.constant([1]), g.size("x", 0), g.constant([-1]), axis=0)
    ones = g.add("ConstantOfShape", g.constant([3]), value=numpy_helper.from_array(np.int64([1])))
    is_free = g.add("Equal", target, g.add("Mul", ones, g.constant([-1])))
    return g.add("Expand", g.constant(weights(1, 1, 3)), g.add("Where", is_free, ones, target))


@proven(dims=("N", "L", 4), out=("N", "L", 3))
def torch_lstm(g):
    return recurrent(g, "LSTM", 4, zeros_of)


@proven(dims=("N", "L", 4), out=("N", "L", 3))
def torch_gru(g):
    return recurrent(g, "GRU", 3, expanded_state)


@proven(dims=("N", "L", 4), out=("N", 3))
def keras_lstm_last(g):
    turned = g.add("Transpose", "x", perm=[1, 0, 2])
    parameters = [g.constant(weights(1, 12, 4)), g.constant(weights(1, 12, 3))]
    last = g.add("LSTM", turned, *parameters, hidden_size=3, outputs=3)[1]
    return g.add("Squeeze", last, [0])


@proven(dims=("N", "L"), out=("N", "L", 4), kind=I)
def torch_positions(g):
    """Token and position embeddings: arange(l) expanded to (n, l)."""
    l = g.size("x", 1, True)
    numbers = g.add("Unsqueeze", g.add("Range", g.constant(0), l, g.constant(1)), [0])
    target = g.add("Concat", g.size("x", 0), g.size("x", 1), axis=0)
    places = g.add("Expand", numbers, target)
    tokens = g.add("Gather", g.constant(weights(30, 4)), g.add("Clip", "x", g.constant(0), g.constant(29)))
    return g.add("Add", tokens, g.add("Gather", g.constant(weights(300, 4)), places))


@proven(dims=("N", "L", 8), out=("N", "L", 8), more=(info("mask", I, ["N", "L"]),))
def bert_mask(g):
    """The mask of BERT: (n, l) to (n, 1, 1, l), 1 − mask, times the smallest number."""
    mask = g.add("Cast", g.add("Unsqueeze", "mask", [1, 2]), to=F)
    bias = g.add("Mul", g.add("Sub", g.constant(1.0, np.float32), mask), g.constant(-1e4, np.float32))
    q = heads_of(g, "x")
    scores = g.add("Add", g.add("MatMul", q, g.add("Transpose", q, perm=[0, 1, 3, 2])), bias)
    back = g.add("Transpose", g.add("MatMul", g.add("Softmax", scores), q), perm=[0, 2, 1, 3])
    shape = g.add("Concat", g.size(back, 0), g.size(back, 1), g.constant([8]), axis=0)
    return g.add("Reshape", back, shape)


@proven(dims=("N", "L", 4), out=("N", 4), more=(info("mask", I, ["N", "L"]),))
def mean_pooling(g):
    """Sentence embeddings: the mean of the tokens under the mask, then the length of each vector."""
    mask = g.add("Expand", g.add("Unsqueeze", "mask", [-1]), g.add("Shape", "x"))
    mask = g.add("Cast", mask, to=F)
    total = g.add("ReduceSum", g.add("Mul", "x", mask), [1], keepdims=0)
    count = g.add("Clip", g.add("ReduceSum", mask, [1], keepdims=0), g.constant(1e-9, np.float32))
    mean = g.add("Div", total, count)
    norm = g.add("Clip", g.add("ReduceL2", mean, [1], keepdims=1), g.constant(1e-12, np.float32))
    return g.add("Div", mean, g.add("Expand", norm, g.add("Shape", mean)))


@proven(dims=("N", "L", 4), out=("N", "L", 4))
def causal_mask(g):
    """A lower triangle of the length of the sequence, with torch's ConstantOfShape and Trilu."""
    l = g.size("x", 1)
    ones = g.add("ConstantOfShape", g.add("Concat", l, l, axis=0), value=numpy_helper.from_array(np.float32([-1e4])))
    bias = g.add("Trilu", ones, g.constant(1), upper=1)
    scores = g.add("Add", g.add("MatMul", "x", g.add("Transpose", "x", perm=[0, 2, 1])), bias)
    return g.add("MatMul", g.add("Softmax", scores), "x")


@proven(dims=("N", 2, "H", "W"), out=("N", 2, "A", "B"))
def torch_upsample(g):
    """`interpolate(x, scale_factor=1.5)`: sizes from the shape, times a number, rounded down."""
    shape = g.add("Shape", "x")
    inner = g.add("Cast", g.add("Slice", shape, [2], [4]), to=F)
    sizes = g.add("Cast", g.add("Floor", g.add("Mul", inner, g.constant(np.float32([1.5, 1.5])))), to=I)
    target = g.add("Concat", g.add("Slice", shape, [0], [2]), sizes, axis=0)
    return g.add("Resize", "x", "", "", target, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")


@proven(dims=("N", 2, "H", "W"), out=("N", 2, "A", "B"))
def upsample_by_scales(g):
    return g.add("Resize", "x", "", g.constant(np.float32([1, 1, 1.5, 2])), mode="linear")


@proven(dims=("N", 4, 6, 6), out=("N", 4, 6, 6))
def group_norm(g):
    """`GroupNorm` of torch before operator set 18: an InstanceNormalization of (n, groups, −1)."""
    normed = g.add("InstanceNormalization", g.add("Reshape", "x", [0, 2, -1]), g.constant(np.float32([1, 1])), g.constant(np.float32([0, 0])))
    back = g.add("Reshape", normed, g.add("Shape", "x"))
    return g.add("Add", g.add("Mul", back, g.constant(weights(4, 1, 1))), g.constant(weights(4, 1, 1)))


@proven(dims=("N", 4, "H", "W"), out=("N", 4, "H", "W"))
def channel_shuffle(g):
    n, h, w = g.size("x", 0), g.size("x", 2), g.size("x", 3)
    split = g.add("Reshape", "x", g.add("Concat", n, g.constant([2]), g.constant([2]), h, w, axis=0))
    turned = g.add("Transpose", split, perm=[0, 2, 1, 3, 4])
    return g.add("Reshape", turned, g.add("Concat", n, g.constant([-1]), h, w, axis=0))


@proven(dims=("N", 4, "H", "W"), out=("N", 4))
def squeeze_and_excite(g):
    pooled = g.add("GlobalAveragePool", "x")
    gate = g.add("Sigmoid", g.add("Conv", pooled, g.constant(weights(4, 4, 1, 1))))
    return g.add("ReduceMean", g.add("Mul", "x", gate), [2, 3], keepdims=0)


@proven(dims=("N", 6, 6, 2), out=("N", 2))
def windows(g):
    """Swin: windows of 2 × 2 become rows of their own and come back."""
    cut = g.add("Reshape", g.add("Slice", "x", [0, -4], [4, 6], [1, 2]), g.constant([-1, 2, 2, 2, 2, 2]))
    cut = g.add("Transpose", cut, perm=[0, 1, 3, 2, 4, 5])
    each = g.add("Reshape", cut, [-1, 4, 2])
    scores = g.add("Softmax", g.add("MatMul", each, g.add("Transpose", each, perm=[0, 2, 1])))
    mixed = g.add("Reshape", g.add("MatMul", scores, each), [-1, 2, 2, 2, 2, 2])
    return g.add("ReduceMean", mixed, [1, 2, 3, 4], keepdims=0)


@proven(dims=("N", "L", 4), out=("N", "L", 4))
def scan_over_time(g):
    """A recurrent cell as a Scan over the second axis."""
    inside = body(
        [h.make_node("Add", ["s", "e"], ["u"]), h.make_node("Tanh", ["u"], ["t"]), h.make_node("Identity", ["t"], ["o"])],
        [info("s", F, ["N", 4]), info("e", F, ["N", 4])],
        [info("t", F, ["N", 4]), info("o", F, ["N", 4])],
    )
    zeros = g.add("ConstantOfShape", g.add("Concat", g.size("x", 0), g.constant([4]), axis=0), value=numpy_helper.from_array(np.float32([0])))
    return g.add("Scan", zeros, "x", body=inside, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1], outputs=2)[1]


@proven(dims=("N", "L", 4), out=("N", 4))
def loop_over_time(g):
    """A recurrent cell as a Loop of tf2onnx: it takes step i of a turned input."""
    turned = g.add("Transpose", "x", perm=[1, 0, 2], name="turned")
    inside = body(
        [
            h.make_node("Gather", ["turned:0", "i"], ["e"], axis=0),
            h.make_node("Add", ["s", "e"], ["u"]),
            h.make_node("Tanh", ["u"], ["t"]),
            h.make_node("Identity", ["go"], ["on"]),
        ],
        [info("i", I, []), info("go", B, []), info("s", F, None)],
        [info("on", B, []), info("t", F, None)],
    )
    zeros = g.add("ConstantOfShape", g.add("Concat", g.size("x", 0), g.constant([4]), axis=0), value=numpy_helper.from_array(np.float32([0])))
    return g.add("Loop", g.size("x", 1, True), "", zeros, body=inside)


@proven(dims=("N", 1, 4), out=("N", 4))
def torch_squeeze_by_if(g):
    """`squeeze(1)` of torch: an If on the length of the axis."""
    is_one = g.add("Equal", g.size("x", 1, True), g.constant(1))
    axes = g.constant([1])
    return g.add("If", is_one, **branches(h.make_node("Squeeze", ["x", axes], ["t"]), h.make_node("Identity", ["x"], ["e"])))


@proven()
def function_along_columns(g):
    node = h.make_node("Softmax", ["a"], ["b"])
    reference = node.attribute.add()
    reference.name, reference.ref_attr_name, reference.type = "axis", "along", onnx.AttributeProto.INT
    g.functions.append(h.make_function("local", "Soft", ["a"], ["b"], [node], [h.make_opsetid("", 21)], ["along"]))
    return g.add("Soft", "x", domain="local", along=1)


@proven(dims=("N",), out=("N",), kind=S, out_kind=S)
def lower_case(g):
    return g.add("StringNormalizer", "x", case_change_action="LOWER", is_case_sensitive=1, locale="C")


@proven(out=("N", 3))
def fixed_quantization(g):
    """A model of quantize_static: scales are constants."""
    scale, zero = g.constant(np.float32(0.05)), g.constant(np.uint8(128))
    q = g.add("DequantizeLinear", g.add("QuantizeLinear", "x", scale, zero), scale, zero)
    w = g.add("DequantizeLinear", g.constant(random.integers(-100, 100, (4, 3)).astype(np.int8)), g.constant(np.float32([0.1, 0.2, 0.3])), g.constant(np.int8([0, 0, 0])), axis=1)
    return g.add("MatMul", q, w)


def learned(folder):
    """Models of scikit-learn on real data, as skl2onnx writes them; and one after quantize_dynamic, with its label only."""
    from skl2onnx import to_onnx
    from sklearn import datasets, ensemble, linear_model, naive_bayes, neural_network, pipeline, preprocessing, svm, tree

    x, y = datasets.load_wine(return_X_y=True)
    x = x.astype(np.float32)
    scaled = lambda model: pipeline.make_pipeline(preprocessing.StandardScaler(), model)
    words = np.array(["red", "white", "rose"])[y]
    kinds = {
        "sklearn_logistic": (scaled(linear_model.LogisticRegression()), y),
        "sklearn_logistic_words": (scaled(linear_model.LogisticRegression()), words),
        "sklearn_forest": (ensemble.RandomForestClassifier(10, random_state=1), y),
        "sklearn_boosting": (ensemble.GradientBoostingClassifier(n_estimators=5, random_state=1), y),
        "sklearn_hist_boosting": (ensemble.HistGradientBoostingClassifier(max_iter=5, random_state=1), y),
        "sklearn_perceptron": (scaled(neural_network.MLPClassifier((8,), random_state=1, max_iter=50)), y),
        "sklearn_perceptron_words": (scaled(neural_network.MLPClassifier((8,), random_state=1, max_iter=50)), words),
        "sklearn_tree": (tree.DecisionTreeClassifier(random_state=1), y),
        "sklearn_svm": (scaled(svm.SVC()), y),
        "sklearn_bayes": (naive_bayes.GaussianNB(), y),
        "sklearn_ridge": (scaled(linear_model.Ridge()), x[:, 0]),
        "sklearn_forest_regressor": (ensemble.RandomForestRegressor(5, random_state=1), x[:, 0]),
        "sklearn_voting": (ensemble.VotingClassifier([("a", linear_model.LogisticRegression(max_iter=20)), ("b", tree.DecisionTreeClassifier(random_state=1))], voting="soft"), y),
        "sklearn_polynomial": (pipeline.make_pipeline(preprocessing.PolynomialFeatures(2), preprocessing.MinMaxScaler(), linear_model.Ridge()), x[:, 0]),
        "sklearn_min_max_normalizer": (pipeline.make_pipeline(preprocessing.MinMaxScaler(), preprocessing.Normalizer(), linear_model.LogisticRegression()), y),
    }
    models = {}
    for name, (model, target) in kinds.items():
        options = {"zipmap": False} if hasattr(model, "classes_") or hasattr(model, "predict_proba") or isinstance(model, (svm.SVC, pipeline.Pipeline)) else {}
        model.fit(x, target)
        try:
            models[name] = to_onnx(model, x[:1], options=options if hasattr(model, "classes_") else None, target_opset=18)
        except Exception as error:
            print(name, "is not exported:", str(error).splitlines()[0], file=sys.stderr)

    import tempfile

    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain = models["sklearn_perceptron"]
    with tempfile.TemporaryDirectory() as there:
        whole, small = f"{there}/a.onnx", f"{there}/b.onnx"
        onnx.save(plain, whole)
        quantize_dynamic(whole, small, weight_type=QuantType.QInt8)
        quantized = onnx.load(small)
    del quantized.graph.output[1:]
    quantized.graph.output[0].type.tensor_type.shape.dim[0].dim_param = "N"
    return models, {"sklearn_quantized_label": ("DynamicQuantizeLinear", quantized)}


def make(folder, told):
    folder = Path(folder)
    models, mixing = learned(folder)
    made = {name: ({"independent": True}, model) for name, model in models.items()}
    made |= {name: ({"independent": True}, whole()) for name, whole in PROVEN.items()}
    mixing |= {name: (operator, whole()) for name, (operator, whole) in MIXING.items()}
    made |= {name: ({"independent": False, "operator": operator}, model) for name, (operator, model) in mixing.items()}
    expected = {}
    for name, (what, model) in made.items():
        place = folder / name / "1"
        place.mkdir(parents=True)
        onnx.save(model, place / "model.onnx")
        expected[name] = what
    Path(told).write_text(json.dumps(expected))


def values(model):
    """Arrays in the manner of which rows are made; lengths that are not fixed are 6."""
    kinds = {F: np.float32(1), I: np.int64(1), S: "one text"}
    made = []
    for given in model.graph.input:
        tensor = given.type.tensor_type
        shape = [2] + [dim.dim_value or 6 for dim in tensor.shape.dim[1:]]
        made.append(np.full(shape, kinds[tensor.elem_type], object if tensor.elem_type == S else None))
        if tensor.elem_type == I:
            made[-1].flat[0] = 0
    return made


def check(folder, told, batches):
    import onnxruntime

    from node_cases import disagreement

    wrong, checked = [], 0
    for name, what in json.loads(Path(told).read_text()).items():
        if not what["independent"]:
            continue
        file = str(Path(folder) / name / "1" / "model.onnx")
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        why = disagreement(session, values(onnx.load(file)), int(batches), np.random.default_rng(14))
        checked += 1
        if why:
            wrong.append(f"{name}: {why}")
    print(checked, "models,", batches, "batches each")
    print("\n".join(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](*sys.argv[2:])
