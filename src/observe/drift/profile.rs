//! Builds the columns of a baseline from values: chooses edges and counts categories. Needs all
//! values of a column at once; the caller bounds their number.

#[cfg(test)]
mod tests;

use super::baseline::{
    BaselineColumn, NumberBaseline, OTHERS_MAX, ValueDistribution, WordBaseline,
};
use super::cells::{Edges, WORDS_MAX, cut};
use std::collections::HashMap;

/// Integers with at most this many different values are treated as categories.
pub(crate) const NAMES_MAX: usize = WORDS_MAX;

/// The values of a column.
#[derive(Clone, Debug)]
pub(crate) enum ColumnSeries {
    Numbers {
        values: Vec<f64>,
        /// Whether the model holds them in single precision, else in double.
        single: bool,
    },
    /// Integers, which may stand for categories such as classes and flags.
    Whole(Vec<i64>),
    Words(Vec<String>),
}

/// Profiles a column.
pub(crate) fn profile(name: &str, series: &ColumnSeries) -> BaselineColumn {
    let (missing, values) = match series {
        ColumnSeries::Numbers { values, single } => numbers(
            values.clone(),
            if *single {
                below_single
            } else {
                f64::next_down
            },
        ),
        ColumnSeries::Whole(values) => profile_integers(values),
        ColumnSeries::Words(words) => {
            let (empty, full): (Vec<&String>, Vec<&String>) =
                words.iter().partition(|w| w.is_empty());
            (
                empty.len() as u64,
                ValueDistribution::Words(list(full.into_iter().map(String::as_str))),
            )
        }
    };

    let design_effect = match series {
        ColumnSeries::Numbers { values, .. } => design_effect(values),
        ColumnSeries::Whole(values) => {
            design_effect(&values.iter().map(|v| *v as f64).collect::<Vec<_>>())
        }
        ColumnSeries::Words(_) => 1.0,
    };

    BaselineColumn {
        name: name.to_owned(),
        missing,
        importance: None,
        design_effect,
        values,
    }
}

/// Returns the next smaller number in single precision.
fn below_single(value: f64) -> f64 {
    f64::from((value as f32).next_down())
}

fn profile_integers(values: &[i64]) -> (u64, ValueDistribution) {
    let mut distinct: Vec<i64> = values.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() <= NAMES_MAX {
        let words: Vec<String> = values.iter().map(ToString::to_string).collect();
        return (
            0,
            ValueDistribution::Words(list(words.iter().map(String::as_str))),
        );
    }
    numbers(values.iter().map(|v| *v as f64).collect(), f64::next_down)
}

/// Profiles numbers. NaN counts as missing, and infinities lie beyond the edges.
fn numbers(mut values: Vec<f64>, below: fn(f64) -> f64) -> (u64, ValueDistribution) {
    let all = values.len();
    values.retain(|v| !v.is_nan());
    let missing = (all - values.len()) as u64;
    values.sort_unstable_by(f64::total_cmp);
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let edges = Edges::cut(&finite, below);
    let mut counts = vec![0; edges.cells()];
    values.iter().for_each(|v| counts[edges.cell(*v)] += 1);
    let n = finite.len().max(1) as f64;
    let mean = finite.iter().sum::<f64>() / n;
    let deviation = (finite.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
    let (median, iqr) = (
        quantile(&finite, 0.5),
        quantile(&finite, 0.75) - quantile(&finite, 0.25),
    );
    (
        missing,
        ValueDistribution::Numbers(NumberBaseline {
            edges: edges.all().to_vec(),
            counts,
            mean,
            deviation,
            median,
            iqr,
        }),
    )
}

/// Returns a quantile of sorted values by linear interpolation; 0 if there are none.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    let at = share * last as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

fn list<'w>(words: impl Iterator<Item = &'w str>) -> WordBaseline {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    words.for_each(|word| *counts.entry(cut(word)).or_default() += 1);
    let mut all: Vec<(&str, u64)> = counts.into_iter().collect();
    all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let rest = all.split_off(all.len().min(WORDS_MAX));
    let owned = |(word, count): (&str, u64)| (word.to_owned(), count);
    WordBaseline {
        words: all.into_iter().map(owned).collect(),
        other_rows: rest.iter().map(|(_, n)| n).sum(),
        open: rest.len() > OTHERS_MAX,
        others: rest
            .iter()
            .take(OTHERS_MAX)
            .map(|(word, _)| (*word).to_owned())
            .collect(),
    }
}

/// Returns the design effect: by how much more the means of blocks of rows vary than those of
/// independent rows. 1 if they do not, or if there are too few rows to tell.
fn design_effect(values: &[f64]) -> f64 {
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let blocks = 32;
    let size = finite.len() / blocks;
    if size < 16 {
        return 1.0;
    }
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let variance = |part: &[f64]| {
        let m = mean(part);
        part.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (part.len() - 1) as f64
    };
    let means: Vec<f64> = finite.chunks_exact(size).take(blocks).map(mean).collect();
    let expected = variance(&finite) / size as f64;
    let ratio = if expected > 0.0 {
        variance(&means) / expected
    } else {
        1.0
    };

    // A ratio that 32 blocks reach by chance counts as no effect.
    if ratio > CHANCE {
        ratio.min(size as f64)
    } else {
        1.0
    }
}

/// The ratio of variances that 31 degrees of freedom exceed once in a thousand cases.
const CHANCE: f64 = 1.98;
