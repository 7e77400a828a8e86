//! Which models are batchable: those whose rows do not influence each other.

use super::*;
use crate::core::tensor::DType;
use crate::onnx::graph::Graph;
use crate::onnx::rows::RowFinding;
use crate::onnx::runtime::onnx::tests::{declare, model, open};
use crate::proto::onnx::{GraphProto, NodeProto, ValueInfoProto};
use crate::testing::graphs::{floats, node, whole};

/// Probes a graph over `x`; compares the result with what is expected.
fn expect(nodes: Vec<NodeProto>, input: ValueInfoProto, output: ValueInfoProto, expected: &str) {
    expect_with(nodes, input, output, &KnownInputs::default(), expected);
}

/// … with values that are known.
fn expect_with(
    nodes: Vec<NodeProto>,
    input: ValueInfoProto,
    output: ValueInfoProto,
    known: &KnownInputs,
    expected: &str,
) {
    let initializer = vec![
        whole("first", &[0]),
        whole("pair", &[-1, 2]),
        whole("zero", &[0]),
        floats("one", &[1.0]),
        floats("tiny", &[1e-9]),
        floats("huge", &[5e12]),
        floats("large", &[300_000.0, 0.0]),
        floats("nothing", &[0.0]),
        floats("second", &[0.0, 1.0]),
        whole("many", &[500_000_000]),
        floats("table", &[0.5; 20]),
    ];

    let graph = GraphProto {
        node: nodes,
        input: vec![input],
        output: vec![output],
        initializer,
        ..GraphProto::default()
    };

    let source = model(graph);
    let signature = Graph::read(source.bytes.clone())
        .expect("a graph")
        .signature;
    let mut session = open(&source);
    let sample = SampleInputs::find(&signature, session.as_mut()).expect("runs on generated rows");
    // Without a proof, generated rows decide.
    let verdict = RowVerdict::Unknown(RowFinding {
        node: String::new(),
        operator: String::new(),
        reason: String::new(),
    });
    let subject = BatchSubject {
        signature: &signature,
        verdict: &verdict,
        sample: &sample,
        known,
    };
    let said =
        check(&subject, session.as_mut()).map_or_else(|e| e.message, |()| "batchable".to_owned());
    assert!(
        said.contains(expected),
        "{said:?} does not say {expected:?}"
    );
}

fn x(dims: &[i64]) -> ValueInfoProto {
    declare("x", DType::F32, dims)
}

fn y(dims: &[i64]) -> ValueInfoProto {
    declare("y", DType::F32, dims)
}

#[test]
fn independent_rows_are_batchable() {
    expect(
        vec![node("Relu", &["x"], "y")],
        x(&[-1, 3]),
        y(&[-1, 3]),
        "batchable",
    );

    expect(
        vec![node("Relu", &["x"], "y")],
        x(&[-1, -1]),
        y(&[-1, -1]),
        "batchable",
    );
}

#[test]
fn a_model_whose_rows_influence_each_other_is_not_batchable() {
    let centred = vec![
        node("ReduceMean", &["x", "first"], "m"),
        node("Sub", &["x", "m"], "y"),
    ];
    expect(
        centred,
        x(&[-1, 3]),
        y(&[-1, 3]),
        "depends on the other rows of the batch",
    );

    let running = vec![node("CumSum", &["x", "zero"], "y")];
    expect(
        running,
        x(&[-1, 3]),
        y(&[-1, 3]),
        "depends on the other rows of the batch",
    );
}

#[test]
fn outputs_without_one_row_for_each_input_row_are_not() {
    expect(
        vec![node("Reshape", &["x", "pair"], "y")],
        x(&[-1, 4]),
        y(&[-1, 2]),
        "does not have one row for each input row",
    );
}

#[test]
fn a_model_with_a_fixed_or_absent_batch_axis_is_not_batchable() {
    expect(
        vec![node("Relu", &["x"], "y")],
        x(&[2, 3]),
        y(&[2, 3]),
        "has a dynamic first axis: input 'x' has the shape [2, 3]",
    );

    expect(
        vec![node("Relu", &["x"], "y")],
        x(&[]),
        y(&[]),
        "has a dynamic first axis: input 'x' has the shape []",
    );

    expect(
        vec![node("ReduceMean", &["x", "first"], "y")],
        x(&[-1, 3]),
        y(&[1, 3]),
        "has a dynamic first axis: output 'y' has the shape [1, 3]",
    );
}

/// Divides by the largest number of the run, once it is over the constant `limit`.
fn divided(limit: &str) -> Vec<NodeProto> {
    vec![
        node("ReduceMax", &["x"], "m"),
        node("Max", &["m", limit], "d"),
        node("Div", &["x", "d"], "y"),
    ]
}

#[test]
fn numbers_of_very_different_sizes_are_tried() {
    let mixes = "depends on the other rows of the batch";
    expect(divided("one"), x(&[-1, 3]), y(&[-1, 3]), mixes);
    expect(divided("tiny"), x(&[-1, 3]), y(&[-1, 3]), mixes);
    // Answers that are small as a whole differ by a share of themselves.
    let mut small = divided("tiny");
    small.pop();
    small.push(node("Div", &["x", "d"], "scaled"));
    small.push(node("Mul", &["scaled", "tiny"], "y"));
    expect(small, x(&[-1, 3]), y(&[-1, 3]), mixes);
}

#[test]
fn a_row_that_is_not_finite_must_not_change_the_others() {
    let dims = [-1, 1];
    let mixes = "depends on the other rows of the batch";
    expect(divided("huge"), x(&dims), y(&dims), mixes);
    // What such a row becomes itself may depend on its place.
    let apart = vec![
        node("Log", &["x"], "l"),
        node("Softsign", &["l"], "s"),
        node("Mul", &["s", "x"], "y"),
    ];
    expect(apart, x(&dims), y(&dims), "batchable");
}

/// Adds the largest number of the run, once it is over 5e8.
fn shifted() -> Vec<NodeProto> {
    vec![
        node("ReduceMax", &["x"], "m"),
        node("Max", &["m", "many"], "d"),
        node("Add", &["x", "d"], "y"),
    ]
}

#[test]
fn known_rows_and_ranges_are_tried() {
    let (x, y) = (
        || declare("x", DType::I64, &[-1, 1]),
        || declare("y", DType::I64, &[-1, 1]),
    );
    expect(shifted(), x(), y(), "batchable");

    let mixes = "depends on the other rows of the batch";
    let row = |number: i64| {
        let bytes = number.to_le_bytes().to_vec();
        vec![Tensor::fixed(DType::I64, vec![1, 1], bytes.into()).expect("a number")]
    };
    let golden = KnownInputs {
        rows: vec![row(1_000_000_000), row(3)],
        values: Vec::new(),
    };
    expect_with(shifted(), x(), y(), &golden, mixes);

    let range = KnownValues::Numbers {
        low: 0.0,
        high: 1e12,
    };
    let ranges = KnownInputs {
        rows: Vec::new(),
        values: vec![vec![Some(range)]],
    };
    expect_with(shifted(), x(), y(), &ranges, mixes);
}

#[test]
fn integers_within_the_vocabulary_are_tried() {
    let looked_up = vec![node("Gather", &["table", "x"], "y")];
    expect(
        looked_up,
        declare("x", DType::I64, &[-1, -1]),
        y(&[-1, -1]),
        "batchable",
    );
}

#[test]
fn texts_of_different_lengths_are_tried() {
    let cut = NodeProto {
        output: vec!["y".to_owned(), "n".to_owned()],
        ..node("StringSplit", &["x"], "y")
    };
    expect(
        vec![cut],
        declare("x", DType::String, &[-1]),
        declare("y", DType::String, &[-1, -1]),
        "depends on the other rows of the batch; the graph proves nothing",
    );
}

#[test]
fn a_small_number_beside_a_large_one_is_compared_too() {
    // How many rows are positive reaches the second column only, which is far smaller.
    let made = |of: &str| {
        vec![
            node("Greater", &["x", "nothing"], "is_positive"),
            node("Where", &["is_positive", "one", "nothing"], "positive"),
            node("ReduceSum", &["positive", "first"], "all"),
            node("Mul", &[of, "second"], "small"),
            node("Softsign", &["x"], "t"),
            node("Add", &["t", "large"], "p"),
            node("Add", &["p", "small"], "y"),
        ]
    };
    let mixes = "depends on the other rows of the batch";
    expect(made("all"), x(&[-1, 2]), y(&[-1, 2]), mixes);
    expect(made("positive"), x(&[-1, 2]), y(&[-1, 2]), "batchable");
}
