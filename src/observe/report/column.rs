//! What is reported of one column: the results of its tests, and its values in the baseline and in the
//! last windows. Owns the JSON form; does not measure anything.

use crate::observe::drift::alarm::{Against, Metric};
use crate::observe::drift::contract::BreachKind;
use serde::{Deserialize, Serialize};

/// Where a baseline comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaselineSource {
    /// It was published with the version.
    Training,
    /// It was computed from the version's own first rows.
    Own,
    /// Those rows are still being collected.
    Gathering,
}

impl BaselineSource {
    /// Returns its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Own => "own",
            Self::Gathering => "gathering",
        }
    }
}

/// The values of a column over some rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnSummary {
    /// Rows that were counted.
    pub rows: u64,
    /// Share of rows without a value.
    pub missing: f64,
    /// Mean of the finite numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// A value in the middle of the numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median: Option<f64>,
    /// The most frequent category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest: Option<CategoryShare>,
}

/// A part of the rows: those whose value of a column is a category or in a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SlicePart {
    /// The input column that decides the part of a row.
    pub slice: String,
    /// The category, or the range of numbers.
    pub part: String,
}

impl SlicePart {
    /// Says which rows are of the part, as in "region is north".
    pub fn condition(&self) -> String {
        format!("{} is {}", self.slice, self.part)
    }

    /// Names a column of the part, as in "income where region is north".
    pub(crate) fn describe(&self, column: &str) -> String {
        format!("{column} where {}", self.condition())
    }
}

/// A category and its share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CategoryShare {
    /// The category.
    pub value: String,
    /// Its share of the rows.
    pub share: f64,
}

/// How the share of a category changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShareChange {
    /// The category.
    pub value: String,
    /// Share of the rows of the baseline.
    pub then: f64,
    /// Share of the rows of the last windows.
    pub now: f64,
}

/// A contract alarm of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreachTest {
    /// How the contract is violated.
    pub kind: BreachKind,
    /// Share of the rows that violate it.
    pub share: f64,
    /// Lower bound of the share, at the significance level of the test.
    pub lower: f64,
    /// Largest share that raises no alarm.
    pub allowed: f64,
    /// Rows that violate it.
    pub breaches: u64,
    /// All rows that were looked at.
    pub rows: u64,
    /// The time that the rows are of, in seconds.
    pub seconds: u64,
    /// Whether the test is in alarm.
    pub alarm: bool,
}

/// The last result of a test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftTest {
    /// Distance measure.
    pub metric: Metric,
    /// What the window is compared with.
    pub against: Against,
    /// Windows that were added up; 0 for an hour.
    pub span: u32,
    /// The distance.
    #[serde(deserialize_with = "number_or_null")]
    pub value: f64,
    /// Lower bound of the distance: it is at least this with probability 0.99.
    #[serde(deserialize_with = "number_or_null")]
    pub lower: f64,
    /// Lower bound of the distance at the significance level of the test; 0 if it is absent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub certain: f64,
    /// Smallest distance that raises an alarm.
    pub threshold: f64,
    /// Rows of the window.
    pub rows: u64,
    /// Independent rows that carry as much information.
    #[serde(default)]
    pub effective_rows: f64,
    /// Rows of the baseline.
    #[serde(default)]
    pub baseline_rows: u64,
    /// Whether the test is in alarm.
    pub alarm: bool,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// Reads a number. JSON has no infinity and no NaN, and writes them as `null`.
pub(super) fn number_or_null<'d, D: serde::Deserializer<'d>>(
    deserializer: D,
) -> Result<f64, D::Error> {
    Option::deserialize(deserializer).map(|value| value.unwrap_or(f64::NAN))
}
