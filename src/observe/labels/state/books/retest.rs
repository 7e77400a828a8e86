//! Rebuilds a performance test after a restart from the labelled rows, in the order in which their
//! labels were accepted. Alarms of labels from before the start were raised then; they stand as long
//! as they would have, and are not raised again.

use super::{Open, alarm};
use crate::observe::drift::watch::WatchSubject;
use crate::observe::labels::LabelOptions;
use crate::observe::labels::line::VersionKey;
use crate::observe::quality::sequential::SequentialTest;
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
        let trial = baseline.map(|b| SequentialTest::new(&b.performance, b.rows, margin));
        self.trial = Some(trial.unwrap_or_default());
        true
    }

    /// Applies the kept rows to a test that has just started. Returns the alarm that starts with a
    /// label accepted since `start`.
    pub(in super::super) fn retest(
        &mut self,
        key: &VersionKey,
        start: DateTime<Utc>,
        options: &LabelOptions,
    ) -> Option<PerformanceAlarm> {
        let trial = self.trial.as_mut()?;
        let mut begun = None;
        for row in self.book.rows_by_time() {
            let hour = u64::try_from(row.time_us / 3_600_000_000).unwrap_or(0);
            let won = trial.take(
                (&row.answer, row.truth),
                hour,
                options.false_alarms_per_month,
                options.settings.loss_margin,
            );
            let time = DateTime::from_timestamp_micros(row.time_us).unwrap_or_default();
            if let Some(won) = won.filter(|_| time >= start) {
                let version = (key.0.to_string(), key.1, key.2.to_string());
                begun = Some(alarm(won, version, time));
            }
        }

        self.changed = true;
        begun
    }
}
