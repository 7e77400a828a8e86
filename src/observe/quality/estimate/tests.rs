//! Tests of `estimate`.

use super::*;
use crate::observe::quality::answer::Truth;
use crate::observe::quality::measure::measure;

fn task(classes: usize) -> Classification {
    let classes = (0..classes).map(|c| c.to_string()).collect();
    Classification {
        scores: 0,
        is_single: false,
        label: None,
        classes,
    }
}

/// Numbers between 0 and 1 that look random.
fn random(state: &mut u64) -> f64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 40) as f64 / f64::from(1 << 24)
}

#[test]
fn calibrated_scores_estimate_the_measured_performance() {
    let mut state = 7;
    let mut estimator = Estimator::new(&task(2), &BTreeMap::new());
    let mut rows = Vec::new();
    for _ in 0..50_000 {
        let p = random(&mut state);
        let answer = RowAnswer::Class(u32::from(p >= 0.5), vec![1.0 - p as f32, p as f32]);
        estimator.take(&answer);
        rows.push((answer, Truth::Class(usize::from(random(&mut state) < p))));
    }

    let real = measure(rows.iter().map(|(a, t)| (a, *t)));
    let estimate = estimator.close().expect("rows");
    for (name, value) in &estimate.measures {
        assert!(
            (value - real[name]).abs() < 0.01,
            "{name}: {value} for {}",
            real[name]
        );
    }

    assert!(
        (estimate.measures["accuracy"] - real["accuracy"]).abs()
            < estimate.margin.expect("a margin")
    );
    assert_eq!(estimate.calibrated, Some(false));
    assert_eq!(estimator.close(), None, "it starts again");
}

#[test]
fn every_score_has_a_bin() {
    assert!(bin(0.1) < bin(0.5) && bin(0.5) < bin(0.999_999) && bin(0.999_999) < bin(1.0));
    assert_eq!(
        (bin(1.000_000_1), bin(-0.1), bin(f64::NAN)),
        (bin(1.0), bin(0.0), 0)
    );
}

#[test]
fn a_calibration_curve_corrects_overconfident_scores() {
    let mut state = 7;
    let boast = |p: f64| 0.5 + (p - 0.5).signum() * (0.5 * (2.0 * (p - 0.5).abs()).sqrt());
    let mut draw = || {
        let p = random(&mut state);
        (boast(p), random(&mut state) < p)
    };
    let made_of: Vec<(f64, bool)> = (0..50_000).map(|_| draw()).collect();
    let curve = Curve::fit(&made_of).expect("a curve");
    let seen: Vec<(f64, bool)> = (0..20_000).map(|_| draw()).collect();
    let estimate = |curves: &BTreeMap<usize, Curve>| {
        let mut estimator = Estimator::new(&task(2), curves);
        let answer = |p: f64| RowAnswer::Class(u32::from(p >= 0.5), vec![1.0 - p as f32, p as f32]);
        seen.iter().for_each(|(p, _)| estimator.take(&answer(*p)));
        estimator.close().expect("rows").measures["accuracy"]
    };

    let real =
        seen.iter().filter(|(p, hit)| (*p >= 0.5) == *hit).count() as f64 / seen.len() as f64;
    assert!((estimate(&BTreeMap::from([(1, curve)])) - real).abs() < 0.01);
    assert!(
        (estimate(&BTreeMap::new()) - real).abs() > 0.05,
        "what it says of itself is another thing"
    );
}
