//! The explanation of a fitted model: its trees with their training rows, or its weights with the means of their
//! training rows, in the form that a server reads. Explains test rows for the page. Fits nothing.

pub(crate) mod row;
pub(crate) mod summary;

use crate::export::{InputKind, inputs};
use crate::features::{self, Feature};
use crate::fit::encode::{FAR, Term};
use crate::fit::linear::Linear;
use crate::fit::trees::loss::Loss;
use crate::fit::trees::{Booster, Branch, Choice, SplitSide, Tree};
use crate::frame::{Frame, FrameValues};
use crate::model::{Learned, TrainedModel};
use bytes::Bytes;
use ortus::core::error::{Error, Result};
use ortus::explain::file;
use ortus::explain::linear::{LinearPart, LinearTerm};
use ortus::explain::model::{
    ExplainedFeature, ExplainedModel, ExplainedModelParts, ExplainedParts, ScoreScale,
};
use ortus::explain::trees::{CoverTest, CoverTree, TreeBuilder};

/// The explanation of a version.
pub(crate) struct Explanation {
    pub model: ExplainedModel,
    /// The file.
    pub bytes: Bytes,
}

/// The rows of a frame that a model was fitted to.
#[derive(Clone, Copy)]
pub(crate) struct TrainingRows<'r> {
    pub frame: &'r Frame,
    pub rows: &'r [u32],
}

/// Makes the explanation of a model. Refuses a perceptron, which has none, and one that is too large.
pub(crate) fn explain(model: &TrainedModel, training: TrainingRows<'_>) -> Result<Explanation> {
    let model = explained(model, training)?;
    let bytes = file::write(&model)?;
    if bytes.len() as u64 > file::BYTES_MAX {
        return Err(Error::precondition(format!(
            "the version has no explanation: it would take {} MiB, over the limit of {} MiB; lower 'rounds_max' or 'leaves_max' in [fit.trees]",
            bytes.len() >> 20,
            file::BYTES_MAX >> 20
        )));
    }
    Ok(Explanation {
        model,
        bytes: bytes.into(),
    })
}

/// Returns the model as it is explained.
fn explained(model: &TrainedModel, training: TrainingRows<'_>) -> Result<ExplainedModel> {
    let (start, parts) = match &model.learned {
        Learned::Trees(Booster { base, trees }) => {
            let trees = trees.iter().map(tree).collect::<Result<_>>()?;
            (base, ExplainedParts::Trees(trees))
        }
        Learned::Linear(Linear { base, terms, .. }) => {
            let all = terms.iter().enumerate();
            let parts = all.map(|(at, term)| part(term, &model.features[at], training, at));
            (base, ExplainedParts::Linear(parts.collect()))
        }
        Learned::Mlp(_) => {
            return Err(Error::precondition(
                "a perceptron has no explanation; use trees or linear as 'algorithm' in [fit]",
            ));
        }
    };

    ExplainedModel::new(ExplainedModelParts {
        features: explained_features(&model.features),
        classes: model.classes.clone().unwrap_or_default(),
        scale: match model.loss {
            Loss::Logistic if model.calibration.is_some() => ScoreScale::Uncalibrated,
            Loss::Logistic => ScoreScale::LogOdds,
            Loss::Softmax(_) => ScoreScale::Softmax,
            Loss::Squared | Loss::Quantile(_) | Loss::LambdaRank(_) => ScoreScale::Value,
            Loss::Poisson | Loss::Tweedie(_) => ScoreScale::Log,
        },
        start: start.iter().map(|base| f64::from(*base)).collect(),
        parts,
    })
}

/// Returns the features with the inputs of the graph that they are read from.
fn explained_features(features: &[Feature]) -> Vec<ExplainedFeature> {
    let mut all: Vec<ExplainedFeature> = features
        .iter()
        .map(|feature| ExplainedFeature {
            name: feature.name.clone(),
            input: feature.name.clone(),
            column: 0,
            categories: feature.categories.clone(),
            derived: feature.derived.clone(),
        })
        .collect();
    for input in inputs(features) {
        for (place, at) in input.features.into_iter().enumerate() {
            all[at].input.clone_from(&input.name);
            all[at].column = match input.kind {
                InputKind::Numbers | InputKind::Words => place,
                InputKind::Source => 0,
            };
        }
    }
    all
}

/// Returns a tree with the training rows of its leaves.
fn tree(tree: &Tree) -> Result<CoverTree> {
    if tree.leaf_rows.len() != tree.leaves.len() {
        return Err(Error::precondition(
            "the version has no explanation: an earlier release fitted its trees before the run was interrupted, without the rows of their leaves",
        ));
    }
    let mut built = TreeBuilder::default();
    let root = match tree.nodes.is_empty() {
        true => Branch::Leaf(0),
        false => Branch::Node(0),
    };
    build(tree, root, &mut built)?;
    built.finish()
}

/// Adds a branch with everything below it. The builder refuses what is too deep.
fn build(tree: &Tree, at: Branch, built: &mut TreeBuilder) -> Result<()> {
    match at {
        // A leaf of rows that weigh nothing still divides.
        Branch::Leaf(leaf) => built.leaf(tree.leaves[leaf], tree.leaf_rows[leaf].max(1)),
        Branch::Node(node) => {
            let node = &tree.nodes[node];
            let test = match &node.choice {
                Choice::UpTo { threshold, missing } => CoverTest::UpTo {
                    threshold: *threshold,
                    missing_left: *missing == SplitSide::Left,
                },
                Choice::OneOf(members) => CoverTest::OneOf(*members),
            };
            built.split(node.feature, &test)?;
            build(tree, node.left, built)?;
            build(tree, node.right, built)
        }
    }
}

/// Returns the weights of a feature with the means of their terms over the training rows.
fn part(term: &Term, feature: &Feature, training: TrainingRows<'_>, at: usize) -> LinearPart {
    let (term, scores) = match term {
        Term::Number {
            mean,
            spread,
            weights,
            missing,
        } => {
            let term = LinearTerm::Number {
                mean: *mean,
                spread: *spread,
                clip: FAR,
                weights: weights.clone(),
                missing: missing.clone(),
            };
            (term, weights.len())
        }
        Term::Category(codes) => (
            LinearTerm::Category(codes.concat()),
            codes.first().map_or(0, Vec::len),
        ),
    };

    let mut part = LinearPart {
        term,
        means: vec![0.0; scores],
    };
    let values = values(&training.frame.columns[at].values, feature, training.rows);
    let mut sums = vec![0.0; scores];
    for value in values {
        let of = sums.iter_mut().enumerate();
        of.for_each(|(score, sum)| *sum += part.term(value, score));
    }
    let rows = training.rows.len().max(1) as f64;
    part.means = sums.into_iter().map(|sum| sum / rows).collect();
    part
}

/// Returns the values of a feature in some rows, categories by code.
fn values<'v>(
    column: &'v FrameValues,
    feature: &Feature,
    rows: &'v [u32],
) -> Box<dyn Iterator<Item = f32> + 'v> {
    match column {
        FrameValues::Numbers(all) => Box::new(rows.iter().map(|row| all[*row as usize])),
        FrameValues::Words(words) => {
            let codes = feature.codes(&words.list);
            let of = move |row: &u32| features::code(&codes, words.codes[*row as usize]);
            Box::new(rows.iter().map(move |row| f32::from(of(row))))
        }
    }
}
