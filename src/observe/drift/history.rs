//! Distances over time: one point for each base window. When there are too many points, neighbours
//! are merged. Bounded. Owns no clock.

#[cfg(test)]
mod tests;

use crate::observe::report::drift::WindowDrift;
use serde::{Deserialize, Serialize};

/// Most points; every second one is dropped when they are as many.
const POINTS_MAX: usize = 512;

/// The points.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DriftHistory {
    points: Vec<WindowDrift>,
    /// One of `every` windows is kept; 0 stands for 1.
    every: u64,
    seen: u64,
}

impl DriftHistory {
    /// Adds a window.
    pub(crate) fn add(&mut self, point: WindowDrift) {
        self.seen += 1;
        if !self.seen.is_multiple_of(self.every.max(1)) {
            return;
        }
        self.points.push(point);
        if self.points.len() >= POINTS_MAX {
            let mut is_odd = false;
            self.points.retain(|_| {
                is_odd = !is_odd;
                !is_odd
            });
            self.every = self.every.max(1) * 2;
        }
    }

    /// Returns the points since a time.
    pub(crate) fn since(&self, time: u64) -> &[WindowDrift] {
        &self.points[self.points.partition_point(|p| p.time < time)..]
    }
}
