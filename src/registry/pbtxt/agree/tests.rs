//! A `config.pbtxt` beside graphs that it fits or contradicts.

use super::*;
use crate::core::model::ModelName;
use crate::core::model::optional::{FixedInput, OptionalInput};
use crate::core::tensor::DType;

fn read(text: &str) -> ModelConfig {
    let name = ModelName::parse("m").expect("legal");
    ModelConfig::read(&name, text).expect(text)
}

fn spec(name: &str, dtype: DType, dims: &[i64]) -> TensorSpec {
    let dim = |n: &i64| usize::try_from(*n).map_or(Dim::Dynamic, Dim::Fixed);
    TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: Some(dims.iter().map(dim).collect()),
    }
}

/// Inputs x: FP32 [-1, 2] and t: BYTES [-1, -1]; output y: INT64 [-1].
fn graph() -> Signature {
    Signature {
        inputs: vec![
            spec("x", DType::F32, &[-1, 2]),
            spec("t", DType::String, &[-1, -1]),
        ],
        outputs: vec![spec("y", DType::I64, &[-1])],
        ..Signature::default()
    }
}

/// Both inputs, x with these fields.
fn with_x(more: &str, fields: &str) -> String {
    format!(
        "{more}\ninput {{ name: \"t\" data_type: TYPE_STRING }}\ninput {{ name: \"x\" {fields} }}"
    )
}

/// Compares inputs and outputs.
fn whole(text: &str, graph: &Signature) -> Result<()> {
    let config = read(text);
    config
        .check(graph)
        .and_then(|()| config.check_outputs(graph))
}

#[test]
fn what_fits_the_graph_is_accepted() {
    for (more, fields) in [
        ("max_batch_size: 8", "data_type: TYPE_FP32 dims: [2]"),
        ("max_batch_size: 0", "data_type: TYPE_FP32 dims: [-1, 2]"),
        ("max_batch_size: 0", "data_type: TYPE_FP32 dims: [7, 2]"),
        ("", "data_type: TYPE_FP32 dims: [2]"),
        ("", "data_type: TYPE_FP32 dims: [-1, 2]"),
        ("max_batch_size: 8", "data_type: TYPE_FP32"),
    ] {
        let text = with_x(more, fields);
        whole(&text, &graph()).expect(&text);
    }

    let output = r#"max_batch_size: 8 output { name: "y" data_type: TYPE_INT64 }"#;
    for text in ["", "max_batch_size: 4", output] {
        whole(text, &graph()).expect(text);
    }
    let mut any = graph();
    any.inputs[0].shape = None;
    let text = with_x("max_batch_size: 8", "data_type: TYPE_FP32 dims: [1, 2, 3]");
    whole(&text, &any).expect("any shape");
}

#[track_caller]
fn refuse(text: &str, expected: &str) {
    let error = whole(text, &graph()).expect_err(expected);
    assert_eq!(error.message, format!("config.pbtxt: {expected}"), "{text}");
}

#[test]
fn what_contradicts_the_graph_is_refused_with_its_line_and_both_sides() {
    for (more, fields, expected) in [
        (
            "max_batch_size: 8",
            "data_type: TYPE_FP32 dims: [7]",
            "line 3: input 'x' has dims [7] here behind the batch axis of max_batch_size, and [-1, 2] in the graph",
        ),
        (
            "max_batch_size: 8",
            "data_type: TYPE_FP32 dims: [-1, 2]",
            "line 3: input 'x' has dims [-1, 2] here behind the batch axis of max_batch_size, and [-1, 2] in the graph",
        ),
        (
            "max_batch_size: 0",
            "data_type: TYPE_FP32 dims: [2]",
            "line 3: input 'x' has dims [2] here, and [-1, 2] in the graph",
        ),
        (
            "",
            "data_type: TYPE_FP32 dims: [-1]",
            "line 3: input 'x' has dims [-1] here, and [-1, 2] in the graph",
        ),
        (
            "",
            "data_type: TYPE_INT32 dims: [2]",
            "line 3: input 'x' is INT32 here and FP32 in the graph",
        ),
    ] {
        refuse(&with_x(more, fields), expected);
    }

    refuse(
        "input [\n{ name: \"zz\" data_type: TYPE_FP32 dims: [2] }]",
        "line 2: input 'zz' is not in the graph, which has x, t",
    );
    refuse(
        "max_batch_size: 8 output { name: \"y\" data_type: TYPE_INT64 dims: [1] }",
        "line 1: output 'y' has dims [1] here behind the batch axis of max_batch_size, and [-1] in the graph; write dims: [ ], which is one value for each row, or leave the tensor out",
    );
    refuse(
        "output { name: \"x\" data_type: TYPE_FP32 }",
        "line 1: output 'x' is not in the graph, which has y",
    );
    refuse(
        "input { name: \"x\" data_type: TYPE_FP32 dims: [2] }",
        "input 't' of the graph is not listed; list all inputs or none",
    );
}

#[test]
fn a_graph_without_a_batch_axis_refuses_max_batch_size() {
    let mut fixed = graph();
    fixed.inputs[0] = spec("x", DType::F32, &[4, 2]);
    let error = read("max_batch_size: 2").check(&fixed).expect_err("fixed");
    assert!(
        error.message.contains("'x' is [4, 2] in the graph"),
        "{error}"
    );
    read("max_batch_size: 0").check(&fixed).expect("unbatched");
}

#[test]
fn only_what_changes_a_load_counts_as_a_change() {
    let config = read(&with_x("max_batch_size: 8", "data_type: TYPE_FP32"));
    let moved = "\n\nmax_batch_size: 8 version_policy { all { } }";
    assert!(config.loads_like(&read(&with_x(moved, "data_type: TYPE_FP32"))));
    assert!(!config.loads_like(&read(&with_x("max_batch_size: 4", "data_type: TYPE_FP32"))));
    assert!(!config.loads_like(&ModelConfig::default()));
}

/// The graph with an optional input k: FP32 [1], and a fixed one, f.
fn graph_with_defaults() -> Signature {
    Signature {
        optional: vec![OptionalInput {
            spec: spec("k", DType::F32, &[1]),
            is_listed: true,
        }],
        fixed: vec![FixedInput {
            name: "f".to_owned(),
            reason: "it is old",
        }],
        ..graph()
    }
}

#[test]
fn optional_inputs_may_be_listed_or_not_and_have_no_batch_axis() {
    let x = "data_type: TYPE_FP32 dims: [2]";
    for k in [
        "",
        "input { name: \"k\" data_type: TYPE_FP32 dims: [1] optional: true }",
        "input { name: \"k\" data_type: TYPE_FP32 dims: [1] }",
        "input { name: \"k\" data_type: TYPE_FP32 optional: false }",
    ] {
        let text = format!("{}\n{k}", with_x("max_batch_size: 8", x));
        whole(&text, &graph_with_defaults()).expect(&text);
    }
}

#[test]
fn optional_inputs_that_contradict_the_graph_are_refused() {
    let refused = |more: &str| {
        let text = with_x(more, "data_type: TYPE_FP32 dims: [2]");
        let error = whole(&text, &graph_with_defaults());
        error.expect_err(more).message
    };
    for (more, expected) in [
        (
            "input { name: \"k\" data_type: TYPE_INT32 dims: [1] }",
            "line 1: input 'k' is INT32 here and FP32 in the graph",
        ),
        (
            "input { name: \"k\" data_type: TYPE_FP32 dims: [2] }",
            "line 1: input 'k' has dims [2] here, and [1] in the graph, where it is optional and has no batch axis",
        ),
        (
            "input { name: \"f\" data_type: TYPE_FP32 dims: [1] }",
            "line 1: input 'f' is listed here and has a fixed default in the graph: it is old",
        ),
        (
            "output { name: \"y\" data_type: TYPE_INT64 optional: true }",
            "line 1: output 'y' cannot be optional",
        ),
    ] {
        assert_eq!(refused(more), format!("config.pbtxt: {expected}"));
    }

    let x = with_x("", "data_type: TYPE_FP32 dims: [2] optional: true");
    let error = read(&x)
        .check(&graph_with_defaults())
        .expect_err("required");
    assert_eq!(
        error.message,
        "config.pbtxt: line 3: input 'x' is optional here and has no default in the graph; leave optional out"
    );
}
