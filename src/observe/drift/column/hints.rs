//! Probable causes of drift that the values of a window show: one value in every row, or values in
//! another unit.

use super::{ROWS_MIN, WatchedColumn};
use crate::observe::drift::baseline::{Cells, ValueDistribution};
use crate::observe::drift::distance::ks_statistic;
use crate::observe::drift::kind::ColumnKind;
use crate::observe::drift::layout::Side;
use crate::observe::drift::quantile::quantile;
use crate::observe::report::drift::Hints;

/// Powers of ten that are tried as another unit.
const POWERS: std::ops::RangeInclusive<i32> = -9..=9;
/// Kolmogorov-Smirnov distance from the baseline up to which values in another unit fit it, beside
/// chance.
const FITS: f64 = 0.1;
/// A factor so much larger or smaller must not fit better: months in place of years are no power of ten.
const RIVAL: f64 = 1.2;
/// The distance that the values as they are must have for another unit to explain anything.
const UNFIT: f64 = 0.3;

/// Judges the values of a window; none if there are too few.
pub(super) fn find(column: &WatchedColumn, values: &[f64]) -> Option<Hints> {
    let ValueDistribution::Numbers(numbers) = &column.baseline.values else {
        return Some(Hints {
            constant: is_one_word(column)?,
            scale: None,
        });
    };
    if values.len() < ROWS_MIN as usize {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let is_one = sorted.first() == sorted.last() && numbers.deviation > 0.0;
    let is_calendar = column.kind == ColumnKind::Cyclic && !numbers.codes.is_empty();
    let may_be_one = is_calendar || column.kind == ColumnKind::Trending;
    let is_input = column.place.side == Side::Input;
    Some(Hints {
        constant: is_one && !may_be_one,
        scale: (is_input && !is_one)
            .then(|| scale(column, &sorted))
            .flatten(),
    })
}

/// Tells whether every row of the open window has one category, unlike in the baseline.
fn is_one_word(column: &WatchedColumn) -> Option<bool> {
    let rows = column.open.present();
    if rows < ROWS_MIN {
        return None;
    }
    let is_all = |n: &u32| u64::from(*n) == rows;
    let used = column.counts.iter().filter(|n| **n > 0).count();
    Some(column.kind == ColumnKind::Stationary && used > 1 && column.open.counts.iter().any(is_all))
}

/// Finds the power of ten by which the values must be divided to be distributed as in the baseline.
fn scale(column: &WatchedColumn, sorted: &[f64]) -> Option<f64> {
    let Cells::Numbers(edges) = &column.cells else {
        return None;
    };
    let middle = quantile(sorted, 0.5);
    if middle == 0.0 {
        return None;
    }
    let distance = |factor: f64| {
        let mut counts = vec![0_u64; edges.cells()];
        sorted
            .iter()
            .for_each(|v| counts[edges.cell(v / factor)] += 1);
        ks_statistic(&counts, &column.counts)
    };

    if distance(1.0) < UNFIT {
        return None;
    }
    let factors = POWERS.filter(|power| *power != 0).map(|p| 10.0_f64.powi(p));
    let (far, factor) = factors
        .map(|factor| (distance(factor), factor))
        .min_by(|a, b| a.0.total_cmp(&b.0))?;
    let chance = 1.36 / (sorted.len() as f64).sqrt();
    let rival = distance(factor * RIVAL).min(distance(factor / RIVAL));
    let is_best = far <= rival + chance / 2.0;
    (is_best && far <= FITS + chance).then_some(factor)
}
