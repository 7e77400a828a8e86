//! Padding is tested with real runs: what a model does with its mask decides.

use super::*;
use crate::core::model::padding::Padding;
use crate::onnx::batchability::SampleInputs;
use crate::onnx::graph::Graph;
use crate::onnx::runtime::SessionSource;
use crate::onnx::runtime::onnx::tests::open;
use crate::testing::ragged::{MaskUse, transformer};
use std::collections::BTreeMap;

/// Tests the padding of a model; returns what is said of it.
fn said(bytes: Vec<u8>, lengths: &[usize]) -> String {
    let bytes = bytes::Bytes::from(bytes);
    let graph = Graph::read(bytes.clone()).expect("a graph");
    let padding = Padding {
        lengths: lengths.to_vec(),
        inputs: BTreeMap::from([
            ("input_ids".to_owned(), 0.0),
            ("token_type_ids".to_owned(), 0.0),
        ]),
        mask: "attention_mask".to_owned(),
        tokens_max: None,
    };
    let plan = PaddingPlan::resolve(&padding, &graph.signature, &graph.axis_names).expect("fits");
    let source = SessionSource {
        bytes,
        external_dir: None,
    };
    let mut session = open(&source);
    let subject = PaddingSubject {
        signature: &graph.signature,
        plan: &plan,
        size: 4,
    };
    let tested = check_padding(&subject, session.as_mut());
    tested.map_or_else(|error| error.message, |()| "the same".to_owned())
}

#[test]
fn a_model_that_heeds_its_mask_is_padded_whatever_it_answers() {
    for outputs in [&["pooled"][..], &["tokens"], &["tokens", "pooled"]] {
        for lengths in [&[4, 8, 16][..], &[1], &[7, 8]] {
            assert_eq!(
                said(transformer(MaskUse::Heeded, outputs), lengths),
                "the same"
            );
        }
    }
}

#[test]
fn rows_are_generated_for_a_model_whose_integers_must_be_small() {
    let bytes = bytes::Bytes::from(transformer(MaskUse::Heeded, &["pooled"]));
    let signature = Graph::read(bytes.clone()).expect("a graph").signature;
    let source = SessionSource {
        bytes,
        external_dir: None,
    };
    let mut session = open(&source);
    let sample = SampleInputs::find(&signature, session.as_mut()).expect("token types are 0 and 1");
    assert_eq!(sample.integers(), 2);
    assert!(sample.run(session.as_mut(), 64).is_ok());
}

#[test]
fn a_model_that_does_not_leave_out_what_its_mask_hides_is_refuted() {
    for mask in [MaskUse::Ignored, MaskUse::Leaky] {
        for outputs in [&["pooled"][..], &["tokens"], &["tokens", "pooled"]] {
            let said = said(transformer(mask, outputs), &[4, 8]);
            let words =
                "changes when it is padded to 4: the model does not leave out what its mask hides";
            assert!(said.contains(words), "{mask:?} {outputs:?}: {said}");
        }
    }
}
