//! Tests of `wide`.

use super::*;

fn fitted(all: impl Iterator<Item = f64>) -> NumberFit {
    let all: Vec<f64> = all.collect();
    fit("n", &all).expect("fits")
}

#[test]
fn only_numbers_that_fp32_would_merge_are_shifted() {
    let rows = || (0..5_000).map(f64::from);
    let plain = |all: &mut dyn Iterator<Item = f64>| {
        let fit = fitted(all);
        assert_eq!((fit.minus, fit.note), (None, None));
    };
    plain(&mut rows());
    plain(&mut rows().map(|v| v + 16_772_217.0));
    plain(&mut rows().map(|v| v * 1e9));
    plain(&mut rows().map(|v| v / 7.0));
    plain(&mut [f64::NAN, f64::INFINITY].into_iter());
    plain(&mut std::iter::empty());
    // The same decimals, with other errors of rounding: 0.3 and 0.30000000000000004.
    plain(&mut rows().flat_map(|v| [v % 7.0 * 0.1, v % 7.0 / 10.0]));

    let shifted = fitted(rows().map(|v| v + 490_000_000_000.0));
    assert_eq!(shifted.minus, Some(490_000_002_500.0));
    let note = shifted.note.unwrap_or_default();
    assert!(note.contains("FP32 would keep 1 of 5000"), "{note}");
    assert!(note.contains("keeps 5000"), "{note}");
    assert!(fitted(rows().map(|v| v + 16_777_217.0)).minus.is_some());
    // Small decimals on a large number.
    let decimals = fitted(rows().map(|v| 1e9 + v * 1e-3));
    assert_eq!(decimals.minus, Some(1e9 + 2.5));
}

#[test]
fn whole_numbers_in_groups_far_apart_are_refused() {
    let far = |row: i32| f64::from(row / 2) + if row % 2 == 0 { 1e11 } else { 9e11 };
    let all: Vec<f64> = (0..4_000).map(far).collect();
    let error = fit("account", &all).expect_err("cannot be kept");
    for part in [
        "'account' holds whole numbers",
        "of 4000 different",
        "CAST them to VARCHAR",
        "'ignore'",
    ] {
        assert!(error.message.contains(part), "{error}");
    }
}
