//! A prediction that labels may arrive for: as it comes from the monitor, and as it is kept.

use crate::observe::drift::observer::answered::Answered;
use crate::observe::drift::watch::WatchSubject;
use crate::observe::quality::answer::RowAnswer;
use std::sync::Arc;
use uuid::Uuid;

/// A prediction that labels may arrive for.
pub(super) struct RecentPrediction {
    pub subject: Arc<WatchSubject>,
    /// The prediction for each row; none if it cannot be compared with a label.
    pub answers: Vec<Option<RowAnswer>>,
    /// For each slice, the part that each row belongs to.
    pub parts: Vec<Vec<String>>,
}

/// The same, borrowed.
#[derive(Clone, Copy)]
pub(super) struct FreshPrediction<'p> {
    pub id: Uuid,
    pub subject: &'p Arc<WatchSubject>,
    pub answers: &'p [Option<RowAnswer>],
    pub parts: &'p [Vec<String>],
}

impl<'p> FreshPrediction<'p> {
    /// Takes a prediction from the monitor; none if the task of the model is unknown.
    pub(super) fn of(answered: &Answered<'p>) -> Option<Self> {
        answered.subject.task.as_ref()?;
        Some(Self {
            id: answered.prediction,
            subject: answered.subject,
            answers: answered.answers,
            parts: answered.parts,
        })
    }

    /// Copies it.
    pub(super) fn kept(&self) -> RecentPrediction {
        RecentPrediction {
            subject: Arc::clone(self.subject),
            answers: self.answers.to_vec(),
            parts: self.parts.to_vec(),
        }
    }
}

impl RecentPrediction {
    /// Borrows it.
    pub(super) fn predicted(&self, id: Uuid) -> FreshPrediction<'_> {
        FreshPrediction {
            id,
            subject: &self.subject,
            answers: &self.answers,
            parts: &self.parts,
        }
    }
}
