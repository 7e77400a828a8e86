//! The distances of a column's windows, and summaries of its values.

use super::{Reference, WatchedColumn};
use crate::observe::drift::alarm::{Against, Metric};
use crate::observe::drift::baseline::{BaselineColumn, Cells, NumberBaseline, ValueDistribution};
use crate::observe::drift::distance::{
    CellMeans, DriftMeasure, Sizes, beyond_band, js, ks, largest, psi, wasserstein,
};
use crate::observe::drift::kind::band::{shares_of, shares_up_to};
use crate::observe::drift::window::ColumnTally;
use crate::observe::report::column::{CategoryShare, ColumnSummary, ShareChange};

impl WatchedColumn {
    /// Measures a window; none where a metric has no meaning for the column.
    pub(super) fn measure(
        &self,
        metric: Metric,
        tally: &ColumnTally,
        reference: &Reference<'_>,
        sizes: Sizes,
    ) -> Option<DriftMeasure> {
        let window: Vec<u64> = tally.counts.iter().map(|n| u64::from(*n)).collect();
        let counts = reference.counts;
        if metric == Metric::Missing {
            let present = counts.iter().sum::<u64>();
            return Some(largest(
                &[tally.present(), tally.missing.into()],
                &[present, reference.missing],
                sizes,
            ));
        }
        if reference.against == Against::Band {
            return Some(beyond_band(
                &self.shares(&window),
                &self.baseline.band,
                sizes,
            ))
            .filter(|_| !self.baseline.band.is_empty());
        }

        Some(match (metric, &self.cells, &self.baseline.values) {
            (Metric::Ks, ..) => ks(&window, counts, sizes),
            (Metric::Wasserstein, Cells::Numbers(edges), ValueDistribution::Numbers(numbers)) => {
                let of = |counts, means| CellMeans { counts, means };
                wasserstein(
                    of(&window, &tally.means()),
                    of(counts, reference.means),
                    (edges.all(), scale(numbers)?),
                    sizes,
                )
            }
            (Metric::Psi, ..) => psi(&window, counts, sizes),
            (Metric::Js, ..) => js(&window, counts, sizes),
            _ => largest(&window, counts, sizes),
        })
    }

    /// Returns the shares that are compared with a band.
    fn shares(&self, counts: &[u64]) -> Vec<f64> {
        match self.cells {
            Cells::Numbers(_) => shares_up_to(counts),
            Cells::Words(_) => shares_of(counts),
        }
    }

    /// Returns the distance of a window that decides when an alarm ends.
    pub(super) fn main_distance(&self, tally: &ColumnTally) -> Option<(Metric, f64)> {
        if tally.present() == 0 {
            return None;
        }
        let metric = match self.cells {
            Cells::Numbers(_) => Metric::Ks,
            Cells::Words(_) => Metric::Largest,
        };
        let reference = Reference {
            against: self.reference(),
            span: 0,
            counts: &self.counts,
            means: &self.means,
            missing: self.baseline.missing,
            effect: 1.0,
        };
        let sizes = Sizes {
            window: 1.0,
            baseline: 1.0,
            alpha: 0.5,
        };
        let measured = self.measure(metric, tally, &reference, sizes)?;
        Some((metric, measured.value))
    }
}

/// Returns the unit of the Wasserstein distance: the interquartile range, or the standard deviation
/// where most values are the same; none for a constant.
fn scale(numbers: &NumberBaseline) -> Option<f64> {
    [numbers.iqr, numbers.deviation]
        .into_iter()
        .find(|unit| *unit > 0.0 && unit.is_finite())
}

/// Returns the mean of each cell. A baseline of format 1 has none: the middle of a cell stands for it.
pub(super) fn cell_means(baseline: &BaselineColumn) -> Vec<f64> {
    let ValueDistribution::Numbers(numbers) = &baseline.values else {
        return Vec::new();
    };
    if !numbers.means.is_empty() {
        return numbers.means.clone();
    }
    let edges = &numbers.edges;
    let (first, last) = (edges.first().copied(), edges.last().copied());
    let inner = edges.windows(2).map(|pair| f64::midpoint(pair[0], pair[1]));
    first.into_iter().chain(inner).chain(last).collect()
}

/// Describes counted values.
pub(super) fn summary(
    values: &ValueDistribution,
    (counts, means): (&[u64], &[f64]),
    missing: u64,
) -> ColumnSummary {
    let present: u64 = counts.iter().sum();
    let rows = present + missing;
    let share = |n: u64| n as f64 / rows.max(1) as f64;
    let mut summary = ColumnSummary {
        rows,
        missing: share(missing),
        mean: None,
        median: None,
        largest: None,
    };
    if present == 0 {
        return summary;
    }

    match values {
        ValueDistribution::Numbers(_) => {
            let sum: f64 = counts.iter().zip(means).map(|(n, m)| *n as f64 * m).sum();
            summary.mean = Some(sum / present as f64);
            let mut below = 0;
            let middle = counts.iter().position(|n| {
                below += n;
                below * 2 >= present
            });
            summary.median = middle.and_then(|cell| means.get(cell).copied());
        }
        ValueDistribution::Words(listed) => {
            let most = (0..counts.len()).max_by_key(|cell| counts[*cell]);
            summary.largest = most.map(|cell| {
                let name = listed.words.get(cell).map(|(word, _)| word.clone());
                let other = if cell == listed.words.len() {
                    "(other)"
                } else {
                    "(new)"
                };
                CategoryShare {
                    value: name.unwrap_or_else(|| other.to_owned()),
                    share: share(counts[cell]),
                }
            });
        }
    }
    summary
}

/// Returns the category whose share changed most.
pub(super) fn changed(
    values: &ValueDistribution,
    counts: &[u64],
    newest: &ColumnTally,
) -> Option<ShareChange> {
    let ValueDistribution::Words(listed) = values else {
        return None;
    };
    let (before, now) = (counts.iter().sum::<u64>(), newest.present());
    if before == 0 || now == 0 {
        return None;
    }
    let shares = |cell: usize| {
        let then = counts[cell] as f64 / before as f64;
        (then, f64::from(newest.counts[cell]) / now as f64)
    };
    let apart = |cell: &usize| {
        let (then, now) = shares(*cell);
        (now - then).abs()
    };
    let cell = (0..counts.len()).max_by(|a, b| apart(a).total_cmp(&apart(b)))?;
    let (then, now) = shares(cell);
    let value = listed.words.get(cell).map(|(word, _)| word.clone());
    let is_other = cell == listed.words.len();
    Some(ShareChange {
        value: value.unwrap_or_else(|| if is_other { "(other)" } else { "(new)" }.to_owned()),
        then,
        now,
    })
}
