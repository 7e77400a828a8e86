//! Tests of `calibration`.

use super::*;
use crate::random::mix;

fn random(row: usize, salt: u64) -> f64 {
    (mix(salt, row as u64) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Rows whose score says too much: the log-odds are the score times `slope` plus `offset`.
fn rows(count: usize, slope: f64, offset: f64) -> Vec<ScoredRow> {
    let one = |row: usize| {
        let score = 8.0 * random(row, 1) - 4.0;
        let p = 1.0 / (1.0 + (-(slope * score + offset)).exp());
        ScoredRow {
            score,
            is_positive: random(row, 2) < p,
            weight: 1.0,
        }
    };
    (0..count).map(one).collect()
}

#[test]
fn platt_finds_the_slope_and_the_offset() {
    let found = ScoreCalibration::platt(&rows(40_000, 0.5, -1.0)).expect("fits");
    let ScoreCalibration::Platt { slope, offset } = found else {
        panic!("a logistic function")
    };
    assert!(
        (slope - 0.5).abs() < 0.03 && (offset + 1.0).abs() < 0.05,
        "{slope} {offset}"
    );
}

#[test]
fn isotonic_follows_a_curve_that_is_not_logistic() {
    let truth = |score: f64| if score < 0.0 { 0.2 } else { 0.2 + 0.15 * score };
    let one = |row: usize| {
        let score = 8.0 * random(row, 1) - 4.0;
        ScoredRow {
            score,
            is_positive: random(row, 2) < truth(score),
            weight: 1.0,
        }
    };
    let all: Vec<ScoredRow> = (0..40_000).map(one).collect();
    let found = ScoreCalibration::isotonic(&all).expect("fits");
    let mut before = 0.0;
    for step in 0..=200 {
        let score = -5.0 + step as f64 / 20.0;
        let p = found.probability(score);
        assert!(p >= before, "it rises");
        assert!(
            (p - truth(score.clamp(-4.0, 4.0))).abs() < 0.05,
            "{score}: {p}"
        );
        before = p;
    }
    let ScoreCalibration::Isotonic { scores, .. } = &found else {
        panic!("a curve")
    };
    assert!(scores.len() <= KNOTS_MAX && scores.is_sorted());
}

#[test]
fn no_row_is_certain() {
    // Above 0 all rows are positive, below none is.
    let one = |row: usize| ScoredRow {
        score: row as f64 - 50.5,
        is_positive: row > 50,
        weight: 1.0,
    };
    let all: Vec<ScoredRow> = (0..100).map(one).collect();
    for fit in [ScoreCalibration::platt, ScoreCalibration::isotonic] {
        let found = fit(&all).expect("fits");
        for score in [-1e30, -1.0, 1.0, 1e30] {
            let p = found.probability(score);
            assert!((0.0..=1.0).contains(&p), "{p}");
        }
        let (low, high) = (found.probability(-40.0), found.probability(40.0));
        assert!(
            low > 0.0 && low < 0.05 && high < 1.0 && high > 0.95,
            "{low} {high}"
        );
    }
}

#[test]
fn a_row_of_weight_2_counts_as_two_rows() {
    let few = rows(500, 1.0, 0.3);
    let weigh = |row: &ScoredRow| ScoredRow {
        weight: 2.0,
        ..*row
    };
    let twice: Vec<ScoredRow> = few.iter().flat_map(|row| [*row, *row]).collect();
    let weighed: Vec<ScoredRow> = few.iter().map(weigh).collect();
    for fit in [ScoreCalibration::platt, ScoreCalibration::isotonic] {
        let (one, other) = (fit(&weighed).expect("fits"), fit(&twice).expect("fits"));
        for score in [-3.0, -0.5, 0.0, 2.0] {
            let apart = one.probability(score) - other.probability(score);
            assert!(apart.abs() < 0.02, "{one:?} {other:?}");
        }
    }
}

#[test]
fn rows_of_one_class_and_scores_of_one_value_are_no_curve() {
    let mut all = rows(50, 1.0, 0.0);
    all.iter_mut().for_each(|row| row.is_positive = true);
    for fit in [ScoreCalibration::platt, ScoreCalibration::isotonic] {
        let why = fit(&all).expect_err("one class").message;
        assert!(why.contains("are all of one class; raise 'stop'"), "{why}");
    }
    for (at, row) in all.iter_mut().enumerate() {
        (row.score, row.is_positive) = (1.5, at % 4 == 0);
    }
    for fit in [ScoreCalibration::platt, ScoreCalibration::isotonic] {
        let p = fit(&all).expect("fits").probability(1.5);
        assert!((p - 0.26).abs() < 0.03, "{p}");
    }
}
