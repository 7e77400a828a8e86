//! Numeric inputs together: which combinations of them hardly vary in a baseline (the last principal
//! components), and how far a row is from that. It shows rows whose columns no longer fit together
//! though each alone looks as before. Pure.

mod components;
#[cfg(test)]
mod tests;

use super::quantile::quantile;
use super::series::ColumnSeries;
use components::principal_components;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Name of the column of distances in reports, alarms and settings.
pub(crate) const MULTIVARIATE: &str = "multivariate";
/// Most columns that are looked at together.
pub(crate) const COLUMNS_MAX: usize = 64;
/// Fewest rows of a baseline, also for each column, and most rows from which the components are found.
const ROWS_MIN: usize = 200;
const COLUMN_ROWS_MIN: usize = 50;
const ROWS_MAX: usize = 20_000;
/// Share of the variance of the first components, which are left out: they show how the columns vary,
/// the others how they fit together.
const VARIANCE: f64 = 0.65;
/// Fewer rows for each column fit their own components closer than other rows do: the distances of a part are taken from
/// the components of the other parts.
const COLUMN_ROWS: usize = 200;
const PARTS: usize = 10;
/// Least variance of a component.
const VARIANCE_MIN: f64 = 0.01;
/// Most deviations by which a value counts.
const CLIP: f64 = 5.0;
/// Interquartile range of a normal distribution, in deviations.
const NORMAL_IQR: f64 = 1.349;

/// The last principal components of numeric columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Projection {
    /// Columns of the inputs.
    pub columns: Vec<ProjectedColumn>,
    /// Directions, a number for each column, divided by the deviation of the rows along them.
    pub components: Vec<Vec<f64>>,
    /// Correlations of the scaled columns: of the second with the first, of the third with the first and
    /// the second, and so on.
    pub correlations: Vec<Vec<f32>>,
}

/// How the values of a column are scaled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectedColumn {
    /// Name of the column.
    pub name: String,
    /// Median, which stands for missing values too.
    pub center: f64,
    /// Deviation: of a normal distribution with the same interquartile range, or of the values where
    /// that is 0.
    pub scale: f64,
}

impl Projection {
    /// Finds the components of columns of the same rows. None with fewer than two columns that vary, or
    /// with few rows.
    pub(crate) fn fit(columns: &[(&str, &ColumnSeries)]) -> Option<Self> {
        let rows = columns.first().map_or(0, |(_, series)| series.rows());
        if rows < ROWS_MIN {
            return None;
        }
        // Of more columns, those at equal distances.
        let most = COLUMNS_MAX.min(rows / COLUMN_ROWS_MIN);
        let step = columns.len().div_ceil(most).max(1);
        let (kept, used): (Vec<ProjectedColumn>, Vec<&ColumnSeries>) = columns
            .iter()
            .step_by(step)
            .filter_map(|(name, series)| Some((scale(name, series)?, *series)))
            .unzip();
        if kept.len() < 2 {
            return None;
        }

        let mut projection = Self {
            columns: kept,
            components: Vec::new(),
            correlations: Vec::new(),
        };
        let covariance = projection.covariance(&used, (0..rows).step_by(rows.div_ceil(ROWS_MAX)));
        projection.correlations = correlations(&covariance);
        let all = principal_components(covariance);
        projection.components = last_components(&all, count_of_last(&all));
        Some(projection)
    }

    /// Says what is wrong with a projection that was read.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let width = self.columns.len();
        if !(2..=COLUMNS_MAX).contains(&width) {
            return Err("must have 2 to 64 columns");
        }
        let is_scale =
            |c: &ProjectedColumn| c.center.is_finite() && c.scale.is_finite() && c.scale > 0.0;
        if !self.columns.iter().all(is_scale) {
            return Err("has a center or scale that is not a finite number");
        }
        let is_component = |c: &Vec<f64>| c.len() == width && c.iter().all(|v| v.is_finite());
        if self.components.is_empty()
            || self.components.len() > width
            || !self.components.iter().all(is_component)
        {
            return Err("must have components with a finite number for each column");
        }
        let is_row = |(i, row): (usize, &Vec<f32>)| {
            row.len() == i + 1 && row.iter().all(|v| (-1.001..=1.001).contains(v))
        };
        if self.correlations.len() + 1 != width || !self.correlations.iter().enumerate().all(is_row)
        {
            return Err("must have a correlation from -1 to 1 for each two columns");
        }
        Ok(())
    }

    /// Returns the distance of each row of the columns that it was fitted to, as that of another row would be.
    pub(crate) fn distances(&self, columns: &[&ColumnSeries]) -> Vec<f64> {
        let rows = columns.first().map_or(0, |series| series.rows());
        if rows >= COLUMN_ROWS * self.columns.len() {
            return self.distances_of(columns, 0..rows);
        }
        let size = rows.div_ceil(PARTS).max(1);
        let parts = (0..rows).step_by(size);
        parts
            .flat_map(|from| {
                let part = from..(from + size).min(rows);
                let others = (0..part.start).chain(part.end..rows);
                let all = principal_components(self.covariance(columns, others));
                let apart = Self {
                    components: last_components(&all, self.components.len()),
                    ..self.clone()
                };
                apart.distances_of(columns, part)
            })
            .collect()
    }

    fn distances_of(&self, columns: &[&ColumnSeries], rows: Range<usize>) -> Vec<f64> {
        let mut scaled = vec![0.0; self.columns.len()];
        rows.map(|row| {
            self.scale_row(columns, row, &mut scaled);
            self.distance(&scaled)
        })
        .collect()
    }

    fn scale_row(&self, columns: &[&ColumnSeries], row: usize, scaled: &mut [f64]) {
        for ((slot, column), series) in scaled.iter_mut().zip(&self.columns).zip(columns) {
            *slot = column.scaled(series.number(row));
        }
    }

    /// Returns how far a row is from what the baseline's rows have in common, in deviations. `scaled` has
    /// a value for each column.
    pub(crate) fn distance(&self, scaled: &[f64]) -> f64 {
        let along = |component: &Vec<f64>| {
            let sum: f64 = component.iter().zip(scaled).map(|(a, b)| a * b).sum();
            sum * sum
        };
        self.components.iter().map(along).sum::<f64>().sqrt()
    }

    /// Returns the covariance of the scaled columns, of some rows.
    fn covariance(
        &self,
        columns: &[&ColumnSeries],
        rows: impl Iterator<Item = usize>,
    ) -> Vec<Vec<f64>> {
        let mut sums = RowSums::new(self.columns.len());
        let mut scaled = vec![0.0; self.columns.len()];
        for row in rows {
            self.scale_row(columns, row, &mut scaled);
            sums.take(&scaled);
        }
        sums.covariance()
    }

    /// Finds the two columns whose correlation in some scaled rows differs most from that of the baseline:
    /// their numbers, then and now.
    pub(crate) fn changed_pair<'r>(
        &self,
        scaled_rows: impl Iterator<Item = &'r [f64]>,
    ) -> Option<(usize, usize, f64, f64)> {
        let mut sums = RowSums::new(self.columns.len());
        scaled_rows.for_each(|row| sums.take(row));
        let now = correlations(&sums.covariance());
        let pairs = (1..self.columns.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        let of = |(i, j): (usize, usize)| {
            let then = self.correlations.get(i - 1)?.get(j)?;
            Some((j, i, f64::from(*then), f64::from(now[i - 1][j])))
        };
        let change = |(_, _, then, now): &(usize, usize, f64, f64)| (now - then).abs();
        pairs
            .filter_map(of)
            .max_by(|a, b| change(a).total_cmp(&change(b)))
    }
}

impl ProjectedColumn {
    /// Scales a value. A missing one is as the median.
    pub(crate) fn scaled(&self, value: f64) -> f64 {
        if value.is_nan() {
            return 0.0;
        }
        ((value - self.center) / self.scale).clamp(-CLIP, CLIP)
    }
}

/// Sums over rows from which their covariance follows.
struct RowSums {
    rows: f64,
    sums: Vec<f64>,
    /// Of the products of a column with those up to itself.
    products: Vec<Vec<f64>>,
}

impl RowSums {
    fn new(width: usize) -> Self {
        Self {
            rows: 0.0,
            sums: vec![0.0; width],
            products: (0..width).map(|i| vec![0.0; i + 1]).collect(),
        }
    }

    fn take(&mut self, row: &[f64]) {
        self.rows += 1.0;
        for (i, value) in row.iter().enumerate() {
            self.sums[i] += value;
            let products = self.products[i].iter_mut();
            products
                .zip(row)
                .for_each(|(sum, other)| *sum += value * other);
        }
    }

    fn covariance(&self) -> Vec<Vec<f64>> {
        let width = self.sums.len();
        let mean = |at: usize| self.sums[at] / self.rows.max(1.0);
        let of = |i: usize, j: usize| {
            let product = self.products[i.max(j)][i.min(j)] / self.rows.max(1.0);
            product - mean(i) * mean(j)
        };
        (0..width)
            .map(|i| (0..width).map(|j| of(i, j)).collect())
            .collect()
    }
}

/// Returns the correlations below the diagonal; 0 where a column does not vary.
fn correlations(covariance: &[Vec<f64>]) -> Vec<Vec<f32>> {
    let of = |i: usize, j: usize| {
        let scale = (covariance[i][i] * covariance[j][j]).sqrt();
        let correlation = if scale > 0.0 {
            covariance[i][j] / scale
        } else {
            0.0
        };
        // Three digits are enough to tell a change, and keep the file small.
        ((correlation * 1e3).round() / 1e3) as f32
    };
    (1..covariance.len())
        .map(|i| (0..i).map(|j| of(i, j)).collect())
        .collect()
}

/// Finds the scale of a column; none for words, and for a column that does not vary.
fn scale(name: &str, series: &ColumnSeries) -> Option<ProjectedColumn> {
    if matches!(series, ColumnSeries::Words(_)) {
        return None;
    }
    let step = series.rows().div_ceil(ROWS_MAX).max(1);
    let mut values: Vec<f64> = (0..series.rows())
        .step_by(step)
        .map(|row| series.number(row))
        .filter(|v| v.is_finite())
        .collect();
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    let iqr = quantile(&values, 0.75) - quantile(&values, 0.25);
    let scale = if iqr > 0.0 {
        iqr / NORMAL_IQR
    } else {
        deviation
    };
    (scale.is_finite() && scale > 0.0).then(|| ProjectedColumn {
        name: name.to_owned(),
        center: quantile(&values, 0.5),
        scale,
    })
}

/// Counts the components after those that have most of the variance.
fn count_of_last(all: &[(f64, Vec<f64>)]) -> usize {
    let whole: f64 = all.iter().map(|(variance, _)| variance.max(0.0)).sum();
    let mut first = 0.0;
    let mut left_out = 0;
    while left_out + 1 < all.len() && first < VARIANCE * whole {
        first += all[left_out].0.max(0.0);
        left_out += 1;
    }
    all.len() - left_out
}

/// Returns so many of the last components, each divided by the deviation along it.
fn last_components(all: &[(f64, Vec<f64>)], count: usize) -> Vec<Vec<f64>> {
    let weighted = |(variance, component): &(f64, Vec<f64>)| {
        let deviation = variance.max(VARIANCE_MIN).sqrt();
        component.iter().map(|v| v / deviation).collect()
    };
    all[all.len() - count..].iter().map(weighted).collect()
}
