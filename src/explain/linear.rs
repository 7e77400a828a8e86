//! Linear models with the means of their training rows, and what the features of a row contribute to the scores: the
//! term of the feature less its mean over the training rows (Shapley values for features that do not depend on each
//! other, Lundberg and Lee 2017).

use crate::core::error::{Error, Result};

/// The codes of a category: one byte.
pub const CODES: usize = 256;

/// The weights of a feature.
#[derive(Clone, Debug, PartialEq)]
pub enum LinearTerm {
    /// A standardised number; a missing one has weights of its own.
    Number {
        /// What is subtracted.
        mean: f32,
        /// What it is divided by; positive.
        spread: f32,
        /// The largest size of a standardised number.
        clip: f32,
        /// A weight for each score.
        weights: Vec<f32>,
        /// What a missing number adds to each score.
        missing: Vec<f32>,
    },
    /// What each code adds to each score: code by code, score by score.
    Category(Vec<f32>),
}

/// A feature of a linear model.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearPart {
    /// Its weights.
    pub term: LinearTerm,
    /// The mean of the term over the training rows, for each score.
    pub means: Vec<f64>,
}

impl LinearPart {
    /// Refuses weights of another number of scores, and numbers that are not finite.
    pub(super) fn check(&self, scores: usize) -> Result<()> {
        let finite = |all: &[f32]| all.iter().all(|value| value.is_finite());
        let is_sound = match &self.term {
            LinearTerm::Number {
                mean,
                spread,
                clip,
                weights,
                missing,
            } => {
                weights.len() == scores
                    && missing.len() == scores
                    && finite(weights)
                    && finite(missing)
                    && finite(&[*mean, *spread, *clip])
                    && *spread > 0.0
                    && *clip > 0.0
            }
            LinearTerm::Category(weights) => weights.len() == CODES * scores && finite(weights),
        };
        let are_means = self.means.len() == scores && self.means.iter().all(|m| m.is_finite());
        match is_sound && are_means {
            true => Ok(()),
            false => Err(Error::precondition(
                "a feature of the linear model has weights that are not finite or not of every score",
            )),
        }
    }

    /// Returns what a value adds to a score.
    pub fn term(&self, value: f32, score: usize) -> f64 {
        match &self.term {
            LinearTerm::Number { missing, .. } if value.is_nan() => f64::from(missing[score]),
            LinearTerm::Number {
                mean,
                spread,
                clip,
                weights,
                ..
            } => {
                let scaled = ((value - mean) / spread).clamp(-clip, *clip);
                f64::from(scaled) * f64::from(weights[score])
            }
            LinearTerm::Category(weights) => {
                let scores = self.means.len();
                f64::from(weights[usize::from(value as u8) * scores + score])
            }
        }
    }

    /// Returns what a value contributes to a score.
    pub(super) fn contribution(&self, value: f32, score: usize) -> f64 {
        self.term(value, score) - self.means[score]
    }

    /// Returns the memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        let weights = match &self.term {
            LinearTerm::Number {
                weights, missing, ..
            } => weights.len() + missing.len(),
            LinearTerm::Category(weights) => weights.len(),
        };
        weights * size_of::<f32>() + self.means.len() * size_of::<f64>()
    }
}
