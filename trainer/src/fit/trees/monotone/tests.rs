//! Tests of `monotone`: predictions along a feature, whatever the rows say.

use super::super::super::super::features::Feature;
use super::super::super::super::frame::{Coder, Frame, FrameColumn, FrameValues};
use super::super::super::bins::{Binned, Cut};
use super::super::loss::Loss;
use super::super::{Booster, TreeOptions, TreeRows, fit, rows};
use super::*;
use crate::random::mix;

fn random(row: usize, salt: u64) -> f32 {
    (mix(salt, row as u64) >> 40) as f32 / (1_u64 << 24) as f32
}

/// Rows of two numbers, one of them with missing values, and a category.
fn frame(count: usize) -> Frame {
    let mut words = Coder::default();
    (0..count).for_each(|row| words.push(Some(["x", "y", "z"][row % 3])));
    let hole = |row: usize| random(row, 4) < 0.1;
    let first = (0..count).map(|row| if hole(row) { f32::NAN } else { random(row, 1) });
    let columns = [
        FrameValues::Numbers(first.collect()),
        FrameValues::Numbers((0..count).map(|row| random(row, 2)).collect()),
        FrameValues::Words(words.finish()),
    ];
    let name = |(at, values): (usize, FrameValues)| FrameColumn {
        name: format!("f{at}"),
        values,
    };
    Frame {
        columns: columns.into_iter().enumerate().map(name).collect(),
        rows: count,
        ..Frame::default()
    }
}

fn fitted(frame: &Frame, targets: &[f32], loss: Loss, monotone: &[Option<Direction>]) -> Booster {
    let all: Vec<u32> = (0..frame.rows as u32).collect();
    let features: Vec<Feature> = (0..3).map(|at| Feature::learn(frame, at, &all)).collect();
    let cuts = (0..3).map(|at| Cut::find(frame, at, &all)).collect();
    let data = Binned::of(frame, &features, cuts, &all);
    let options = TreeOptions {
        rounds_max: 60,
        monotone: monotone.to_vec(),
        ..TreeOptions::default()
    };
    let train = TreeRows {
        data: &data,
        targets,
        weights: None,
        queries: None,
    };
    fit(&train, None, loss, &options, &mut |_| {})
}

/// Returns the largest step in the wrong direction along a feature, over a grid of other features.
fn worst_step(booster: &Booster, feature: usize, way: Direction) -> f64 {
    let mut worst = 0.0_f64;
    for row in 0..200 {
        let mut values = [random(row, 11), random(row, 12), (row % 4) as f32];
        let mut before: Option<f64> = None;
        for step in 0..=200 {
            values[feature] = step as f32 / 200.0 * 1.2 - 0.1;
            let score = booster.scores(&values)[0];
            let moved = before.map_or(0.0, |before| score - before);
            worst = worst.max(match way {
                Direction::Increasing => -moved,
                Direction::Decreasing => moved,
            });
            before = Some(score);
        }
    }
    worst
}

#[test]
fn predictions_never_move_the_wrong_way_whatever_the_rows_say() {
    let frame = frame(4_000);
    let numbers = |at: usize| match &frame.columns[at].values {
        FrameValues::Numbers(all) => all.to_vec(),
        FrameValues::Words(_) => Vec::new(),
    };
    let (a, b) = (numbers(0), numbers(1));
    // Waves against both directions, and an effect of missing values.
    let wave = |row: usize| {
        let x = if a[row].is_nan() {
            2.0
        } else {
            (9.0 * a[row]).sin() + a[row]
        };
        x - b[row] * b[row] + (7.0 * b[row]).cos() + random(row, 9)
    };
    let values: Vec<f32> = (0..4_000).map(wave).collect();
    let counts: Vec<f32> = values.iter().map(|v| v.max(0.0).floor()).collect();
    let classes: Vec<f32> = values
        .iter()
        .map(|v| f32::from(u8::from(*v > 1.0)))
        .collect();
    let ways = [
        Some(Direction::Increasing),
        Some(Direction::Decreasing),
        None,
    ];
    for (loss, targets) in [
        (Loss::Squared, &values),
        (Loss::Quantile(0.8), &values),
        (Loss::Poisson, &counts),
        (Loss::Tweedie(1.5), &counts),
        (Loss::Logistic, &classes),
    ] {
        let free = fitted(&frame, targets, loss, &[]);
        let bound = fitted(&frame, targets, loss, &ways);
        for (feature, way) in [(0, Direction::Increasing), (1, Direction::Decreasing)] {
            assert!(
                worst_step(&free, feature, way) > 0.01,
                "{loss:?}: it has waves"
            );
            let worst = worst_step(&bound, feature, way);
            assert!(worst <= 1e-9, "{loss:?} feature {feature}: {worst}");
        }
        assert!(
            bound.trees.iter().map(|t| t.leaves.len()).max() > Some(8),
            "{loss:?}: it still learns"
        );
    }
}

#[test]
fn monotone_rows_are_learned_as_well_with_the_bounds() {
    let frame = frame(6_000);
    let FrameValues::Numbers(b) = &frame.columns[1].values else {
        panic!("numbers")
    };
    let truth = |row: usize| -(4.0 * b[row]).exp() / 20.0;
    let noisy: Vec<f32> = (0..6_000)
        .map(|row| truth(row) + random(row, 3) - 0.5)
        .collect();
    let error = |monotone: &[Option<Direction>]| {
        let booster = fitted(&frame, &noisy, Loss::Squared, monotone);
        let features: Vec<Feature> = (0..3)
            .map(|at| Feature::learn(&frame, at, &(0..6_000).collect::<Vec<u32>>()))
            .collect();
        let all = rows(&frame, &features);
        let of = |row: usize| booster.scores(&all[row * 3..][..3])[0] - f64::from(truth(row));
        (0..6_000).map(|row| of(row).powi(2)).sum::<f64>() / 6_000.0
    };
    let (free, bound) = (
        error(&[]),
        error(&[None, Some(Direction::Decreasing), None]),
    );
    assert!(bound <= free, "with bounds {bound}, without {free}");
}

#[test]
fn a_value_outside_of_its_bounds_is_worth_less() {
    let open = LeafBounds::OPEN;
    // The best value is 3, and lowers twice the loss by 18.
    let sums = [-6.0, 2.0];
    assert_eq!((open.value(sums, 0.0), open.worth(sums, 0.0)), (3.0, 18.0));
    let [below, above] = open.split(Direction::Increasing, 1.0, 3.0);
    assert_eq!(
        (below.value(sums, 0.0), below.worth(sums, 0.0)),
        (2.0, 16.0)
    );
    assert_eq!(above.value(sums, 0.0), 3.0);
    let [left, _] = open.split(Direction::Decreasing, 3.0, 1.0);
    assert_eq!((left.low, left.high), (2.0, f64::INFINITY));
}
