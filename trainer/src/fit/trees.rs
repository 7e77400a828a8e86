//! Gradient-boosted trees, grown leaf by leaf on histograms (Friedman 2001; Ke et
//! al. 2017): missing values, native categories, regression, two or more classes.
//! The same rows and options give the same trees on any number of threads.

mod grow;
mod histogram;
pub(crate) mod loss;
mod monotone;
pub(crate) mod rank;
mod renew;
mod split;
#[cfg(test)]
mod tests;

use super::super::features::{self, Feature};
use super::super::frame::{Frame, FrameValues};
use super::bins::Binned;
use crate::spec::objective::Direction;
use grow::{GrownTree, grow};
use loss::Loss;
use rank::Queries;
use rayon::prelude::*;
use renew::Residuals;
use serde::{Deserialize, Serialize};

/// The settings of a fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TreeOptions {
    /// The most rounds; a round grows a tree, or one for each of more than two classes.
    pub rounds_max: usize,
    /// The most rounds without a better loss on the stopping rows.
    pub patience: usize,
    pub learning_rate: f64,
    pub leaves_max: usize,
    pub depth_max: usize,
    pub leaf_rows_min: usize,
    /// L2 regularisation: added to the Hessian of a leaf.
    pub l2: f64,
    pub curvature_min: f64,
    /// Added to the Hessian of a category when categories are sorted.
    pub category_smooth: f64,
    /// The fewest rows of a category to be split off in a leaf.
    pub category_rows_min: usize,
    /// The most categories on one side of a split.
    pub category_set_max: usize,
    /// The largest value of a leaf, before the learning rate.
    #[serde(skip, default = "no_limit")]
    pub step_max: f64,
    /// How predictions may move with each feature; empty if none is bound.
    #[serde(default)]
    pub monotone: Vec<Option<Direction>>,
}

fn no_limit() -> f64 {
    f64::INFINITY
}

impl TreeOptions {
    /// Returns how predictions may move with a feature.
    fn direction(&self, feature: usize) -> Option<Direction> {
        self.monotone.get(feature).copied().flatten()
    }
}

impl Default for TreeOptions {
    fn default() -> Self {
        Self {
            rounds_max: 500,
            patience: 30,
            learning_rate: 0.1,
            leaves_max: 31,
            depth_max: 64,
            leaf_rows_min: 5,
            l2: 10.0,
            curvature_min: 1e-3,
            category_smooth: 10.0,
            category_rows_min: 10,
            category_set_max: 64,
            step_max: no_limit(),
            monotone: Vec::new(),
        }
    }
}

/// A side of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SplitSide {
    Left,
    Right,
}

/// One tree; the root is the first node, or the only leaf.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tree {
    pub nodes: Vec<Node>,
    pub leaves: Vec<f32>,
    /// The training rows of each leaf; empty in checkpoints of earlier releases.
    #[serde(default)]
    pub leaf_rows: Vec<u32>,
}

/// A branch with its condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub feature: usize,
    pub choice: Choice,
    pub left: Branch,
    pub right: Branch,
    /// The gain: how much the split lowered the loss.
    pub gain: f64,
}

/// The child on a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Branch {
    Node(usize),
    Leaf(usize),
}

/// The condition of the left side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Choice {
    /// Numbers up to a threshold; missing values follow the learned default branch.
    UpTo { threshold: f32, missing: SplitSide },
    /// A subset of categories, a bit for each code.
    OneOf([u64; 4]),
}

impl Choice {
    fn is_left(&self, value: f32) -> bool {
        match self {
            Self::UpTo { missing, .. } if value.is_nan() => *missing == SplitSide::Left,
            Self::UpTo { threshold, .. } => value <= *threshold,
            Self::OneOf(members) => {
                let code = value as u8;
                members[usize::from(code >> 6)] >> (code & 63) & 1 == 1
            }
        }
    }
}

impl Tree {
    /// Returns the leaf value of a row.
    pub(crate) fn value(&self, row: &[f32]) -> f32 {
        let mut at = if self.nodes.is_empty() {
            Branch::Leaf(0)
        } else {
            Branch::Node(0)
        };

        loop {
            match at {
                Branch::Leaf(leaf) => return self.leaves[leaf],
                Branch::Node(node) => {
                    let node = &self.nodes[node];
                    at = if node.choice.is_left(row[node.feature]) {
                        node.left
                    } else {
                        node.right
                    };
                }
            }
        }
    }
}

/// Boosted trees, which return scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Booster {
    /// The initial score of each row.
    pub base: Vec<f32>,
    /// The trees, round by round, one for each score.
    pub trees: Vec<Tree>,
}

/// Training or stopping rows.
pub(crate) struct TreeRows<'s> {
    pub data: &'s Binned,
    /// The value, or the index of the class.
    pub targets: &'s [f32],
    pub weights: Option<&'s [f32]>,
    /// The rows of each query, for a loss of rankings.
    pub queries: Option<&'s Queries>,
}

impl TreeRows<'_> {
    /// Computes the gradients of each score.
    fn gradients(&self, loss: Loss, scores: &[f64], all: &mut [Vec<[f32; 2]>]) {
        match (loss, self.queries) {
            (Loss::LambdaRank(truncation), Some(queries)) => {
                all[0] = rank::gradients(queries, self, scores, truncation);
            }
            _ => loss.gradients_into(self.targets, self.weights, scores, all),
        }
    }

    fn mean_loss(&self, loss: Loss, scores: &[f64]) -> f64 {
        match (loss, self.queries) {
            (Loss::LambdaRank(_), Some(queries)) => rank::mean_loss(queries, self, scores),
            _ => loss.mean(self.targets, self.weights, scores),
        }
    }
}

/// The progress of a fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub number: usize,
    pub of: usize,
    /// The loss on the stopping rows, if there are any.
    pub loss: Option<f64>,
}

/// Fits trees, with early stopping if there are stopping rows.
pub(crate) fn fit(
    train: &TreeRows<'_>,
    stop: Option<&TreeRows<'_>>,
    loss: Loss,
    options: &TreeOptions,
    watch: &mut dyn FnMut(Round),
) -> Booster {
    let options = TreeOptions {
        step_max: loss.step_max(),
        l2: options.l2 * loss.l2_scale(),
        ..options.clone()
    };
    let width = loss.scores();
    let base = loss.base(train.targets, train.weights);
    let mut booster = Booster {
        base: base.iter().map(|b| *b as f32).collect(),
        trees: Vec::new(),
    };
    let start = |rows: usize| base.repeat(rows);
    let mut scores = start(train.data.rows);
    let mut stop_scores = start(stop.map_or(0, |s| s.data.rows));
    let mut best = (f64::INFINITY, 0);
    let mut order: Vec<u32> = (0..train.data.rows as u32).collect();
    let mut gradients = vec![vec![[0.0; 2]; train.data.rows]; width];
    for number in 1..=options.rounds_max {
        train.gradients(loss, &scores, &mut gradients);
        for (at, gradients) in gradients.iter().enumerate() {
            order
                .iter_mut()
                .zip(0..)
                .for_each(|(place, row)| *place = row);
            let mut grown = grow(train.data, &mut order, gradients, &options);
            if let Loss::Quantile(level) = loss {
                let residuals = Residuals::of(train, &scores, level);
                renew::quantiles(&mut grown, &order, &residuals, &options);
            }
            let GrownTree {
                tree,
                tests,
                leaves,
            } = grown;
            for (leaf, rows) in tree.leaves.iter().zip(leaves) {
                for row in &order[rows] {
                    scores[*row as usize * width + at] += f64::from(*leaf);
                }
            }
            if let Some(stop) = stop {
                let found = |row: usize| f64::from(by_bytes(&tree, &tests, stop.data.row(row)));
                stop_scores
                    .par_chunks_mut(width)
                    .enumerate()
                    .with_min_len(1_024)
                    .for_each(|(row, scores)| scores[at] += found(row));
            }
            booster.trees.push(tree);
        }
        let found = stop.map(|stop| stop.mean_loss(loss, &stop_scores));
        watch(Round {
            number,
            of: options.rounds_max,
            loss: found,
        });
        match found {
            Some(found) if found < best.0 => best = (found, number),
            Some(_) if number >= best.1 + options.patience => break,
            Some(_) => {}
            None => best.1 = number,
        }
        // If no tree of a round splits, no later one does.
        if booster.trees[(number - 1) * width..]
            .iter()
            .all(|t| t.nodes.is_empty())
        {
            break;
        }
    }

    booster.trees.truncate(best.1 * width);
    booster
}

fn by_bytes(tree: &Tree, tests: &[split::Test], row: &[u8]) -> f32 {
    let mut at = if tree.nodes.is_empty() {
        Branch::Leaf(0)
    } else {
        Branch::Node(0)
    };

    loop {
        match at {
            Branch::Leaf(leaf) => return tree.leaves[leaf],
            Branch::Node(node) => {
                let branch = &tree.nodes[node];
                at = if tests[node].is_left(row[branch.feature]) {
                    branch.left
                } else {
                    branch.right
                };
            }
        }
    }
}

impl Booster {
    /// Returns the scores of a row: numbers, and categories by code.
    pub(crate) fn scores(&self, row: &[f32]) -> Vec<f64> {
        let mut scores: Vec<f64> = self.base.iter().map(|b| f64::from(*b)).collect();
        let width = scores.len();
        for (at, tree) in self.trees.iter().enumerate() {
            scores[at % width] += f64::from(tree.value(row));
        }
        scores
    }

    /// Returns the scores of some rows, and for each row the sum of the sizes of its leaf values. Tree by tree: one tree
    /// fits the fastest cache, all of them do not.
    pub(crate) fn scores_and_sizes(&self, rows: &[f32], features: usize) -> (Vec<f64>, Vec<f64>) {
        let count = rows.len() / features.max(1);
        let base: Vec<f64> = self.base.iter().map(|b| f64::from(*b)).collect();
        let width = base.len();
        let (mut scores, mut sizes) = (base.repeat(count), vec![base[0].abs(); count]);
        for (at, tree) in self.trees.iter().enumerate() {
            let all = scores.chunks_exact_mut(width).zip(&mut sizes);
            for (row, (scores, size)) in rows.chunks_exact(features.max(1)).zip(all) {
                let value = f64::from(tree.value(row));
                scores[at % width] += value;
                *size += value.abs();
            }
        }
        (scores, sizes)
    }

    /// Returns the importance of each feature: its share of the gain of all splits.
    pub(crate) fn importances(&self, features: usize) -> Vec<f64> {
        let mut gains = vec![0.0; features];
        for node in self.trees.iter().flat_map(|t| &t.nodes) {
            gains[node.feature] += node.gain;
        }
        let whole: f64 = gains.iter().sum();
        if whole > 0.0 {
            gains.iter_mut().for_each(|g| *g /= whole);
        }
        gains
    }
}

/// Returns rows as a model sees them: numbers, and categories by code.
pub(crate) fn rows(frame: &Frame, features: &[Feature]) -> Vec<f32> {
    let width = features.len();
    let mut values = vec![0.0; frame.rows * width];
    for (at, (column, feature)) in frame.columns.iter().zip(features).enumerate() {
        let places = values.iter_mut().skip(at).step_by(width.max(1));
        match &column.values {
            FrameValues::Numbers(all) => places.zip(all).for_each(|(place, value)| *place = *value),
            FrameValues::Words(words) => {
                let codes = feature.codes(&words.list);
                places
                    .zip(&words.codes)
                    .for_each(|(place, word)| *place = f32::from(features::code(&codes, *word)));
            }
        }
    }

    values
}
