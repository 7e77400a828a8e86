//! The performance test of one version: of all its rows, and of each part of a slice whose error share
//! the baseline has. What is wrong in one part may be hidden in the whole. Bounded by the parts of a
//! baseline.

#[cfg(test)]
mod tests;

use super::book::Row;
use super::sequential::{SequentialTest, Won};
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::baseline::part::{BaselinePart, PARTS_MAX};
use crate::observe::drift::slice::choice::PART_ROWS_MIN;
use crate::observe::report::column::SlicePart;
use std::collections::BTreeMap;

/// Share of the accepted false alarms that the test of all rows has beside those of parts.
const WHOLE_SHARE: f64 = 0.5;

/// The performance tests of one version.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlicedTest {
    /// Of all rows.
    pub whole: SequentialTest,
    /// Of parts, by slice and part.
    parts: BTreeMap<String, BTreeMap<String, SequentialTest>>,
}

/// An alarm of all rows, or of a part, that started.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BegunLoss {
    /// The part; none for all rows.
    pub part: Option<SlicePart>,
    pub won: Won,
}

impl SlicedTest {
    /// Starts with the performance on the baseline's rows. `slices` are the columns by which labelled
    /// rows are grouped; parts of other columns are not tested.
    pub(crate) fn new(baseline: &Baseline, slices: &[String], margin: f64) -> Self {
        let whole = SequentialTest::new(&baseline.performance, baseline.rows, margin);
        let test = |part: &BaselinePart| {
            let loss = part.loss.filter(|loss| loss.rows >= PART_ROWS_MIN)?;
            whole.of_part(loss, margin)
        };
        let mut parts: BTreeMap<String, BTreeMap<String, SequentialTest>> = BTreeMap::new();
        for part in baseline.parts.iter().take(PARTS_MAX) {
            if let Some(test) = test(part).filter(|_| slices.contains(&part.slice)) {
                let of = parts.entry(part.slice.clone()).or_default();
                of.insert(part.part.clone(), test);
            }
        }
        Self { whole, parts }
    }

    /// Adds a labelled row, whose parts are of `slices`, in order. Returns the alarms that start.
    /// `alarms` is the accepted number of false alarms in a month, of all tests together.
    pub(crate) fn take(
        &mut self,
        row: &Row,
        slices: &[String],
        alarms: f64,
        margin: f64,
    ) -> Vec<BegunLoss> {
        let hour = u64::try_from(row.time_us / 3_600_000_000).unwrap_or(0);
        let judged = (&row.answer, row.truth);
        let tested = self.parts.values().map(BTreeMap::len).sum::<usize>();
        let of_whole = if tested > 0 {
            alarms * WHOLE_SHARE
        } else {
            alarms
        };
        let won = self.whole.take(judged, hour, of_whole, margin);
        let mut begun: Vec<BegunLoss> = won
            .into_iter()
            .map(|won| BegunLoss { part: None, won })
            .collect();

        // An alarm of all rows tells of its parts too.
        let of_part = if self.whole.alarm.is_some() {
            0.0
        } else {
            alarms * (1.0 - WHOLE_SHARE) / tested.max(1) as f64
        };
        for (slice, part) in slices.iter().zip(&row.parts) {
            let test = self.parts.get_mut(slice).and_then(|of| of.get_mut(part));
            let won = test.and_then(|test| test.take(judged, hour, of_part, margin));
            if let Some(won) = won {
                let (slice, part) = (slice.clone(), part.clone());
                let part = Some(SlicePart { slice, part });
                begun.push(BegunLoss { part, won });
            }
        }
        begun
    }

    /// Ends the alarms whose time is over, even if no labels arrive. Returns whether any ended.
    pub(crate) fn end_alarms(&mut self, hour: u64) -> bool {
        let parts = self.parts.values_mut().flat_map(BTreeMap::values_mut);
        let mut any = false;
        for test in std::iter::once(&mut self.whole).chain(parts) {
            any |= test.end_alarm(hour);
        }
        any
    }

    /// Returns the test of a part.
    pub(crate) fn part(&self, slice: &str, part: &str) -> Option<&SequentialTest> {
        self.parts.get(slice)?.get(part)
    }

    /// Returns how many parts are in alarm.
    pub(crate) fn parts_in_alarm(&self) -> usize {
        let parts = self.parts.values().flat_map(BTreeMap::values);
        parts.filter(|test| test.alarm.is_some()).count()
    }
}
