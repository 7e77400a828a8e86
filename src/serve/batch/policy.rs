//! Decides when a batch runs and how large it is. Owns no clock and no thread;
//! the lane passes both in.

use super::cost::BatchCost;
use super::due::Due;
use std::time::{Duration, Instant};

/// A waiting request, as the policy needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaitingRequest {
    /// Its rows.
    pub rows: usize,
    /// Until when it can be served.
    pub due: Due,
}

/// The limits of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchLimits {
    /// Most rows.
    pub rows_max: usize,
    /// How long the oldest request may wait for others; zero by default.
    pub delay: Duration,
    /// Lanes that serve the queue.
    pub lanes: usize,
    /// Most tokens of a batch, if they are limited; for one class, if they are what limits its rows.
    pub tokens: Option<TokenLimit>,
    /// Whether batches are filled up to the most rows, so that more rows take no longer.
    pub fills: bool,
}

/// The most tokens of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenLimit {
    pub max: usize,
    /// Where the length is among the sizes of a class.
    pub length_at: usize,
}

impl TokenLimit {
    /// The most rows of a batch whose requests have these sizes; at least one.
    pub(super) fn rows(&self, sizes: &[usize]) -> usize {
        let length = sizes.get(self.length_at).copied().unwrap_or(1);
        (self.max / length.max(1)).max(1)
    }
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

    let need = cost.high(rows);
    let latest_starts = members[..count].iter().map(|m| m.due.latest_start(need));
    let latest_start = latest_starts.map(|start| start.unwrap_or(now)).min();

    let delayed = oldest + limits.delay;
    let until = latest_start.map_or(delayed, |start| start.min(delayed));
    if until > now {
        LaneDecision::WaitUntil(until)
    } else {
        LaneDecision::Run(count)
    }
}

/// The rows of the batch that would be best if every deadline were far.
pub(crate) fn best_rows(
    members: &[WaitingRequest],
    cost: &BatchCost,
    limits: &BatchLimits,
) -> usize {
    let available: usize = members.iter().map(|m| m.rows).sum();
    let available = available.min(limits.rows_max);
    match limits.fills {
        true => available.max(members[0].rows),
        false => cost.best_rows(members[0].rows, available),
    }
}

/// Counts how many requests from the head form the batch: those that keep every deadline and the
/// row limit, and still make a row cheaper. At least one.
fn fit(members: &[WaitingRequest], cost: &BatchCost, now: Instant, limits: &BatchLimits) -> usize {
    let rows_max = best_rows(members, cost, limits);
    let mut rows = 0;
    for (i, member) in members.iter().enumerate() {
        let grown = rows + member.rows;
        let need = cost.high(grown);
        let is_in_time = || members[..=i].iter().all(|m| m.due.allows(now, need));
        if i > 0 && (grown > rows_max || !is_in_time()) {
            return i;
        }
        rows = grown;
    }

    members.len()
}
