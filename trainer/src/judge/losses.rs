//! The losses of judged rows, and the weights with which they count. A ranking has one loss for
//! each query, which its rows share.

#[cfg(test)]
mod tests;

use super::measure::LossMeasure;
use crate::data::{RowTarget, Rows};
use crate::frame::Frame;
use crate::ndcg;
use crate::spec::Fit;
use ortus::core::error::{Error, Result};
use ortus::observe::quality::answer::{RowAnswer, Truth};
use ortus::observe::quality::measure::Measures;
use std::collections::HashMap;

/// The places of the NDCG that are measured of rankings.
const PLACES: [(usize, &str); 2] = [(5, "ndcg_at_5"), (10, "ndcg_at_10")];

/// Labelled rows that a model is judged by.
#[derive(Clone, Copy)]
pub(crate) struct JudgedRows<'r> {
    pub frame: &'r Frame,
    pub target: &'r RowTarget,
    pub weights: Option<&'r [f32]>,
    /// The query of each row, for rankings.
    pub queries: Option<&'r [u32]>,
    /// The measure of what the fit minimises, beside that of the gates.
    pub objective: Option<LossMeasure>,
}

impl<'r> JudgedRows<'r> {
    /// Returns all rows of a dataset.
    pub(crate) fn of(rows: &'r Rows, fit: &Fit) -> Self {
        Self {
            frame: &rows.frame,
            target: &rows.target,
            weights: rows.weight.as_deref(),
            queries: rows.group.as_deref(),
            objective: LossMeasure::of_objective(fit),
        }
    }
}

/// Rows with their predictions and labels.
pub(super) struct AnsweredRows<'a> {
    pub rows: &'a JudgedRows<'a>,
    pub answers: &'a [Option<RowAnswer>],
    pub truths: &'a [Truth],
}

/// The loss of each row, and the weight with which it counts.
pub(crate) struct RowLosses {
    pub losses: Vec<f64>,
    pub weights: Option<Vec<f64>>,
}

impl AnsweredRows<'_> {
    /// Returns the losses of a measure. Refuses NDCG of rows without queries.
    pub(super) fn losses(&self, measure: LossMeasure) -> Result<RowLosses> {
        if let LossMeasure::Ndcg(places) = measure {
            return self.of_rankings(places);
        }
        let pairs = self.answers.iter().zip(self.truths);
        let weights = self.rows.weights;
        Ok(RowLosses {
            losses: pairs
                .map(|(answer, truth)| measure.loss(answer.as_ref(), *truth))
                .collect(),
            weights: weights.map(|all| all.iter().map(|w| f64::from(*w)).collect()),
        })
    }

    /// Returns for each row what the NDCG of its query lacks to 1. The rows of a query have its
    /// weight together, so that the mean over rows is that over queries.
    fn of_rankings(&self, places: usize) -> Result<RowLosses> {
        let pairs = self.answers.iter().zip(self.truths);
        let pair = |(answer, truth): (&Option<RowAnswer>, &Truth)| match (answer, truth) {
            (Some(RowAnswer::Value(value)), Truth::Value(grade)) => (*value, *grade),
            (_, Truth::Value(grade)) => (f64::NAN, *grade),
            _ => (f64::NAN, 0.0),
        };
        ranking_losses(self.rows, &pairs.map(pair).collect::<Vec<_>>(), places)
    }

    /// Returns the values that a measure adds to those of the task.
    pub(super) fn measured(&self, measure: LossMeasure) -> Result<Measures> {
        let names: Vec<(LossMeasure, &'static str)> = match measure {
            LossMeasure::Ndcg(_) => PLACES
                .iter()
                .map(|(places, name)| (LossMeasure::Ndcg(*places), *name))
                .collect(),
            LossMeasure::PoissonDeviance
            | LossMeasure::TweedieDeviance(_)
            | LossMeasure::Pinball(_) => vec![(measure, measure.name())],
            _ => Vec::new(),
        };
        let mut found = Measures::new();
        for (measure, name) in names {
            let losses = self.losses(measure)?;
            found.insert(name, measure.shown(losses.mean()));
        }
        if let LossMeasure::Pinball(_) = measure {
            found.insert("coverage", self.coverage());
        }
        Ok(found)
    }

    /// Returns the share of labels that are not above the prediction.
    fn coverage(&self) -> f64 {
        let is_below = |(answer, truth): (&Option<RowAnswer>, &Truth)| match (answer, truth) {
            (Some(RowAnswer::Value(value)), Truth::Value(truth)) => {
                f64::from(u8::from(truth <= value))
            }
            _ => 0.0,
        };
        let pairs = self.answers.iter().zip(self.truths);
        let weights = self.rows.weights;
        let losses = RowLosses {
            losses: pairs.map(is_below).collect(),
            weights: weights.map(|all| all.iter().map(|w| f64::from(*w)).collect()),
        };
        losses.mean()
    }
}

impl RowLosses {
    pub(crate) fn mean(&self) -> f64 {
        mean_of(&self.losses, self.weights.as_deref())
    }
}

/// Returns the weighted mean of rows.
pub(crate) fn mean_of(values: &[f64], weights: Option<&[f64]>) -> f64 {
    let weight = |row: usize| weights.map_or(1.0, |weights| weights[row]);
    let (sum, whole) =
        (0..values.len()).fold((0.0, 0.0), |(sum, whole), row| match weight(row) > 0.0 {
            true => (sum + weight(row) * values[row], whole + weight(row)),
            false => (sum, whole),
        });
    if whole > 0.0 { sum / whole } else { 0.0 }
}

/// Returns what the NDCG of each row's query lacks to 1, for pairs of a score and a grade. Refuses
/// rows without queries.
fn ranking_losses(rows: &JudgedRows<'_>, pairs: &[(f64, f64)], places: usize) -> Result<RowLosses> {
    let queries = rows.queries.ok_or_else(|| {
        Error::invalid(
            "NDCG needs the query of each row; set 'group' in [schema] to the column that names it",
        )
    })?;
    let mut of_query: HashMap<u32, Vec<usize>> = HashMap::new();
    for (row, query) in queries.iter().enumerate() {
        of_query.entry(*query).or_default().push(row);
    }
    let (mut losses, mut weights) = (vec![0.0; pairs.len()], vec![0.0; pairs.len()]);
    for of in of_query.values() {
        let query: Vec<(f64, f64)> = of.iter().map(|row| pairs[*row]).collect();
        // A query without a grade above 0 has no order, and does not count.
        let Some(found) = ndcg::of(&query, places) else {
            continue;
        };
        let weight = |row: &usize| rows.weights.map_or(1.0, |w| f64::from(w[*row]));
        let n = of.len() as f64;
        let weight = of.iter().map(weight).sum::<f64>() / n;
        for row in of {
            (losses[*row], weights[*row]) = (1.0 - found, weight / n);
        }
    }
    Ok(RowLosses {
        losses,
        weights: Some(weights),
    })
}

/// Returns the loss of each row if the prediction is the same value for all.
pub(crate) fn constant_losses(
    rows: &JudgedRows<'_>,
    truths: &[Truth],
    value: f64,
    measure: LossMeasure,
) -> Result<Vec<f64>> {
    let answers = vec![Some(RowAnswer::Value(value)); truths.len()];
    let answered = AnsweredRows {
        rows,
        answers: &answers,
        truths,
    };
    Ok(answered.losses(measure)?.losses)
}
