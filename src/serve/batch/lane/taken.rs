//! The requests that a lane took from the queue.

use crate::core::error::{Error, Result};
use crate::core::model::padding::RequestLength;
use crate::serve::batch::class_costs::ClassCosts;
use crate::serve::batch::queue::{Class, QueuedRequest, Rank};
use crate::serve::batch::select::ClassBatch;
use crate::serve::batch::{BatchJob, Done};
use std::time::Instant;

/// A request that a lane took from the queue, with the place that it had there.
pub(super) struct TakenJob {
    pub(super) rank: Rank,
    pub(super) job: BatchJob,
}

impl TakenJob {
    /// Its length, if it arrived while requests were padded.
    pub(super) fn length(&self) -> Option<RequestLength> {
        self.job.length.as_deref().copied()
    }

    pub(super) fn reply(self, answer: Result<Done>) {
        // The request may have been cancelled.
        let _ = self.job.reply.send(answer);
    }
}

/// The batch that a lane took last.
pub(super) struct LastTaken {
    at: Instant,
    class: Class,
    rows: usize,
}

/// Notes how long the batch before took with all that is beside its run, if this one follows it without a wait.
pub(super) fn note_cycle(
    costs: &mut ClassCosts,
    before: Option<LastTaken>,
    batch: &ClassBatch<BatchJob>,
) -> LastTaken {
    let taken = LastTaken {
        at: Instant::now(),
        class: batch.class.clone(),
        rows: batch.requests.iter().map(|(_, entry)| entry.rows).sum(),
    };
    if let Some(before) = before {
        let took = taken.at.saturating_duration_since(before.at);
        costs.note_cycle(&before.class, before.rows, took);
    }
    taken
}

/// The requests for which somebody waits.
pub(super) fn awaited(requests: Vec<(Rank, QueuedRequest<BatchJob>)>) -> Vec<TakenJob> {
    let taken = requests.into_iter().map(|(rank, entry)| TakenJob {
        rank,
        job: entry.load,
    });
    taken.filter(|taken| !taken.job.reply.is_closed()).collect()
}

/// Answers every request of a batch with this error.
pub(super) fn refuse(batch: ClassBatch<BatchJob>, error: &Error) {
    for taken in awaited(batch.requests) {
        taken.reply(Err(Error::new(error.kind, error.message.clone())));
    }
}

/// Until when the clients of a run wait; none if one waits without end.
pub(super) fn latest(jobs: &[TakenJob]) -> Option<Instant> {
    let mut latest = None;
    for taken in jobs {
        latest = latest.max(Some(taken.job.deadline?.0));
    }
    latest
}
