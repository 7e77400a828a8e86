//! Distances over time: one point for each base window. When there are too many points, neighbours
//! are merged. Bounded. Owns no clock.

use crate::observe::report::drift::WindowDrift;

/// Points kept; half of them go when there are as many.
const POINTS_MAX: usize = 512;

/// The points.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    points: Vec<WindowDrift>,
    /// One of so many windows is kept; 0 stands for each.
    every: u64,
    seen: u64,
}

impl History {
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

    /// The points since a time.
    pub(crate) fn since(&self, time: u64) -> &[WindowDrift] {
        &self.points[self.points.partition_point(|p| p.time < time)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_history_is_thinned_evenly() {
        let mut history = History::default();
        for time in 1..=10_000 {
            history.add(WindowDrift {
                time,
                rows: 1,
                alarms: 0,
                columns: Vec::new(),
                estimated: None,
            });
        }
        let times: Vec<u64> = history.since(0).iter().map(|p| p.time).collect();
        assert!(
            (POINTS_MAX / 2..POINTS_MAX).contains(&times.len()),
            "{}",
            times.len()
        );
        let steps: std::collections::BTreeSet<u64> =
            times.windows(2).map(|w| w[1] - w[0]).collect();
        assert_eq!(steps.len(), 1, "{steps:?}");
        assert!(
            history.since(9_900).iter().all(|p| p.time >= 9_900)
                && !history.since(9_900).is_empty()
        );
    }
}
