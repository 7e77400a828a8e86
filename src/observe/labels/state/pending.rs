//! Labels whose prediction is not known here yet. Bounded: the oldest are dropped first. They stay
//! in the label log.

#[cfg(test)]
mod tests;

use crate::observe::capture::find::FoundPrediction;
use crate::observe::labels::line::{Joined, LabelLine};
use chrono::{DateTime, TimeDelta, Utc};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use uuid::Uuid;

/// Most pending labels in memory.
const PENDING_MAX: usize = 300_000;
/// How long the server that accepted a label has to join it, before the others try.
const OTHERS_WAIT: TimeDelta = TimeDelta::seconds(30);

/// A row of a prediction.
pub(super) type RowKey = (Uuid, u32);

/// A label that waits for its prediction.
struct PendingLabel {
    line: LabelLine,
    /// Whether this server accepted it.
    is_own: bool,
}

/// The pending labels.
#[derive(Default)]
pub(super) struct Pending {
    labels: HashMap<RowKey, PendingLabel>,
    /// Rows by arrival. May hold rows that are not pending any more.
    order: VecDeque<RowKey>,
    /// Labels dropped since the number was last read.
    forgotten: u64,
}

/// What became of pending labels whose prediction was found.
#[derive(Default)]
pub(super) struct JoinedPending {
    pub joined: Vec<LabelLine>,
    /// Versions that made the predictions that labels do not fit.
    pub unfit: Vec<(String, u64, String)>,
}

impl Pending {
    /// Returns the label of a row.
    pub(super) fn get(&self, row: &RowKey) -> Option<&LabelLine> {
        self.labels.get(row).map(|pending| &pending.line)
    }

    /// Returns how many labels are pending.
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Iterates over the predictions of the pending labels, one for each label.
    pub(super) fn predictions(&self) -> impl Iterator<Item = Uuid> {
        self.labels.keys().map(|(id, _)| *id)
    }

    /// Iterates over the pending labels.
    pub(super) fn lines(&self) -> impl Iterator<Item = &LabelLine> {
        self.labels.values().map(|pending| &pending.line)
    }

    /// Adds a label. Of two for one row, the later one counts.
    pub(super) fn add(&mut self, line: LabelLine, is_own: bool) {
        let row = (line.prediction_id, line.row);
        match self.labels.get(&row) {
            Some(known) if known.line.time >= line.time => return,
            Some(_) => {}
            None => self.order.push_back(row),
        }

        self.labels.insert(row, PendingLabel { line, is_own });
        while self.labels.len() > PENDING_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.forgotten += u64::from(self.labels.remove(&oldest).is_some());
        }
        // Most rows are joined long before they would be dropped.
        if self.order.len() > 2 * PENDING_MAX {
            self.order.retain(|row| self.labels.contains_key(row));
        }
    }

    /// Removes the label of a row that is joined, unless the pending one is newer.
    pub(super) fn settle(&mut self, joined: &LabelLine) {
        let row = (joined.prediction_id, joined.row);
        let is_settled = self
            .labels
            .get(&row)
            .is_some_and(|pending| pending.line.time <= joined.time);

        if is_settled {
            self.labels.remove(&row);
        }
    }

    /// Returns the predictions to search for: of labels that this server accepted, and of those
    /// that their server had time to join. A label from the future, by this clock, is one of them.
    pub(super) fn wanted(&self, now: DateTime<Utc>) -> BTreeSet<Uuid> {
        let is_due = |pending: &PendingLabel| {
            let age = now.signed_duration_since(pending.line.time);
            pending.is_own || age >= OTHERS_WAIT || age < TimeDelta::zero()
        };
        let due = self.labels.iter().filter(|(_, pending)| is_due(pending));
        due.map(|((id, _), _)| *id).collect()
    }

    /// Joins labels with found predictions. A label that does not fit its prediction is dropped;
    /// one that fits stays pending until it is written to the log.
    pub(super) fn join(&mut self, found: &HashMap<Uuid, FoundPrediction>) -> JoinedPending {
        let mut all = JoinedPending::default();
        self.labels.retain(|(id, row), pending| {
            let Some(prediction) = found.get(id) else {
                return true;
            };
            let Some(joined) = join(&pending.line, *row, prediction) else {
                let FoundPrediction {
                    model,
                    version,
                    digest,
                    ..
                } = prediction;
                all.unfit.push((model.clone(), *version, digest.clone()));
                return false;
            };
            all.joined.push(joined);
            true
        });

        // Of a correction and what it corrects, the later one counts.
        all.joined.sort_by_key(|line| line.time);
        all
    }

    /// Returns how many labels were dropped since the last call.
    pub(super) fn take_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.forgotten)
    }
}

/// Joins a label with a row of a found prediction; none if it does not fit.
fn join(line: &LabelLine, row: u32, prediction: &FoundPrediction) -> Option<LabelLine> {
    let at = row as usize;
    let answer = prediction.answers.get(at).cloned().flatten()?;
    let truth = line.label.truth(&prediction.task).ok()?;
    let slices = prediction.slices.iter().zip(&prediction.parts);
    let slices: BTreeMap<String, String> = slices
        .filter_map(|(name, parts)| Some((name.clone(), parts.get(at)?.clone())))
        .collect();
    let joined = Joined {
        model: prediction.model.clone(),
        version: prediction.version,
        digest: prediction.digest.clone(),
        answer,
        truth: truth.into(),
        slices,
    };

    Some(LabelLine {
        joined: Some(joined),
        ..line.clone()
    })
}
