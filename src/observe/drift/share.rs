//! The sampling share, and the CPU time that it is derived from. Decides nothing about single
//! requests and owns no thread.

#[cfg(test)]
mod tests;

use crossbeam_channel::Receiver;
use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// The least share of requests that is sampled.
pub(super) const SHARE_MIN: f64 = 1.0 / 1024.0;
/// Requests counted in a row while the watches are locked.
const TURN: usize = 256;
/// CPU time of the server from which a share is computed.
const ENOUGH: Duration = Duration::from_millis(50);
/// Shortest time over which a share is computed.
const SHORTEST: Duration = Duration::from_millis(200);
/// Time after which a share is computed however little the server worked.
const LONGEST: Duration = Duration::from_secs(1);
/// The factor by which the share rises in a second at most.
const RISE: f64 = 4.0;
/// The part of the limit up to which the share rises, so that it does not fall again at once.
const HEADROOM: f64 = 0.85;

/// CPU time that was spent in a period.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Spent {
    /// On counting requests that were sampled by the share.
    pub own: Duration,
    /// By the whole server.
    pub all: Duration,
    /// Length of the period.
    pub elapsed: Duration,
}

impl Spent {
    /// Tells whether the period is long enough to compute a share.
    pub(super) fn is_enough(&self) -> bool {
        self.elapsed >= SHORTEST && (self.all >= ENOUGH || self.elapsed >= LONGEST)
    }

    /// Returns the part that counting took of the server's CPU time, or of one core where the
    /// server works less: an idle core costs nothing.
    fn taken(&self) -> f64 {
        let whole = self.all.max(self.elapsed).as_secs_f64();
        self.own.as_secs_f64() / whole.max(f64::MIN_POSITIVE)
    }
}

/// Computes the next sampling share from what counting took and what is allowed. It falls at once,
/// and rises to 1 within seconds if there is time.
pub(super) fn next_share(share: f64, spent: &Spent, allowed: f64) -> f64 {
    let taken = spent.taken();
    let next = if taken > allowed {
        share * allowed / taken
    } else {
        let room = HEADROOM * allowed / taken.max(f64::MIN_POSITIVE);
        let fastest = RISE.powf(spent.elapsed.as_secs_f64());
        share * room.min(fastest).max(1.0)
    };

    next.clamp(SHARE_MIN, 1.0)
}

/// Counts what waits, until the turn or its time is over. One request of large tensors can take longer.
pub(super) fn turn<T>(inbox: &Receiver<T>, until: Instant, mut count: impl FnMut(T)) {
    for offer in inbox.try_iter().take(TURN) {
        count(offer);
        if Instant::now() >= until {
            break;
        }
    }
}

/// Returns the CPU time of this thread so far.
pub(super) fn thread_time() -> Duration {
    time_of(ClockId::ThreadCPUTime)
}

fn time_of(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanoseconds)
}

/// A period that has begun.
pub(super) struct WorkPeriod {
    /// Spent on counting so far.
    pub own: Duration,
    all_before: Duration,
    since: Instant,
}

impl WorkPeriod {
    /// Begins now.
    pub(super) fn begin() -> Self {
        Self {
            own: Duration::ZERO,
            all_before: time_of(ClockId::ProcessCPUTime),
            since: Instant::now(),
        }
    }

    /// Returns what was spent so far.
    pub(super) fn spent(&self) -> Spent {
        Spent {
            own: self.own,
            all: time_of(ClockId::ProcessCPUTime).saturating_sub(self.all_before),
            elapsed: self.since.elapsed(),
        }
    }
}
