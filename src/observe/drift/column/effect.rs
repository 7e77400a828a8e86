//! How alike neighbouring live rows are: the design effect, from the differences between the means of
//! neighbouring blocks of rows. A lasting shift counts in one difference only. Owns no clock.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

/// Blocks of a level in a block of the next: rows come in blocks of 4, 16, 64 and 256.
const PARTS: u32 = 4;
/// Levels of blocks, and the rows of a block of the largest.
const LEVELS: usize = 4;
/// Fewest differences by which a level is judged: with so few, an effect under 2.5 passes for none.
const FREEDOM_MIN: f64 = 15.0;
/// Differences of the largest level from which the baseline's own design effect is no longer needed.
const FREEDOM_ENOUGH: f64 = 30.0;
/// Differences that are remembered, about.
const MEMORY: f64 = 512.0;
/// Rows within windows that are remembered, about.
const WITHIN_MEMORY: f64 = 65_536.0;

/// The design effect of a column's live rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LiveEffect {
    /// The mid-rank of each cell in the baseline.
    #[serde(skip)]
    scores: Vec<f64>,
    within: Within,
    /// Single rows, then the levels of blocks.
    levels: [Blocks; LEVELS + 1],
}

/// Blocks of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Blocks {
    /// Blocks that are not in a block of the next level yet, and the sum of their means.
    parts: u32,
    sum: f64,
    before: Option<f64>,
    /// Squared differences between neighbours, halved, and how many; older ones count less.
    differences: f64,
    freedom: f64,
}

impl Blocks {
    /// Adds a block by its mean. Returns the mean of a block of the next level that it completes.
    fn take(&mut self, mean: f64) -> Option<f64> {
        if let Some(before) = self.before.replace(mean) {
            self.differences += (mean - before).powi(2) / 2.0;
            self.freedom += 1.0;
            if self.freedom > 2.0 * MEMORY {
                self.differences /= 2.0;
                self.freedom /= 2.0;
            }
        }
        self.parts += 1;
        self.sum += mean;
        if self.parts < PARTS {
            return None;
        }
        self.parts = 0;
        Some(std::mem::take(&mut self.sum) / f64::from(PARTS))
    }

    fn variance(&self) -> f64 {
        if self.freedom > 0.0 {
            self.differences / self.freedom
        } else {
            0.0
        }
    }
}

/// The variance of single rows within windows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Within {
    rows: f64,
    sum: f64,
    squares: f64,
    deviations: f64,
    freedom: f64,
}

impl Within {
    fn take(&mut self, score: f64) {
        self.rows += 1.0;
        self.sum += score;
        self.squares += score * score;
    }

    fn close(&mut self) {
        if self.rows > 1.0 {
            let about = self.sum * self.sum / self.rows;
            self.deviations += (self.squares - about).max(0.0);
            self.freedom += self.rows - 1.0;
        }
        (self.rows, self.sum, self.squares) = (0.0, 0.0, 0.0);
        if self.freedom > WITHIN_MEMORY {
            self.deviations /= 2.0;
            self.freedom /= 2.0;
        }
    }

    fn variance(&self) -> f64 {
        if self.freedom > 0.0 {
            self.deviations / self.freedom
        } else {
            0.0
        }
    }
}

impl LiveEffect {
    /// Starts with the counts of the baseline by cell.
    pub(crate) fn new(counts: &[u64]) -> Self {
        let whole = counts.iter().sum::<u64>().max(1) as f64;
        let mut below = 0.0;
        let score = |n: &u64| {
            let middle = (below + *n as f64 / 2.0) / whole;
            below += *n as f64;
            middle
        };
        Self {
            scores: counts.iter().map(score).collect(),
            within: Within::default(),
            levels: [Blocks::default(); LEVELS + 1],
        }
    }

    /// Starts for flags: cell 0 or 1.
    pub(crate) fn of_flags() -> Self {
        Self {
            scores: vec![0.0, 1.0],
            within: Within::default(),
            levels: [Blocks::default(); LEVELS + 1],
        }
    }

    /// Goes on with the rows of an earlier process. The cells must be the same.
    pub(crate) fn go_on(&mut self, earlier: Self) {
        let scores = std::mem::take(&mut self.scores);
        *self = Self { scores, ..earlier };
    }

    /// Counts a row by its cell.
    pub(crate) fn take(&mut self, cell: usize) {
        let mut mean = self.scores.get(cell).copied();
        if let Some(score) = mean {
            self.within.take(score);
        }
        for level in &mut self.levels {
            let Some(of_block) = mean else { return };
            mean = level.take(of_block);
        }
    }

    /// Ends a window.
    pub(crate) fn close(&mut self) {
        self.within.close();
    }

    /// Returns the design effect: the largest of all levels of blocks, and at least the baseline's until
    /// there are enough of the largest blocks.
    ///
    /// The effect of a level is the variance of the means of its blocks, times their rows, over the
    /// variance of single rows: 1 for independent rows. Its standard error is then about √(2 / freedom).
    /// A level counts only above 1 by four of these. Without that, the largest of four noisy levels would
    /// be above 1 for independent rows too, and every test of them would be blunter for nothing. An effect
    /// is at most the rows of a block: more than all of them alike cannot be told from this level.
    pub(crate) fn of(&self, baseline: f64) -> f64 {
        let single = self.within.variance();
        let mut found = 1.0_f64;
        let mut size = 1.0;
        for level in &self.levels[1..] {
            size *= f64::from(PARTS);
            if level.freedom < FREEDOM_MIN || single <= 0.0 {
                continue;
            }
            let effect = size * level.variance() / single;
            if effect > 1.0 + 4.0 * (2.0 / level.freedom).sqrt() {
                found = found.max(effect.min(size));
            }
        }

        let is_enough = self.levels[LEVELS].freedom >= FREEDOM_ENOUGH;
        if is_enough {
            found
        } else {
            found.max(baseline)
        }
    }
}
