//! What is known of the rows of a baseline beside the values of their columns: their times, and the
//! values of the inputs in all rows that the model learned from.

use std::collections::{BTreeMap, BTreeSet};

/// Most values of a column in all rows that are kept: the days of a year, with room.
const CODES_MAX: usize = 400;
/// Most words of a column in all rows that are kept.
const WORDS_MAX: usize = 4_096;
/// Whole numbers below this are the same in single precision.
const CODE_MAX: f64 = (1 << 24) as f64;

/// What is known of rows.
#[derive(Clone, Debug, Default)]
pub struct RowFacts {
    /// The time of each row, in seconds since 1970; empty where it is not known.
    pub times: Vec<i64>,
    /// The values of inputs in the rows that the model learned from, of which the baseline has others.
    pub learned: BTreeMap<String, LearnedValues>,
}

/// The values of an input in the rows that a model learned from, where they are few.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LearnedValues {
    /// Whole numbers.
    Codes(BTreeSet<i64>),
    /// Words.
    Words(BTreeSet<String>),
}

impl LearnedValues {
    /// Collects numbers; none unless they are few different whole ones. NaN is a missing value.
    pub fn of_numbers(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut codes = BTreeSet::new();
        for value in values.filter(|v| !v.is_nan()) {
            if value.fract() != 0.0 || value.abs() >= CODE_MAX {
                return None;
            }
            codes.insert(value as i64);
            if codes.len() > CODES_MAX {
                return None;
            }
        }
        Some(Self::Codes(codes))
    }

    /// Collects words; none unless they are few different ones. An empty word is a missing value.
    pub fn of_words<'w>(words: impl Iterator<Item = &'w str>) -> Option<Self> {
        let mut known = BTreeSet::new();
        for word in words.filter(|word| !word.is_empty()) {
            if !known.contains(word) {
                known.insert(word.to_owned());
            }
            if known.len() > WORDS_MAX {
                return None;
            }
        }
        Some(Self::Words(known))
    }

    /// Returns whole numbers; none of words.
    pub(crate) fn codes(&self) -> Option<&BTreeSet<i64>> {
        match self {
            Self::Codes(codes) => Some(codes),
            Self::Words(_) => None,
        }
    }

    /// Returns words; none of numbers.
    pub(crate) fn words(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Codes(_) => None,
            Self::Words(words) => Some(words),
        }
    }
}

/// What is known of the rows of one column.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ColumnFacts<'f> {
    /// The time of each row, in seconds since 1970; empty where it is not known.
    pub times: &'f [i64],
    pub learned: Option<&'f LearnedValues>,
}

impl RowFacts {
    /// Returns what is known of an input.
    pub(crate) fn of_input(&self, name: &str) -> ColumnFacts<'_> {
        ColumnFacts {
            learned: self.learned.get(name),
            ..self.of_output()
        }
    }

    /// Returns what is known of an output.
    pub(crate) fn of_output(&self) -> ColumnFacts<'_> {
        ColumnFacts {
            times: &self.times,
            learned: None,
        }
    }

    /// Returns what is known of some of the rows, in the order in which they are listed.
    pub(crate) fn chosen(&self, rows: &[u32]) -> Self {
        let of = |row: &u32| self.times.get(*row as usize).copied();
        Self {
            times: rows.iter().filter_map(of).collect(),
            learned: self.learned.clone(),
        }
    }
}
