//! Exports trees as one `TreeEnsemble`: branches on numbers and on subsets of
//! categories; missing values follow the learned default branch. Thresholds are
//! the FP32 values of the fit, so that every row takes the same branches.

use super::super::fit::trees::{Booster, Branch, Choice, SplitSide, Tree};
use super::graph::{GraphBuilder, bytes, floats};

/// The modes of a node in the operator.
const NOT_ABOVE: u8 = 0;
const MEMBER: u8 = 6;

/// The lists of the operator.
#[derive(Default)]
struct Ensemble {
    features: Vec<i64>,
    splits: Vec<f32>,
    modes: Vec<u8>,
    trues: Vec<i64>,
    true_is_leaf: Vec<i64>,
    falses: Vec<i64>,
    false_is_leaf: Vec<i64>,
    missing_is_true: Vec<i64>,
    members: Vec<f32>,
    roots: Vec<i64>,
    leaf_scores: Vec<i64>,
    leaf_weights: Vec<f32>,
}

impl Ensemble {
    fn add(&mut self, tree: &Tree, score: usize) {
        let (node, leaf) = (self.features.len() as i64, self.leaf_weights.len() as i64);
        self.roots.push(node);
        self.leaf_weights.extend(&tree.leaves);
        self.leaf_scores
            .extend(std::iter::repeat_n(score as i64, tree.leaves.len()));
        if tree.nodes.is_empty() {
            // A tree starts with a branch, even if it makes no difference; if both sides are
            // one leaf, ONNX Runtime 1.28 predicts wrongly.
            self.leaf_weights.extend(&tree.leaves);
            self.leaf_scores.push(score as i64);
            self.node(
                0,
                &Choice::UpTo {
                    threshold: 0.0,
                    missing: SplitSide::Left,
                },
                [(leaf, true), (leaf + 1, true)],
            );
        }

        for found in &tree.nodes {
            let place = |branch: Branch| match branch {
                Branch::Node(at) => (node + at as i64, false),
                Branch::Leaf(at) => (leaf + at as i64, true),
            };
            self.node(
                found.feature,
                &found.choice,
                [place(found.left), place(found.right)],
            );
        }
    }

    fn node(&mut self, feature: usize, choice: &Choice, [left, right]: [(i64, bool); 2]) {
        self.features.push(feature as i64);
        self.trues.push(left.0);
        self.true_is_leaf.push(left.1.into());
        self.falses.push(right.0);
        self.false_is_leaf.push(right.1.into());
        match choice {
            Choice::UpTo { threshold, missing } => {
                self.modes.push(NOT_ABOVE);
                self.splits.push(*threshold);
                self.missing_is_true
                    .push((*missing == SplitSide::Left).into());
            }
            Choice::OneOf(members) => {
                self.modes.push(MEMBER);
                self.splits.push(0.0);
                self.missing_is_true.push(0);
                let is_member = |code: &u8| members[usize::from(code >> 6)] >> (code & 63) & 1 == 1;
                self.members
                    .extend((0..=u8::MAX).filter(is_member).map(f32::from));
                // The separator between sets.
                self.members.push(f32::NAN);
            }
        }
    }
}

/// Adds the trees; returns the name of the scores.
pub(super) fn scores(
    graph: &mut GraphBuilder,
    booster: &Booster,
    matrix: &str,
    features: usize,
) -> String {
    let width = booster.base.len();
    let base = graph.floats(&booster.base, &[1, width as i64]);
    let mut ensemble = Ensemble::default();
    for (at, tree) in booster.trees.iter().enumerate() {
        ensemble.add(tree, at % width);
    }
    if booster.trees.is_empty() {
        // Every row has the same scores, but the operator needs a tree.
        debug_assert!(features > 0);
        ensemble.add(
            &Tree {
                nodes: Vec::new(),
                leaves: vec![0.0],
                leaf_rows: Vec::new(),
            },
            0,
        );
    }

    let list = |values: &[f32]| floats(values, &[values.len() as i64]);
    let mut settings = vec![
        ("aggregate_function", 1.into()),
        ("post_transform", 0.into()),
        ("n_targets", (width as i64).into()),
        ("nodes_featureids", ensemble.features.as_slice().into()),
        ("nodes_splits", list(&ensemble.splits).into()),
        ("nodes_modes", bytes(ensemble.modes).into()),
        ("nodes_truenodeids", ensemble.trues.as_slice().into()),
        ("nodes_trueleafs", ensemble.true_is_leaf.as_slice().into()),
        ("nodes_falsenodeids", ensemble.falses.as_slice().into()),
        ("nodes_falseleafs", ensemble.false_is_leaf.as_slice().into()),
        (
            "nodes_missing_value_tracks_true",
            ensemble.missing_is_true.as_slice().into(),
        ),
        ("tree_roots", ensemble.roots.as_slice().into()),
        ("leaf_targetids", ensemble.leaf_scores.as_slice().into()),
        ("leaf_weights", list(&ensemble.leaf_weights).into()),
    ];

    if !ensemble.members.is_empty() {
        settings.push(("membership_values", list(&ensemble.members).into()));
    }
    let sums = graph.node_of("ai.onnx.ml", "TreeEnsemble", &[matrix], &settings);
    graph.node("Add", &[&sums, &base], &[])
}
