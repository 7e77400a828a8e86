//! Metrics of explained predictions. Only versions of which one was asked for have them.

use super::{Catalogue, SECONDS, SERVED};
use crate::core::error::Result;
use crate::core::model::Version;
use prometheus::HistogramVec;
use std::time::Duration;

/// The family of explained predictions.
pub(super) struct ExplanationFamily(HistogramVec);

impl ExplanationFamily {
    pub(super) fn new(r: &Catalogue) -> Result<Self> {
        let seconds = r.histograms(
            "ortus_explanation_duration_seconds",
            "Time in which the predictions of a request were explained, the wait for a thread included.",
            &SECONDS,
            SERVED,
        );
        seconds.map(Self)
    }

    /// Counts an explained request.
    pub(super) fn observe(&self, model: &str, version: Version, took: Duration) {
        let version = version.to_string();
        let series = self.0.with_label_values(&[model, version.as_str()]);
        series.observe(took.as_secs_f64());
    }

    /// Removes the series of a version.
    pub(super) fn remove(&self, model: &str, version: &str) {
        let _ = self.0.remove_label_values(&[model, version]);
    }
}
