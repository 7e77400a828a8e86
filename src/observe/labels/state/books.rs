//! The labelled rows of each version, with its performance test. Bounded: the version whose rows
//! were used longest ago is dropped first.

mod retest;
#[cfg(test)]
mod tests;

use crate::core::model::task::Task;
use crate::observe::drift::watch::WatchSubject;
use crate::observe::labels::LabelOptions;
use crate::observe::labels::line::{Joined, VersionKey};
use crate::observe::quality::book::{Book, Row};
use crate::observe::quality::sliced::{BegunLoss, SlicedTest};
use crate::observe::report::alarm::PerformanceAlarm;
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// Most versions whose labelled rows are kept.
const BOOKS_MAX: usize = 256;

/// The labelled rows of all versions.
#[derive(Default)]
pub(super) struct Books {
    open: BTreeMap<VersionKey, Open>,
    /// Counts uses, so that the oldest is known.
    uses: u64,
}

/// The labelled rows of one version, and its performance test.
pub(super) struct Open {
    pub book: Book,
    /// Started when the version is loaded here.
    pub trial: Option<SlicedTest>,
    /// What its outputs mean, once the version is loaded here.
    pub task: Option<Task>,
    /// Corrections of each row's label.
    pub corrections: HashMap<(Uuid, u32), u32>,
    /// Accepted labels that do not fit their prediction, which was found later.
    pub unfit: u64,
    /// Whether something is not in the metrics yet.
    pub changed: bool,
    used: u64,
    /// When this server last saw a prediction of it, counted in uses; 0 if never.
    answered: u64,
}

/// Returns the key of a version.
pub(super) fn key_of(subject: &WatchSubject) -> VersionKey {
    (
        subject.model.clone(),
        subject.version.number(),
        subject.digest,
    )
}

impl Books {
    /// Returns the rows of a version; starts them if there are none.
    pub(super) fn open(
        &mut self,
        key: VersionKey,
        slices: &[String],
        rows_max: usize,
    ) -> &mut Open {
        self.uses += 1;
        if !self.open.contains_key(&key) && self.open.len() >= BOOKS_MAX {
            self.drop_oldest();
        }

        let version = key.1;
        let open = self.open.entry(key).or_insert_with(|| Open {
            book: Book::new(version, slices.to_vec(), rows_max),
            trial: None,
            task: None,
            corrections: HashMap::new(),
            unfit: 0,
            changed: true,
            used: 0,
            answered: 0,
        });

        // FreshPrediction rows may be known before the slices are.
        if open.book.rows() == 0 && open.book.slices.is_empty() {
            open.book.slices = slices.to_vec();
        }
        open.used = self.uses;
        open
    }

    fn drop_oldest(&mut self) {
        let oldest = self.open.iter().min_by_key(|(_, open)| open.used);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.open.remove(&key);
        }
    }

    /// Notes that a version answers now.
    pub(super) fn answered(&mut self, key: &VersionKey) {
        if let Some(open) = self.open.get_mut(key) {
            open.answered = open.used;
        }
    }

    /// Tells whether other bytes of the same version answered later.
    pub(super) fn is_replaced(&self, key: &VersionKey) -> bool {
        let Some(open) = self.open.get(key) else {
            return false;
        };
        let later = |(other, now): (&VersionKey, &Open)| {
            (&other.0, other.1) == (&key.0, key.1) && now.answered > open.answered
        };
        self.open.iter().any(later)
    }

    /// Finds the rows of a version.
    pub(super) fn get(&self, key: &VersionKey) -> Option<&Open> {
        self.open.get(key)
    }

    /// Finds a row that has a label, with the version that predicted it.
    pub(super) fn row(&self, hour: u64, row: (Uuid, u32)) -> Option<(&VersionKey, &Open, &Row)> {
        self.open
            .iter()
            .find_map(|(key, open)| Some((key, open, open.book.row(hour, row)?)))
    }

    /// Iterates over the versions, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&VersionKey, &Open)> {
        self.open.iter()
    }

    /// Iterates over the versions, in order, to change them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&VersionKey, &mut Open)> {
        self.open.iter_mut()
    }
}

impl Open {
    /// Counts a row with a new label in the performance tests. Returns the alarms that start with it.
    pub(super) fn test(
        &mut self,
        (hour, row): (u64, (Uuid, u32)),
        joined: &Joined,
        options: &LabelOptions,
    ) -> Vec<PerformanceAlarm> {
        let Some((trial, row)) = self.trial.as_mut().zip(self.book.row(hour, row)) else {
            return Vec::new();
        };
        let begun = trial.take(
            row,
            &self.book.slices,
            options.false_alarms_per_month,
            options.settings.loss_margin,
        );

        let version = (&*joined.model, joined.version, &*joined.digest);
        let alarms = begun.into_iter();
        alarms.map(|one| alarm(one, version, row.time())).collect()
    }
}

/// Returns the alarm about a version, by the names of its model and digest.
fn alarm(
    begun: BegunLoss,
    (model, version, digest): (&str, u64, &str),
    time: DateTime<Utc>,
) -> PerformanceAlarm {
    let BegunLoss { part, won } = begun;
    PerformanceAlarm {
        model: model.to_owned(),
        version,
        digest: digest.to_owned(),
        part,
        time,
        span_hours: won.span_hours,
        rows: won.rows,
        lost: won.lost,
        allowed: won.allowed,
        evidence: won.evidence,
        alpha: won.alpha,
    }
}
