//! Which labels are accepted and kept: the section `[feedback]`. Owns the values only.

use std::path::PathBuf;
use std::time::Duration;

use crate::core::settings::form::Size;
use crate::section;

const HOUR: Duration = Duration::from_secs(3600);

section! {
    /// Ground-truth labels, sent by `POST /v1/feedback`.
    FeedbackSettings {
        /// Whether labels are accepted.
        enabled: bool = true;
        /// Age of the oldest prediction for which a label is accepted.
        age_max: Duration = 90 * 24 * HOUR, in Duration::from_secs(60)..=365 * 24 * HOUR;
        /// How often a label may be corrected.
        corrections_max: u32 = 3, in 0..=100;
        /// Labels in one request.
        labels_max: usize = 10_000, in 1..=1_000_000;
        /// Labelled rows kept for each version. The oldest are dropped first.
        rows_max: usize = 100_000, in 100..=100_000_000;
        /// Bytes of recent predictions in memory, with which labels are joined at once. Older ones
        /// are read from the store.
        answers_bytes_max: usize as Size = 64 << 20, in 1 << 20..=1 << 40;
        /// Bytes of the answers that are kept in the store for late labels, of all servers of the
        /// namespace. The oldest are deleted first, and all of them at `age_max`.
        answers_store_bytes_max: usize as Size = 4 << 30, in 1 << 20..=1 << 46;
        /// Longest time until an answer is written to the store. A server that ends without a stop
        /// loses the answers of this time.
        answers_flush: Duration = Duration::from_secs(15), in Duration::from_millis(100)..=HOUR;
        /// Interval between two reads of the labels that other servers accepted.
        poll: Duration = Duration::from_secs(5), in Duration::from_millis(100)..=HOUR;
        /// Directory from which Parquet and CSV files of labels are imported. Imported files are
        /// moved to its subdirectory `taken`.
        drop: Option<PathBuf> = None;
        /// Increase of the error share that is accepted without an alarm, on top of the upper
        /// confidence bound of the baseline's error share. An error is a wrong class, or a value
        /// that is off by more than 90 % of the errors in the baseline. A version without
        /// measured performance in its baseline is compared with its own first 500 labelled rows.
        loss_margin: f64 = 0.02, in 0.0..=1.0;
    }
}
