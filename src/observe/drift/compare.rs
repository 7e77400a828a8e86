//! Compares the baseline that a version made of its own first rows with the one of another version of
//! the model: if the first rows were bad, bad rows became the norm. Says only what is certain. Pure.

#[cfg(test)]
mod tests;
pub mod training;

use super::baseline::{Baseline, BaselineColumn, NumberBaseline, ValueDistribution, WordBaseline};
use super::distance::{DriftMeasure, Sizes, largest};
use super::kind::ColumnKind;
use super::kind::band::shares_up_to;
use super::settings::MonitorSettings;
use crate::observe::report::chart::number;
use crate::observe::report::story::{grouped, percent};
use std::collections::BTreeMap;

/// Most differences that are told.
const TOLD_MAX: usize = 20;
/// Accepted probability that any difference is told by chance.
const FALSE: f64 = 1e-3;
/// Factor between typical values from which on the factor is told.
const FACTOR: f64 = 10.0;
/// Share of missing values from which on the column is told as missing anyway.
const MISSING_TOLD: f64 = 0.5;

/// Says in which columns a baseline is absurd, whatever came before.
pub(crate) fn absurdities(own: &Baseline) -> Vec<String> {
    let all = own.inputs.iter().chain(&own.outputs);
    let absurd = all.filter(|column| is_infinite(column));
    let sentence = |column: &BaselineColumn| {
        format!(
            "{} is infinite in all of the first rows that this version served",
            column.name
        )
    };
    absurd.take(TOLD_MAX).map(sentence).collect()
}

/// Tells whether a column has numbers and none of them is finite.
fn is_infinite(column: &BaselineColumn) -> bool {
    let ValueDistribution::Numbers(numbers) = &column.values else {
        return false;
    };
    let values: u64 = numbers.counts.iter().sum();
    let is_zero = numbers.mean == 0.0 && numbers.deviation == 0.0;
    values > 0 && is_zero && numbers.codes.is_empty()
}

/// Says how the columns of a version's own baseline differ from those of another version, for the
/// columns that both have.
pub(crate) fn differences(
    own: &Baseline,
    (before, version): (&Baseline, u64),
    settings: &MonitorSettings,
) -> Vec<String> {
    let sides = [
        (&own.inputs, &before.inputs),
        (&own.outputs, &before.outputs),
    ];
    let pairs: Vec<(&BaselineColumn, &BaselineColumn)> = sides
        .into_iter()
        .flat_map(|(own, before)| {
            let of = |column| Some((column, before.iter().find(|b| same_column(column, b))?));
            own.iter().filter_map(of)
        })
        .collect();
    let alpha = FALSE / pairs.len().max(1) as f64;
    let comparison = |(own, before)| ColumnComparison {
        own,
        before,
        version,
        alpha,
        settings,
    };
    let told = pairs.into_iter().map(comparison);
    told.filter_map(|comparison| comparison.sentence())
        .take(TOLD_MAX)
        .collect()
}

fn same_column(own: &BaselineColumn, before: &BaselineColumn) -> bool {
    own.name == before.name
}

/// One column in two baselines.
struct ColumnComparison<'c> {
    own: &'c BaselineColumn,
    before: &'c BaselineColumn,
    version: u64,
    alpha: f64,
    settings: &'c MonitorSettings,
}

impl ColumnComparison<'_> {
    fn sentence(&self) -> Option<String> {
        if is_infinite(self.own) {
            return None;
        }
        let of_values = match (&self.own.values, &self.before.values) {
            (ValueDistribution::Numbers(own), ValueDistribution::Numbers(before)) => {
                self.numbers(own, before)
            }
            (ValueDistribution::Words(own), ValueDistribution::Words(before)) => {
                self.words(own, before)
            }
            // Numbers and categories cannot be compared.
            _ => return None,
        };
        of_values.or_else(|| self.missing(|now, _| now < MISSING_TOLD))
    }

    /// Tells whether a difference is certain and beyond a threshold.
    fn is_certain(measured: DriftMeasure, threshold: f64) -> bool {
        measured.lower > threshold && measured.certain > threshold
    }

    /// Tells whether the rows of one baseline stand for those of another time.
    fn is_steady(&self) -> bool {
        let is = |column: &BaselineColumn| column.kind == ColumnKind::Stationary;
        is(self.own) && is(self.before)
    }

    fn sizes(&self, of: impl Fn(&BaselineColumn) -> (u64, f64)) -> Option<Sizes> {
        let rows = |column| {
            let (rows, effect) = of(column);
            (rows > 0).then(|| (rows as f64 / effect).max(1.0))
        };
        Some(Sizes {
            window: rows(self.own)?,
            baseline: rows(self.before)?,
            alpha: self.alpha,
        })
    }

    fn sizes_of_values(&self) -> Option<Sizes> {
        self.sizes(|column| (column.counts().iter().sum(), column.design_effect))
    }

    fn numbers(&self, own: &NumberBaseline, before: &NumberBaseline) -> Option<String> {
        let sizes = self.sizes_of_values()?;
        let apart = apart_at_least(own, before);
        let measured = DriftMeasure {
            value: apart,
            lower: apart - sizes.ks(),
            certain: apart - sizes.ks(),
        };
        if !Self::is_certain(measured, self.settings.ks) {
            return None;
        }

        let typical = format!(
            "(typical value {}, was {})",
            typical(own.median),
            typical(before.median)
        );
        let (name, version) = (&self.own.name, self.version);
        let factor = own.median / before.median;
        let is_factor =
            factor.is_finite() && (factor >= FACTOR || (factor > 0.0 && factor <= 1.0 / FACTOR));
        if is_factor {
            return Some(format!(
                "{name} is {} times what it was in version {version} {typical}",
                times(factor)
            ));
        }
        // A level that moves is another one at another time.
        self.is_steady()
            .then(|| format!("{name} has other values than in version {version} {typical}"))
    }

    fn words(&self, own: &WordBaseline, before: &WordBaseline) -> Option<String> {
        if !self.is_steady() {
            return None;
        }
        let sizes = self.sizes_of_values()?;
        let cells = by_name(own, before);
        let (now, then): (Vec<u64>, Vec<u64>) = cells.iter().map(|(_, counts)| *counts).unzip();
        let measured = largest(&now, &then, sizes);
        if !Self::is_certain(measured, self.settings.largest) {
            return None;
        }

        let (all_now, all_then) = (now.iter().sum::<u64>(), then.iter().sum::<u64>());
        let share = |n: u64, of: u64| n as f64 / of.max(1) as f64;
        let shares = |(now, then): (u64, u64)| (share(now, all_now), share(then, all_then));
        let apart = |counts| {
            let (now, then) = shares(counts);
            (now - then).abs()
        };
        let (word, counts) = cells
            .iter()
            .max_by(|a, b| apart(a.1).total_cmp(&apart(b.1)))?;
        let (now, then) = shares(*counts);
        Some(format!(
            "{} has another mix of values than in version {} ({} is {}, was {})",
            self.own.name,
            self.version,
            word.unwrap_or("(other)"),
            percent(now),
            percent(then)
        ))
    }

    /// Tells that another share of rows misses the value, which `is_told` judges by the share now and then.
    fn missing(&self, is_told: impl Fn(f64, f64) -> bool) -> Option<String> {
        let rows = |column: &BaselineColumn| column.counts().iter().sum::<u64>() + column.missing;
        let sizes = self.sizes(|column| (rows(column), column.missing_effect))?;
        let sides = |column: &BaselineColumn| [rows(column) - column.missing, column.missing];
        let measured = largest(&sides(self.own), &sides(self.before), sizes);
        let share = |column| column_missing(column, rows(column));
        let (now, then) = (share(self.own), share(self.before));
        let is_certain = Self::is_certain(measured, self.settings.missing);
        (is_certain && is_told(now, then)).then(|| {
            format!(
                "{} is missing in {} of the rows, in version {} it was in {}",
                self.own.name,
                percent(now),
                self.version,
                percent(then)
            )
        })
    }
}

fn column_missing(column: &BaselineColumn, rows: u64) -> f64 {
    column.missing as f64 / rows.max(1) as f64
}

/// Returns how far two distributions are apart at least, by the Kolmogorov-Smirnov distance. Where
/// their cells differ, the distribution function of one is known at an edge of the other only
/// between those of the neighbouring edges.
fn apart_at_least(own: &NumberBaseline, before: &NumberBaseline) -> f64 {
    let (own, before) = (Steps::of(own), Steps::of(before));
    own.beyond(&before).max(before.beyond(&own))
}

/// A distribution function at its edges.
struct Steps<'s> {
    edges: &'s [f64],
    up_to: Vec<f64>,
}

impl<'s> Steps<'s> {
    fn of(numbers: &'s NumberBaseline) -> Self {
        Self {
            up_to: shares_up_to(&numbers.counts),
            edges: &numbers.edges,
        }
    }

    /// Returns the least and the greatest that the function may be at a value.
    fn within(&self, value: f64) -> (f64, f64) {
        let below = self.edges.partition_point(|edge| *edge <= value);
        let low = below.checked_sub(1).map_or(0.0, |at| self.up_to[at]);
        let above = self.edges.partition_point(|edge| *edge < value);
        let high = self.up_to.get(above).copied().unwrap_or(1.0);
        (low, high)
    }

    /// Returns how far the function is outside what another one may be, at its own edges.
    fn beyond(&self, other: &Self) -> f64 {
        let at = |(edge, share): (&f64, &f64)| {
            let (low, high) = other.within(*edge);
            (low - share).max(share - high)
        };
        self.edges
            .iter()
            .zip(&self.up_to)
            .map(at)
            .fold(0.0, f64::max)
    }
}

/// Counts categories by name, in both baselines. A category whose count one of them does not have is
/// among the others in both.
fn by_name<'w>(
    own: &'w WordBaseline,
    before: &'w WordBaseline,
) -> Vec<(Option<&'w str>, (u64, u64))> {
    let counts = |of: &'w WordBaseline| -> BTreeMap<&'w str, u64> {
        of.words.iter().map(|(w, n)| (w.as_str(), *n)).collect()
    };
    let (now, then) = (counts(own), counts(before));
    let known = |counts: &BTreeMap<&str, u64>, of: &WordBaseline, word: &str| {
        let is_complete = of.other_rows == 0 && !of.open;
        counts.get(word).copied().or(is_complete.then_some(0))
    };
    let mut cells = Vec::new();
    let mut others = (own.other_rows, before.other_rows);
    let mut words: Vec<&str> = now.keys().chain(then.keys()).copied().collect();
    words.sort_unstable();
    words.dedup();
    for word in words {
        match (known(&now, own, word), known(&then, before, word)) {
            (Some(n), Some(m)) => cells.push((Some(word), (n, m))),
            (n, m) => {
                others.0 += n.unwrap_or(0);
                others.1 += m.unwrap_or(0);
            }
        }
    }
    cells.push((None, others));
    cells
}

/// Writes a factor with the digits that a person reads.
fn times(factor: f64) -> String {
    if factor < 1.0 {
        return number(factor);
    }
    let unit = 10.0_f64.powi(factor.log10().floor() as i32 - 1);
    // A power of ten within a few percent is a change of the unit.
    let power = 10.0_f64.powi(factor.log10().round() as i32);
    let near = if (factor / power - 1.0).abs() < 0.1 {
        power
    } else {
        (factor / unit).round() * unit
    };
    if near < 1e15 {
        grouped(near)
    } else {
        number(near)
    }
}

/// Writes a typical value.
fn typical(value: f64) -> String {
    let is_large = (1e3..1e15).contains(&value);
    if is_large {
        grouped(value)
    } else {
        number(value)
    }
}
