//! Tests of `evidence`.

use super::*;

#[test]
fn roc_and_pr_curves_follow_the_scores() {
    let scores = vec![(0.9, true), (0.8, false), (0.8, true), (0.1, false)];
    assert_eq!(
        roc(&scores),
        [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]
    );
    assert_eq!(
        precision(&scores),
        [(0.5, 1.0), (1.0, 2.0 / 3.0), (1.0, 0.5)]
    );
    let found = calibration(&scores);
    assert_eq!(found.len(), 3);
    assert!((found[1].0 - 0.8).abs() < 1e-12 && (found[1].1 - 0.5).abs() < 1e-12);
    assert!(roc(&Scored::new()).is_empty() && errors(&[]).is_empty());
    let spread: Vec<(f64, f64)> = (0..1_000)
        .map(|at| (0.0, f64::from(at) / 1_000.0))
        .collect();
    let shares = errors(&spread);
    assert!(shares.len() == BINS && (shares.iter().map(|s| s.1).sum::<f64>() - 1.0).abs() < 1e-9);
    assert!(
        shares[1..9].iter().all(|s| (s.1 - 0.098).abs() < 0.01),
        "{shares:?}"
    );
    assert!(limit_points((0..10_000).map(|at| (f64::from(at), 0.0)).collect()).len() <= POINTS + 1);
}
