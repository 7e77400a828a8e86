//! Columns that move within their baseline: whether a trending one jumps from window to window, and
//! whether any of them has one value for longer than it may.

use super::testing::TestedRows;
use super::{TestRound, WatchedColumn};
use crate::observe::drift::age::{age_ms, moment};
use crate::observe::drift::alarm::{Against, Metric};
use crate::observe::drift::baseline::{Cells, ValueDistribution};
use crate::observe::drift::distance::DriftMeasure;
use crate::observe::drift::kind::ColumnKind;
use crate::observe::drift::window::ColumnTally;
use crate::observe::report::column::DriftTest;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Rows with the same value from which a column may be stuck.
const ROWS_MIN: u64 = 100;
/// Hours of the day in which rows with the same value must have come, for a column that changes within two days: those of a
/// nightly job have one hour, each night.
const HOURS_MIN: usize = 3;
const TWO_DAYS: Duration = Duration::from_secs(2 * 86_400);

/// The value that a column has held in every row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Held {
    value: HeldValue,
    since: Instant,
    rows: u64,
}

/// The same for the next process.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SavedHeld {
    value: HeldValue,
    held_ms: u64,
    rows: u64,
}

impl Held {
    pub(super) fn save(self, now: Instant) -> SavedHeld {
        SavedHeld {
            value: self.value,
            held_ms: age_ms(now, self.since),
            rows: self.rows,
        }
    }

    /// Goes on. The time in which no process saw the column does not count.
    pub(super) fn restore(saved: SavedHeld, now: Instant) -> Self {
        Self {
            value: saved.value,
            since: moment(now, saved.held_ms),
            rows: saved.rows,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HeldValue {
    Number(f64),
    Cell(usize),
}

impl WatchedColumn {
    /// Tests the open window against the ones before. Returns the alarms that start.
    pub(super) fn test_course(&mut self, round: TestRound<'_>) -> Vec<DriftTest> {
        let mut begun = Vec::new();
        // The rows of a part come and go.
        if self.open.present() == 0 || self.is_of_part {
            return begun;
        }
        if self.kind == ColumnKind::Trending {
            begun.extend(self.test_step(round));
        }
        if let Some(most) = self.baseline.held_max_s.filter(|_| self.moves()) {
            begun.extend(self.test_stuck(round, Duration::from_secs(most.max(1))));
        }
        begun
    }

    fn moves(&self) -> bool {
        matches!(
            self.kind,
            ColumnKind::Cyclic | ColumnKind::Trending | ColumnKind::Unsteady
        )
    }

    /// Tests how far the mean moved since the last window, in spans of the baseline.
    fn test_step(&mut self, round: TestRound<'_>) -> Option<DriftTest> {
        let ValueDistribution::Numbers(numbers) = &self.baseline.values else {
            return None;
        };
        let span = numbers.edges.last()? - numbers.edges.first()?;
        let rows = self.open.present();
        let mean = self.open.sums.iter().sum::<f64>() / rows as f64;
        let before = self.before.replace(mean)?;
        let value = (mean - before).abs() / span.max(f64::MIN_POSITIVE);
        self.note_exact(Metric::Step, value, rows, round)
    }

    /// Tests how long the column has had one value.
    fn test_stuck(&mut self, round: TestRound<'_>, most: Duration) -> Option<DriftTest> {
        let rows = self.open.present();
        let value = only_value(&self.cells, &self.open);
        self.held = match (value, self.held) {
            (Some(value), Some(held)) if held.value == value => Some(Held {
                rows: held.rows + rows,
                ..held
            }),
            (Some(value), _) => Some(Held {
                value,
                since: round.now,
                rows,
            }),
            (None, _) => None,
        };

        let held = self.held.filter(|held| held.rows >= ROWS_MIN);
        let age = held.map_or(Duration::ZERO, |held| {
            round.now.saturating_duration_since(held.since)
        });
        let came = |seconds: &&u32| u64::from(**seconds) <= age.as_secs();
        let enough_hours = || round.rows_came.iter().filter(came).count() >= HOURS_MIN;
        let is_by_day = self.kind == ColumnKind::Cyclic && most <= TWO_DAYS;
        let value = if is_by_day && !enough_hours() {
            0.0
        } else {
            age.as_secs_f64() / most.as_secs_f64()
        };
        self.note_exact(Metric::Stuck, value, held.map_or(rows, |h| h.rows), round)
    }

    /// Keeps the result of a test that has no chance in it.
    fn note_exact(
        &mut self,
        metric: Metric,
        value: f64,
        rows: u64,
        round: TestRound<'_>,
    ) -> Option<DriftTest> {
        let measured = DriftMeasure {
            value,
            lower: value,
            certain: value,
        };
        let counted = TestedRows {
            rows,
            effective_rows: rows as f64,
            baseline_rows: self.counts.iter().sum(),
        };
        self.note(
            (Against::Before, 1, metric),
            measured,
            counted,
            round.settings,
        )
    }
}

/// Returns the value that all rows of a window have, if they have the same.
fn only_value(cells: &Cells, tally: &ColumnTally) -> Option<HeldValue> {
    match cells {
        Cells::Numbers(_) => {
            (tally.ends.0 == tally.ends.1).then_some(HeldValue::Number(tally.ends.0))
        }
        Cells::Words(words) => {
            let present = tally.present();
            let cell = tally.counts.iter().position(|n| u64::from(*n) == present)?;
            // Other and unseen categories share their cells.
            (cell < words.cells() - 2).then_some(HeldValue::Cell(cell))
        }
    }
}
