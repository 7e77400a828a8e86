//! Tests of `slice`.

use super::*;
use crate::core::tensor::{DType, Strings};
use crate::observe::drift::layout::{RowPart, Side};
use crate::observe::drift::profile::profile;
use crate::observe::drift::series::ColumnSeries;

fn place(dtype: DType) -> ColumnPlace {
    ColumnPlace {
        name: "a".to_owned(),
        side: Side::Input,
        tensor: 0,
        part: RowPart::Element(0),
        dtype,
    }
}

#[test]
fn numbers_are_grouped_by_quartiles_of_the_baseline() {
    let values = (0..1_000).map(f64::from).collect();
    let column = profile("a", &ColumnSeries::Numbers(values));

    let mut slicer = Slicer::new(place(DType::F32), Some(&column));
    assert_eq!(slicer.parts.names.len(), 5);
    let tensor = Tensor::from_f32(vec![4, 1], &[-5.0, 400.0, 5_000.0, f32::NAN]).expect("fits");
    let parts = slicer.parts(&[tensor]);
    assert!(
        parts[0].starts_with('≤') && parts[1].contains(" to ") && parts[2].starts_with('>'),
        "{parts:?}"
    );
    assert_eq!(parts[3], "missing");
    assert_eq!(
        Slicer::new(place(DType::F32), None)
            .parts(&[Tensor::from_f32(vec![1], &[1.0]).expect("fits")]),
        ["all"]
    );
}

#[test]
fn categories_are_parts_of_their_own_up_to_a_limit() {
    let mut slicer = Slicer::new(place(DType::String), None);
    let words: Vec<String> = (0..20).map(|i| format!("w{i}")).collect();
    let tensor =
        Tensor::strings(vec![20, 1], Strings::from_parts(&words).expect("text")).expect("fits");
    let parts = slicer.parts(&[tensor]);
    assert_eq!(
        (parts[0].as_str(), parts[15].as_str(), parts[16].as_str()),
        ("w0", "w15", OTHER)
    );
}

#[test]
fn codes_are_parts_of_their_own() {
    let codes: Vec<f64> = (0..1_000).map(|i| f64::from(i % 5)).collect();
    let column = profile("a", &ColumnSeries::Numbers(codes));
    let mut slicer = Slicer::new(place(DType::F32), Some(&column));
    let values = [3.0, 0.0, 7.0, f32::NAN, 2.5];
    let tensor = Tensor::from_f32(vec![5, 1], &values).expect("fits");
    assert_eq!(slicer.parts(&[tensor]), ["3", "0", "7", "missing", "2.5"]);

    let many: Vec<f64> = (0..1_000).map(|i| f64::from(i % 24)).collect();
    let column = profile("a", &ColumnSeries::Numbers(many));
    assert_eq!(
        Slicer::new(place(DType::F32), Some(&column))
            .parts
            .names
            .len(),
        5
    );
}

#[test]
fn integers_that_stand_for_categories_are_parts_of_their_own() {
    let codes = (0..1_000).map(|i| i % 3).collect();
    let column = profile("a", &ColumnSeries::Whole(codes));
    let mut slicer = Slicer::new(place(DType::I64), Some(&column));
    let tensor = Tensor::fixed(DType::I64, vec![1, 1], 2_i64.to_le_bytes().to_vec().into());
    assert_eq!(slicer.parts(&[tensor.expect("fits")]), ["2"]);
}

#[test]
fn empty_words_are_missing_and_a_named_part_is_found_again() {
    let words = ["red", "", "blue"].map(str::to_owned).to_vec();
    let column = profile("a", &ColumnSeries::Words([words.as_slice(); 50].concat()));
    let mut slicer = Slicer::new(place(DType::String), Some(&column));
    assert_eq!(slicer.part(&ColumnValue::Word("")), 0);
    let red = slicer.part(&ColumnValue::Word("red"));
    assert_eq!((slicer.named("red"), slicer.name(red)), (Some(red), "red"));
    let other = slicer.named(OTHER).expect("a category");
    (0..20).for_each(|i| {
        slicer.part(&ColumnValue::Word(&format!("w{i}")));
    });
    assert_eq!(slicer.part(&ColumnValue::Word("new")), other);
}
