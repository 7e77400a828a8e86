//! Columns that hold times, or look as if they did: what was found, for the split, for calendar features,
//! and for a first specification. Reads no file.

#[cfg(test)]
mod tests;

use super::columns::{Gathered, NO_TIME, Raw};
use crate::values::Values;
use ortus::core::count::{agreed, counted};
use ortus::core::error::{Error, Result, short};
use ortus::storage::table::text::scan::UnixUnit;
use ortus::storage::table::text::time_tally::TimeFacts;

/// Parts of names by which numbers in the range of times are times.
const NAMES: [&str; 14] = [
    "time",
    "date",
    "ts",
    "at",
    "when",
    "stamp",
    "timestamp",
    "datetime",
    "created",
    "updated",
    "epoch",
    "unix",
    "day",
    "moment",
];

/// A column that holds times.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TimeColumn {
    pub name: String,
    pub form: TimeForm,
    /// Rows without a time.
    pub missing: usize,
}

/// How the times of a column are written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TimeForm {
    /// They were read.
    Times,
    /// Numbers since 1970; they are a time only where the specification says so.
    Unix(UnixUnit),
    /// Words, since their order of day and month, or some values, are not clear.
    Words(Box<TimeFacts>),
}

/// Times as numbers.
pub(super) struct Moments {
    /// NaN if missing.
    pub values: Values<f64>,
    /// How many of their unit are a second.
    pub per_second: f64,
}

/// Returns the unit in which numbers look like times since 1970.
pub(super) fn unix_unit(all: &[f64]) -> Option<UnixUnit> {
    let known = || all.iter().copied().filter(|v| !v.is_nan());
    let least = known().fold(f64::INFINITY, f64::min);
    let most = known().fold(f64::NEG_INFINITY, f64::max);
    UnixUnit::of_range(least, most).filter(|_| least <= most)
}

/// Returns what is known of a column as a time; none if it does not look like one. Numbers need more
/// than their range: a name, or an order.
pub(super) fn found(column: &Gathered) -> Option<TimeColumn> {
    let (form, missing) = match &column.values {
        Raw::Times(all) => {
            let missing = all.iter().filter(|t| **t == NO_TIME).count();
            (TimeForm::Times, missing)
        }
        Raw::Numbers(all) => {
            let unit = unix_unit(all)?;
            if !is_named(&column.name) && !never_falls(all) {
                return None;
            }
            let missing = all.iter().filter(|v| v.is_nan()).count();
            (TimeForm::Unix(unit), missing)
        }
        Raw::Words(words) => {
            let facts = TimeFacts::of_words(words.list.iter().map(String::as_str))?;
            let missing = words
                .codes
                .iter()
                .filter(|c| words.list.get(**c as usize).is_none());
            (TimeForm::Words(Box::new(facts)), missing.count())
        }
    };
    Some(TimeColumn {
        name: column.name.clone(),
        form,
        missing,
    })
}

/// Returns whether a part of a name, such as `order_ts` or `createdAt`, says that it is a time.
fn is_named(name: &str) -> bool {
    let mut parts: Vec<String> = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        let begins = !c.is_alphanumeric() || (c.is_uppercase() && was_lower);
        if begins {
            parts.push(String::new());
        }
        if c.is_alphabetic()
            && let Some(last) = parts.last_mut()
        {
            last.extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase();
    }
    parts.iter().any(|part| NAMES.contains(&part.as_str()))
}

/// Returns whether numbers are in an order: none is below the one before it, and not all are equal.
fn never_falls(all: &[f64]) -> bool {
    all.is_sorted() && all.first() < all.last()
}

impl TimeColumn {
    /// Returns why words are no times, and what to do.
    pub(crate) fn why_words(&self) -> Option<String> {
        let TimeForm::Words(facts) = &self.form else {
            return None;
        };
        let name = short(&self.name);
        let example = facts
            .example
            .as_ref()
            .map_or("", |cell| cell.value.as_str());
        let example = short(example);
        if facts.is_ambiguous() {
            let labels: Vec<&str> = facts.fits.iter().map(|order| order.label()).collect();
            let settings = facts
                .fits
                .iter()
                .map(|order| format!("\"{}\"", order.setting()));
            let settings: Vec<String> = settings.collect();
            return Some(format!(
                "'{name}' holds times such as '{example}', which could be {}: set 'dates' in the format of the source to {}",
                labels.join(" or "),
                settings.join(" or ")
            ));
        }
        Some(match &facts.first_unreadable {
            Some(first) => format!(
                "'{name}' holds times such as '{example}', but {} different {} no time, such as '{}': list what means \"missing\" in 'missing' of the source's format",
                facts.unreadable,
                agreed(facts.unreadable, "value is", "values are"),
                short(&first.value)
            ),
            None if facts.order.is_none() => format!(
                "'{name}' holds times such as '{example}' in several formats: write all of them in one way"
            ),
            None => {
                let order = facts.order.map_or("", |order| order.setting());
                format!(
                    "'{name}' holds times as text, such as '{example}': CAST it to TIMESTAMP in the query, or set 'dates' in the format of a text file to \"{order}\""
                )
            }
        })
    }
}

impl Gathered {
    /// Converts to times; a number is seconds since 1970, or of the unit in which all are between 1990
    /// and 2100. Rows without a time have [`NO_TIME`].
    pub(super) fn times(self) -> Result<Vec<i64>> {
        match self.values {
            Raw::Times(all) => Ok(all),
            Raw::Numbers(all) => {
                let per_second = unix_unit(&all).map_or(1.0, UnixUnit::per_second);
                let time = |v: f64| {
                    let seconds = v / per_second;
                    if seconds.is_finite() && seconds.abs() < 9e12 {
                        (seconds * 1e6) as i64
                    } else {
                        NO_TIME
                    }
                };
                Ok(all.iter().map(|v| time(*v)).collect())
            }
            Raw::Words(_) => Err(self.no_time()),
        }
    }

    /// Converts to an input of the model: seconds since 1970, or numbers of the unit that they have.
    pub(super) fn moments(self) -> Result<Moments> {
        match self.values {
            Raw::Times(all) => {
                let seconds = |t: i64| {
                    if t == NO_TIME {
                        f64::NAN
                    } else {
                        t as f64 / 1e6
                    }
                };
                Ok(Moments {
                    values: all.into_iter().map(seconds).collect(),
                    per_second: 1.0,
                })
            }
            Raw::Numbers(all) => match unix_unit(&all) {
                Some(unit) => Ok(Moments {
                    values: all,
                    per_second: unit.per_second(),
                }),
                None => Err(Error::invalid(format!(
                    "'{}' in [schema.calendar] is no time: its numbers are not seconds, milliseconds, microseconds or nanoseconds of the years 1990 to 2099; make a time of it in the query, such as to_timestamp_seconds({0})",
                    short(&self.name)
                ))),
            },
            Raw::Words(_) => Err(self.no_time()),
        }
    }

    /// Refuses words as times.
    fn no_time(&self) -> Error {
        let why = found(self).and_then(|time| time.why_words());
        Error::invalid(why.unwrap_or_else(|| {
            format!(
                "'{}' is not a time; CAST it to TIMESTAMP in the query",
                short(&self.name)
            )
        }))
    }
}

/// Says in which unit the time of the rows is read, and how many rows have none.
pub(super) fn notes(column: &TimeColumn) -> Vec<String> {
    let name = short(&column.name);
    let mut notes = Vec::new();
    if let TimeForm::Unix(unit) = &column.form {
        notes.push(format!(
            "'{name}', the time, is {} since 1970",
            unit.label()
        ));
    }
    if column.missing > 0 {
        notes.push(format!(
            "not used: {} without a '{name}', the time",
            counted(column.missing, "row")
        ));
    }
    notes
}
