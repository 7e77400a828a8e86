//! Measured performance of the versions, for metrics and reports.

use super::LabelState;
use super::books::Open;
use crate::core::model::{ModelName, Version};
use crate::observe::labels::line::VersionKey;
use crate::observe::metrics::feedback::VersionFigures;
use crate::observe::quality::book::{Summary, time};
use crate::observe::quality::sequential::LastingAlarm;
use crate::observe::quality::sliced::SlicedTest;
use crate::observe::report::performance::{
    AlarmRows, CohortPerformance, MeasuredPerformance, SlicePerformance,
};
use chrono::Utc;

/// Days that metrics and reports cover.
const DAYS: u64 = 7;
/// Most days that a report lists one by one.
const COHORTS_MAX: usize = 90;

impl LabelState {
    /// Returns the metrics of one version that changed; none if none did. One at a time, because
    /// requests wait while the state is locked.
    pub(in crate::observe::labels) fn shown(&mut self) -> Option<VersionFigures> {
        let now = this_hour();
        for (_, open) in self.books.iter_mut() {
            open.end_alarms(now);
        }

        // The metrics of a version are those of the bytes that answered last under its number.
        let is_shown = |(key, open): &(&VersionKey, &Open)| {
            open.changed && open.book.rows() > 0 && !self.books.is_replaced(key)
        };
        let key = self.books.iter().find(is_shown)?.0.clone();
        let (key, open) = self.books.iter_mut().find(|(known, _)| **known == key)?;
        open.changed = false;
        let summary = open.summary(now);

        Some(VersionFigures {
            model: key.0.to_string(),
            version: open.book.version.to_string(),
            rows: summary.labelled_rows,
            maturity: summary.maturity,
            measures: summary.measures,
            alarm: open.is_in_alarm(),
            part_alarms: open.trial.as_ref().map_or(0, SlicedTest::parts_in_alarm),
        })
    }

    /// Returns the measured performance of a model's versions, or of one.
    pub(in crate::observe::labels) fn report(
        &self,
        model: &ModelName,
        version: Option<Version>,
    ) -> Vec<MeasuredPerformance> {
        let now = this_hour();
        self.books
            .iter()
            .filter(|(key, open)| {
                key.0 == *model && version.is_none_or(|v| v.number() == open.book.version)
            })
            .map(|(key, open)| MeasuredPerformance {
                pending_labels: self.pending.len(),
                ..open.report(key, now)
            })
            .collect()
    }
}

impl LabelState {
    /// Returns the labelled rows of two versions since both have some.
    pub(in crate::observe::labels) fn pair(
        &self,
        model: &ModelName,
        own: (u64, &str),
        base: (u64, &str),
    ) -> Option<[CohortPerformance; 2]> {
        let now = this_hour();
        let from = now.saturating_sub(DAYS * 24);
        let book = |(version, digest): (u64, &str)| {
            let mut books = self.books.iter();
            let is_of = |key: &VersionKey, open: &Open| {
                key.0 == *model && open.book.version == version && key.2.to_string() == digest
            };
            let (_, open) = books.find(|(key, open)| is_of(key, open))?;
            Some((&open.book, open.book.first_hour(from)?))
        };
        let ((own, own_from), (base, base_from)) = (book(own)?, book(base)?);
        let since = own_from.max(base_from);
        Some([own, base].map(|book| book.summary(since, now + 1).report()))
    }
}

impl Open {
    /// Ends alarms whose time is over, even if no labels arrive.
    fn end_alarms(&mut self, now: u64) {
        let ended = self.trial.as_mut().map(|trial| trial.end_alarms(now));
        self.changed |= ended == Some(true);
    }

    fn is_in_alarm(&self) -> bool {
        let trial = self.trial.as_ref();
        trial.is_some_and(|trial| trial.whole.alarm.is_some())
    }

    /// Returns the performance of every part, with its test.
    fn slices(&self) -> Vec<SlicePerformance> {
        let mut slices = self.book.parts();
        for part in &mut slices {
            let trial = self.trial.as_ref();
            if let Some(test) = trial.and_then(|trial| trial.part(&part.slice, &part.part)) {
                (part.loss_allowed, part.alarm) = (test.allowed, test.alarm.is_some());
                part.alarm_rows = test.alarm.as_ref().map(alarm_rows);
            }
        }
        slices
    }

    /// Sums up the last days.
    fn summary(&self, now: u64) -> Summary {
        self.book.summary(now.saturating_sub(DAYS * 24), now + 1)
    }

    /// Reports the labelled rows of the version.
    fn report(&self, key: &VersionKey, now: u64) -> MeasuredPerformance {
        let days = self.book.cohorts(24, COHORTS_MAX);
        let of_whole = self.trial.as_ref().map(|trial| &trial.whole);
        MeasuredPerformance {
            model: key.0.to_string(),
            version: self.book.version,
            digest: key.2.to_string(),
            window_days: DAYS,
            window: self.summary(now).report(),
            days: days.iter().map(Summary::report).collect(),
            slices: self.slices(),
            reliability: self.book.reliability(),
            loss_allowed: of_whole.and_then(|test| test.allowed),
            alarm: self.is_in_alarm(),
            alarm_rows: of_whole.and_then(|test| test.alarm.as_ref().map(alarm_rows)),
            pending_labels: 0,
            unfit_labels: self.unfit,
        }
    }
}

fn alarm_rows(alarm: &LastingAlarm) -> AlarmRows {
    AlarmRows {
        since: time(alarm.since),
        until: time(alarm.until),
        rows: alarm.won.rows,
        wrong: alarm.won.lost,
        allowed: alarm.won.allowed,
        rows_since: alarm.rows_since,
        wrong_since: alarm.lost_since,
    }
}

/// Returns the current hour since 1970.
fn this_hour() -> u64 {
    u64::try_from(Utc::now().timestamp() / 3600).unwrap_or(0)
}
