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
    assert_eq!(slicer.cuts.len(), 3);
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
