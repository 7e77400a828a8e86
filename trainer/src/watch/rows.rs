//! Counts the rows that triggers wait for, within a share of the time.

use crate::data::{self, LabelledTimes, Reach};
use crate::pins::ARRIVING;
use crate::spec::Spec;
use crate::split::learned::{self, LearnedRows};
use crate::trigger::RowsAfter;
use crate::trigger::past::{Last, Past};
use chrono::{DateTime, Utc};
use ortus::storage::layout::Records;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Counting rows may take one part in this many of the time.
const COUNT_SHARE: u32 = 10;

/// The last counts of rows.
#[derive(Default)]
pub(super) struct RowCounts {
    new: Option<LastCount<Option<usize>>>,
    after: Option<LastCount<RowsAfterAlarms>>,
}

/// Labelled rows after alarms.
#[derive(Clone, Default)]
pub(super) struct RowsAfterAlarms {
    /// By the time of the alarm; none of those that cannot be counted.
    pub by_alarm: BTreeMap<DateTime<Utc>, RowsAfter>,
    /// Rows whose time is in the future.
    pub future: usize,
}

/// A count of rows.
struct LastCount<C> {
    at: Instant,
    took: Duration,
    /// The run after which rows were counted.
    after: Option<DateTime<Utc>>,
    rows: C,
}

impl<C: Clone> LastCount<C> {
    /// Returns the count, unless it may be made again.
    fn recent(last: Option<&Self>, after: Option<DateTime<Utc>>) -> Option<C> {
        last.filter(|last| last.after == after && last.at.elapsed() < last.took * COUNT_SHARE)
            .map(|last| last.rows.clone())
    }

    fn new(at: Instant, after: Option<DateTime<Utc>>, rows: C) -> Self {
        Self {
            at: Instant::now(),
            took: at.elapsed(),
            after,
            rows,
        }
    }
}

impl RowCounts {
    /// Counts rows since the last run, if new rows are a trigger.
    pub(super) async fn since_last_run(
        &mut self,
        count: CountAt<'_>,
        past: &Past,
    ) -> Option<usize> {
        count.spec.triggers.new_rows?;
        let after = past.last.as_ref().map(|last| last.began);
        if let Some(rows) = LastCount::recent(self.new.as_ref(), after) {
            return rows;
        }

        let at = Instant::now();
        let newest = past.last.as_ref().and_then(|last| last.newest);
        // An error of counting starts nothing; the next run reports it.
        let all = data::count(count.spec, &count.reach(), newest).await.ok();
        let known = past
            .last
            .as_ref()
            .filter(|_| newest.is_none())
            .map_or(0, |last| last.rows);
        let rows = all.map(|all| all.saturating_sub(known));
        self.new = Some(LastCount::new(at, after, rows));
        rows
    }

    /// Counts labelled rows after alarms.
    pub(super) async fn after(
        &mut self,
        count: CountAt<'_>,
        past: &Past,
        alarms: &[DateTime<Utc>],
    ) -> RowsAfterAlarms {
        if alarms.is_empty() || count.spec.triggers.alarm_rows == 0 {
            return RowsAfterAlarms::default();
        }
        let last = past.last.as_ref().map(|last| last.began);
        let has_all = |rows: &RowsAfterAlarms| {
            let mut all = alarms.iter();
            all.all(|alarm| rows.by_alarm.contains_key(alarm))
        };
        if let Some(rows) = LastCount::recent(self.after.as_ref(), last).filter(has_all) {
            return rows;
        }

        let at = Instant::now();
        let Ok(found) = data::labelled(count.spec, &count.reach()).await else {
            return RowsAfterAlarms::default();
        };
        let counting = LabelledCount::new(count.spec, &found, past);
        let of = |alarm: &DateTime<Utc>| (*alarm, counting.after(*alarm));
        let rows = RowsAfterAlarms {
            by_alarm: alarms.iter().map(of).collect(),
            future: found.future,
        };
        self.after = Some(LastCount::new(at, last, rows.clone()));
        rows
    }
}

/// Where rows are counted, and at what time.
#[derive(Clone, Copy)]
pub(super) struct CountAt<'c> {
    pub spec: &'c Spec,
    pub seen: &'c Records,
    pub now: DateTime<Utc>,
}

impl CountAt<'_> {
    fn reach(&self) -> Reach {
        Reach {
            records: Some(self.seen.clone()),
            as_of: None,
            // As a run that starts now: it must have the rows that are counted.
            now: self.now - ARRIVING,
        }
    }
}

/// The labelled rows, and which of them runs learn from.
struct LabelledCount<'c> {
    spec: &'c Spec,
    found: &'c LabelledTimes,
    past: &'c Past,
    /// What a run would learn from now.
    learnable: LearnedRows,
    /// What the last run that published a version learned from, by an estimate.
    learned: LearnedRows,
}

impl<'c> LabelledCount<'c> {
    fn new(spec: &'c Spec, found: &'c LabelledTimes, past: &'c Past) -> Self {
        let newest = past.passed.as_ref().and_then(|run| run.newest);
        Self {
            spec,
            found,
            past,
            learnable: LearnedRows::of(spec, found, None),
            learned: LearnedRows::of(spec, found, newest),
        }
    }

    /// Counts the labelled rows after an alarm.
    fn after(&self, alarm: DateTime<Utc>) -> RowsAfter {
        let (found, past) = (self.found, self.past);
        let passed = past.passed.as_ref().filter(|run| run.began >= alarm);
        let (before, passed, last) = match &found.times {
            Some(times) => {
                let until =
                    |time: DateTime<Utc>| times.partition_point(|t| *t <= time.timestamp_micros());
                let newest = |last: Option<&Last>| last.and_then(|run| run.newest).map_or(0, until);
                (until(alarm), newest(passed), newest(past.last.as_ref()))
            }
            // Without times, rows beyond those of the last run before the alarm came after it.
            None => {
                let before = past.rows.iter().rev().find(|(began, _)| *began < alarm);
                let rows = |last: Option<&Last>| last.map_or(0, |run| run.rows);
                let before = before.map_or(0, |(_, rows)| *rows);
                (before, rows(passed), rows(past.last.as_ref()))
            }
        };
        let now = found.rows.saturating_sub(before);
        let passed = passed.saturating_sub(before);
        let learned = match passed {
            0 => 0,
            passed => self.learned.after(alarm, passed),
        };
        RowsAfter {
            now,
            learnable: self.learnable.after(alarm, now),
            learned,
            fresh: found.rows.saturating_sub(last),
            held_back: self.held_back(before) + &self.newest(now),
        }
    }

    /// Says of which time the newest row is, where none came after the alarm.
    fn newest(&self, now: usize) -> String {
        let times = self.found.times.as_ref().filter(|_| now == 0);
        let newest = times.and_then(|times| DateTime::from_timestamp_micros(*times.last()?));
        newest.map_or_else(String::new, |time| {
            let time = time.format("%Y-%m-%d %H:%M:%S UTC");
            format!("; the newest row is of {time}")
        })
    }

    /// Says why a run would not learn from all rows of after an alarm, and how many there must be.
    fn held_back(&self, before: usize) -> String {
        let spec = self.spec;
        let why = learned::held_back(spec, self.found.rows);
        match learned::rows_needed(spec, before, spec.triggers.alarm_rows) {
            Some(rows) => format!("{why}, so {rows} of after it are needed"),
            None => why,
        }
    }
}
