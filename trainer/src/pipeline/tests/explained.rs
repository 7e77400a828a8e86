//! Explanations of every kind of model: the base and the contributions are the scores that the fitted model returns.

use super::super::explained::RunExplanation;
use super::world;
use crate::data::Rows;
use crate::explanation::summary::{FEATURES_MAX, ROWS_MAX};
use crate::explanation::{Explanation, TrainingRows, explain};
use crate::fit::trees;
use crate::fitted_model::FittedModel;
use crate::model::{Learned, TrainedModel};
use crate::spec::{Algorithm, Spec};
use crate::{export, learn, split};
use ortus::explain::file;
use ortus::explain::model::{RowContributions, ScoreScale};
use ortus::explain::trees::TreeScratch;

const THIRDS: fn(f32) -> f32 = |v| {
    if v < 0.5 {
        0.0
    } else if v < 1.2 {
        1.0
    } else {
        2.0
    }
};

fn fitted(rows: &Rows, spec: &Spec) -> (TrainedModel, Explanation) {
    let (folds, _) = split::split(spec, rows).expect("splits");
    let model = learn::learn(spec, rows, &folds[0], &mut |_| {}).expect("learns");
    let training = TrainingRows {
        frame: &rows.frame,
        rows: &folds[0].train,
    };
    let explanation = explain(&model, training).expect("explained");
    (model, explanation)
}

fn spec(algorithm: Algorithm) -> Spec {
    let mut spec = Spec::default();
    spec.fit.algorithm = algorithm;
    spec.trees.rounds_max = 20;
    spec
}

#[test]
fn the_base_and_the_contributions_are_the_scores_of_the_model() {
    let worlds = [
        (world(3_000, |v| v, 0), ScoreScale::Value),
        (
            world(3_000, |v| f32::from(u8::from(v > 0.8)), 2),
            ScoreScale::LogOdds,
        ),
        (world(3_000, THIRDS, 3), ScoreScale::Softmax),
    ];
    for (rows, scale) in &worlds {
        for algorithm in [Algorithm::Trees, Algorithm::Linear] {
            let (model, explanation) = fitted(rows, &spec(algorithm));
            assert_eq!(explanation.model.parts().scale, *scale);
            let read = file::read(&explanation.bytes).expect("reads");
            assert_eq!(read, explanation.model);
            let values = trees::rows(&rows.frame, &model.features);
            let (mut scratch, mut found) = (TreeScratch::default(), RowContributions::default());
            for row in values.chunks_exact(model.features.len()).take(500) {
                let expected = match &model.learned {
                    Learned::Trees(booster) => booster.scores(row),
                    Learned::Linear(linear) => linear.scores(row),
                    Learned::Mlp(_) => panic!("trees or linear"),
                };
                read.contribute(row, &mut scratch, &mut found);
                for (one, other) in read.scores(&found).iter().zip(&expected) {
                    assert!((one - other).abs() < 1e-9, "{one}, {other}");
                }
                let answer = scale.prediction(&read.scores(&found));
                for (one, other) in answer.iter().zip(model.answer(row)) {
                    assert!((one - other).abs() < 1e-9, "{one}, {other}");
                }
            }
        }
    }
}

#[test]
fn the_contributions_of_training_rows_have_the_mean_zero() {
    let rows = world(2_000, |v| v, 0);
    let spec = spec(Algorithm::Linear);
    let (folds, _) = split::split(&spec, &rows).expect("splits");
    let (model, explanation) = fitted(&rows, &spec);
    let frame = rows.frame.take(&folds[0].train);
    let values = trees::rows(&frame, &model.features);
    let mut sums = vec![0.0; model.features.len()];
    let (mut scratch, mut found) = (TreeScratch::default(), RowContributions::default());
    for row in values.chunks_exact(sums.len()) {
        explanation.model.contribute(row, &mut scratch, &mut found);
        sums.iter_mut()
            .zip(&found.values)
            .for_each(|(sum, value)| *sum += value);
    }
    assert!(sums.iter().all(|sum| sum.abs() < 1e-8), "{sums:?}");
    assert!(found.values.iter().any(|value| value.abs() > 1e-3));
}

#[test]
fn many_numbers_are_columns_of_one_input() {
    let mut rows = world(400, |v| v, 0);
    for copy in 0..70 {
        let mut column = rows.frame.columns[0].clone();
        column.name = format!("copy {copy}");
        rows.frame.columns.push(column);
    }
    let (model, explanation) = fitted(&rows, &spec(Algorithm::Trees));
    let features = explanation.model.features();
    let place = |at: usize| (features[at].input.as_str(), features[at].column);
    assert_eq!(place(0), ("numbers", 0));
    assert_eq!(place(1), ("numbers", 1));
    assert_eq!(place(2), ("kind", 0));
    assert_eq!(place(3), ("numbers", 2));
    assert_eq!(place(72), ("numbers", 71));
    let signature = export::signature(&model);
    explanation.model.check_signature(&signature).expect("its");
}

fn explained(spec: &Spec, rows: &Rows) -> Option<RunExplanation> {
    let (folds, _) = split::split(spec, rows).expect("splits");
    let model = learn::learn(spec, rows, &folds[0], &mut |_| {}).expect("learns");
    let model = FittedModel::Ours(Box::new(model));
    let test = rows.frame.take(&folds[0].test);
    RunExplanation::of(spec, &model, (rows, &folds[0]), &test).expect("no error")
}

#[test]
fn the_summary_has_the_largest_features_of_a_bounded_sample() {
    let rows = world(9_000, THIRDS, 3);
    let summary = explained(&spec(Algorithm::Trees), &rows)
        .expect("explained")
        .summary;
    assert!(summary.rows > ROWS_MAX / 2 && summary.rows <= ROWS_MAX);
    let means: Vec<f64> = summary.means.iter().map(|(_, mean)| *mean).collect();
    assert!(means.is_sorted_by(|a, b| a >= b) && means[2] > 0.0);
    assert_eq!(summary.swarms.len(), 3);
    for swarm in &summary.swarms {
        assert!(swarm.class.is_some() && swarm.features.len() <= FEATURES_MAX);
        for feature in &swarm.features {
            assert_eq!(feature.dots.len(), summary.rows.div_ceil(3));
            let ranks = || feature.dots.iter().filter_map(|dot| dot.rank);
            match feature.name.as_str() {
                "kind" => assert_eq!(ranks().count(), 0),
                _ => {
                    assert!(ranks().all(|rank| (0.0..=1.0).contains(&rank)));
                    assert!(ranks().any(|rank| rank < 0.1) && ranks().any(|rank| rank > 0.9));
                }
            }
        }
    }
}

#[test]
fn what_cannot_or_shall_not_be_explained_is_not() {
    let rows = world(600, |v| v, 0);
    let mut off = spec(Algorithm::Trees);
    off.publish.explanations = false;
    assert!(explained(&off, &rows).is_none());
    let mut perceptron = spec(Algorithm::Mlp);
    perceptron.mlp.epochs_max = 3;
    assert!(explained(&perceptron, &rows).is_none());

    // As a checkpoint of an earlier release has it.
    let spec = spec(Algorithm::Trees);
    let (mut model, _) = fitted(&rows, &spec);
    if let Learned::Trees(booster) = &mut model.learned {
        booster.trees[0].leaf_rows.clear();
    }
    let training = TrainingRows {
        frame: &rows.frame,
        rows: &[0],
    };
    let error = explain(&model, training).map(drop).expect_err("no rows");
    assert!(error.message.contains("earlier release"), "{error}");
}
