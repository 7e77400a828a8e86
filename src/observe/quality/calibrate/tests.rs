//! Tests of `calibrate`.

use super::*;

#[test]
fn a_curve_never_decreases_and_pools_rows_that_would() {
    let rows = [
        (0.1, false),
        (0.2, true),
        (0.3, false),
        (0.4, true),
        (0.9, true),
    ];

    let curve = Curve::fit(&rows).expect("a curve");
    assert_eq!(
        curve.points(),
        [(0.1, 0.0), (0.2, 0.5), (0.3, 0.5), (0.4, 1.0), (0.9, 1.0)]
    );
    let near = |score: f64, share: f64| {
        assert!((curve.calibrated(score) - share).abs() < 1e-12, "{score}")
    };
    [(0.0, 0.0), (0.25, 0.5), (0.35, 0.75), (2.0, 1.0)]
        .into_iter()
        .for_each(|(s, p)| near(s, p));
    assert!(Curve::fit(&[]).is_none());

    assert_eq!(
        Curve::fit(&[(0.5, true), (0.5, false)])
            .expect("a curve")
            .calibrated(0.1),
        0.5,
        "ties are one point"
    );
}

#[test]
fn a_curve_has_a_limit_of_points() {
    let rows: Vec<(f64, bool)> = (0..10_000)
        .map(|i| (f64::from(i) / 1e4, i % 100 < i / 100))
        .collect();
    let curve = Curve::fit(&rows).expect("a curve");
    assert!(curve.points().len() <= POINTS_MAX);
    assert!(
        (0..100)
            .all(|i| (curve.calibrated(f64::from(i) / 100.0) - f64::from(i) / 100.0).abs() < 0.05)
    );
}
