//! Converts the batches of a query to whole columns, by type.

use crate::frame::{Coder, MISSING, WordCodes, WordList};
use crate::values::{ColumnMemory, ValueWriter, Values};
use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use ortus::core::error::short;
use ortus::core::error::{Error, Result};
use std::sync::Arc;

/// A column of the query's result.
#[derive(Clone)]
pub(super) struct Gathered {
    pub name: String,
    pub values: Raw,
    /// Whether it held booleans.
    pub was_truth: bool,
    /// Whether it held integers.
    pub was_whole: bool,
    /// The first integer that FP64 rounds.
    pub first_inexact: Option<i128>,
}

/// Its values.
#[derive(Clone)]
pub(super) enum Raw {
    /// NaN if missing.
    Numbers(Values<f64>),
    Words(WordCodes),
    /// Microseconds since 1970; `i64::MIN` if missing.
    Times(Vec<i64>),
}

/// A column that grows batch by batch.
pub(super) struct Growing {
    name: String,
    kind: DataType,
    values: GrowingColumn,
    first_inexact: Option<i128>,
}

enum GrowingColumn {
    Numbers(ValueWriter<f64>),
    Words(WordList, ValueWriter<u32>),
    Times(Vec<i64>),
}

/// The largest integer up to which FP64 is exact.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// The value of a missing time.
pub(super) const NO_TIME: i64 = i64::MIN;

/// Whether a model can take a column of a type, or a specification can name it as a time.
pub(super) fn is_plain(kind: &DataType) -> bool {
    Growing::new("", kind, &ColumnMemory::of(0)).is_ok()
}

impl Growing {
    /// Starts a column. Refuses types that a model cannot take.
    pub(super) fn new(name: &str, kind: &DataType, share: &Arc<ColumnMemory>) -> Result<Self> {
        let numbers = || GrowingColumn::Numbers(ValueWriter::new(share.clone()));
        let values = match plain(kind) {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                GrowingColumn::Words(WordList::default(), ValueWriter::new(share.clone()))
            }
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => {
                GrowingColumn::Times(Vec::new())
            }
            DataType::Boolean | DataType::Null => numbers(),
            kind if kind.is_numeric() => numbers(),
            _ => {
                return Err(Error::invalid(format!(
                    "column '{}' is of type {kind}, which a model cannot take; leave it out of the query, or convert it to a number or text",
                    short(name)
                )));
            }
        };

        Ok(Self {
            name: name.to_owned(),
            kind: kind.clone(),
            values,
            first_inexact: None,
        })
    }

    /// Adds a batch.
    pub(super) fn push(&mut self, array: &ArrayRef) -> Result<()> {
        let name = &self.name;
        let to = |kind: &DataType| {
            cast(array, kind).map_err(|e| Error::invalid(format!("column '{}': {e}", short(name))))
        };
        match &mut self.values {
            GrowingColumn::Numbers(all) => {
                if self.first_inexact.is_none() {
                    self.first_inexact = first_inexact(array);
                }
                let array = to(&DataType::Float64)?;
                all.extend(
                    array
                        .as_primitive::<Float64Type>()
                        .iter()
                        .map(|v| v.unwrap_or(f64::NAN)),
                )?;
            }
            GrowingColumn::Words(words, codes) => {
                let array = to(&DataType::Utf8)?;
                let array = array.as_string::<i32>();
                codes.extend(array.iter().map(|word| words.code(word)))?;
            }
            GrowingColumn::Times(all) => {
                let array = to(&DataType::Timestamp(TimeUnit::Microsecond, None))?;
                all.extend(
                    array
                        .as_primitive::<TimestampMicrosecondType>()
                        .iter()
                        .map(|v| v.unwrap_or(NO_TIME)),
                );
            }
        }

        Ok(())
    }

    pub(super) fn finish(self) -> Result<Gathered> {
        let kind = plain(&self.kind);
        let (was_truth, was_whole) = (*kind == DataType::Boolean, kind.is_integer());
        let values = match self.values {
            GrowingColumn::Numbers(all) => Raw::Numbers(all.finish()?),
            GrowingColumn::Words(words, codes) => Raw::Words(words.with(codes.finish()?)),
            GrowingColumn::Times(all) => Raw::Times(all),
        };

        Ok(Gathered {
            name: self.name,
            values,
            was_truth,
            was_whole,
            first_inexact: self.first_inexact,
        })
    }
}

/// Returns the first integer that FP64 rounds.
fn first_inexact(array: &ArrayRef) -> Option<i128> {
    let is_inexact = |v: &i128| (*v as f64) as i128 != *v;
    if let Some(all) = array.as_primitive_opt::<Int64Type>() {
        return all.iter().flatten().map(i128::from).find(is_inexact);
    }
    let all = array.as_primitive_opt::<UInt64Type>()?;
    all.iter().flatten().map(i128::from).find(is_inexact)
}

/// Returns the type of a dictionary's values.
fn plain(kind: &DataType) -> &DataType {
    match kind {
        DataType::Dictionary(_, of) => plain(of),
        kind => kind,
    }
}

/// Converts integers to text.
pub(super) fn integers_as_words(all: &[f64]) -> WordCodes {
    let mut coder = Coder::default();
    for value in all {
        // −0 is 0.
        coder.push(
            (!value.is_nan())
                .then(|| format!("{}", value + 0.0))
                .as_deref(),
        );
    }

    coder.finish()
}

impl Gathered {
    /// Returns the rows at these indices.
    pub(super) fn take(&self, rows: &[u32]) -> Self {
        let values = match &self.values {
            Raw::Numbers(all) => Raw::Numbers(all.take(rows)),
            Raw::Times(all) => Raw::Times(rows.iter().map(|row| all[*row as usize]).collect()),
            Raw::Words(words) => Raw::Words(WordCodes {
                codes: words.codes.take(rows),
                list: words.list.clone(),
            }),
        };
        Self {
            values,
            name: self.name.clone(),
            ..*self
        }
    }

    /// Converts to words, each of which is a category. Refuses numbers that are not integers, and times.
    pub(super) fn categories(self) -> Result<WordCodes> {
        let name = self.name;
        match self.values {
            Raw::Numbers(all) if all.iter().any(|v| v.abs() > EXACT) => {
                Err(Error::invalid(format!(
                    "'{}' holds integers beyond 2^53; CAST it to VARCHAR in the query",
                    short(&name)
                )))
            }
            Raw::Numbers(all) if self.was_whole => Ok(integers_as_words(&all)),
            Raw::Words(words) => Ok(words),
            Raw::Numbers(_) | Raw::Times(_) => Err(Error::invalid(format!(
                "'{}' cannot be a category: it is not text and not integers",
                short(&name)
            ))),
        }
    }

    /// Converts to groups; each row without one is its own group.
    pub(super) fn groups(self) -> Vec<u32> {
        let words = match self.values {
            Raw::Words(words) => words,
            Raw::Numbers(all) => integers_as_words(&all),
            Raw::Times(all) => {
                let mut coder = Coder::default();
                all.iter()
                    .for_each(|t| coder.push((*t != NO_TIME).then(|| t.to_string()).as_deref()));
                coder.finish()
            }
        };

        let alone = words.list.len() as u32..;
        let mut codes = words.codes.to_vec();
        alone
            .zip(codes.iter_mut().filter(|c| **c == MISSING))
            .for_each(|(next, code)| *code = next);
        codes
    }

    /// Converts to weights.
    pub(super) fn weights(self) -> Result<Vec<f32>> {
        let name = short(&self.name).to_owned();
        let Raw::Numbers(all) = self.values else {
            return Err(Error::invalid(format!(
                "'{name}', the weight, is not a number"
            )));
        };

        match all
            .iter()
            .position(|w| !(w.is_finite() && *w >= 0.0 && *w <= 1e30))
        {
            Some(row) => Err(Error::invalid(format!(
                "'{name}' of row {row} is {}; a weight must be a finite number of 0 or more",
                all[row]
            ))),
            None if all.iter().all(|w| *w == 0.0) => Err(Error::invalid(format!(
                "'{name}', the weight, is 0 in every row; at least one must be above 0"
            ))),
            None => Ok(all.iter().map(|w| *w as f32).collect()),
        }
    }
}
