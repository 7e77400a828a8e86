//! Grows one tree: splits the leaf with the largest gain, until there are enough
//! leaves or no split gains. Works on bins; the tree it returns has thresholds.

use super::super::bins::{Binned, Cut};
use super::histogram::Histogram;
use super::split::{self, Found, Test, Total};
use super::{Branch, Choice, Node, Options, Side, Tree};
use rayon::prelude::*;

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
    best: Option<Found>,
    /// The branch above the leaf.
    parent: Option<(usize, Side)>,
}

/// A grown tree, and the rows of each leaf.
pub(super) struct Grown {
    pub tree: Tree,
    /// The split of each branch, for binned rows.
    pub tests: Vec<Test>,
    pub leaves: Vec<std::ops::Range<usize>>,
}

/// Grows a tree on some rows, and orders them by leaf.
pub(super) fn grow(
    data: &Binned,
    rows: &mut [u32],
    gradients: &[[f32; 2]],
    options: &Options,
) -> Grown {
    let mut tree = Tree {
        nodes: Vec::new(),
        leaves: Vec::new(),
    };
    let mut tests = Vec::new();
    let sums = Histogram::of(data, rows, gradients);
    let total = rows.iter().fold([0.0; 2], |sum, row| {
        let [g, h] = gradients[*row as usize];
        [sum[0] + f64::from(g), sum[1] + f64::from(h)]
    });
    let total = Total {
        sums: total,
        rows: rows.len(),
    };
    let best = split::find(&sums, &data.cuts, total, options);
    let mut open = vec![Leaf {
        from: 0,
        to: rows.len(),
        total,
        depth: 0,
        sums,
        best,
        parent: None,
    }];

    while open.len() < options.leaves_max {
        let gain = |leaf: &Leaf| leaf.best.as_ref().map_or(0.0, |b| b.gain);
        let Some(at) = (0..open.len())
            .rev()
            .max_by(|a, b| gain(&open[*a]).total_cmp(&gain(&open[*b])))
        else {
            break;
        };
        let Some(found) = open[at].best.take() else {
            break;
        };
        let leaf = open.swap_remove(at);
        let branch = tree.nodes.len();
        tree.nodes.push(Node {
            feature: found.feature,
            choice: choice(&found.test, &data.cuts[found.feature]),
            left: Branch::Leaf(0),
            right: Branch::Leaf(0),
            gain: found.gain,
        });
        link(&mut tree, leaf.parent, Branch::Node(branch));
        let here = &mut rows[leaf.from..leaf.to];
        let middle = leaf.from + part(data, here, &found);
        let all = leaf.total.sums;
        let right = [all[0] - found.left[0], all[1] - found.left[1]];
        let depth = leaf.depth + 1;
        let is_done = depth >= options.depth_max || open.len() + 2 >= options.leaves_max;
        let totals = [
            Total {
                sums: found.left,
                rows: middle - leaf.from,
            },
            Total {
                sums: right,
                rows: leaf.to - middle,
            },
        ];
        let sums = if is_done {
            [Histogram(Vec::new()), Histogram(Vec::new())]
        } else if totals[0].rows <= totals[1].rows {
            let left = Histogram::of(data, &rows[leaf.from..middle], gradients);
            let rest = leaf.sums.without(&left);
            [left, rest]
        } else {
            let right = Histogram::of(data, &rows[middle..leaf.to], gradients);
            [leaf.sums.without(&right), right]
        };
        tests.push(found.test);
        let ranges = [(leaf.from, middle), (middle, leaf.to)];
        for (((from, to), side), (sums, total)) in ranges
            .into_iter()
            .zip([Side::Left, Side::Right])
            .zip(sums.into_iter().zip(totals))
        {
            let best = if is_done || total.rows < 2 * options.leaf_rows_min {
                None
            } else {
                split::find(&sums, &data.cuts, total, options)
            };
            // A leaf that cannot be split needs no histogram.
            let sums = if best.is_some() {
                sums
            } else {
                Histogram(Vec::new())
            };
            open.push(Leaf {
                from,
                to,
                total,
                depth,
                sums,
                best,
                parent: Some((branch, side)),
            });
        }
    }

    let mut leaves = Vec::new();
    for leaf in open {
        let number = tree.leaves.len();
        link(&mut tree, leaf.parent, Branch::Leaf(number));
        let [g, h] = leaf.total.sums;
        // Rows with a Hessian of 0 have the leaf value 0.
        let wanted = if h + options.l2 > 0.0 {
            -g / (h + options.l2)
        } else {
            0.0
        };
        tree.leaves.push((wanted * options.learning_rate) as f32);
        leaves.push(leaf.from..leaf.to);
    }

    Grown {
        tree,
        tests,
        leaves,
    }
}

fn link(tree: &mut Tree, parent: Option<(usize, Side)>, child: Branch) {
    if let Some((at, side)) = parent {
        let node = &mut tree.nodes[at];
        *(if side == Side::Left {
            &mut node.left
        } else {
            &mut node.right
        }) = child;
    }
}

/// The condition on values, from that on bins.
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
fn part(data: &Binned, rows: &mut [u32], found: &Found) -> usize {
    let is_left = |row: &u32| found.test.is_left(data.row(*row as usize)[found.feature]);
    let halves =
        |rows: &[u32]| -> (Vec<u32>, Vec<u32>) { rows.iter().partition(|row| is_left(row)) };
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
