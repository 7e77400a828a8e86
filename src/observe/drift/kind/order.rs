//! What the natural order of a column's values shows: a trend, a period, and how alike neighbouring
//! rows are. Works on rank scores, which heavy tails do not move.

use crate::observe::drift::series::ColumnSeries;
use std::collections::HashMap;

/// Rank correlation with the order of rows from which a column is trending.
pub(super) const TREND_MIN: f64 = 0.9;
/// Points of which a period is sought.
const POINTS_MAX: usize = 4_096;
/// The fewest repetitions of a period.
const CYCLES_MIN: usize = 3;
/// Longest period of rows that alternate, such as those of three machines in turn: windows hold whole
/// periods. Shorter than a week of days.
const ALTERNATING_MAX: usize = 6;
/// Autocorrelation from which a period counts.
const PERIOD_MIN: f64 = 0.3;
/// Most and fewest blocks by which the design effect is found, and the fewest rows of a block.
const BLOCKS: usize = 32;
const BLOCKS_MIN: usize = 8;
const BLOCK_ROWS_MIN: usize = 8;

/// The mid-ranks of the values that are there, from 0 to 1, in the order of rows.
pub(crate) struct RankScores {
    pub present: Vec<f32>,
    /// How many different values there are.
    pub distinct: usize,
}

/// Ranks the values of a column. Words are ranked by how frequent they are.
pub(crate) fn rank_scores(series: &ColumnSeries) -> RankScores {
    match series {
        ColumnSeries::Numbers(values) => rank_numbers(
            &values
                .iter()
                .copied()
                .filter(|v| !v.is_nan())
                .collect::<Vec<_>>(),
        ),
        ColumnSeries::Whole(values) => {
            rank_numbers(&values.iter().map(|v| *v as f64).collect::<Vec<_>>())
        }
        ColumnSeries::Words(words) => {
            let full: Vec<&str> = words
                .iter()
                .map(String::as_str)
                .filter(|word| !word.is_empty())
                .collect();
            let mut counts: HashMap<&str, usize> = HashMap::new();
            full.iter()
                .for_each(|word| *counts.entry(word).or_default() += 1);
            let mut listed: Vec<(&str, usize)> = counts.into_iter().collect();
            listed.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
            let places: HashMap<&str, f64> = listed
                .iter()
                .enumerate()
                .map(|(at, (word, _))| (*word, at as f64))
                .collect();
            rank_numbers(&full.iter().map(|word| places[word]).collect::<Vec<_>>())
        }
    }
}

fn rank_numbers(values: &[f64]) -> RankScores {
    let mut order: Vec<u32> = (0..u32::try_from(values.len()).unwrap_or(u32::MAX)).collect();
    order.sort_unstable_by(|a, b| values[*a as usize].total_cmp(&values[*b as usize]));
    let mut present = vec![0.0; order.len()];
    let (mut at, mut distinct) = (0, 0);
    for tied in order.chunk_by(|a, b| values[*a as usize] == values[*b as usize]) {
        let middle = (at as f64 + tied.len() as f64 / 2.0) / values.len() as f64;
        tied.iter()
            .for_each(|row| present[*row as usize] = middle as f32);
        at += tied.len();
        distinct += 1;
    }

    RankScores { present, distinct }
}

/// What the order shows.
pub(super) struct Order {
    /// Correlation of the ranks with the order of rows.
    pub trend: f64,
    /// Rows after which the column repeats.
    pub period: Option<usize>,
    /// Rows that carry as much information as one independent row.
    pub design_effect: f64,
    /// Whether larger blocks show a larger design effect, so that the whole baseline is too short to
    /// tell its size.
    pub grows: bool,
    /// How far the level of large blocks is from the mean, in standard deviations of the column; 0 if
    /// neighbouring rows or chance may explain it.
    pub level_spread: f64,
    rows: usize,
    /// Design effects by the size of blocks, smallest first.
    effects: Vec<(usize, f64)>,
}

impl Order {
    pub(super) fn of(scores: &[f32]) -> Self {
        let rows = scores.len();
        let values: Vec<f64> = scores.iter().map(|s| f64::from(*s)).collect();
        let trend = correlation(&values);
        let period = period(&values);

        let mut effects = Vec::new();
        let mut size = 8;
        while rows / size > BLOCKS * 2 {
            effects.push((size, design_effect(&values, size)));
            size *= 2;
        }
        let (large, at_large) = block_effect(&values);
        let at_small = if large >= 32 {
            design_effect(&values, large / 4)
        } else {
            1.0
        };

        Self {
            trend,
            period,
            design_effect: at_large,
            grows: at_large > 1.0 && at_large > 1.4 * at_small,
            level_spread: level_spread(rows, large, (at_small, at_large)),
            rows,
            effects,
        }
    }

    /// Returns the size of the smallest blocks that differ by more than chance: the finest parts of
    /// the baseline with which a short window of live rows is compared.
    pub(super) fn smallest_block(&self) -> usize {
        let differs = |(size, effect): &&(usize, f64)| {
            let blocks = (self.rows / size) as f64;
            *effect > 1.0 + 6.0 * (2.0 / blocks).sqrt() && *effect > 4.0
        };
        let found = self.effects.iter().find(differs).map(|(size, _)| *size);
        found.unwrap_or(self.rows / BLOCKS).max(1)
    }
}

/// Returns how far the level of blocks of `large` rows is from the mean, in standard deviations, from the
/// design effects of blocks of a quarter and of `large`. 0 if the difference of both may be chance.
fn level_spread(rows: usize, large: usize, (at_small, at_large): (f64, f64)) -> f64 {
    let blocks = rows / large.max(1);
    // The variance of the small blocks is an estimate too.
    let chance = 1.4 * chance_of_variance(blocks.max(2) - 1);
    if at_large <= at_small * chance {
        return 0.0;
    }
    ((at_large - at_small) / large as f64).sqrt()
}

/// Returns the size of the largest blocks of which there are enough, and their design effect; 1 if it
/// may be chance, or if there are too few rows to tell.
pub(crate) fn block_effect(values: &[f64]) -> (usize, f64) {
    let blocks = (values.len() / (2 * BLOCK_ROWS_MIN)).clamp(BLOCKS_MIN, BLOCKS);
    let size = values.len() / blocks;
    if size < BLOCK_ROWS_MIN {
        return (size, 1.0);
    }
    let found = design_effect(values, size);
    if found > chance_of_variance(blocks - 1) {
        (size, found.min(size as f64))
    } else {
        (size, 1.0)
    }
}

/// Returns the ratio of variances that so many degrees of freedom exceed once in a thousand cases: the
/// quantile of χ² by Wilson and Hilferty.
pub(crate) fn chance_of_variance(freedom: usize) -> f64 {
    let spread = 2.0 / (9.0 * freedom as f64);
    (1.0 - spread + 3.09 * spread.sqrt()).powi(3)
}

/// Returns how many times more the means of blocks of `size` rows vary than those of independent
/// rows.
fn design_effect(values: &[f64], size: usize) -> f64 {
    let means: Vec<f64> = values
        .chunks_exact(size)
        .map(|part| part.iter().sum::<f64>() / size as f64)
        .collect();
    let expected = variance(values) / size as f64;
    if expected > 0.0 && means.len() > 1 {
        variance(&means) / expected
    } else {
        1.0
    }
}

fn variance(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1).max(1) as f64
}

/// Returns the rank correlation of values with the order of rows.
pub(super) fn trend(values: &[f64]) -> f64 {
    let ranks = rank_numbers(values).present;
    correlation(&ranks.iter().map(|s| f64::from(*s)).collect::<Vec<_>>())
}

/// Returns the correlation of values with their indices.
fn correlation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let (mean, centre) = (values.iter().sum::<f64>() / n, (n - 1.0) / 2.0);
    let (mut both, mut of_values, mut of_rows) = (0.0, 0.0, 0.0);
    for (row, value) in values.iter().enumerate() {
        let (x, y) = (row as f64 - centre, value - mean);
        both += x * y;
        of_rows += x * x;
        of_values += y * y;
    }

    let scale = (of_rows * of_values).sqrt();
    if scale > 0.0 { both / scale } else { 0.0 }
}

/// Finds a period: short ones in the first rows, long ones in means of blocks.
fn period(values: &[f64]) -> Option<usize> {
    let head = &values[..values.len().min(POINTS_MAX)];
    if let Some(found) = period_of(head) {
        return Some(found);
    }

    let size = values.len() / (POINTS_MAX / 4);
    if size < 2 {
        return None;
    }
    let means: Vec<f64> = values
        .chunks_exact(size)
        .map(|part| part.iter().sum::<f64>() / size as f64)
        .collect();
    period_of(&means).map(|found| found * size)
}

/// Finds the first lag at which the values resemble themselves again, after a lag at which they did
/// not.
fn period_of(values: &[f64]) -> Option<usize> {
    let lags = values.len() / CYCLES_MIN;
    if lags < 4 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let centred: Vec<f64> = values.iter().map(|v| v - mean).collect();
    let power: f64 = centred.iter().map(|v| v * v).sum();
    if power <= 0.0 {
        return None;
    }

    let at = |lag: usize| {
        let sum: f64 = centred[lag..]
            .iter()
            .zip(&centred)
            .map(|(a, b)| a * b)
            .sum();
        sum / power * values.len() as f64 / (values.len() - lag) as f64
    };
    let found: Vec<f64> = (0..lags).map(at).collect();
    // Bartlett's variance of an autocorrelation by chance, of a series as sticky as this one.
    let valley = found.iter().position(|r| *r < 0.0)?;
    let sticky = 1.0 + 2.0 * found[1..valley].iter().map(|r| r * r).sum::<f64>();
    let chance = 5.0 * (sticky / values.len() as f64).sqrt();
    let peak = (valley..lags).max_by(|a, b| found[*a].total_cmp(&found[*b]))?;
    // The first of equal peaks is the period; the others are its multiples.
    let first = (valley..=peak).find(|lag| {
        let (before, after) = (found[lag.saturating_sub(1)], found.get(lag + 1).copied());
        found[*lag] >= 0.85 * found[peak]
            && found[*lag] >= before
            && after.is_none_or(|after| found[*lag] >= after)
    })?;
    let lowest = found[..first].iter().copied().fold(f64::INFINITY, f64::min);
    (first > ALTERNATING_MAX
        && found[first] > PERIOD_MIN.max(chance)
        && found[first] - lowest > PERIOD_MIN)
        .then_some(first)
}

/// Returns how alike the steps from row to row are on a circle: 1 if all are the same, near 0 for
/// rows in no order.
pub(super) fn circular_step(values: &[f64], length: f64) -> f64 {
    let (mut x, mut y, mut steps) = (0.0, 0.0, 0.0_f64);
    for pair in values.windows(2) {
        let (sin, cos) = ((pair[1] - pair[0]) / length * std::f64::consts::TAU).sin_cos();
        x += cos;
        y += sin;
        steps += 1.0;
    }
    (x.hypot(y)) / steps.max(1.0)
}
