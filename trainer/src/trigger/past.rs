//! The past runs, as far as triggers depend on them: which events they settled, when they ran, and what
//! they learned from. Pure.

use super::{TRIES_MAX, TriggerEvent, spec};
use crate::event_key::EventKey;
use crate::history::{MANUAL, RecordedRun, RunStatus};
use crate::spec::Triggers;
use crate::split::learned::LearnedTimes;
use chrono::{DateTime, TimeDelta, Utc};
use ortus::core::hash::Digest;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The past runs, as far as triggers depend on them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// Events that were handled.
    pub(super) handled: BTreeSet<EventKey>,
    /// How many rows of after an alarm a run for it learned from that published a version, where
    /// the record says it.
    answered: BTreeMap<EventKey, usize>,
    /// The number of runs for an event that did not settle it.
    pub(super) tried: BTreeMap<EventKey, u32>,
    /// The last run that published a version.
    pub passed: Option<Last>,
    pub last: Option<Last>,
    /// When runs began, and how many rows they had, where that is known.
    pub rows: Vec<(DateTime<Utc>, usize)>,
    /// Runs within a day that triggers started.
    pub runs: usize,
    /// The time of runs within a day.
    pub spent: Duration,
}

/// The last run, skipped ones and trials excluded.
#[derive(Clone, Debug)]
pub(crate) struct Last {
    pub began: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub status: RunStatus,
    /// The specification of the last run that recorded one.
    pub spec: Option<Digest>,
    pub rows: usize,
    pub newest: Option<DateTime<Utc>>,
    /// How new the rows are that it learned from; none in records of earlier versions.
    pub learned_times: Option<LearnedTimes>,
}

impl Past {
    /// Summarises the runs before a time.
    pub(crate) fn of<'r>(
        runs: impl IntoIterator<Item = &'r RecordedRun>,
        now: DateTime<Utc>,
    ) -> Self {
        let mut past = Self::default();
        for ran in runs.into_iter().filter(|ran| !ran.apart) {
            let ended = ran.began + TimeDelta::milliseconds((ran.seconds * 1e3) as i64);
            let is_recent = now - ended < TimeDelta::days(1);
            if is_recent && ran.status.is_run() {
                past.spent += Duration::from_secs_f64(ran.seconds.max(0.0));
            }
            if ran.is_tried_again() {
                continue;
            }
            past.deal_with_events(ran);
            if !ran.status.is_run() {
                continue;
            }
            let is_asked = ran.trigger == MANUAL || ran.events.iter().any(EventKey::is_request);
            past.runs += usize::from(is_recent && !is_asked);
            let record = &ran.record;
            let before = past.last.take();
            let newest = record.data.value().and_then(|data| Some(data.time?.1));
            // Rows without a label are not counted as new either.
            let rows = record
                .split
                .value()
                .map(|split| split.train + split.stop + split.test + split.left_out);
            past.rows.extend(rows.map(|rows| (ran.began, rows)));
            let last = Last {
                began: ran.began,
                ended,
                status: ran.status,
                spec: record
                    .spec
                    .value()
                    .map(|text| spec(text))
                    .or(before.as_ref().and_then(|b| b.spec)),
                rows: rows.map_or(before.as_ref().map_or(0, |b| b.rows), |rows| rows),
                newest: newest.or(before.and_then(|b| b.newest)),
                learned_times: record
                    .split
                    .value()
                    .and_then(|split| split.learned_times.clone()),
            };
            if ran.status == RunStatus::Published {
                past.passed = Some(last.clone());
            }
            past.last = Some(last);
        }

        past
    }

    /// Notes which events a run handled, and which it tried.
    fn deal_with_events(&mut self, ran: &RecordedRun) {
        let has_failed = matches!(
            ran.status,
            RunStatus::Failed | RunStatus::Inconclusive | RunStatus::Broken | RunStatus::Unchanged
        );
        let split = ran.record.split.value();
        let learned = split.and_then(|split| split.learned_times.as_ref());
        for event in &ran.events {
            match (event.alarm_time(), learned) {
                _ if has_failed => *self.tried.entry(event.clone()).or_default() += 1,
                // What a version has not learned is not settled by it.
                (Some(alarm), Some(learned)) if ran.status != RunStatus::Skipped => {
                    *self.tried.entry(event.clone()).or_default() += 1;
                    let rows = self.answered.entry(event.clone()).or_default();
                    *rows = learned.after(alarm).max(*rows);
                }
                _ => drop(self.handled.insert(event.clone())),
            }
        }
    }

    /// Returns whether an event was handled.
    pub(crate) fn has_handled(&self, key: &EventKey) -> bool {
        self.handled.contains(key)
    }

    pub(super) fn tries(&self, event: &TriggerEvent) -> u32 {
        self.tried.get(&event.key).copied().unwrap_or(0)
    }

    /// Returns whether an event needs no further run.
    pub(super) fn is_done(&self, triggers: &Triggers, event: &TriggerEvent) -> bool {
        let tries_max = if event.stays() { TRIES_MAX } else { 1 };
        (self.is_settled(triggers, &event.key) && !event.recurs()) || self.tries(event) >= tries_max
    }

    /// Returns whether an event was handled; an alarm, by a version that learned from enough rows.
    pub(super) fn is_settled(&self, triggers: &Triggers, key: &EventKey) -> bool {
        let is_enough = |rows: &usize| *rows >= triggers.alarm_rows;
        self.has_handled(key) || self.answered.get(key).is_some_and(is_enough)
    }
}
