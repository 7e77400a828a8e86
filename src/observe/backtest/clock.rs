//! When the rows of a table came: by a column of times, or so many in each minute. Pure.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result, short};
use crate::core::names;
use crate::storage::table::{Cell, Column, Table};
use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// Numbers from which on a time is in milliseconds, microseconds and nanoseconds since 1970. As seconds
/// they are in the year 5138 and later.
const MILLIS_MIN: f64 = 1e11;
const MICROS_MIN: f64 = 1e14;
const NANOS_MIN: f64 = 1e17;
/// Times without a zone that are read; they count as UTC.
const FORMATS: [&str; 6] = [
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d %H:%M",
];
const DATES: [&str; 2] = ["%Y-%m-%d", "%Y/%m/%d"];

/// When rows came.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum RowClock {
    /// A column of times.
    Column(String),
    /// So many rows a minute, from this second since 1970 on.
    PerMinute(f64, i64),
}

impl RowClock {
    /// Returns the time of each row, in seconds since 1970.
    pub(crate) fn times(&self, table: &Table) -> Result<Vec<i64>> {
        match self {
            Self::PerMinute(rows, from) => Ok((0..table.rows)
                .map(|row| from + (row as f64 * 60.0 / rows) as i64)
                .collect()),
            Self::Column(name) => {
                let column = table.column(name).ok_or_else(|| {
                    let has: Vec<&str> = table.names().collect();
                    Error::invalid(format!(
                        "the table has no column '{}'{}",
                        short(name),
                        names::instead(name, &has, "its columns are")
                    ))
                })?;
                let one = |row: usize| {
                    time(column, row).ok_or_else(|| {
                        Error::invalid(format!(
                            "row {row} of '{}' is no time: '{}'; write 2026-03-01 14:30:00 (UTC), 2026-03-01T14:30:00+01:00, 2026-03-01, or seconds since 1970",
                            short(name),
                            short(&column.word(row))
                        ))
                    })
                };
                (0..table.rows).map(one).collect()
            }
        }
    }
}

/// Reads a time.
fn time(column: &Column, row: usize) -> Option<i64> {
    if let Column::Time(micros) = column {
        return micros.get(row).map(|micros| micros.div_euclid(1_000_000));
    }
    match column.cell(row)? {
        Cell::Whole(v) => seconds(v as f64),
        Cell::Unsigned(v) => seconds(v as f64),
        Cell::Number(v) => seconds(v),
        Cell::Word(word) => written(word.trim()),
        Cell::Bytes(_) => None,
    }
}

fn seconds(value: f64) -> Option<i64> {
    let size = value.abs();
    let unit = match () {
        () if size >= NANOS_MIN => 1e9,
        () if size >= MICROS_MIN => 1e6,
        () if size >= MILLIS_MIN => 1e3,
        () => 1.0,
    };
    value.is_finite().then(|| (value / unit).floor() as i64)
}

fn written(word: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(word) {
        return Some(time.timestamp());
    }
    if let Ok(time) = DateTime::parse_from_str(word, "%Y-%m-%d %H:%M:%S%.f%#z") {
        return Some(time.timestamp());
    }
    let moment = |format: &&str| NaiveDateTime::parse_from_str(word, format).ok();
    if let Some(time) = FORMATS.iter().find_map(moment) {
        return Some(time.and_utc().timestamp());
    }
    let day = |format: &&str| NaiveDate::parse_from_str(word, format).ok();
    let date = DATES.iter().find_map(day)?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp())
}
