//! The labelled rows of each version, with its performance test. Bounded: the version whose rows
//! were used longest ago is dropped first.

#[cfg(test)]
mod tests;

use crate::core::hash::Digest;
use crate::core::model::ModelName;
use crate::observe::labels::LabelOptions;
use crate::observe::labels::line::{Joined, LabelLine};
use crate::observe::quality::answer::Truth;
use crate::observe::quality::book::Book;
use crate::observe::quality::sequential::SequentialTest;
use crate::observe::report::alarm::PerformanceAlarm;
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

/// Most versions whose labelled rows are kept.
const BOOKS_MAX: usize = 256;

/// A version. The digest tells it apart from one of the same number whose files were replaced.
pub(super) type Key = (ModelName, Digest);

/// The labelled rows of all versions.
#[derive(Default)]
pub(super) struct Books {
    open: BTreeMap<Key, Open>,
    /// Counts uses, so that the oldest is known.
    uses: u64,
}

/// The labelled rows of one version, and its performance test.
pub(super) struct Open {
    pub book: Book,
    /// Started when this server first sees a prediction of the version.
    pub trial: Option<SequentialTest>,
    /// Corrections of each row's label.
    pub corrections: HashMap<(Uuid, u32), u32>,
    /// Whether something is not in the metrics yet.
    pub changed: bool,
    used: u64,
    /// When this server last saw a prediction of it, counted in uses; 0 if never.
    answered: u64,
}

impl Books {
    /// Returns the rows of a version; starts them if there are none.
    pub(super) fn open(
        &mut self,
        key: Key,
        version: u64,
        slices: &[String],
        rows_max: usize,
    ) -> &mut Open {
        self.uses += 1;
        if !self.open.contains_key(&key) && self.open.len() >= BOOKS_MAX {
            self.drop_oldest();
        }

        let open = self.open.entry(key).or_insert_with(|| Open {
            book: Book::new(version, slices.to_vec(), rows_max),
            trial: None,
            corrections: HashMap::new(),
            changed: true,
            used: 0,
            answered: 0,
        });

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
    pub(super) fn answered(&mut self, key: &Key) {
        if let Some(open) = self.open.get_mut(key) {
            open.answered = open.used;
        }
    }

    /// Tells whether other bytes of the same version answered later.
    pub(super) fn is_replaced(&self, key: &Key) -> bool {
        let Some(open) = self.open.get(key) else {
            return false;
        };
        let later = |(other, now): (&Key, &Open)| {
            other.0 == key.0
                && now.book.version == open.book.version
                && now.answered > open.answered
        };
        self.open.iter().any(later)
    }

    /// Finds the rows of a version.
    pub(super) fn get(&self, key: &Key) -> Option<&Open> {
        self.open.get(key)
    }

    /// Iterates over the versions, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Open)> {
        self.open.iter()
    }

    /// Iterates over the versions, in order, to change them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Key, &mut Open)> {
        self.open.iter_mut()
    }
}

impl Open {
    /// Counts a new label in the performance test. Returns an alarm if it starts with this label.
    pub(super) fn test(
        &mut self,
        line: &LabelLine,
        joined: &Joined,
        options: &LabelOptions,
    ) -> Option<PerformanceAlarm> {
        let hour = u64::try_from(line.time.timestamp() / 3600).unwrap_or(0);
        let won = self.trial.as_mut()?.take(
            (&joined.answer, Truth::from(joined.truth)),
            hour,
            options.false_alarms_per_month,
            options.settings.loss_margin,
        )?;

        Some(PerformanceAlarm {
            model: joined.model.clone(),
            version: joined.version,
            digest: joined.digest.clone(),
            time: line.time,
            span_hours: won.span_hours,
            rows: won.rows,
            lost: won.lost,
            allowed: won.allowed,
            evidence: won.evidence,
            alpha: won.alpha,
        })
    }
}
