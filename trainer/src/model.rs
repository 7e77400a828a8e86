//! A model of a built-in algorithm: its features, its classes, and its trees or
//! weights. The exported graph is compared with it.

use crate::calibration::ScoreCalibration;
use crate::features::Feature;
use crate::fit::linear::Linear;
use crate::fit::mlp::Mlp;
use crate::fit::trees::Booster;
use crate::fit::trees::loss::Loss;
use crate::spec::{Fit, Objective};
use serde::{Deserialize, Serialize};

/// A trained model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainedModel {
    pub features: Vec<Feature>,
    /// The classes in the order of their scores; none for regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// What the fit minimised, which also defines the meaning of scores.
    pub loss: Loss,
    /// How the scores of two classes become probabilities, if not by the logistic function.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<ScoreCalibration>,
    pub learned: Learned,
}

/// The fitted weights or trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Learned {
    Trees(Booster),
    Linear(Linear),
    Mlp(Mlp),
}

impl TrainedModel {
    /// Predicts a row of numbers and categories by code: a value, or a
    /// probability for each class.
    #[cfg(test)]
    pub(crate) fn answer(&self, row: &[f32]) -> Vec<f64> {
        self.answer_of(&self.scores(row))
    }

    /// Returns the prediction of a row with these scores.
    pub(crate) fn answer_of(&self, scores: &[f64]) -> Vec<f64> {
        match &self.calibration {
            None => self.loss.answer(scores),
            Some(calibration) => {
                let p = calibration.probability(scores[0]);
                vec![1.0 - p, p]
            }
        }
    }

    /// Returns the scores of a row, from which its prediction is computed.
    pub(crate) fn scores(&self, row: &[f32]) -> Vec<f64> {
        match &self.learned {
            Learned::Trees(booster) => booster.scores(row),
            Learned::Linear(linear) => linear.scores(row),
            Learned::Mlp(mlp) => mlp.scores(row),
        }
    }

    /// Returns whether the fit converged, or for a perceptron found weights that are
    /// better than chance.
    pub(crate) fn converged(&self) -> bool {
        match &self.learned {
            Learned::Trees(_) => true,
            Learned::Linear(linear) => linear.converged,
            Learned::Mlp(mlp) => mlp.first.converged,
        }
    }

    /// Returns the importance of each feature, as a share of all.
    pub(crate) fn importances(&self) -> Vec<f64> {
        match &self.learned {
            Learned::Trees(booster) => booster.importances(self.features.len()),
            Learned::Linear(linear) => linear.importances(),
            Learned::Mlp(mlp) => mlp.importances(),
        }
    }
}

/// Returns the loss function of a fit to numbers, or to a number of classes.
pub(crate) fn loss(fit: &Fit, classes: Option<usize>) -> Loss {
    match (classes, fit.objective) {
        (Some(2), _) => Loss::Logistic,
        (Some(classes), _) => Loss::Softmax(classes),
        (None, Objective::Auto | Objective::Squared) => Loss::Squared,
        (None, Objective::Poisson) => Loss::Poisson,
        (None, Objective::Tweedie) => Loss::Tweedie(fit.power()),
        (None, Objective::Quantile) => Loss::Quantile(fit.level()),
        (None, Objective::LambdaRank) => Loss::LambdaRank(fit.truncation()),
    }
}
