//! Slices of rows by the value of one input column: its categories, or the quartiles of its numbers
//! in the baseline. Bounded.

#[cfg(test)]
mod tests;

use super::baseline::{BaselineColumn, ValueDistribution};
use super::cells::cut;
use super::layout::{ColumnPlace, ColumnValue, each_value};
use crate::core::tensor::Tensor;
use std::collections::BTreeSet;

/// Most categories of a slice with a part of their own; the others share one part.
const WORDS_MAX: usize = 16;
/// The part of the other categories.
const OTHER: &str = "other";

/// Groups rows by one column.
pub(crate) struct Slicer {
    place: ColumnPlace,
    /// Boundaries between the parts of numbers.
    cuts: Vec<f64>,
    words: BTreeSet<String>,
}

impl Slicer {
    /// Groups by a column. Without a baseline, its numbers are one part.
    pub(crate) fn new(place: ColumnPlace, baseline: Option<&BaselineColumn>) -> Self {
        let (mut cuts, mut words) = (Vec::new(), BTreeSet::new());
        match baseline.map(|column| &column.values) {
            Some(ValueDistribution::Numbers(numbers)) => {
                let whole: u64 = numbers.counts.iter().sum();
                let mut below = 0;
                for (edge, count) in numbers.edges.iter().zip(&numbers.counts) {
                    below += count;
                    if below * 4 >= whole * (cuts.len() as u64 + 1)
                        && cuts.len() < 3
                        && below < whole
                    {
                        cuts.push(*edge);
                    }
                }
            }
            Some(ValueDistribution::Words(listed)) => {
                words.extend(listed.words.iter().take(WORDS_MAX).map(|(w, _)| w.clone()))
            }
            None => {}
        }

        Self { place, cuts, words }
    }

    /// Returns the part of each row.
    pub(crate) fn parts(&mut self, inputs: &[Tensor]) -> Vec<String> {
        let Self { place, cuts, words } = self;
        let mut parts = Vec::new();
        let Some(tensor) = inputs.get(place.tensor) else {
            return parts;
        };
        let mut word = |word: &str| {
            if words.contains(word) || words.len() < WORDS_MAX {
                words.insert(word.to_owned());
                return word.to_owned();
            }
            OTHER.to_owned()
        };

        each_value(place, tensor, |value| {
            parts.push(match value {
                ColumnValue::Number(v) if v.is_nan() => "missing".to_owned(),
                ColumnValue::Number(v) => number(cuts, v),
                ColumnValue::Whole(v) if cuts.is_empty() => word(&v.to_string()),
                ColumnValue::Whole(v) => number(cuts, v as f64),
                ColumnValue::Word(text) => word(cut(text)),
            });
        });

        parts
    }
}

/// Returns the part of a number: `(a, b]`, as in cells.
fn number(cuts: &[f64], value: f64) -> String {
    let at = cuts.partition_point(|edge| value > *edge);
    match (at.checked_sub(1).and_then(|i| cuts.get(i)), cuts.get(at)) {
        (None, None) => "all".to_owned(),
        (None, Some(high)) => format!("≤ {high:.4}"),
        (Some(low), Some(high)) => format!("{low:.4} to {high:.4}"),
        (Some(low), None) => format!("> {low:.4}"),
    }
}
