//! Which predictions are captured, and for how long: the section `[capture]`. Owns the values
//! only.

use std::time::Duration;

use crate::core::settings::form::{Size, TextLine};
use crate::{choice, section};

const HOUR: Duration = Duration::from_secs(3600);

section! {
    /// Capture: predictions recorded with their inputs.
    CaptureSettings {
        /// Share of requests that is captured. 0 switches capture off.
        share: f64 = 0.0, in 0.0..=1.0;
        /// Format of captures: `parquet` (files in the store) or `cloudevents` (events posted to
        /// `url`, in the format of KServe's payload logger).
        format: CaptureFormat = CaptureFormat::Parquet;
        /// URL to which CloudEvents are posted: `http://…` or `https://…`.
        url: Option<String> as TextLine = None;
        /// Rows at which a capture file is closed.
        rows_max: usize = 100_000, in 1..=1_000_000;
        /// Bytes in memory at which a capture file is closed.
        bytes_max: usize as Size = 32 << 20, in 64 << 10..=1 << 30;
        /// Age at which a capture file is closed.
        age_max: Duration = Duration::from_secs(60), in Duration::from_secs(1)..=HOUR;
        /// Bytes in memory of open files and files that wait for the store. Captures beyond it are
        /// dropped and counted.
        queue_bytes_max: usize as Size = 256 << 20, in 1 << 20..=1 << 40;
        /// Largest request that is captured.
        request_bytes_max: usize as Size = 1 << 20, in 1 << 10..=1 << 30;
        /// How long capture files are kept.
        retention: Duration = 30 * 24 * HOUR, in HOUR..=3_650 * 24 * HOUR;
        /// Bytes of all capture files in the store. The oldest are deleted first.
        store_bytes_max: usize as Size = 16 << 30, in 1 << 20..=1 << 50;
        /// Input columns that are not captured, as `column` or `model/column`.
        drop: Vec<String> as TextLine = Vec::new();
        /// Input columns that are captured as a keyed hash of the value, as `column` or
        /// `model/column`.
        hash: Vec<String> as TextLine = Vec::new();
    }
}

choice! {
    /// How captured predictions are written.
    CaptureFormat {
        /// Files in the store.
        Parquet = "parquet",
        /// Events to an address.
        CloudEvents = "cloudevents",
    }
}
