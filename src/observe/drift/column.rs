//! One monitored column: its cells, the open window, the sums of closed windows and the last result
//! of each test. Owns no clock.

mod effect;
mod hints;
mod measure;
pub(crate) mod rules;
mod shown;
pub(crate) mod spans;
pub(crate) mod state;
mod stuck;
mod testing;

use super::alarm::{self, Against, Metric, Verdicts};
use super::arrivals::DAY_HOURS;
use super::baseline::{BaselineColumn, Cells};
use super::kind::ColumnKind;
use super::layout::{ColumnPlace, ColumnValue, Side, each_value};
use super::settings::MonitorSettings;
use super::sketch::SketchCounts;
use super::window::ColumnTally;
use crate::core::tensor::Tensor;
use crate::observe::report::column::DriftTest;
use crate::observe::report::drift::Hints;
use effect::LiveEffect;
use rules::ColumnRule;
use spans::{Spans, TIERS};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use stuck::Held;

/// Least rows of a window that is tested.
pub(crate) const ROWS_MIN: u64 = 30;
/// Hours of a week.
const WEEK: u64 = 168;
/// Values of a window from which its scale is judged.
const KEPT: usize = 256;
/// Windows for which the last ones must be within the threshold before older ones are dropped.
const CALM_WINDOWS: u8 = 3;
/// About how many base windows a histogram shows.
const RECENT_WINDOWS: u64 = 64;

/// A monitored column.
pub(crate) struct WatchedColumn {
    pub place: ColumnPlace,
    baseline: BaselineColumn,
    /// The mean of each cell in the baseline.
    means: Vec<f64>,
    cells: Cells,
    counts: Vec<u64>,
    kind: ColumnKind,
    rule: ColumnRule,
    effect: LiveEffect,
    /// The same for whether values are missing, where they are missing in runs.
    holes: Option<LiveEffect>,
    open: ColumnTally,
    /// The last windows; older ones count less.
    recent: ColumnTally,
    /// Counts that were not returned by [`WatchedColumn::take_counts`] yet.
    unreported: ColumnTally,
    spans: Spans,
    calm: u8,
    /// The current hour, and those of the week before by their number.
    hour: ColumnTally,
    week: BTreeMap<u64, ColumnTally>,
    keeps_week: bool,
    /// Whether its rows are a part of all, which come and go.
    is_of_part: bool,
    held: Option<Held>,
    before: Option<f64>,
    tests: BTreeMap<(Against, u32, Metric), (Verdicts, DriftTest)>,
    kept: Vec<f64>,
    pub hints: Hints,
}

/// A round of tests.
#[derive(Clone, Copy)]
pub(crate) struct TestRound<'r> {
    pub settings: &'r MonitorSettings,
    pub now: Instant,
    /// The significance level of each test, by tier.
    pub alphas: [f64; TIERS],
    /// Which tiers end a block.
    pub closing: [bool; TIERS],
    /// The seconds since rows came in each hour of the day.
    pub rows_came: [u32; DAY_HOURS],
}

/// What a window is compared with.
struct Reference<'r> {
    against: Against,
    span: u32,
    counts: &'r [u64],
    means: &'r [f64],
    missing: u64,
    /// Design effect of its rows.
    effect: f64,
}

/// What counting a value changes.
struct OpenCounts<'c> {
    cells: &'c Cells,
    window: &'c mut ColumnTally,
    effect: &'c mut LiveEffect,
    holes: &'c mut Option<LiveEffect>,
    kept: &'c mut Vec<f64>,
}

impl OpenCounts<'_> {
    fn take(&mut self, value: &ColumnValue<'_>) {
        let cell = self.window.take(self.cells, value);
        if let Some(cell) = cell {
            self.effect.take(cell);
        }
        if let Some(holes) = self.holes {
            holes.take(usize::from(cell.is_none()));
        }
        if self.kept.len() < KEPT {
            match value {
                ColumnValue::Number(v) if v.is_finite() => self.kept.push(*v),
                ColumnValue::Whole(v) => self.kept.push(*v as f64),
                _ => {}
            }
        }
    }
}

impl WatchedColumn {
    /// Starts to monitor a column.
    pub(crate) fn new(
        place: ColumnPlace,
        baseline: BaselineColumn,
        keeps_week: bool,
        rule: ColumnRule,
    ) -> Self {
        let cells = baseline.cells();
        let tally = ColumnTally::new(&cells);
        let counts = baseline.expected_counts();
        Self {
            place,
            means: measure::cell_means(&baseline),
            effect: LiveEffect::new(&counts),
            holes: (baseline.missing_effect > 1.0).then(LiveEffect::of_flags),
            counts,
            kind: rule.kind.unwrap_or(baseline.kind),
            rule,
            open: tally.clone(),
            recent: tally.clone(),
            unreported: tally.clone(),
            spans: Spans::default(),
            calm: 0,
            hour: tally,
            week: BTreeMap::new(),
            keeps_week,
            is_of_part: false,
            held: None,
            before: None,
            tests: BTreeMap::new(),
            kept: Vec::new(),
            hints: Hints::default(),
            cells,
            baseline,
        }
    }

    /// Tells that its rows are a part of all.
    pub(crate) fn of_part(self) -> Self {
        Self {
            is_of_part: true,
            ..self
        }
    }

    /// Counts the values of a sampled tensor.
    pub(crate) fn take(&mut self, tensor: &Tensor) {
        let (place, mut counts) = self.counting();
        each_value(place, tensor, |value| counts.take(&value));
    }

    /// Counts a value.
    pub(crate) fn take_value(&mut self, value: &ColumnValue<'_>) {
        self.counting().1.take(value);
    }

    fn counting(&mut self) -> (&ColumnPlace, OpenCounts<'_>) {
        let counts = OpenCounts {
            cells: &self.cells,
            window: &mut self.open,
            effect: &mut self.effect,
            holes: &mut self.holes,
            kept: &mut self.kept,
        };
        (&self.place, counts)
    }

    /// Closes the base window: adds it to every span, and tests the spans that are due. Returns the
    /// alarms that start.
    pub(crate) fn close(&mut self, round: TestRound<'_>) -> Vec<DriftTest> {
        self.hints = hints::find(self, &self.kept).unwrap_or(self.hints);
        self.kept.clear();
        self.effect.close();
        if let Some(holes) = &mut self.holes {
            holes.close();
        }
        self.hour.add(&self.open);
        if self.recent.rows() > RECENT_WINDOWS * self.open.rows().max(ROWS_MIN) {
            self.recent.halve();
        }
        self.recent.add(&self.open);
        self.unreported.add(&self.open);

        let mut begun = self.test_course(round);
        let window = std::mem::replace(&mut self.open, ColumnTally::new(&self.cells));
        let due = self.spans.add(window, round.closing);
        let (counts, means) = (self.counts.clone(), self.means.clone());
        for (span, tally) in due {
            let reference = Reference {
                against: self.reference(),
                span,
                counts: &counts,
                means: &means,
                missing: self.baseline.missing,
                effect: self.baseline.design_effect,
            };
            let tier = (span >= 16) as usize + (span >= 128) as usize;
            begun.extend(self.test(&reference, &tally, (round.settings, round.alphas[tier])));
        }

        self.forget_when_calm(round.settings);
        begun
    }

    /// Returns what the column's windows are compared with.
    fn reference(&self) -> Against {
        match self.kind {
            ColumnKind::Stationary => Against::Training,
            _ => Against::Band,
        }
    }

    /// Closes the hour with this number and compares it with the same hour of the week before. Returns
    /// the alarms that start.
    pub(crate) fn close_hour(
        &mut self,
        number: u64,
        settings: &MonitorSettings,
        alpha: f64,
    ) -> Vec<DriftTest> {
        let tally = std::mem::replace(&mut self.hour, ColumnTally::new(&self.cells));
        let mut begun = Vec::new();
        if let Some(before) = self
            .week
            .remove(&number.wrapping_sub(WEEK))
            .filter(|t| t.rows() >= ROWS_MIN)
        {
            let counts: Vec<u64> = before.counts.iter().map(|n| u64::from(*n)).collect();
            let reference = Reference {
                against: Against::LastWeek,
                span: 0,
                counts: &counts,
                means: &before.means(),
                missing: u64::from(before.missing),
                effect: self.effect.of(self.baseline.design_effect),
            };
            begun = self.test(&reference, &tally, (settings, alpha));
        }

        // Hours that are out of range, because the clock was changed, are dropped.
        self.week
            .retain(|hour, _| *hour < number && number - hour < WEEK);
        let repeats = matches!(self.kind, ColumnKind::Stationary | ColumnKind::Cyclic);
        if self.keeps_week && repeats {
            self.week.insert(number, tally);
        }

        begun
    }

    /// Returns the counts since the last call.
    pub(crate) fn take_counts(&mut self) -> SketchCounts {
        let counted = SketchCounts::of((&self.place.name, self.place.side), &self.unreported);
        self.unreported.clear();
        counted
    }

    /// Adds the counts of another server to the open window. Skips counts of other cells.
    pub(crate) fn merge(&mut self, counted: &SketchCounts) {
        if let Some(tally) = counted.tally(&self.cells) {
            self.open.add(&tally);
        }
    }

    /// Returns the last result of each test.
    pub(crate) fn test_results(&self) -> impl Iterator<Item = &DriftTest> {
        self.tests.values().map(|(_, reading)| reading)
    }

    /// Returns how many rows are worth one independent row, for whether a value is missing.
    pub(crate) fn missing_effect(&self) -> f64 {
        let baseline = self.baseline.missing_effect;
        self.holes
            .as_ref()
            .map_or(1.0, |holes| holes.of(baseline).max(baseline))
    }

    /// Returns its side and name.
    pub(crate) fn key(&self) -> (Side, String) {
        (self.place.side, self.place.name.clone())
    }

    /// Returns the feature importance.
    pub(crate) fn importance(&self) -> Option<f64> {
        self.baseline.importance
    }

    /// Returns the kind of the column and why it is of this kind.
    pub(crate) fn kind(&self) -> (ColumnKind, &str) {
        match self.rule.kind {
            Some(kind) => (kind, "set in the configuration"),
            None => (self.kind, &self.baseline.reason),
        }
    }

    /// Returns the smallest distance that the column can show under the settings, however many rows
    /// come; none for a column without tests of its distribution.
    pub(crate) fn smallest(&self, settings: &MonitorSettings, columns: usize) -> Option<f64> {
        rules::smallest(
            &self.baseline,
            (self.kind, &self.rule),
            settings,
            alarm::significance(settings, columns, Duration::from_secs(3600)),
        )
    }
}
