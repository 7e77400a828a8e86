//! A multilayer perceptron: two hidden layers of ReLU, whose weights are fitted by
//! Adam (Kingma and Ba 2015) on small batches, with weight decay (Loshchilov and
//! Hutter 2019) and early stopping. The same rows and seed give the same weights
//! on any number of threads.

mod network;

use super::super::features::Feature;
use super::super::random::mix;
use super::encode::{self, EncodedRows, Labelled};
use super::linear::Linear;
use super::trees::Round;
use super::trees::loss::Loss;
use network::{Examples, Network, Shape};
use serde::{Deserialize, Serialize};

/// Rows of a batch.
const BATCH: usize = 256;

/// The settings of a fit.
#[derive(Clone, Debug)]
pub(crate) struct MlpOptions {
    pub loss: Loss,
    /// Units of each hidden layer.
    pub hidden: usize,
    /// The learning rate.
    pub rate: f64,
    /// The weight decay.
    pub decay: f64,
    /// The most passes over all rows.
    pub epochs_max: usize,
    /// The most epochs without a better loss on the stopping rows.
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

/// The weights of a layer, input by input, and its biases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Layer {
    pub base: Vec<f32>,
    pub weights: Vec<f32>,
}

/// Fits weights; stops by the loss on other rows.
pub(crate) fn fit(
    train: &Labelled<'_>,
    stop: &Labelled<'_>,
    features: &[Feature],
    options: &MlpOptions,
    watch: &mut dyn FnMut(Round),
) -> Mlp {
    let scales = encode::scales(train.frame);
    let encoded = EncodedRows::of(train.frame, features, &scales);
    let stop_encoded = EncodedRows::of(stop.frame, features, &scales);
    let scale = TargetScale::of(train.targets, options.loss);
    let (targets, stop_targets) = (scale.scaled(train.targets), scale.scaled(stop.targets));
    let train = Examples {
        rows: &encoded,
        targets: &targets,
        weights: train.weights,
    };

    let stop = Examples {
        rows: &stop_encoded,
        targets: &stop_targets,
        weights: stop.weights,
    };

    let sizes = vec![
        encoded.size,
        options.hidden,
        options.hidden,
        options.loss.scores(),
    ];

    let mut network = Network::random(Shape { sizes }, options.seed);
    network.set_score_biases(&options.loss.base(&targets, train.weights));
    let best = descend(network, &train, &stop, options, watch);

    let Best { network, epoch } = best;
    let (weights, base) = network.layer(0);
    let hidden = options.hidden;
    let of_place = |place: usize| weights[place * hidden..][..hidden].to_vec();
    let first = Linear {
        base: base.to_vec(),
        terms: encode::terms(features, &scales, of_place),
        converged: epoch > 0,
    };

    let mut layers: Vec<Layer> = (1..network.shape.layers())
        .map(|layer| network.layer(layer))
        .map(|(weights, base)| Layer {
            base: base.to_vec(),
            weights: weights.to_vec(),
        })
        .collect();
    if let Some(last) = layers.last_mut().filter(|_| is_scaled(options.loss)) {
        scale.restore(last);
    }

    Mlp { first, layers }
}

/// The network with the lowest loss on the stopping rows, and its epoch.
struct Best {
    network: Network,
    epoch: usize,
}

/// Descends by Adam, batch by batch, until the loss on the stopping rows no
/// longer falls.
fn descend(
    mut network: Network,
    train: &Examples<'_>,
    stop: &Examples<'_>,
    options: &MlpOptions,
    watch: &mut dyn FnMut(Round),
) -> Best {
    let mut adam = Adam::new(network.weights.len());
    let mut order: Vec<u32> = (0..train.rows.rows as u32).collect();
    let mut best_loss = f64::INFINITY;
    let mut best = Best {
        network: network.clone(),
        epoch: 0,
    };

    for epoch in 1..=options.epochs_max {
        let seed = options.seed.wrapping_add(epoch as u64);
        order.sort_by_key(|row| mix(seed, u64::from(*row)));
        for batch in order.chunks(BATCH) {
            let gradient = network.gradient(train, batch, options.loss);
            adam.step(&mut network.weights, &gradient, options);
        }

        let loss = network.mean_loss(stop, options.loss);
        watch(Round {
            number: epoch,
            of: options.epochs_max,
            loss: Some(loss),
        });
        if loss < best_loss {
            best_loss = loss;
            best.epoch = epoch;
            best.network.weights.copy_from_slice(&network.weights);
        } else if epoch >= best.epoch + options.patience {
            break;
        }
    }
    best
}

/// The mean and the standard deviation of targets, by which values are scaled
/// while weights are fitted; the last layer takes scores back to values.
struct TargetScale {
    mean: f32,
    deviation: f32,
}

/// Returns whether scores are of the unit of targets.
fn is_scaled(loss: Loss) -> bool {
    matches!(loss, Loss::Squared | Loss::Quantile(_))
}

impl TargetScale {
    fn of(targets: &[f32], loss: Loss) -> Self {
        if !is_scaled(loss) {
            return Self {
                mean: 0.0,
                deviation: 1.0,
            };
        }

        let n = targets.len().max(1) as f64;
        let mean = targets.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let squares = targets.iter().map(|v| (f64::from(*v) - mean).powi(2));
        let deviation = (squares.sum::<f64>() / n).sqrt() as f32;
        Self {
            mean: mean as f32,
            deviation: if deviation > 0.0 && deviation.is_finite() {
                deviation
            } else {
                1.0
            },
        }
    }

    fn scaled(&self, targets: &[f32]) -> Vec<f32> {
        let scale = |target: &f32| (target - self.mean) / self.deviation;
        targets.iter().map(scale).collect()
    }

    fn restore(&self, last: &mut Layer) {
        last.weights.iter_mut().for_each(|w| *w *= self.deviation);
        last.base
            .iter_mut()
            .for_each(|b| *b = *b * self.deviation + self.mean);
    }
}

/// Adam: running means of the gradient and of its square.
struct Adam {
    means: Vec<f32>,
    squares: Vec<f32>,
    steps: i32,
}

impl Adam {
    fn new(weights: usize) -> Self {
        Self {
            means: vec![0.0; weights],
            squares: vec![0.0; weights],
            steps: 0,
        }
    }

    fn step(&mut self, weights: &mut [f32], gradient: &[f32], options: &MlpOptions) {
        self.steps += 1;
        let (keep, keep_square) = (0.9_f32, 0.999_f32);
        let rate = options.rate * (1.0 - f64::from(keep_square).powi(self.steps)).sqrt()
            / (1.0 - f64::from(keep).powi(self.steps));
        let (rate, shrink) = (rate as f32, (1.0 - options.rate * options.decay) as f32);

        for (((weight, gradient), mean), square) in weights
            .iter_mut()
            .zip(gradient)
            .zip(&mut self.means)
            .zip(&mut self.squares)
        {
            *mean = keep * *mean + (1.0 - keep) * gradient;
            *square = keep_square * *square + (1.0 - keep_square) * gradient * gradient;
            *weight = *weight * shrink - rate * *mean / (square.sqrt() + 1e-8);
        }
    }
}

impl Mlp {
    /// Returns the scores of a row: numbers, and categories by code.
    pub(crate) fn scores(&self, row: &[f32]) -> Vec<f64> {
        let mut found = self.first.scores(row);
        for layer in &self.layers {
            found.iter_mut().for_each(|x| *x = x.max(0.0));
            found = layer.apply(&found, f64::from);
        }
        found
    }

    /// Returns the sums of absolute terms of each score of a row, which bound its rounding error.
    pub(crate) fn sizes(&self, row: &[f32]) -> Vec<f64> {
        let first = self.first.sizes(row);
        self.layers.iter().fold(first, |sizes, layer| {
            layer.apply(&sizes, |w| f64::from(w.abs()))
        })
    }

    /// Returns the importance of each feature: its share of the weights of the first layer.
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
