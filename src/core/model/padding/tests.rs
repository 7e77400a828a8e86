//! What declared padding means for a model: what fits, what is refused, and which lengths requests get.

use super::*;
use crate::core::model::{Dim, Signature, TensorSpec};

/// A tensor of a model: its name, its datatype, and its axes, of which numbers are fixed.
fn spec(name: &str, dtype: DType, axes: &[&str]) -> (TensorSpec, Vec<Option<String>>) {
    let fixed = |axis: &&str| axis.parse().ok();
    let dims = axes
        .iter()
        .map(|axis| fixed(axis).map_or(Dim::Dynamic, Dim::Fixed));
    let spec = TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: Some(dims.collect()),
    };
    let named =
        |axis: &&str| (fixed(axis).is_none() && !axis.is_empty()).then(|| (*axis).to_owned());
    (spec, axes.iter().map(named).collect())
}

type Declared<'d> = (&'d str, DType, &'d [&'d str]);

fn resolve(
    padding: &Padding,
    inputs: &[Declared<'_>],
    outputs: &[Declared<'_>],
) -> Result<PaddingPlan> {
    let all = |all: &[Declared<'_>]| -> (Vec<_>, Vec<_>) {
        all.iter()
            .map(|(name, dtype, axes)| spec(name, *dtype, axes))
            .unzip()
    };
    let (inputs, input_names) = all(inputs);
    let (outputs, output_names) = all(outputs);
    let signature = Signature {
        inputs,
        outputs,
        ..Signature::default()
    };
    let names = AxisNames {
        inputs: input_names,
        outputs: output_names,
    };
    PaddingPlan::resolve(padding, &signature, &names)
}

fn padding() -> Padding {
    Padding {
        lengths: vec![4, 8],
        inputs: BTreeMap::from([("ids".to_owned(), 0.0)]),
        mask: "mask".to_owned(),
        tokens_max: None,
    }
}

const IDS: Declared<'_> = ("ids", DType::I64, &["batch", "sequence"]);
const MASK: Declared<'_> = ("mask", DType::I64, &["batch", "sequence"]);
const TOKENS: Declared<'_> = ("tokens", DType::F32, &["batch", "sequence", "16"]);
const POOLED: Declared<'_> = ("pooled", DType::F32, &["batch", "16"]);

fn plan() -> PaddingPlan {
    resolve(&padding(), &[IDS, MASK], &[TOKENS, POOLED]).expect("fits")
}

fn refuse(padding: &Padding, inputs: &[Declared<'_>], outputs: &[Declared<'_>], words: &str) {
    let error = resolve(padding, inputs, outputs).expect_err(words);
    assert!(error.message.contains(words), "{error}");
    assert_eq!(error.kind, crate::core::error::Kind::FailedPrecondition);
}

#[test]
fn the_axis_is_the_one_whose_name_inputs_mask_and_outputs_share() {
    let plan = plan();
    assert_eq!(
        (plan.axis(0), plan.axis(1), plan.length_at()),
        (Some(1), Some(1), 1)
    );
    let features: Declared<'_> = ("features", DType::F32, &["batch", "3"]);
    let embedded: Declared<'_> = ("ids", DType::F32, &["batch", "heads", "sequence", "8"]);
    let plan = resolve(&padding(), &[features, embedded, MASK], &[POOLED]).expect("fits");
    assert_eq!(
        (plan.axis(0), plan.axis(1), plan.axis(2)),
        (None, Some(2), Some(1))
    );
    assert_eq!(plan.length_at(), 4, "after 1 axis of features and 3 of ids");
}

#[test]
fn what_the_graph_does_not_bear_out_is_refused_with_what_is_accepted() {
    let declared = padding();
    refuse(
        &declared,
        &[IDS],
        &[POOLED],
        "'mask' in 'mask' is no input of the model; accepted: ids",
    );
    refuse(
        &declared,
        &[MASK],
        &[POOLED],
        "'ids' in 'inputs' is no input of the model; accepted: mask",
    );
    let fixed: Declared<'_> = ("ids", DType::I64, &["batch", "128"]);
    refuse(
        &declared,
        &[fixed, MASK],
        &[POOLED],
        "input 'ids' of shape [-1, 128] has no dynamic axis",
    );
    let unnamed: Declared<'_> = ("ids", DType::I64, &["batch", ""]);
    refuse(
        &declared,
        &[unnamed, MASK],
        &[POOLED],
        "has no dynamic axis with a name",
    );
}

#[test]
fn an_axis_that_is_not_shared_once_is_refused() {
    let declared = padding();
    let rows: Declared<'_> = ("ids", DType::I64, &["N", "N"]);
    refuse(
        &declared,
        &[rows, MASK],
        &[POOLED],
        "has no dynamic axis with a name besides the first",
    );
    let other: Declared<'_> = ("ids", DType::I64, &["batch", "length"]);
    refuse(
        &declared,
        &[other, MASK],
        &[POOLED],
        "share no named axis besides the rows (ids: length; mask: sequence)",
    );
    let wide: Declared<'_> = ("ids", DType::I64, &["batch", "sequence", "width"]);
    let wide_mask: Declared<'_> = ("mask", DType::I64, &["batch", "sequence", "width"]);
    refuse(
        &declared,
        &[wide, wide_mask],
        &[POOLED],
        "share several named axes",
    );
    let square: Declared<'_> = ("mask", DType::I64, &["batch", "sequence", "sequence"]);
    refuse(
        &declared,
        &[IDS, square],
        &[POOLED],
        "input 'mask' has the padded axis 'sequence' as its rows or more than once",
    );
    let types: Declared<'_> = ("types", DType::I64, &["batch", "sequence"]);
    refuse(
        &declared,
        &[IDS, types, MASK],
        &[POOLED],
        "input 'types' has the padded axis 'sequence' too; add it to 'inputs'",
    );
}

#[test]
fn an_input_that_cannot_hold_its_value_is_refused() {
    let declared = padding();
    let text: Declared<'_> = ("ids", DType::String, &["batch", "sequence"]);
    refuse(
        &declared,
        &[text, MASK],
        &[POOLED],
        "input 'ids': is text, which cannot be padded",
    );
    let half = Padding {
        inputs: BTreeMap::from([("ids".to_owned(), 0.5)]),
        ..padding()
    };
    refuse(
        &half,
        &[IDS, MASK],
        &[POOLED],
        "input 'ids': is INT64, which has no 0.5",
    );
    let twice = Padding {
        inputs: BTreeMap::from([("ids".to_owned(), 0.0), ("mask".to_owned(), 0.0)]),
        ..padding()
    };
    refuse(
        &twice,
        &[IDS, MASK],
        &[POOLED],
        "'mask' is the mask and one of the inputs",
    );
}

#[test]
fn an_output_that_may_carry_padded_values_is_refused() {
    let declared = padding();
    for (axes, words) in [
        (
            &["batch", "other", "16"][..],
            "has the dynamic axis 'other'",
        ),
        (&["batch", ""], "has an unnamed dynamic axis 1"),
        (&["batch", "batch"], "has the dynamic axis 'batch'"),
        (&["sequence", "16"], "has the padded axis as its rows"),
    ] {
        refuse(
            &declared,
            &[IDS, MASK],
            &[POOLED, ("y", DType::F32, axes)],
            words,
        );
    }
    let attention: Declared<'_> = ("y", DType::F32, &["batch", "2", "sequence", "sequence"]);
    assert!(resolve(&declared, &[IDS, MASK], &[attention]).is_ok());
}

fn numbers(shape: &[usize], value: impl Fn(usize) -> i64) -> Tensor {
    let count: usize = shape.iter().product();
    let bytes: Vec<u8> = (0..count).flat_map(|at| value(at).to_le_bytes()).collect();
    Tensor::fixed(DType::I64, shape.to_vec(), bytes.into()).expect("fits")
}

#[test]
fn a_request_is_padded_to_the_smallest_length_that_holds_it() {
    let plan = plan();
    let measure = |own: usize| {
        let ids = numbers(&[2, own], |_| 7);
        let mask = numbers(&[2, own], |_| 1);
        plan.measure(&[ids, mask]).expect("one length").bucket
    };
    let buckets: Vec<usize> = [0, 1, 4, 5, 8, 9, 100].map(measure).to_vec();
    assert_eq!(buckets, [0, 4, 4, 8, 8, 9, 100]);
}

#[test]
fn a_request_without_one_length_is_not_padded_and_neither_is_a_row_without_a_token() {
    let plan = plan();
    let (ids, mask) = (numbers(&[2, 3], |_| 7), numbers(&[2, 3], |_| 1));
    let broadcast = numbers(&[2, 1], |_| 1);
    assert_eq!(plan.measure(&[ids.clone(), broadcast]), None);
    let hidden = numbers(&[2, 3], |at| i64::from(at < 3));
    let kept = plan.measure(&[ids.clone(), hidden]).expect("one length");
    assert_eq!((kept.own, kept.bucket), (3, 3));
    let ragged = numbers(&[2, 3], |at| i64::from(at % 3 == 0));
    assert_eq!(plan.measure(&[ids.clone(), ragged]).expect("one").bucket, 4);
    assert_eq!(plan.measure(&[ids, mask]).expect("one").bucket, 4);
}

#[test]
fn the_sign_of_a_zero_shows_nothing() {
    let mask = |values: &[f32]| Tensor::from_f32(vec![1, values.len()], values).expect("fits");
    assert!(!shows_each_row(&mask(&[0.0, -0.0])));
    assert!(shows_each_row(&mask(&[-0.0, 1.0])));
    assert!(!shows_each_row(&mask(&[])));
}

#[test]
fn outputs_are_cut_along_every_padded_axis_and_only_in_their_declared_shape() {
    let attention: Declared<'_> = ("y", DType::I64, &["batch", "sequence", "sequence"]);
    let plan = resolve(&padding(), &[IDS, MASK], &[attention, POOLED]).expect("fits");
    let length = RequestLength { own: 2, bucket: 4 };
    let square = numbers(&[1, 4, 4], |at| at as i64);
    let cut = plan.cut(0, square, length).expect("declared");
    assert_eq!(cut, numbers(&[1, 2, 2], |at| [0, 1, 4, 5][at]));
    let pooled = numbers(&[1, 16], |_| 1);
    assert_eq!(
        plan.cut(1, pooled.clone(), length).expect("declared"),
        pooled
    );
    for shape in [&[1, 4][..], &[1, 8], &[1, 16, 1], &[1]] {
        assert!(
            plan.cut(1, numbers(shape, |_| 1), length).is_err(),
            "{shape:?}"
        );
    }
    assert!(plan.cut(0, numbers(&[1, 4, 2], |_| 1), length).is_err());
}
