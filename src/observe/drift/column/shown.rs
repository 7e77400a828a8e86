//! What reports and the page show of a column: its histogram, its last distances, and summaries of its
//! values.

use super::{WatchedColumn, alarm, measure};
use crate::observe::drift::alarm::{Against, Metric};
use crate::observe::drift::baseline::ValueDistribution;
use crate::observe::report::column::{ColumnSummary, DriftTest, ShareChange};
use crate::observe::report::drift::ColumnHistogram;

/// Rows of which what is now is told, where there are as many: older ones may be of before a change.
const NOW_ROWS: u64 = 200;

impl WatchedColumn {
    /// Returns the distribution in the baseline and in the last windows.
    pub(crate) fn histogram(&self) -> ColumnHistogram {
        let (edges, words) = match &self.baseline.values {
            ValueDistribution::Numbers(numbers) => (numbers.edges.clone(), Vec::new()),
            ValueDistribution::Words(listed) => (
                Vec::new(),
                listed.words.iter().map(|(word, _)| word.clone()).collect(),
            ),
        };

        ColumnHistogram {
            name: self.place.name.clone(),
            side: self.place.side,
            importance: self.baseline.importance,
            edges,
            words,
            before: self.counts.clone(),
            before_missing: self.baseline.missing,
            now: self.recent.counts.iter().map(|n| u64::from(*n)).collect(),
            now_missing: self.recent.missing.into(),
        }
    }

    /// Returns the distances of the last base window: KS (or that of the category that changed most),
    /// and PSI. A column without such a test has none.
    pub(crate) fn distance(&self) -> Option<(f32, f32)> {
        let of = |metric| {
            [Against::Training, Against::Band]
                .iter()
                .find_map(|against| self.tests.get(&(*against, alarm::SPANS[0], metric)))
                .map(|(_, r)| r.value as f32)
        };
        let first = of(Metric::Ks)
            .or(of(Metric::Largest))
            .or(of(Metric::Missing))?;

        Some((first, of(Metric::Psi).unwrap_or(0.0)))
    }

    /// Returns the rows of the last windows.
    pub(crate) fn recent_rows(&self) -> u64 {
        self.spans.newest().map_or(0, |newest| newest.rows())
    }

    /// Returns how near to an alarm its tests are: the lower bound of a distance in thresholds.
    pub(crate) fn nearest(&self) -> f64 {
        let one = |test: &DriftTest| test.lower / test.threshold.max(f64::MIN_POSITIVE);
        self.test_results().map(one).fold(0.0, f64::max)
    }

    /// Describes the values of the baseline and of the last rows.
    pub(crate) fn summaries(&self) -> (ColumnSummary, Option<ColumnSummary>) {
        let mut then = measure::summary(
            &self.baseline.values,
            (&self.counts, &self.means),
            self.baseline.missing,
        );
        if let ValueDistribution::Numbers(numbers) = &self.baseline.values
            && then.median.is_some()
        {
            then.median = Some(numbers.median);
        }
        let now = self.spans.latest(&self.open, NOW_ROWS);
        let now = now.map(|newest| {
            let counts: Vec<u64> = newest.counts.iter().map(|n| u64::from(*n)).collect();
            measure::summary(
                &self.baseline.values,
                (&counts, &newest.means()),
                newest.missing.into(),
            )
        });
        (then, now)
    }

    /// Returns the category whose share changed most, of a column of categories.
    pub(crate) fn changed(&self) -> Option<ShareChange> {
        let latest = self.spans.latest(&self.open, NOW_ROWS)?;
        measure::changed(&self.baseline.values, &self.counts, &latest)
    }
}
