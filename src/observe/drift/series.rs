//! The values of a column in the order of rows, from which its baseline is made.

pub(crate) mod saved;

use super::cells::cut;
use super::layout::{ColumnPlace, ColumnValue, RowPart};
use crate::core::tensor::DType;

/// The values of a column.
#[derive(Clone, Debug)]
pub(crate) enum ColumnSeries {
    Numbers(Vec<f64>),
    /// Integers, which may stand for categories such as classes and flags.
    Whole(Vec<i64>),
    Words(Vec<String>),
}

impl ColumnSeries {
    /// Returns an empty series for the values of a column.
    pub(crate) fn of(place: &ColumnPlace) -> Self {
        match place.dtype {
            DType::String => Self::Words(Vec::new()),
            DType::F64 | DType::F32 | DType::F16 | DType::BF16 => Self::Numbers(Vec::new()),
            _ if !matches!(place.part, RowPart::Element(_)) => Self::Numbers(Vec::new()),
            _ => Self::Whole(Vec::new()),
        }
    }

    /// Returns how many rows it has.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Numbers(values) => values.len(),
            Self::Whole(values) => values.len(),
            Self::Words(words) => words.len(),
        }
    }

    /// Tells whether another one has values of the same kind.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// Returns the value of a row as a number; NaN for a missing one and for words.
    pub(crate) fn number(&self, row: usize) -> f64 {
        match self {
            Self::Numbers(values) => values.get(row).copied().unwrap_or(f64::NAN),
            Self::Whole(values) => values.get(row).map_or(f64::NAN, |v| *v as f64),
            Self::Words(_) => f64::NAN,
        }
    }

    /// Calls `each` with every value.
    pub(crate) fn each<'s>(&'s self, mut each: impl FnMut(ColumnValue<'s>)) {
        match self {
            Self::Numbers(values) => values.iter().for_each(|v| each(ColumnValue::Number(*v))),
            Self::Whole(values) => values.iter().for_each(|v| each(ColumnValue::Whole(*v))),
            Self::Words(words) => words.iter().for_each(|w| each(ColumnValue::Word(w))),
        }
    }

    /// Returns some of the rows, in the order in which they are listed.
    pub(crate) fn chosen(&self, rows: &[u32]) -> Self {
        fn of<T: Clone>(values: &[T], rows: &[u32]) -> Vec<T> {
            let values = rows.iter().filter_map(|row| values.get(*row as usize));
            values.cloned().collect()
        }
        match self {
            Self::Numbers(values) => Self::Numbers(of(values, rows)),
            Self::Whole(values) => Self::Whole(of(values, rows)),
            Self::Words(words) => Self::Words(of(words, rows)),
        }
    }

    /// Adds a value of its kind.
    pub(crate) fn push(&mut self, value: &ColumnValue<'_>) {
        match (self, value) {
            (Self::Numbers(values), ColumnValue::Number(v)) => values.push(*v),
            (Self::Numbers(values), ColumnValue::Whole(v)) => values.push(*v as f64),
            (Self::Whole(values), ColumnValue::Whole(v)) => values.push(*v),
            (Self::Words(words), ColumnValue::Word(word)) => words.push(cut(word).to_owned()),
            // A number beyond what whole ones reach: as near as they come.
            (Self::Whole(values), ColumnValue::Number(v)) => values.push(*v as i64),
            _ => {}
        }
    }
}
