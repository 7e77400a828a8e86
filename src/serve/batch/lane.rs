//! Takes a batch, gathers its inputs, runs it, scatters the outputs and replies: on the lane's own
//! thread or, for very fast models, on the I/O thread of the request. When it is idle, it runs
//! sampled requests again: see [`rerun`].

pub(super) mod in_place;
mod padded;
mod rerun;
mod shape;
mod taken;

use super::explain::{BatchNote, SizeReason, UnservedReason};
use super::policy::BatchLimits;
use super::queue::{AxisSizes, Class};
use super::recheck::Sample;
use super::select::{self, ClassBatch, LaneStep};
use super::sync::{AtomicBool, Mutex};
use super::watch::{RunEnd, RunWatch};
use super::{BatchJob, BatcherShared, BatcherState, Done, passed_in_queue, waited};
use crate::core::error::{Error, Result};
use crate::core::model::padding::PaddingPlan;
use crate::core::request::Timing;
use crate::core::tensor::batch::{Stack, split};
use crate::core::tensor::{Tensor, View};
use crate::onnx::runtime::Session;
use in_place::leave_to_lanes;
pub(super) use in_place::{SLOW_IN_PLACE_MAX, run_in_place};
use shape::{RunShape, filled, learn};
use smallvec::SmallVec;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use taken::{LastTaken, TakenJob, awaited, latest, note_cycle};

/// A slot for one session. A hung one is replaced as a whole.
pub(super) struct Slot {
    /// Locked while a batch runs; empty after the lane has ended.
    pub(super) lane: Mutex<Option<Lane>>,
    /// Shared with the lane, and readable while a batch runs.
    pub(super) watch: Arc<RunWatch>,
    /// Whether its run hangs and no new lane replaces it.
    pub(super) is_stuck: AtomicBool,
}

impl Slot {
    /// Starts with empty buffers.
    pub(super) fn new(session: Box<dyn Session>) -> Self {
        let watch = Arc::new(RunWatch::new(Instant::now(), session.terminator()));
        let lane = Lane {
            session,
            stacks: Vec::new(),
            watch: Arc::clone(&watch),
            was_hung: false,
            last: None,
        };

        Self {
            lane: Mutex::new(Some(lane)),
            watch,
            is_stuck: AtomicBool::new(false),
        }
    }
}

/// Serves slot `at` until the batcher is dropped and the queue is empty; then frees its session.
/// Ends at once if the lane was replaced during a run.
pub(super) fn serve(shared: &BatcherShared, at: usize) {
    yield_to_io(shared.options.lane_niceness);
    let mut before = None;
    while let Some(work) = take(shared, at, &mut before) {
        if run_at(shared, at, work) == Next::End {
            return;
        }
    }

    let session = shared.slot(at).lane.lock().take();
    drop(session);
}

/// Lowers the priority of this thread, so that a busy core still lets the I/O threads answer.
fn yield_to_io(niceness: u32) {
    // Elsewhere it would be the priority of the whole process.
    if cfg!(target_os = "linux") && niceness > 0 {
        // At the usual priority everything works too, only later.
        let _ = rustix::process::setpriority_process(None, niceness.cast_signed());
    }
}

/// What a lane takes to its session.
enum LaneWork {
    Batch(ClassBatch<BatchJob>),
    Recheck(Sample),
}

/// What a lane does after a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

/// Interval at which a lane whose session is in use checks whether it was replaced.
const SLOT_WAIT: Duration = Duration::from_millis(100);

/// Does its work in slot `at`.
fn run_at(shared: &BatcherShared, at: usize, work: LaneWork) -> Next {
    loop {
        let slot = shared.slot(at);
        let Some(mut held) = slot.lane.try_lock_for(SLOT_WAIT) else {
            // The session is in use by a run in place.
            if shared.is_stuck() {
                let error = shared.stuck_error();
                match work {
                    LaneWork::Batch(batch) => taken::refuse(batch, &error),
                    LaneWork::Recheck(sample) => rerun::give_up(shared, sample, error),
                }
                return Next::GoOn;
            }
            continue;
        };
        let Some(lane) = held.as_mut() else {
            continue;
        };

        slot.watch.set_in_place(false);
        match work {
            LaneWork::Batch(batch) => lane.run_safely(shared, batch),
            LaneWork::Recheck(sample) => lane.rerun(shared, sample),
        }
        if lane.is_replaced(shared, at, &slot) {
            *held = None;
            return Next::End;
        }
        return Next::GoOn;
    }
}

/// Refuses requests that cannot be served in time, and takes the next batch from the queue.
fn next(shared: &BatcherShared, state: &mut BatcherState, at: usize) -> LaneStep<BatchJob> {
    let options = &shared.options;
    let limits = BatchLimits {
        rows_max: shared.batch_rows_max(),
        delay: options.batch_delay,
        lanes: shared.slots.load().len(),
        tokens: shared.padder.token_limit(),
        fills: false,
    };

    let BatcherState {
        queue,
        costs,
        log,
        shapes,
        ..
    } = state;
    let now = Instant::now();
    let shapes = shapes.as_mut().filter(|_| shared.is_batched());
    let keeping = shapes.and_then(|shapes| shapes.lane(at));
    let selected = select::select(queue, costs, limits, keeping, now);
    for late in selected.late {
        let (reason, error) = match late.deadline {
            Some(_) => (UnservedReason::LateInQueue, passed_in_queue()),
            None => (UnservedReason::QueueTimeout, waited(options)),
        };
        shared.unserved.add(reason);
        let _ = late.reply.send(Err(error));
    }

    shared.metrics.queue_rows.set(queue.rows() as i64);
    if let LaneStep::Run(batch) = &selected.step {
        log.note(noted(batch, queue.rows(), now));
    }
    selected.step
}

/// What is remembered of a batch.
fn noted(batch: &ClassBatch<BatchJob>, left_rows: usize, now: Instant) -> BatchNote {
    let requests = batch.requests.iter();
    let oldest = requests.clone().map(|(_, entry)| entry.pushed).min();
    BatchNote {
        at: now,
        requests: batch.requests.len(),
        rows: requests.map(|(_, entry)| entry.load.rows).sum(),
        left_rows,
        axes: match &batch.class {
            Class::Sizes(axes) => axes.clone(),
            Class::Alone(_) => AxisSizes::new(),
        },
        waited: oldest.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)),
        reason: match batch.reason {
            SizeReason::AllThatWaited if left_rows > 0 => SizeReason::AllOfItsShape,
            reason => reason,
        },
    }
}

/// Waits for the next work; `None` ends the lane. `before` is the batch before, if nothing else was between.
fn take(shared: &BatcherShared, at: usize, before: &mut Option<LastTaken>) -> Option<LaneWork> {
    let mut last = before.take();
    let mut state = shared.state.lock();
    loop {
        if let Some(sample) = rerun::take_overdue(shared, &mut state) {
            return Some(LaneWork::Recheck(sample));
        }
        match next(shared, &mut state, at) {
            LaneStep::Run(batch) => {
                *before = Some(note_cycle(&mut state.costs, last, &batch));
                // Another lane takes the remaining requests.
                if state.queue.rows() > 0 && state.idle_lanes > 0 {
                    shared.wake.notify_one();
                }
                return Some(LaneWork::Batch(batch));
            }
            LaneStep::Empty if state.closed => return None,
            LaneStep::Empty if state.sample.is_some() => {
                return state.sample.take().map(LaneWork::Recheck);
            }
            step => {
                last = None;
                state.idle_lanes += 1;
                match step {
                    LaneStep::Wait(then) => {
                        shared.wake.wait_until(&mut state, then);
                    }
                    _ => shared.wake.wait(&mut state),
                }
                state.idle_lanes -= 1;
            }
        }
    }
}

/// A session and its buffers.
pub(super) struct Lane {
    session: Box<dyn Session>,
    stacks: Vec<Stack>,
    watch: Arc<RunWatch>,
    /// Whether a run ended after its lane was found hung.
    was_hung: bool,
    /// The shape of the last run, where a change takes long.
    last: Option<(Class, usize)>,
}

/// The outputs of a run, and the durations of gathering, running and cutting.
struct Ran {
    parts: Vec<Vec<Tensor>>,
    /// Outputs of the whole batch; empty for a request that ran alone.
    whole: Vec<Tensor>,
    /// Rows of the run.
    rows: usize,
    /// How the batch was padded, if it was.
    padding: Option<Arc<PaddingPlan>>,
    start: Instant,
    gather: Duration,
    scatter: Duration,
    run: Duration,
    shape: RunShape,
}

impl Lane {
    /// Tells whether another lane took this one's place while its run hung.
    fn is_replaced(&mut self, shared: &BatcherShared, at: usize, slot: &Arc<Slot>) -> bool {
        std::mem::take(&mut self.was_hung) && is_replaced(shared, at, slot)
    }

    /// Runs a batch. If it panics, its requests fail, and the lane goes on with the next batch.
    fn run_safely(&mut self, shared: &BatcherShared, batch: ClassBatch<BatchJob>) {
        if catch_unwind(AssertUnwindSafe(|| self.run(shared, batch))).is_err() {
            self.end_run();
            tracing::error!(servable = shared.name, "a lane panicked; its batch failed");
        }
    }

    /// Notes that a run ended. Returns whether it was terminated.
    fn end_run(&mut self) -> bool {
        let end = self.watch.end();
        self.was_hung |= end == RunEnd::Hung;
        end != RunEnd::InTime
    }

    fn run(&mut self, shared: &BatcherShared, batch: ClassBatch<BatchJob>) {
        let jobs = awaited(batch.requests);
        if !jobs.is_empty() {
            self.run_jobs(shared, &batch.class, batch.kept, jobs);
        }
    }

    /// Runs requests together. If the run fails, runs them again in halves, so that only the
    /// request at fault fails.
    fn run_jobs(
        &mut self,
        shared: &BatcherShared,
        class: &Class,
        kept: Option<usize>,
        mut jobs: Vec<TakenJob>,
    ) {
        let start = Instant::now();
        let until = match self.watch.is_in_place() {
            // Other clients wait for the thread.
            true => Some(start),
            false => latest(&jobs),
        };
        let arrivals = jobs.iter().map(|taken| taken.rank.arrival);
        self.watch.begin(until, arrivals);
        let rows: usize = jobs.iter().map(|taken| taken.job.rows).sum();
        // No row of none could be copied.
        let kept = kept.filter(|_| rows > 0);
        let filled = match kept {
            Some(kept) => rows.max(kept),
            None => filled(shared, class, rows),
        };
        let shape = self.shape(shared, class, filled, kept);
        let attempt = || {
            let ran = self.attempt(shared, &jobs, filled, start)?;
            Ok::<_, Error>(Ran { shape, ..ran })
        };
        let attempt = catch_unwind(AssertUnwindSafe(attempt));
        let was_terminated = self.end_run();
        let Ok(attempt) = attempt else {
            // The other half of a batch that failed goes on.
            tracing::error!(servable = shared.name, "a run panicked; its batch failed");
            return;
        };

        match attempt {
            Ok(ran) => reply(shared, class, jobs, ran),
            Err(_) if was_terminated && self.watch.is_in_place() => {
                leave_to_lanes(shared, class, jobs);
            }
            Err(_) if was_terminated => {
                for taken in jobs {
                    taken.reply(Err(terminated()));
                }
            }
            Err(error) if jobs.len() == 1 => {
                if let Some(taken) = jobs.pop() {
                    let odd = shared.options.inputs.unequal(&taken.job.inputs.required);
                    taken.reply(Err(match odd {
                        Some(odd) => error.context(odd),
                        None => error,
                    }));
                }
            }
            Err(_) => {
                let second = jobs.split_off(jobs.len() / 2);
                self.run_jobs(shared, class, kept, jobs);
                self.run_jobs(shared, class, kept, second);
            }
        }
    }

    /// Runs requests, filled up to so many rows.
    fn attempt(
        &mut self,
        shared: &BatcherShared,
        jobs: &[TakenJob],
        filled: usize,
        start: Instant,
    ) -> Result<Ran> {
        if let [taken] = jobs
            && taken.job.rows == filled
        {
            let inputs = &taken.job.inputs;
            let views: SmallVec<[View<'_>; 4]> = inputs.required.iter().map(Tensor::view).collect();
            let outputs = self.session.run_with(&views, &inputs.optional)?;
            return Ok(Ran {
                parts: vec![outputs],
                whole: Vec::new(),
                rows: filled,
                padding: None,
                start,
                gather: Duration::ZERO,
                scatter: Duration::ZERO,
                run: start.elapsed(),
                shape: RunShape::Free,
            });
        }

        let inputs = jobs[0].job.inputs.required.len();
        self.stacks.resize_with(inputs, Stack::default);
        let padding = padded::plan(&shared.padder, jobs)?;
        for (i, stack) in self.stacks.iter_mut().enumerate() {
            match padding {
                Some(plan) => padded::gather(stack, plan, jobs, i),
                None => {
                    let inputs = jobs.iter().map(|taken| &taken.job.inputs.required[i]);
                    stack.fill_up(inputs, filled)?;
                }
            }
        }
        let gathered = Instant::now();

        let views: Vec<View<'_>> = self.stacks.iter().map(Stack::view).collect();
        let outputs = self.session.run(&views)?;
        let run = gathered.elapsed();

        let rows = jobs.iter().map(|taken| taken.job.rows);
        // The last part is what filled the batch up.
        let fill = filled - rows.clone().sum::<usize>();
        let rows: Vec<usize> = match fill {
            0 => rows.collect(),
            _ => rows.chain([fill]).collect(),
        };
        let mut parts: Vec<Vec<Tensor>> = jobs
            .iter()
            .map(|_| Vec::with_capacity(outputs.len()))
            .collect();
        for output in &outputs {
            for (part, tensor) in parts.iter_mut().zip(split(output, &rows)?) {
                part.push(tensor);
            }
        }

        if let Some(plan) = padding {
            let cut = padded::cut(plan, parts, jobs);
            parts = cut.inspect_err(|error| shared.end_padding(&error.message))?;
        }

        Ok(Ran {
            parts,
            whole: outputs,
            rows: filled,
            padding: padding.cloned(),
            start,
            gather: gathered - start,
            run,
            scatter: gathered.elapsed().saturating_sub(run),
            shape: RunShape::Free,
        })
    }
}

/// The error of a request whose run was terminated. Usually nobody waits for it.
fn terminated() -> Error {
    Error::late("the run was terminated: it passed the deadline and the grace period")
}

fn reply(shared: &BatcherShared, class: &Class, jobs: Vec<TakenJob>, mut ran: Ran) {
    let start = ran.start;
    let rows: usize = jobs.iter().map(|taken| taken.job.rows).sum();
    // A run of no rows says nothing of runs of rows.
    if shared.options.learns && rows > 0 {
        learn(shared, class, rows, &ran);
    }
    let batch = shared.batches.fetch_add(1, Ordering::Relaxed);
    shared.metrics.ran(rows, [ran.gather, ran.run, ran.scatter]);
    shared
        .metrics
        .batch_fill_rows
        .inc_by((ran.rows - rows) as u64);
    padded::count(&shared.metrics, &jobs);
    let sample = rerun::sample(shared, class, &jobs, &mut ran);

    for (taken, outputs) in jobs.into_iter().zip(ran.parts) {
        let timing = Timing {
            queue: start.saturating_duration_since(taken.job.submitted),
            gather: ran.gather,
            run: ran.run,
            scatter: ran.scatter,
            batch_rows: u32::try_from(rows).unwrap_or(u32::MAX),
            batch,
        };
        taken.reply(Ok(Done { outputs, timing }));
    }
    if let Some(sample) = sample {
        rerun::put(shared, sample);
    }
}

/// Notes that the run of a hung lane ended. Returns whether another lane has
/// taken its place, so that this one must end.
fn is_replaced(shared: &BatcherShared, at: usize, slot: &Arc<Slot>) -> bool {
    let mut hung = shared.hung.lock();
    hung.count -= 1;
    shared.metrics.lanes_hung.dec();
    if slot.is_stuck.swap(false, Ordering::Relaxed) {
        hung.stuck -= 1;
        shared.stuck.store(hung.stuck, Ordering::Relaxed);
    }
    tracing::warn!(
        servable = shared.name,
        hung = hung.count,
        "the run of a hung lane ended"
    );

    !Arc::ptr_eq(&shared.slots.load()[at], slot)
}
