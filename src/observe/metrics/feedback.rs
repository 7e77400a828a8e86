//! Metrics of labels and of measured performance.

use super::catalogue::Catalogue;
use crate::core::error::Result;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};
use std::collections::BTreeMap;

/// The families of labels and measured performance.
#[derive(Clone)]
pub(crate) struct LabelFamilies {
    labels: IntCounterVec,
    performance: GaugeVec,
    rows: IntGaugeVec,
    maturity: GaugeVec,
    alarm: IntGaugeVec,
}

/// The measured performance of a version.
pub(crate) struct VersionFigures {
    pub model: String,
    pub version: String,
    pub rows: u64,
    pub maturity: Option<f64>,
    pub measures: BTreeMap<&'static str, f64>,
    pub alarm: bool,
}

const SERVED: &[&str] = &["model", "version"];

impl LabelFamilies {
    /// Registers the families.
    pub(super) fn new(r: &Catalogue) -> Result<Self> {
        Ok(Self {
            labels: r.counters("ortus_feedback_labels_total", "Labels received, by outcome: joined, pending, joined_late, duplicate, refused or forgotten.", &["outcome"])?,
            performance: r.float_gauges(
                "ortus_performance",
                "Performance measured on the labelled rows of the last 7 days, by metric.",
                &["model", "version", "metric"],
            )?,
            rows: r.gauges("ortus_performance_rows", "Labelled rows of the last 7 days.", SERVED)?,
            maturity: r.float_gauges(
                "ortus_performance_maturity_ratio",
                "Share of the sampled rows of the last 7 days that have a label.",
                SERVED,
            )?,
            alarm: r.gauges("ortus_performance_alarm", "1 while the error share is higher than in the baseline by more than the allowed margin.", SERVED)?,
        })
    }

    /// Counts labels.
    pub(crate) fn count(&self, outcome: &str, labels: usize) {
        if labels > 0 {
            self.labels
                .with_label_values(&[outcome])
                .inc_by(labels as u64);
        }
    }

    /// Sets the metrics of a version.
    pub(crate) fn set(&self, shown: &VersionFigures) {
        let served = [shown.model.as_str(), shown.version.as_str()];
        for (metric, value) in &shown.measures {
            self.performance
                .with_label_values(&[served[0], served[1], metric])
                .set(*value);
        }

        self.rows
            .with_label_values(&served)
            .set(i64::try_from(shown.rows).unwrap_or(i64::MAX));
        self.alarm
            .with_label_values(&served)
            .set(shown.alarm.into());
        if let Some(maturity) = shown.maturity {
            self.maturity.with_label_values(&served).set(maturity);
        }
    }
}
