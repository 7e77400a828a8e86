//! Every objective and calibration: learned, exported, and held against the fitted model at every
//! threshold.

use super::{served, world};
use crate::data::{RowTarget, Rows};
use crate::fit::trees::loss::{poisson_deviance, tweedie_deviance};
use crate::judge::losses::{JudgedRows, mean_of};
use crate::judge::measure::LossMeasure;
use crate::judge::{Evaluation, judge};
use crate::spec::{Algorithm, CalibrationMethod, Fit, Objective, Spec};
use crate::{export, learn, parity, split};
use ortus::testing::engine;

/// Rows of the check of a graph.
const PARITY: usize = 8_000;

/// The world with other targets, as a function of its own ones and of chance.
fn of_values(to: impl Fn(f64, f64) -> f64) -> Rows {
    let mut rows = world(4_000, |_| 0.0, 0);
    let RowTarget::Values(values) = &mut rows.target else {
        panic!("values")
    };
    for (row, value) in values.iter_mut().enumerate() {
        let chance = (crate::random::mix(77, row as u64) >> 11) as f64 / (1_u64 << 53) as f64;
        *value = to(f64::from(*value), chance) as f32;
    }
    rows
}

/// Draws a count at a rate.
fn poisson(rate: f64, chance: f64) -> f64 {
    let (mut count, mut term) = (0.0, (-rate).exp());
    let mut passed = term;
    while passed < chance && count < 100.0 {
        count += 1.0;
        term *= rate / count;
        passed += term;
    }
    count
}

fn spec(objective: Objective, algorithm: Algorithm) -> Spec {
    let mut spec = Spec {
        fit: Fit {
            objective,
            algorithm,
            ..Fit::default()
        },
        ..Spec::default()
    };
    (spec.trees.rounds_max, spec.mlp.epochs_max) = (80, 20);
    (spec.mlp.hidden, spec.mlp.rate) = (16, 0.01);
    spec
}

/// Learns and exports, holds the graph against what was learned, and judges the test rows.
fn prove(rows: &Rows, spec: &Spec) -> Evaluation {
    let engine = engine();
    let (folds, _) = split::split(spec, rows).expect("splits");
    let model = learn::learn(spec, rows, &folds[0], &mut |_| {}).expect("learns");
    let mut predictor = served(&engine, rows, spec);
    assert_eq!(predictor.signature, export::signature(&model));
    let found = parity::check(&model, &mut predictor, &rows.frame, PARITY, 11);
    assert_eq!(found.expect("the same").rows, PARITY);

    let test = rows.take(&folds[0].test);
    let is_class = rows.target.classes().is_some();
    let measure = LossMeasure::parse(None, is_class, &spec.fit).expect("a measure");
    judge(&mut predictor, &JudgedRows::of(&test, &spec.fit), measure).expect("judges")
}

#[test]
fn rates_are_learned_and_the_graph_gives_them() {
    let counts = of_values(|v, chance| poisson((v - 1.0).exp(), chance));
    let amounts = of_values(|v, chance| {
        let claims = poisson((v - 1.0).exp(), chance);
        claims * (1.0 + v.abs())
    });
    for algorithm in [Algorithm::Trees, Algorithm::Linear, Algorithm::Mlp] {
        for (objective, rows) in [
            (Objective::Poisson, &counts),
            (Objective::Tweedie, &amounts),
        ] {
            let mut of = spec(objective, algorithm);
            of.fit.tweedie_power = (objective == Objective::Tweedie).then_some(1.4);
            let found = prove(rows, &of);
            let measures = &found.measures;
            let name = format!("{}_deviance", objective.word());
            let deviance = measures[name.as_str()];
            assert_eq!(deviance, mean_of(&found.losses, None));
            let (mean, constant) = constant(rows, &of);
            assert!(
                measures["bias"].abs() < 0.2 * mean,
                "{algorithm:?} {measures:?}"
            );
            assert!(
                deviance < 0.9 * constant,
                "{algorithm:?} {constant} {measures:?}"
            );
        }
    }
}

/// Returns the mean target of the test rows, and the deviance of predicting it.
fn constant(rows: &Rows, spec: &Spec) -> (f64, f64) {
    let (folds, _) = split::split(spec, rows).expect("splits");
    let targets = rows.target.take(&folds[0].test).numbers();
    let all: Vec<f64> = targets.iter().map(|v| f64::from(*v)).collect();
    let mean = mean_of(&all, None);
    let of = |truth: &f64| match spec.fit.objective {
        Objective::Poisson => poisson_deviance(*truth, mean),
        _ => tweedie_deviance(*truth, mean, spec.fit.power()),
    };
    (
        mean,
        mean_of(&all.iter().map(of).collect::<Vec<f64>>(), None),
    )
}

#[test]
fn quantiles_are_learned_and_cover_their_share() {
    let rows = of_values(|v, chance| v + 3.0 * chance * chance);
    for (algorithm, level) in [
        (Algorithm::Trees, 0.9),
        (Algorithm::Trees, 0.1),
        (Algorithm::Mlp, 0.9),
    ] {
        let mut of = spec(Objective::Quantile, algorithm);
        of.fit.quantile = Some(level);
        let measures = prove(&rows, &of).measures;
        assert!(
            (measures["coverage"] - level).abs() < 0.05,
            "{algorithm:?} {level}: {measures:?}"
        );
        let constant = if level > 0.5 { 0.30 } else { 0.22 };
        assert!(
            measures["pinball_loss"] < constant,
            "{algorithm:?} {level}: {measures:?}"
        );
    }
}

#[test]
fn rows_of_a_query_are_ranked() {
    let mut rows = of_values(|v, chance| (v + chance).clamp(0.0, 3.0).floor());
    rows.group = Some((0..4_000).map(|row| row / 10).collect());
    let measures = prove(&rows, &spec(Objective::LambdaRank, Algorithm::Trees)).measures;
    assert!(measures["ndcg_at_10"] > 0.9, "{measures:?}");
    assert!(measures["ndcg_at_5"] > 0.85, "{measures:?}");
}

#[test]
fn probabilities_are_calibrated_in_the_graph() {
    let rows = world(6_000, |v| f32::from(u8::from(v > 1.0)), 2);
    for algorithm in [Algorithm::Trees, Algorithm::Linear, Algorithm::Mlp] {
        let mut of = spec(Objective::Auto, algorithm);
        // Weights of classes bend the probabilities.
        of.fit.balanced = true;
        of.trees.leaf_rows_min = 200;
        for method in [CalibrationMethod::Platt, CalibrationMethod::Isotonic] {
            of.fit.calibration = method;
            let measures = prove(&rows, &of).measures;
            assert!(
                measures["ece"] < 0.05,
                "{algorithm:?} {method:?}: {measures:?}"
            );
            assert!(
                measures["auc"] > 0.8,
                "{algorithm:?} {method:?}: {measures:?}"
            );
        }
    }
}

#[test]
fn weights_of_rows_count_in_every_algorithm_and_in_the_measures() {
    // Rows of weight 0 say the opposite.
    let mut rows = of_values(|v, chance| if chance < 0.4 { -10.0 * v } else { v });
    let weight = |row: usize| {
        let chance = (crate::random::mix(77, row as u64) >> 11) as f64 / (1_u64 << 53) as f64;
        if chance < 0.4 {
            0.0
        } else {
            1.0 + (row % 3) as f32
        }
    };
    rows.weight = Some((0..4_000).map(weight).collect());
    for algorithm in [Algorithm::Trees, Algorithm::Linear, Algorithm::Mlp] {
        let found = prove(&rows, &spec(Objective::Auto, algorithm));
        assert!(
            found.measures["r2"] > 0.2,
            "{algorithm:?}: {:?}",
            found.measures
        );
        let weights = found.weights.expect("of rows");
        assert_eq!(weights.len(), found.losses.len());
        assert!(weights.contains(&0.0) && weights.contains(&3.0));
    }
}

#[test]
fn weights_of_a_thousandth_give_the_trees_of_weights_of_1() {
    let of = |weight: f32| {
        let mut rows = of_values(|v, chance| v + chance);
        rows.weight = Some(vec![weight; rows.len()]);
        let spec = spec(Objective::Auto, Algorithm::Trees);
        let (folds, _) = split::split(&spec, &rows).expect("splits");
        let model = learn::learn(&spec, &rows, &folds[0], &mut |_| {}).expect("learns");
        let values = crate::fit::trees::rows(&rows.frame, &model.features);
        let width = model.features.len();
        let answer = |row: &[f32]| model.answer(row)[0];
        values.chunks(width).map(answer).collect::<Vec<f64>>()
    };
    let (small, one) = (of(1.0 / 1_024.0), of(1.0));
    let apart = small.iter().zip(&one).map(|(a, b)| (a - b).abs());
    let apart = apart.fold(0.0, f64::max);
    assert!(apart < 1e-6, "{apart} {:?} {:?}", &small[..5], &one[..5]);
}

#[test]
fn targets_that_were_read_for_another_objective_are_refused() {
    let check = |rows: &Rows, objective: Objective, expected: &str| {
        let of = spec(objective, Algorithm::Trees);
        let (folds, _) = split::split(&of, rows).expect("splits");
        let why = learn::learn(&of, rows, &folds[0], &mut |_| {}).expect_err("refused");
        assert!(why.message.contains(expected), "{}", why.message);
    };
    let classes = world(500, |v| f32::from(u8::from(v > 1.0)), 2);
    check(&classes, Objective::Quantile, "set task = \"regression\"");
    check(
        &of_values(|v, _| v - 9.0),
        Objective::Tweedie,
        "targets of 0 or more",
    );
}
