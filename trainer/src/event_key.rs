//! The keys of events in the history of a model: which request, time, alarm,
//! specification or new rows a run was for. Owns the text of keys, which names
//! objects of the store; decides nothing.

#[cfg(test)]
mod tests;

use chrono::{DateTime, NaiveDateTime, SubsecRound, Utc};
use ortus::core::hash::Digest;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A time to the second, as in `20260301T030000Z`.
const SECONDS: &str = "%Y%m%dT%H%M%SZ";
/// A time to the microsecond, as in `20260301T030000000000Z`.
const MICROSECONDS: &str = "%Y%m%dT%H%M%S%6fZ";
/// The number of digits of a digest that a key holds.
const DIGITS: usize = 16;

/// The key of an event. The same event has the same key for ever, so that it is
/// handled once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EventKey {
    /// A request by a person: its id.
    Request(String),
    /// A time of the cron pattern, to the second.
    Cron(DateTime<Utc>),
    /// An alarm: its time, to the second, and the first digits of its digest.
    Alarm(DateTime<Utc>, String),
    /// A changed specification: the first digits of its digest.
    Spec(String),
    /// New rows after the newest row of the last run, to the microsecond.
    RowsAfter(DateTime<Utc>),
    /// New rows beyond the number of rows of the last run, if rows have no time.
    RowsOver(usize),
    /// The note that an event is due but delayed.
    Waits(Box<EventKey>),
    /// A key that this version does not write.
    Other(String),
}

impl EventKey {
    pub(crate) fn cron(time: DateTime<Utc>) -> Self {
        Self::Cron(time.trunc_subsecs(0))
    }

    pub(crate) fn alarm(time: DateTime<Utc>, digest: &Digest) -> Self {
        Self::Alarm(time.trunc_subsecs(0), digits(digest))
    }

    pub(crate) fn spec(digest: &Digest) -> Self {
        Self::Spec(digits(digest))
    }

    pub(crate) fn rows_after(newest: DateTime<Utc>) -> Self {
        Self::RowsAfter(newest.trunc_subsecs(6))
    }

    /// Makes the key of the note that the first of several events is delayed.
    pub(crate) fn waits(first: Option<&Self>) -> Self {
        let first = first.cloned();
        Self::Waits(Box::new(
            first.unwrap_or_else(|| Self::Other("none".to_owned())),
        ))
    }

    /// Reads a key. A text that no key is written as stays as it is.
    pub(crate) fn parse(text: &str) -> Self {
        Self::known(text)
            .filter(|key| key.to_string() == text)
            .unwrap_or_else(|| Self::Other(text.to_owned()))
    }

    fn known(text: &str) -> Option<Self> {
        if let Some(id) = text.strip_prefix("ask-") {
            Some(Self::Request(id.to_owned()))
        } else if let Some(at) = text.strip_prefix("cron-") {
            Some(Self::Cron(time(at, SECONDS)?))
        } else if let Some(alarm) = text.strip_prefix("alarm-") {
            let (at, digits) = alarm.split_once('-')?;
            Some(Self::Alarm(time(at, SECONDS)?, digits.to_owned()))
        } else if let Some(digits) = text.strip_prefix("spec-") {
            Some(Self::Spec(digits.to_owned()))
        } else if let Some(at) = text.strip_prefix("rows-after-") {
            Some(Self::RowsAfter(time(at, MICROSECONDS)?))
        } else if let Some(rows) = text.strip_prefix("rows-over-") {
            Some(Self::RowsOver(rows.parse().ok()?))
        } else {
            let delayed = text.strip_prefix("waits-")?;
            Some(Self::Waits(Box::new(Self::parse(delayed))))
        }
    }

    pub(crate) fn is_request(&self) -> bool {
        matches!(self, Self::Request(_))
    }

    /// Returns whether at most one run is recorded for the event.
    pub(crate) fn occurs_once(&self) -> bool {
        matches!(self, Self::Request(_) | Self::Cron(_))
    }

    /// Returns the time of the alarm that the key names, to the second.
    pub(crate) fn alarm_time(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Alarm(time, _) => Some(*time),
            _ => None,
        }
    }

    /// Returns the time of the cron pattern that the key names.
    pub(crate) fn cron_time(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Cron(time) => Some(*time),
            _ => None,
        }
    }
}

fn time(text: &str, format: &str) -> Option<DateTime<Utc>> {
    let time = NaiveDateTime::parse_from_str(text, format).ok()?;
    Some(time.and_utc())
}

fn digits(digest: &Digest) -> String {
    let text = digest.to_string();
    let digits = text.trim_start_matches("sha256:").chars();
    digits.take(DIGITS).collect()
}

impl fmt::Display for EventKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(id) => write!(f, "ask-{id}"),
            Self::Cron(time) => write!(f, "cron-{}", time.format(SECONDS)),
            Self::Alarm(time, digits) => write!(f, "alarm-{}-{digits}", time.format(SECONDS)),
            Self::Spec(digits) => write!(f, "spec-{digits}"),
            Self::RowsAfter(newest) => write!(f, "rows-after-{}", newest.format(MICROSECONDS)),
            Self::RowsOver(rows) => write!(f, "rows-over-{rows}"),
            Self::Waits(delayed) => write!(f, "waits-{delayed}"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl Serialize for EventKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::parse(&String::deserialize(deserializer)?))
    }
}
