//! Keys of what is kept below `answers/`: in folders by the hour of the predictions, with the span of
//! time in the name, so that a listing tells which file may hold a prediction.

#[cfg(test)]
mod tests;

use crate::core::request::id::minted_at;
use crate::observe::labels::line::hour;
use chrono::{DateTime, NaiveDateTime, Utc};
use std::time::UNIX_EPOCH;
use uuid::Uuid;

/// The folder of all answers.
pub(crate) const FOLDER: &str = "answers";
/// Milliseconds of an hour.
pub(crate) const HOUR_MS: u64 = 3_600_000;

/// A span of time in which predictions were made, in milliseconds since 1970; both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimeSpan {
    pub from_ms: u64,
    pub to_ms: u64,
}

impl TimeSpan {
    /// A span of one moment.
    pub(super) fn at(ms: u64) -> Self {
        Self {
            from_ms: ms,
            to_ms: ms,
        }
    }

    /// Extends the span to a moment.
    pub(super) fn extend(&mut self, ms: u64) {
        self.from_ms = self.from_ms.min(ms);
        self.to_ms = self.to_ms.max(ms);
    }

    pub(super) fn has(&self, ms: u64) -> bool {
        (self.from_ms..=self.to_ms).contains(&ms)
    }
}

/// Why answers are not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum LossReason {
    /// The queue of the monitor was full.
    Queue,
    /// The store took too long or failed, and memory was full.
    Store,
}

impl LossReason {
    /// Returns its name in keys and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Store => "store",
        }
    }
}

/// What a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AnswerObject {
    Segment(TimeSpan),
    /// A note that answers of a span were lost.
    Lost(TimeSpan, LossReason),
    /// How many rows a run of a server predicted in the hour.
    Rows(Uuid),
}

impl AnswerObject {
    /// Reads a key; none for a key of another kind.
    pub(super) fn of(key: &str) -> Option<Self> {
        let name = key.rsplit('/').next()?;
        if let Some(run) = name.strip_suffix(".rows.json") {
            return Some(Self::Rows(Uuid::parse_str(run).ok()?));
        }
        let mut parts = name.splitn(3, '-');
        let mut number = || parts.next()?.parse().ok();
        let span = TimeSpan {
            from_ms: number()?,
            to_ms: number()?,
        };
        let rest = parts.next()?;
        if rest.ends_with(".answers") {
            return Some(Self::Segment(span));
        }
        let reason = [LossReason::Queue, LossReason::Store];
        let reason = reason.into_iter().find(|r| rest.starts_with(r.name()))?;
        rest.ends_with(".lost.json")
            .then_some(Self::Lost(span, reason))
    }
}

/// Names a segment.
pub(super) fn segment_key(span: TimeSpan) -> String {
    let TimeSpan { from_ms, to_ms } = span;
    let id = Uuid::new_v4().simple();
    format!("{}/{from_ms}-{to_ms}-{id}.answers", folder(from_ms))
}

/// Names the note of a loss.
pub(super) fn lost_key(span: TimeSpan, reason: LossReason) -> String {
    let TimeSpan { from_ms, to_ms } = span;
    let (id, reason) = (Uuid::new_v4().simple(), reason.name());
    format!(
        "{}/{from_ms}-{to_ms}-{reason}-{id}.lost.json",
        folder(from_ms)
    )
}

/// Names the rows that a run of a server predicted in an hour since 1970.
pub(super) fn rows_key(hour: u64, run: Uuid) -> String {
    let folder = folder(hour.saturating_mul(HOUR_MS));
    format!("{folder}/{run}.rows.json")
}

/// Names the folder of a moment.
pub(super) fn folder(ms: u64) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(DateTime::from_timestamp_millis);
    format!("{FOLDER}/{}", hour(time.unwrap_or_default()))
}

/// Reads the hour from a key.
pub(super) fn hour_of(key: &str) -> Option<DateTime<Utc>> {
    let text = key.split('/').nth(1)?;
    let time = NaiveDateTime::parse_from_str(&format!("{text}:00"), "%Y-%m-%dT%H:%M");
    time.ok().map(|time| time.and_utc())
}

/// Returns when a prediction was made.
pub(crate) fn made_ms(id: Uuid) -> u64 {
    let since = minted_at(id).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Writes a moment for people.
pub(crate) fn moment(ms: u64) -> String {
    let time = i64::try_from(ms)
        .ok()
        .and_then(DateTime::from_timestamp_millis);
    time.unwrap_or_default()
        .format("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
