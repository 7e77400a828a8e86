//! When a distance raises an alarm: its lower confidence bound exceeds the threshold in two of the
//! last three windows. The significance level follows from the accepted false alarms per month. Pure.

#[cfg(test)]
mod tests;

use super::distance::DriftMeasure;
use super::settings::MonitorSettings;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many base windows are added up into each window that is tested.
pub(crate) const SPANS: [u32; 4] = [1, 8, 64, 512];
const MONTH: Duration = Duration::from_secs(30 * 86_400);
/// Hours of a month: each is compared with the same hour of the week before.
const HOURS: f64 = 720.0;

/// Distance measures between a window and its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Kolmogorov-Smirnov statistic.
    Ks,
    /// Wasserstein distance in interquartile ranges.
    Wasserstein,
    /// Population stability index.
    Psi,
    /// Jensen-Shannon distance.
    Js,
    /// The largest difference of a category's share.
    Largest,
    /// The difference of the share of missing values.
    Missing,
}

impl Metric {
    /// Metrics of numeric columns.
    pub(crate) const NUMBERS: [Self; 5] = [
        Self::Ks,
        Self::Wasserstein,
        Self::Psi,
        Self::Js,
        Self::Missing,
    ];
    /// Metrics of categorical columns.
    pub(crate) const WORDS: [Self; 4] = [Self::Psi, Self::Js, Self::Largest, Self::Missing];

    /// Returns its name in labels and reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ks => "ks",
            Self::Wasserstein => "wasserstein",
            Self::Psi => "psi",
            Self::Js => "js",
            Self::Largest => "largest",
            Self::Missing => "missing",
        }
    }
}

/// What a window is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The baseline: from training, or from the first rows that the version served.
    Training,
    /// The same hour of the week before.
    LastWeek,
}

impl Against {
    /// Returns its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::LastWeek => "last_week",
        }
    }
}

/// Computes the significance level of each test: the accepted false alarms, divided among all
/// tests that a month can hold.
pub(crate) fn significance(settings: &MonitorSettings, columns: usize) -> f64 {
    let windows = MONTH.as_secs_f64() / settings.window_min.as_secs_f64().max(1.0);
    let closings: f64 = SPANS.iter().map(|span| windows / f64::from(*span)).sum();
    let tests = columns.max(1) as f64 * Metric::NUMBERS.len() as f64 * (closings + HOURS);

    (settings.false_alarms_per_month / tests).min(0.05)
}

/// Returns the smallest distance that raises an alarm.
pub(crate) fn threshold(settings: &MonitorSettings, metric: Metric) -> f64 {
    match metric {
        Metric::Ks => settings.ks,
        Metric::Wasserstein => settings.wasserstein,
        Metric::Psi => settings.psi,
        Metric::Js => settings.js,
        Metric::Largest => settings.largest,
        Metric::Missing => settings.missing,
    }
}

/// The last verdicts of one test, newest in the lowest bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdicts {
    last: u8,
    raised: bool,
}

/// Verdicts that are remembered.
const OF: u32 = 3;
/// How many of them must exceed the threshold to raise an alarm.
const NEEDED: u32 = 2;

impl Verdicts {
    /// Adds a measurement. Returns whether an alarm starts with it. An alarm ends once none of the
    /// remembered verdicts exceeds the threshold.
    pub(crate) fn take(&mut self, measured: DriftMeasure, threshold: f64) -> bool {
        let exceeds = measured.lower > threshold;
        self.last = (self.last << 1 | u8::from(exceeds)) & ((1 << OF) - 1);
        let begins = !self.raised && self.last.count_ones() >= NEEDED;
        self.raised = begins || (self.raised && self.last != 0);
        begins
    }

    /// Tells whether there is an alarm.
    pub(crate) fn is_raised(self) -> bool {
        self.raised
    }
}
