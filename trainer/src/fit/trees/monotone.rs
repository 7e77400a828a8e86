//! Monotone features: a split whose sides are ordered the wrong way is not taken, and the value
//! in the middle of both sides bounds all leaves below them. So each tree, and their sum, moves with
//! the feature only one way. Missing values are not compared.

#[cfg(test)]
mod tests;

use super::histogram::Pair;
use crate::spec::objective::Direction;

/// The range of a leaf's value, before the learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LeafBounds {
    pub low: f64,
    pub high: f64,
}

impl LeafBounds {
    pub(super) const OPEN: Self = Self {
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
    };

    pub(super) fn are_open(&self) -> bool {
        *self == Self::OPEN
    }

    pub(super) fn clamp(&self, value: f64) -> f64 {
        value.max(self.low).min(self.high)
    }

    /// Returns the value with the lowest loss. Rows with a Hessian of 0 have the value 0.
    pub(super) fn value(&self, [gradient, hessian]: Pair, l2: f64) -> f64 {
        let best = if hessian + l2 > 0.0 {
            -gradient / (hessian + l2)
        } else {
            0.0
        };
        self.clamp(best)
    }

    /// Returns by how much that value lowers the loss, twice.
    pub(super) fn worth(&self, sums: Pair, l2: f64) -> f64 {
        let value = self.value(sums, l2);
        -(2.0 * sums[0] * value + (sums[1] + l2) * value * value)
    }

    /// Returns the bounds of the two sides of a split with these values.
    pub(super) fn split(&self, way: Direction, left: f64, right: f64) -> [Self; 2] {
        let middle = left / 2.0 + right / 2.0;
        let (below, above) = (
            Self {
                high: middle,
                ..*self
            },
            Self {
                low: middle,
                ..*self
            },
        );
        match way {
            Direction::Increasing => [below, above],
            Direction::Decreasing => [above, below],
        }
    }
}

impl Direction {
    /// Returns whether the values of the sides of a split may be in this order.
    pub(super) fn allows(self, left: f64, right: f64) -> bool {
        match self {
            Self::Increasing => left <= right,
            Self::Decreasing => left >= right,
        }
    }
}
