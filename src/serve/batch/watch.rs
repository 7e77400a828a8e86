//! The time limit of the runs in one session. The thread that runs stores when
//! a run starts and ends; the watchdog looks with the time it is given, and
//! terminates a run that passed its limit. Owns no clock and no thread.

#[cfg(test)]
mod tests;

use crate::onnx::runtime::Terminate;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A run may take this much longer than the latest deadline of its batch;
/// beyond it, it is terminated.
pub(crate) const RUN_GRACE: Duration = Duration::from_secs(1);

/// A terminated run may take this long to end; beyond it, its lane is hung.
/// ONNX Runtime ends a run between two nodes only.
pub(crate) const HANG_GRACE: Duration = Duration::from_secs(5);

/// No run; any lower number than [`TERMINATED`] is the limit of a run.
const IDLE: u64 = 0;
const TERMINATED: u64 = u64::MAX - 1;
const HUNG: u64 = u64::MAX;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Before it was terminated.
    InTime,
    /// After it was terminated.
    Terminated,
    /// After its lane was found hung.
    Hung,
}

/// What the watchdog found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing new.
    Nothing,
    /// The run passed its limit and was terminated now.
    Terminated,
    /// The run did not end after it was terminated.
    Hung,
}

/// The state of the run in one session.
pub(super) struct Watch {
    /// Limits count from here.
    zero: Instant,
    /// [`IDLE`] → limit → [`TERMINATED`] → [`HUNG`]; from each back to [`IDLE`].
    state: AtomicU64,
    is_in_place: AtomicBool,
    /// When the run was terminated. The lock keeps a termination and the reset
    /// after it in order.
    terminated: Mutex<Option<Instant>>,
    terminator: Option<Arc<dyn Terminate>>,
}

impl Watch {
    /// Starts with no run. Limits are instants after `zero`.
    pub(super) fn new(zero: Instant, terminator: Option<Arc<dyn Terminate>>) -> Self {
        Self {
            zero,
            state: AtomicU64::new(IDLE),
            is_in_place: AtomicBool::new(false),
            terminated: Mutex::new(None),
            terminator,
        }
    }

    /// Notes whether the next runs are on a thread that is not a lane's.
    pub(super) fn set_in_place(&self, is_in_place: bool) {
        self.is_in_place.store(is_in_place, Ordering::Relaxed);
    }

    /// Tells whether the current run is on a thread that is not a lane's.
    pub(super) fn is_in_place(&self) -> bool {
        self.is_in_place.load(Ordering::Relaxed)
    }

    /// Tells whether the current run was found hung.
    pub(super) fn is_hung(&self) -> bool {
        self.state.load(Ordering::Acquire) == HUNG
    }

    /// Notes that a run starts, which must be answered by `deadline`.
    pub(super) fn begin(&self, deadline: Instant) {
        let limit = deadline.checked_add(RUN_GRACE);
        let limit = limit.map_or(TERMINATED - 1, |limit| self.number(limit));
        self.state.store(limit, Ordering::Release);
    }

    /// Notes that the run ended, and allows the next one.
    pub(super) fn end(&self) -> End {
        let end = match self.state.swap(IDLE, Ordering::AcqRel) {
            TERMINATED => End::Terminated,
            HUNG => End::Hung,
            _ => return End::InTime,
        };

        let mut terminated = self.terminated.lock();
        *terminated = None;
        if let Some(terminator) = &self.terminator {
            terminator.reset();
        }
        end
    }

    /// Looks at the run, and terminates it where it passed its limit.
    pub(super) fn look(&self, now: Instant) -> Finding {
        match self.state.load(Ordering::Acquire) {
            IDLE | HUNG => Finding::Nothing,
            TERMINATED => self.look_for_end(now),
            limit if self.number(now) < limit => Finding::Nothing,
            limit => self.terminate(limit, now),
        }
    }

    fn look_for_end(&self, now: Instant) -> Finding {
        let terminated = *self.terminated.lock();
        let is_over = terminated.is_some_and(|since| now >= since + HANG_GRACE);
        if is_over && self.replace(TERMINATED, HUNG) {
            Finding::Hung
        } else {
            Finding::Nothing
        }
    }

    fn terminate(&self, limit: u64, now: Instant) -> Finding {
        let mut terminated = self.terminated.lock();
        if !self.replace(limit, TERMINATED) {
            return Finding::Nothing;
        }

        *terminated = Some(now);
        if let Some(terminator) = &self.terminator {
            terminator.terminate();
        }
        Finding::Terminated
    }

    /// Replaces the state unless the run ended meanwhile.
    fn replace(&self, from: u64, to: u64) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Writes a moment as nanoseconds since `zero`, at least 1.
    fn number(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.zero).as_nanos();
        u64::try_from(since)
            .unwrap_or(u64::MAX)
            .clamp(IDLE + 1, TERMINATED - 1)
    }
}
