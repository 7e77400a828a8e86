//! Verdicts on operators of each family of rules.

use crate::onnx::rows::tests::{Int, Ints, Text, matrix, op, over};
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
        op("ReduceMax", &["x", "one"], "m", &[]),
        op("QuantizeLinear", &["x", "m"], "y", &[]),
    ];
    made.check(&own, "unknown: operator QuantizeLinear");
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
}

#[test]
fn texts_are_padded_or_dropped_by_the_whole_batch() {
    let made = over(&[-1]);
    made.check(&[op("StringNormalizer", &["x"], "y", &[])], "independent");
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
