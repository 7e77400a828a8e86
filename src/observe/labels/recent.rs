//! Recent predictions, kept in memory so that labels can be joined with them. Bounded: the oldest
//! are dropped first.

use crate::observe::drift::observer::answered::Answered;
use crate::observe::drift::watch::WatchSubject;
use crate::observe::quality::answer::RowAnswer;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// About how many bytes a prediction takes, without its rows.
const ENTRY_BYTES: usize = 160;
/// About how many bytes a row takes, without its scores.
const ROW_BYTES: usize = 48;

/// A prediction that labels may arrive for.
pub(super) struct RecentPrediction {
    pub subject: Arc<WatchSubject>,
    /// The prediction for each row; none if it cannot be compared with a label.
    pub answers: Vec<Option<RowAnswer>>,
    /// For each slice, the part that each row belongs to.
    pub parts: Vec<Vec<String>>,
    bytes: usize,
}

impl RecentPrediction {
    /// Takes a prediction from the monitor; none if the task of the model is unknown.
    pub(super) fn of(answered: &Answered<'_>) -> Option<Self> {
        answered.subject.task.as_ref()?;
        let answers = answered.answers.to_vec();
        let scores = |answer: &Option<RowAnswer>| {
            if let Some(RowAnswer::Class(_, s)) = answer {
                s.len() * 4
            } else {
                0
            }
        };

        let words: usize = answered
            .parts
            .iter()
            .flatten()
            .map(|part| part.len() + 24)
            .sum();
        let bytes =
            ENTRY_BYTES + words + answers.iter().map(|a| ROW_BYTES + scores(a)).sum::<usize>();
        Some(Self {
            subject: Arc::clone(answered.subject),
            answers,
            parts: answered.parts.to_vec(),
            bytes,
        })
    }
}

/// The recent predictions.
pub(super) struct Recent {
    kept: HashMap<Uuid, RecentPrediction>,
    order: VecDeque<Uuid>,
    bytes: usize,
    bytes_max: usize,
}

impl Recent {
    /// Starts empty; holds about `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            kept: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Adds a prediction, and drops the oldest beyond the limit.
    pub(super) fn add(&mut self, id: Uuid, kept: RecentPrediction) {
        self.bytes += kept.bytes;
        self.order.push_back(id);
        self.kept.insert(id, kept);
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.kept.remove(&oldest).map_or(0, |kept| kept.bytes);
        }
    }

    /// Returns a prediction.
    pub(super) fn get(&self, id: Uuid) -> Option<&RecentPrediction> {
        self.kept.get(&id)
    }
}
