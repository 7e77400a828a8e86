//! Grows one tree: splits the leaf with the largest gain, until there are enough
//! leaves or no split gains. Works on bins; the tree it returns has thresholds.

use super::super::bins::{Binned, Cut};
use super::super::prefetch::{AHEAD, fetch_soon};
use super::histogram::Histogram;
use super::monotone::LeafBounds;
use super::split::{self, LeafSplit, Test, Total};
use super::{Branch, Choice, Node, SplitSide, Tree, TreeOptions};
use rayon::prelude::*;
use std::ops::Range;

/// The fewest rows to partition on several threads.
const SHARED_ROWS: usize = 65_536;

/// A leaf that may still be split.
struct Leaf {
    /// The range of its rows.
    from: usize,
    to: usize,
    total: Total,
    depth: usize,
    sums: Histogram,
    best: Option<LeafSplit>,
    /// The branch above the leaf.
    parent: Option<(usize, SplitSide)>,
    bounds: LeafBounds,
}

/// A grown tree, and the rows of each leaf.
pub(super) struct GrownTree {
    pub tree: Tree,
    /// The split of each branch, for binned rows.
    pub tests: Vec<Test>,
    pub leaves: Vec<Range<usize>>,
}

/// Grows a tree on some rows, and orders them by leaf.
pub(super) fn grow(
    data: &Binned,
    rows: &mut [u32],
    gradients: &[[f32; 2]],
    options: &TreeOptions,
) -> GrownTree {
    let mut growth = Growth {
        data,
        gradients,
        options,
        tree: Tree {
            nodes: Vec::new(),
            leaves: Vec::new(),
            leaf_rows: Vec::new(),
        },
        tests: Vec::new(),
        open: Vec::new(),
    };
    growth.open.push(growth.root(rows));
    while growth.open.len() < options.leaves_max {
        let Some((leaf, found)) = growth.take_best() else {
            break;
        };
        growth.split(leaf, found, rows);
    }

    growth.finish()
}

/// A tree that grows.
struct Growth<'g> {
    data: &'g Binned,
    gradients: &'g [[f32; 2]],
    options: &'g TreeOptions,
    tree: Tree,
    tests: Vec<Test>,
    /// The leaves so far.
    open: Vec<Leaf>,
}

/// The rows of one side of a split, and their sums.
struct Half {
    rows: Range<usize>,
    side: SplitSide,
    total: Total,
    sums: Histogram,
}

impl Growth<'_> {
    /// Returns the leaf of all rows.
    fn root(&self, rows: &[u32]) -> Leaf {
        let sums = Histogram::of(self.data, rows, self.gradients);
        let of_rows = rows.iter().fold([0.0; 2], |sum, row| {
            let [g, h] = self.gradients[*row as usize];
            [sum[0] + f64::from(g), sum[1] + f64::from(h)]
        });
        let total = Total {
            sums: of_rows,
            rows: rows.len(),
        };
        let bounds = LeafBounds::OPEN;
        let best = split::find(self.data, &sums, total, self.options, bounds);
        Leaf {
            from: 0,
            to: rows.len(),
            total,
            depth: 0,
            sums,
            best,
            parent: None,
            bounds,
        }
    }

    /// Removes the leaf whose split gains most; none if no split gains.
    fn take_best(&mut self) -> Option<(Leaf, LeafSplit)> {
        let gain = |leaf: &Leaf| leaf.best.as_ref().map_or(0.0, |best| best.gain);
        // Of equal gains the first leaf is split.
        let at = (0..self.open.len())
            .rev()
            .max_by(|a, b| gain(&self.open[*a]).total_cmp(&gain(&self.open[*b])))?;
        let found = self.open[at].best.take()?;
        Some((self.open.swap_remove(at), found))
    }

    /// Replaces a leaf by a branch with two leaves.
    fn split(&mut self, leaf: Leaf, found: LeafSplit, rows: &mut [u32]) {
        let branch = self.tree.nodes.len();
        self.tree.nodes.push(Node {
            feature: found.feature,
            choice: choice(&found.test, &self.data.cuts[found.feature]),
            left: Branch::Leaf(0),
            right: Branch::Leaf(0),
            gain: found.gain,
        });
        link(&mut self.tree, leaf.parent, Branch::Node(branch));

        let middle = leaf.from + part(self.data, &mut rows[leaf.from..leaf.to], &found);
        let depth = leaf.depth + 1;
        let is_last = self.is_last_below(&leaf);
        let bounds = self.bounds_below(&leaf, &found);
        let halves = self.halve(leaf, &found, middle, rows);
        self.tests.push(found.test);

        let find = |at: usize| {
            let half: &Half = &halves[at];
            if is_last || half.total.rows < 2 * self.options.leaf_rows_min {
                return None;
            }
            let (total, bounds) = (half.total, bounds[at]);
            split::find(self.data, &half.sums, total, self.options, bounds)
        };
        let (first, second) = rayon::join(|| find(0), || find(1));
        let best = [first, second];

        for ((half, bounds), best) in halves.into_iter().zip(bounds).zip(best) {
            // A leaf that cannot be split needs no histogram.
            let sums = if best.is_some() {
                half.sums
            } else {
                Histogram::default()
            };
            self.open.push(Leaf {
                from: half.rows.start,
                to: half.rows.end,
                total: half.total,
                depth,
                sums,
                best,
                parent: Some((branch, half.side)),
                bounds,
            });
        }
    }

    /// Returns the bounds of the two leaves that replace a leaf.
    fn bounds_below(&self, leaf: &Leaf, found: &LeafSplit) -> [LeafBounds; 2] {
        let Some(way) = self.options.direction(found.feature) else {
            return [leaf.bounds; 2];
        };
        if found.test.is_of_missing(&self.data.cuts[found.feature]) {
            return [leaf.bounds; 2];
        }
        let (all, left) = (leaf.total.sums, found.left);
        let right = [all[0] - left[0], all[1] - left[1]];
        let value = |sums| leaf.bounds.value(sums, self.options.l2);
        leaf.bounds.split(way, value(left), value(right))
    }

    /// Returns whether the two leaves that replace a leaf are not split again.
    fn is_last_below(&self, leaf: &Leaf) -> bool {
        leaf.depth + 1 >= self.options.depth_max || self.open.len() + 2 >= self.options.leaves_max
    }

    /// Sums up both sides of a split. Only the smaller side is counted; the other is
    /// the rest of the leaf. Leaves that are not split need no histogram.
    fn halve(&self, leaf: Leaf, found: &LeafSplit, middle: usize, rows: &[u32]) -> [Half; 2] {
        let all = leaf.total.sums;
        let left = Total {
            sums: found.left,
            rows: middle - leaf.from,
        };
        let right = Total {
            sums: [all[0] - found.left[0], all[1] - found.left[1]],
            rows: leaf.to - middle,
        };

        let [left_sums, right_sums] = if self.is_last_below(&leaf) {
            [Histogram::default(), Histogram::default()]
        } else if left.rows <= right.rows {
            let counted = Histogram::of(self.data, &rows[leaf.from..middle], self.gradients);
            let rest = leaf.sums.without(&counted);
            [counted, rest]
        } else {
            let counted = Histogram::of(self.data, &rows[middle..leaf.to], self.gradients);
            [leaf.sums.without(&counted), counted]
        };

        [
            Half {
                rows: leaf.from..middle,
                side: SplitSide::Left,
                total: left,
                sums: left_sums,
            },
            Half {
                rows: middle..leaf.to,
                side: SplitSide::Right,
                total: right,
                sums: right_sums,
            },
        ]
    }

    /// Gives each leaf its number and its value.
    fn finish(mut self) -> GrownTree {
        let mut leaves = Vec::new();
        for leaf in self.open {
            let number = self.tree.leaves.len();
            link(&mut self.tree, leaf.parent, Branch::Leaf(number));
            let [g, h] = leaf.total.sums;
            let wanted = leaf.bounds.value([g, h], self.options.l2);
            let wanted = wanted.min(self.options.step_max);
            let value = (wanted * self.options.learning_rate) as f32;
            self.tree.leaves.push(value);
            self.tree.leaf_rows.push((leaf.to - leaf.from) as u32);
            leaves.push(leaf.from..leaf.to);
        }

        GrownTree {
            tree: self.tree,
            tests: self.tests,
            leaves,
        }
    }
}

/// Puts a branch or a leaf at its place below the parent.
fn link(tree: &mut Tree, parent: Option<(usize, SplitSide)>, child: Branch) {
    if let Some((at, side)) = parent {
        let node = &mut tree.nodes[at];
        *(if side == SplitSide::Left {
            &mut node.left
        } else {
            &mut node.right
        }) = child;
    }
}

/// Returns the condition on values, from that on bins.
fn choice(test: &Test, cut: &Cut) -> Choice {
    match (test, cut) {
        (Test::UpTo(last, missing), Cut::Number(edges)) => {
            // The last bin holds every larger number.
            let threshold = edges
                .get(usize::from(*last))
                .copied()
                .unwrap_or(f32::INFINITY);
            Choice::UpTo {
                threshold,
                missing: *missing,
            }
        }
        (Test::UpTo(..), Cut::Category) => Choice::OneOf([0; 4]),
        (Test::OneOf(members), _) => Choice::OneOf(*members),
    }
}

/// Partitions rows, the left side first, and keeps their order; returns the number on the left.
fn part(data: &Binned, rows: &mut [u32], found: &LeafSplit) -> usize {
    let bins = data.feature(found.feature);
    let is_left: [bool; 256] = std::array::from_fn(|bin| found.test.is_left(bin as u8));
    let halves = |rows: &[u32]| -> (Vec<u32>, Vec<u32>) {
        let (mut left, mut right) = (vec![0; rows.len()], vec![0; rows.len()]);
        let (mut lefts, mut rights) = (0, 0);
        for (at, row) in rows.iter().enumerate() {
            if let Some(soon) = rows.get(at + AHEAD) {
                fetch_soon(bins, *soon as usize);
            }
            // Nothing is jumped over: which side a row is on cannot be predicted.
            let is_left = is_left[usize::from(bins[*row as usize])];
            (left[lefts], right[rights]) = (*row, *row);
            lefts += usize::from(is_left);
            rights += usize::from(!is_left);
        }
        left.truncate(lefts);
        right.truncate(rights);
        (left, right)
    };
    let size = if rows.len() < SHARED_ROWS {
        rows.len().max(1)
    } else {
        SHARED_ROWS / 4
    };

    let parted: Vec<(Vec<u32>, Vec<u32>)> = rows.par_chunks(size).map(halves).collect();
    let mut at = 0;
    let sides = parted
        .iter()
        .map(|p| &p.0)
        .chain(parted.iter().map(|p| &p.1));
    for side in sides {
        rows[at..at + side.len()].copy_from_slice(side);
        at += side.len();
    }

    parted.iter().map(|p| p.0.len()).sum()
}
