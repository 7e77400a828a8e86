//! Builds the columns of a baseline from values: chooses edges and counts categories. Needs all
//! values of a column at once; the caller bounds their number.

pub(crate) mod depends;
#[cfg(test)]
mod tests;

use super::baseline::Cells;
use super::baseline::{
    BaselineColumn, NumberBaseline, OTHERS_MAX, ValueDistribution, WordBaseline,
};
use super::cells::{Edges, WORDS_MAX, cut};
use super::facts::{ColumnFacts, LearnedValues};
use super::kind::band::Groups;
use super::kind::order::block_effect;
use super::kind::{ColumnKind, find_kind};
use super::layout::ColumnValue;
use super::quantile::quantile;
use super::series::ColumnSeries;
use super::window::find;
use super::word_filter::WordFilter;
use depends::find_dependent;
use std::collections::{BTreeSet, HashMap};

/// Integers with at most this many different values are treated as categories.
pub(crate) const NAMES_MAX: usize = WORDS_MAX;

/// Whole numbers below this have neighbours in single precision that are whole too.
const CODE_MAX: f64 = (1 << 24) as f64;

/// Profiles the columns of the same rows, which are in their natural order.
pub(crate) fn profile_all(
    named: &[(&str, ColumnFacts<'_>)],
    series: &[&ColumnSeries],
    is_output: impl Fn(usize) -> bool,
) -> Vec<BaselineColumn> {
    let mut columns: Vec<BaselineColumn> = named
        .iter()
        .zip(series)
        .map(|((name, facts), series)| profile_known(name, series, *facts))
        .collect();
    find_dependent(&mut columns, series, is_output);
    columns
}

/// Profiles a column whose values are in their natural order.
pub(crate) fn profile(name: &str, series: &ColumnSeries) -> BaselineColumn {
    profile_known(name, series, ColumnFacts::default())
}

/// Profiles a column of rows of which more is known.
pub(crate) fn profile_known(
    name: &str,
    series: &ColumnSeries,
    facts: ColumnFacts<'_>,
) -> BaselineColumn {
    let (missing, values) = match series {
        ColumnSeries::Numbers(values) => numbers(values.clone()),
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

    let found = find_kind(name, series, facts);
    let mut column = BaselineColumn {
        name: name.to_owned(),
        missing,
        importance: None,
        design_effect: found.design_effect,
        missing_effect: missing_effect(series),
        kind: found.kind,
        reason: found.reason,
        band: Vec::new(),
        held_max_s: found.held_max_s,
        values,
    };

    if !found.groups.is_empty() {
        column.band = band(&column, series, &found.groups);
    }
    if let Some(learned) = facts.learned {
        allow(&mut column, learned);
    }
    column
}

/// Adds the values that the model learned to those that the contract allows: categories and codes, and the
/// range of a unit of the calendar. The range of other numbers stays that of the rows.
fn allow(column: &mut BaselineColumn, learned: &LearnedValues) {
    let is_calendar = column.kind == ColumnKind::Cyclic && column.band.is_empty();
    match (&mut column.values, learned) {
        (ValueDistribution::Words(listed), LearnedValues::Words(words)) => {
            allow_words(listed, words.iter().map(String::as_str));
        }
        (ValueDistribution::Words(listed), LearnedValues::Codes(codes)) => {
            let words: Vec<String> = codes.iter().map(ToString::to_string).collect();
            allow_words(listed, words.iter().map(String::as_str));
        }
        (ValueDistribution::Numbers(numbers), LearnedValues::Codes(codes)) => {
            let all: BTreeSet<i64> = numbers.codes.iter().chain(codes).copied().collect();
            let is_coded = !numbers.codes.is_empty() && all.len() <= NAMES_MAX;
            if is_coded || is_calendar {
                let ends = codes.first().zip(codes.last());
                numbers.learned = ends.map(|(least, most)| (*least as f64, *most as f64));
            }
            if is_coded {
                numbers.codes = all.into_iter().collect();
            }
        }
        (ValueDistribution::Numbers(_), LearnedValues::Words(_)) => {}
    }
}

/// Adds categories without rows, as far as there is room.
fn allow_words<'w>(listed: &mut WordBaseline, learned: impl Iterator<Item = &'w str>) {
    if listed.open {
        return;
    }
    let mut new: BTreeSet<&str> = learned.map(cut).collect();
    let counted = listed.words.iter().map(|(word, _)| word);
    for known in counted.chain(&listed.others) {
        new.remove(known.as_str());
    }
    let room = OTHERS_MAX.saturating_sub(listed.others.len());
    let new = new.into_iter().take(room).map(str::to_owned);
    listed.others.extend(new);
}

/// Returns the band that the groups span: of the shares up to each edge, or of each category.
fn band(column: &BaselineColumn, series: &ColumnSeries, groups: &Groups) -> Vec<(f64, f64)> {
    let cells = column.cells();
    let present: Vec<usize> = cells_of(&cells, series).into_iter().flatten().collect();
    groups.span(&present, cells.len(), |counts| cells.shares(counts))
}

/// Returns the cell of each row; none where the value is missing.
fn cells_of(cells: &Cells, series: &ColumnSeries) -> Vec<Option<usize>> {
    let of = |value: ColumnValue<'_>| find(cells, &value);
    match series {
        ColumnSeries::Numbers(values) => {
            values.iter().map(|v| of(ColumnValue::Number(*v))).collect()
        }
        ColumnSeries::Whole(values) => values.iter().map(|v| of(ColumnValue::Whole(*v))).collect(),
        ColumnSeries::Words(words) => words.iter().map(|w| of(ColumnValue::Word(w))).collect(),
    }
}

/// Returns how many times more the share of missing values varies from block to block than that of
/// independent rows.
fn missing_effect(series: &ColumnSeries) -> f64 {
    let flag = |is_missing: bool| f64::from(u8::from(is_missing));
    match series {
        ColumnSeries::Numbers(values) => {
            block_effect(&values.iter().map(|v| flag(v.is_nan())).collect::<Vec<_>>()).1
        }
        ColumnSeries::Words(words) => {
            block_effect(&words.iter().map(|w| flag(w.is_empty())).collect::<Vec<_>>()).1
        }
        ColumnSeries::Whole(_) => 1.0,
    }
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
    numbers(values.iter().map(|v| *v as f64).collect())
}

/// Profiles numbers. NaN counts as missing, and infinities lie beyond the edges.
fn numbers(mut values: Vec<f64>) -> (u64, ValueDistribution) {
    let all = values.len();
    values.retain(|v| !v.is_nan());
    let missing = (all - values.len()) as u64;
    values.sort_unstable_by(f64::total_cmp);
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    let edges = Edges::cut(&finite);
    let mut counts = vec![0; edges.cells()];
    values.iter().for_each(|v| counts[edges.cell(*v)] += 1);

    let mut sums = vec![(0.0, 0_u64); edges.cells()];
    for value in &finite {
        let sum = &mut sums[edges.cell(*value)];
        *sum = (sum.0 + value, sum.1 + 1);
    }
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
            means: sums
                .iter()
                .map(|(sum, rows)| sum / (*rows).max(1) as f64)
                .collect(),
            codes: codes(&finite),
            learned: None,
            mean,
            deviation,
            median,
            iqr,
        }),
    )
}

/// Returns the different values, if they are few whole numbers and may stand for categories.
fn codes(sorted: &[f64]) -> Vec<i64> {
    let mut found = Vec::new();
    for run in sorted.chunk_by(|a, b| a == b) {
        let is_code = run[0].fract() == 0.0 && run[0].abs() < CODE_MAX;
        if !is_code || found.len() == NAMES_MAX {
            return Vec::new();
        }
        found.push(run[0] as i64);
    }
    found
}

fn list<'w>(words: impl Iterator<Item = &'w str>) -> WordBaseline {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    words.for_each(|word| *counts.entry(cut(word)).or_default() += 1);
    let mut all: Vec<(&str, u64)> = counts.into_iter().collect();
    all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let rest = all.split_off(all.len().min(WORDS_MAX));
    let owned = |(word, count): (&str, u64)| (word.to_owned(), count);
    let singles = rest.iter().chain(&all).filter(|(_, n)| *n == 1).count() as u64;
    let open = rest.len() > OTHERS_MAX;
    WordBaseline {
        singles,
        filter: open.then(|| WordFilter::new(rest.iter().map(|(word, _)| *word)).text()),
        words: all.into_iter().map(owned).collect(),
        other_rows: rest.iter().map(|(_, n)| n).sum(),
        open,
        others: rest
            .iter()
            .take(OTHERS_MAX)
            .map(|(word, _)| (*word).to_owned())
            .collect(),
    }
}
