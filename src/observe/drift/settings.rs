//! How drift is watched: the section `[monitor]`. Owns the values only; `alarm`
//! derives the certainty of each test from them.

use std::time::Duration;

use crate::core::settings::form::{Size, TextLine};
use crate::section;

const HOUR: Duration = Duration::from_secs(3600);

section! {
    /// Drift monitoring: sampling, windows, thresholds and alarms.
    MonitorSettings {
        /// Whether inputs and predictions are monitored.
        enabled: bool = true;
        /// Bytes of finished requests that wait for the monitor. Requests beyond it are not
        /// monitored, and are counted.
        queue_bytes_max: usize as Size = 64 << 20, in 1 << 20..=1 << 40;
        /// Share of the server's CPU time, or of one core where the server works less, that
        /// counting sampled requests may use. If it needs more, fewer requests are sampled.
        cpu_share: f64 = 0.01, in 0.001..=1.0;
        /// Rows of each version that are counted in every minute, whatever share of the CPU time
        /// that takes. Rows beyond it are sampled. 0 switches it off.
        rows_min_per_minute: u32 = 6_000, in 0..=u32::MAX;
        /// Rows at which a window closes.
        window_rows: u32 = 1_000, in 100..=u32::MAX;
        /// Shortest time that a window stays open.
        window_min: Duration = Duration::from_secs(10), in Duration::from_secs(1)..=24 * HOUR;
        /// Time after which a window with at least 30 rows closes. One with fewer rows stays open, at
        /// most until the day ends (UTC).
        window_max: Duration = Duration::from_secs(60), in Duration::from_secs(1)..=24 * HOUR;
        /// Accepted number of false alarms for each model and month. A lower number makes the
        /// tests stricter.
        false_alarms_per_month: f64 = 1.0, in 0.001..=1_000.0;
        /// Share of rows beyond what the baseline makes likely that must be missing, outside the range
        /// or unseen to raise a contract alarm.
        breach_share: f64 = 0.01, in 0.0..=1.0;
        /// Rows that must violate the contract to raise an alarm.
        breach_rows: u32 = 20, in 1..=u32::MAX;
        /// Rows from which a version without a baseline builds its own.
        own_rows: usize = 5_000, in 100..=1_000_000;
        /// Whether windows, alarms and baselines that versions made of their first rows survive a
        /// restart. They are kept in the store of records.
        keep_state: bool = true;
        /// Smallest Kolmogorov-Smirnov distance that raises an alarm.
        ks: f64 = 0.05, in 0.0..=1.0;
        /// Smallest Wasserstein distance that raises an alarm, in interquartile ranges; in standard
        /// deviations where half of the values are the same.
        wasserstein: f64 = 0.1, in 0.0..=1e6;
        /// Smallest population stability index that raises an alarm.
        psi: f64 = 0.1, in 0.0..=1e6;
        /// Smallest Jensen-Shannon distance that raises an alarm.
        js: f64 = 0.1, in 0.0..=1.0;
        /// Smallest change of one category's share that raises an alarm.
        largest: f64 = 0.03, in 0.0..=1.0;
        /// Smallest change of the share of missing values that raises an alarm.
        missing: f64 = 0.01, in 0.0..=1.0;
        /// URL to which alarms are posted as CloudEvents in JSON: `http://…` or `https://…`.
        webhook: Option<String> as TextLine = None;
        /// Length of the windows that all servers of one store merge into one result. `"0s"`
        /// switches merging off.
        fleet_window: Duration = Duration::from_secs(60), in Duration::ZERO..=HOUR;
        /// Columns of each model that have metric series of their own. The operator API shows all
        /// columns.
        columns_shown: usize = 20, in 0..=1_000;
    }
}

/// Share of the accepted false alarms that the contract may cause.
const CONTRACT_PART: f64 = 0.1;

impl MonitorSettings {
    /// Accepted false alarms of the contract in a month.
    pub(crate) fn contract_false_alarms(&self) -> f64 {
        self.false_alarms_per_month * CONTRACT_PART
    }

    /// Accepted false alarms of drift tests in a month.
    pub(crate) fn drift_false_alarms(&self) -> f64 {
        self.false_alarms_per_month * (1.0 - CONTRACT_PART)
    }
}
