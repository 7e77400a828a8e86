//! Tests of `model`.

use super::super::linear::LinearTerm;
use super::super::trees::tests::{Dice, random_row, random_tree};
use super::*;

/// Features of a random tree: numbers in the even places, categories in the odd ones.
pub(crate) fn features(count: usize) -> Vec<ExplainedFeature> {
    let feature = |at: usize| ExplainedFeature {
        name: format!("f{at}"),
        input: format!("f{at}"),
        column: 0,
        categories: (at % 2 == 1).then(|| vec!["red".to_owned(), "green".to_owned()]),
        derived: None,
    };
    (0..count).map(feature).collect()
}

pub(crate) fn trees_of_three_classes() -> ExplainedModelParts {
    let mut dice = Dice(3);
    ExplainedModelParts {
        features: features(5),
        classes: ["a", "b", "c"].map(str::to_owned).to_vec(),
        scale: ScoreScale::Softmax,
        start: vec![0.1, -0.2, 0.3],
        parts: ExplainedParts::Trees((0..12).map(|_| random_tree(&mut dice, 5, 4)).collect()),
    }
}

pub(crate) fn linear() -> ExplainedModelParts {
    let number = LinearPart {
        term: LinearTerm::Number {
            mean: 2.0,
            spread: 4.0,
            clip: 10.0,
            weights: vec![3.0],
            missing: vec![0.75],
        },
        means: vec![0.25],
    };
    let mut weights = vec![0.0; 256];
    weights[..2].copy_from_slice(&[1.0, -1.0]);
    weights[usize::from(ABSENT)] = 5.0;
    let category = LinearPart {
        term: LinearTerm::Category(weights),
        means: vec![-0.5],
    };
    ExplainedModelParts {
        features: features(2),
        classes: Vec::new(),
        scale: ScoreScale::Value,
        start: vec![7.0],
        parts: ExplainedParts::Linear(vec![number, category]),
    }
}

fn explained(model: &ExplainedModel, row: &[f32]) -> RowContributions {
    let mut found = RowContributions::default();
    model.contribute(row, &mut TreeScratch::default(), &mut found);
    found
}

#[test]
fn the_base_and_the_contributions_are_the_scores() {
    let parts = trees_of_three_classes();
    let model = ExplainedModel::new(parts.clone()).expect("a model");
    let ExplainedParts::Trees(trees) = &parts.parts else {
        panic!("trees")
    };
    let mut dice = Dice(8);
    for _ in 0..50 {
        let row = random_row(&mut dice, 5);
        let mut scores = parts.start.clone();
        for (at, tree) in trees.iter().enumerate() {
            scores[at % 3] += f64::from(tree.value(&row));
        }
        let found = model.scores(&explained(&model, &row));
        for (one, other) in found.iter().zip(&scores) {
            assert!((one - other).abs() < 1e-12, "{one}, {other}");
        }
    }
}

#[test]
fn a_linear_feature_contributes_its_term_less_the_mean() {
    let model = ExplainedModel::new(linear()).expect("a model");
    assert_eq!(model.base(), [6.75]);
    for (row, expected) in [
        ([6.0, 0.0], [3.0 - 0.25, 1.0 + 0.5]),
        ([f32::NAN, 1.0], [0.75 - 0.25, -1.0 + 0.5]),
        ([1e30, 255.0], [30.0 - 0.25, 5.0 + 0.5]),
        ([2.0, 254.0], [-0.25, 0.5]),
    ] {
        let found = explained(&model, &row);
        assert_eq!(found.values, expected, "{row:?}");
    }
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let check = |why: &str, change: &dyn Fn(&mut ExplainedModelParts)| {
        for mut parts in [trees_of_three_classes(), linear()] {
            let before = parts.clone();
            change(&mut parts);
            if parts == before {
                continue;
            }
            let error = ExplainedModel::new(parts).expect_err(why);
            assert!(error.message.contains(why), "{error} has no '{why}'");
        }
    };
    check("classes", &|parts| parts.scale = ScoreScale::LogOdds);
    check("scores do not go", &|parts| parts.start.clear());
    check("scores do not go", &|parts| parts.start[0] = f64::NAN);
    check("no feature", &|parts| parts.features.clear());
    check("there are", &|parts| parts.features.truncate(1));
    check("has no name", &|parts| parts.features[0].name.clear());
    check("has no name", &|parts| parts.features[0].input.clear());
    check("has no name", &|parts| {
        parts.features[0].column = COLUMNS_MAX
    });
    check("has no name", &|parts| {
        parts.features[1].categories = Some(vec![String::new(); 255]);
    });
    check("in every round", &|parts| {
        if let ExplainedParts::Trees(trees) = &mut parts.parts {
            trees.truncate(11);
        }
    });
    check("not finite", &|parts| {
        if let ExplainedParts::Linear(all) = &mut parts.parts {
            all[0].means[0] = f64::INFINITY;
        }
    });
    check("not of every score", &|parts| {
        if let ExplainedParts::Linear(all) = &mut parts.parts {
            all[1].term = LinearTerm::Category(vec![0.0; 255]);
        }
    });
}

#[test]
fn a_score_becomes_what_is_predicted() {
    let check = |scale: ScoreScale, scores: &[f64], expected: &[f64]| {
        let found = scale.prediction(scores);
        let is_equal = |(one, other): (&f64, &f64)| (one - other).abs() < 1e-12;
        assert!(
            found.len() == expected.len() && found.iter().zip(expected).all(is_equal),
            "{scale:?}: {found:?}"
        );
    };
    check(ScoreScale::Value, &[2.5], &[2.5]);
    check(ScoreScale::Log, &[2.0_f64.ln()], &[2.0]);
    check(ScoreScale::LogOdds, &[3.0_f64.ln()], &[0.25, 0.75]);
    check(
        ScoreScale::Softmax,
        &[700.0, 700.0, -700.0],
        &[0.5, 0.5, 0.0],
    );
}
