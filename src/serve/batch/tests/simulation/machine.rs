//! The true durations of runs, which the scheduler only learns of afterwards. Times are nanoseconds
//! from the start of a trace.

use crate::core::hash::SplitMix;

/// A moment or a duration in nanoseconds.
pub(super) type Nanos = u64;

/// One millisecond.
pub(super) const MS: Nanos = 1_000_000;

/// How long the machine keeps one speed.
const SLOT: Nanos = 10 * MS;

/// The true S(b) at full speed.
#[derive(Clone, Copy, Debug)]
pub(super) enum TrueCost {
    /// `fixed + row × b`.
    Linear { fixed: Nanos, row: Nanos },
    /// As of a convolutional network: every row costs the same, and a little more in large batches.
    Flat { row: Nanos },
    /// A batch costs as much as the next power of two.
    Steps { fixed: Nanos, row: Nanos },
    /// Large batches leave the cache: above this many rows, each row costs four times as much.
    Knee { fixed: Nanos, row: Nanos, at: usize },
}

impl TrueCost {
    /// The duration of a batch at full speed.
    pub(super) fn of(self, rows: usize) -> Nanos {
        let count = rows as u64;
        match self {
            Self::Linear { fixed, row } => fixed + row * count,
            Self::Flat { row } => row * count + row * count * count / 400,
            Self::Steps { fixed, row } => fixed + row * count.next_power_of_two(),
            Self::Knee { fixed, row, at } => {
                fixed + row * count + row * 3 * count.saturating_sub(at as u64)
            }
        }
    }

    /// Most rows that can be answered in a second by one lane.
    pub(super) fn capacity(self, rows_max: usize) -> f64 {
        let rates = (1..=rows_max).map(|rows| rows as f64 * 1e9 / self.of(rows) as f64);
        rates.fold(0.0, f64::max)
    }
}

/// A machine whose speed changes: it is noisy, it stalls, or other work slows it.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    cost: TrueCost,
    /// The speed in each [`SLOT`]; repeated for ever.
    speeds: Vec<f64>,
}

impl Machine {
    /// Full speed all the time.
    pub(super) fn steady(cost: TrueCost) -> Self {
        Self {
            cost,
            speeds: vec![1.0],
        }
    }

    /// Speeds from 0.8 to 1.25, and one slot of 100 without any progress.
    pub(super) fn noisy(cost: TrueCost, seed: u64) -> Self {
        let mut random = SplitMix(seed);
        let mut speed = |slot: usize| match slot % 100 {
            57 => 0.0,
            _ => 0.8 + 0.45 * random.unit(),
        };
        Self {
            cost,
            speeds: (0..10_000).map(&mut speed).collect(),
        }
    }

    /// This many times as slow.
    pub(super) fn slowed(cost: TrueCost, times: f64) -> Self {
        Self {
            cost,
            speeds: vec![1.0 / times],
        }
    }

    /// When a run ends that starts at `start`. Never earlier for a later start or for more rows.
    pub(super) fn end(&self, start: Nanos, rows: usize) -> Nanos {
        let mut left = self.cost.of(rows) as f64;
        let mut now = start;
        loop {
            let slot = now / SLOT;
            let at = usize::try_from(slot).expect("small") % self.speeds.len();
            let speed = self.speeds[at];
            let until = (slot + 1) * SLOT;
            let done = (until - now) as f64 * speed;
            if done >= left {
                return now + (left / speed).ceil() as Nanos;
            }
            left -= done;
            now = until;
        }
    }
}
