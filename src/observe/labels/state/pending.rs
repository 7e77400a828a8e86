//! Labels whose prediction is not known here yet. Bounded: the oldest are dropped first. They stay
//! in the label log.

use crate::core::request::id::minted_at;
use crate::observe::capture::find::FoundPrediction as Captured;
use crate::observe::labels::line::{Joined, LabelLine};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;
use uuid::Uuid;

/// Most pending labels in memory.
const PENDING_MAX: usize = 100_000;
/// Most predictions that are searched at once.
const WANTED_MAX: usize = 10_000;
/// The age from which a captured prediction is in a file.
const CAPTURED: Duration = Duration::from_secs(5);

/// A row of a prediction.
type RowKey = (Uuid, u32);

/// The pending labels.
#[derive(Default)]
pub(super) struct Pending {
    labels: HashMap<RowKey, LabelLine>,
    /// Rows by arrival. May hold rows that are not pending any more.
    order: VecDeque<RowKey>,
    /// Labels dropped since the number was last read.
    forgotten: u64,
}

impl Pending {
    /// Returns the label of a row.
    pub(super) fn get(&self, row: &RowKey) -> Option<&LabelLine> {
        self.labels.get(row)
    }

    /// Returns how many labels are pending.
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Adds a label. Of two for one row, the later one counts.
    pub(super) fn add(&mut self, line: LabelLine) {
        let row = (line.prediction_id, line.row);
        match self.labels.get(&row) {
            Some(known) if known.time >= line.time => return,
            Some(_) => {}
            None => self.order.push_back(row),
        }

        self.labels.insert(row, line);
        while self.order.len() > PENDING_MAX {
            let oldest = self.order.pop_front();
            let dropped = oldest.and_then(|oldest| self.labels.remove(&oldest));
            self.forgotten += u64::from(dropped.is_some());
        }
    }

    /// Removes the label of a row that is joined, unless the pending one is newer.
    pub(super) fn settle(&mut self, joined: &LabelLine) {
        let row = (joined.prediction_id, joined.row);
        let is_settled = self
            .labels
            .get(&row)
            .is_some_and(|pending| pending.time <= joined.time);

        if is_settled {
            self.labels.remove(&row);
        }
    }

    /// Returns the predictions to search for, if they are old enough to be captured.
    pub(super) fn wanted(&self) -> BTreeSet<Uuid> {
        self.labels
            .keys()
            .map(|(id, _)| *id)
            .filter(|id| is_captured(*id))
            .take(WANTED_MAX)
            .collect()
    }

    /// Joins labels with captured predictions. A label that does not fit its prediction is dropped;
    /// one that fits stays pending until it is written to the log.
    pub(super) fn join(&mut self, found: &HashMap<Uuid, Captured>) -> Vec<LabelLine> {
        let mut joined = Vec::new();
        self.labels.retain(|(id, row), line| {
            let Some(prediction) = found.get(id) else {
                return true;
            };
            let fitting = join(line, *row, prediction);
            let fits = fitting.is_some();
            joined.extend(fitting);
            fits
        });

        joined
    }

    /// Returns how many labels were dropped since the last call.
    pub(super) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }
}

/// Tells whether a prediction is old enough to be in a captured file.
fn is_captured(id: Uuid) -> bool {
    let age = minted_at(id).and_then(|time| time.elapsed().ok());
    age.is_some_and(|age| age >= CAPTURED)
}

/// Joins a label with a row of a captured prediction; none if it does not fit.
fn join(line: &LabelLine, row: u32, prediction: &Captured) -> Option<LabelLine> {
    let answer = prediction.answers.get(row as usize).cloned().flatten()?;
    let truth = line.label.truth(&prediction.task).ok()?;
    let joined = Joined {
        model: prediction.model.clone(),
        version: prediction.version,
        digest: prediction.digest.clone(),
        answer,
        truth: truth.into(),
        slices: BTreeMap::new(),
    };

    Some(LabelLine {
        joined: Some(joined),
        ..line.clone()
    })
}
