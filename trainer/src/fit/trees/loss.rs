//! Loss functions: the mean over rows, and the gradient and the Hessian by the
//! score of each. Pure.

#[cfg(test)]
mod tests;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Rows of a block that one thread computes.
const BLOCK: usize = 16_384;
/// Log rates are limited to this, on both sides of 0, so that FP32 holds the rates.
pub(crate) const LOG_RATE_MAX: f64 = 80.0;
/// The longest step of a leaf in log rates, before the learning rate. A longer one would
/// pass the minimum of the Poisson deviance, which grows faster than its Hessian tells.
const LOG_STEP_MAX: f64 = 2.0;
/// The least mean of targets for the constant log rate.
const MEAN_MIN: f64 = 1e-9;

/// A loss function, which also defines the meaning of scores.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Loss {
    /// Half the squared error.
    Squared,
    /// Half the Poisson deviance; scores are logarithms of rates.
    Poisson,
    /// Half the Tweedie deviance of this power; scores are logarithms of rates (Jørgensen 1987).
    Tweedie(f64),
    /// The pinball loss of this quantile (Koenker and Bassett 1978).
    Quantile(f64),
    /// The order of rows of a query, by pairs within this many first places (Burges 2010). The
    /// gradients need queries, and are computed elsewhere.
    LambdaRank(usize),
    /// The log loss of two classes.
    Logistic,
    /// The log loss of more classes.
    Softmax(usize),
}

impl Loss {
    /// Returns the number of scores of a row.
    pub(crate) fn scores(self) -> usize {
        match self {
            Self::Softmax(classes) => classes,
            _ => 1,
        }
    }

    /// Returns whether scores are logarithms of what is predicted.
    pub(crate) fn is_log_link(self) -> bool {
        matches!(self, Self::Poisson | Self::Tweedie(_))
    }

    /// Returns the scale of the L2 regularisation: the second derivative of a row of one of many classes is smaller than
    /// that of two, where all are equally likely.
    pub(super) fn l2_scale(self) -> f64 {
        match self {
            Self::Softmax(classes) => {
                let share = 1.0 / classes as f64;
                4.0 * share * (1.0 - share)
            }
            _ => 1.0,
        }
    }

    /// Returns the largest value of a leaf, before the learning rate.
    pub(super) fn step_max(self) -> f64 {
        if self.is_log_link() {
            LOG_STEP_MAX
        } else {
            f64::INFINITY
        }
    }

    /// Returns the constant scores with the lowest loss.
    pub(crate) fn base(self, targets: &[f32], weights: Option<&[f32]>) -> Vec<f64> {
        let weight = |row: usize| weights.map_or(1.0, |w| f64::from(w[row]));
        let whole: f64 = (0..targets.len()).map(weight).sum();
        let share = |is: &dyn Fn(f32) -> f64| {
            (0..targets.len())
                .map(|row| weight(row) * is(targets[row]))
                .sum::<f64>()
                / whole.max(f64::MIN_POSITIVE)
        };

        let bounded = |share: f64| share.clamp(1e-9, 1.0 - 1e-9);
        match self {
            Self::Squared => vec![share(&|t| f64::from(t))],
            Self::Poisson | Self::Tweedie(_) => {
                vec![share(&|t| f64::from(t)).max(MEAN_MIN).ln()]
            }
            Self::Quantile(level) => {
                let pairs = (0..targets.len()).map(|row| (f64::from(targets[row]), weight(row)));
                vec![quantile(&mut pairs.collect::<Vec<_>>(), level)]
            }
            // Only differences of scores matter.
            Self::LambdaRank(_) => vec![0.0],
            Self::Logistic => {
                let p = bounded(share(&|t| f64::from(t)));
                vec![(p / (1.0 - p)).ln()]
            }
            Self::Softmax(classes) => (0..classes)
                .map(|class| bounded(share(&|t| f64::from(u8::from(t as usize == class)))).ln())
                .collect(),
        }
    }

    /// Returns the gradient and Hessian of every row, score by score.
    pub(crate) fn gradients(
        self,
        targets: &[f32],
        weights: Option<&[f32]>,
        scores: &[f64],
    ) -> Vec<Vec<[f32; 2]>> {
        let mut all = vec![vec![[0.0; 2]; targets.len()]; self.scores()];
        self.gradients_into(targets, weights, scores, &mut all);
        all
    }

    /// Computes the gradient and Hessian of every row, score by score.
    pub(crate) fn gradients_into(
        self,
        targets: &[f32],
        weights: Option<&[f32]>,
        scores: &[f64],
        all: &mut [Vec<[f32; 2]>],
    ) {
        let width = self.scores();
        if let Self::Softmax(classes) = self {
            let mut shares = scores.to_vec();
            shares
                .par_chunks_mut(width)
                .with_min_len(1_024)
                .for_each(softmax);
            // Scaled, because the classes have one degree of freedom less than scores.
            let more = classes as f64 / (classes as f64 - 1.0);
            all.par_iter_mut().enumerate().for_each(|(class, out)| {
                for (row, out) in out.iter_mut().enumerate() {
                    let weight = weights.map_or(1.0, |w| f64::from(w[row]));
                    let p = shares[row * width + class];
                    let gradient = p - f64::from(u8::from(targets[row] as usize == class));
                    *out = [
                        (weight * gradient) as f32,
                        (weight * more * p * (1.0 - p)) as f32,
                    ];
                }
            });
            return;
        }

        all[0]
            .par_chunks_mut(BLOCK)
            .enumerate()
            .for_each(|(block, out)| {
                for (at, out) in out.iter_mut().enumerate() {
                    let row = block * BLOCK + at;
                    let weight = weights.map_or(1.0, |w| f64::from(w[row]));
                    let [gradient, hessian] =
                        self.derivatives(f64::from(targets[row]), scores[row]);
                    *out = [(weight * gradient) as f32, (weight * hessian) as f32];
                }
            });
    }

    /// Returns the gradient and the Hessian of a loss that has one score. The pinball loss has
    /// no Hessian; with 1, leaves are found as by the squared error of the gradients.
    pub(crate) fn derivatives(self, target: f64, score: f64) -> [f64; 2] {
        match self {
            Self::Squared => [score - target, 1.0],
            Self::Logistic => {
                let p = sigmoid(score);
                [p - target, p * (1.0 - p)]
            }
            Self::Poisson => {
                let rate = rate(score);
                [rate - target, rate]
            }
            Self::Tweedie(power) => {
                let rate = rate(score);
                let (pull, push) = (target * rate.powf(1.0 - power), rate.powf(2.0 - power));
                [push - pull, (2.0 - power) * push + (power - 1.0) * pull]
            }
            Self::Quantile(level) if score >= target => [1.0 - level, 1.0],
            Self::Quantile(level) => [-level, 1.0],
            Self::LambdaRank(_) | Self::Softmax(_) => [0.0, 0.0],
        }
    }

    /// Returns the mean loss of rows.
    pub(crate) fn mean(self, targets: &[f32], weights: Option<&[f32]>, scores: &[f64]) -> f64 {
        let width = self.scores();
        let block = |(rows, scores): (&[f32], &[f64]), from: usize| {
            let (mut sum, mut whole) = (0.0, 0.0);
            for (at, target) in rows.iter().enumerate() {
                let weight = weights.map_or(1.0, |w| f64::from(w[from + at]));
                sum += weight * self.of(*target, &scores[at * width..][..width]);
                whole += weight;
            }
            (sum, whole)
        };

        let blocks: Vec<(f64, f64)> = targets
            .par_chunks(BLOCK)
            .zip(scores.par_chunks(BLOCK * width))
            .enumerate()
            .map(|(at, rows)| block(rows, at * BLOCK))
            .collect();
        let (sum, whole) = blocks
            .iter()
            .fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        sum / whole.max(f64::MIN_POSITIVE)
    }

    fn of(self, target: f32, scores: &[f64]) -> f64 {
        let truth = f64::from(target);
        match self {
            Self::Squared => (scores[0] - truth).powi(2) / 2.0,
            Self::Poisson => poisson_deviance(truth, rate(scores[0])) / 2.0,
            Self::Tweedie(power) => tweedie_deviance(truth, rate(scores[0]), power) / 2.0,
            Self::Quantile(level) => pinball(truth, scores[0], level),
            Self::LambdaRank(_) => 0.0,
            // ln(1 + e^s) − t·s, without overflow.
            Self::Logistic => {
                scores[0].max(0.0) + (-scores[0].abs()).exp().ln_1p() - truth * scores[0]
            }
            Self::Softmax(_) => {
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = scores.iter().map(|s| (s - most).exp()).sum();
                sum.ln() + most - scores[target as usize]
            }
        }
    }

    /// Converts scores to the value, or to a probability for each class.
    pub(crate) fn answer(self, scores: &[f64]) -> Vec<f64> {
        match self {
            Self::Squared | Self::Quantile(_) | Self::LambdaRank(_) => scores.to_vec(),
            Self::Poisson | Self::Tweedie(_) => vec![rate(scores[0])],
            Self::Logistic => {
                let p = sigmoid(scores[0]);
                vec![1.0 - p, p]
            }
            Self::Softmax(_) => {
                let mut shares = scores.to_vec();
                softmax(&mut shares);
                shares
            }
        }
    }
}

/// Returns the rate of a log rate.
fn rate(score: f64) -> f64 {
    score.clamp(-LOG_RATE_MAX, LOG_RATE_MAX).exp()
}

/// Returns the Poisson deviance of a count at a rate.
pub(crate) fn poisson_deviance(truth: f64, rate: f64) -> f64 {
    let of_count = if truth > 0.0 {
        truth * (truth / rate).ln()
    } else {
        0.0
    };
    2.0 * (of_count - truth + rate)
}

/// Returns the Tweedie deviance of an amount at a mean, for a power between 1 and 2.
pub(crate) fn tweedie_deviance(truth: f64, mean: f64, power: f64) -> f64 {
    let (one, two) = (1.0 - power, 2.0 - power);
    2.0 * (truth.powf(two) / (one * two) - truth * mean.powf(one) / one + mean.powf(two) / two)
}

/// Returns the pinball loss of a value at a quantile.
pub(crate) fn pinball(truth: f64, value: f64, level: f64) -> f64 {
    if truth >= value {
        level * (truth - value)
    } else {
        (1.0 - level) * (value - truth)
    }
}

/// Returns the quantile of pairs of a value and its weight: the least value whose share of the
/// weights reaches the level. Sorts the pairs; 0 if there are none.
pub(crate) fn quantile(pairs: &mut [(f64, f64)], level: f64) -> f64 {
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let whole: f64 = pairs.iter().map(|(_, weight)| weight).sum();
    let mut passed = 0.0;
    for (value, weight) in pairs.iter() {
        passed += weight;
        if passed >= (level - 1e-12) * whole && *weight > 0.0 {
            return *value;
        }
    }
    pairs.last().map_or(0.0, |(value, _)| *value)
}

fn sigmoid(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}

fn softmax(scores: &mut [f64]) {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|s| *s = (*s - most).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|s| *s /= sum);
}
