//! The answered rows of one version: how many there were, how many of them the last minutes'
//! windows hold, and the floor of rows in each minute that are counted whatever they cost. Owns no
//! clock and takes no lock on the threads that serve requests.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The rows of one version that were answered.
#[derive(Default)]
pub(super) struct Traffic {
    /// Rows of requests that were answered.
    pub rows: AtomicU64,
    pub floor: RowFloor,
}

/// Counts rows up to a floor in every minute. The number of the minute in the upper half, its rows
/// in the lower one.
#[derive(Default)]
pub(super) struct RowFloor(AtomicU64);

impl RowFloor {
    /// Tells whether the minute's floor is not reached yet.
    pub(super) fn has_room(&self, minute: u32, rows_min: u32) -> bool {
        rows_of(self.0.load(Ordering::Relaxed), minute) < rows_min
    }

    /// Takes rows into the minute's floor. Returns false if it is reached already; the last request
    /// is taken whole.
    pub(super) fn take(&self, minute: u32, rows: u64, rows_min: u32) -> bool {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        let take = |state| {
            let before = rows_of(state, minute);
            let after = before.saturating_add(rows);
            (before < rows_min).then_some(u64::from(minute) << 32 | u64::from(after))
        };

        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        taken.is_ok()
    }

    /// Gives rows back that were taken and could not be counted.
    pub(super) fn give_back(&self, minute: u32, rows: u64) {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        let give = |state| {
            let left = rows_of(state, minute).saturating_sub(rows);
            (state >> 32 == u64::from(minute)).then_some(u64::from(minute) << 32 | u64::from(left))
        };

        // In another minute there is nothing to give back.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
    }
}

/// Returns the rows of a minute.
fn rows_of(state: u64, minute: u32) -> u32 {
    if state >> 32 == u64::from(minute) {
        (state & u64::from(u32::MAX)) as u32
    } else {
        0
    }
}

/// Interval between two notes.
const NOTE: Duration = Duration::from_secs(10);
/// Notes that are kept: those of five minutes.
const NOTES_MAX: usize = 31;

/// Answered and counted rows of the last five minutes.
#[derive(Default)]
pub(super) struct CountedRows {
    notes: VecDeque<(Instant, u64, u64)>,
    last: (u64, u64),
}

impl CountedRows {
    /// Notes the totals of answered and of counted rows.
    pub(super) fn note(&mut self, now: Instant, rows: u64, counted: u64) {
        let is_due = |(at, ..): &(Instant, u64, u64)| now.saturating_duration_since(*at) >= NOTE;
        if self.notes.back().is_none_or(is_due) {
            let (rows, counted) = self.last;
            self.notes.push_back((now, rows, counted));
        }
        while self.notes.len() > NOTES_MAX {
            self.notes.pop_front();
        }

        self.last = (rows, counted);
    }

    /// Returns the share of the rows that was counted; none without rows.
    pub(super) fn share(&self) -> Option<f64> {
        let (_, rows, counted) = self.notes.front()?;
        let rows = self.last.0.saturating_sub(*rows);
        let counted = self.last.1.saturating_sub(*counted);
        (rows > 0).then(|| (counted as f64 / rows as f64).min(1.0))
    }
}
