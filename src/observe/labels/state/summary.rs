//! Measured performance of the versions, for metrics and reports.

use super::LabelState;
use super::books::Open;
use crate::core::model::{ModelName, Version};
use crate::observe::labels::line::VersionKey;
use crate::observe::metrics::feedback::VersionFigures;
use crate::observe::quality::book::Summary;
use crate::observe::report::performance::MeasuredPerformance;
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
            open.end_alarm(now);
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

impl Open {
    /// Ends an alarm whose time is over, even if no labels arrive.
    fn end_alarm(&mut self, now: u64) {
        let ended = self
            .trial
            .as_mut()
            .filter(|trial| trial.alarm.is_some_and(|(_, until)| now >= until));

        if let Some(trial) = ended {
            trial.alarm = None;
            self.changed = true;
        }
    }

    fn is_in_alarm(&self) -> bool {
        self.trial
            .as_ref()
            .is_some_and(|trial| trial.alarm.is_some())
    }

    /// Sums up the last days.
    fn summary(&self, now: u64) -> Summary {
        self.book.summary(now.saturating_sub(DAYS * 24), now + 1)
    }

    /// Reports the labelled rows of the version.
    fn report(&self, key: &VersionKey, now: u64) -> MeasuredPerformance {
        let days = self.book.cohorts(24, COHORTS_MAX);
        MeasuredPerformance {
            model: key.0.to_string(),
            version: self.book.version,
            digest: key.2.to_string(),
            window_days: DAYS,
            window: self.summary(now).report(),
            days: days.iter().map(Summary::report).collect(),
            slices: self.book.parts(),
            reliability: self.book.reliability(),
            loss_allowed: self.trial.as_ref().and_then(|trial| trial.allowed),
            alarm: self.is_in_alarm(),
            pending_labels: 0,
            unfit_labels: self.unfit,
        }
    }
}

/// Returns the current hour since 1970.
fn this_hour() -> u64 {
    u64::try_from(Utc::now().timestamp() / 3600).unwrap_or(0)
}
