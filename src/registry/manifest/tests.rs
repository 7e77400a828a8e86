//! Optional inputs in manifests: how they are written, and what breaks clients.

use super::*;
use crate::onnx::graph::Graph;
use crate::testing::graphs;

fn declared(ir_version: i64) -> Declared {
    let graph = Graph::read(graphs::scaled(ir_version).into()).expect("reads");
    Declared::of(&graph.signature)
}

#[test]
fn optional_inputs_are_marked_and_other_inputs_are_as_before() {
    let text = serde_json::to_string(&declared(10)).expect("JSON");
    let x = r#"{"name":"x","datatype":"FP32","shape":[-1,2]}"#;
    let k = r#"{"name":"k","datatype":"FP32","shape":[1],"optional":true}"#;
    let y = r#"{"name":"y","datatype":"FP32","shape":[-1,2]}"#;
    assert_eq!(text, format!(r#"{{"inputs":[{x},{k}],"outputs":[{y}]}}"#));
}

#[test]
fn a_manifest_of_an_earlier_release_is_of_the_same_graph() {
    let graph = Graph::read(graphs::scaled(10).into()).expect("reads");
    let mut older = declared(10);
    assert!(older.is_of(&graph.signature));
    older.inputs.retain(|input| !input.optional);
    assert!(older.is_of(&graph.signature));
    older.inputs.clear();
    assert!(!older.is_of(&graph.signature));
    let mut other = declared(10);
    other.inputs[1].datatype = "INT64".to_owned();
    assert!(!other.is_of(&graph.signature));
}

#[test]
fn only_an_optional_input_that_goes_or_becomes_required_breaks_clients() {
    let (with, without) = (declared(10), declared(3));
    assert_eq!(with.breaks(&without), [""; 0]);
    assert_eq!(without.breaks(&with), ["input 'k' is gone"]);
    let mut required = with.clone();
    required.inputs[1].optional = false;
    assert_eq!(
        required.breaks(&with),
        ["input 'k' was optional, is required"]
    );
    assert_eq!(with.breaks(&required), [""; 0]);
    assert_eq!(required.breaks(&without), ["input 'k' is new"]);
}
