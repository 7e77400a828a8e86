//! Verdicts on operators of each family of rules.

mod values;

use crate::onnx::rows::tests::{Int, Ints, Text, Texts, matrix, op, over};
use crate::testing::graphs::{floats, whole};

#[test]
fn windows_lie_within_a_row() {
    let made = over(&[-1, 2, 4, 4])
        .with(matrix("k", &[3, 2, 3, 3]))
        .with(floats("pair", &[1.0, 1.0]));
    made.check(&[op("Conv", &["x", "k"], "y", &[])], "independent");
    made.check(
        &[op("MaxPool", &["x"], "y,places", &[])],
        "its indices count from the start of the batch",
    );
    let norm = ["x", "pair", "pair", "pair", "pair"];
    let trained = |mode| {
        [op(
            "BatchNormalization",
            &norm,
            "y",
            &[("training_mode", Int(mode))],
        )]
    };
    made.check(&trained(0), "independent");
    made.check(
        &trained(1),
        "in training mode it normalises by the whole batch",
    );
    let made = over(&[-1, -1]);
    made.check(
        &[op("Conv", &["x", "k"], "y", &[])],
        "unknown: operator Conv",
    );
}

#[test]
fn a_batch_axis_keeps_its_length_when_others_are_resized() {
    let made = over(&[-1, 2, 4, 4])
        .with(floats("inner", &[1.0, 1.0, 1.5, 2.0]))
        .with(floats("outer", &[1.5, 1.0, 1.0, 1.0]))
        .with(floats("last", &[1.5, 2.0]));
    let resize = |scales: &str| [op("Resize", &["x", "", scales], "y", &[])];
    made.check(&resize("inner"), "independent");
    made.check(&resize("outer"), "it resizes the batch axis");
    let named = |axes| {
        [op(
            "Resize",
            &["x", "", "last"],
            "y",
            &[("axes", Ints(axes))],
        )]
    };
    made.check(&named(&[2, 3]), "independent");
    made.check(&named(&[0, 3]), "it resizes the batch axis");
    let alike = [
        ("axes", Ints(&[2, 3])),
        ("keep_aspect_ratio_policy", Text("not_larger")),
    ];
    made.check(
        &[op("Resize", &["x", "", "last"], "y", &alike)],
        "unknown: operator Resize",
    );
}

#[test]
fn indices_stay_within_a_row() {
    let made = over(&[-1, 8]).and("z", &[-1, 3]);
    let along = |axis| {
        [op(
            "GatherElements",
            &["x", "z"],
            "y",
            &[("axis", Int(axis))],
        )]
    };
    made.check(&along(1), "independent");
    made.check(&along(0), "along the batch axis");
    made.check(
        &[op("Gather", &["x", "one"], "y", &[("axis", Int(1))])],
        "independent",
    );
    made.check(
        &[op("Gather", &["x", "one"], "y", &[("axis", Int(0))])],
        "along the batch axis",
    );
    made.check(&[op("Gather", &["w", "z"], "y", &[])], "independent");
    made.check(
        &[op("Compress", &["x", "one"], "y", &[])],
        "it selects from all rows together",
    );
    made.check(
        &[op("Pad", &["x", "ends"], "y", &[])],
        "unknown: operator Pad",
    );
    let made = over(&[-1, 8])
        .with(whole("inner", &[0, 1, 0, 1]))
        .with(whole("outer", &[1, 0, 0, 0]));
    made.check(&[op("Pad", &["x", "inner"], "y", &[])], "independent");
    made.check(
        &[op("Pad", &["x", "outer"], "y", &[])],
        "it pads the batch axis",
    );
}

#[test]
fn attention_takes_the_same_rows_everywhere() {
    let made = over(&[-1, 2, 5, 8])
        .and("mask", &[-1, 1, 5, 5])
        .and("flat", &[-1, 5])
        .with(matrix("shared", &[5, 5]))
        .with(matrix("each", &[4, 2, 5, 5]));
    let with = |mask: &str| [op("Attention", &["x", "x", "x", mask], "y", &[])];
    made.check(&with("mask"), "independent");
    made.check(&with("shared"), "independent");
    made.check(
        &with("flat"),
        "the rows of its mask are not on its batch axis",
    );
    made.check(&with("each"), "unknown: operator Attention");
}

#[test]
fn scales_that_the_rows_decide_are_not_proven() {
    let made = over(&[-1, 8]).with(matrix("half", &[]));
    made.check(
        &[op("QuantizeLinear", &["x", "half"], "y", &[])],
        "independent",
    );
    let own = [
        op("ReduceMax", &["x", "one"], "m", &[("keepdims", Int(0))]),
        op("QuantizeLinear", &["x", "m"], "y", &[]),
    ];
    made.check(&own, "unknown: operator QuantizeLinear");
    let clipped = [
        op("ReduceMax", &["x", "one"], "m", &[]),
        op("Clip", &["x", "m"], "y", &[]),
    ];
    made.check(&clipped, "unknown: operator Clip");
    let made = made.with(whole("points", &[1, 2, 3]));
    let product = |zero| [op("MatMulInteger", &["x", "w", zero], "y", &[])];
    made.check(&product("scalar"), "independent");
    made.check(
        &product("points"),
        "its left zero point is not a single number",
    );
}

#[test]
fn class_labels_are_looked_up_by_each_row() {
    let made = over(&[-1, 8]).with(whole("labels", &[4, 5, 6]));
    let labelled = |axis| {
        [
            op(
                "ArgMax",
                &["x"],
                "at",
                &[("axis", Int(axis)), ("keepdims", Int(1))],
            ),
            op(
                "ai.onnx.ml:ArrayFeatureExtractor",
                &["labels", "at"],
                "l",
                &[],
            ),
            op("Reshape", &["l", "minus"], "y", &[]),
        ]
    };
    made.check(&labelled(1), "independent");
    made.check(&labelled(0), "along the batch axis");
    let chosen = [op(
        "ai.onnx.ml:ArrayFeatureExtractor",
        &["x", "one"],
        "y",
        &[],
    )];
    made.check(&chosen, "independent");
    over(&[-1]).check(&chosen, "along the batch axis");
}

#[test]
fn texts_are_padded_or_dropped_by_the_whole_batch() {
    let made = over(&[-1]);
    made.check(&[op("StringNormalizer", &["x"], "y", &[])], "independent");
    let drops = [("stopwords", Texts(&["the"]))];
    made.check(
        &[op("StringNormalizer", &["x"], "y", &drops)],
        "it drops words",
    );
    made.check(
        &[op("StringSplit", &["x"], "y,n", &[])],
        "pads to the longest text",
    );
}

#[test]
fn numbers_with_fractions_are_followed_where_they_set_shapes() {
    let sizes = |last: &str| {
        [
            op("Shape", &["x"], "s", &[]),
            op("Cast", &["s"], "f", &[("to", Int(1))]),
            op("Mul", &["f", last], "m", &[]),
            op("Floor", &["m"], "r", &[]),
            op("Cast", &["r"], "to", &[("to", Int(7))]),
            op("Resize", &["x", "", "", "to"], "y", &[]),
        ]
    };
    let made = over(&[-1, 2, -1, -1])
        .with(floats("inner", &[1.0, 1.0, 1.5, 1.5]))
        .with(floats("outer", &[1.5, 1.0, 1.0, 1.0]));
    made.check(&sizes("inner"), "independent");
    made.check(&sizes("outer"), "the number of rows as a value");
}

#[test]
fn negative_numbers_are_followed() {
    // The part of a shape before an axis, and ones after it.
    let reduced = |axis| {
        [
            op("Shape", &["x"], "s", &[]),
            op("Slice", &["s", "zero", axis], "before", &[]),
            op("Neg", &[axis], "count", &[]),
            op("ConstantOfShape", &["count"], "after", &[]),
            op("Concat", &["before", "after"], "to", &[("axis", Int(0))]),
            op("ReduceMax", &["x", "one"], "m", &[]),
            op("Add", &["m", "rest"], "r", &[]),
            op("ConstantOfShape", &["to"], "zeros", &[]),
            op("Concat", &["r", "zeros"], "y", &[("axis", Int(1))]),
        ]
    };
    let made = over(&[-1, 8]).with(matrix("rest", &[1]));
    made.check(&reduced("minus"), "independent");
}

#[test]
fn a_cast_that_changes_numbers_is_not_followed() {
    let narrow = |to| {
        [
            op("Shape", &["x"], "s", &[]),
            op("Cast", &["s"], "n", &[("to", Int(to))]),
            op("Reshape", &["x", "n"], "y", &[]),
        ]
    };
    over(&[-1, 8]).check(&narrow(7), "independent");
    // INT8 and truth values.
    over(&[-1, 8]).check(&narrow(3), "the number of rows as a value");
    over(&[-1, 8]).check(&narrow(9), "the number of rows as a value");
}

#[test]
fn the_batch_axis_is_neither_removed_nor_repeated_nor_joined() {
    let made = over(&[-1, 3])
        .with(whole("twice", &[2, 1]))
        .with(whole("inner", &[1, 2]));
    made.check(
        &[op("Squeeze", &["x", "zero"], "y", &[])],
        "it removes the batch axis",
    );
    made.check(&[op("Tile", &["x", "inner"], "y", &[])], "independent");
    made.check(
        &[op("Tile", &["x", "twice"], "y", &[])],
        "it repeats the batch",
    );
    made.check(
        &[op("Concat", &["x", "w"], "y", &[("axis", Int(1))])],
        "it joins a constant of a fixed number of rows",
    );
}

#[test]
fn products_do_not_sum_over_the_batch() {
    let made = over(&[-1, 3]);
    made.check(
        &[op("MatMul", &["w", "x"], "y", &[])],
        "it sums over the batch axis",
    );
    let turned = [("transA", Int(1))];
    made.check(
        &[op("Gemm", &["x", "w"], "y", &turned)],
        "it sums over the batch axis",
    );
    let back = [
        op("Transpose", &["x"], "t", &[]),
        op("Gemm", &["t", "w"], "y", &turned),
    ];
    made.check(&back, "independent");
}

#[test]
fn the_broadcasting_of_old_operator_sets_is_unknown() {
    let old = [("broadcast", Int(1)), ("axis", Int(0))];
    let made = over(&[-1, 3]).opset(6);
    made.check(
        &[op("Add", &["x", "bias"], "y", &old)],
        "unknown: operator Add",
    );
}

#[test]
fn norms_do_not_reach_over_the_batch() {
    let made = over(&[-1, 8]).with(matrix("scale", &[8]));
    let norm = |axis| {
        [op(
            "LayerNormalization",
            &["x", "scale"],
            "y",
            &[("axis", Int(axis))],
        )]
    };
    made.check(&norm(1), "independent");
    made.check(&norm(0), "along the batch axis");
    let made = over(&[-1, 2, 4, 4]);
    let name = "MeanVarianceNormalization";
    made.check(&[op(name, &["x"], "y", &[])], "along the batch axis");
    made.check(
        &[op(name, &["x"], "y", &[("axes", Ints(&[2, 3]))])],
        "independent",
    );
    made.check(&[op("Trilu", &["x"], "y", &[])], "independent");
    over(&[-1, 4]).check(
        &[op("Trilu", &["x"], "y", &[])],
        "one of the axes of its matrices",
    );
    let dropped = |mode| [op("Dropout", &["x", "scalar", mode], "y", &[])];
    made.check(&dropped("zero"), "independent");
    made.check(&dropped("one"), "it drops elements at random");
}

#[test]
fn the_state_of_a_recurrent_network_follows_the_batch() {
    let weights = [matrix("W", &[1, 16, 8]), matrix("R", &[1, 16, 4])];
    let [first, second] = weights;
    let made = over(&[-1, 5, 8])
        .and("h", &[-1, 1, 4])
        .with(first)
        .with(second)
        .with(matrix("own", &[1, 1, 4]));
    let lstm = |state: &str| {
        [
            op("Transpose", &["x"], "t", &[("perm", Ints(&[1, 0, 2]))]),
            op("Transpose", &["h"], "turned", &[("perm", Ints(&[1, 0, 2]))]),
            op("LSTM", &["t", "W", "R", "", "", state], "all", &[]),
            op("Transpose", &["all"], "y", &[("perm", Ints(&[2, 0, 1, 3]))]),
        ]
    };
    made.check(&lstm("turned"), "independent");
    made.check(
        &lstm("own"),
        "its initial state or lengths do not follow the batch",
    );
}

#[test]
fn axes_are_counted_after_they_move() {
    let made = over(&[-1, 6])
        .with(whole("front", &[0]))
        .with(whole("from", &[2]))
        .with(whole("to", &[6]))
        .with(whole("four", &[-1, 4]));
    made.check(
        &[
            op("Unsqueeze", &["x", "front"], "u", &[]),
            op("Squeeze", &["u", "front"], "y", &[]),
        ],
        "independent",
    );
    made.check(
        &[op("Unsqueeze", &["x", "front"], "y", &[])],
        "one row for each input row",
    );
    let sliced = [
        op("Slice", &["x", "from", "to", "one"], "s", &[]),
        op("Reshape", &["s", "four"], "y", &[]),
    ];
    made.check(&sliced, "independent");
}

#[test]
fn a_shape_of_another_number_of_elements_is_not_proven() {
    let shaped = [
        op("Shape", &["x"], "s", &[]),
        op("Gather", &["s", "zero"], "n", &[]),
        op("Concat", &["n", "two"], "to", &[("axis", Int(0))]),
        op("Reshape", &["x", "to"], "y", &[]),
    ];
    let made = |width| over(&[-1, width]).with(whole("two", &[2]));
    made(2).check(&shaped, "independent");
    made(4).check(&shaped, "its result has another number of elements");
}

#[test]
fn elements_of_other_rows_are_not_taken() {
    let made = over(&[-1, 4])
        .and("z", &[-1, 4])
        .with(matrix("fixed", &[3, 4]));
    let elements = |places| {
        [op(
            "GatherElements",
            &["x", places],
            "y",
            &[("axis", Int(1))],
        )]
    };
    made.check(&elements("fixed"), "unknown: operator GatherElements");
    let reversed = |time, batch| {
        let given = [("time_axis", Int(time)), ("batch_axis", Int(batch))];
        [
            op("ReduceMax", &["x", "one"], "n", &[("keepdims", Int(0))]),
            op("ReverseSequence", &["x", "n"], "y", &given),
        ]
    };
    made.check(&reversed(1, 0), "independent");
    made.check(&reversed(0, 1), "along the batch axis");
    let made = over(&[-1, 4, 1]).and("z", &[-1, 2, 1]);
    let nested = |shared| {
        [op(
            "GatherND",
            &["x", "z"],
            "y",
            &[("batch_dims", Int(shared))],
        )]
    };
    made.check(&nested(1), "independent");
    made.check(&nested(0), "it takes elements of other rows");
}

#[test]
fn a_length_must_not_come_from_values() {
    let counted = [
        op("ReduceMax", &["x", "one"], "n", &[("keepdims", Int(0))]),
        op("Range", &["zero", "n", "one"], "r", &[]),
        op("Add", &["x", "r"], "y", &[]),
    ];
    over(&[-1, 4]).check(&counted, "its length is computed from the rows");
    let expanded = [
        op("Cast", &["x"], "s", &[("to", Int(7))]),
        op("Expand", &["scalar", "s"], "y", &[]),
    ];
    over(&[-1]).check(&expanded, "its shape is computed from the rows");
}
