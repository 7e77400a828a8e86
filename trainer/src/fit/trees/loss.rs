//! Loss functions: the mean over rows, and the gradient and the Hessian by the
//! score of each. Pure.

#[cfg(test)]
mod tests;

use rayon::prelude::*;

/// Rows of a block that one thread computes.
const BLOCK: usize = 16_384;

/// A loss function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Half the squared error, for regression.
    Squared,
    /// The log loss of two classes.
    Logistic,
    /// The log loss of more classes.
    Softmax(usize),
}

impl Loss {
    /// Returns the number of scores of a row.
    pub(crate) fn scores(self) -> usize {
        match self {
            Self::Squared | Self::Logistic => 1,
            Self::Softmax(classes) => classes,
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
        let width = self.scores();
        let mut all = vec![vec![[0.0; 2]; targets.len()]; width];
        match self {
            Self::Squared | Self::Logistic => {
                all[0]
                    .par_chunks_mut(BLOCK)
                    .enumerate()
                    .for_each(|(block, out)| {
                        for (at, out) in out.iter_mut().enumerate() {
                            let row = block * BLOCK + at;
                            let weight = weights.map_or(1.0, |w| f64::from(w[row]));
                            let (target, score) = (f64::from(targets[row]), scores[row]);
                            let (gradient, hessian) = if self == Self::Squared {
                                (score - target, 1.0)
                            } else {
                                let p = sigmoid(score);
                                (p - target, p * (1.0 - p))
                            };
                            *out = [(weight * gradient) as f32, (weight * hessian) as f32];
                        }
                    });
            }
            Self::Softmax(classes) => {
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
            }
        }

        all
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
        match self {
            Self::Squared => (scores[0] - f64::from(target)).powi(2) / 2.0,
            // ln(1 + e^s) − t·s, without overflow.
            Self::Logistic => {
                scores[0].max(0.0) + (-scores[0].abs()).exp().ln_1p()
                    - f64::from(target) * scores[0]
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
            Self::Squared => scores.to_vec(),
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

fn sigmoid(score: f64) -> f64 {
    1.0 / (1.0 + (-score).exp())
}

fn softmax(scores: &mut [f64]) {
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    scores.iter_mut().for_each(|s| *s = (*s - most).exp());
    let sum: f64 = scores.iter().sum();
    scores.iter_mut().for_each(|s| *s /= sum);
}
