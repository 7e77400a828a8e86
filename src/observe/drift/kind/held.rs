//! For how long a column that moves may have one value. Longer is a feed that stands still. Pure.

#[cfg(test)]
mod tests;

use super::ColumnKind;
use super::order::RankScores;

const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 24 * HOUR_S;
/// Fewest different values of a column that changes within a day.
const DISTINCT_MIN: usize = 10;
/// Share of the rows from which a value is the usual one, which may stay.
const USUAL: f64 = 0.5;
/// Share of the rows that follow each other with one value from which the rows do not tell how long it
/// may stay.
const LONG_RUN: f64 = 0.1;

/// Returns the seconds for which a column of a unit of the calendar may have one value: until the unit
/// changes, and some more.
pub(super) fn of_calendar(length: f64) -> u64 {
    match length as u32 {
        7 | 53 => 8 * DAY_S,
        12 => 32 * DAY_S,
        4 => 95 * DAY_S,
        _ => DAY_S + 2 * HOUR_S,
    }
}

/// Returns the seconds for which another column may have one value; none where no limit is known. Values
/// that change from row to row change within a day, flags such as that of a working day within a week.
pub(super) fn by_values(kind: ColumnKind, scores: &RankScores) -> Option<u64> {
    let moves = matches!(
        kind,
        ColumnKind::Cyclic | ColumnKind::Unsteady | ColumnKind::Trending
    );
    let rows = scores.present.len();
    if !moves || rows == 0 {
        return None;
    }
    let share = |n: usize| n as f64 / rows as f64;
    if share(most_frequent(&scores.present)) > USUAL
        || share(longest_run(&scores.present)) > LONG_RUN
    {
        return None;
    }
    Some(if scores.distinct < DISTINCT_MIN {
        8 * DAY_S
    } else {
        DAY_S + 2 * HOUR_S
    })
}

/// Returns the most rows that follow each other with one value.
fn longest_run(values: &[f32]) -> usize {
    let runs = values.chunk_by(|a, b| a == b);
    runs.map(<[f32]>::len).max().unwrap_or(0)
}

/// Returns the rows of the most frequent value.
fn most_frequent(values: &[f32]) -> usize {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    longest_run(&sorted)
}
