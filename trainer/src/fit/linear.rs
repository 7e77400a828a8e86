//! Linear, logistic, Poisson and Tweedie regression: standardised numbers, a weight for each category
//! and for each missing number, L2 regularisation (Hoerl and Kennard 1970). Weights
//! are fitted by limited-memory BFGS (Liu and Nocedal 1989) on the exact sum over
//! all rows.

#[cfg(test)]
mod tests;

use super::super::features::Feature;
use super::encode::{self, EncodedRows, Labelled, Term};
use super::trees::loss::Loss;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Rows of a block that one thread computes.
const BLOCK: usize = 4_096;
/// The most iterations.
const STEPS_MAX: usize = 2_000;
/// Earlier iterations that approximate the Hessian.
const MEMORY: usize = 12;
/// Iterations in a row without progress, after which the fit ends.
const STALLS_MAX: usize = 8;

/// Weights, feature by feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Linear {
    /// The bias of each score.
    pub base: Vec<f32>,
    pub terms: Vec<Term>,
    /// Whether the fit converged.
    pub converged: bool,
}

/// A regression problem: rows, loss and penalty.
struct Problem<'p> {
    rows: EncodedRows,
    targets: &'p [f32],
    weights: Option<&'p [f32]>,
    loss: Loss,
    l2: f64,
}

/// Fits weights to rows of a frame.
pub(crate) fn fit(labelled: &Labelled<'_>, features: &[Feature], loss: Loss, l2: f64) -> Linear {
    let Labelled {
        frame,
        targets,
        weights,
    } = *labelled;

    let scales = encode::scales(frame);
    let scored = loss.scores();
    let problem = Problem {
        rows: EncodedRows::of(frame, features, &scales),
        targets,
        weights,
        loss,
        l2,
    };

    let stride = problem.rows.size + 1;
    let mut start = vec![0.0; stride * scored];
    for (score, base) in loss.base(targets, weights).into_iter().enumerate() {
        start[score * stride + stride - 1] = base;
    }
    let (found, converged) = minimise(start, |at| problem.value(at));
    let of = |place: usize| -> Vec<f32> {
        (0..scored)
            .map(|s| found[s * stride + place] as f32)
            .collect()
    };

    Linear {
        base: of(stride - 1),
        terms: encode::terms(features, &scales, of),
        converged,
    }
}

impl Problem<'_> {
    /// Returns the loss over all rows with the penalty of the weights, and its gradient.
    fn value(&self, at: &[f64]) -> (f64, Vec<f64>) {
        let (scored, stride) = (self.loss.scores(), self.rows.size + 1);
        let blocks: Vec<(f64, Vec<f64>)> = (0..self.rows.rows.div_ceil(BLOCK))
            .into_par_iter()
            .map(|block| self.block(at, block * BLOCK..((block + 1) * BLOCK).min(self.rows.rows)))
            .collect();
        let (mut value, mut gradient) = (0.0, vec![0.0; at.len()]);

        for (part, parts) in blocks {
            value += part;
            gradient.iter_mut().zip(&parts).for_each(|(s, p)| *s += p);
        }
        for score in 0..scored {
            for place in 0..self.rows.size {
                let weight = at[score * stride + place];
                value += self.l2 / 2.0 * weight * weight;
                gradient[score * stride + place] += self.l2 * weight;
            }
        }

        (value, gradient)
    }

    fn block(&self, at: &[f64], rows: std::ops::Range<usize>) -> (f64, Vec<f64>) {
        let (scored, stride) = (self.loss.scores(), self.rows.size + 1);
        let mut scores = Vec::with_capacity(rows.len() * scored);
        for row in rows.clone() {
            for score in 0..scored {
                let weights = &at[score * stride..][..stride];
                let mut sum = weights[stride - 1];
                sum += self
                    .rows
                    .numbers(row)
                    .iter()
                    .zip(weights)
                    .map(|(x, w)| f64::from(*x) * w)
                    .sum::<f64>();
                sum += self
                    .rows
                    .categories(row)
                    .map(|place| weights[place])
                    .sum::<f64>();
                scores.push(sum);
            }
        }

        let targets = &self.targets[rows.clone()];
        let weights = self.weights.map(|w| &w[rows.clone()]);
        let whole = weights.map_or(rows.len() as f64, |w| w.iter().map(|w| f64::from(*w)).sum());
        let value = self.loss.mean(targets, weights, &scores) * whole;
        let mut gradient = vec![0.0; at.len()];
        for (place, row) in rows.clone().enumerate() {
            let weight = weights.map_or(1.0, |w| f64::from(w[place]));
            let scores = &scores[place * scored..][..scored];
            for (score, pull) in self.pulls(targets[place], scores).into_iter().enumerate() {
                let pull = weight * pull;
                let gradient = &mut gradient[score * stride..][..stride];
                gradient[stride - 1] += pull;
                self.rows
                    .numbers(row)
                    .iter()
                    .zip(gradient.iter_mut())
                    .for_each(|(x, s)| *s += pull * f64::from(*x));
                self.rows
                    .categories(row)
                    .for_each(|place| gradient[place] += pull);
            }
        }

        (value, gradient)
    }
}

impl Problem<'_> {
    /// Returns the gradient of a row's loss by each of its scores.
    fn pulls(&self, target: f32, scores: &[f64]) -> Vec<f64> {
        if !matches!(self.loss, Loss::Softmax(_)) {
            return vec![self.loss.derivatives(f64::from(target), scores[0])[0]];
        }
        let shares = self.loss.answer(scores).into_iter().enumerate();
        let is = |class: usize| f64::from(u8::from(target as usize == class));
        shares.map(|(class, share)| share - is(class)).collect()
    }
}

/// Minimises a convex function that returns its gradient; whether the minimum
/// was reached.
fn minimise(mut at: Vec<f64>, value: impl Fn(&[f64]) -> (f64, Vec<f64>)) -> (Vec<f64>, bool) {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let largest = |gradient: &[f64]| gradient.iter().fold(0.0_f64, |most, s| most.max(s.abs()));
    let (mut here, mut gradient) = value(&at);
    let enough = 1e-9 * largest(&gradient).max(1.0);
    let mut known: VecDeque<(Vec<f64>, Vec<f64>, f64)> = VecDeque::new();
    let mut stalls = 0;
    for _ in 0..STEPS_MAX {
        if largest(&gradient) <= enough {
            return (at, true);
        }
        let mut way: Vec<f64> = gradient.iter().map(|s| -s).collect();
        let mut parts = Vec::with_capacity(known.len());
        for (step, turn, along) in known.iter().rev() {
            let part = dot(step, &way) / along;
            way.iter_mut().zip(turn).for_each(|(w, t)| *w -= part * t);
            parts.push(part);
        }
        let size = match known.back() {
            Some((_, turn, along)) => along / dot(turn, turn),
            None => 1.0 / largest(&gradient).max(1.0),
        };
        way.iter_mut().for_each(|w| *w *= size);
        for ((step, turn, along), part) in known.iter().zip(parts.into_iter().rev()) {
            let back = dot(turn, &way) / along;
            way.iter_mut()
                .zip(step)
                .for_each(|(w, s)| *w += (part - back) * s);
        }
        let down = dot(&gradient, &way);
        if down >= 0.0 {
            // The approximation does not descend; take the gradient instead.
            known.clear();
            way = gradient.iter().map(|s| -s).collect();
        }
        let down = dot(&gradient, &way);
        let mut length = 1.0;
        let next = loop {
            let there: Vec<f64> = at.iter().zip(&way).map(|(a, w)| a + length * w).collect();
            let (found, turned) = value(&there);
            if found <= here + 1e-4 * length * down {
                break Some((there, found, turned));
            }
            length /= 2.0;
            if length < 1e-12 {
                break None;
            }
        };
        // The loss cannot fall further in FP64.
        let Some((there, found, turned)) = next else {
            return (at, largest(&gradient) <= enough * 1e4);
        };
        let step: Vec<f64> = there.iter().zip(&at).map(|(t, a)| t - a).collect();
        let turn: Vec<f64> = turned.iter().zip(&gradient).map(|(t, s)| t - s).collect();
        let along = dot(&step, &turn);
        if along > 1e-14 * dot(&turn, &turn) {
            known.push_back((step, turn, along));
            if known.len() > MEMORY {
                known.pop_front();
            }
        }
        // Iterations make no progress, because the loss is as exact as FP64 allows.
        stalls = if here - found <= f64::EPSILON * 4.0 * here.abs() {
            stalls + 1
        } else {
            0
        };
        (at, here, gradient) = (there, found, turned);
        if stalls >= STALLS_MAX {
            return (at, largest(&gradient) <= enough * 1e4);
        }
    }

    (at, false)
}

impl Linear {
    /// Returns the scores of a row: numbers, and categories by code.
    pub(crate) fn scores(&self, row: &[f32]) -> Vec<f64> {
        let mut scores: Vec<f64> = self.base.iter().map(|b| f64::from(*b)).collect();
        encode::add(&self.terms, row, &mut scores);
        scores
    }

    /// Returns the sums of absolute terms of each score, which bound its rounding
    /// error.
    pub(crate) fn sizes(&self, row: &[f32]) -> Vec<f64> {
        let mut sizes: Vec<f64> = self.base.iter().map(|b| f64::from(b.abs())).collect();
        encode::size(&self.terms, row, &mut sizes);
        sizes
    }

    /// Returns the importance of each feature, as a share of all.
    pub(crate) fn importances(&self) -> Vec<f64> {
        encode::importances(&self.terms)
    }
}
