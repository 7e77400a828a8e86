//! Joins requests into batches and runs them. Owns the queue and the lanes: a
//! lane takes its next batch when it is free, so batches grow by themselves as
//! load grows. Dropping the batcher ends the lanes.

pub(crate) mod cost;
mod lane;
pub(crate) mod policy;
mod queue;
#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::request::{Deadline, Timing};
use crate::core::tensor::Tensor;
use crate::observe::metrics::ServableMetrics;
use crate::onnx::runtime::Session;
use cost::Cost;
use lane::Lane;
use parking_lot::{Condvar, Mutex};
use queue::{Class, Entry, Queue, Rank};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::oneshot;

/// How a servable batches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// Whether requests may be joined; otherwise each runs alone.
    pub batched: bool,
    /// Rows in one batch, and the most one request may carry.
    pub batch_rows_max: usize,
    /// Rows waiting; beyond it requests are refused.
    pub queue_rows_max: usize,
    /// How long the oldest request may wait for company.
    pub batch_delay: std::time::Duration,
    /// S(b).
    pub cost: Cost,
    /// Whether a run is so short that the thread that asks may do it itself:
    /// waking a lane and being woken cost more.
    pub in_place: bool,
}

/// A request inside the batcher.
struct Job {
    inputs: Vec<Tensor>,
    rows: usize,
    submitted: Instant,
    reply: oneshot::Sender<Result<Done>>,
}

/// What a lane answers.
#[derive(Debug)]
pub(crate) struct Done {
    /// In the graph's order.
    pub outputs: Vec<Tensor>,
    /// Where the time went.
    pub timing: Timing,
}

/// State that requests and lanes share.
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    options: Options,
    metrics: Arc<ServableMetrics>,
    /// Runs in place, in a row, that took far too long.
    slow_in_place: AtomicU32,
    /// Batches run so far.
    batches: AtomicU64,
    /// A session each; a lane empties its own when it ends.
    slots: Vec<Mutex<Option<Lane>>>,
}

impl Shared {
    fn is_in_place(&self) -> bool {
        self.options.in_place
            && self.slow_in_place.load(Ordering::Relaxed) < lane::SLOW_IN_PLACE_MAX
    }
}

struct State {
    queue: Queue<Job>,
    closed: bool,
    idle_lanes: usize,
}

/// The batching front of one servable.
pub(crate) struct Batcher {
    shared: Arc<Shared>,
}

/// One more request: tensors in the graph's order, checked.
pub(crate) struct Submission {
    /// The tensors.
    pub inputs: Vec<Tensor>,
    /// When an answer is wanted.
    pub deadline: Deadline,
    /// 0 is most urgent.
    pub priority: u8,
}

impl Batcher {
    /// Starts one lane per session. `on_end` runs on a lane's thread after its
    /// session was dropped.
    pub(crate) fn start(
        name: &str,
        sessions: Vec<Box<dyn Session>>,
        options: Options,
        metrics: Arc<ServableMetrics>,
        on_end: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self> {
        let queue = Queue::new(options.queue_rows_max);
        let state = Mutex::new(State {
            queue,
            closed: false,
            idle_lanes: 0,
        });
        let slots: Vec<_> = sessions
            .into_iter()
            .map(|session| Mutex::new(Some(Lane::new(session))))
            .collect();
        let lanes = slots.len();
        let shared = Arc::new(Shared {
            state,
            wake: Condvar::new(),
            options,
            metrics,
            slow_in_place: AtomicU32::new(0),
            batches: AtomicU64::new(0),
            slots,
        });
        let batcher = Self {
            shared: Arc::clone(&shared),
        };
        let on_end = Arc::new(on_end);
        for at in 0..lanes {
            let shared = Arc::clone(&shared);
            let on_end = Arc::clone(&on_end);
            std::thread::Builder::new()
                .name(format!("lane {name}"))
                .spawn(move || {
                    lane::serve(&shared, at);
                    on_end();
                })
                .map_err(|e| Error::internal("start a lane").with_source(e))?;
        }
        Ok(batcher)
    }

    /// Waits in line and returns the answer. Dropping the future takes the
    /// request out of the line. Errors: `ResourceExhausted` where the queue is
    /// full, `DeadlineExceeded` where the deadline passes first.
    pub(crate) async fn submit(&self, submission: Submission) -> Result<Done> {
        let Submission {
            inputs,
            deadline,
            priority,
        } = submission;
        let (rows, class) = self.measure(&inputs)?;
        let submitted = Instant::now();
        if submitted + self.shared.options.cost.of(rows) > deadline.0 {
            return Err(Error::late(
                "the deadline cannot be met; the request was not executed",
            ));
        }
        let in_place = self.shared.is_in_place();
        let (reply, mut answer) = oneshot::channel();
        let job = Job {
            inputs,
            rows,
            submitted,
            reply,
        };
        let entry = Entry {
            rows: rows.max(1),
            pushed: submitted,
            load: job,
        };
        let ticket = {
            let mut state = self.shared.state.lock();
            let rank = state
                .queue
                .push(&class, priority, deadline, entry)
                .map_err(|_| {
                    Error::overloaded(format!(
                        "the queue is full at {} rows; the request was not executed",
                        self.shared.options.queue_rows_max
                    ))
                })?;
            self.shared
                .metrics
                .queue_rows
                .set(state.queue.rows() as i64);
            if state.idle_lanes > 0 && !in_place {
                self.shared.wake.notify_one();
            }
            Ticket {
                shared: &self.shared,
                class,
                rank,
                waiting: true,
            }
        };
        if in_place {
            // Requests that arrived with this one get into the line first.
            tokio::task::yield_now().await;
            if answer.is_empty() && !answer.is_terminated() {
                lane::run_in_place(&self.shared);
            }
        }
        let answer = tokio::time::timeout_at(deadline.0.into(), &mut answer).await;
        match answer {
            Ok(served) => {
                ticket.served();
                served.unwrap_or_else(|_| {
                    Err(Error::internal("the lane failed while it ran this request"))
                })
            }
            Err(_) => Err(Error::late(
                "the deadline passed before the answer was ready",
            )),
        }
    }

    /// Whether requests wait for a lane at this moment.
    pub(crate) fn has_waiting(&self) -> bool {
        self.shared.state.lock().queue.rows() > 0
    }

    /// Whether a batch runs at this moment, on a lane or in place.
    pub(crate) fn is_running(&self) -> bool {
        self.shared.slots.iter().any(Mutex::is_locked)
    }

    /// Rows of a request and the class it stacks with.
    fn measure(&self, inputs: &[Tensor]) -> Result<(usize, Class)> {
        let options = &self.shared.options;
        if !options.batched {
            return Ok((1, Class::new()));
        }
        let rows = inputs.first().and_then(Tensor::rows).unwrap_or(1);
        if let Some(odd) = inputs.iter().position(|t| t.rows() != Some(rows)) {
            return Err(Error::invalid(format!(
                "input {odd} has {} rows, input 0 has {rows}",
                inputs[odd].rows().unwrap_or(0)
            )));
        }
        if rows > options.batch_rows_max {
            return Err(Error::invalid(format!(
                "{rows} rows are over the model's batch_rows_max of {}",
                options.batch_rows_max
            )));
        }
        let class = inputs
            .iter()
            .flat_map(|t| t.shape()[1..].iter().copied())
            .collect();
        Ok((rows, class))
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.wake.notify_all();
    }
}

/// A place in the line, given up on drop.
struct Ticket<'b> {
    shared: &'b Shared,
    class: Class,
    rank: Rank,
    waiting: bool,
}

impl Ticket<'_> {
    /// The place was used: there is nothing left to give up.
    fn served(mut self) {
        self.waiting = false;
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if !self.waiting {
            return;
        }
        let mut state = self.shared.state.lock();
        let gone = state.queue.remove(&self.class, self.rank);
        self.shared
            .metrics
            .queue_rows
            .set(state.queue.rows() as i64);
        drop(state);
        drop(gone);
    }
}
