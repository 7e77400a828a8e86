//! Columns of the calendar, by their names and values: hours, weekdays, months, days, times since
//! 1970; and names of identifiers.

use super::{ends, steps_around};
use crate::observe::drift::series::ColumnSeries;
use std::collections::BTreeSet;

/// A unit of the calendar: what names say it, the range of its values, and its length.
struct CalendarUnit {
    title: &'static str,
    names: &'static [&'static str],
    /// Ranges that its whole values may have.
    ranges: &'static [(f64, f64)],
    length: f64,
}

const UNITS: &[CalendarUnit] = &[
    CalendarUnit {
        title: "an hour of the day",
        names: &["hour", "hr", "hod", "hourofday"],
        ranges: &[(0.0, 23.0), (1.0, 24.0)],
        length: 24.0,
    },
    CalendarUnit {
        title: "a day of the week",
        names: &["weekday", "dow", "wday", "dayofweek", "day", "week"],
        ranges: &[(0.0, 6.0), (1.0, 7.0)],
        length: 7.0,
    },
    CalendarUnit {
        title: "a month",
        names: &["month", "mnth", "mth"],
        ranges: &[(1.0, 12.0), (0.0, 11.0)],
        length: 12.0,
    },
    CalendarUnit {
        title: "a quarter",
        names: &["quarter", "qtr", "season"],
        ranges: &[(1.0, 4.0), (0.0, 3.0)],
        length: 4.0,
    },
    CalendarUnit {
        title: "a day of the month",
        names: &["day", "mday", "dom", "dayofmonth"],
        ranges: &[(1.0, 31.0)],
        length: 31.0,
    },
    CalendarUnit {
        title: "a minute",
        names: &["minute"],
        ranges: &[(0.0, 59.0)],
        length: 60.0,
    },
    CalendarUnit {
        title: "a week of the year",
        names: &["week", "weekofyear", "isoweek"],
        ranges: &[(1.0, 53.0)],
        length: 53.0,
    },
    CalendarUnit {
        title: "a day of the year",
        names: &["yday", "doy", "dayofyear", "yearday"],
        ranges: &[(1.0, 366.0)],
        length: 366.0,
    },
];

const WEEKDAYS: &[&str] = &[
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
    "mon",
    "tue",
    "wed",
    "thu",
    "fri",
    "sat",
    "sun",
];
const MONTHS: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
    "jan",
    "feb",
    "mar",
    "apr",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
];

/// Tells whether a column is a unit of the calendar: why, and how many values the unit has.
pub(super) fn calendar_of(name: &str, series: &ColumnSeries) -> Option<(String, f64)> {
    match series {
        ColumnSeries::Words(words) => named_days(words),
        ColumnSeries::Whole(values) => {
            let values: Vec<f64> = values.iter().map(|v| *v as f64).collect();
            unit_of(name, &values)
        }
        ColumnSeries::Numbers(values) => {
            let values: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
            unit_of(name, &values)
        }
    }
}

fn named_days(words: &[String]) -> Option<(String, f64)> {
    let found: BTreeSet<String> = words
        .iter()
        .filter(|word| !word.is_empty())
        .map(|word| word.trim().to_lowercase())
        .take(100_000)
        .collect();
    let all_in = |names: &[&str]| {
        found.len() >= 3 && found.iter().all(|word| names.contains(&word.as_str()))
    };

    if all_in(WEEKDAYS) {
        return Some(("its words are days of the week".to_owned(), 7.0));
    }
    all_in(MONTHS).then(|| ("its words are months".to_owned(), 12.0))
}

/// Finds a unit by the name and the range of whole values, or by values that step around its circle.
fn unit_of(name: &str, values: &[f64]) -> Option<(String, f64)> {
    if !values.iter().all(|v| v.fract() == 0.0) {
        return None;
    }
    let (least, greatest) = ends(values)?;
    let words = words_of(name);
    let is_within = |unit: &CalendarUnit| {
        unit.ranges
            .iter()
            .any(|(low, high)| *low <= least && greatest <= *high)
    };
    // A flag, such as `is_month_end`, is no unit of the calendar.
    let has_many = greatest - least >= 2.0;
    let is_named =
        |unit: &&CalendarUnit| has_many && words.iter().any(|w| unit.names.contains(&w.as_str()));
    if let Some(unit) = UNITS.iter().filter(is_named).find(|unit| is_within(unit)) {
        let reason = format!("its name and range are those of {}", unit.title);
        return Some((reason, unit.length));
    }

    // Without a telling name: the whole circle, walked step by step.
    let is_whole = |unit: &&CalendarUnit| {
        unit.ranges
            .iter()
            .any(|(low, high)| (*low, *high) == (least, greatest))
    };
    let unit = UNITS
        .iter()
        .filter(|unit| matches!(unit.length as u32, 7 | 12 | 24))
        .filter(is_whole)
        .find(|unit| steps_around(values, unit.length))?;
    let reason = format!(
        "its values are those of {}, and go round in the order of rows",
        unit.title
    );
    Some((reason, unit.length))
}

/// Ranges of times since 1970, from 2001 to 2065: in seconds, milliseconds, microseconds and
/// nanoseconds.
const TIMES: [(f64, f64); 4] = [(1e9, 3e9), (1e12, 3e12), (1e15, 3e15), (1e18, 3e18)];

/// Tells whether a column is a time since 1970.
pub(super) fn is_time(name: &str, (least, greatest): (f64, f64)) -> bool {
    const NAMES: [&str; 12] = [
        "ts",
        "time",
        "timestamp",
        "date",
        "datetime",
        "epoch",
        "unixtime",
        "unix",
        "created",
        "updated",
        "at",
        "when",
    ];
    let is_named = words_of(name).iter().any(|w| NAMES.contains(&w.as_str()));
    is_named
        && TIMES
            .iter()
            .any(|(low, high)| *low <= least && greatest < *high)
}

/// Tells whether a name is that of an identifier.
pub(super) fn is_identifier(name: &str) -> bool {
    words_of(name)
        .iter()
        .any(|w| matches!(w.as_str(), "id" | "ids" | "uuid" | "guid" | "key" | "index"))
}

/// Splits a name into lower-case words: `pickupHour` and `pickup_hour` are `pickup` and `hour`.
fn words_of(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in name.chars() {
        let starts = letter.is_uppercase() && was_lower;
        was_lower = letter.is_lowercase();
        if starts || !letter.is_alphabetic() {
            words.push(String::new());
        }
        if letter.is_alphabetic() {
            let last = words.last_mut().expect("begins with a word");
            last.extend(letter.to_lowercase());
        }
    }

    words.retain(|word| !word.is_empty());
    let whole: String = words.concat();
    words.push(whole);
    words
}
