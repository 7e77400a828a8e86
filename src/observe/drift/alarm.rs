//! When a distance raises an alarm: its likely lower bound exceeds the threshold, and its certain
//! lower bound a part of it. The significance level follows from the accepted false alarms per
//! month, which are spent over time. Pure.

#[cfg(test)]
mod tests;

use super::distance::{DriftMeasure, LIKELY};
use super::settings::MonitorSettings;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many base windows are added up into each window that is tested.
pub(crate) const SPANS: [u32; 16] = [
    1, 2, 3, 4, 6, 8, 16, 24, 32, 48, 64, 128, 192, 256, 384, 512,
];
/// Base windows of a block, and blocks of a larger block.
pub(crate) const BLOCK: u64 = 8;
/// Tests of one metric: of the spans, and of the hour.
const TESTS: usize = SPANS.len() + 1;
const MONTH: Duration = Duration::from_secs(30 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);
/// The part of the threshold that the certain bound must exceed: a difference below it is no reason
/// for an alarm, however sure.
pub(crate) const CERTAIN_PART: f64 = 0.25;

/// Distance measures between a window and its baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Kolmogorov-Smirnov statistic.
    Ks,
    /// Wasserstein distance in interquartile ranges, or in standard deviations where that is 0.
    Wasserstein,
    /// Population stability index.
    Psi,
    /// Jensen-Shannon distance.
    Js,
    /// The largest difference of a category's share.
    Largest,
    /// The difference of the share of missing values.
    Missing,
    /// The change of the mean from window to window, in spans of the baseline.
    Step,
    /// How long the column has had one value, in units of the longest time that it may.
    Stuck,
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
            Self::Step => "step",
            Self::Stuck => "stuck",
        }
    }
}

/// What a window is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// The baseline: from training, or from the first rows that the version served.
    Training,
    /// The band that the parts of the baseline span.
    Band,
    /// The same hour of the week before.
    LastWeek,
    /// The window before.
    Before,
}

impl Against {
    /// Returns its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Band => "band",
            Self::LastWeek => "last_week",
            Self::Before => "before",
        }
    }
}

/// Computes the significance level of each test of a round: the accepted false alarms of the time
/// since the last round, divided among all tests. A pause counts as a day at most.
pub(crate) fn significance(settings: &MonitorSettings, columns: usize, elapsed: Duration) -> f64 {
    let tests = (columns.max(1) * Metric::NUMBERS.len() * TESTS) as f64;
    let share = elapsed.min(DAY).as_secs_f64() / MONTH.as_secs_f64();

    (settings.drift_false_alarms() * share / tests).clamp(f64::MIN_POSITIVE, LIKELY)
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
        Metric::Step | Metric::Stuck => 1.0,
    }
}

/// The verdicts of one test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdicts {
    raised: bool,
    /// Verdicts within the threshold since the last one beyond it.
    calm: u8,
}

/// Verdicts within the threshold that end an alarm.
const CALM: u8 = 3;

/// Tells whether a measurement is beyond a threshold.
pub(crate) fn exceeds(measured: DriftMeasure, threshold: f64) -> bool {
    measured.lower > threshold && measured.certain > threshold * CERTAIN_PART
}

impl Verdicts {
    /// Adds a measurement. Returns whether an alarm starts with it. An alarm ends after three
    /// verdicts in a row that do not exceed the threshold.
    pub(crate) fn take(&mut self, measured: DriftMeasure, threshold: f64) -> bool {
        if exceeds(measured, threshold) {
            self.calm = 0;
            return !std::mem::replace(&mut self.raised, true);
        }
        self.calm = self.calm.saturating_add(1);
        self.raised &= self.calm < CALM;
        false
    }

    /// Ends the alarm.
    pub(crate) fn end(&mut self) {
        self.raised = false;
    }

    /// Tells whether there is an alarm.
    pub(crate) fn is_raised(self) -> bool {
        self.raised
    }
}
