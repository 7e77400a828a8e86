//! What guessing loses: predicting every row by the class shares of the rows learned from, or by their
//! mean or median. A model that loses as much knows nothing. Pure.

#[cfg(test)]
mod tests;

use crate::data::RowTarget;
use crate::judge::{Evaluation, LossMeasure};
use ortus::observe::quality::answer::{RowAnswer, Truth};

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
    /// Compares a model with guessing. `known` are the targets of the rows learned from.
    pub(crate) fn of(known: &RowTarget, places: &[usize], judged: &GuessedModel<'_>) -> Self {
        match known {
            RowTarget::Classes { of, names } => {
                let mut rows = vec![0.0; names.len()];
                of.iter().for_each(|class| rows[*class as usize] += 1.0);
                Self::of_shares(&rows, places, judged)
            }
            RowTarget::Values(values) => Self::of_value(values, judged),
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

    /// Guesses the value that loses least.
    fn of_value(values: &[f32], judged: &GuessedModel<'_>) -> Self {
        let (what, value) = if judged.measure == LossMeasure::SquaredError {
            let sum: f64 = values.iter().map(|v| f64::from(*v)).sum();
            ("guessing the mean", sum / values.len().max(1) as f64)
        } else {
            let mut sorted = values.to_vec();
            sorted.sort_unstable_by(f32::total_cmp);
            let middle = sorted.get(sorted.len() / 2);
            ("guessing the median", middle.map_or(0.0, |v| f64::from(*v)))
        };
        let guessed = RowAnswer::Value(value);
        let loss = |truth| (judged.measure.loss(Some(&guessed), truth), 1.0);
        Self::compared(what, judged.measure, judged, loss)
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
        let (mut sum, mut worse) = (0.0, Vec::with_capacity(truths.len()));
        for (answer, truth) in answers.iter().zip(truths) {
            let (guessed, weight) = loss_and_weight(*truth);
            sum += weight * guessed;
            worse.push(weight * (measure.loss(answer.as_ref(), *truth) - guessed));
        }
        Self {
            what,
            measure,
            loss: sum / truths.len().max(1) as f64,
            worse,
            rarest: None,
        }
    }
}

/// A model with its predictions of the test rows.
pub(crate) struct GuessedModel<'e> {
    pub evaluation: &'e Evaluation,
    /// The measure of the gates.
    pub measure: LossMeasure,
    /// Whether it learned from rows in which every class has the same weight.
    pub is_balanced: bool,
}
