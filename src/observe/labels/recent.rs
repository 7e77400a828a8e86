//! Recent predictions that wait for their labels, in memory and bounded: the oldest are dropped first.

use crate::observe::drift::observer::Answered;
use crate::observe::drift::watch::Subject;
use crate::observe::quality::answer::Answer;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use uuid::Uuid;

/// What is kept of a prediction beside its rows, about.
const ENTRY_BYTES: usize = 160;
/// … and of a row beside its scores.
const ROW_BYTES: usize = 48;

/// A prediction whose labels may come.
pub(super) struct Kept {
    pub subject: Arc<Subject>,
    /// Of each row; none where it cannot be judged.
    pub answers: Vec<Option<Answer>>,
    /// The part of each row, slice by slice.
    pub parts: Vec<Vec<String>>,
    bytes: usize,
}

impl Kept {
    /// Reads a prediction; none of a model whose task is not known.
    pub(super) fn of(answered: &Answered<'_>) -> Option<Self> {
        answered.subject.task.as_ref()?;
        let answers = answered.answers.to_vec();
        let scores = |answer: &Option<Answer>| {
            if let Some(Answer::Class(_, s)) = answer {
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

/// The predictions that wait.
pub(super) struct Recent {
    kept: HashMap<Uuid, Kept>,
    order: VecDeque<Uuid>,
    bytes: usize,
    bytes_max: usize,
}

impl Recent {
    /// Holds about so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            kept: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Adds one; the oldest make room.
    pub(super) fn add(&mut self, id: Uuid, kept: Kept) {
        self.bytes += kept.bytes;
        self.order.push_back(id);
        self.kept.insert(id, kept);
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.order.pop_front()
        {
            self.bytes -= self.kept.remove(&oldest).map_or(0, |kept| kept.bytes);
        }
    }

    /// One by its id.
    pub(super) fn get(&self, id: Uuid) -> Option<&Kept> {
        self.kept.get(&id)
    }
}
