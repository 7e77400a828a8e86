//! Trees that know how many training rows each leaf has, and what the features of a row contribute to the value of a
//! tree: Shapley values of the game in which an unknown feature is averaged over the rows of both sides of a split
//! (path-dependent TreeSHAP, Lundberg et al. 2018).
//!
//! The values are computed as an integral (Owen 1972): a feature `u` of a leaf contributes the leaf's value times
//! `(o − z) ∫ Π (o' t + z' (1 − t)) dt`, the product over the other features of the leaf's path. `o` says whether the
//! row meets all conditions on a feature, and `z` is the share of rows that meet them. The integrand is a polynomial,
//! so that a few points of Gauss and Legendre are exact. No term is negative, so that nothing cancels out, whereas
//! algorithm 2 of that paper divides polynomials and loses digits in deep trees. Leaves below a split share its
//! product, so a tree takes the time of its nodes times its points.

mod quadrature;
#[cfg(test)]
pub(crate) mod tests;

use crate::core::error::{Error, Result};
use quadrature::{POINTS_MAX, QuadratureRule};

/// The most splits between the root of a tree and a leaf.
pub const DEPTH_MAX: usize = 64;

/// The condition of the left side of a split.
#[derive(Clone, Debug, PartialEq)]
pub enum CoverTest {
    /// Numbers up to a threshold, and missing values if they go left.
    UpTo {
        /// The greatest number of the left side.
        threshold: f32,
        /// Whether missing values go left.
        missing_left: bool,
    },
    /// A set of categories, a bit for each code.
    OneOf([u64; 4]),
}

/// A node; the left child of a split follows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum CoverNode {
    Leaf {
        value: f32,
        rows: u32,
    },
    Number {
        feature: u32,
        threshold: f32,
        missing_left: bool,
        right: u32,
        rows: u32,
    },
    Category {
        feature: u32,
        /// The place among the sets.
        set: u32,
        right: u32,
        rows: u32,
    },
}

impl CoverNode {
    fn rows(&self) -> f64 {
        let (Self::Leaf { rows, .. } | Self::Number { rows, .. } | Self::Category { rows, .. }) =
            self;
        f64::from(*rows)
    }
}

/// A tree with the training rows of each node.
#[derive(Clone, Debug, PartialEq)]
pub struct CoverTree {
    pub(super) nodes: Vec<CoverNode>,
    pub(super) sets: Vec<[u64; 4]>,
    /// The points that make the integral of every leaf exact.
    points: usize,
    /// The mean value of the training rows.
    mean: f64,
}

/// Builds a tree from its nodes, each split before its left side and that before its right side. No other shape
/// than a tree can be written in this order.
#[derive(Default)]
pub struct TreeBuilder {
    nodes: Vec<CoverNode>,
    sets: Vec<[u64; 4]>,
    /// The splits above the next node, the root first.
    open: Vec<OpenSplit>,
    is_complete: bool,
    /// The most features on a path so far.
    features_max: usize,
}

/// A split whose right side is still to come.
struct OpenSplit {
    node: usize,
    feature: u32,
    is_left_done: bool,
}

impl TreeBuilder {
    /// Adds a split. Refuses a threshold that is no number, and a tree that is too deep.
    pub fn split(&mut self, feature: usize, test: &CoverTest) -> Result<()> {
        self.check_open()?;
        if self.open.len() >= DEPTH_MAX {
            return Err(Error::precondition(format!(
                "a tree is deeper than {DEPTH_MAX} splits"
            )));
        }
        let feature = u32::try_from(feature)
            .map_err(|_| Error::precondition("the number of a feature is over 32 bits"))?;
        let node = match test {
            CoverTest::UpTo { threshold, .. } if threshold.is_nan() => {
                return Err(Error::precondition("a threshold is not a number"));
            }
            CoverTest::UpTo {
                threshold,
                missing_left,
            } => CoverNode::Number {
                feature,
                threshold: *threshold,
                missing_left: *missing_left,
                right: 0,
                rows: 0,
            },
            CoverTest::OneOf(set) => {
                self.sets.push(*set);
                CoverNode::Category {
                    feature,
                    set: (self.sets.len() - 1) as u32,
                    right: 0,
                    rows: 0,
                }
            }
        };

        self.open.push(OpenSplit {
            node: self.nodes.len(),
            feature,
            is_left_done: false,
        });
        let mut features: Vec<u32> = self.open.iter().map(|split| split.feature).collect();
        features.sort_unstable();
        features.dedup();
        self.features_max = self.features_max.max(features.len());
        self.push(node)
    }

    /// Adds a leaf. Refuses a value that is no finite number, and a leaf without rows.
    pub fn leaf(&mut self, value: f32, rows: u32) -> Result<()> {
        self.check_open()?;
        if !value.is_finite() {
            return Err(Error::precondition("the value of a leaf is not finite"));
        }
        if rows == 0 {
            return Err(Error::precondition("a leaf has no training rows"));
        }
        self.push(CoverNode::Leaf { value, rows })?;

        // The leaf ends every split whose right side it completes.
        let mut total = rows;
        while let Some(split) = self.open.last_mut() {
            let next = self.nodes.len() as u32;
            match &mut self.nodes[split.node] {
                CoverNode::Number { right, rows, .. } | CoverNode::Category { right, rows, .. } => {
                    *rows = rows.checked_add(total).ok_or_else(|| {
                        Error::precondition("a tree has over 4 billion training rows")
                    })?;
                    if !split.is_left_done {
                        *right = next;
                        split.is_left_done = true;
                        return Ok(());
                    }
                    total = *rows;
                }
                CoverNode::Leaf { .. } => {}
            }
            self.open.pop();
        }
        self.is_complete = true;
        Ok(())
    }

    fn push(&mut self, node: CoverNode) -> Result<()> {
        if self.nodes.len() >= u32::MAX as usize {
            return Err(Error::precondition("a tree has over 4 billion nodes"));
        }
        self.nodes.push(node);
        Ok(())
    }

    fn check_open(&self) -> Result<()> {
        match self.is_complete {
            true => Err(Error::precondition("a tree goes on after its last leaf")),
            false => Ok(()),
        }
    }

    /// Tells whether every split has both its sides.
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Completes the tree. Refuses one that lacks leaves.
    pub fn finish(self) -> Result<CoverTree> {
        if !self.is_complete {
            return Err(Error::precondition("a tree ends before its last leaf"));
        }
        let leaves = self.nodes.iter().map(|node| match node {
            CoverNode::Leaf { value, rows } => f64::from(*value) * f64::from(*rows),
            _ => 0.0,
        });
        let mean = leaves.sum::<f64>() / self.nodes[0].rows();
        Ok(CoverTree {
            // More points than are needed are exact too.
            points: self.features_max.div_ceil(2).next_power_of_two().max(2),
            mean,
            nodes: self.nodes,
            sets: self.sets,
        })
    }
}

impl CoverTree {
    /// Returns the mean value of the training rows.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Returns how many steps one row takes.
    pub fn steps(&self) -> u64 {
        (self.nodes.len() * self.points) as u64
    }

    /// Returns the greatest number of a feature; none if there is no split.
    pub(super) fn feature_max(&self) -> Option<u32> {
        let feature = |node: &CoverNode| match node {
            CoverNode::Leaf { .. } => None,
            CoverNode::Number { feature, .. } | CoverNode::Category { feature, .. } => {
                Some(*feature)
            }
        };
        self.nodes.iter().filter_map(feature).max()
    }

    /// Returns the memory that it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<CoverNode>()
            + self.sets.capacity() * size_of::<[u64; 4]>()
    }

    /// Returns the condition of a split.
    pub(super) fn test(&self, node: &CoverNode) -> Option<(u32, CoverTest)> {
        match node {
            CoverNode::Leaf { .. } => None,
            CoverNode::Number {
                feature,
                threshold,
                missing_left,
                ..
            } => Some((
                *feature,
                CoverTest::UpTo {
                    threshold: *threshold,
                    missing_left: *missing_left,
                },
            )),
            CoverNode::Category { feature, set, .. } => {
                Some((*feature, CoverTest::OneOf(self.sets[*set as usize])))
            }
        }
    }

    /// Returns the feature of a split, its right side, and whether a row goes left; none for a leaf.
    fn branch(&self, node: &CoverNode, row: &[f32]) -> Option<(usize, usize, bool)> {
        match *node {
            CoverNode::Leaf { .. } => None,
            CoverNode::Number {
                feature,
                threshold,
                missing_left,
                right,
                ..
            } => {
                let value = row[feature as usize];
                let is_left = match value.is_nan() {
                    true => missing_left,
                    false => value <= threshold,
                };
                Some((feature as usize, right as usize, is_left))
            }
            CoverNode::Category {
                feature,
                set,
                right,
                ..
            } => {
                let code = row[feature as usize] as u8;
                let members = &self.sets[set as usize];
                let is_left = members[usize::from(code >> 6)] >> (code & 63) & 1 == 1;
                Some((feature as usize, right as usize, is_left))
            }
        }
    }

    /// Returns the value of a row: numbers, and categories by code.
    pub fn value(&self, row: &[f32]) -> f32 {
        let mut at = 0;
        loop {
            let node = &self.nodes[at];
            match (node, self.branch(node, row)) {
                (CoverNode::Leaf { value, .. }, _) => return *value,
                (_, Some((_, _, true))) => at += 1,
                (_, Some((_, right, false))) => at = right,
                (_, None) => return 0.0,
            }
        }
    }

    /// Adds what each feature of a row contributes. The contributions are the value of the row less
    /// [`CoverTree::mean`].
    pub fn contribute(&self, row: &[f32], scratch: &mut TreeScratch, sums: &mut [f64]) {
        match self.points {
            2 => self.walk::<2>(row, scratch, sums),
            4 => self.walk::<4>(row, scratch, sums),
            8 => self.walk::<8>(row, scratch, sums),
            16 => self.walk::<16>(row, scratch, sums),
            _ => self.walk::<POINTS_MAX>(row, scratch, sums),
        }
    }

    fn walk<const N: usize>(&self, row: &[f32], scratch: &mut TreeScratch, sums: &mut [f64]) {
        scratch.shares.resize(row.len(), PathShare::UNSPLIT);
        let mut walk = TreeWalk::<N> {
            tree: self,
            row,
            rule: QuadratureRule::new(),
            shares: &mut scratch.shares,
            sums,
        };
        walk.below(0, &[1.0; N]);
    }
}

/// Room for one row, used again for the next one.
#[derive(Default)]
pub struct TreeScratch {
    /// Of each feature, what the splits above say of it.
    shares: Vec<PathShare>,
}

/// What the splits on a path say of one feature.
#[derive(Clone, Copy, Debug, PartialEq)]
struct PathShare {
    /// 1 while the row meets their conditions, then 0.
    met: f64,
    /// The share of rows that meets them.
    rows: f64,
}

impl PathShare {
    const UNSPLIT: Self = Self {
        met: 1.0,
        rows: 1.0,
    };

    /// The factors of the integrand at all points.
    fn factors<const N: usize>(self, rule: &QuadratureRule<N>) -> [f64; N] {
        std::array::from_fn(|at| self.met * rule.at[at] + self.rows * rule.rest[at])
    }
}

/// A walk over all nodes of a tree, with so many points.
struct TreeWalk<'w, const N: usize> {
    tree: &'w CoverTree,
    row: &'w [f32],
    rule: QuadratureRule<N>,
    shares: &'w mut Vec<PathShare>,
    sums: &'w mut [f64],
}

impl<const N: usize> TreeWalk<'_, N> {
    /// Returns the sum over the leaves below a node: their values times the products of all factors of their paths.
    /// `products` are those of the path until the node. At most [`DEPTH_MAX`] calls are nested.
    fn below(&mut self, at: usize, products: &[f64; N]) -> [f64; N] {
        let node = &self.tree.nodes[at];
        let Some((feature, right, is_left)) = self.tree.branch(node, self.row) else {
            let value = match node {
                CoverNode::Leaf { value, .. } => f64::from(*value),
                _ => 0.0,
            };
            return products.map(|product| value * product);
        };

        let before = self.shares[feature];
        let without = before.factors(&self.rule).map(f64::recip);
        let mut all = [0.0; N];
        for (child, is_met) in [(at + 1, is_left), (right, !is_left)] {
            let share = self.tree.nodes[child].rows() / node.rows();
            let after = PathShare {
                met: if is_met { before.met } else { 0.0 },
                rows: before.rows * share,
            };
            let factors = after.factors(&self.rule);
            self.shares[feature] = after;
            let next = std::array::from_fn(|at| products[at] * without[at] * factors[at]);
            let found = self.below(child, &next);

            // What splits above said of the feature counts no longer for these leaves.
            let (mut gained, mut lost) = (0.0, 0.0);
            for at in 0..N {
                let weighted = self.rule.weight[at] * found[at];
                gained += weighted / factors[at];
                lost += weighted * without[at];
                all[at] += found[at];
            }
            self.sums[feature] +=
                (after.met - after.rows) * gained - (before.met - before.rows) * lost;
        }
        self.shares[feature] = before;
        all
    }
}
