//! Compares the predictions that a training program wrote with those of its model.

#[cfg(test)]
mod tests;

use super::exchange::ProgramPredictions;
use crate::parity::Parity;
use ortus::core::error::{Error, Result};
use ortus::observe::quality::answer::RowAnswer;

/// Compares the predictions of a program with those of its model. Refuses a
/// difference beyond `within`, and another class unless the two are tied.
/// `places` are the indices of the classes in the model.
pub(crate) fn compare(
    claims: &ProgramPredictions,
    answers: &[Option<RowAnswer>],
    places: &[usize],
    within: f64,
) -> Result<Parity> {
    let mut agreement = Agreement {
        claims,
        places,
        within,
        scale: deviation(&claims.values),
        worst: 0.0,
    };
    for (row, answer) in answers.iter().enumerate() {
        agreement
            .check(row, answer.as_ref())
            .map_err(|how| Error::precondition(format!("test row {row}: {how}")))?;
    }

    Ok(Parity {
        rows: answers.len(),
        worst: agreement.worst,
    })
}

/// Returns the standard deviation of the finite values.
fn deviation(values: &[f64]) -> f64 {
    let finite = || values.iter().filter(|value| value.is_finite());
    let count = finite().count().max(1) as f64;
    let mean = finite().sum::<f64>() / count;
    (finite().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt()
}

/// The predictions of a program, compared row by row.
struct Agreement<'a> {
    claims: &'a ProgramPredictions,
    places: &'a [usize],
    within: f64,
    /// The standard deviation of the program's values.
    scale: f64,
    /// The largest difference so far.
    worst: f64,
}

/// Why the predictions of a row differ.
type Difference = String;

impl Agreement<'_> {
    fn check(
        &mut self,
        row: usize,
        answer: Option<&RowAnswer>,
    ) -> std::result::Result<(), Difference> {
        match answer {
            None => Err("the model has no prediction".to_owned()),
            Some(RowAnswer::Value(found)) => self.check_value(row, *found),
            Some(RowAnswer::Class(found, scores)) => self.check_class(row, *found, scores),
        }
    }

    fn check_value(&mut self, row: usize, found: f64) -> std::result::Result<(), Difference> {
        let Some(claimed) = self.claims.values.get(row) else {
            return Err("the program predicted a class, the model a value".to_owned());
        };
        let size = (claimed.abs() + self.scale).max(f64::MIN_POSITIVE);
        if self.is_within((found - claimed).abs() / size) {
            return Ok(());
        }
        Err(format!(
            "the model predicts {found}, the program predicted {claimed}"
        ))
    }

    fn check_class(
        &mut self,
        row: usize,
        found: u32,
        scores: &[f32],
    ) -> std::result::Result<(), Difference> {
        let claimed = self.claims.classes.get(row);
        let Some(claimed) = claimed.and_then(|class| self.places.get(*class as usize)) else {
            return Err("the program predicted a value, the model a class".to_owned());
        };
        let claimed = *claimed as u32;
        self.check_scores(row, scores)?;

        let score = |class: u32| scores.get(class as usize).copied().unwrap_or(0.0);
        let gap = f64::from((score(found) - score(claimed)).abs());
        let is_tied = gap <= self.within && !scores.is_empty();
        if found == claimed || is_tied {
            return Ok(());
        }
        Err(format!(
            "the model predicts class {found}, the program predicted {claimed}"
        ))
    }

    /// Compares the probabilities that the program wrote, if it wrote any.
    fn check_scores(&mut self, row: usize, scores: &[f32]) -> std::result::Result<(), Difference> {
        let claims = self.claims;
        let width = claims.scores.len() / claims.classes.len().max(1);
        for (class, claimed) in claims.scores[row * width..][..width].iter().enumerate() {
            let place = self.places.get(class);
            let found = place.and_then(|at| scores.get(*at)).copied();
            let found = found.unwrap_or(f32::NAN);
            if !self.is_within(f64::from((found - claimed).abs())) {
                return Err(format!(
                    "the model predicts the probability {found}, the program predicted {claimed}"
                ));
            }
        }
        Ok(())
    }

    /// Returns whether a difference is allowed; NaN is not.
    fn is_within(&mut self, difference: f64) -> bool {
        let is_within = difference <= self.within;
        if is_within {
            self.worst = self.worst.max(difference);
        }
        is_within
    }
}
