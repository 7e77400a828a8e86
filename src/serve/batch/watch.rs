//! The time limit of runs in one session. The running thread stores when a run starts and ends. The
//! watchdog passes the time, and a run that passed its limit is terminated. Owns no clock and no
//! thread.

#[cfg(test)]
mod tests;

use super::sync::{AtomicBool, AtomicU64, Mutex};
use crate::onnx::runtime::Terminate;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Time at which a run is terminated after nobody waits for it any more.
pub(crate) const RUN_GRACE: Duration = Duration::from_secs(1);

/// Time after which the lane of a terminated run counts as hung. ONNX Runtime ends a run only
/// between two nodes.
pub(crate) const HANG_GRACE: Duration = Duration::from_secs(5);

/// No run. A number below [`TERMINATED`] is the limit of a run.
const IDLE: u64 = 0;
/// The limit of a run without one.
const UNLIMITED: u64 = u64::MAX - 2;
const TERMINATED: u64 = u64::MAX - 1;
const HUNG: u64 = u64::MAX;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunEnd {
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
pub(super) struct RunWatch {
    /// The moment from which limits are counted.
    zero: Instant,
    /// [`IDLE`] → limit → [`TERMINATED`] → [`HUNG`]; from each back to [`IDLE`].
    state: AtomicU64,
    is_in_place: AtomicBool,
    is_recheck: AtomicBool,
    /// When the run was terminated. The lock keeps a termination and the reset
    /// after it in order.
    terminated: Mutex<Option<Instant>>,
    terminator: Option<Arc<dyn Terminate>>,
    /// The arrivals of the requests of the current run for which clients wait.
    awaited: Mutex<Vec<u64>>,
}

impl RunWatch {
    /// Starts with no run. Limits are instants after `zero`.
    pub(super) fn new(zero: Instant, terminator: Option<Arc<dyn Terminate>>) -> Self {
        Self {
            zero,
            state: AtomicU64::new(IDLE),
            is_in_place: AtomicBool::new(false),
            is_recheck: AtomicBool::new(false),
            terminated: Mutex::new(None),
            terminator,
            awaited: Mutex::default(),
        }
    }

    /// Sets whether the next runs are on an I/O thread instead of a lane's.
    pub(super) fn set_in_place(&self, is_in_place: bool) {
        self.is_in_place.store(is_in_place, Ordering::Relaxed);
    }

    /// Tells whether the current run is on an I/O thread instead of a lane's.
    pub(super) fn is_in_place(&self) -> bool {
        self.is_in_place.load(Ordering::Relaxed)
    }

    /// Sets whether the next runs are rechecks, for which no request waits.
    pub(super) fn set_recheck(&self, is_recheck: bool) {
        self.is_recheck.store(is_recheck, Ordering::Relaxed);
    }

    /// Tells whether the current run is a recheck, for which no request waits.
    pub(super) fn is_recheck(&self) -> bool {
        self.is_recheck.load(Ordering::Relaxed)
    }

    /// Tells whether the current run was found hung.
    pub(super) fn is_hung(&self) -> bool {
        self.state.load(Ordering::Acquire) == HUNG
    }

    /// Notes that a run starts, for requests that arrived as these numbers. Nobody waits for it after
    /// `until`, which is none if somebody may wait without end.
    pub(super) fn begin(&self, until: Option<Instant>, arrivals: impl Iterator<Item = u64>) {
        let mut awaited = self.awaited.lock();
        awaited.extend(arrivals);
        let limit = until.and_then(|until| until.checked_add(RUN_GRACE));
        let limit = limit.map_or(UNLIMITED, |limit| self.number(limit));
        self.state.store(limit, Ordering::Release);
    }

    /// Notes that the client of a request gave up. If it was the last of the current run, the limit of
    /// the run is near.
    pub(super) fn leave(&self, arrival: u64, now: Instant) {
        let mut awaited = self.awaited.lock();
        let Some(at) = awaited.iter().position(|one| *one == arrival) else {
            return;
        };
        awaited.swap_remove(at);
        if !awaited.is_empty() {
            return;
        }

        let limit = self.state.load(Ordering::Acquire);
        let sooner = self.number(now + RUN_GRACE);
        if !matches!(limit, IDLE | TERMINATED | HUNG) && sooner < limit {
            // The watchdog may have terminated it meanwhile.
            self.replace(limit, sooner);
        }
    }

    /// Notes that the run ended, and allows the next one.
    pub(super) fn end(&self) -> RunEnd {
        let mut awaited = self.awaited.lock();
        awaited.clear();
        let end = match self.state.swap(IDLE, Ordering::AcqRel) {
            TERMINATED => RunEnd::Terminated,
            HUNG => RunEnd::Hung,
            _ => return RunEnd::InTime,
        };

        let mut terminated = self.terminated.lock();
        *terminated = None;
        if let Some(terminator) = &self.terminator {
            terminator.reset();
        }
        end
    }

    /// Checks the run, and terminates it if it passed its limit.
    pub(super) fn check(&self, now: Instant) -> Finding {
        match self.state.load(Ordering::Acquire) {
            IDLE | HUNG => Finding::Nothing,
            TERMINATED => self.look_for_end(now),
            limit if limit == UNLIMITED || self.number(now) < limit => Finding::Nothing,
            limit => self.terminate(limit, now),
        }
    }

    /// Terminates the current run, if there is one, without waiting for its limit.
    pub(super) fn abandon(&self, now: Instant) {
        let limit = self.state.load(Ordering::Acquire);
        if !matches!(limit, IDLE | TERMINATED | HUNG) {
            self.terminate(limit, now);
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
            .clamp(IDLE + 1, UNLIMITED)
    }
}
