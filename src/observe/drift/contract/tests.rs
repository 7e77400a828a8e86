//! Tests of `contract`.

use super::*;

fn counted(numbers: &NumberCounts) -> Vec<[u64; 4]> {
    (0..numbers.breaches.len())
        .map(|i| numbers.of(i))
        .map(|b| [b.nan, b.infinite, b.below, b.above])
        .collect()
}

#[test]
fn every_violation_of_every_row_is_counted_at_its_column() {
    let mut numbers = NumberCounts::new(2);
    numbers.bound(0, Some((0.0, 1.0)));
    let rows = [
        0.5,
        f32::NAN,
        -1.0,
        f32::INFINITY,
        2.0,
        f32::NEG_INFINITY,
        f32::INFINITY,
        7.0,
    ];

    numbers.count(&Tensor::from_f32(vec![4, 2], &rows).expect("fits"));
    assert_eq!(counted(&numbers), [[0, 1, 1, 2], [1, 2, 0, 0]]);
    // A tensor of another width is skipped, so that no column gets counts of another.
    let before = counted(&numbers);
    numbers.count(&Tensor::from_f32(vec![1, 3], &[9.0; 3]).expect("fits"));
    assert_eq!(counted(&numbers), before);
}

#[test]
fn bounds_rounded_to_single_precision_are_not_violated() {
    // The greatest value of the baseline is exactly this number.
    let greatest = f64::from(0.1_f32);
    let mut numbers = NumberCounts::new(1);
    numbers.bound(0, Some((greatest, greatest)));
    numbers.count(&Tensor::from_f32(vec![1, 1], &[0.1]).expect("fits"));
    assert_eq!(counted(&numbers), [[0; 4]]);
}

#[test]
fn a_wide_tensor_is_one_column_of_which_every_element_counts() {
    let mut numbers = NumberCounts::new(1);
    let mut values = vec![0.5; 4 * BLOCK + 3];
    values[0] = f32::NAN;
    values[2 * BLOCK - 1] = f32::INFINITY;
    values[2 * BLOCK] = f32::NEG_INFINITY;
    *values.last_mut().expect("not empty") = f32::NAN;

    let wide = Tensor::from_f32(vec![1, values.len()], &values).expect("fits");
    numbers.count(&wide);
    assert_eq!(counted(&numbers), [[2, 2, 0, 0]]);
    numbers.bound(0, Some((0.0, 0.25)));
    numbers.count(&wide);
    let above = values.len() as u64 - 3;
    assert_eq!(counted(&numbers), [[4, 4, 1, above]]);
}
