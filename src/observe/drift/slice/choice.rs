//! Which columns the rows of a baseline are sliced by: those that were named, or a few categories that
//! fit. Pure.

#[cfg(test)]
mod tests;

use super::WORDS_MAX;
use crate::core::error::{Error, Result, short};
use crate::core::names;
use crate::observe::drift::baseline::{BaselineColumn, ValueDistribution};
use crate::observe::drift::kind::ColumnKind;

/// Most columns that a baseline is sliced by.
pub(crate) const SLICES_MAX: usize = 4;
/// Most of them that are chosen without being named.
const CHOSEN_MAX: usize = 2;
/// Fewest rows of a part that gets distributions of its own.
pub(crate) const PART_ROWS_MIN: u64 = 200;

/// The columns that a baseline is sliced by.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum SliceChoice {
    /// Up to two input columns of few categories, the most important ones first.
    #[default]
    Fitting,
    /// These input columns.
    Named(Vec<String>),
}

impl SliceChoice {
    /// Refuses more columns than [`SLICES_MAX`], and one that the model does not have.
    pub(crate) fn check(&self, inputs: &[&str]) -> Result<()> {
        let Self::Named(names) = self else {
            return Ok(());
        };
        if names.len() > SLICES_MAX {
            return Err(Error::invalid(format!(
                "{} slices are too many; a baseline has at most {SLICES_MAX}",
                names.len()
            )));
        }
        match names.iter().find(|name| !inputs.contains(&name.as_str())) {
            Some(unknown) => Err(Error::invalid(format!(
                "the slice '{}' must be an input column{}",
                short(unknown),
                names::instead(unknown, inputs, "the input columns are")
            ))),
            None => Ok(()),
        }
    }

    /// Returns the places of the columns.
    pub(crate) fn find(&self, inputs: &[BaselineColumn]) -> Vec<usize> {
        match self {
            Self::Named(names) => {
                let place = |name: &String| inputs.iter().position(|c| c.name == *name);
                names.iter().filter_map(place).collect()
            }
            Self::Fitting => fitting(inputs),
        }
    }
}

/// Returns the columns whose categories make parts of enough rows: the most important ones first,
/// then those of fewer categories.
fn fitting(inputs: &[BaselineColumn]) -> Vec<usize> {
    let mut found: Vec<usize> = (0..inputs.len())
        .filter(|at| is_fitting(&inputs[*at]))
        .collect();
    let importance = |at: usize| inputs[at].importance.unwrap_or(0.0);
    found.sort_by(|a, b| {
        let by_importance = importance(*b).total_cmp(&importance(*a));
        by_importance.then(categories(&inputs[*a]).cmp(&categories(&inputs[*b])))
    });
    found.truncate(CHOSEN_MAX);
    found
}

fn is_fitting(column: &BaselineColumn) -> bool {
    let steady = matches!(column.kind, ColumnKind::Stationary | ColumnKind::Unsteady);
    let counts: Vec<u64> = match &column.values {
        ValueDistribution::Words(listed) => listed.words.iter().map(|(_, n)| *n).collect(),
        ValueDistribution::Numbers(numbers) if numbers.codes.is_empty() => return false,
        ValueDistribution::Numbers(numbers) => numbers.counts.clone(),
    };
    let large = counts.iter().filter(|n| **n >= PART_ROWS_MIN).count();
    steady && (2..=WORDS_MAX).contains(&categories(column)) && large >= 2
}

/// Returns how many different categories a column has.
fn categories(column: &BaselineColumn) -> usize {
    match &column.values {
        ValueDistribution::Words(listed) if listed.other_rows > 0 => usize::MAX,
        ValueDistribution::Words(listed) => listed.words.len(),
        ValueDistribution::Numbers(numbers) => numbers.codes.len(),
    }
}
