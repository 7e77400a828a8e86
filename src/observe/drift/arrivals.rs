//! In which hours of the day rows came lately. Pure.

#[cfg(test)]
mod tests;

use super::age::{age_ms, moment};
use std::time::Instant;

pub(crate) const DAY_HOURS: usize = 24;

/// The last rows of each hour of the day.
#[derive(Default)]
pub(crate) struct Arrivals {
    rows: Option<u64>,
    last: [Option<Instant>; DAY_HOURS],
}

impl Arrivals {
    /// Notes how many rows came so far. `hour` counts hours of the calendar.
    pub(crate) fn note(&mut self, rows: u64, hour: u64, now: Instant) {
        let before = self.rows.replace(rows);
        if before.is_some_and(|before| before != rows) {
            self.last[hour as usize % DAY_HOURS] = Some(now);
        }
    }

    /// Returns how long ago rows came in each hour of the day, in milliseconds, for the next process; nothing if none came.
    pub(crate) fn save(&self, now: Instant) -> Vec<Option<u64>> {
        if self.last.iter().all(Option::is_none) {
            return Vec::new();
        }
        self.last
            .map(|last| last.map(|at| age_ms(now, at)))
            .to_vec()
    }

    /// Goes on. The time in which no process saw rows does not count, as for the values that columns hold.
    pub(crate) fn restore(&mut self, saved: &[Option<u64>], now: Instant) {
        for (last, age) in self.last.iter_mut().zip(saved) {
            *last = age.map(|age| moment(now, age));
        }
    }

    /// Returns the seconds since rows came in each hour of the day.
    pub(crate) fn ages(&self, now: Instant) -> [u32; DAY_HOURS] {
        let age = |last: Instant| now.saturating_duration_since(last).as_secs();
        let seconds = |age: u64| u32::try_from(age).unwrap_or(u32::MAX);
        self.last
            .map(|last| last.map_or(u32::MAX, |last| seconds(age(last))))
    }
}
