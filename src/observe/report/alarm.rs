//! Alarm events: the data of the CloudEvent that a webhook receives, and the
//! body of an alarm in the store. Owns their JSON form; raises no alarm.

use super::column::{BaselineSource, DriftTest, SlicePart, number_or_null};
use super::incident::Incident;
use crate::observe::drift::layout::Side;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Kind of a drift alarm.
pub const DRIFT_KIND: &str = "ortus.drift.alarm";
/// Kind of a performance alarm.
pub const PERFORMANCE_KIND: &str = "ortus.performance.alarm";

/// The data of an alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AlarmEvent {
    /// Alarms of one cause.
    Incident(Box<Incident>),
    /// Inputs or outputs drift: one test, as servers up to version 0.1 sent it.
    Drift(Box<DriftAlarm>),
    /// The model is wrong more often than allowed.
    Performance(PerformanceAlarm),
    /// An alarm that another program sent, or a newer Ortus.
    Other(OtherAlarm),
}

/// A test of a column that began to alarm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftAlarm {
    /// Name of the model.
    pub model: String,
    /// Number of the version.
    pub version: u64,
    /// Digest of the model file.
    pub digest: String,
    /// Name of the column.
    pub column: String,
    /// Input or output.
    pub side: Side,
    /// When the alarm was raised.
    pub time: DateTime<Utc>,
    /// Origin of the baseline.
    pub baseline: BaselineSource,
    /// Feature importance, where the baseline has it.
    pub importance: Option<f64>,
    /// The test.
    pub test: DriftTest,
    /// Significance level of the test.
    pub alpha: f64,
    /// Servers whose windows were added up. Absent where it is one server's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<usize>,
}

/// A model that is wrong more often than allowed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerformanceAlarm {
    /// Name of the model.
    pub model: String,
    /// Number of the version.
    pub version: u64,
    /// Digest of the model file.
    pub digest: String,
    /// The part of the rows that it is of. Absent where it is of all rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<SlicePart>,
    /// When the alarm was raised.
    pub time: DateTime<Utc>,
    /// Hours over which rows were counted.
    pub span_hours: u64,
    /// Rows with a label.
    pub rows: u64,
    /// Rows of them that were wrong.
    pub lost: u64,
    /// Share of rows that may be wrong.
    pub allowed: f64,
    /// Strength of the evidence: the factor by which the stake grew.
    #[serde(deserialize_with = "number_or_null")]
    pub evidence: f64,
    /// Significance level.
    pub alpha: f64,
}

/// An alarm of a form that this version does not know. It is stored as it came.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OtherAlarm {
    /// Name of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Number of the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// Name of the column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl AlarmEvent {
    /// Returns the name of the model.
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Incident(incident) => Some(&incident.model),
            Self::Drift(alarm) => Some(&alarm.model),
            Self::Performance(alarm) => Some(&alarm.model),
            Self::Other(alarm) => alarm.model.as_deref(),
        }
    }

    /// Returns the number of the version.
    pub fn version(&self) -> Option<u64> {
        match self {
            Self::Incident(incident) => Some(incident.version),
            Self::Drift(alarm) => Some(alarm.version),
            Self::Performance(alarm) => Some(alarm.version),
            Self::Other(alarm) => alarm.version,
        }
    }

    /// Returns the column that drifts.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Incident(incident) => Some(&incident.columns.first()?.name),
            Self::Drift(alarm) => Some(&alarm.column),
            Self::Performance(_) => None,
            Self::Other(alarm) => alarm.column.as_deref(),
        }
    }

    /// Returns the test that began to alarm.
    pub fn test(&self) -> Option<&DriftTest> {
        match self {
            Self::Drift(alarm) => Some(&alarm.test),
            Self::Incident(_) | Self::Performance(_) | Self::Other(_) => None,
        }
    }
}
