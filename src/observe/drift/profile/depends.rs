//! Columns that vary with a column of the calendar, such as a score that depends on the hour: a window of
//! one hour is no sample of all hours. They are compared with the band that the hours span.

#[cfg(test)]
mod tests;

use super::cells_of;
use crate::observe::drift::baseline::BaselineColumn;
use crate::observe::drift::kind::order::chance_of_variance;
use crate::observe::drift::kind::{ColumnKind, VALUES_MIN, held_max_s};
use crate::observe::drift::series::ColumnSeries;

/// Most values of a calendar column by which rows are grouped.
const VALUES_MAX: usize = 64;
/// Fewest rows of a group.
const GROUP_ROWS_MIN: u64 = 30;

/// Finds the columns that vary with a calendar column of the same rows, and gives them a band. An output
/// always does: the model takes the calendar, and may have learned more of it than the means show.
pub(crate) fn find_dependent(
    columns: &mut [BaselineColumn],
    series: &[&ColumnSeries],
    is_output: impl Fn(usize) -> bool,
) {
    let is_calendar = |column: &&(usize, &BaselineColumn)| {
        let cells = column.1.counts().iter().filter(|n| **n > 0).count();
        column.1.kind == ColumnKind::Cyclic && column.1.band.is_empty() && cells <= VALUES_MAX
    };
    let calendar: Vec<(String, Vec<Option<usize>>)> = columns
        .iter()
        .enumerate()
        .collect::<Vec<_>>()
        .iter()
        .filter(is_calendar)
        .map(|(at, column)| (column.name.clone(), cells_of(&column.cells(), series[*at])))
        .collect();
    if calendar.is_empty() {
        return;
    }

    for (at, (column, series)) in columns.iter_mut().zip(series).enumerate() {
        if column.kind != ColumnKind::Stationary || series.rows() < VALUES_MIN {
            continue;
        }
        let rows = cells_of(&column.cells(), series);
        let (mut band, mut names) = (Vec::new(), Vec::new());
        for (name, groups) in &calendar {
            let counts = by_group(&rows, groups, column.counts().len());
            if !counts.is_empty() && (is_output(at) || varies(&counts, column)) {
                widen(&mut band, &counts, column);
                names.push(format!("'{name}'"));
            }
        }
        if !names.is_empty() {
            column.kind = ColumnKind::Cyclic;
            column.reason = format!("it varies with {}", names.join(" and "));
            column.band = band;
            column.held_max_s = held_max_s(ColumnKind::Cyclic, series);
        }
    }
}

/// Counts the cells of a column by those of another; groups of few rows are left out.
fn by_group(rows: &[Option<usize>], groups: &[Option<usize>], cells: usize) -> Vec<Vec<u64>> {
    let most = groups.iter().flatten().max().map_or(0, |most| most + 1);
    let mut counts = vec![vec![0; cells]; most];
    for (cell, group) in rows.iter().zip(groups) {
        if let (Some(cell), Some(group)) = (cell, group) {
            counts[*group][*cell] += 1;
        }
    }
    counts.retain(|group| group.iter().sum::<u64>() >= GROUP_ROWS_MIN);
    counts
}

/// Tells whether the mean rank differs from group to group by more than chance.
fn varies(groups: &[Vec<u64>], column: &BaselineColumn) -> bool {
    if groups.len() < 2 {
        return false;
    }
    let whole: u64 = groups.iter().flatten().sum();
    let mut below = 0;
    let scores: Vec<f64> = (0..groups[0].len())
        .map(|cell| {
            let rows: u64 = groups.iter().map(|group| group[cell]).sum();
            let middle = (below as f64 + rows as f64 / 2.0) / whole as f64;
            below += rows;
            middle
        })
        .collect();
    let mean_of = |group: &[u64]| {
        let rows: u64 = group.iter().sum();
        let sum: f64 = group.iter().zip(&scores).map(|(n, s)| *n as f64 * s).sum();
        (rows as f64, sum / rows.max(1) as f64)
    };

    let (mut between, mut within) = (0.0, 0.0);
    for group in groups {
        let (rows, mean) = mean_of(group);
        between += rows * (mean - 0.5).powi(2);
        within += group
            .iter()
            .zip(&scores)
            .map(|(n, s)| *n as f64 * (s - mean).powi(2))
            .sum::<f64>();
    }
    let freedom = groups.len() - 1;
    let rest = (whole as f64 - groups.len() as f64).max(1.0);
    let ratio = (between / freedom as f64) / (within / rest).max(f64::MIN_POSITIVE);
    ratio > chance_of_variance(freedom) * column.design_effect
}

/// Widens a band by the shares of each group.
fn widen(band: &mut Vec<(f64, f64)>, groups: &[Vec<u64>], column: &BaselineColumn) {
    let cells = column.cells();
    for group in groups {
        let found = cells.shares(group);
        band.resize(found.len(), (f64::INFINITY, f64::NEG_INFINITY));
        for (ends, share) in band.iter_mut().zip(found) {
            *ends = (ends.0.min(share), ends.1.max(share));
        }
    }
}
