//! The performance report of served versions, as `GET /v1/models/NAME/performance`
//! answers it. Owns its JSON form; does not measure anything.

use super::compared::ComparedVersion;
use crate::core::count::counted;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The answer to `GET /v1/models/NAME/performance`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PerformanceReport {
    /// Versions with labels, or predictions that may receive some.
    pub measured: Vec<MeasuredPerformance>,
    /// Versions whose performance is estimated without labels.
    pub estimated: Vec<VersionEstimate>,
    /// Labels that wait for their prediction, of any model: only the prediction tells which. Absent
    /// if none waits and no answer was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<WaitingLabels>,
    /// The served versions beside each other. Absent if there is only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compared: Vec<ComparedVersion>,
}

/// Labels that wait for their prediction, whose model is not known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WaitingLabels {
    /// How many there are.
    pub labels: u64,
    /// Why they wait.
    pub reasons: Vec<WaitingReason>,
    /// Labels that no longer wait, because too many did. They stay in the store.
    pub forgotten: u64,
    /// When the oldest prediction was made whose answer is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers_since: Option<String>,
    /// Predictions of this run of the server whose answers were not kept, by reason.
    pub lost_predictions: BTreeMap<String, u64>,
}

impl WaitingLabels {
    /// Tells whether there is anything to show.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels == 0 && self.forgotten == 0 && self.lost_predictions.is_empty()
    }
}

/// Why some labels wait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WaitingReason {
    /// `search`, `older`, `queue`, `store` or `unknown`.
    pub code: String,
    /// How many labels.
    pub labels: u64,
    /// What they wait for, in words.
    pub text: String,
}

/// The estimated performance of one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionEstimate {
    /// Number of the version.
    pub version: u64,
    /// Digest of the model file.
    #[serde(default)]
    pub digest: String,
    /// The estimate.
    #[serde(default)]
    pub estimated: Option<EstimatedPerformance>,
}

/// Performance that is estimated without labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EstimatedPerformance {
    /// Rows of the window.
    pub rows: u64,
    /// Measures by name.
    pub measures: BTreeMap<String, f64>,
    /// Half the width of the 95 % interval of accuracy or mean absolute error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Of a classifier: whether its scores were calibrated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibrated: Option<bool>,
    /// What the estimate assumes.
    #[serde(default)]
    pub assumption: String,
    /// Why the estimate cannot be relied on now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

/// The performance of one version, measured with labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasuredPerformance {
    /// Name of the model.
    pub model: String,
    /// Number of the version.
    pub version: u64,
    /// Digest of the model file.
    #[serde(default)]
    pub digest: String,
    /// Length of the window.
    pub window_days: u64,
    /// Predictions of the window.
    pub window: CohortPerformance,
    /// Predictions of each day.
    pub days: Vec<CohortPerformance>,
    /// Labelled rows by the values of the slice columns.
    pub slices: Vec<SlicePerformance>,
    /// Of ten ranges of scores: mean score, share of rows that were right, rows.
    #[serde(default)]
    pub reliability: Vec<(f64, f64, u64)>,
    /// Share of rows that may be wrong without an alarm.
    #[serde(default)]
    pub loss_allowed: Option<f64>,
    /// Whether the model is wrong more often than that.
    pub alarm: bool,
    /// What the alarm is about. Absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm_rows: Option<AlarmRows>,
    /// Labels that wait for their prediction, of any model: only the prediction tells which.
    #[serde(default)]
    pub pending_labels: usize,
    /// Accepted labels that do not fit their prediction, which was found later: the row does not
    /// exist, or the label is no class of the model.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unfit_labels: u64,
}

/// The performance of the predictions of a period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CohortPerformance {
    /// Start of the period, to the hour.
    pub from: String,
    /// Rows that all servers predicted.
    #[serde(default)]
    pub predicted_rows: u64,
    /// Rows with a label.
    pub labelled_rows: u64,
    /// Share of the predicted rows that have a label.
    #[serde(default)]
    pub maturity: Option<f64>,
    /// Measures by name.
    pub measures: BTreeMap<String, f64>,
}

/// The performance of the rows with one value of a slice column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SlicePerformance {
    /// Name of the column.
    pub slice: String,
    /// The value, or range of values.
    pub part: String,
    /// Rows with a label.
    pub rows: usize,
    /// Share of its rows that may be wrong without an alarm. Absent where the baseline has no labelled
    /// rows of the part, or too few.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_allowed: Option<f64>,
    /// Whether the model is wrong more often than that. Absent if it is not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub alarm: bool,
    /// What the alarm is about. Absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alarm_rows: Option<AlarmRows>,
    /// Measures by name.
    pub measures: BTreeMap<String, f64>,
}

/// The labelled rows that an alarm is about, and those of after it started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AlarmRows {
    /// The hour in which it started.
    pub since: String,
    /// The hour with which it ends.
    pub until: String,
    /// Labelled rows that were counted when it started.
    pub rows: u64,
    /// Those of them that were wrong.
    pub wrong: u64,
    /// Share of them that may be wrong.
    pub allowed: f64,
    /// Labelled rows of after it started.
    pub rows_since: u64,
    /// Those of them that were wrong.
    pub wrong_since: u64,
}

impl AlarmRows {
    /// Says when the alarm started and of which rows, and how the rows since are.
    pub(crate) fn told(&self) -> String {
        let share = |wrong: u64, rows: u64| 100.0 * wrong as f64 / rows.max(1) as f64;
        let began = format!(
            "since {}, when {} of {} ({:.1} %) were wrong and up to {:.1} % may be",
            self.since,
            self.wrong,
            counted(self.rows, "labelled row"),
            share(self.wrong, self.rows),
            100.0 * self.allowed
        );
        if self.rows_since == 0 {
            return format!(
                "{began}; no label has come since. It lasts until {}",
                self.until
            );
        }
        let now = share(self.wrong_since, self.rows_since);
        let is_within = match now <= 100.0 * self.allowed {
            true => "within that",
            false => "still more",
        };
        format!(
            "{began}; of {} since, {now:.1} % are wrong, {is_within}. It lasts until {}",
            counted(self.rows_since, "labelled row"),
            self.until
        )
    }
}

impl MeasuredPerformance {
    /// Tells whether the model answers numbers, not classes.
    pub(crate) fn is_of_numbers(&self) -> bool {
        self.window.measures.contains_key("mae")
    }

    /// Says which row counts as wrong, where the model answers numbers; nothing of classes.
    pub(crate) fn wrong_means(&self) -> &'static str {
        if self.is_of_numbers() {
            " A row is wrong if its absolute error is larger than that of 90 % of the baseline's rows."
        } else {
            ""
        }
    }
}

impl SlicePerformance {
    /// Says which rows are of the part, as in "region is north".
    pub(crate) fn condition(&self) -> String {
        format!("{} is {}", self.slice, self.part)
    }
}

/// Tells whether a count is 0: older servers do not report it.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Returns measures with owned names.
pub(crate) fn named(measures: &BTreeMap<&'static str, f64>) -> BTreeMap<String, f64> {
    measures
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect()
}
