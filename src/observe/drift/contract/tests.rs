//! Tests of `contract`.

use super::limits::{Codes, ValueLimits};
use super::*;
use crate::core::tensor::Strings;
use crate::observe::drift::profile::profile;
use crate::observe::drift::series::ColumnSeries;
use crate::observe::drift::watch::tests::Random;
use crate::testing::tensor_spec as spec;
use std::sync::Arc;

fn counted(numbers: &NumberCounts, width: usize) -> Vec<[u64; 4]> {
    (0..width)
        .map(|i| numbers.of(i))
        .map(|b| [b.nan, b.infinite, b.below, b.above])
        .collect()
}

fn range(least: f64, greatest: f64) -> ValueLimits {
    ValueLimits {
        range: Some((least, greatest)),
        codes: None,
    }
}

#[test]
fn every_violation_of_every_row_is_counted_at_its_column() {
    let mut numbers = NumberCounts::new(2, false);
    numbers.bound(0, range(0.0, 1.0));
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
    assert_eq!(counted(&numbers, 2), [[0, 1, 1, 1], [1, 2, 0, 0]]);
    // A tensor of another width is skipped, so that no column gets counts of another.
    let before = counted(&numbers, 2);
    numbers.count(&Tensor::from_f32(vec![1, 3], &[9.0; 3]).expect("fits"));
    assert_eq!(counted(&numbers, 2), before);
}

#[test]
fn bounds_rounded_to_single_precision_are_not_violated() {
    // The greatest value of the baseline is exactly this number.
    let greatest = f64::from(0.1_f32);
    let mut numbers = NumberCounts::new(1, false);
    numbers.bound(0, range(greatest, greatest));
    numbers.count(&Tensor::from_f32(vec![1, 1], &[0.1]).expect("fits"));
    assert_eq!(counted(&numbers, 1), [[0; 4]]);
}

#[test]
fn a_row_of_a_wide_tensor_counts_once_for_each_kind() {
    let mut numbers = NumberCounts::new(1, true);
    let (rows, width) = (3, 2_100);
    let mut values = vec![0.5; rows * width];
    values[0] = f32::NAN;
    values[1_023] = f32::INFINITY;
    values[1_024] = f32::NEG_INFINITY;
    values[width - 1] = f32::NAN;
    values[3 * width - 1] = f32::NAN;

    let wide = Tensor::from_f32(vec![rows, width], &values).expect("fits");
    numbers.count(&wide);
    assert_eq!(counted(&numbers, 1), [[2, 1, 0, 0]]);
}

/// The contract of one column named `x`, with a baseline of `series`.
fn contracts(series: &ColumnSeries, dtype: DType) -> Contracts {
    let signature = Signature {
        inputs: vec![spec("x", dtype, &[-1, 1])],
        outputs: Vec::new(),
        ..Signature::default()
    };
    let baseline = Baseline::of_columns(1_000, vec![profile("x", series)], Vec::new());
    let places = crate::observe::drift::layout::column_places(&signature, &[]);
    Contracts::new(&signature, &places, Some(&baseline), 1)
}

/// The counts of the column after a tensor: below, above, unseen.
fn breaches(series: &ColumnSeries, tensor: Tensor) -> [u64; 3] {
    let contracts = contracts(series, tensor.dtype());
    contracts.count(Side::Input, &[tensor]);
    let found = contracts.counts().1[0];
    [found.below, found.above, found.unseen]
}

#[test]
fn every_type_of_number_has_a_contract() {
    // Enough rows that their range is all there is.
    let mut random = Random(3);
    let of_80 = (0..20_000).map(|_| 10 + (random.next() * 80.0) as i64);
    let whole = ColumnSeries::Whole(of_80.collect());
    let codes = ColumnSeries::Whole((0..1_000).map(|i| 1 + i % 8).collect());
    let flags = ColumnSeries::Whole(vec![0; 1_000]);
    let of = |dtype, width: usize, value: i64| {
        let bytes = value.to_le_bytes()[..width].to_vec();
        Tensor::fixed(dtype, vec![1, 1], bytes.into()).expect("fits")
    };
    for (dtype, width) in [
        (DType::I64, 8),
        (DType::I32, 4),
        (DType::I16, 2),
        (DType::I8, 1),
        (DType::U64, 8),
        (DType::U32, 4),
        (DType::U16, 2),
        (DType::U8, 1),
    ] {
        assert_eq!(breaches(&whole, of(dtype, width, 9)), [1, 0, 0], "{dtype}");
        assert_eq!(breaches(&whole, of(dtype, width, 89)), [0; 3], "{dtype}");
        assert_eq!(breaches(&whole, of(dtype, width, 90)), [0, 1, 0], "{dtype}");
        assert_eq!(breaches(&codes, of(dtype, width, 8)), [0; 3], "{dtype}");
        assert_eq!(breaches(&codes, of(dtype, width, 99)), [0, 0, 1], "{dtype}");
    }
    assert_eq!(breaches(&flags, of(DType::Bool, 1, 0)), [0; 3]);
    assert_eq!(breaches(&flags, of(DType::Bool, 1, 1)), [0, 0, 1]);
}

#[test]
fn the_range_of_few_rows_is_wider_by_what_their_tails_suggest() {
    let mut random = Random(5);
    let mut normal = |rows: usize| (0..rows).map(|_| random.normal()).collect::<Vec<f64>>();
    let of = |values: Vec<f64>, value: f32| {
        let tensor = Tensor::from_f32(vec![1, 1], &[value]).expect("fits");
        breaches(&ColumnSeries::Numbers(values), tensor)
    };
    let (few, many) = (normal(200), normal(20_000));
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max) as f32;
    let (of_few, of_many) = (most(&few), most(&many));
    // One normal number in 2,000 lies above 3.3.
    assert_eq!(of(few.clone(), of_few.max(3.3)), [0; 3]);
    assert_eq!(of(few.clone(), 5.5), [0, 1, 0]);
    assert_eq!(of(few.clone(), -5.5), [1, 0, 0]);
    assert_eq!(of(many, of_many + 0.01), [0, 1, 0]);

    // Prices are not negative, whatever their tail suggests.
    let prices: Vec<f64> = few.iter().map(|v| v.abs()).collect();
    assert_eq!(of(prices.clone(), of_few + 0.3), [0; 3]);
    assert_eq!(of(prices.clone(), -0.01), [1, 0, 0]);
    let losses: Vec<f64> = prices.iter().map(|v| -v).collect();
    assert_eq!(of(losses, 0.01), [0, 1, 0]);
}

#[test]
fn numbers_between_codes_are_unseen_and_the_last_digits_do_not_matter() {
    let codes = ColumnSeries::Numbers((0..1_000).map(|i| f64::from([1, 2, 5][i % 3])).collect());
    let of = |v: f32| Tensor::from_f32(vec![1, 1], &[v]).expect("fits");
    for (value, expected) in [
        (1.0_f32, [0, 0, 0]),
        (2.0_f32.next_up(), [0, 0, 0]),
        (1.0_f32.next_down(), [0, 0, 0]),
        (5.0_f32.next_up(), [0, 0, 0]),
        (3.0, [0, 0, 1]),
        (1.5, [0, 0, 1]),
        (0.0, [1, 0, 0]),
        (6.0, [0, 1, 0]),
        (f32::INFINITY, [0, 0, 0]),
    ] {
        assert_eq!(breaches(&codes, of(value)), expected, "{value}");
    }
}

#[test]
fn new_words_are_unseen_even_where_the_baseline_has_more_than_it_lists() {
    let words = (0..20_000).map(|i| format!("w{}", i % 9_000)).collect();
    let contracts = contracts(&ColumnSeries::Words(words), DType::String);
    let unseen_of = |words: Vec<String>| {
        let text = Strings::from_parts(&words).expect("text");
        let before = contracts.counts().1[0].unseen;
        let tensor = Tensor::strings(vec![words.len(), 1], text).expect("fits");
        contracts.count(Side::Input, &[tensor]);
        contracts.counts().1[0].unseen - before
    };
    assert_eq!(unseen_of(vec!["w0".to_owned(), "w8999".to_owned()]), 0);
    let unseen = unseen_of((0..1_000).map(|i| format!("new{i}")).collect());
    assert!(unseen > 950, "{unseen} of 1,000 new words");
}

#[test]
fn a_set_of_codes_may_be_sparse() {
    let codes = Codes::new(&[-5, 7, 1_000_000_007]).expect("codes");
    for (value, is_code) in [
        (-5.0, true),
        (7.0, true),
        (1_000_000_007.0, true),
        (6.0, false),
    ] {
        assert_eq!(codes.has(value), is_code, "{value}");
    }
    assert_eq!(Codes::new(&[]), None);
    let limits = ValueLimits {
        range: None,
        codes: Some(Arc::new(codes)),
    };
    let mut numbers = NumberCounts::new(1, false);
    numbers.bound(0, limits);
    numbers.count(&Tensor::from_f32(vec![3], &[7.0, 8.0, f32::NAN]).expect("fits"));
    assert_eq!((numbers.of(0).unseen, numbers.of(0).nan), (1, 1));
}
