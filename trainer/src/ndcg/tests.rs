//! Tests of `ndcg`.

use super::*;

#[test]
fn ndcg_is_that_of_the_order_of_scores() {
    // Gains 7, 3, 0 at discounts 1, 1 / log2(3), 1 / 2.
    let best = 7.0 + 3.0 / 3_f64.log2();
    let check = |rows: &[(f64, f64)], places: usize, expected: f64| {
        let found = of(rows, places).expect("has a grade");
        assert!(
            (found - expected).abs() < 1e-12,
            "{rows:?}: {found} {expected}"
        );
    };
    check(&[(0.9, 3.0), (0.5, 2.0), (0.1, 0.0)], 10, 1.0);
    check(
        &[(0.1, 3.0), (0.5, 2.0), (0.9, 0.0)],
        10,
        (3.0 / 3_f64.log2() + 3.5) / best,
    );
    check(&[(0.1, 3.0), (0.5, 2.0), (0.9, 0.0)], 1, 0.0);
    check(&[(0.9, 3.0), (0.5, 2.0)], 1, 1.0);
}

#[test]
fn rows_of_equal_score_share_the_mean_of_their_places() {
    let best = 7.0 + 3.0 / 3_f64.log2();
    let mean = 10.0 / 3.0 * (1.0 + 1.0 / 3_f64.log2() + 0.5);
    for rows in [
        [(1.0, 3.0), (1.0, 2.0), (1.0, 0.0)],
        [(1.0, 0.0), (1.0, 3.0), (1.0, 2.0)],
        [(f64::NAN, 0.0), (f64::NAN, 3.0), (f64::NAN, 2.0)],
    ] {
        let found = of(&rows, 10).expect("has a grade");
        assert!((found - mean / best).abs() < 1e-12, "{rows:?}: {found}");
    }
    // Of the two tied rows one is within the first two places.
    let found = of(&[(2.0, 0.0), (1.0, 1.0), (1.0, 0.0)], 2).expect("has a grade");
    assert!((found - 0.5 / 3_f64.log2()).abs() < 1e-12, "{found}");
}

#[test]
fn a_query_without_a_grade_above_0_has_no_ndcg() {
    assert_eq!(of(&[(1.0, 0.0), (2.0, 0.0)], 10), None);
    assert_eq!(of(&[], 10), None);
}
