//! How many rows a run has where a run of other rows than the one before takes much longer. On a GPU, ONNX
//! Runtime plans each convolution anew when a shape changes: 125 ms for a net whose runs take 3 ms. So a lane
//! keeps the rows of its runs, fills batches up to them, and changes them once other rows would have saved
//! as much time as the change takes. Then no sequence of requests makes it much slower than the best choice
//! in hindsight. Pure: owns no clock.

use super::class_costs::ClassCosts;
use super::cost::BatchCost;
use super::queue::Class;
use smallvec::SmallVec;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// How far one change moves what is known of the time of a change.
const CHANGE_STEP: f64 = 0.125;
/// A change that took more than this many times what is known counts as if it had taken that long.
const CHANGE_STALL: f64 = 4.0;

/// What all lanes of a model keep.
#[derive(Clone, Debug)]
pub(super) struct KeptShapes {
    /// Seconds that a change adds to a run.
    change: f64,
    lanes: Vec<ShapeKeeper>,
}

/// A lane that keeps the rows of its runs.
pub(super) struct KeepingLane<'k> {
    pub(super) keeper: &'k mut ShapeKeeper,
    /// Seconds that a change adds to a run.
    pub(super) change: f64,
}

impl KeptShapes {
    /// Of so many lanes, where a change was measured.
    pub(super) fn new(change: Duration, lanes: usize) -> Self {
        Self {
            change: change.as_secs_f64(),
            lanes: vec![ShapeKeeper::default(); lanes],
        }
    }

    /// The lane of a number.
    pub(super) fn lane(&mut self, at: usize) -> Option<KeepingLane<'_>> {
        let keeper = self.lanes.get_mut(at)?;
        let change = self.change;
        Some(KeepingLane { keeper, change })
    }

    /// Seconds that a change adds to a run.
    pub(super) fn change(&self) -> f64 {
        self.change
    }

    /// Rows of the runs of each lane now; 0 before the first.
    pub(super) fn rows(&self) -> Vec<usize> {
        self.lanes.iter().map(|lane| lane.rows).collect()
    }

    /// Notes a run whose shape was another than the one before.
    pub(super) fn note_change(
        &mut self,
        class: &Class,
        rows: usize,
        took: Duration,
        costs: &ClassCosts,
    ) {
        let cost = costs.of(class);
        if cost.runs() == 0 {
            return;
        }
        let added = took.saturating_sub(cost.mean(rows)).as_secs_f64();
        self.change += (added.min(CHANGE_STALL * self.change) - self.change) * CHANGE_STEP;
    }
}

/// Numbers of rows, and for each the seconds by which it is behind the best.
type Behind = SmallVec<[(usize, f64); 12]>;

/// What a lane keeps.
#[derive(Clone, Debug, Default)]
pub(super) struct ShapeKeeper {
    /// The shape class of its last run.
    class: Option<Class>,
    /// Rows of its runs; 0 before the first.
    rows: usize,
    /// How many seconds more the requests of this class would have taken so far than with the best
    /// number of rows, at most the time of a change.
    behind: Behind,
}

/// The requests that a lane finds, and what runs take.
#[derive(Clone, Copy)]
pub(super) struct ShapeNeed<'n> {
    pub class: &'n Class,
    /// Rows of the first request, which are never split.
    pub first: usize,
    /// Rows that wait, as far as they fit into a batch.
    pub waiting: usize,
    pub rows_max: usize,
    /// Durations of runs that change nothing.
    pub cost: &'n BatchCost,
    /// Seconds that a change adds to a run.
    pub change: f64,
}

/// A choice that has not been made yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ShapeChoice {
    /// Rows of the next run.
    pub rows: usize,
    behind: Behind,
}

impl ShapeKeeper {
    /// Finds the rows of the next run.
    pub(super) fn choose(&self, need: ShapeNeed<'_>) -> ShapeChoice {
        let behind = self.weigh(need);
        let of = |rows: usize| behind.iter().find(|(size, _)| *size == rows);
        let is_fit = self.is_of(need.class) && self.rows >= need.first;
        let rows = match of(self.rows) {
            Some((_, seconds)) if is_fit && *seconds < need.change => self.rows,
            _ if need.cost.runs() == 0 => {
                let rows = need.first.max(need.waiting).next_power_of_two();
                rows.min(need.rows_max.max(need.first))
            }
            _ => {
                let fits = behind.iter().filter(|(size, _)| *size >= need.first);
                let best = fits.min_by(|a, b| a.1.total_cmp(&b.1));
                best.map_or(need.first, |(size, _)| *size)
            }
        };
        ShapeChoice { rows, behind }
    }

    /// Makes a choice: the next run has these rows.
    pub(super) fn keep(&mut self, class: &Class, choice: ShapeChoice) {
        if !self.is_of(class) {
            self.class = Some(class.clone());
        }
        (self.rows, self.behind) = (choice.rows, choice.behind);
    }

    fn is_of(&self, class: &Class) -> bool {
        self.class.as_ref() == Some(class)
    }

    /// Adds what the waiting requests would take with each number of rows, as far as the next run serves
    /// them.
    fn weigh(&self, need: ShapeNeed<'_>) -> Behind {
        let is_kept = self.is_of(need.class);
        let waiting = need.waiting.max(1);
        let served = match is_kept && self.rows >= need.first {
            true => waiting.min(self.rows),
            false => waiting,
        };
        let share = served as f64 / waiting as f64;

        let mut behind: Behind = candidates(need, self.rows)
            .into_iter()
            .map(|rows| {
                let before = self.behind.iter().find(|(size, _)| *size == rows);
                let before = match is_kept {
                    // A number that was no candidate before is as far behind as possible.
                    true => before.map_or(need.change, |(_, seconds)| *seconds),
                    false => 0.0,
                };
                (rows, before + price(need, rows, waiting) * share)
            })
            .collect();
        let least = behind.iter().map(|(_, s)| *s).fold(f64::INFINITY, f64::min);
        for (_, seconds) in &mut behind {
            *seconds = (*seconds - least).min(need.change);
        }
        behind
    }
}

/// Powers of two, the most rows, those that are kept, and as many as the first request has: clients often send
/// the same number.
fn candidates(need: ShapeNeed<'_>, kept: usize) -> SmallVec<[usize; 12]> {
    let powers = std::iter::successors(Some(1_usize), |rows| rows.checked_mul(2));
    let mut all: SmallVec<_> = powers.take_while(|rows| *rows < need.rows_max).collect();
    all.extend([need.rows_max, need.first, kept.max(1)]);
    all.sort_unstable();
    all.dedup();
    all
}

/// Seconds that all that waits takes with runs of so many rows.
fn price(need: ShapeNeed<'_>, rows: usize, waiting: usize) -> f64 {
    if rows < need.first {
        return need.change + seconds(need.cost, need.first);
    }
    waiting.div_ceil(rows) as f64 * seconds(need.cost, rows)
}

/// The duration of a run. More rows than ever ran are believed to take no longer, so that they are tried.
fn seconds(cost: &BatchCost, rows: usize) -> f64 {
    let largest = cost
        .known()
        .last()
        .map_or(rows, |(rows, _, _)| rows as usize);
    cost.mean(rows.min(largest.max(1))).as_secs_f64()
}
