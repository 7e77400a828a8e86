//! The state of labels: recent predictions, pending labels, and the labelled rows of each version
//! with its performance test. Owns no clock, no store and no task.

mod books;
mod judge;
mod pending;
mod summary;

use super::LabelOptions;
use super::line::{Joined, LabelLine};
use super::recent::{Recent, RecentPrediction};
use crate::core::request::id::minted_at;
use crate::observe::capture::find::FoundPrediction as Captured;
use crate::observe::quality::answer::Truth;
use crate::observe::quality::book::{Row, RowOutcome};
use crate::observe::quality::sequential::SequentialTest;
use crate::observe::report::alarm::PerformanceAlarm;
use books::Books;
use chrono::{DateTime, Utc};
pub(super) use judge::LabelVerdict;
use pending::Pending;
use std::collections::{BTreeSet, HashMap};
use std::time::UNIX_EPOCH;
use uuid::Uuid;

/// The state of labels.
pub(super) struct LabelState {
    recent: Recent,
    books: Books,
    pending: Pending,
    /// Time of the last label that was accepted.
    last: DateTime<Utc>,
    /// Whether labels count in the performance tests. Those from before the start counted then.
    pub is_testing: bool,
}

/// What applying labels has led to.
#[derive(Default)]
pub(super) struct AppliedLabels {
    /// Labels that were pending and are now joined with their predictions.
    pub joined: Vec<LabelLine>,
    pub alarms: Vec<PerformanceAlarm>,
}

impl LabelState {
    /// Starts empty.
    pub(super) fn new(options: &LabelOptions) -> Self {
        Self {
            recent: Recent::new(options.settings.answers_bytes_max),
            books: Books::default(),
            pending: Pending::default(),
            last: DateTime::UNIX_EPOCH,
            is_testing: true,
        }
    }

    /// Keeps a prediction, so that its labels can be joined with it.
    pub(super) fn predicted(&mut self, id: Uuid, kept: RecentPrediction, options: &LabelOptions) {
        let subject = &kept.subject;
        let rows = kept.answers.iter().flatten().count() as u64;
        let key = (subject.model.clone(), subject.digest);
        let open = self.books.open(
            key,
            subject.version.number(),
            &subject.slices,
            options.settings.rows_max,
        );

        open.book.predicted(hour_of(id), rows);
        if open.trial.is_none() {
            let margin = options.settings.loss_margin;
            let baseline = subject.baseline.as_ref();
            let trial = baseline.map(|b| SequentialTest::new(&b.performance, b.rows, margin));
            open.trial = Some(trial.unwrap_or_default());
        }

        self.books
            .answered(&(subject.model.clone(), subject.digest));
        self.recent.add(id, kept);
    }

    /// Counts a line of the log, whichever server accepted it.
    pub(super) fn apply(
        &mut self,
        line: &LabelLine,
        options: &LabelOptions,
        applied: &mut AppliedLabels,
    ) {
        if let Some(joined) = &line.joined {
            self.pending.settle(line);
            self.count(line, joined, options, &mut applied.alarms);
            return;
        }

        // Another server may have accepted a label of a prediction that only this one knows.
        match self.join(line.prediction_id, line.row, &line.label) {
            Ok(Some(joined)) => {
                let taken = self.count(line, &joined, options, &mut applied.alarms);
                if taken != RowOutcome::Same {
                    applied.joined.push(LabelLine {
                        joined: Some(joined),
                        ..line.clone()
                    });
                }
            }
            Ok(None) => self.pending.add(line.clone()),
            Err(error) => {
                tracing::debug!(id = %line.prediction_id, row = line.row, %error, "a stored label does not fit its prediction and is ignored")
            }
        }
    }

    /// Returns the predictions that pending labels belong to, if they are old enough to be
    /// captured.
    pub(super) fn wanted(&self) -> BTreeSet<Uuid> {
        self.pending.wanted()
    }

    /// Joins pending labels with captured predictions.
    pub(super) fn join_found(&mut self, found: &HashMap<Uuid, Captured>) -> Vec<LabelLine> {
        self.pending.join(found)
    }

    /// Returns how many labels were dropped from memory since the last call.
    pub(super) fn take_forgotten(&mut self) -> u64 {
        self.pending.take_forgotten()
    }

    /// Counts a joined label in its version's rows and, if it is new, in the performance test.
    fn count(
        &mut self,
        line: &LabelLine,
        joined: &Joined,
        options: &LabelOptions,
        alarms: &mut Vec<PerformanceAlarm>,
    ) -> RowOutcome {
        let Ok(key) = joined.key() else {
            return RowOutcome::Same;
        };

        let (id, hour) = (line.prediction_id, hour_of(line.prediction_id));
        let is_own = self.recent.get(id).is_some();
        let slices: Vec<String> = joined.slices.keys().cloned().collect();
        let open = self
            .books
            .open(key, joined.version, &slices, options.settings.rows_max);

        let truth = Truth::from(joined.truth);
        let part_of = |slice| joined.slices.get(slice).cloned().unwrap_or_default();
        let row = Row {
            answer: joined.answer.clone(),
            truth,
            parts: open.book.slices.iter().map(part_of).collect(),
            is_own,
            time_us: line.time.timestamp_micros(),
        };

        let taken = open.book.label(hour, (id, line.row), row);
        match taken {
            RowOutcome::Same | RowOutcome::Dropped => return taken,
            RowOutcome::Corrected => *open.corrections.entry((id, line.row)).or_default() += 1,
            RowOutcome::New if self.is_testing => alarms.extend(open.test(line, joined, options)),
            RowOutcome::New => {}
        }

        open.changed = true;
        taken
    }
}

/// Returns the hour since 1970 in which a prediction id was made.
fn hour_of(id: Uuid) -> u64 {
    let since_1970 = minted_at(id).and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since_1970.map_or(0, |since| since.as_secs() / 3600)
}
