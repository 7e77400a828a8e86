//! Tests of `linear`.

use super::super::super::frame::{Coder, Frame, FrameColumn, FrameValues};
use super::*;

#[test]
fn ridge_regression_finds_the_exact_weights() {
    // Ridge on numbers of one scale has a closed form where they are independent.
    let x = vec![-1.0_f32, -1.0, 1.0, 1.0];
    let z = vec![-1.0_f32, 1.0, -1.0, 1.0];
    let y: Vec<f32> = x
        .iter()
        .zip(&z)
        .map(|(x, z)| 5.0 + 3.0 * x - 2.0 * z)
        .collect();
    let numbers = |name: &str, all: &[f32]| FrameColumn {
        name: name.to_owned(),
        values: FrameValues::Numbers(all.to_vec().into()),
    };

    let frame = Frame {
        columns: vec![numbers("x", &x), numbers("z", &z)],
        rows: 4,
        ..Frame::default()
    };
    let features: Vec<Feature> = (0..2)
        .map(|c| Feature::learn(&frame, c, &[0, 1, 2, 3]))
        .collect();
    let rows = Labelled {
        frame: &frame,
        targets: &y,
        weights: None,
    };

    let fitted = fit(&rows, &features, Loss::Squared, 1.0);
    assert!(fitted.converged);
    let weight = |at: usize| match &fitted.terms[at] {
        Term::Number { weights, .. } => weights[0],
        Term::Category(_) => f32::NAN,
    };
    assert!(
        (weight(0) - 3.0 * 4.0 / 5.0).abs() < 1e-5 && (weight(1) + 2.0 * 4.0 / 5.0).abs() < 1e-5
    );
    assert!((fitted.base[0] - 5.0).abs() < 1e-5);
    assert!((fitted.scores(&[f32::NAN, f32::INFINITY])[0]).is_finite());
}

#[test]
fn logistic_regression_learns_from_numbers_categories_and_missing_values() {
    let mut state = 3_u64;
    let mut random = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32
    };

    let (mut x, mut words, mut y) = (Vec::new(), Coder::default(), Vec::new());
    for _ in 0..6_000 {
        let (value, word) = (
            random() * 4.0 - 2.0,
            ["a", "b", "c"][(random() * 3.0) as usize],
        );
        let is_missing = random() < 0.1;
        let score = if is_missing { 1.0 } else { value } + if word == "a" { 1.5 } else { 0.0 };
        y.push(if random() < 1.0 / (1.0 + (-2.0 * score).exp()) {
            1.0
        } else {
            0.0
        });
        x.push(if is_missing { f32::NAN } else { value });
        words.push(Some(word));
    }

    let columns = vec![
        FrameColumn {
            name: "x".to_owned(),
            values: FrameValues::Numbers(x.into()),
        },
        FrameColumn {
            name: "c".to_owned(),
            values: FrameValues::Words(words.finish()),
        },
    ];

    let frame = Frame {
        columns,
        rows: 6_000,
        ..Frame::default()
    };
    let rows: Vec<u32> = (0..6_000).collect();
    let features: Vec<Feature> = (0..2).map(|c| Feature::learn(&frame, c, &rows)).collect();
    let all = super::super::trees::rows(&frame, &features);
    for (loss, classes) in [(Loss::Logistic, 1), (Loss::Softmax(2), 2)] {
        let rows = Labelled {
            frame: &frame,
            targets: &y,
            weights: None,
        };
        let fitted = fit(&rows, &features, loss, 1.0);
        assert!(fitted.converged);
        let right = (0..6_000).filter(|row| {
            let scores = fitted.scores(&all[row * 2..][..2]);
            let decided = if classes == 1 {
                scores[0] > 0.0
            } else {
                scores[1] > scores[0]
            };
            decided == (y[*row] > 0.5)
        });
        let accuracy = right.count() as f64 / 6_000.0;
        assert!(accuracy > 0.85, "{loss:?} {accuracy}");
        assert!(
            fitted.importances().iter().all(|i| *i > 0.1),
            "{:?}",
            fitted.importances()
        );
    }
}
