//! The drift report of served versions, as `GET /v1/models/NAME/drift` answers
//! it, and what the HTML page shows beside it. Owns the JSON form of both; does
//! not measure anything.

use super::column::{BaselineSource, BreachTest, ColumnSummary, DriftTest, ShareChange, SlicePart};
use super::incident::Incident;
use super::performance::EstimatedPerformance;
use crate::observe::drift::baseline::Calibration;
use crate::observe::drift::contract::Breaches;
use crate::observe::drift::kind::ColumnKind;
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
    /// Rows that were gathered so far to make the baseline. Only while they are gathered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gathered_rows: Option<u64>,
    /// Rows that make the baseline. Only while they are gathered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_rows: Option<u64>,
    /// Rows of requests that were answered, before a restart too.
    pub rows: u64,
    /// Rows that were sampled into windows, before a restart too.
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
    /// Incidents: the open ones, then those that closed last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub incidents: Vec<Incident>,
    /// How the baseline of a version that made its own differs from the one before, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<String>,
    /// Inputs and outputs.
    pub columns: Vec<ColumnDrift>,
    /// The parts of the slices that the baseline has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartDrift>,
    /// Share of the requests that is sampled. Absent from merged reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_share: Option<f64>,
    /// Share of the rows of the last five minutes that was counted in windows. Absent without rows,
    /// and from merged reports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_share: Option<f64>,
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

/// The drift of one part of the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartDrift {
    /// The part.
    #[serde(flatten)]
    pub of: SlicePart,
    /// Rows of the part in the baseline.
    pub baseline_rows: u64,
    /// Rows of the part in the last windows, as far as one of its columns shows them.
    pub rows: u64,
    /// Columns that are tested.
    pub columns_total: usize,
    /// Tests in alarm.
    pub alarms: usize,
    /// The columns in alarm; and where there is none, the one that is nearest to an alarm.
    pub columns: Vec<ColumnDrift>,
}

/// The drift of one input or output column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDrift {
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
    /// Values outside the contract.
    pub contract: Breaches,
    /// What kind of column it is, which decides its tests.
    #[serde(default)]
    pub kind: ColumnKind,
    /// Why it is of this kind.
    #[serde(default)]
    pub reason: String,
    /// Whether the configuration leaves the column out of monitoring.
    #[serde(default)]
    pub ignored: bool,
    /// The smallest distance that can raise an alarm with this baseline. Absent where no test of
    /// the distribution is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smallest: Option<f64>,
    /// Its values in the baseline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<ColumnSummary>,
    /// Its values in the last windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub now: Option<ColumnSummary>,
    /// The category whose share changed most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed: Option<ShareChange>,
    /// Of the numeric inputs together: the two whose correlation changed most. Only in alarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<ColumnPair>,
    /// Contract alarms.
    #[serde(default)]
    pub breaches: Vec<BreachTest>,
    /// Probable causes.
    #[serde(default)]
    pub hints: Hints,
    /// The last result of each test.
    pub tests: Vec<DriftTest>,
}

impl VersionDrift {
    /// Returns the incidents that are open.
    pub fn open_incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.iter().filter(|i| i.closed.is_none())
    }

    /// Returns every column in alarm, of all rows and of parts of them.
    pub fn columns_in_alarm(&self) -> impl Iterator<Item = &ColumnDrift> {
        let of_parts = self.parts.iter().flat_map(|part| &part.columns);
        let all = self.columns.iter().chain(of_parts);
        all.filter(|column| column.alarms() > 0)
    }
}

impl ColumnDrift {
    /// Counts its tests in alarm: of drift, and of the contract.
    pub fn alarms(&self) -> usize {
        let drift = self.tests.iter().filter(|test| test.alarm).count();
        drift + self.breaches.len()
    }

    /// Names it, with the part of the rows that it is of.
    pub fn described(&self) -> String {
        let name = &self.name;
        self.part
            .as_ref()
            .map_or_else(|| name.clone(), |part| part.describe(name))
    }
}

/// Two columns whose correlation changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnPair {
    /// Names of the columns.
    pub columns: (String, String),
    /// Their correlation in the baseline, of values that are scaled and cut off at five deviations.
    pub then: f64,
    /// The same in the last rows.
    pub now: f64,
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
