//! Keeps one request of a batch now and then, and runs it again alone when its lane is idle, or at
//! the latest a second later. [`recheck`](super::super::recheck) decides when, and what follows.

use super::{Lane, Ran, RunShape, TakenJob, padded};
use crate::core::error::{Error, Result};
use crate::core::hash::mix;
use crate::core::tensor::{Tensor, View};
use crate::serve::batch::queue::Class;
use crate::serve::batch::recheck::{Concluded, PADDING_DISAGREED, Rechecked, Sample};
use crate::serve::batch::recheck::{judge, judge_bits, judge_filled};
use crate::serve::batch::{BatcherShared, BatcherState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Keeps one request of a batch, to run it again: a random one of those that were not cancelled.
pub(super) fn sample(
    shared: &BatcherShared,
    class: &Class,
    jobs: &[TakenJob],
    ran: &mut Ran,
) -> Option<Sample> {
    let ended = ran.start + ran.gather + ran.run;
    if jobs.len() < 2 || !shared.rechecks.is_due(ended) {
        return None;
    }

    let at = mix(shared.batches.load(Ordering::Relaxed)) % jobs.len() as u64;
    let (before, rest) = jobs.split_at(usize::try_from(at).ok()?);
    let taken = rest.first().filter(|taken| taken.job.rows > 0)?;
    let job = &taken.job;
    let rows = |jobs: &[TakenJob]| jobs.iter().map(|taken| taken.job.rows).sum();
    let sample = Sample {
        inputs: job.inputs.required.clone(),
        padded: padded::sampled(ran.padding.as_ref(), taken),
        batch: std::mem::take(&mut ran.whole),
        before: rows(before),
        rows: job.rows,
        total: ran.rows,
        kept: (ran.shape != RunShape::Free).then(|| class.clone()),
        ended,
        run: ran.run,
    };
    let is_fit = !job.reply.is_closed() && sample.is_small();
    (is_fit && shared.rechecks.claim()).then_some(sample)
}

/// Leaves a sample to the next lane that is idle.
pub(super) fn put(shared: &BatcherShared, sample: Sample) {
    let mut state = shared.state.lock();
    state.sample = Some(sample);
    if state.idle_lanes > 0 {
        shared.wake.notify_one();
    }
}

/// Takes a sample that no lane was idle for, before the requests that wait.
pub(super) fn take_overdue(shared: &BatcherShared, state: &mut BatcherState) -> Option<Sample> {
    if state.closed || !state.sample.as_ref()?.is_overdue(Instant::now()) {
        return None;
    }
    // Another lane may have been left asleep because this one was woken.
    if state.queue.rows() > 0 && state.idle_lanes > 0 {
        shared.wake.notify_one();
    }
    state.sample.take()
}

/// Drops a sample that cannot be run.
pub(super) fn give_up(shared: &BatcherShared, sample: Sample, error: Error) {
    let now = Instant::now();
    let rechecked = Rechecked {
        sample,
        verdict: Err(error),
        start: now,
        end: now,
    };
    conclude(shared, rechecked);
}

/// Counts a recheck, and ends padding if it changed the answer.
fn conclude(shared: &BatcherShared, rechecked: Rechecked) {
    if shared.rechecks.conclude(rechecked, &shared.metrics) == Concluded::EndPadding {
        shared.end_padding(PADDING_DISAGREED);
    }
}

impl Lane {
    /// Runs a sample again, for which no request waits. If it panics, nothing follows from it.
    pub(super) fn rerun(&mut self, shared: &BatcherShared, sample: Sample) {
        self.watch.set_recheck(true);
        let start = Instant::now();
        let provider = self.session.provider();
        let timeout = sample.timeout();
        let kept = sample.kept.as_ref();
        let is_same = kept.is_some_and(|class| self.has_shape(class, sample.total));
        let verdict = catch_unwind(AssertUnwindSafe(|| {
            let run = |inputs: &[View<'_>]| self.run_once(shared, inputs, timeout);
            match &shared.options.sizes {
                Some(sizes) => judge_bits(&sample, sizes, run),
                None if kept.is_none() => judge(&sample, provider, run),
                None if is_same => judge_filled(&sample, provider, run),
                None => Err(Error::unavailable("the lane runs other shapes now")),
            }
        }));
        let verdict = verdict.unwrap_or_else(|_| {
            self.end_run();
            Err(Error::internal("the run panicked"))
        });

        self.watch.set_recheck(false);
        let rechecked = Rechecked {
            sample,
            verdict,
            start,
            end: Instant::now(),
        };
        conclude(shared, rechecked);
    }

    /// Makes one run of a recheck, unless the batcher was dropped.
    fn run_once(
        &mut self,
        shared: &BatcherShared,
        inputs: &[View<'_>],
        timeout: Duration,
    ) -> Result<Vec<Tensor>> {
        let until = Instant::now() + timeout;
        self.watch.begin(Some(until), std::iter::empty());
        // Whoever closes abandons what has begun before.
        let is_closed = shared.state.lock().closed;
        let outputs = match is_closed {
            true => Err(Error::unavailable("the version is being unloaded")),
            false => self.session.run(inputs),
        };

        match self.end_run() {
            true => Err(Error::late("the run was terminated")),
            false => outputs,
        }
    }
}
