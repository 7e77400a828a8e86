//! Whether a column follows the clock or the calendar, by the times of the rows: an hour or a weekday in any
//! language, opening hours, working days. Pure.

#[cfg(test)]
mod tests;

use super::VALUES_MIN;
use crate::observe::drift::series::ColumnSeries;
use chrono::{DateTime, Datelike};
use std::collections::HashMap;

const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;
/// Most different values of such a column.
const VALUES_MAX: usize = 64;
/// How many of the values that are not the usual one the time must tell. The rest is left for the hours at
/// which clocks change.
const TOLD: f64 = 0.9;
/// Days whose hours are compared with each other: clocks change twice a year.
const SEASON_DAYS: i64 = 30;
/// Rows of a season and hour from which seasons are kept apart.
const SEASON_ROWS: usize = 5;

/// A cycle of the calendar that values may follow.
struct Cycle {
    title: &'static str,
    /// How many values the unit has that a column may stand for.
    length: usize,
    /// How long it takes, in days.
    days: i64,
    /// Least times that the rows must show it.
    times: i64,
    /// The place of a time within the cycle.
    place: fn(i64) -> i64,
}

const CYCLES: [Cycle; 3] = [
    Cycle {
        title: "the hour of the day",
        length: 24,
        days: 1,
        times: 3,
        place: |time| time.rem_euclid(DAY_S) / HOUR_S,
    },
    Cycle {
        title: "the day of the week",
        length: 7,
        days: 7,
        times: 3,
        // With the hour: the day of another time zone begins at another one.
        place: |time| time.rem_euclid(7 * DAY_S) / HOUR_S,
    },
    Cycle {
        title: "the month",
        length: 12,
        days: 365,
        times: 2,
        place: |time| DateTime::from_timestamp(time, 0).map_or(0, |at| at.month().into()),
    },
];

/// Tells whether the times of the rows tell the values of a column: why, and how many values its unit
/// has if the column has as many.
pub(super) fn follows(series: &ColumnSeries, times: &[i64]) -> Option<(String, Option<f64>)> {
    if times.len() != series.rows() || times.len() < VALUES_MIN {
        return None;
    }
    let (values, distinct) = numbered(series)?;
    if distinct < 2 {
        return None;
    }
    let (first, last) = (*times.iter().min()?, *times.iter().max()?);
    let cycle = CYCLES.iter().find(|cycle| {
        last - first >= cycle.days * cycle.times * DAY_S && told(cycle, &values, times) >= TOLD
    })?;
    let reason = format!("the time of the rows tells its value, by {}", cycle.title);
    let length = (distinct == cycle.length).then_some(cycle.length as f64);
    Some((reason, length))
}

/// Numbers the different values; none if there are too many. A missing value has no number.
fn numbered(series: &ColumnSeries) -> Option<(Vec<Option<u32>>, usize)> {
    fn number<K: std::hash::Hash + Eq>(
        keys: impl Iterator<Item = Option<K>>,
    ) -> Option<(Vec<Option<u32>>, usize)> {
        let mut known: HashMap<K, u32> = HashMap::new();
        let mut numbers = Vec::new();
        for key in keys {
            let next = known.len() as u32;
            numbers.push(key.map(|key| *known.entry(key).or_insert(next)));
            if known.len() > VALUES_MAX {
                return None;
            }
        }
        Some((numbers, known.len()))
    }
    match series {
        ColumnSeries::Numbers(values) => {
            number(values.iter().map(|v| (!v.is_nan()).then(|| v.to_bits())))
        }
        ColumnSeries::Whole(values) => number(values.iter().map(|v| Some(*v))),
        ColumnSeries::Words(words) => {
            number(words.iter().map(|w| (!w.is_empty()).then_some(w.as_str())))
        }
    }
}

/// Returns how many of the values that are not the usual one the other rows of the same place in the cycle
/// tell: 0 if they tell no more than the usual value, 1 if they tell all.
fn told(cycle: &Cycle, values: &[Option<u32>], times: &[i64]) -> f64 {
    let is_seasonal = cycle.days == 1 && has_seasons(cycle, times);
    let season = |time: i64| match is_seasonal {
        true => time.div_euclid(SEASON_DAYS * DAY_S),
        false => 0,
    };
    let mut counts: HashMap<(i64, i64), HashMap<u32, usize>> = HashMap::new();
    let mut whole: HashMap<u32, usize> = HashMap::new();
    for (value, time) in values.iter().zip(times) {
        let Some(value) = *value else { continue };
        let place = (season(*time), (cycle.place)(*time));
        *counts.entry(place).or_default().entry(value).or_default() += 1;
        *whole.entry(value).or_default() += 1;
    }

    // A row is told if the others of its place have its value most often.
    let (mut judged, mut right) = (0, 0);
    for place in counts.values() {
        let all: usize = place.values().sum();
        if all < 2 {
            continue;
        }
        judged += all;
        let most = place.values().max().copied().unwrap_or(0);
        let is_told = |n: &&usize| {
            let rivals = place.values().filter(|other| **other == **n).count();
            **n == most && rivals == 1 && **n > 1
        };
        right += place.values().filter(is_told).copied().sum::<usize>();
    }
    let all = whole.values().sum::<usize>().max(1) as f64;
    let usual = whole.values().max().copied().unwrap_or(0) as f64 / all;
    let share = right as f64 / all;
    if usual >= 1.0 || judged * 2 < all as usize {
        return 0.0;
    }
    (share - usual) / (1.0 - usual)
}

/// Tells whether there are enough rows to keep the hours of each season apart.
fn has_seasons(cycle: &Cycle, times: &[i64]) -> bool {
    let ends = times.iter().min().zip(times.iter().max());
    let seasons = ends.map_or(1, |(a, b)| (b - a) / (SEASON_DAYS * DAY_S) + 1);
    times.len() >= SEASON_ROWS * cycle.length * usize::try_from(seasons).unwrap_or(1)
}
