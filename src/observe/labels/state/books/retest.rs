//! Rebuilds the performance tests after a restart from the labelled rows, in the order in which their
//! labels were accepted. Alarms of labels from before the start were raised then; they stand as long
//! as they would have, and are not raised again.

use super::{Open, alarm};
use crate::observe::drift::watch::WatchSubject;
use crate::observe::labels::LabelOptions;
use crate::observe::labels::line::VersionKey;
use crate::observe::quality::sliced::SlicedTest;
use crate::observe::report::alarm::PerformanceAlarm;
use chrono::{DateTime, Utc};

impl Open {
    /// Starts the test of a version that is loaded, if it has none. Returns whether it did.
    pub(in super::super) fn start_test(
        &mut self,
        subject: &WatchSubject,
        options: &LabelOptions,
    ) -> bool {
        self.task.clone_from(&subject.task);
        if self.trial.is_some() {
            return false;
        }

        let margin = options.settings.loss_margin;
        let baseline = subject.baseline.as_ref();
        let trial = baseline.map(|b| SlicedTest::new(b, &subject.slices, margin));
        self.trial = Some(trial.unwrap_or_default());
        true
    }

    /// Applies the kept rows to tests that have just started. Returns the alarms that start with a
    /// label accepted since `start`, the last one of all rows and of each part.
    pub(in super::super) fn retest(
        &mut self,
        key: &VersionKey,
        start: DateTime<Utc>,
        options: &LabelOptions,
    ) -> Vec<PerformanceAlarm> {
        let Some(trial) = self.trial.as_mut() else {
            return Vec::new();
        };
        let digest = key.2.to_string();
        let version = (key.0.as_str(), key.1, digest.as_str());
        let mut alarms: Vec<PerformanceAlarm> = Vec::new();
        for row in self.book.rows_by_time() {
            let begun = trial.take(
                row,
                &self.book.slices,
                options.false_alarms_per_month,
                options.settings.loss_margin,
            );
            let time = row.time();
            for begun in begun.into_iter().filter(|_| time >= start) {
                alarms.retain(|alarm| alarm.part != begun.part);
                alarms.push(alarm(begun, version, time));
            }
        }

        self.changed = true;
        alarms
    }
}
