//! Metrics of labels and of measured performance.

use super::catalogue::Catalogue;
use crate::core::error::Result;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec};
use std::collections::BTreeMap;

/// The families of labels and measured performance.
#[derive(Clone)]
pub(crate) struct LabelFamilies {
    labels: IntCounterVec,
    answers: IntCounterVec,
    waiting: IntGaugeVec,
    performance: GaugeVec,
    rows: IntGaugeVec,
    maturity: GaugeVec,
    alarm: IntGaugeVec,
    part_alarms: IntGaugeVec,
}

/// The measured performance of a version.
pub(crate) struct VersionFigures {
    pub model: String,
    pub version: String,
    pub rows: u64,
    pub maturity: Option<f64>,
    pub measures: BTreeMap<&'static str, f64>,
    pub alarm: bool,
    /// Parts of slices in alarm.
    pub part_alarms: usize,
}

const SERVED: &[&str] = &["model", "version"];

impl LabelFamilies {
    /// Registers the families.
    pub(super) fn new(r: &Catalogue) -> Result<Self> {
        Ok(Self {
            labels: r.counters("ortus_feedback_labels_total", "Labels received, by outcome: joined, pending, joined_late, duplicate, refused or forgotten.", &["outcome"])?,
            answers: r.counters("ortus_feedback_answers_total", "Predictions whose answers are kept for labels, by outcome: stored, lost_queue (the queue of the monitor was full) or lost_store (the store did not take them in time).", &["outcome"])?,
            waiting: r.gauges("ortus_feedback_waiting_labels", "Labels that wait for their prediction, by reason: search, older (than the kept answers), queue or store (the answer was lost there), or unknown.", &["reason"])?,
            performance: r.float_gauges(
                "ortus_performance",
                "Performance measured on the labelled rows of the last 7 days, by metric.",
                &["model", "version", "metric"],
            )?,
            rows: r.gauges("ortus_performance_rows", "Labelled rows of the last 7 days.", SERVED)?,
            maturity: r.float_gauges(
                "ortus_performance_maturity_ratio",
                "Share of the rows predicted in the last 7 days that have a label.",
                SERVED,
            )?,
            alarm: r.gauges("ortus_performance_alarm", "1 while the error share is higher than in the baseline by more than the allowed margin.", SERVED)?,
            part_alarms: r.gauges("ortus_performance_part_alarms", "Parts of slices whose error share is higher than in the baseline by more than the allowed margin.", SERVED)?,
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

    /// Counts kept and lost answers.
    pub(crate) fn answers(&self, outcome: &str, predictions: u64) {
        if predictions > 0 {
            let counter = self.answers.with_label_values(&[outcome]);
            counter.inc_by(predictions);
        }
    }

    /// Sets how many labels wait for a reason.
    pub(crate) fn waiting(&self, reason: &str, labels: u64) {
        self.waiting
            .with_label_values(&[reason])
            .set(i64::try_from(labels).unwrap_or(i64::MAX));
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
        self.part_alarms
            .with_label_values(&served)
            .set(i64::try_from(shown.part_alarms).unwrap_or(i64::MAX));
        if let Some(maturity) = shown.maturity {
            self.maturity.with_label_values(&served).set(maturity);
        }
    }
}
