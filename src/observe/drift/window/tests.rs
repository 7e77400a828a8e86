//! Tests of `window`.

use super::*;
use crate::observe::drift::cells::{Edges, KnownWords};

#[test]
fn integers_are_matched_with_categories_by_their_digits() {
    for value in [0, 7, -1, 120, i64::MAX, i64::MIN] {
        assert_eq!(digits(value, &mut [0; 20]), value.to_string());
    }
    let words = KnownWords::new(&["-1".to_owned(), "120".to_owned()], &[], false);
    let cells = Cells::Words(words);
    let cell = |v| find(&cells, &ColumnValue::Whole(v));
    assert_eq!((cell(-1), cell(120), cell(5)), (Some(0), Some(1), Some(3)));
}

#[test]
fn counts_of_windows_add_up() {
    let cells = Cells::Numbers(Edges::new(vec![0.0, 1.0]).expect("increase"));
    let mut whole = ColumnTally::new(&cells);
    let mut parts = [ColumnTally::new(&cells), ColumnTally::new(&cells)];
    for (i, v) in [-1.0, 0.5, f64::NAN, 2.0, f64::INFINITY]
        .into_iter()
        .enumerate()
    {
        whole.take(&cells, &ColumnValue::Number(v));
        parts[i % 2].take(&cells, &ColumnValue::Number(v));
    }

    let [mut sum, other] = parts;
    sum.add(&other);
    assert_eq!(sum, whole);
    assert_eq!(
        (whole.rows(), whole.present(), whole.ends),
        (5, 4, (-1.0, 2.0))
    );
}
