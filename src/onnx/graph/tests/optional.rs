//! Inputs that are also initializers: which of them are optional, fixed and listed.

use super::*;
use crate::core::model::Signature;
use crate::onnx::graph::declared::{LISTED_ELEMENTS_MAX, LISTED_MAX, OPTIONAL_MAX};

/// A graph that takes x, and inputs with defaults of so many elements.
fn with_defaults(elements: &[i64]) -> Signature {
    let graph_read = accept(|m| {
        let graph = graph(m);
        graph.initializer.clear();
        graph.input.truncate(1);
        for (at, count) in elements.iter().enumerate() {
            let name = format!("k{at}");
            graph.input.push(value(&name, 1, Some(&[None])));
            graph.initializer.push(TensorProto {
                name: Some(name),
                dims: vec![*count],
                ..TensorProto::default()
            });
        }
    });
    graph_read.signature
}

/// How many inputs are required, optional, listed and fixed.
fn counts(signature: &Signature) -> [usize; 4] {
    [
        signature.inputs.len(),
        signature.optional.len(),
        signature.listed_optional().count(),
        signature.fixed.len(),
    ]
}

#[test]
fn an_input_with_a_default_is_optional() {
    let signature = accept(|_| ()).signature;
    assert_eq!(counts(&signature), [1, 1, 1, 0]);
    let w = &signature.optional[0].spec;
    assert_eq!(
        (w.name.as_str(), w.dtype, w.shape.as_deref()),
        ("w", DType::F32, Some(&[Dim::Fixed(4), Dim::Fixed(3)][..]))
    );
    let none_required = accept(|m| drop(graph(m).input.remove(0)));
    assert_eq!(counts(&none_required.signature), [0, 1, 1, 0]);
}

#[test]
fn defaults_of_old_files_and_of_unknown_datatypes_are_fixed() {
    for (ir_version, expected) in [(3, [1, 0, 0, 1]), (4, [1, 1, 1, 0])] {
        let read = accept(|m| m.ir_version = Some(ir_version));
        assert_eq!(counts(&read.signature), expected, "IR {ir_version}");
    }
    let old = accept(|m| m.ir_version = Some(3)).signature;
    let error = old.refuse_input("w");
    assert!(
        error.message.contains("fixed default") && error.message.contains("IR version 4"),
        "{error}"
    );

    const COMPLEX64: i32 = 14;
    let complex = accept(|m| graph(m).input[1] = value("w", COMPLEX64, Some(&[Some(4)])));
    assert_eq!(counts(&complex.signature), [1, 0, 0, 1]);
}

#[test]
fn weights_among_the_inputs_are_accepted_and_not_listed() {
    let large = LISTED_ELEMENTS_MAX as i64;
    for (elements, expected) in [
        (vec![1, large], [1, 2, 2, 0]),
        (vec![1, large + 1], [1, 2, 1, 0]),
        (vec![1, -1], [1, 2, 1, 0]),
        (vec![1; LISTED_MAX], [1, LISTED_MAX, LISTED_MAX, 0]),
        (vec![1; LISTED_MAX + 1], [1, LISTED_MAX + 1, 0, 0]),
        (vec![1; OPTIONAL_MAX], [1, OPTIONAL_MAX, 0, 0]),
        (vec![1; OPTIONAL_MAX + 1], [1, 0, 0, OPTIONAL_MAX + 1]),
    ] {
        assert_eq!(counts(&with_defaults(&elements)), expected);
    }
}

#[test]
fn an_optional_input_without_a_fixed_shape_has_no_bounded_time() {
    let bounded = |dims: Option<&[Option<i64>]>, number| {
        let read = accept(|m| graph(m).input[1] = value("w", number, dims));
        read.runs_in_bounded_time()
    };
    const TEXT: i32 = 8;
    assert!(bounded(Some(&[Some(4)]), 1));
    assert!(!bounded(Some(&[None]), 1));
    assert!(!bounded(None, 1));
    assert!(!bounded(Some(&[Some(4)]), TEXT));
}
