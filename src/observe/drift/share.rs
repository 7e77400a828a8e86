//! The CPU share of the monitor, and the sampling share that keeps it within its limit.

#[cfg(test)]
mod tests;

use crossbeam_channel::Receiver;
use std::time::{Duration, Instant};

/// The least share of requests that is sampled.
pub(super) const SHARE_MIN: f64 = 1.0 / 1024.0;
/// Requests counted in a row while the watches are locked.
const TURN: usize = 256;
/// Least CPU time from which a share is computed.
const LITTLE: Duration = Duration::from_millis(50);

/// Computes the next sampling share from the CPU share that was used and the one that is allowed.
/// It falls at once and rises slowly.
pub(super) fn next_share(share: f64, taken: f64, allowed: f64) -> f64 {
    let next = if taken > allowed {
        share * allowed / taken
    } else if taken < 0.7 * allowed {
        share * 1.1
    } else {
        share
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

/// CPU time so far: of this thread, and of the whole server.
#[derive(Clone, Copy, Default)]
pub(super) struct Work {
    own: Duration,
    all: Duration,
}

impl Work {
    pub(super) fn now() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let own = read("/proc/thread-self/schedstat");
        let own = own
            .split(' ')
            .next()
            .and_then(|ns| ns.parse().ok())
            .map_or(Duration::ZERO, Duration::from_nanos);
        let stat = read("/proc/self/stat");

        // Fields after the name in brackets; the 12th and 13th are CPU time in ticks of 10 ms.
        let fields = stat
            .rsplit_once(") ")
            .map_or("", |(_, rest)| rest)
            .split(' ');
        let ticks: u64 = fields
            .skip(11)
            .take(2)
            .filter_map(|n| n.parse::<u64>().ok())
            .sum();
        Self {
            own,
            all: Duration::from_millis(ticks * 10),
        }
    }

    /// Returns this thread's share of the server's CPU time; none if there was too little to tell.
    pub(super) fn since(&self, before: &Self) -> Option<f64> {
        let (own, all) = (
            self.own.saturating_sub(before.own),
            self.all.saturating_sub(before.all),
        );
        (all >= LITTLE).then(|| own.as_secs_f64() / all.as_secs_f64())
    }
}
