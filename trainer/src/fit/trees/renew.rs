//! Leaf values of quantiles: the pinball loss has no curvature, so that each leaf takes the
//! quantile of the residuals of its rows instead of a step down the gradient. Below a split on a
//! monotone feature the values are bounded again.

use super::grow::GrownTree;
use super::loss::quantile;
use super::monotone::LeafBounds;
use super::split::Test;
use super::{Branch, TreeOptions, TreeRows};
use crate::fit::bins::Cut;
use rayon::prelude::*;
use std::ops::Range;

/// What the scores of rows leave of their targets.
pub(super) struct Residuals<'r> {
    rows: &'r TreeRows<'r>,
    scores: &'r [f64],
    level: f64,
}

impl<'r> Residuals<'r> {
    pub(super) fn of(rows: &'r TreeRows<'r>, scores: &'r [f64], level: f64) -> Self {
        Self {
            rows,
            scores,
            level,
        }
    }

    /// Returns the quantile of some rows.
    fn quantile(&self, rows: &[u32]) -> f64 {
        let pair = |row: &u32| {
            let row = *row as usize;
            let weight = self.rows.weights.map_or(1.0, |w| f64::from(w[row]));
            (f64::from(self.rows.targets[row]) - self.scores[row], weight)
        };
        quantile(&mut rows.iter().map(pair).collect::<Vec<_>>(), self.level)
    }
}

/// Sets the value of each leaf to the quantile of its rows. `order` lists the rows leaf by leaf.
pub(super) fn quantiles(
    grown: &mut GrownTree,
    order: &[u32],
    residuals: &Residuals<'_>,
    options: &TreeOptions,
) {
    let bounds = if options.monotone.is_empty() {
        vec![LeafBounds::OPEN; grown.leaves.len()]
    } else {
        let renewal = Renewal {
            grown,
            order,
            residuals,
            options,
        };
        renewal.bounds()
    };
    let values: Vec<f64> = grown
        .leaves
        .par_iter()
        .zip(&bounds)
        .map(|(rows, bounds)| bounds.clamp(residuals.quantile(&order[rows.clone()])))
        .collect();
    for (leaf, value) in grown.tree.leaves.iter_mut().zip(values) {
        *leaf = (value * options.learning_rate) as f32;
    }
}

/// The bounds of leaves whose values are quantiles.
struct Renewal<'r> {
    grown: &'r GrownTree,
    order: &'r [u32],
    residuals: &'r Residuals<'r>,
    options: &'r TreeOptions,
}

impl Renewal<'_> {
    fn bounds(&self) -> Vec<LeafBounds> {
        let mut all = vec![LeafBounds::OPEN; self.grown.leaves.len()];
        let root = if self.grown.tree.nodes.is_empty() {
            Branch::Leaf(0)
        } else {
            Branch::Node(0)
        };
        let mut open = vec![(root, LeafBounds::OPEN)];
        while let Some((at, bounds)) = open.pop() {
            let node = match at {
                Branch::Leaf(leaf) => {
                    all[leaf] = bounds;
                    continue;
                }
                Branch::Node(node) => node,
            };
            let branch = &self.grown.tree.nodes[node];
            let [left, right] = self.below(node, bounds);
            open.extend([(branch.left, left), (branch.right, right)]);
        }
        all
    }

    /// Returns the bounds of both sides of a branch.
    fn below(&self, node: usize, bounds: LeafBounds) -> [LeafBounds; 2] {
        let branch = &self.grown.tree.nodes[node];
        let Some(way) = self.options.direction(branch.feature) else {
            return [bounds; 2];
        };
        let cut: &Cut = &self.residuals.rows.data.cuts[branch.feature];
        let test: &Test = &self.grown.tests[node];
        if test.is_of_missing(cut) {
            return [bounds; 2];
        }
        let value = |side: Branch| {
            let rows = &self.order[self.span(side)];
            bounds.clamp(self.residuals.quantile(rows))
        };
        bounds.split(way, value(branch.left), value(branch.right))
    }

    /// Returns where the rows below a branch lie: one after the other.
    fn span(&self, at: Branch) -> Range<usize> {
        match at {
            Branch::Leaf(leaf) => self.grown.leaves[leaf].clone(),
            Branch::Node(node) => {
                let branch = &self.grown.tree.nodes[node];
                let (left, right) = (self.span(branch.left), self.span(branch.right));
                left.start.min(right.start)..left.end.max(right.end)
            }
        }
    }
}
