//! What a column keeps over a restart: its windows, the hours of its week, and the last result of each
//! test. Does not know where that is stored.

use super::WatchedColumn;
use super::effect::LiveEffect;
use super::spans::Spans;
use super::stuck::{Held, SavedHeld};
use crate::core::error::short;
use crate::observe::drift::alarm::Verdicts;
use crate::observe::drift::kind::ColumnKind;
use crate::observe::drift::layout::Side;
use crate::observe::drift::window::ColumnTally;
use crate::observe::report::column::DriftTest;
use crate::observe::report::drift::Hints;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Instant;

/// A column for the next process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SavedColumn {
    name: String,
    side: Side,
    kind: ColumnKind,
    effect: LiveEffect,
    holes: Option<LiveEffect>,
    open: ColumnTally,
    recent: ColumnTally,
    spans: Spans,
    calm: u8,
    hour: ColumnTally,
    week: BTreeMap<u64, ColumnTally>,
    held: Option<SavedHeld>,
    before: Option<f64>,
    tests: Vec<(Verdicts, DriftTest)>,
    kept: Vec<f64>,
    hints: Hints,
}

impl SavedColumn {
    /// Drops the hours of the week.
    pub(crate) fn drop_week(&mut self) {
        self.week.clear();
    }

    /// Drops what is older than the last eight windows.
    pub(crate) fn drop_old_spans(&mut self) {
        self.spans.forget();
    }

    fn tallies(&self) -> impl Iterator<Item = &ColumnTally> {
        [&self.open, &self.recent, &self.hour]
            .into_iter()
            .chain(self.spans.tallies())
            .chain(self.week.values())
    }
}

impl WatchedColumn {
    /// Returns what the next process needs.
    pub(crate) fn save(&self, now: Instant) -> SavedColumn {
        SavedColumn {
            name: self.place.name.clone(),
            side: self.place.side,
            kind: self.kind,
            effect: self.effect.clone(),
            holes: self.holes.clone(),
            open: self.open.clone(),
            recent: self.recent.clone(),
            spans: self.spans.clone(),
            calm: self.calm,
            hour: self.hour.clone(),
            week: self.week.clone(),
            held: self.held.map(|held| held.save(now)),
            before: self.before,
            tests: self.tests.values().cloned().collect(),
            kept: self.kept.clone(),
            hints: self.hints,
        }
    }

    /// Goes on where an earlier process ended. Refuses another column; then nothing was changed.
    pub(crate) fn restore(&mut self, saved: SavedColumn, now: Instant) -> Result<(), String> {
        let name = short(&self.place.name);
        if (saved.side, &saved.name) != (self.place.side, &self.place.name) {
            return Err(format!(
                "it has '{}' in place of '{name}'",
                short(&saved.name)
            ));
        }
        if saved.kind != self.kind {
            return Err(format!("the kind of '{name}' was {}", saved.kind.name()));
        }
        if !saved.tallies().all(|tally| tally.fits(&self.cells)) {
            return Err(format!("'{name}' was counted in other cells"));
        }

        self.effect.go_on(saved.effect);
        if let (Some(holes), Some(earlier)) = (&mut self.holes, saved.holes) {
            holes.go_on(earlier);
        }
        (self.open, self.recent, self.hour) = (saved.open, saved.recent, saved.hour);
        (self.spans, self.calm) = (saved.spans, saved.calm);
        if self.keeps_week {
            self.week = saved.week;
        }
        self.held = saved.held.map(|held| Held::restore(held, now));
        self.before = saved.before;
        let place = |test: &DriftTest| (test.against, test.span, test.metric);
        self.tests = saved
            .tests
            .into_iter()
            .map(|(verdicts, test)| (place(&test), (verdicts, test)))
            .collect();
        (self.kept, self.hints) = (saved.kept, saved.hints);
        Ok(())
    }
}
