//! The event of an alarm, with the numbers that are needed to judge it.

use super::column::Reading;
use super::layout::{Place, Side};
use super::watch::Source;
use super::watch::report::Report;

/// An alarm that began.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Alarm {
    pub model: String,
    pub version: u64,
    pub digest: String,
    pub column: String,
    pub side: Side,
    pub time: chrono::DateTime<chrono::Utc>,
    /// What windows are compared with.
    pub baseline: Source,
    pub importance: Option<f64>,
    pub test: Reading,
    pub alpha: f64,
    /// Servers whose windows were added up; none of this server's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<usize>,
}

impl Alarm {
    /// Of a test that began to alarm.
    pub(crate) fn of(report: &Report<'_>, place: Place, test: Reading) -> Self {
        let importance = report
            .columns
            .iter()
            .find(|c| c.side == place.side && c.name == place.name)
            .and_then(|c| c.importance);
        Self {
            servers: None,
            model: report.model.to_owned(),
            version: report.version,
            digest: report.digest.clone(),
            column: place.name,
            side: place.side,
            time: chrono::Utc::now(),
            baseline: report.baseline,
            importance,
            test,
            alpha: report.alpha,
        }
    }
}
