//! Which models are batchable: those whose rows do not influence each other.

use super::*;
use crate::onnx::graph::Graph;
use crate::onnx::rows::RowFinding;
use crate::onnx::runtime::onnx::tests::{declare, model, open};
use crate::proto::onnx::{GraphProto, NodeProto, ValueInfoProto};
use crate::testing::graphs::{node, whole};

/// Probes a graph over `x`; compares the result with what is expected.
fn expect(nodes: Vec<NodeProto>, input: ValueInfoProto, output: ValueInfoProto, expected: &str) {
    let initializer = vec![
        whole("first", &[0]),
        whole("pair", &[-1, 2]),
        whole("zero", &[0]),
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
    let said = check(&signature, &verdict, &sample, session.as_mut())
        .map_or_else(|e| e.message, |()| "batchable".to_owned());
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
        "has a dynamic first axis",
    );

    expect(
        vec![node("Relu", &["x"], "y")],
        x(&[]),
        y(&[]),
        "has a dynamic first axis",
    );

    expect(
        vec![node("ReduceMean", &["x", "first"], "y")],
        x(&[-1, 3]),
        y(&[1, 3]),
        "has a dynamic first axis",
    );
}
