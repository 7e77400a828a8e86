//! The drift report of served versions, as `GET /v1/models/NAME/drift` answers
//! it, and what the HTML page shows beside it. Owns the JSON form of both; does
//! not measure anything.

use super::performance::EstimatedPerformance;
use crate::observe::drift::alarm::{Against, Metric};
use crate::observe::drift::baseline::Calibration;
use crate::observe::drift::contract::Breaches;
use crate::observe::drift::layout::Side;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The answer to `GET /v1/models/NAME/drift`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// The served versions of the model, oldest first.
    pub versions: Vec<VersionDrift>,
}

/// The drift of one served version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionDrift {
    /// Name of the model.
    pub model: String,
    /// Number of the version.
    pub version: u64,
    /// Digest of the model file.
    #[serde(default)]
    pub digest: String,
    /// Origin of the baseline.
    pub baseline: BaselineSource,
    /// Rows that the baseline was computed from.
    pub baseline_rows: u64,
    /// Rows that were predicted.
    pub rows: u64,
    /// Rows that were sampled into windows.
    #[serde(default)]
    pub sampled_rows: u64,
    /// Windows that were closed.
    pub windows: u64,
    /// Significance level of each test.
    #[serde(default)]
    pub alpha: f64,
    /// Tests in alarm.
    pub alarms: usize,
    /// Performance of the last window, estimated without labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimated: Option<EstimatedPerformance>,
    /// Inputs and outputs.
    pub columns: Vec<ColumnDrift>,
    /// Share of the requests that is sampled. Absent from merged reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_share: Option<f64>,
    /// Requests that the monitor dropped. Absent from merged reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_requests: Option<u64>,
    /// Windows of all servers, where several have the same store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<FleetDrift>,
}

/// The same version over the windows of all servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetDrift {
    /// Servers whose windows were added up.
    pub servers: u64,
    /// Their report.
    pub merged: Box<VersionDrift>,
}

/// The last merge of the fleet's windows, as it is stored for every server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetState {
    /// Number of the period that was merged.
    #[serde(default)]
    pub slot: u64,
    /// Length of a period.
    #[serde(default)]
    pub slot_seconds: u64,
    /// Servers whose windows were added up.
    pub servers: u64,
    /// Server that merged them.
    #[serde(default)]
    pub merger: String,
    /// A report of each version.
    pub versions: Vec<VersionDrift>,
}

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

/// The drift of one input or output column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDrift {
    /// Name of the column.
    pub name: String,
    /// Input or output.
    pub side: Side,
    /// Feature importance, where the baseline has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<f64>,
    /// Values outside the contract.
    pub contract: Breaches,
    /// Probable causes.
    #[serde(default)]
    pub hints: Hints,
    /// The last result of each test.
    pub tests: Vec<DriftTest>,
}

/// Probable causes of drift, found without a test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hints {
    /// Every value of the last window is the same, unlike the baseline.
    pub constant: bool,
    /// The last window is this power of ten times the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
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
    /// Lower bound of the distance, at the significance level of the test.
    #[serde(deserialize_with = "number_or_null")]
    pub lower: f64,
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

/// Reads a number. JSON has no infinity and no NaN, and writes them as `null`.
pub(super) fn number_or_null<'d, D: serde::Deserializer<'d>>(
    deserializer: D,
) -> Result<f64, D::Error> {
    Option::deserialize(deserializer).map(|value| value.unwrap_or(f64::NAN))
}

/// What the HTML page shows of one version beside its drift report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DriftCharts {
    /// Distribution of each column.
    pub pictures: Vec<ColumnHistogram>,
    /// The last windows, oldest first.
    pub history: Vec<WindowDrift>,
    /// Calibration curves of the baseline, one for each score.
    #[serde(default)]
    pub calibration: Option<Vec<Calibration>>,
    /// Performance on the baseline's rows.
    #[serde(default)]
    pub performance: Option<BTreeMap<String, f64>>,
}

/// The distribution of a column, in the baseline and in the last windows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnHistogram {
    /// Name of the column.
    pub name: String,
    /// Input or output.
    pub side: Side,
    /// Feature importance, where the baseline has it.
    pub importance: Option<f64>,
    /// Bounds between the cells of a numeric column.
    pub edges: Vec<f64>,
    /// Categories, one cell each; then follow other known ones, and unseen ones.
    pub words: Vec<String>,
    /// Rows of the baseline in each cell.
    pub before: Vec<u64>,
    /// Rows of the baseline without a value.
    pub before_missing: u64,
    /// Rows of the last windows in each cell.
    pub now: Vec<u64>,
    /// Rows of the last windows without a value.
    pub now_missing: u64,
}

/// The result of one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WindowDrift {
    /// When it was closed, in seconds since 1970.
    pub time: u64,
    /// Rows sampled until then.
    #[serde(default)]
    pub rows: u64,
    /// Tests in alarm.
    #[serde(default)]
    pub alarms: usize,
    /// Distance of each column (KS, or the largest change of a category's share)
    /// and PSI. `None` where there were not enough rows.
    #[serde(serialize_with = "serialize_f64")]
    pub columns: Vec<Option<(f32, f32)>>,
    /// Estimated accuracy, or mean absolute error.
    #[serde(default)]
    pub estimated: Option<f64>,
}

/// Writes numbers with all their digits, as readers of 64 bits expect.
fn serialize_f64<S: serde::Serializer>(
    columns: &[Option<(f32, f32)>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let widened = columns
        .iter()
        .map(|column| column.map(|(distance, psi)| (f64::from(distance), f64::from(psi))));
    serializer.collect_seq(widened)
}
