//! Everything that the HTML page about a model shows, as
//! `GET /v1/models/NAME/report` answers it.

use super::compared::ComparedVersion;
use super::drift::{DriftCharts, VersionDrift};
use super::performance::MeasuredPerformance;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The answer to `GET /v1/models/NAME/report`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelReport {
    /// When it was made, in seconds since 1970.
    pub time: u64,
    /// Hours that the charts reach back.
    pub hours: u64,
    /// The served versions.
    pub watched: Vec<VersionReport>,
    /// Performance measured with labels.
    pub measured: Vec<MeasuredPerformance>,
    /// Latency histogram of each version: upper bounds in seconds, and the
    /// requests up to each.
    pub times: BTreeMap<String, Vec<(f64, u64)>>,
    /// The served versions beside each other. Absent if there is only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compared: Vec<ComparedVersion>,
}

/// One version of the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionReport {
    /// Its drift.
    #[serde(flatten)]
    pub drift: VersionDrift,
    /// Its charts.
    pub shown: DriftCharts,
}
