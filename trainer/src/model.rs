//! A model of a built-in algorithm: its features, its classes, and its trees or
//! weights. The exported graph is compared with it.

use crate::features::Feature;
use crate::fit::linear::Linear;
use crate::fit::mlp::Mlp;
use crate::fit::trees::Booster;
use crate::fit::trees::loss::Loss;
use serde::{Deserialize, Serialize};

/// A trained model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrainedModel {
    pub features: Vec<Feature>,
    /// The classes in the order of their scores; none for regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
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
    /// Returns the loss function, which also defines the meaning of scores.
    pub(crate) fn loss(&self) -> Loss {
        loss(self.classes.as_ref().map(Vec::len))
    }

    /// Predicts a row of numbers and categories by code: a value, or a
    /// probability for each class.
    pub(crate) fn answer(&self, row: &[f32]) -> Vec<f64> {
        let scores = match &self.learned {
            Learned::Trees(booster) => booster.scores(row),
            Learned::Linear(linear) => linear.scores(row),
            Learned::Mlp(mlp) => mlp.scores(row),
        };

        self.loss().answer(&scores)
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

/// Returns the loss function of a task: regression, or a number of classes.
pub(crate) fn loss(classes: Option<usize>) -> Loss {
    match classes {
        None => Loss::Squared,
        Some(2) => Loss::Logistic,
        Some(classes) => Loss::Softmax(classes),
    }
}
