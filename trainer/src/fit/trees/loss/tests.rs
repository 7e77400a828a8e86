//! Tests of `loss`.

use super::*;

#[test]
fn many_classes_are_regularised_as_two_of_equal_size() {
    assert_eq!(Loss::Logistic.l2_scale(), 1.0);
    assert_eq!(Loss::Softmax(2).l2_scale(), 1.0);
    assert!((Loss::Softmax(10).l2_scale() - 0.36).abs() < 1e-12);
}

#[test]
fn gradients_and_hessians_are_those_of_the_mean_loss() {
    for (loss, targets) in [
        (Loss::Squared, [0.5_f32, -1.0, 2.0]),
        (Loss::Poisson, [0.0, 1.0, 7.0]),
        (Loss::Tweedie(1.2), [0.0, 0.4, 7.0]),
        (Loss::Tweedie(1.8), [0.0, 0.4, 7.0]),
        (Loss::Quantile(0.9), [0.5, -1.0, 2.0]),
        (Loss::Logistic, [0.0, 1.0, 1.0]),
        (Loss::Softmax(3), [0.0, 2.0, 1.0]),
    ] {
        let width = loss.scores();
        let scores: Vec<f64> = (0..3 * width).map(|i| (i as f64 * 1.7).sin()).collect();
        let weights = [1.0_f32, 2.0, 0.5];
        let gradients = loss.gradients(&targets, Some(&weights), &scores);
        for row in 0..3 {
            for at in 0..width {
                let mean = |by: f64| {
                    let mut moved = scores.clone();
                    moved[row * width + at] += by;
                    loss.mean(&targets, Some(&weights), &moved) * 3.5
                };
                let gradient = (mean(1e-5) - mean(-1e-5)) / 2e-5;
                let found = f64::from(gradients[at][row][0]);
                assert!(
                    (gradient - found).abs() < 1e-4,
                    "{loss:?} {row} {at}: {gradient} {found}"
                );
            }
        }
        let base = loss.base(&targets, Some(&weights));
        let at = |by: f64| {
            let moved: Vec<f64> = (0..3)
                .flat_map(|_| {
                    base.iter()
                        .enumerate()
                        .map(|(i, b)| b + if i == 0 { by } else { 0.0 })
                })
                .collect();
            loss.mean(&targets, Some(&weights), &moved)
        };
        assert!(
            at(0.0) <= at(0.01) && at(0.0) <= at(-0.01),
            "{loss:?}: no constant is better"
        );
    }
}

#[test]
fn hessians_are_the_slopes_of_gradients() {
    for loss in [
        Loss::Squared,
        Loss::Logistic,
        Loss::Poisson,
        Loss::Tweedie(1.2),
        Loss::Tweedie(1.8),
    ] {
        for (target, score) in [(0.0, -1.3), (1.0, 0.4), (1.0, 2.2), (0.0, 3.0)] {
            let gradient = |by: f64| loss.derivatives(target, score + by)[0];
            let slope = (gradient(1e-5) - gradient(-1e-5)) / 2e-5;
            let found = loss.derivatives(target, score)[1];
            assert!(
                (slope - found).abs() < 1e-6 * found.max(1.0),
                "{loss:?} {target} {score}: {slope} {found}"
            );
        }
    }
}

#[test]
fn deviances_are_those_of_scikit_learn() {
    // mean_poisson_deviance([2], [0.5]), mean_tweedie_deviance([1], [2], power=1.5), and of 0.
    assert!((poisson_deviance(2.0, 0.5) - 2.545_177_444_479_562).abs() < 1e-12);
    assert!((tweedie_deviance(1.0, 2.0, 1.5) - 0.485_281_374_238_570_2).abs() < 1e-12);
    assert_eq!(poisson_deviance(0.0, 0.5), 1.0);
    assert!((tweedie_deviance(0.0, 4.0, 1.5) - 8.0).abs() < 1e-12);
    assert!(tweedie_deviance(3.0, 3.0, 1.3).abs() < 1e-12);
}

#[test]
fn a_quantile_is_the_least_value_that_enough_weight_reaches() {
    let check = |pairs: &[(f64, f64)], level: f64, expected: f64| {
        assert_eq!(
            quantile(&mut pairs.to_vec(), level),
            expected,
            "{pairs:?} {level}"
        );
    };
    let ten: Vec<(f64, f64)> = (1..=10).rev().map(|v| (f64::from(v), 1.0)).collect();
    check(&ten, 0.9, 9.0);
    check(&ten, 0.91, 10.0);
    check(&ten, 0.5, 5.0);
    check(&[(1.0, 1.0), (2.0, 3.0)], 0.25, 1.0);
    check(&[(1.0, 1.0), (2.0, 3.0)], 0.26, 2.0);
    check(&[(1.0, 0.0), (2.0, 1.0)], 0.01, 2.0);
    check(&[], 0.5, 0.0);
}

#[test]
fn rates_are_finite_at_any_score() {
    for loss in [Loss::Poisson, Loss::Tweedie(1.5)] {
        for score in [-1e30, -200.0, 200.0, 1e30] {
            let rate = loss.answer(&[score])[0] as f32;
            assert!(rate.is_normal() && rate > 0.0, "{loss:?} {score}: {rate}");
            assert!(loss.derivatives(3.0, score).iter().all(|d| d.is_finite()));
        }
    }
}
