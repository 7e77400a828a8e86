//! Tests of `loss`.

use super::*;

#[test]
fn gradients_and_hessians_are_those_of_the_mean_loss() {
    for (loss, targets) in [
        (Loss::Squared, [0.5_f32, -1.0, 2.0]),
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
