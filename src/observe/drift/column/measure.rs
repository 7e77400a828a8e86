//! The distances of a column's windows, and summaries of its values.

#[cfg(test)]
mod tests;

use super::{Reference, WatchedColumn};
use crate::observe::drift::alarm::{Against, Metric};
use crate::observe::drift::baseline::{
    BaselineColumn, Cells, NumberBaseline, ValueDistribution, WordBaseline,
};
use crate::observe::drift::cells::tolerance;
use crate::observe::drift::distance::{
    CellMeans, DriftMeasure, Sizes, beyond_band, js, ks, largest, psi, wasserstein,
};
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
                &self.cells.shares(&window),
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
        ValueDistribution::Numbers(numbers) => {
            let sum: f64 = counts.iter().zip(means).map(|(n, m)| *n as f64 * m).sum();
            summary.mean = Some(sum / present as f64);
            summary.median = median(numbers, (counts, means));
        }
        ValueDistribution::Words(listed) => {
            let most = (0..counts.len()).max_by_key(|cell| counts[*cell]);
            summary.largest = most.map(|cell| CategoryShare {
                value: cell_name(listed, cell),
                share: share(counts[cell]),
            });
        }
    }
    summary
}

/// Returns about the median of counted numbers: within the cell that holds it, values count as spread
/// evenly, but for cells of single values and those beyond the edges, whose mean it is.
fn median(numbers: &NumberBaseline, (counts, means): (&[u64], &[f64])) -> Option<f64> {
    let half = counts.iter().sum::<u64>() as f64 / 2.0;
    let mut below = 0.0;
    let cell = counts.iter().position(|n| {
        let holds = below + *n as f64 >= half;
        below += if holds { 0.0 } else { *n as f64 };
        holds
    })?;
    let mean = means.get(cell).copied()?;
    let low = cell.checked_sub(1).and_then(|at| numbers.edges.get(at));
    let (Some(low), Some(high)) = (low, numbers.edges.get(cell)) else {
        return Some(mean);
    };
    let span = numbers.edges.last()? - numbers.edges.first()?;
    let is_single = high - low <= 4.0 * tolerance(*high, span);
    if is_single || !numbers.codes.is_empty() {
        return Some(mean);
    }
    let share = (half - below) / counts[cell].max(1) as f64;
    Some(low + (high - low) * share)
}

/// Change of a share from which on it is told whatever it was before.
const SHARE_MIN: f64 = 0.03;

/// Returns the category whose share changed most; of small changes the one that adds most to the
/// population stability index.
pub(super) fn changed(
    values: &ValueDistribution,
    counts: &[u64],
    newest: &ColumnTally,
) -> Option<ShareChange> {
    let ValueDistribution::Words(listed) = values else {
        return None;
    };
    let (before, now_rows) = (counts.iter().sum::<u64>(), newest.present());
    if before == 0 || now_rows == 0 {
        return None;
    }
    let shares = |cell: usize| {
        let then = counts[cell] as f64 / before as f64;
        (then, f64::from(newest.counts[cell]) / now_rows as f64)
    };
    let apart = |cell: &usize| {
        let (then, now) = shares(*cell);
        (now - then).abs()
    };
    // A rare category may be many times as frequent as before, and be the reason of an alarm, though
    // the share of another moves more by chance.
    let weight = |cell: &usize| {
        let (then, now) = shares(*cell);
        let half = 0.5 / (before.min(now_rows) as f64);
        (now - then) * ((now + half) / (then + half)).ln()
    };
    let cells = || 0..counts.len();
    let most = cells().max_by(|a, b| apart(a).total_cmp(&apart(b)))?;
    let cell = if apart(&most) >= SHARE_MIN {
        most
    } else {
        cells().max_by(|a, b| weight(a).total_cmp(&weight(b)))?
    };
    let (then, now) = shares(cell);
    Some(ShareChange {
        value: cell_name(listed, cell),
        then,
        now,
    })
}

/// Names a cell of categories.
fn cell_name(listed: &WordBaseline, cell: usize) -> String {
    let unlisted = || {
        if cell == listed.words.len() {
            "(other)"
        } else {
            "(new)"
        }
    };
    let listed = listed.words.get(cell).map(|(word, _)| word.as_str());
    listed.unwrap_or_else(unlisted).to_owned()
}
