//! Distances over time: one point for each base window. When there are too many points, neighbours
//! are merged. Bounded. Owns no clock.

use serde::Serialize;

/// Points kept; half of them go when there are as many.
const POINTS_MAX: usize = 512;

/// What a window came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Point {
    /// Seconds since 1970.
    pub time: u64,
    pub rows: u64,
    pub alarms: usize,
    /// Of each column: the distance of its cells (KS, or of words the largest
    /// difference), and PSI; none where there were too few rows.
    pub columns: Vec<Option<(f32, f32)>>,
    /// The accuracy that the scores say, or the mean absolute error of values.
    pub estimated: Option<f64>,
}

/// The points.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    points: Vec<Point>,
    /// One of so many windows is kept; 0 stands for each.
    every: u64,
    seen: u64,
}

impl History {
    /// Adds a window.
    pub(crate) fn add(&mut self, point: Point) {
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
    pub(crate) fn since(&self, time: u64) -> &[Point] {
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
            history.add(Point {
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
