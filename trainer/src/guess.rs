//! What guessing loses: predicting every row by the class shares of the rows learned from, or by their
//! mean or median. A model that loses as much knows nothing. Pure.

#[cfg(test)]
mod tests;

use crate::data::RowTarget;
use crate::fit::trees::loss::quantile;
use crate::judge::Evaluation;
use crate::judge::losses::{JudgedRows, constant_losses, mean_of};
use crate::judge::measure::LossMeasure;
use ortus::core::error::Result;
use ortus::observe::quality::answer::Truth;

/// Share of the rows under which a class counts as rare.
pub(crate) const RARE: f64 = 0.05;

/// A model beside guessing, on the test rows.
#[derive(Debug)]
pub(crate) struct Guess {
    /// What is guessed.
    pub what: &'static str,
    pub measure: LossMeasure,
    /// The mean loss of guessing.
    pub loss: f64,
    /// By how much more the model loses in each row.
    pub worse: Vec<f64>,
    /// The share of the rarest class; none for values.
    pub rarest: Option<f64>,
}

impl Guess {
    /// Compares a model with guessing. `known` are the rows learned from.
    pub(crate) fn of(
        known: &KnownTargets<'_>,
        places: &[usize],
        judged: &GuessedModel<'_>,
    ) -> Result<Self> {
        match known.target {
            RowTarget::Classes { of, names } => {
                let mut rows = vec![0.0; names.len()];
                for (row, class) in of.iter().enumerate() {
                    rows[*class as usize] += known.weight(row);
                }
                Ok(Self::of_shares(&rows, places, judged))
            }
            RowTarget::Values(values) => Self::of_value(values, known, judged),
        }
    }

    /// Guesses by the class shares. All measures but the logarithmic loss overlook a rare class.
    fn of_shares(rows: &[f64], places: &[usize], judged: &GuessedModel<'_>) -> Self {
        let (whole, classes) = (rows.iter().sum::<f64>(), rows.len() as f64);
        let loss_and_weight = |truth: Truth| {
            let Truth::Class(truth) = truth else {
                return (0.0, 0.0);
            };
            let class = places.iter().position(|place| *place == truth);
            let rows = class.map_or(0.0, |class| rows[class]);
            if judged.is_balanced {
                // The model learned from rows in which every class is as frequent.
                (classes.ln(), whole / (classes * rows.max(1.0)))
            } else {
                // As if there were one row more of each class, so that no share is 0.
                (-((rows + 1.0) / (whole + classes)).ln(), 1.0)
            }
        };
        let rarest = rows.iter().copied().fold(f64::INFINITY, f64::min) / whole.max(1.0);
        let what = if judged.is_balanced {
            "guessing every class alike, with each class of the same weight"
        } else {
            "guessing by the class shares"
        };
        Self {
            rarest: Some(rarest),
            ..Self::compared(what, LossMeasure::LogLoss, judged, loss_and_weight)
        }
    }

    /// Guesses the value that loses least; for a ranking, one score for all rows.
    fn of_value(
        values: &[f32],
        known: &KnownTargets<'_>,
        judged: &GuessedModel<'_>,
    ) -> Result<Self> {
        let pairs = (0..values.len()).map(|row| (f64::from(values[row]), known.weight(row)));
        let level = |level| quantile(&mut pairs.clone().collect::<Vec<_>>(), level);
        let (what, value) = match judged.measure {
            LossMeasure::SquaredError
            | LossMeasure::PoissonDeviance
            | LossMeasure::TweedieDeviance(_) => {
                let (sum, whole) = pairs.clone().fold((0.0, 0.0), |(sum, whole), (value, w)| {
                    (sum + w * value, whole + w)
                });
                ("guessing the mean", sum / whole.max(f64::MIN_POSITIVE))
            }
            LossMeasure::Pinball(of) => ("guessing the quantile", level(of)),
            LossMeasure::Ndcg(_) => ("guessing the same score for each row", 0.0),
            _ => ("guessing the median", level(0.5)),
        };

        let evaluation = judged.evaluation;
        let guessed = constant_losses(judged.rows, &evaluation.truths, value, judged.measure)?;
        let pairs = evaluation.losses.iter().zip(&guessed);
        Ok(Self {
            what,
            measure: judged.measure,
            loss: mean_of(&guessed, evaluation.weights.as_deref()),
            worse: pairs.map(|(found, guessed)| found - guessed).collect(),
            rarest: None,
        })
    }

    fn compared(
        what: &'static str,
        measure: LossMeasure,
        judged: &GuessedModel<'_>,
        loss_and_weight: impl Fn(Truth) -> (f64, f64),
    ) -> Self {
        let Evaluation {
            answers, truths, ..
        } = judged.evaluation;
        let (mut all, mut worse) = (Vec::new(), Vec::with_capacity(truths.len()));
        for (answer, truth) in answers.iter().zip(truths) {
            let (guessed, weight) = loss_and_weight(*truth);
            all.push(weight * guessed);
            worse.push(weight * (measure.loss(answer.as_ref(), *truth) - guessed));
        }
        Self {
            what,
            measure,
            loss: mean_of(&all, judged.evaluation.weights.as_deref()),
            worse,
            rarest: None,
        }
    }
}

/// The rows learned from.
pub(crate) struct KnownTargets<'k> {
    pub target: &'k RowTarget,
    weights: Option<&'k [f32]>,
    /// The mean weight.
    mean: f64,
}

impl<'k> KnownTargets<'k> {
    pub(crate) fn of(target: &'k RowTarget, weights: Option<&'k [f32]>) -> Self {
        let sum = |all: &[f32]| all.iter().map(|w| f64::from(*w)).sum::<f64>();
        let mean = weights.map_or(1.0, |all| sum(all) / all.len().max(1) as f64);
        Self {
            target,
            weights,
            mean: mean.max(f64::MIN_POSITIVE),
        }
    }

    /// Returns the weight of a row as a share of the mean weight.
    fn weight(&self, row: usize) -> f64 {
        self.weights
            .map_or(1.0, |all| f64::from(all[row]) / self.mean)
    }
}

/// A model with its predictions of the test rows.
pub(crate) struct GuessedModel<'e> {
    pub evaluation: &'e Evaluation,
    pub rows: &'e JudgedRows<'e>,
    /// The measure of the gates.
    pub measure: LossMeasure,
    /// Whether it learned from rows in which every class has the same weight.
    pub is_balanced: bool,
}
