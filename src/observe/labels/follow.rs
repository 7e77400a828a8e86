//! The tasks that run beside the acceptance of labels: one reads the label log and joins labels with
//! predictions that were not in memory, one tends the kept answers, one sets metrics.

use super::answers::lookup::{AnswerFinder, FinderTime, FoundAnswers};
use super::answers::name::{HOUR_MS, made_ms};
use super::answers::sweep::{AnswerLimits, sweep};
use super::answers::tally::TallyReader;
use super::line::LabelLine;
use super::log::Reader;
use super::state::{KeptSince, LineSource};
use super::{Feedback, logged_cause};
use crate::core::error::Error;
use crate::observe::capture::find::Finder;
use crate::storage::layout::Records;
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::BTreeSet;
use std::sync::Weak;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Interval at which metrics are set.
const TICK: Duration = Duration::from_secs(2);
/// Shortest time between two searches.
const SEARCH_PAUSE: Duration = Duration::from_millis(250);
/// Hours of the label log that are read again, beyond the time since the last read.
const LOOK_BACK_HOURS: u32 = 2;
/// Most predictions that are searched for in captured files at once.
const CAPTURED_MAX: usize = 10_000;
/// The age in milliseconds from which a captured prediction is in a file.
const CAPTURED_MS: u64 = 5_000;
/// Time between two deletions of old answers.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// Time between two readings of the rows that other servers predicted.
const TALLY_EVERY: Duration = Duration::from_secs(30);
/// Days of predictions that reports cover.
const TALLY_DAYS: i64 = 90;

/// Reads the labels that all servers accepted, and joins those of predictions that are kept.
pub(super) async fn follow(feedback: Weak<Feedback>, records: Records) {
    let mut follower = LabelFollower {
        records,
        reader: Reader::default(),
        answers: AnswerFinder::default(),
        captures: Finder::default(),
        captures_from: Uuid::nil(),
        read: None,
        failing: BTreeSet::new(),
    };
    loop {
        let Some(own) = feedback.upgrade() else {
            return;
        };
        let poll = own.options.settings.poll;
        let is_due = follower.read.is_none_or(|read| read.elapsed() >= poll);
        if is_due {
            follower.read_log(&own).await;
        }
        let has_more = follower.search(&own, is_due).await;
        let wake = own.search_wanted.clone();
        drop(own);

        if !has_more {
            tokio::time::sleep(SEARCH_PAUSE.min(poll)).await;
            // A label that waits is searched for at once, whatever the interval of reading is.
            let _ = tokio::time::timeout(poll, wake.notified()).await;
        }
    }
}

/// Reads the log, and searches for predictions.
struct LabelFollower {
    records: Records,
    reader: Reader,
    answers: AnswerFinder,
    captures: Finder,
    /// Where the next search in captured files begins.
    captures_from: Uuid,
    /// When the log was read last.
    read: Option<Instant>,
    /// What failed the last time.
    failing: BTreeSet<&'static str>,
}

impl LabelFollower {
    /// Reads the new files of the label log. After the first time, the performance tests begin.
    async fn read_log(&mut self, own: &Feedback) {
        let hours = match self.read {
            Some(read) => hours_since(read),
            None => {
                let hours = own.options.settings.age_max.as_secs().div_ceil(3600);
                u32::try_from(hours).unwrap_or(u32::MAX)
            }
        };

        let mut joined = Vec::new();
        let mut apply = |lines: Vec<LabelLine>| joined.extend(own.apply(&lines, LineSource::Log));
        match self.reader.read(&self.records, hours, &mut apply).await {
            Ok(()) => {
                self.read = Some(Instant::now());
                own.begin_testing();
                self.note("the label log cannot be read", None);
            }
            Err(error) => self.note("the label log cannot be read", Some(&error)),
        }
        own.put_joined(joined).await;
    }

    /// Searches for the predictions of pending labels, in captured files only now and then. Returns
    /// whether there is more to search at once.
    async fn search(&mut self, own: &Feedback, in_captures: bool) -> bool {
        let now = Utc::now();
        let now_ms = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        let recent = own.lock().join_recent(&own.options);
        own.put_joined(recent).await;
        let wanted = own.lock().wanted(now);
        let time = FinderTime {
            now: Instant::now(),
            hour: now_ms / HOUR_MS,
        };

        let looked = match self.answers.find(&self.records, &wanted, time).await {
            Ok(looked) => looked,
            Err(error) => {
                self.note("kept answers cannot be searched for labels", Some(&error));
                return false;
            }
        };
        self.note("kept answers cannot be searched for labels", None);
        let joined = own.lock().join_found(&looked.found, &own.options);
        own.put_joined(joined).await;
        if in_captures {
            self.search_captures(own, &wanted, &looked, now_ms).await;
        }

        // What was made just now is not in the store yet.
        let flush = own.options.settings.answers_flush.as_millis() as u64;
        if let Some(since_ms) = *own.kept_since.lock() {
            let kept = KeptSince {
                since_ms,
                unwritten_ms: now_ms.saturating_sub(2 * flush),
            };
            own.lock().explain(&wanted, &looked, kept);
        }
        looked.has_more
    }

    /// Searches captured files for what is not among the kept answers.
    async fn search_captures(
        &mut self,
        own: &Feedback,
        wanted: &BTreeSet<Uuid>,
        looked: &FoundAnswers,
        now_ms: u64,
    ) {
        let is_asked =
            |id: &&Uuid| !looked.found.contains_key(*id) && made_ms(**id) + CAPTURED_MS <= now_ms;
        let rest = wanted.range(self.captures_from..).filter(is_asked);
        let asked: BTreeSet<Uuid> = rest.take(CAPTURED_MAX).copied().collect();
        // The next search goes on where this one ended.
        self.captures_from = match asked.last() {
            Some(last) if asked.len() == CAPTURED_MAX => *last,
            _ => Uuid::nil(),
        };

        match self.captures.find(&self.records, &asked).await {
            Ok(found) => {
                let joined = own.lock().join_found(&found, &own.options);
                own.put_joined(joined).await;
                self.note("captured predictions cannot be searched for labels", None);
            }
            Err(error) => {
                self.note(
                    "captured predictions cannot be searched for labels",
                    Some(&error),
                );
            }
        }
    }

    /// Logs the first of several failures in a row.
    fn note(&mut self, what: &'static str, error: Option<&Error>) {
        let Some(error) = error else {
            self.failing.remove(what);
            return;
        };
        if self.failing.insert(what) {
            let cause = logged_cause(error);
            tracing::warn!(%error, cause, "{what}");
        }
    }
}

/// Returns the hours of the log to read, for labels accepted since a moment.
fn hours_since(read: Instant) -> u32 {
    u32::try_from(read.elapsed().as_secs() / 3600)
        .unwrap_or(u32::MAX)
        .saturating_add(LOOK_BACK_HOURS)
}

/// Deletes old answers, and reads how many rows other runs predicted, repeatedly.
pub(super) async fn tend(feedback: Weak<Feedback>, records: Records) {
    let Some(mut tallies) = feedback.upgrade().map(|own| own.answers.tallies()) else {
        return;
    };
    let mut swept: Option<Instant> = None;
    loop {
        let Some(own) = feedback.upgrade() else {
            return;
        };
        let now = Utc::now();
        read_tallies(&own, &records, &mut tallies, now).await;
        if swept.is_none_or(|swept| swept.elapsed() >= SWEEP_EVERY) {
            let kept = sweep_answers(&own, &records, now).await;
            // As long as nothing is kept, the oldest answer is still to come.
            swept = kept.then(Instant::now);
        }
        drop(own);
        tokio::time::sleep(TALLY_EVERY).await;
    }
}

async fn read_tallies(
    own: &Feedback,
    records: &Records,
    tallies: &mut TallyReader,
    now: DateTime<Utc>,
) {
    match tallies
        .read(records, now - TimeDelta::days(TALLY_DAYS), now)
        .await
    {
        Ok(tallies) => own.lock().add_tallies(tallies, &own.options),
        Err(error) => {
            let cause = logged_cause(&error);
            tracing::warn!(%error, cause, "the rows that other servers predicted cannot be read; they are missing in the maturity");
        }
    }
}

/// Deletes old answers. Returns whether some are kept.
async fn sweep_answers(own: &Feedback, records: &Records, now: DateTime<Utc>) -> bool {
    let settings = &own.options.settings;
    let limits = AnswerLimits {
        bytes_max: settings.answers_store_bytes_max as u64,
        age_max: settings.age_max,
    };
    match sweep(records, limits, now).await {
        Ok(swept) => {
            if swept.removed > 0 {
                let (removed, kept, bytes) = (swept.removed, swept.kept, swept.kept_bytes);
                tracing::info!(removed, kept, bytes, "old answers deleted");
            }
            *own.kept_since.lock() = Some(swept.since_ms);
            swept.since_ms.is_some()
        }
        Err(error) => {
            let cause = logged_cause(&error);
            tracing::warn!(%error, cause, "old answers cannot be deleted");
            false
        }
    }
}

/// Sets the metrics of versions that changed, repeatedly.
pub(super) async fn show(feedback: Weak<Feedback>) {
    loop {
        tokio::time::sleep(TICK).await;
        let Some(own) = feedback.upgrade() else {
            return;
        };
        loop {
            let shown = own.lock().shown();
            let Some(shown) = shown else { break };
            own.metrics.feedback.set(&shown);
        }
        own.show_waiting();
    }
}
