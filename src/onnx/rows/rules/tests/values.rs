//! Verdicts that hold for every value: NaN, numbers out of range, lengths of 1, empty lists.

use crate::onnx::rows::analyse;
use crate::onnx::rows::tests::{Int, Ints, Text, matrix, op, over};
use crate::testing::graphs::{floats, whole};

#[test]
fn interpolation_of_few_axes_is_not_proven() {
    let resize = |mode| {
        let given = [("mode", Text(mode))];
        [op("Resize", &["x", "", "inner"], "y", &given)]
    };
    let flat = over(&[-1, 6]).with(floats("inner", &[1.0, 2.0]));
    let deep = over(&[-1, 2, 6]).with(floats("inner", &[1.0, 1.0, 2.0]));
    let picture = over(&[-1, 2, 4, 4]).with(floats("inner", &[1.0, 1.0, 2.0, 2.0]));
    for mode in ["linear", "cubic"] {
        flat.check(&resize(mode), "unknown: operator Resize");
        deep.check(&resize(mode), "it interpolates over the batch axis too");
        picture.check(&resize(mode), "independent");
    }
    flat.check(&resize("nearest"), "independent");
    let enlarged = |mode| {
        let given = [("mode", Text(mode))];
        [op("Upsample", &["x", "inner"], "y", &given)]
    };
    flat.opset(9)
        .check(&enlarged("linear"), "unknown: operator Upsample");
    picture.opset(9).check(&enlarged("linear"), "independent");
}

#[test]
fn casts_of_rows_to_unsigned_integers_are_not_proven() {
    let made = over(&[-1, 8]);
    let cast = |to| [op("Cast", &["x"], "y", &[("to", Int(to))])];
    for unsigned in [2, 4, 12, 13] {
        made.check(&cast(unsigned), "unknown: operator Cast");
    }
    for other in [1, 3, 6, 7, 9, 10, 11] {
        made.check(&cast(other), "independent");
    }
    let like = |from: &str| {
        [
            op("CastLike", &[from, "one"], "c", &[]),
            op("Add", &["x", "c"], "y", &[]),
        ]
    };
    made.check(&like("x"), "unknown: operator CastLike");
    made.check(&like("scalar"), "independent");
}

#[test]
fn an_empty_list_of_axes_removes_every_axis_of_length_1() {
    let made = over(&[-1, 3]).with(whole("none", &[]));
    made.check(
        &[op("Squeeze", &["x", "none"], "y", &[])],
        "it removes the batch axis of a single row",
    );
    over(&[-1, 3]).opset(11).check(
        &[op("Squeeze", &["x"], "y", &[("axes", Ints(&[]))])],
        "it removes the batch axis of a single row",
    );
}

#[test]
fn a_length_of_1_is_repeated_in_a_product_by_letters() {
    let made = over(&[-1, 1])
        .with(matrix("wide", &[8]))
        .with(whole("ones", &[-1, 1]))
        .with(whole("eights", &[-1, 8]));
    let shaped = |to| {
        [
            op(
                "Einsum",
                &["x", "wide"],
                "e",
                &[("equation", Text("nk,k->nk"))],
            ),
            op("Reshape", &["e", to], "y", &[]),
        ]
    };
    made.check(&shaped("eights"), "independent");
    made.check(&shaped("ones"), "output 'y' does not have one row");
}

#[test]
fn large_numbers_are_not_computed_with() {
    // In 32 bits the product is 0, and so is the quotient.
    let made = over(&[-1, 8])
        .with(whole("large", &[65_536]))
        .with(whole("part", &[1 << 29]));
    let nodes = [
        op("Mul", &["large", "large"], "n", &[]),
        op("Div", &["n", "part"], "eight", &[]),
        op("Concat", &["minus", "eight"], "to", &[("axis", Int(0))]),
        op("Reshape", &["x", "to"], "y", &[]),
    ];
    made.check(&nodes, "unknown: operator Reshape");
}

#[test]
fn no_number_ends_the_analysis() {
    let made = over(&[-1, 8])
        .with(whole("least", &[i64::MIN]))
        .with(whole("most", &[i64::MAX]));
    let numbers = ["least", "most", "minus", "zero"];
    for name in ["Add", "Sub", "Mul", "Div"] {
        for (left, right) in numbers.iter().flat_map(|a| numbers.map(|b| (*a, b))) {
            let nodes = [
                op(name, &[left, right], "n", &[]),
                op("Slice", &["w", left, "n", right], "s", &[]),
                op("Slice", &["w", "n", right, "zero"], "t", &[]),
                op("Gather", &["x", "n"], "g", &[("axis", Int(1))]),
                op("Unsqueeze", &["x", "n"], "u", &[]),
                op("ReduceMax", &["x", right], "y", &[]),
            ];
            let verdict = format!("{:?}", analyse(&made.file(&nodes)));
            assert!(!verdict.contains("the analysis failed"), "{nodes:?}");
        }
    }
}

#[test]
fn powers_of_single_elements_are_not_proven() {
    let pow = [op("Pow", &["x", "scalar"], "y", &[])];
    over(&[-1, 2]).check(&pow, "independent");
    over(&[-1, -1, 8]).check(&pow, "independent");
    over(&[-1, 1]).check(&pow, "unknown: operator Pow");
    over(&[-1]).check(&pow, "unknown: operator Pow");
    over(&[-1, -1]).check(&pow, "unknown: operator Pow");
}

#[test]
fn linear_classifiers_with_probit_are_not_proven() {
    let by = |transform| {
        [
            op(
                "ai.onnx.ml:LinearClassifier",
                &["x"],
                "l,y",
                &[("post_transform", Text(transform))],
            ),
            op("Identity", &["l"], "y", &[]),
        ]
    };
    over(&[-1, 2]).check(&by("PROBIT"), "unknown: operator LinearClassifier");
    over(&[-1, 2]).check(&by("SOFTMAX"), "independent");
}
