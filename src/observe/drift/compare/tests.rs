//! Tests of `compare`.

use super::*;
use crate::observe::drift::profile::profile;
use crate::observe::drift::series::ColumnSeries;
use crate::observe::drift::watch::tests::Random;

pub(super) fn baseline(columns: &[(&str, ColumnSeries)]) -> Baseline {
    Baseline::of_columns(
        5_000,
        columns.iter().map(|(name, of)| profile(name, of)).collect(),
        Vec::new(),
    )
}

pub(super) fn numbers(seed: u64, of: impl Fn(f64) -> f64) -> ColumnSeries {
    let mut random = Random(seed);
    ColumnSeries::Numbers((0..5_000).map(|_| of(random.normal())).collect())
}

pub(super) fn words(seed: u64, of: impl Fn(f64) -> &'static str) -> ColumnSeries {
    let mut random = Random(seed);
    ColumnSeries::Words((0..5_000).map(|_| of(random.next()).to_owned()).collect())
}

/// Numbers of which a share is missing.
pub(super) fn holes(seed: u64, share: f64) -> ColumnSeries {
    let mut random = Random(seed);
    let mut value = || {
        let number = random.normal();
        if random.next() < share {
            f64::NAN
        } else {
            number
        }
    };
    ColumnSeries::Numbers((0..5_000).map(|_| value()).collect())
}

/// Checks what is told of a column, against version 3.
fn check(own: ColumnSeries, before: ColumnSeries, expected: &[&str]) {
    let (own, before) = (baseline(&[("c", own)]), baseline(&[("c", before)]));
    let told = differences(&own, (&before, 3), &MonitorSettings::default());
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}");
    }
}

pub(super) fn even(n: f64) -> &'static str {
    ["north", "south"][usize::from(n < 0.5)]
}

#[test]
fn only_certain_differences_are_told() {
    let usual = |seed| numbers(seed, |v| 52.0 + v);
    check(usual(1), usual(2), &[]);
    check(usual(1), numbers(2, |v| 52.01 + v), &[]);
    let shifted = "c has other values than in version 3 (typical value 5";
    check(numbers(1, |v| 53.0 + v), usual(2), &[shifted]);
    let unit = "c is 1,000 times what it was in version 3 (typical value 5";
    check(numbers(1, |v| (52.0 + v) * 1_000.0), usual(2), &[unit]);
    let tiny = "c is 0.001 times what it was in version 3 (typical value 0.05";
    check(numbers(1, |v| (52.0 + v) / 1_000.0), usual(2), &[tiny]);

    check(words(1, even), words(2, even), &[]);
    let mix = "c has another mix of values than in version 3 (";
    check(
        words(1, |n| ["north", "south"][usize::from(n < 0.3)]),
        words(2, even),
        &[mix],
    );
    check(words(1, even), words(2, |_| "north"), &[]);
    // Numbers and categories cannot be compared.
    check(words(1, even), usual(2), &[]);
}

#[test]
fn missing_values_are_told_unless_they_are_told_anyway() {
    check(holes(1, 0.3), holes(2, 0.01), &["c is missing in "]);
    check(holes(1, 0.02), holes(2, 0.02), &[]);
    check(holes(1, 0.9), holes(2, 0.01), &[]);
}

#[test]
fn infinite_columns_are_absurd_and_constant_zeros_are_not() {
    let told = |of: f64| {
        let series = ColumnSeries::Numbers(vec![of; 100]);
        absurdities(&baseline(&[("c", series)])).len()
    };
    assert_eq!((told(f64::INFINITY), told(f64::NEG_INFINITY)), (1, 1));
    assert_eq!((told(0.0), told(0.5), told(f64::NAN)), (0, 0, 0));
}

#[test]
fn categories_that_one_side_does_not_count_are_among_the_others() {
    let listed = |words: &[(&str, u64)], other_rows| WordBaseline {
        words: words.iter().map(|(w, n)| ((*w).to_owned(), *n)).collect(),
        others: Vec::new(),
        other_rows,
        open: false,
        singles: 0,
        filter: None,
    };
    let (own, before) = (listed(&[("a", 5), ("b", 3)], 0), listed(&[("a", 4)], 2));
    assert_eq!(
        by_name(&own, &before),
        [(Some("a"), (5, 4)), (None, (3, 2))]
    );
    let before = listed(&[("a", 4)], 0);
    assert_eq!(
        by_name(&own, &before),
        [(Some("a"), (5, 4)), (Some("b"), (3, 0)), (None, (0, 0))]
    );
}
