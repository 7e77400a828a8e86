//! An incident: alarms of one cause, told as one story. Owns the JSON form, which a webhook receives
//! and the store keeps; decides nothing.

use super::column::{BaselineSource, BreachTest, ColumnSummary, DriftTest, SlicePart};
use crate::observe::drift::layout::Side;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Prefix of the kinds of incident events.
pub const INCIDENT_KIND: &str = "ortus.incident.";

/// What happened to an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentPhase {
    /// The first alarm started.
    Opened,
    /// More columns are in alarm.
    Updated,
    /// The last alarm ended.
    Closed,
}

impl IncidentPhase {
    /// Returns the kind of the event.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Opened => "ortus.incident.opened",
            Self::Updated => "ortus.incident.updated",
            Self::Closed => "ortus.incident.closed",
        }
    }
}

/// Alarms of one cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Incident {
    /// Its id.
    pub incident: String,
    /// Name of the model.
    pub model: String,
    /// Number of the version.
    pub version: u64,
    /// Digest of the model file.
    pub digest: String,
    /// What happened last.
    pub phase: IncidentPhase,
    /// When the first alarm started.
    pub opened: DateTime<Utc>,
    /// When it changed last.
    pub updated: DateTime<Utc>,
    /// When the last alarm ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<DateTime<Utc>>,
    /// Origin of the baseline.
    pub baseline: BaselineSource,
    /// What happened, in one sentence.
    pub summary: String,
    /// What it does to the model's answers, as far as that is known.
    pub effect: String,
    /// What to do.
    pub advice: Vec<String>,
    /// Columns in alarm, those that matter most first; at most 20.
    pub columns: Vec<IncidentColumn>,
    /// All columns that were in alarm.
    pub columns_total: usize,
    /// Servers whose windows were added up. Absent where it is one server's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub servers: Option<usize>,
}

/// A column of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IncidentColumn {
    /// Name of the column.
    pub name: String,
    /// Input or output.
    pub side: Side,
    /// The part of the rows that it is of. Absent where it is of all rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<SlicePart>,
    /// Feature importance, where the baseline has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<f64>,
    /// What happened to it, in one sentence.
    pub summary: String,
    /// Its values in the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<ColumnSummary>,
    /// Its values in the last windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<ColumnSummary>,
    /// Drift tests in alarm.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<DriftTest>,
    /// Contract alarms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaches: Vec<BreachTest>,
}
