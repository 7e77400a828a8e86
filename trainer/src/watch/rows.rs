//! Counts the rows that triggers wait for, within a share of the time.

use crate::data::{self, LabelledTimes, Reach};
use crate::pins::ARRIVING;
use crate::spec::Spec;
use crate::trigger::{Past, RowsAfter};
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
    after: Option<LastCount<BTreeMap<DateTime<Utc>, RowsAfter>>>,
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

    /// Counts labelled rows after alarms. Returns none of an alarm where they cannot be counted.
    pub(super) async fn after(
        &mut self,
        count: CountAt<'_>,
        past: &Past,
        alarms: &[DateTime<Utc>],
    ) -> BTreeMap<DateTime<Utc>, RowsAfter> {
        let Some(first) = alarms
            .iter()
            .min()
            .filter(|_| count.spec.triggers.alarm_rows > 0)
        else {
            return BTreeMap::new();
        };
        let last = past.last.as_ref().map(|last| last.began);
        let has_all = |rows: &BTreeMap<_, _>| alarms.iter().all(|alarm| rows.contains_key(alarm));
        if let Some(rows) = LastCount::recent(self.after.as_ref(), last).filter(has_all) {
            return rows;
        }

        let at = Instant::now();
        let Ok(found) = data::labelled_after(count.spec, &count.reach(), *first).await else {
            return BTreeMap::new();
        };
        let of = |alarm: &DateTime<Utc>| (*alarm, rows_after(&found, past, *alarm));
        let rows: BTreeMap<_, _> = alarms.iter().map(of).collect();
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

/// Counts the labelled rows after an alarm.
fn rows_after(found: &LabelledTimes, past: &Past, alarm: DateTime<Utc>) -> RowsAfter {
    let passed = past.passed.as_ref().filter(|run| run.began >= alarm);
    match found {
        LabelledTimes::Times(times) => {
            let until =
                |time: DateTime<Utc>| times.partition_point(|t| *t <= time.timestamp_micros());
            let between = |rows: usize| rows.saturating_sub(until(alarm));
            let newest = |time: Option<DateTime<Utc>>| time.map_or(0, until);
            RowsAfter {
                now: between(times.len()),
                learned: between(newest(passed.and_then(|run| run.newest))),
                fresh: times.len() - newest(past.last.as_ref().and_then(|last| last.newest)),
            }
        }
        // Without times, rows beyond those of the last run before the alarm came after it.
        LabelledTimes::Rows(all) => {
            let before = past.rows.iter().rev().find(|(began, _)| *began < alarm);
            let before = before.map_or(0, |(_, rows)| *rows);
            let last = past.last.as_ref().map_or(0, |last| last.rows);
            RowsAfter {
                now: all.saturating_sub(before),
                learned: passed.map_or(0, |run| run.rows.saturating_sub(before)),
                fresh: all.saturating_sub(last),
            }
        }
    }
}
