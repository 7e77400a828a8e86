//! The last windows of a column, added up into spans of 1 to 512 windows: single windows, blocks of
//! eight, and blocks of eight blocks. Bounded. Owns no clock.

#[cfg(test)]
mod tests;

use crate::observe::drift::alarm::BLOCK;
use crate::observe::drift::window::ColumnTally;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The tiers of blocks: of 1, 8 and 64 windows.
pub(crate) const TIERS: usize = 3;

/// Spans that are tested when a block of a tier closes, in blocks of the tier.
const TESTED: [&[u32]; TIERS] = [&[1, 2, 3, 4, 6, 8], &[2, 3, 4, 6, 8], &[2, 3, 4, 6, 8]];

/// The last windows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spans {
    tiers: [VecDeque<ColumnTally>; TIERS],
    /// Blocks of each tier that are in the next tier already, counted from the newest.
    fresh: [usize; TIERS],
}

impl Spans {
    /// Adds a window. Returns the spans that are tested with it: how many windows, and their sum.
    /// `closing` tells which tiers end a block with it.
    pub(crate) fn add(
        &mut self,
        window: ColumnTally,
        closing: [bool; TIERS],
    ) -> Vec<(u32, ColumnTally)> {
        let mut tested = Vec::new();
        let mut block = window;
        let mut windows = 1;
        for tier in 0..TIERS {
            if !closing[tier] {
                break;
            }
            let kept = &mut self.tiers[tier];
            kept.push_back(block);
            if kept.len() > BLOCK as usize {
                kept.pop_front();
            }
            self.fresh[tier] = (self.fresh[tier] + 1).min(BLOCK as usize);
            for count in TESTED[tier] {
                if let Some(sum) = self.sum(tier, *count as usize) {
                    tested.push((count * windows, sum));
                }
            }
            // The block of the next tier is what came since its last one.
            let fresh = std::mem::take(&mut self.fresh[tier]);
            match self.sum(tier, fresh) {
                Some(sum) if closing.get(tier + 1).copied().unwrap_or(false) => block = sum,
                _ => {
                    self.fresh[tier] = fresh;
                    break;
                }
            }
            windows *= BLOCK as u32;
        }
        tested
    }

    /// Returns the sum of the newest blocks of a tier; none if there are fewer.
    fn sum(&self, tier: usize, count: usize) -> Option<ColumnTally> {
        let kept = &self.tiers[tier];
        let mut newest = kept.iter().rev().take(count);
        if count == 0 || kept.len() < count {
            return None;
        }
        let mut sum = newest.next()?.clone();
        newest.for_each(|tally| sum.add(tally));
        Some(sum)
    }

    /// Returns the sum of the last windows, at most eight; none without any.
    pub(crate) fn newest(&self) -> Option<ColumnTally> {
        self.sum(0, self.tiers[0].len())
    }

    /// Returns the sum of the open window and of as many of the last ones, at most eight, as have `rows_min`
    /// rows together; none without rows.
    pub(crate) fn latest(&self, open: &ColumnTally, rows_min: u64) -> Option<ColumnTally> {
        let mut sum = open.clone();
        for window in self.tiers[0].iter().rev() {
            if sum.rows() >= rows_min {
                break;
            }
            sum.add(window);
        }
        (sum.rows() > 0).then_some(sum)
    }

    /// Returns every kept tally.
    pub(crate) fn tallies(&self) -> impl Iterator<Item = &ColumnTally> {
        self.tiers.iter().flatten()
    }

    /// Drops what is older than the last eight windows.
    pub(crate) fn forget(&mut self) {
        self.tiers[1].clear();
        self.tiers[2].clear();
    }
}
