//! Who is told of predictions: taps, which see those that have their inputs, and the keeper of
//! answers, which sees every prediction that may receive labels.

use super::Tap;
use super::answered::Answered;
use crate::observe::drift::watch::WatchSubject;
use std::sync::Arc;

/// Keeps the answer of every prediction until its labels come. Called on the monitor's thread; must
/// not block.
pub(crate) trait AnswerKeeper: Send + Sync {
    /// Keeps an answer.
    fn keep(&self, answered: &Answered<'_>);

    /// Notes that predictions of a span of time, in milliseconds since 1970, did not fit the queue.
    fn lost(&self, predictions: u64, from_ms: u64, to_ms: u64);

    /// Notes that a version was loaded.
    fn watched(&self, subject: &Arc<WatchSubject>);
}

/// Who is told of predictions.
#[derive(Default)]
pub(crate) struct Taps {
    /// See each prediction that has its inputs.
    pub answered: Vec<Tap>,
    /// Sees every prediction of a version whose task is known.
    pub keeper: Option<Arc<dyn AnswerKeeper>>,
}
