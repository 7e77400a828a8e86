//! The duration S(b) of a batch of b rows, learned from the runs of one shape class. Pure: owns no
//! clock. A run that stalls changes little, and a machine that becomes slower is noticed within some
//! ten runs.

#[cfg(test)]
mod tests;

use std::time::Duration;

/// Sizes that are told apart: 1 row, 2, up to 4, up to 8, …
const SIZES: usize = 15;
/// Runs of one size over which its mean is taken, at most.
const MEMORY: f64 = 16.0;
/// A run that took more than this many times the mean counts as if it had taken that long.
const STALL: f64 = 4.0;
/// Runs of one size from which on stalls are told from usual runs.
const USUAL: f64 = 4.0;
/// How far one run moves the 95th percentile, as a share of the mean.
const HIGH_STEP: f64 = 0.1;
/// A larger batch must make a row at least this much cheaper.
const GAIN_MIN: f64 = 0.97;
/// One batch of so many is allowed to be of the next size, although that did not pay before.
const EXPLORE: u64 = 64;

/// What is known of batches of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct SizeCost {
    /// Runs that were noted, up to [`MEMORY`]; 0 if the size is not known.
    runs: f64,
    rows: f64,
    /// Mean duration in seconds.
    mean: f64,
    /// Which one run of 20 exceeds.
    high: f64,
    /// Number of the run that was noted last.
    last: u64,
}

impl SizeCost {
    fn note(&mut self, rows: f64, took: f64) {
        if self.runs == 0.0 {
            *self = Self {
                runs: 1.0,
                rows,
                mean: took,
                high: took,
                last: self.last,
            };
            return;
        }

        let took = if self.runs >= USUAL {
            took.min(STALL * self.mean)
        } else {
            took
        };
        self.runs = (self.runs + 1.0).min(MEMORY);
        // A machine that was slow is believed to be fast again at once.
        self.mean = (self.mean + (took - self.mean) / self.runs).min(STALL * took);
        self.rows += (rows - self.rows) / self.runs;
        let step = if took > self.high { 0.95 } else { -0.05 };
        let high = self.high + HIGH_STEP * self.mean * step;
        self.high = high.clamp(self.mean, STALL * self.mean);
    }
}

/// The durations of the batches of one shape class.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct BatchCost {
    sizes: [SizeCost; SIZES],
    runs: u64,
}

impl BatchCost {
    /// Notes a run.
    pub(crate) fn note(&mut self, rows: usize, took: Duration) {
        self.runs += 1;
        let rows = rows.max(1);
        let size = &mut self.sizes[size(rows)];
        if self.runs - size.last >= EXPLORE {
            // What was known is old.
            size.runs = size.runs.min(1.0);
        }
        size.last = self.runs;
        size.note(rows as f64, took.as_secs_f64());
    }

    /// The expected duration of a batch; zero if nothing is known.
    pub(crate) fn mean(&self, rows: usize) -> Duration {
        Duration::from_secs_f64(self.between(rows, |size| size.mean))
    }

    /// The duration that a batch seldom exceeds; zero if nothing is known.
    pub(crate) fn high(&self, rows: usize) -> Duration {
        Duration::from_secs_f64(self.between(rows, |size| size.high))
    }

    /// How many rows the next batch should have, of `available` rows, of which it takes the first
    /// `least` in any case. It grows as long as that makes a row cheaper, and by one size at most
    /// to a size that was never run.
    pub(crate) fn best_rows(&self, least: usize, available: usize) -> usize {
        let least = least.max(1);
        let Some(known_max) = self.sizes.iter().rposition(|size| size.runs > 0.0) else {
            return least.next_power_of_two().min(available.max(least));
        };
        let (mut best, mut best_cost) = (least, self.per_row(least));
        let mut rows = least;
        while rows < available {
            rows = (rows + 1).next_power_of_two().min(available);
            if size(rows) > known_max {
                // Only what paid up to here may pay further.
                let is_next = size(rows) == known_max + 1 && size(best) >= known_max;
                return if is_next { rows } else { best };
            }
            let cost = self.per_row(rows);
            if cost <= best_cost * GAIN_MIN {
                (best, best_cost) = (rows, cost);
            }
        }

        let explores = self.runs % EXPLORE == EXPLORE - 1;
        if explores && best < available {
            best = (best + 1).next_power_of_two().min(available);
        }
        best
    }

    /// Tells whether batches of this size were cheaper for each row than all smaller ones.
    pub(crate) fn pays(&self, rows: usize) -> bool {
        self.best_rows(1, rows) >= rows
    }

    /// The mean duration of a row in batches of the cheapest size; none if nothing is known.
    pub(crate) fn least_per_row(&self) -> Option<Duration> {
        let known = self.sizes.iter().filter(|size| size.runs > 0.0);
        let least = known.map(|size| size.mean / size.rows).reduce(f64::min);
        least.map(Duration::from_secs_f64)
    }

    /// Runs that were noted.
    pub(crate) fn runs(&self) -> u64 {
        self.runs
    }

    fn per_row(&self, rows: usize) -> f64 {
        self.between(rows, |size| size.mean) / rows as f64
    }

    /// A value at a number of rows, on the line between the nearest known sizes.
    fn between(&self, rows: usize, of: impl Fn(&SizeCost) -> f64) -> f64 {
        let rows = rows.max(1) as f64;
        let known = || self.sizes.iter().filter(|size| size.runs > 0.0);
        let below = known().rfind(|size| size.rows <= rows);
        let above = known().find(|size| size.rows > rows);
        match (below, above) {
            (None, None) => 0.0,
            // Fewer rows take no longer.
            (None, Some(above)) => of(above),
            (Some(below), None) => of(below) * rows / below.rows,
            (Some(below), Some(above)) => {
                let share = (rows - below.rows) / (above.rows - below.rows);
                of(below) + (of(above) - of(below)) * share
            }
        }
    }
}

/// The number of a size: the exponent of the next power of two.
fn size(rows: usize) -> usize {
    let exponent = rows.next_power_of_two().trailing_zeros() as usize;
    exponent.min(SIZES - 1)
}
