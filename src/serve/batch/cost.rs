//! The duration S(b) of a batch of b rows, learned from the runs of one shape class. Pure: owns no
//! clock. A run that stalls changes little, and a machine that becomes slower is noticed within some
//! ten runs.

#[cfg(test)]
mod tests;

use std::time::Duration;

/// Sizes that are told apart: 1 row, 2, 3, 4, up to 7, 8, up to 15, 16, … A full power of two has a size of
/// its own, because a run may cost as much as one of the next power of two.
const SIZES: usize = 29;
/// Runs of one size over which its mean is taken, at most.
const MEMORY: f64 = 16.0;
/// A run that took more than this many times the mean counts as if it had taken that long.
const STALL: f64 = 4.0;
/// The same for a run after one that took less than that: a single stall says little.
const STALL_ALONE: f64 = 2.0;
/// Runs of one size from which on stalls are told from usual runs.
const USUAL: f64 = 4.0;
/// How far one run moves the 95th percentile, as a share of the mean.
const HIGH_STEP: f64 = 0.1;
/// A larger batch must make a row at least this much cheaper.
const GAIN_MIN: f64 = 0.97;
/// The same for sizes between powers of two: they stand for several, so less is known of each.
const GAIN_BETWEEN: f64 = 0.9;
/// How far the means of well-known sizes move, in all, until the other sizes follow.
const DRIFT_MAX: f64 = 1.3;
/// How far a size follows others from what its own runs took. Where sizes that are known by many and by few runs
/// take turns, more changes upwards are counted than downwards, so following has no other end.
const FOLLOWED_MAX: f64 = 4.0;
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
    /// The same after its own last run.
    own: f64,
    /// Which one run of 20 exceeds.
    high: f64,
    /// Number of the run that was noted last.
    last: u64,
    /// Whether that run took more than [`STALL_ALONE`] times the mean.
    stalls: bool,
}

impl SizeCost {
    /// What was known is old: a run that took less is believed at once, because a size that seems too dear
    /// is seldom run again. One that took more may be a stall.
    fn age(&mut self, took: f64) {
        self.runs = self.runs.min(USUAL);
        self.mean = self.mean.min(took);
        self.high = self.high.min(STALL * self.mean);
    }

    /// Follows a machine that became slower by this factor.
    fn follow(&mut self, factor: f64) {
        let mean = (self.mean * factor).clamp(self.own / FOLLOWED_MAX, self.own * FOLLOWED_MAX);
        self.high *= mean / self.mean.max(f64::MIN_POSITIVE);
        self.mean = mean;
    }

    fn note(&mut self, rows: f64, took: f64) {
        if self.runs == 0.0 {
            *self = Self {
                runs: 1.0,
                rows,
                mean: took,
                own: took,
                high: took,
                ..*self
            };
            return;
        }

        let stall = match std::mem::replace(&mut self.stalls, took > STALL_ALONE * self.mean) {
            true => STALL,
            false => STALL_ALONE,
        };
        let took = if self.runs >= USUAL {
            took.min(stall * self.mean)
        } else {
            took
        };
        self.runs = (self.runs + 1.0).min(MEMORY);
        // A machine that was slow is believed to be fast again at once.
        self.mean = (self.mean + (took - self.mean) / self.runs).min(STALL * took);
        self.own = self.mean;
        self.rows += (rows - self.rows) / self.runs;
        let step = HIGH_STEP * self.mean;
        let high = match took > self.high {
            // It starts with one run, so that one of the first that takes longer is believed.
            true if self.runs < MEMORY => took.max(self.high + 0.95 * step),
            true => self.high + 0.95 * step,
            false => self.high - 0.05 * step,
        };
        self.high = high.clamp(self.mean, STALL * self.mean);
    }
}

/// The durations of the batches of one shape class.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BatchCost {
    sizes: [SizeCost; SIZES],
    runs: u64,
    /// How far the means of well-known sizes moved, as a factor, since the others followed.
    drift: f64,
}

impl Default for BatchCost {
    fn default() -> Self {
        Self {
            sizes: [SizeCost::default(); SIZES],
            runs: 0,
            drift: 1.0,
        }
    }
}

impl BatchCost {
    /// Notes a run. If the sizes that run become slower or faster by much, the machine did, and all
    /// others follow: else they would seem cheap, or dear, beside those that run.
    pub(crate) fn note(&mut self, rows: usize, took: Duration) {
        self.runs += 1;
        let rows = rows.max(1);
        let number = size(rows);
        let size = &mut self.sizes[number];
        if self.runs - size.last >= EXPLORE {
            size.age(took.as_secs_f64());
        }
        let before = *size;
        size.last = self.runs;
        size.note(rows as f64, took.as_secs_f64());

        let change = size.mean / before.mean;
        if before.runs < MEMORY || !change.is_finite() || change <= 0.0 {
            return;
        }
        self.drift *= change;
        if !(1.0 / DRIFT_MAX..DRIFT_MAX).contains(&self.drift) {
            self.follow(number);
        }
    }

    /// Changes the durations of all sizes but one by the drift.
    fn follow(&mut self, noted: usize) {
        let sizes = self.sizes.iter_mut().enumerate();
        for (_, size) in sizes.filter(|(number, _)| *number != noted) {
            size.follow(self.drift);
        }
        self.drift = 1.0;
    }

    /// What batches of up to so many rows take that are all filled up to just so many.
    pub(crate) fn filled(&self, rows: usize) -> Self {
        let mut filled = Self::default();
        filled.sizes[size(rows)] = SizeCost {
            runs: 1.0,
            rows: rows as f64,
            mean: self.between(rows, |size| size.mean),
            own: self.between(rows, |size| size.mean),
            high: self.between(rows, |size| size.high),
            ..SizeCost::default()
        };
        filled
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
    /// `least` in any case. It grows as long as that makes a row cheaper, and up to one more power of two
    /// where all that ran did.
    pub(crate) fn best_rows(&self, least: usize, available: usize) -> usize {
        let least = least.max(1);
        let Some(known) = self.sizes.iter().rfind(|size| size.runs > 0.0) else {
            return least.next_power_of_two().min(available.max(least));
        };
        let (mut best, mut best_cost) = (least, self.per_row(least));
        let (mut rows, mut power) = (least, least);
        while rows < available {
            rows = self.larger(rows).min(available);
            if rows as f64 > known.rows {
                // Only what paid up to here may pay further.
                if best >= power {
                    return rows;
                }
                break;
            }
            let mut gain = GAIN_BETWEEN;
            if rows.is_power_of_two() || rows == available {
                (power, gain) = (rows, GAIN_MIN);
            }
            let cost = self.per_row(rows);
            if cost <= best_cost * gain {
                (best, best_cost) = (rows, cost);
            }
        }

        let explores = self.runs % EXPLORE == EXPLORE - 1;
        if explores && best < available {
            best = (best + 1).next_power_of_two().min(available);
        }
        best
    }

    /// The next larger size that is compared: a power of two, or what ran between two of them.
    fn larger(&self, rows: usize) -> usize {
        let power = (rows + 1).next_power_of_two();
        let between = self.sizes[size(power - 1)];
        let between = between.rows as usize;
        if between > rows { between } else { power }
    }

    /// Tells whether batches of this size were cheaper for each row than all smaller ones.
    pub(crate) fn pays(&self, rows: usize) -> bool {
        self.best_rows(1, rows) >= rows
    }

    /// Mean rows, mean duration and the duration that is seldom exceeded, in seconds, of each size that ran.
    pub(crate) fn known(&self) -> impl Iterator<Item = (f64, f64, f64)> {
        let known = self.sizes.iter().filter(|size| size.runs > 0.0);
        known.map(|size| (size.rows, size.mean, size.high))
    }

    /// How many rows a batch has if enough wait, but for those that explore.
    pub(crate) fn usual_rows(&self, available: usize) -> usize {
        let settled = Self {
            runs: 0,
            ..self.clone()
        };
        settled.best_rows(1, available)
    }

    /// The mean duration of a batch of one row; none if that is not known.
    pub(crate) fn alone(&self) -> Option<Duration> {
        let size = self.sizes.first().filter(|size| size.runs > 0.0)?;
        Some(Duration::from_secs_f64(size.mean))
    }

    /// The mean duration of a row in batches of the cheapest size up to `available` rows; none if that is
    /// not known, as the largest batch that ran was the cheapest.
    pub(crate) fn least_per_row(&self, available: usize) -> Option<Duration> {
        let largest = self.sizes.iter().rfind(|size| size.runs > 0.0)?;
        let best = self.best_rows(1, available);
        let is_known = best as f64 <= largest.rows.ceil();
        is_known.then(|| Duration::from_secs_f64(self.per_row(best)))
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

/// The number of a size: even for powers of two, odd for what lies between them.
fn size(rows: usize) -> usize {
    let exponent = rows.next_power_of_two().trailing_zeros() as usize;
    let number = match rows.is_power_of_two() {
        true => 2 * exponent,
        false => 2 * exponent - 1,
    };
    number.min(SIZES - 1)
}
