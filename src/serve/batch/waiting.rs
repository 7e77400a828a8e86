//! A submitted request until its answer: runs it in place where that is set, and gives it up when its
//! deadline passes or when it is dropped.

use super::due::Due;
use super::explain::UnservedReason;
use super::lane;
use super::queue::{Class, Rank};
use super::{BatcherShared, Done, passed_in_queue, waited};
use crate::core::error::{Error, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// A submitted request. Dropping it removes the request from the queue.
pub(crate) struct Waiting {
    ticket: Ticket,
    answer: oneshot::Receiver<Result<Done>>,
    due: Due,
    stage: Stage,
}

/// What a request waits for besides its answer.
enum Stage {
    /// Other tasks of the I/O thread, whose requests may join its batch.
    Others,
    /// Nothing: it runs now, unless somebody else has run it.
    InPlace,
    /// Its answer is not known to be late.
    Queued,
    /// Until when it may wait.
    Timed(Pin<Box<Sleep>>),
    /// Nothing: it runs.
    Running,
}

impl Waiting {
    pub(super) fn new(
        ticket: Ticket,
        answer: oneshot::Receiver<Result<Done>>,
        due: Due,
        in_place: bool,
    ) -> Self {
        Self {
            ticket,
            answer,
            due,
            stage: match in_place {
                true => Stage::Others,
                false => Stage::Queued,
            },
        }
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Done>> {
        Pin::new(&mut self.answer).poll(cx).map(|served| {
            self.ticket.served();
            served.unwrap_or_else(|_| {
                Err(Error::internal("the lane failed while it ran this request"))
            })
        })
    }

    /// What follows when it may not wait any longer.
    fn expire(&mut self) -> Option<Error> {
        let is_queued = self.ticket.leave_queue();
        match (self.due.is_of_answer(), is_queued) {
            (true, true) => {
                self.ticket.shared.unserved.add(UnservedReason::LateInQueue);
                Some(passed_in_queue())
            }
            (true, false) => {
                self.ticket.shared.unserved.add(UnservedReason::LateInRun);
                let late = "the deadline passed before the answer was ready";
                Some(Error::late(late))
            }
            (false, true) => {
                self.ticket
                    .shared
                    .unserved
                    .add(UnservedReason::QueueTimeout);
                Some(waited(&self.ticket.shared.options))
            }
            (false, false) => {
                self.stage = Stage::Running;
                None
            }
        }
    }
}

/// Errors: `DeadlineExceeded` if the deadline passes first, `ResourceExhausted` if a request without one
/// waits too long in the queue.
impl Future for Waiting {
    type Output = Result<Done>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Done>> {
        let this = &mut *self;
        if let Stage::Others = this.stage {
            // Requests that arrived with this one enter the queue first.
            this.stage = Stage::InPlace;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Stage::InPlace = this.stage {
            this.stage = Stage::Queued;
            if this.answer.is_empty() && !this.answer.is_terminated() {
                lane::run_in_place(&this.ticket.shared);
            }
        }
        if let Poll::Ready(answer) = this.poll_answer(cx) {
            return Poll::Ready(answer);
        }

        if let Stage::Queued = this.stage {
            let until = tokio::time::sleep_until(this.due.at.into());
            this.stage = Stage::Timed(Box::pin(until));
        }
        if let Stage::Timed(until) = &mut this.stage
            && until.as_mut().poll(cx).is_ready()
            && let Some(error) = this.expire()
        {
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }
}

/// A request in the queue or in a run. Dropping it gives it up.
pub(super) struct Ticket {
    shared: Arc<BatcherShared>,
    class: Class,
    rank: Rank,
    waiting: bool,
}

impl Ticket {
    pub(super) fn new(shared: Arc<BatcherShared>, class: Class, rank: Rank) -> Self {
        Self {
            shared,
            class,
            rank,
            waiting: true,
        }
    }

    /// Notes that the request was served: nothing is left to give up.
    fn served(&mut self) {
        self.waiting = false;
    }

    /// Gives up the place in the queue. Returns false if a lane has taken the request.
    fn leave_queue(&mut self) -> bool {
        let shared = &self.shared;
        let mut state = shared.state.lock();
        let gone = state.queue.remove(&self.class, self.rank);
        shared.metrics.queue_rows.set(state.queue.rows() as i64);
        drop(state);

        self.waiting &= gone.is_none();
        gone.is_some()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.waiting || self.leave_queue() {
            return;
        }
        let now = Instant::now();
        for slot in self.shared.slots.load().iter() {
            slot.watch.leave(self.rank.arrival, now);
        }
    }
}
