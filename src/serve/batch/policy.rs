//! Decides when a batch runs and how large it is. Owns no clock and no thread;
//! the lane passes both in.

use super::cost::BatchCost;
use std::time::{Duration, Instant};

/// A waiting request, as the policy needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitingRequest {
    /// Its rows.
    pub rows: usize,
    /// Its deadline.
    pub deadline: Instant,
}

/// The limits of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchLimits {
    /// Most rows.
    pub rows_max: usize,
    /// How long the oldest request may wait for others; zero by default.
    pub delay: Duration,
}

/// What a free lane does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LaneDecision {
    /// Run this many requests from the head of the queue.
    Run(usize),
    /// Decide again at this time, or when a request arrives.
    WaitUntil(Instant),
}

/// Decides for the requests at the head of the queue, which are in order and
/// not empty.
pub(crate) fn next(
    members: &[WaitingRequest],
    oldest: Instant,
    cost: &BatchCost,
    now: Instant,
    limits: &BatchLimits,
) -> LaneDecision {
    let count = fit(members, cost, now, limits);
    let rows: usize = members[..count].iter().map(|m| m.rows).sum();
    let full = rows >= limits.rows_max || count < members.len();
    if full || limits.delay.is_zero() {
        return LaneDecision::Run(count);
    }

    let tightest = members[..count]
        .iter()
        .map(|m| m.deadline)
        .min()
        .unwrap_or(now);
    let latest_start = tightest.checked_sub(cost.high(rows)).unwrap_or(now);

    let until = (oldest + limits.delay).min(latest_start);
    if until > now {
        LaneDecision::WaitUntil(until)
    } else {
        LaneDecision::Run(count)
    }
}

/// Counts how many requests from the head form the batch: those that keep every deadline and the
/// row limit, and still make a row cheaper. At least one.
fn fit(members: &[WaitingRequest], cost: &BatchCost, now: Instant, limits: &BatchLimits) -> usize {
    let available: usize = members.iter().map(|m| m.rows).sum();
    let rows_max = cost.best_rows(members[0].rows, available.min(limits.rows_max));
    let mut rows = 0;
    let mut tightest = members[0].deadline;
    for (i, member) in members.iter().enumerate() {
        let grown = rows + member.rows;
        tightest = tightest.min(member.deadline);
        if i > 0 && (grown > rows_max || now + cost.high(grown) > tightest) {
            return i;
        }
        rows = grown;
    }

    members.len()
}
