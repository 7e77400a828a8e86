//! The state of labels: recent predictions, pending labels, and the labelled rows of each version
//! with its performance test. Owns no clock, no store and no task.

mod books;
mod judge;
mod pending;
mod summary;
mod waiting;

use super::LabelOptions;
use super::answers::tally::HourTally;
use super::line::{Joined, LabelLine, version_key};
use super::prediction::FreshPrediction;
use super::recent::Recent;
use crate::core::request::id::minted_at;
use crate::observe::capture::find::FoundPrediction;
use crate::observe::drift::watch::WatchSubject;
use crate::observe::quality::answer::Truth;
use crate::observe::quality::book::{Row, RowOutcome};
use crate::observe::report::alarm::PerformanceAlarm;
use books::{Books, key_of};
use chrono::{DateTime, Utc};
pub(super) use judge::{LabelVerdict, RequestRows};
use pending::Pending;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::UNIX_EPOCH;
use uuid::Uuid;
pub(super) use waiting::{KeptSince, WaitReason};

/// The state of labels.
pub(super) struct LabelState {
    recent: Recent,
    books: Books,
    pending: Pending,
    /// Labels that a search did not find, by reason.
    waiting: BTreeMap<WaitReason, u64>,
    kept: KeptSince,
    /// Labels that no longer wait.
    forgotten: u64,
    /// Time of the last label that was accepted.
    last: DateTime<Utc>,
    /// When this server started.
    start: DateTime<Utc>,
    /// Whether new labels count in the performance tests one by one. Until the label log is read
    /// once they do not, because the tests are rebuilt then.
    is_testing: bool,
}

/// Where a line of the log comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineSource {
    /// This server accepted it.
    Own,
    /// It was read from the log.
    Log,
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
    pub(super) fn new(options: &LabelOptions, start: DateTime<Utc>) -> Self {
        Self {
            recent: Recent::new(options.settings.answers_bytes_max),
            books: Books::default(),
            pending: Pending::default(),
            waiting: BTreeMap::new(),
            kept: KeptSince::default(),
            forgotten: 0,
            last: DateTime::UNIX_EPOCH,
            start,
            is_testing: false,
        }
    }

    /// Starts the performance tests of a version that was loaded. Returns the alarms of labels that
    /// came since the start of the server.
    pub(super) fn loaded(
        &mut self,
        subject: &WatchSubject,
        options: &LabelOptions,
    ) -> Vec<PerformanceAlarm> {
        if subject.task.is_none() {
            return Vec::new();
        }
        let key = key_of(subject);
        let (start, is_testing) = (self.start, self.is_testing);
        let rows_max = options.settings.rows_max;
        let open = self.books.open(key.clone(), &subject.slices, rows_max);
        let is_new = open.start_test(subject, options);
        if !is_new || !is_testing {
            return Vec::new();
        }
        open.retest(&key, start, options)
    }

    /// Rebuilds the performance tests once all earlier labels are read. Later calls do nothing.
    pub(super) fn begin_testing(&mut self, options: &LabelOptions) -> Vec<PerformanceAlarm> {
        if std::mem::replace(&mut self.is_testing, true) {
            return Vec::new();
        }
        let start = self.start;
        let books = self.books.iter_mut();
        books
            .flat_map(|(key, open)| open.retest(&key.clone(), start, options))
            .collect()
    }

    /// Keeps a prediction, so that its labels can be joined with it.
    pub(super) fn predicted(&mut self, predicted: FreshPrediction<'_>, options: &LabelOptions) {
        let FreshPrediction {
            id,
            subject,
            answers,
            ..
        } = predicted;
        let rows = answers.iter().flatten().count() as u64;
        let key = key_of(subject);
        let rows_max = options.settings.rows_max;
        let open = self.books.open(key.clone(), &subject.slices, rows_max);

        open.book.predicted(hour_of(id), rows);
        // The version was loaded before; its rows may have been dropped since.
        open.start_test(subject, options);
        self.books.answered(&key);
        self.recent.add(predicted);
    }

    /// Adds rows that other runs predicted.
    pub(super) fn add_tallies(&mut self, tallies: Vec<HourTally>, options: &LabelOptions) {
        for HourTally { hour, run, rows } in tallies {
            for (key, rows) in rows {
                let open = self.books.open(key, &[], options.settings.rows_max);
                open.book.predicted_elsewhere(hour, run, rows);
                open.changed = true;
            }
        }
    }

    /// Counts a line of the log, whichever server accepted it.
    pub(super) fn apply(
        &mut self,
        (line, source): (&LabelLine, LineSource),
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
            Ok(None) => self.pending.add(line.clone(), source == LineSource::Own),
            Err(error) => {
                tracing::debug!(id = %line.prediction_id, row = line.row, %error, "a stored label does not fit its prediction and is ignored")
            }
        }
    }

    /// Returns the predictions that pending labels belong to and that are to be searched for.
    pub(super) fn wanted(&self, now: DateTime<Utc>) -> BTreeSet<Uuid> {
        self.pending.wanted(now)
    }

    /// Joins pending labels with predictions that came into memory after them.
    pub(super) fn join_recent(&mut self, options: &LabelOptions) -> Vec<LabelLine> {
        let is_known = |line: &&LabelLine| self.recent.has(line.prediction_id);
        let known: Vec<LabelLine> = self.pending.lines().filter(is_known).cloned().collect();
        let mut lines = Vec::new();
        for line in known {
            match self.join(line.prediction_id, line.row, &line.label) {
                Ok(joined) => lines.push(LabelLine { joined, ..line }),
                Err(_) => self.drop_unfit(&line, options),
            }
        }

        lines.sort_by_key(|line| line.time);
        lines
    }

    /// Drops a pending label that does not fit its prediction, which is in memory.
    fn drop_unfit(&mut self, line: &LabelLine, options: &LabelOptions) {
        self.pending.settle(line);
        if let Some(kept) = self.recent.get(line.prediction_id) {
            let rows_max = options.settings.rows_max;
            let open = self.books.open(key_of(&kept.subject), &[], rows_max);
            open.unfit += 1;
        }
    }

    /// Joins pending labels with found predictions.
    pub(super) fn join_found(
        &mut self,
        found: &HashMap<Uuid, FoundPrediction>,
        options: &LabelOptions,
    ) -> Vec<LabelLine> {
        let all = self.pending.join(found);
        for (model, version, digest) in &all.unfit {
            tracing::debug!(
                model,
                version,
                "an accepted label does not fit its prediction and is ignored"
            );
            if let Ok(key) = version_key(model, *version, digest) {
                let open = self.books.open(key, &[], options.settings.rows_max);
                open.unfit += 1;
            }
        }
        all.joined
    }

    /// Returns how many labels were dropped from memory since the last call.
    pub(super) fn take_forgotten(&mut self) -> u64 {
        let forgotten = self.pending.take_forgotten();
        self.forgotten += forgotten;
        forgotten
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
        let slices: Vec<String> = joined.slices.keys().cloned().collect();
        let open = self.books.open(key, &slices, options.settings.rows_max);

        let truth = Truth::from(joined.truth);
        let part_of = |slice| joined.slices.get(slice).cloned().unwrap_or_default();
        let row = Row {
            answer: joined.answer.clone(),
            truth,
            parts: open.book.slices.iter().map(part_of).collect(),
            time_us: line.time.timestamp_micros(),
        };

        let taken = open.book.label(hour, (id, line.row), row);
        match taken {
            RowOutcome::Same | RowOutcome::Dropped => return taken,
            RowOutcome::Corrected => *open.corrections.entry((id, line.row)).or_default() += 1,
            RowOutcome::New if self.is_testing => {
                alarms.extend(open.test((hour, (id, line.row)), joined, options));
            }
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
