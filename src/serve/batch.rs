//! Merges requests into batches and runs them. Owns the queue and the lanes: a
//! lane takes its next batch when it is free, so batches grow by themselves as
//! load grows. Dropping the batcher ends the lanes.
//!
//! [`policy`] decides when a batch runs and how large it is, [`queue`] holds
//! what waits, [`admission`] decides what may wait, [`select`] takes the next batch, [`lane`] runs,
//! [`watchdog`] ends and replaces runs that take too long, [`recheck`] samples whether batches give the
//! answers that requests get alone, [`padder`] pads requests of different lengths, and [`explain`] remembers
//! what was decided.

mod admission;
mod class_costs;
pub(crate) mod cost;
mod due;
mod explain;
mod hung;
pub(crate) mod input_axes;
mod lane;
mod measure;
pub(crate) mod moderation;
mod options;
pub(crate) mod padder;
pub(crate) mod policy;
mod queue;
pub(crate) mod recheck;
mod select;
mod shapes;
mod sync;
#[cfg(test)]
mod tests;
pub(crate) mod waiting;
mod watch;
pub(crate) mod watchdog;

use crate::core::error::{Error, Kind, Result};
use crate::core::model::optional::CheckedInputs;
use crate::core::model::padding::RequestLength;
use crate::core::request::{Deadline, Timing};
use crate::core::tensor::Tensor;
use crate::observe::metrics::servable::ServableMetrics;
use crate::observe::report::scheduler::{QueueNow, ShapesNow};
use crate::onnx::runtime::Session;
use admission::{QueuePlace, Room};
use arc_swap::ArcSwap;
use class_costs::ClassCosts;
use due::Due;
use explain::{BatchLog, Explained, UnservedCounts, UnservedReason};
use hung::Hung;
use lane::Slot;
use measure::MeasuredRequest;
pub(crate) use options::BatchOptions;
use padder::Padder;
use queue::{Queue, QueuedRequest};
use recheck::{RecheckOptions, Rechecks, Sample};
use shapes::KeptShapes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use sync::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Condvar, Mutex};
use tokio::sync::oneshot;
use waiting::{Ticket, Waiting};

/// A request inside the batcher.
struct BatchJob {
    inputs: CheckedInputs,
    rows: usize,
    /// Its length, while requests are padded. On the heap, as few models are padded and requests are moved.
    length: Option<Box<RequestLength>>,
    deadline: Option<Deadline>,
    submitted: Instant,
    reply: oneshot::Sender<Result<Done>>,
}

/// The result of a request.
#[derive(Debug)]
pub(crate) struct Done {
    /// In the graph's order.
    pub outputs: Vec<Tensor>,
    /// Durations of the parts.
    pub timing: Timing,
}

/// Opens one more session of the model, for a lane that replaces a hung one.
pub(crate) type Reopen = Box<dyn Fn() -> Result<Box<dyn Session>> + Send + Sync>;

/// The parts of a batcher.
pub(crate) struct BatcherParts {
    /// `model:version`, for threads and the log.
    pub name: String,
    /// Sessions; each gets a lane.
    pub sessions: Vec<Box<dyn Session>>,
    pub reopen: Reopen,
    pub options: BatchOptions,
    /// How batches are rechecked; none if they are not.
    pub recheck: Option<RecheckOptions>,
    pub metrics: Arc<ServableMetrics>,
    /// Dropped when the last lane has dropped its session.
    pub ended: oneshot::Sender<()>,
}

/// State that is shared by requests and lanes.
struct BatcherShared {
    name: String,
    state: Mutex<BatcherState>,
    wake: Condvar,
    options: BatchOptions,
    metrics: Arc<ServableMetrics>,
    /// Consecutive runs in place that took far too long.
    slow_in_place: AtomicU32,
    /// Number of batches that have run.
    batches: AtomicU64,
    /// Number of requests that were queued to run alone.
    alone: AtomicU64,
    rechecks: Rechecks,
    padder: Padder,
    /// Requests that were not served.
    unserved: UnservedCounts,
    /// Whether each request runs alone until [`Batcher::release_merging`].
    holds_merging: AtomicBool,
    /// One for each lane; hung ones are replaced.
    slots: ArcSwap<Vec<Arc<Slot>>>,
    reopen: Reopen,
    hung: Mutex<Hung>,
    /// Hung lanes that no new lane replaces.
    stuck: AtomicUsize,
    /// The last field, so that it is dropped after the sessions.
    _ended: oneshot::Sender<()>,
}

impl BatcherShared {
    fn is_in_place(&self) -> bool {
        self.options.in_place
            && self.slow_in_place.load(Ordering::Relaxed) < lane::SLOW_IN_PLACE_MAX
    }

    /// From now on lanes make all runs.
    fn end_in_place(&self) {
        self.slow_in_place
            .store(lane::SLOW_IN_PLACE_MAX, Ordering::Relaxed);
    }

    /// Runs requests at their own lengths from now on.
    fn end_padding(&self, reason: &str) {
        self.metrics.set_padding(false);
        self.padder.conclude(Err(reason.to_owned()));
    }

    /// Tells whether requests are merged now.
    fn is_batched(&self) -> bool {
        let is_held = self.holds_merging.load(Ordering::Acquire);
        self.options.batched && !is_held && self.rechecks.ended().is_none()
    }

    /// Most rows of a batch now.
    fn batch_rows_max(&self) -> usize {
        match self.is_batched() {
            true => self.options.merged_rows_max(),
            false => 1,
        }
    }

    /// Until when a request that arrived at `at` can be served.
    fn due(&self, deadline: Option<Deadline>, at: Instant) -> Due {
        match deadline {
            Some(deadline) => Due::answer(deadline.0),
            None => Due::start(at + self.options.queue_timeout),
        }
    }

    /// Counts a request that was refused when it arrived.
    fn not_admitted(&self, error: Error) -> Error {
        if let Some(after) = error.unexecuted.as_ref().and_then(|u| u.retry_after) {
            moderation::note_refused(after);
        }
        self.unserved.add(match error.kind {
            Kind::DeadlineExceeded => UnservedReason::LateAtArrival,
            _ => UnservedReason::NoRoom,
        });
        error
    }

    fn room(&self, state: &BatcherState) -> Room {
        Room {
            rows_max: self.options.queue_rows_max,
            batch_rows_max: self.batch_rows_max(),
            lanes: self.slots.load().len(),
            is_lane_idle: state.idle_lanes > 0,
        }
    }

    fn slot(&self, at: usize) -> Arc<Slot> {
        Arc::clone(&self.slots.load()[at])
    }

    /// Replaces the slot of a hung lane with one for a new session.
    fn put(&self, at: usize, session: Box<dyn Session>) {
        let mut slots = Vec::clone(&self.slots.load());
        slots[at] = Arc::new(Slot::new(session));
        self.slots.store(Arc::new(slots));
    }

    fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed) > 0
    }

    fn stuck_error(&self) -> Error {
        Error::unavailable(format!(
            "'{}' is unavailable: {} of its lanes hang in runs that do not end and cannot be \
             replaced; retry on another server, or roll the version back",
            self.name,
            self.stuck.load(Ordering::Relaxed),
        ))
        .unexecuted(None)
    }
}

struct BatcherState {
    queue: Queue<BatchJob>,
    costs: ClassCosts,
    log: BatchLog,
    /// What the lanes keep, where a change of the shape takes long.
    shapes: Option<KeptShapes>,
    closed: bool,
    idle_lanes: usize,
    /// A request of a batch that is to be run again alone.
    sample: Option<Sample>,
}

/// The handle through which the requests of one servable are batched.
pub(crate) struct Batcher {
    shared: Arc<BatcherShared>,
}

/// A request whose tensors are checked and in the graph's order.
pub(crate) struct Submission {
    /// The tensors.
    pub inputs: CheckedInputs,
    /// When the answer is due; without it, whenever its run ends.
    pub deadline: Option<Deadline>,
    /// 0 is most urgent.
    pub priority: u8,
}

impl Batcher {
    /// Starts one lane per session.
    pub(crate) fn start(parts: BatcherParts) -> Result<Self> {
        let lanes = parts.sessions.len();
        let shape_change = parts.options.shape_change;
        let state = Mutex::new(BatcherState {
            queue: Queue::new(),
            costs: ClassCosts::new(parts.options.cost.clone()),
            log: BatchLog::default(),
            shapes: shape_change.map(|change| KeptShapes::new(change, lanes)),
            closed: false,
            idle_lanes: 0,
            sample: None,
        });
        let recheck = parts.recheck.filter(|_| parts.options.batched);
        let padder = Padder::new(parts.options.padding.clone());

        let slots: Vec<_> = parts
            .sessions
            .into_iter()
            .map(|session| Arc::new(Slot::new(session)))
            .collect();

        let shared = Arc::new(BatcherShared {
            name: parts.name,
            state,
            wake: Condvar::new(),
            options: parts.options,
            metrics: parts.metrics,
            slow_in_place: AtomicU32::new(0),
            batches: AtomicU64::new(0),
            alone: AtomicU64::new(0),
            rechecks: Rechecks::new(recheck, Instant::now()),
            padder,
            unserved: UnservedCounts::default(),
            holds_merging: AtomicBool::new(false),
            slots: ArcSwap::from_pointee(slots),
            reopen: parts.reopen,
            hung: Mutex::default(),
            stuck: AtomicUsize::new(0),
            _ended: parts.ended,
        });

        let batcher = Self {
            shared: Arc::clone(&shared),
        };

        for at in 0..lanes {
            let shared = Arc::clone(&shared);
            let name = format!("lane {}", shared.name);
            sync::spawn(name, move || lane::serve(&shared, at))
                .map_err(|e| Error::internal("start a lane").with_source(e))?;
        }

        Ok(batcher)
    }

    /// Queues a request. Errors: `ResourceExhausted` if the queue is full, `DeadlineExceeded` if the
    /// deadline cannot be met, `Unavailable` if lanes hang and cannot be replaced.
    pub(crate) fn submit(&self, submission: Submission) -> Result<Waiting> {
        if self.shared.is_stuck() {
            return Err(self.shared.stuck_error());
        }
        let Submission {
            inputs,
            deadline,
            priority,
        } = submission;

        let MeasuredRequest {
            rows,
            class,
            length,
        } = self.measure(&inputs)?;
        let submitted = Instant::now();
        let in_place = self.shared.is_in_place();
        let (reply, answer) = oneshot::channel();
        let entry = QueuedRequest {
            rows: rows.max(1),
            pushed: submitted,
            load: BatchJob {
                inputs,
                rows,
                length: length.map(Box::new),
                deadline,
                submitted,
                reply,
            },
        };

        let due = self.shared.due(deadline, submitted);
        let place = QueuePlace {
            class,
            priority,
            due,
        };
        let ticket = self.push(place, entry, !in_place)?;
        Ok(Waiting::new(ticket, answer, due, in_place))
    }

    /// Adds a request to the queue, and wakes a lane for it if `wake` is set.
    fn push(
        &self,
        place: QueuePlace,
        entry: QueuedRequest<BatchJob>,
        wake: bool,
    ) -> Result<Ticket> {
        let shared = &self.shared;
        let mut state = shared.state.lock();
        let room = shared.room(&state);
        let BatcherState { queue, costs, .. } = &mut *state;
        if room.is_lane_idle {
            moderation::note_served(entry.pushed);
        }
        let admitted = admission::admit(queue, costs, &place, entry, room);
        let rank = admitted.map_err(|error| shared.not_admitted(error))?;
        shared.metrics.queue_rows.set(state.queue.rows() as i64);

        if room.is_lane_idle && wake {
            shared.wake.notify_one();
        }
        Ok(Ticket::new(Arc::clone(shared), place.class, rank))
    }

    /// Refuses a request of which only the deadline is known, where it is plain that it cannot be
    /// served. Its class is taken to be that of the request which is served next.
    pub(crate) fn check_room(&self, deadline: Option<Deadline>) -> Result<()> {
        let shared = &self.shared;
        // Read without the lock, as most often no more waits than a lane takes at once.
        let waiting = usize::try_from(shared.metrics.queue_rows.get()).unwrap_or(0);
        if waiting <= shared.options.batch_rows_max && waiting < shared.options.queue_rows_max {
            return Ok(());
        }

        let at = Instant::now();
        let due = shared.due(deadline, at);
        let state = shared.state.lock();
        let room = shared.room(&state);
        admission::check_room(&state.queue, &state.costs, due, at, room)
            .map_err(|error| shared.not_admitted(error))
    }

    /// Says what is waiting, what was learned and what was decided.
    pub(crate) fn explain(&self) -> Explained {
        let shared = &self.shared;
        let options = &shared.options;
        let lanes = shared.slots.load().len();
        let state = shared.state.lock();
        let rows_max = shared.batch_rows_max();
        Explained {
            in_place: shared.is_in_place(),
            padding: shared.padder.explain(&shared.metrics),
            shapes: state.shapes.as_ref().map(|shapes| ShapesNow {
                change_seconds: shapes.change(),
                rows: shapes.rows(),
                changes: shared.metrics.batch_shape_changes.get(),
            }),
            queue: QueueNow {
                rows: state.queue.rows(),
                rows_max: options.queue_rows_max,
                seconds: explain::wait_seconds(&state.queue, &state.costs, rows_max, lanes),
            },
            classes: explain::durations(&state.costs, rows_max),
            batches: state.log.taken(Instant::now()),
            refused: shared.unserved.read(),
        }
    }

    /// Runs each request alone until [`Batcher::release_merging`].
    pub(crate) fn hold_merging(&self) {
        self.shared.holds_merging.store(true, Ordering::Release);
    }

    /// Merges requests that arrive from now on.
    pub(crate) fn release_merging(&self) {
        self.shared.holds_merging.store(false, Ordering::Release);
    }

    /// Tells whether each request runs alone.
    pub(crate) fn holds_merging(&self) -> bool {
        self.shared.holds_merging.load(Ordering::Acquire)
    }

    /// Pads requests from now on, or not any more for this reason.
    pub(crate) fn conclude_padding(&self, result: std::result::Result<(), String>) {
        self.shared.metrics.set_padding(result.is_ok());
        self.shared.padder.conclude(result);
    }

    /// Returns why requests are not padded although that is declared.
    pub(crate) fn unpadded(&self) -> Option<String> {
        self.shared.padder.off()
    }

    /// Tells whether requests wait for a lane now.
    pub(crate) fn has_waiting(&self) -> bool {
        self.shared.state.lock().queue.rows() > 0
    }

    /// Returns why requests are no longer merged, if a recheck ended that.
    pub(crate) fn unbatched(&self) -> Option<&'static str> {
        self.shared.rechecks.ended()
    }

    /// Tells whether a batch runs now, on a lane or in place.
    pub(crate) fn is_running(&self) -> bool {
        let slots = self.shared.slots.load();
        let is_busy = |slot: &Arc<Slot>| slot.lane.is_locked() && !slot.watch.is_recheck();
        slots.iter().any(is_busy) || self.shared.hung.lock().count > 0
    }

    /// Returns the reason if no request can be served because lanes hang and cannot be replaced.
    pub(crate) fn problem(&self) -> Option<String> {
        self.shared
            .is_stuck()
            .then(|| self.shared.stuck_error().message)
    }
}

impl Drop for Batcher {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.wake.notify_all();

        // No request is left that could be terminated instead.
        let now = Instant::now();
        let slots = self.shared.slots.load();
        for slot in slots.iter().filter(|slot| slot.watch.is_recheck()) {
            slot.watch.abandon(now);
        }
    }
}

/// The error of a request whose deadline passed before a lane took it.
fn passed_in_queue() -> Error {
    Error::late("the deadline passed in the queue; the request was not executed").unexecuted(None)
}

/// The error of a request without a deadline that waited too long.
fn waited(options: &BatchOptions) -> Error {
    Error::overloaded(format!(
        "the request waited {:?} in the queue (queue_timeout); it was not executed",
        options.queue_timeout
    ))
    .unexecuted(None)
}
