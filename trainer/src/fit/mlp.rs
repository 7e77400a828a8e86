//! A multilayer perceptron: the rows of linear models, two hidden layers of
//! rectifiers, weights found by Adam (Kingma and Ba 2015) on small batches,
//! decayed (Loshchilov and Hutter 2019), stopped by other rows. The same rows
//! and seed give the same weights on any number of threads.

use super::super::features::Feature;
use super::super::frame::Frame;
use super::super::random::mix;
use super::encode::{self, Encoded};
use super::linear::Linear;
use super::trees::Round;
use super::trees::loss::Loss;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Rows of a step, and the parts of it whose slopes are added in their order.
const BATCH: usize = 256;
const PART: usize = 64;

/// How it learns.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Rectifiers of each hidden layer.
    pub hidden: usize,
    pub rate: f64,
    pub decay: f64,
    /// Times that all rows are seen, at most.
    pub epochs_max: usize,
    /// … without a better loss on the rows to stop by, after which it ends.
    pub patience: usize,
    pub seed: u64,
}

/// Weights, layer by layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mlp {
    /// From features to the first hidden layer.
    pub first: Linear,
    /// From each hidden layer to the next, and to the scores.
    pub layers: Vec<Layer>,
}

/// Weights of a layer: row by row of what comes in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Layer {
    pub base: Vec<f32>,
    pub weights: Vec<f32>,
}

/// The sizes of layers, and where each one's weights are among all.
#[derive(Clone)]
struct Shape {
    sizes: Vec<usize>,
}

impl Shape {
    /// Where the weights of a layer begin; its bases follow them.
    fn at(&self, layer: usize) -> usize {
        (0..layer)
            .map(|l| (self.sizes[l] + 1) * self.sizes[l + 1])
            .sum()
    }

    fn layers(&self) -> usize {
        self.sizes.len() - 1
    }
}

/// Rows with what is true of them.
pub(crate) struct Rows<'r> {
    pub frame: &'r Frame,
    pub targets: &'r [f32],
    pub weights: Option<&'r [f32]>,
}

/// Fits weights; stops by other rows.
pub(crate) fn fit(
    train: &Rows<'_>,
    stop: &Rows<'_>,
    features: &[Feature],
    (loss, options): (Loss, &Options),
    watch: &mut dyn FnMut(Round),
) -> Mlp {
    let scales = encode::scales(train.frame);
    let encoded = Encoded::of(train.frame, features, &scales);
    let others = Encoded::of(stop.frame, features, &scales);
    // Values on one scale too; the last layer takes them back to theirs.
    let (centre, spread) = if loss == Loss::Squared {
        spread_of(train.targets)
    } else {
        (0.0, 1.0)
    };
    let on_scale = |targets: &[f32]| {
        targets
            .iter()
            .map(|t| (t - centre) / spread)
            .collect::<Vec<f32>>()
    };
    let (targets, stop_targets) = (on_scale(train.targets), on_scale(stop.targets));
    let shape = Shape {
        sizes: vec![encoded.size, options.hidden, options.hidden, loss.scores()],
    };
    let mut weights = start(&shape, options.seed);
    for (score, base) in loss.base(&targets, train.weights).into_iter().enumerate() {
        let at = shape.at(3) - loss.scores() + score;
        weights[at] = base as f32;
    }
    let mut adam = Adam {
        slopes: vec![0.0; weights.len()],
        squares: vec![0.0; weights.len()],
        steps: 0,
    };
    let (mut best, mut best_loss, mut best_epoch) = (weights.clone(), f64::INFINITY, 0);
    let mut order: Vec<u32> = (0..encoded.rows as u32).collect();
    for epoch in 1..=options.epochs_max {
        order.sort_by_key(|row| mix(options.seed.wrapping_add(epoch as u64), u64::from(*row)));
        for batch in order.chunks(BATCH) {
            let slope = slope(
                &shape,
                &weights,
                &encoded,
                (batch, &targets, train.weights),
                loss,
            );
            adam.step(&mut weights, &slope, options);
        }
        let found = mean(
            &shape,
            &weights,
            &others,
            (&stop_targets, stop.weights),
            loss,
        );
        watch(Round {
            number: epoch,
            of: options.epochs_max,
            loss: Some(found),
        });
        if found < best_loss {
            (best_loss, best_epoch) = (found, epoch);
            best.copy_from_slice(&weights);
        } else if epoch >= best_epoch + options.patience {
            break;
        }
    }
    let part = |layer: usize| {
        let (from, inputs, outputs) = (shape.at(layer), shape.sizes[layer], shape.sizes[layer + 1]);
        (
            &best[from..from + inputs * outputs],
            &best[from + inputs * outputs..from + (inputs + 1) * outputs],
        )
    };
    let (of_features, base) = part(0);
    let hidden = options.hidden;
    let of = |place: usize| of_features[place * hidden..][..hidden].to_vec();
    let terms = encode::terms(features, &scales, of);
    let first = Linear {
        base: base.to_vec(),
        terms,
        converged: best_epoch > 0,
    };
    let mut layers: Vec<Layer> = (1..shape.layers())
        .map(part)
        .map(|(w, b)| Layer {
            base: b.to_vec(),
            weights: w.to_vec(),
        })
        .collect();
    if let Some(last) = layers.last_mut().filter(|_| loss == Loss::Squared) {
        last.weights.iter_mut().for_each(|w| *w *= spread);
        last.base.iter_mut().for_each(|b| *b = *b * spread + centre);
    }
    Mlp { first, layers }
}

/// Middle and spread of values.
fn spread_of(values: &[f32]) -> (f32, f32) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let spread = (values
        .iter()
        .map(|v| (f64::from(*v) - mean).powi(2))
        .sum::<f64>()
        / n)
        .sqrt() as f32;
    (
        mean as f32,
        if spread > 0.0 && spread.is_finite() {
            spread
        } else {
            1.0
        },
    )
}

/// Weights to begin with (He et al. 2015).
fn start(shape: &Shape, seed: u64) -> Vec<f32> {
    let mut weights = vec![0.0; shape.at(shape.layers())];
    for layer in 0..shape.layers() {
        let (from, inputs, outputs) = (shape.at(layer), shape.sizes[layer], shape.sizes[layer + 1]);
        let reach = (6.0 / inputs.max(1) as f64).sqrt();
        for (place, weight) in weights
            .iter_mut()
            .enumerate()
            .skip(from)
            .take(inputs * outputs)
        {
            let dice = (mix(seed ^ 0x5eed, place as u64) >> 11) as f64 / (1_u64 << 53) as f64;
            *weight = ((dice * 2.0 - 1.0) * reach) as f32;
        }
    }
    weights
}

/// What each layer makes of a row; the last are the scores.
fn forward(shape: &Shape, weights: &[f32], rows: &Encoded, row: usize) -> Vec<Vec<f32>> {
    let mut found: Vec<Vec<f32>> = Vec::with_capacity(shape.layers());
    for layer in 0..shape.layers() {
        let (from, inputs, outputs) = (shape.at(layer), shape.sizes[layer], shape.sizes[layer + 1]);
        let mut sums = weights[from + inputs * outputs..][..outputs].to_vec();
        let mut add = |place: usize, x: f32| {
            let of = &weights[from + place * outputs..][..outputs];
            sums.iter_mut().zip(of).for_each(|(s, w)| *s += x * w);
        };
        match found.last() {
            None => {
                rows.numbers(row)
                    .iter()
                    .enumerate()
                    .filter(|(_, x)| **x != 0.0)
                    .for_each(|(at, x)| add(at, *x));
                rows.categories(row).for_each(|place| add(place, 1.0));
            }
            Some(before) => before
                .iter()
                .enumerate()
                .filter(|(_, x)| **x > 0.0)
                .for_each(|(at, x)| add(at, *x)),
        }
        found.push(sums);
    }
    found
}

/// The mean slope of a batch.
fn slope(
    shape: &Shape,
    weights: &[f32],
    rows: &Encoded,
    (batch, targets, row_weights): (&[u32], &[f32], Option<&[f32]>),
    loss: Loss,
) -> Vec<f32> {
    let parts: Vec<Vec<f32>> = batch
        .par_chunks(PART)
        .map(|part| {
            let mut slope = vec![0.0; weights.len()];
            for row in part {
                let row = *row as usize;
                let weight = row_weights.map_or(1.0, |w| w[row]) / batch.len() as f32;
                let found = forward(shape, weights, rows, row);
                let scores: Vec<f64> = found[shape.layers() - 1]
                    .iter()
                    .map(|s| f64::from(*s))
                    .collect();
                let gradients = loss.gradients(&targets[row..=row], None, &scores);
                let pull: Vec<f32> = gradients.iter().map(|g| g[0][0] * weight).collect();
                backward(shape, (weights, rows), row, (&found, pull), &mut slope);
            }
            slope
        })
        .collect();
    let mut parts = parts.into_iter();
    let mut whole = parts.next().unwrap_or_default();
    parts.for_each(|part| whole.iter_mut().zip(part).for_each(|(w, p)| *w += p));
    whole
}

/// Adds a row's slopes, from the scores back to the features.
fn backward(
    shape: &Shape,
    (weights, rows): (&[f32], &Encoded),
    row: usize,
    (found, mut pull): (&[Vec<f32>], Vec<f32>),
    slope: &mut [f32],
) {
    for layer in (0..shape.layers()).rev() {
        let (from, inputs, outputs) = (shape.at(layer), shape.sizes[layer], shape.sizes[layer + 1]);
        slope[from + inputs * outputs..][..outputs]
            .iter_mut()
            .zip(&pull)
            .for_each(|(s, p)| *s += p);
        let mut add = |place: usize, x: f32| {
            let of = &mut slope[from + place * outputs..][..outputs];
            of.iter_mut().zip(&pull).for_each(|(s, p)| *s += x * p);
        };
        if layer == 0 {
            rows.numbers(row)
                .iter()
                .enumerate()
                .filter(|(_, x)| **x != 0.0)
                .for_each(|(at, x)| add(at, *x));
            rows.categories(row).for_each(|place| add(place, 1.0));
            return;
        }
        let before = &found[layer - 1];
        before
            .iter()
            .enumerate()
            .filter(|(_, x)| **x > 0.0)
            .for_each(|(at, x)| add(at, *x));
        let back = |(at, x): (usize, &f32)| match *x > 0.0 {
            true => weights[from + at * outputs..][..outputs]
                .iter()
                .zip(&pull)
                .map(|(w, p)| w * p)
                .sum(),
            false => 0.0,
        };
        pull = before.iter().enumerate().map(back).collect();
    }
}

/// The mean loss of rows.
fn mean(
    shape: &Shape,
    weights: &[f32],
    rows: &Encoded,
    (targets, row_weights): (&[f32], Option<&[f32]>),
    loss: Loss,
) -> f64 {
    let of = |row: usize| forward(shape, weights, rows, row).pop().unwrap_or_default();
    let scores: Vec<Vec<f32>> = (0..rows.rows)
        .into_par_iter()
        .with_min_len(256)
        .map(of)
        .collect();
    let scores: Vec<f64> = scores.into_iter().flatten().map(f64::from).collect();
    loss.mean(targets, row_weights, &scores)
}

/// Checkpoints that remember slopes and their squares.
struct Adam {
    slopes: Vec<f32>,
    squares: Vec<f32>,
    steps: i32,
}

impl Adam {
    fn step(&mut self, weights: &mut [f32], slope: &[f32], options: &Options) {
        self.steps += 1;
        let (keep, keep_square) = (0.9_f32, 0.999_f32);
        let rate = options.rate * (1.0 - f64::from(keep_square).powi(self.steps)).sqrt()
            / (1.0 - f64::from(keep).powi(self.steps));
        let (rate, shrink) = (rate as f32, (1.0 - options.rate * options.decay) as f32);
        for (((weight, slope), mean), square) in weights
            .iter_mut()
            .zip(slope)
            .zip(&mut self.slopes)
            .zip(&mut self.squares)
        {
            *mean = keep * *mean + (1.0 - keep) * slope;
            *square = keep_square * *square + (1.0 - keep_square) * slope * slope;
            *weight = *weight * shrink - rate * *mean / (square.sqrt() + 1e-8);
        }
    }
}

impl Mlp {
    /// The scores of a row: numbers, and categories by code.
    pub(crate) fn scores(&self, row: &[f32]) -> Vec<f64> {
        let mut found = self.first.scores(row);
        for layer in &self.layers {
            found.iter_mut().for_each(|x| *x = x.max(0.0));
            found = layer.apply(&found, f64::from);
        }
        found
    }

    /// How large the sums are that the scores of a row are made of.
    pub(crate) fn sizes(&self, row: &[f32]) -> Vec<f64> {
        let first = self.first.sizes(row);
        self.layers.iter().fold(first, |sizes, layer| {
            layer.apply(&sizes, |w| f64::from(w.abs()))
        })
    }

    /// How much each feature moves the first layer; together one, if any does.
    pub(crate) fn importances(&self) -> Vec<f64> {
        self.first.importances()
    }
}

impl Layer {
    fn apply(&self, before: &[f64], weight: impl Fn(f32) -> f64) -> Vec<f64> {
        let mut sums: Vec<f64> = self.base.iter().map(|b| weight(*b)).collect();
        let width = sums.len();
        for (at, x) in before.iter().enumerate() {
            let of = &self.weights[at * width..][..width];
            sums.iter_mut()
                .zip(of)
                .for_each(|(s, w)| *s += x * weight(*w));
        }
        sums
    }
}

#[cfg(test)]
mod tests;
