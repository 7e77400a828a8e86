//! Slices of rows by the value of one input column: its categories and codes, or the quartiles of its
//! numbers in the baseline. Bounded.

pub mod choice;
#[cfg(test)]
mod tests;

use super::baseline::{BaselineColumn, ValueDistribution};
use super::cells::cut;
use super::layout::{ColumnPlace, ColumnValue, each_value};
use crate::core::tensor::{DType, Tensor};
use std::collections::HashMap;

/// Most categories of a slice with a part of their own; the others share one part.
pub(crate) const WORDS_MAX: usize = 16;
/// The part of rows without a value.
const MISSING: &str = "missing";
/// The part of the other categories.
const OTHER: &str = "other";

/// Groups rows by one column.
pub(crate) struct Slicer {
    place: ColumnPlace,
    parts: SliceParts,
}

/// The parts of a slice.
struct SliceParts {
    by: Grouping,
    /// The parts so far; the first is that of missing values.
    names: Vec<String>,
}

/// How the value of a row decides its part.
enum Grouping {
    /// Boundaries between the parts of numbers.
    Cuts(Vec<f64>),
    /// The part of each category.
    Words(HashMap<String, usize>),
}

impl Slicer {
    /// Groups by a column. Without a baseline, its numbers are one part.
    pub(crate) fn new(place: ColumnPlace, baseline: Option<&BaselineColumn>) -> Self {
        let parts = SliceParts::of(baseline, is_float(place.dtype));
        Self { place, parts }
    }

    /// Returns the name of its column.
    pub(crate) fn column(&self) -> &str {
        &self.place.name
    }

    /// Returns the name of a part.
    pub(crate) fn name(&self, part: usize) -> &str {
        &self.parts.names[part]
    }

    /// Returns the part of a name; a new one of categories is added.
    pub(crate) fn named(&mut self, name: &str) -> Option<usize> {
        self.parts.named(name)
    }

    /// Returns the part of a value.
    pub(crate) fn part(&mut self, value: &ColumnValue<'_>) -> usize {
        self.parts.part(value)
    }

    /// Calls `each` with the part of every row.
    pub(crate) fn each_part(&mut self, inputs: &[Tensor], mut each: impl FnMut(usize)) {
        let Self { place, parts } = self;
        if let Some(tensor) = inputs.get(place.tensor) {
            each_value(place, tensor, |value| each(parts.part(&value)));
        }
    }

    /// Returns the name of the part of each row.
    pub(crate) fn parts(&mut self, inputs: &[Tensor]) -> Vec<String> {
        let mut parts = Vec::new();
        self.each_part(inputs, |part| parts.push(part));
        let name = |part: usize| self.name(part).to_owned();
        parts.into_iter().map(name).collect()
    }
}

impl SliceParts {
    fn of(baseline: Option<&BaselineColumn>, is_float: bool) -> Self {
        let codes: Vec<String>;
        let words: Option<Vec<&str>> = match baseline.map(|column| &column.values) {
            Some(ValueDistribution::Numbers(numbers))
                if numbers.codes.is_empty() || numbers.codes.len() > WORDS_MAX =>
            {
                None
            }
            Some(ValueDistribution::Numbers(numbers)) => {
                codes = numbers.codes.iter().map(ToString::to_string).collect();
                Some(codes.iter().map(String::as_str).collect())
            }
            Some(ValueDistribution::Words(listed)) => Some(
                listed.words[..listed.words.len().min(WORDS_MAX)]
                    .iter()
                    .map(|(word, _)| word.as_str())
                    .collect(),
            ),
            None if is_float => None,
            None => Some(Vec::new()),
        };

        let mut names = vec![MISSING.to_owned()];
        let by = if let Some(words) = words {
            names.extend(words.iter().map(|word| (*word).to_owned()));
            Grouping::Words(names.iter().cloned().zip(0..).skip(1).collect())
        } else {
            let cuts = baseline.map(quartiles).unwrap_or_default();
            names.extend((0..=cuts.len()).map(|at| interval(&cuts, at)));
            Grouping::Cuts(cuts)
        };
        Self { by, names }
    }

    fn named(&mut self, name: &str) -> Option<usize> {
        if let Some(part) = self.names.iter().position(|known| known == name) {
            return Some(part);
        }
        let Grouping::Words(known) = &mut self.by else {
            return None;
        };
        known.insert(name.to_owned(), self.names.len());
        self.names.push(name.to_owned());
        Some(self.names.len() - 1)
    }

    fn part(&mut self, value: &ColumnValue<'_>) -> usize {
        let number = match value {
            ColumnValue::Number(v) if v.is_nan() => return 0,
            ColumnValue::Word("") => return 0,
            ColumnValue::Number(v) => *v,
            ColumnValue::Whole(v) => *v as f64,
            ColumnValue::Word(word) => return self.word(cut(word)),
        };
        if let Grouping::Cuts(cuts) = &self.by {
            // `(a, b]`, as in cells.
            return 1 + cuts.partition_point(|edge| number > *edge);
        }
        match value {
            ColumnValue::Whole(v) => self.word(&v.to_string()),
            _ => self.word(&number.to_string()),
        }
    }

    /// Returns the part of a category; of a new one, as long as there is room.
    fn word(&mut self, word: &str) -> usize {
        let Grouping::Words(known) = &mut self.by else {
            return 0;
        };
        if let Some(part) = known.get(word) {
            return *part;
        }
        let name = if known.len() < WORDS_MAX { word } else { OTHER };
        self.named(name).unwrap_or(0)
    }
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
}

/// Returns the quartiles of a column of numbers, as far as its edges tell them.
fn quartiles(column: &BaselineColumn) -> Vec<f64> {
    let ValueDistribution::Numbers(numbers) = &column.values else {
        return Vec::new();
    };
    let whole: u64 = numbers.counts.iter().sum();
    let (mut cuts, mut below) = (Vec::new(), 0);
    for (edge, count) in numbers.edges.iter().zip(&numbers.counts) {
        below += count;
        if below * 4 >= whole * (cuts.len() as u64 + 1) && cuts.len() < 3 && below < whole {
            cuts.push(*edge);
        }
    }
    cuts
}

/// Names the numbers between two boundaries.
fn interval(cuts: &[f64], at: usize) -> String {
    match (at.checked_sub(1).and_then(|i| cuts.get(i)), cuts.get(at)) {
        (None, None) => "all".to_owned(),
        (None, Some(high)) => format!("≤ {high:.4}"),
        (Some(low), Some(high)) => format!("{low:.4} to {high:.4}"),
        (Some(low), None) => format!("> {low:.4}"),
    }
}
