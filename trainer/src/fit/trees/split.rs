//! The best split of a leaf, given the histograms of its features. Pure.

#[cfg(test)]
mod tests;

use super::super::super::features::ABSENT;
use super::super::bins::{Binned, Cut, UsedBins};
use super::histogram::{Histogram, Pair};
use super::monotone::LeafBounds;
use super::{SplitSide, TreeOptions};
use crate::spec::objective::Direction;
use rayon::prelude::*;

/// Fewer bins are searched by one thread.
const SHARED_BINS: usize = 16_384;

/// The sums of a leaf.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Total {
    pub sums: Pair,
    pub rows: usize,
}

/// A split of a leaf.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LeafSplit {
    pub gain: f64,
    pub feature: usize,
    pub test: Test,
    /// The sums of the left side.
    pub left: Pair,
}

/// The condition of the left side, on bins.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// Bins up to a threshold; missing values follow the learned default branch.
    UpTo(u8, SplitSide),
    /// A subset of categories.
    OneOf([u64; 4]),
}

impl Test {
    /// Returns whether a row of this bin goes left.
    pub(super) fn is_left(&self, part: u8) -> bool {
        match self {
            Self::UpTo(_, side) if part == ABSENT => *side == SplitSide::Left,
            Self::UpTo(last, _) => part <= *last,
            Self::OneOf(members) => members[usize::from(part >> 6)] >> (part & 63) & 1 == 1,
        }
    }

    /// Returns whether it only tells missing values from others.
    pub(super) fn is_of_missing(&self, cut: &Cut) -> bool {
        match (self, cut) {
            (Self::UpTo(last, _), Cut::Number(edges)) => usize::from(*last) == edges.len(),
            _ => false,
        }
    }
}

/// Finds the split with the largest gain over all features; none if no split gains.
pub(super) fn find(
    data: &Binned,
    sums: &Histogram,
    total: Total,
    options: &TreeOptions,
    bounds: LeafBounds,
) -> Option<LeafSplit> {
    find_in((&data.cuts, &data.bins), sums, total, options, bounds)
}

fn find_in(
    (cuts, bins): (&[Cut], &UsedBins),
    sums: &Histogram,
    total: Total,
    options: &TreeOptions,
    bounds: LeafBounds,
) -> Option<LeafSplit> {
    // The number of rows of a side is estimated from its Hessian; half a row is rounded up.
    let of_rows = (options.leaf_rows_min as f64 - 0.5) * total.sums[1] / total.rows as f64;
    let side_min = options.curvature_min.max(of_rows);
    let unsplit = worth(total.sums, bounds, options.l2);
    let one = |feature: usize| {
        let search = Search {
            bins: bins.of_feature(feature),
            sums: &sums.0[bins.places(feature..feature + 1)],
            total,
            options,
            feature,
            direction: options.direction(feature),
            bounds,
            side_min,
            unsplit,
        };
        match &cuts[feature] {
            Cut::Number(edges) => search.number(edges.len()),
            Cut::Category => search.category(),
        }
    };

    let first = |best: LeafSplit, next: LeafSplit| {
        // Of equal gains the first feature wins, whichever thread found it.
        if next.gain > best.gain { next } else { best }
    };
    let features = 0..cuts.len();
    if sums.0.len() < SHARED_BINS {
        return features.filter_map(one).reduce(first);
    }
    let found: Vec<Option<LeafSplit>> = features.into_par_iter().map(one).collect();
    found.into_iter().flatten().reduce(first)
}

struct Search<'s> {
    /// The bins that there are, and their sums.
    bins: &'s [u8],
    sums: &'s [Pair],
    total: Total,
    options: &'s TreeOptions,
    feature: usize,
    /// How predictions may move with the feature.
    direction: Option<Direction>,
    bounds: LeafBounds,
    /// The least Hessian of a side.
    side_min: f64,
    /// The worth of the leaf as it is.
    unsplit: f64,
}

/// Returns how much a leaf with these sums lowers the loss, times two.
fn worth(sums: Pair, bounds: LeafBounds, l2: f64) -> f64 {
    match bounds.are_open() {
        true => sums[0] * sums[0] / (sums[1] + l2),
        false => bounds.worth(sums, l2),
    }
}

impl Search<'_> {
    /// Returns the gain of a split: how much it lowers the loss; none if a side would be too
    /// small.
    fn gain(&self, left: Pair, direction: Option<Direction>) -> Option<f64> {
        let all = self.total.sums;
        let right = [all[0] - left[0], all[1] - left[1]];
        if left[1] < self.side_min || right[1] < self.side_min {
            return None;
        }
        let worth = |sums: Pair| worth(sums, self.bounds, self.options.l2);
        let value = |sums: Pair| self.bounds.value(sums, self.options.l2);
        if direction.is_some_and(|way| !way.allows(value(left), value(right))) {
            return None;
        }
        let gain = worth(left) + worth(right) - self.unsplit;
        (gain > 1e-9 * self.unsplit.abs().max(1e-12)).then_some(gain)
    }

    /// Takes a split if it gains more than the best one. A split that only tells missing values
    /// from others has no direction.
    fn better(&self, best: &mut Option<LeafSplit>, left: Pair, test: impl FnOnce() -> Test) {
        self.better_in(best, left, self.direction, test);
    }

    fn better_in(
        &self,
        best: &mut Option<LeafSplit>,
        left: Pair,
        direction: Option<Direction>,
        test: impl FnOnce() -> Test,
    ) {
        if let Some(gain) = self
            .gain(left, direction)
            .filter(|gain| best.as_ref().is_none_or(|b| *gain > b.gain))
        {
            *best = Some(LeafSplit {
                gain,
                feature: self.feature,
                test: test(),
                left,
            });
        }
    }

    /// Tries every bin but the last as the last one of the left side; `last` is that of the largest numbers.
    fn number(&self, last: usize) -> Option<LeafSplit> {
        let (bins, missing) = match self.bins {
            [bins @ .., ABSENT] => (bins, self.sums[bins.len()]),
            bins => (bins, [0.0; 2]),
        };
        // A remainder of rounding is not a row.
        let has_missing = missing[1] > 1e-9 * self.total.sums[1];
        let mut best = None;
        let mut left = [0.0; 2];
        for (bin, sums) in bins.iter().zip(self.sums) {
            let is_last = usize::from(*bin) == last;
            if is_last && !has_missing {
                break;
            }
            left = [left[0] + sums[0], left[1] + sums[1]];
            if has_missing {
                // The last threshold separates present values from missing ones.
                let direction = self.direction.filter(|_| !is_last);
                self.better_in(&mut best, left, direction, || {
                    Test::UpTo(*bin, SplitSide::Right)
                });
                if !is_last {
                    let with = [left[0] + missing[0], left[1] + missing[1]];
                    self.better(&mut best, with, || Test::UpTo(*bin, SplitSide::Left));
                }
            } else {
                // Without missing values in training, the larger side is the default branch.
                let side = if left[1] * 2.0 >= self.total.sums[1] {
                    SplitSide::Left
                } else {
                    SplitSide::Right
                };
                self.better(&mut best, left, || Test::UpTo(*bin, side));
            }
        }

        best
    }

    /// Sorts categories by gradient over Hessian, and splits them like ordered
    /// numbers (Fisher 1958); rare categories stay together.
    fn category(&self) -> Option<LeafSplit> {
        let rows = |sums: Pair| sums[1] / self.total.sums[1] * self.total.rows as f64;
        let want = |sums: Pair| sums[0] / (sums[1] + self.options.category_smooth);
        let is_frequent =
            |(_, sums): &(u8, Pair)| rows(*sums) + 0.5 >= self.options.category_rows_min as f64;
        let all = self.bins.iter().copied().zip(self.sums.iter().copied());
        let mut codes: Vec<(u8, Pair)> = all.filter(is_frequent).collect();

        codes.sort_by(|a, b| want(a.1).total_cmp(&want(b.1)));
        let mut best = None;
        for ends in [
            &mut codes.iter() as &mut dyn Iterator<Item = &(u8, Pair)>,
            &mut codes.iter().rev(),
        ] {
            let (mut left, mut members) = ([0.0; 2], [0_u64; 4]);
            for (code, sums) in ends.take(self.options.category_set_max) {
                left = [left[0] + sums[0], left[1] + sums[1]];
                members[usize::from(code >> 6)] |= 1 << (code & 63);
                self.better(&mut best, left, || Test::OneOf(members));
            }
        }

        best
    }
}
