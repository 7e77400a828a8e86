//! The best that can be done with a trace by somebody who knows all arrivals and the true durations.
//!
//! Requests of one class and one row differ only in their arrival, so some best schedule serves them in
//! that order. What is left to choose is where to cut: a state is the number of requests served, when
//! each lane is free, and the sum of latencies so far. A state that is no earlier on any lane and no
//! better in sum than another is dropped.
//!
//! One that may wait can leave a lane idle for a request that is about to arrive. It never pays to wait
//! for one that arrives after those before it could have been answered. On one lane this is exact but for the
//! moments at which the lane is free, which are rounded *down* to a grid: the result is a bound from
//! below, which no scheduler reaches that does not know the future.
//!
//! One that may not wait uses a lane as soon as something waits for it, as a scheduler without a timer
//! does, and chooses only the sizes. Of the states of one moment of the grid it keeps the best, and on two
//! lanes the [`WIDTH`] best of each step: the result is a schedule, which another might beat by little.

use super::arrivals::Arrival;
use super::machine::{MS, Machine, Nanos};

/// States that are kept of each number of requests served, on several lanes.
const WIDTH: usize = 8;

/// Most lanes.
const LANES_MAX: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Partial {
    /// When each lane is free, in order; never, if it does not exist.
    free: [Nanos; LANES_MAX],
    latency: Nanos,
}

/// Moments that are not told apart.
const GRID: Nanos = MS / 50;

/// The schedules that are compared.
pub(super) struct Clairvoyant<'m> {
    pub(super) machine: &'m Machine,
    pub(super) lanes: usize,
    pub(super) rows_max: usize,
    /// Whether a lane may be idle while something waits.
    pub(super) may_wait: bool,
}

impl Clairvoyant<'_> {
    /// The mean latency in nanoseconds.
    pub(super) fn mean_latency(&self, trace: &[Arrival]) -> f64 {
        let mut states: Vec<Vec<Partial>> = vec![Vec::new(); trace.len() + 1];
        let mut free = [Nanos::MAX; LANES_MAX];
        free[..self.lanes].fill(0);
        states[0].push(Partial { free, latency: 0 });
        for served in 0..trace.len() {
            let kept = self.prune(std::mem::take(&mut states[served]));
            for state in &kept {
                self.extend(state, trace, served, &mut states);
            }
        }
        let best = states[trace.len()].iter().map(|state| state.latency).min();
        best.expect("a schedule") as f64 / trace.len() as f64
    }

    /// Adds every batch that may follow.
    fn extend(
        &self,
        state: &Partial,
        trace: &[Arrival],
        served: usize,
        states: &mut [Vec<Partial>],
    ) {
        let mut answered = Nanos::MAX;
        let mut arrived = 0;
        for rows in 1..=self.rows_max.min(trace.len() - served) {
            let last = trace[served + rows - 1].at;
            if last >= answered {
                return;
            }
            let soonest = state.free[0].max(trace[served].at);
            if !self.may_wait && last > soonest {
                return;
            }
            arrived += last;
            let start = soonest.max(last);
            let end = self.machine.end(start, rows);
            answered = end;

            let mut free = state.free;
            free[0] = if self.may_wait {
                end / GRID * GRID
            } else {
                end
            };
            free.sort_unstable();
            states[served + rows].push(Partial {
                free,
                latency: state.latency + end * rows as u64 - arrived,
            });
        }
    }

    fn prune(&self, mut states: Vec<Partial>) -> Vec<Partial> {
        if self.lanes == 1 {
            states.sort_unstable_by_key(|state| (state.free[0] / GRID, state.latency));
            let mut best = Nanos::MAX;
            states.retain(|state| {
                let is_better = state.latency < best;
                best = best.min(state.latency);
                is_better
            });
            return states;
        }

        states.sort_unstable_by_key(|state| state.latency + state.free.iter().sum::<Nanos>());
        let mut kept: Vec<Partial> = Vec::new();
        for state in states {
            let is_worse = |other: &Partial| {
                let mut pairs = other.free.iter().zip(&state.free);
                other.latency <= state.latency && pairs.all(|(other, own)| other <= own)
            };
            if !kept.iter().any(is_worse) {
                kept.push(state);
            }
            if kept.len() == WIDTH {
                break;
            }
        }
        kept
    }
}
