//! Metrics of captured predictions.

use super::catalogue::Catalogue;
use crate::core::error::Result;
use prometheus::{IntCounter, IntCounterVec};

/// The families of captured predictions.
#[derive(Clone)]
pub(crate) struct CaptureFamilies {
    rows: IntCounterVec,
    bytes: IntCounter,
    files: IntCounter,
    dropped: IntCounterVec,
    lost: IntCounter,
}

impl CaptureFamilies {
    /// Registers the families.
    pub(super) fn new(r: &Catalogue) -> Result<Self> {
        Ok(Self {
            rows: r.counters(
                "ortus_capture_rows_total",
                "Captured rows written to the store.",
                &["model"],
            )?,
            bytes: r.counter(
                "ortus_capture_bytes_total",
                "Bytes of capture files written to the store.",
            )?,
            files: r.counter(
                "ortus_capture_files_total",
                "Capture files written to the store.",
            )?,
            dropped: r.counters(
                "ortus_capture_dropped_total",
                "Requests that were not captured, by reason: full, too_large or refused.",
                &["reason"],
            )?,
            lost: r.counter(
                "ortus_capture_lost_rows_total",
                "Captured rows lost because the store could not be written.",
            )?,
        })
    }

    /// Counts a file that was written.
    pub(crate) fn record_file(&self, model: &str, rows: usize, bytes: usize) {
        self.rows.with_label_values(&[model]).inc_by(rows as u64);
        self.bytes.inc_by(bytes as u64);
        self.files.inc();
    }

    /// Counts a request that was not captured.
    pub(crate) fn dropped(&self, reason: &str) {
        self.dropped.with_label_values(&[reason]).inc();
    }

    /// Counts captured rows that were lost.
    pub(crate) fn lost(&self, rows: usize) {
        self.lost.inc_by(rows as u64);
    }
}
