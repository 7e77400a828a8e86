//! Compares the rows of a training run with those of the champion's, by their baselines: rows that are
//! wrong, as of another unit or without a column, would make the fault what monitoring takes for normal.
//! Tells differences that are certain, and which of them look like a fault. Pure.

#[cfg(test)]
mod tests;

use super::super::baseline::part::BaselinePart;
use super::super::baseline::{
    Baseline, BaselineColumn, NumberBaseline, ValueDistribution, WordBaseline,
};
use super::super::settings::MonitorSettings;
use super::{
    ColumnComparison, FACTOR, FALSE, TOLD_MAX, apart_at_least, by_name, column_missing,
    is_infinite, percent, times, typical,
};
use crate::observe::report::column::SlicePart;
use serde::{Deserialize, Serialize};

/// Distance from which on values are of another unit, unless a factor explains it.
const UNFIT: f64 = 0.3;
/// Distance up to which a factor explains how values differ.
const FITS: f64 = 0.1;
/// How far a measured factor may be from the true one.
const NEAR: f64 = 0.1;
/// Share of rows with unknown categories from which on a column is likely to be coded otherwise.
const RECODED: f64 = 0.5;

/// A difference between the rows of two training runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowsDifference {
    /// Whether it looks like a fault of the rows.
    pub is_suspect: bool,
    /// What differs, in one sentence without a full stop.
    pub text: String,
}

impl RowsDifference {
    fn plain(text: String) -> Self {
        Self {
            is_suspect: false,
            text,
        }
    }

    fn suspect(text: String) -> Self {
        Self {
            is_suspect: true,
            text,
        }
    }
}

/// Says how the rows of a run differ from those of another version: column by column, and in parts of
/// the rows where all rows show nothing, or no fault. What looks like a fault comes first.
pub fn rows_differences(
    own: &Baseline,
    (before, version): (&Baseline, u64),
) -> Vec<RowsDifference> {
    let settings = MonitorSettings::default();
    let parts = same_parts(own, before);
    let columns = parts.iter().map(|(own, _)| own.inputs.len());
    let pairs = own.inputs.len() + own.outputs.len() + columns.sum::<usize>();
    let comparing = Comparing {
        version,
        alpha: FALSE / pairs.max(1) as f64,
        settings: &settings,
    };

    let mut told = comparing.columns(&own.inputs, &before.inputs);
    told.extend(comparing.answers(&own.outputs, &before.outputs));
    let whole = told.clone();
    for (own, before) in parts {
        let of_part = comparing.columns(&named(own), &named(before));
        let is_new = |(name, part): &Told| {
            let is_told = |(column, whole): &Told| {
                let is_same = name.starts_with(&format!("{column} where "));
                is_same && (whole.is_suspect || !part.is_suspect)
            };
            !whole.iter().any(is_told)
        };
        told.extend(of_part.into_iter().filter(is_new));
    }

    let mut told: Vec<RowsDifference> = told.into_iter().map(|(_, told)| told).collect();
    told.sort_by_key(|difference| !difference.is_suspect);
    told.truncate(TOLD_MAX);
    told
}

/// Returns the parts of the rows that both baselines have.
fn same_parts<'b>(
    own: &'b Baseline,
    before: &'b Baseline,
) -> Vec<(&'b BaselinePart, &'b BaselinePart)> {
    let of = |part: &'b BaselinePart| {
        let is_same =
            |other: &&BaselinePart| (&other.slice, &other.part) == (&part.slice, &part.part);
        Some((part, before.parts.iter().find(is_same)?))
    };
    own.parts.iter().filter_map(of).collect()
}

/// Returns the inputs of a part, under names that say the part.
fn named(part: &BaselinePart) -> Vec<BaselineColumn> {
    let of = SlicePart {
        slice: part.slice.clone(),
        part: part.part.clone(),
    };
    let column = |column: &BaselineColumn| BaselineColumn {
        name: of.describe(&column.name),
        ..column.clone()
    };
    // The column that decides the part has the same values in all of its rows.
    let others = part.inputs.iter().filter(|c| c.name != part.slice);
    others.map(column).collect()
}

/// A difference with the name of its column.
type Told = (String, RowsDifference);

/// What all comparisons of two baselines share.
struct Comparing<'c> {
    version: u64,
    alpha: f64,
    settings: &'c MonitorSettings,
}

impl Comparing<'_> {
    fn pair<'p>(
        &'p self,
        own: &'p BaselineColumn,
        before: &'p [BaselineColumn],
    ) -> Option<ColumnComparison<'p>> {
        Some(ColumnComparison {
            own,
            before: before.iter().find(|column| column.name == own.name)?,
            version: self.version,
            alpha: self.alpha,
            settings: self.settings,
        })
    }

    fn columns(&self, own: &[BaselineColumn], before: &[BaselineColumn]) -> Vec<Told> {
        let pairs = own.iter().filter_map(|column| self.pair(column, before));
        let told = |pair: ColumnComparison<'_>| Some((pair.own.name.clone(), pair.of_rows()?));
        pairs.filter_map(told).collect()
    }

    /// Compares answers that are values: another unit of the target is one of theirs.
    fn answers(&self, own: &[BaselineColumn], before: &[BaselineColumn]) -> Vec<Told> {
        let pairs = own.iter().filter_map(|column| self.pair(column, before));
        let told = |pair: ColumnComparison<'_>| {
            let (own, before) = pair.both_numbers()?;
            let is_value = own.median.abs().max(before.median.abs()) > 1.0;
            let text = pair.other_unit(own, before).filter(|_| is_value)?;
            Some((pair.own.name.clone(), RowsDifference::suspect(text)))
        };
        pairs.filter_map(told).collect()
    }
}

impl ColumnComparison<'_> {
    /// Tells how the rows of a run differ in a column, if they certainly do.
    fn of_rows(&self) -> Option<RowsDifference> {
        let fault = self.other_type().or_else(|| self.no_values());
        let fault = fault
            .or_else(|| self.one_value())
            .or_else(|| self.missing(|now, then| now > then))
            .or_else(|| {
                let (own, before) = self.both_numbers()?;
                self.other_unit(own, before)
            })
            .or_else(|| self.recoded());
        let plain = || self.sentence().map(RowsDifference::plain);
        fault.map(RowsDifference::suspect).or_else(plain)
    }

    fn both_numbers(&self) -> Option<(&NumberBaseline, &NumberBaseline)> {
        match (&self.own.values, &self.before.values) {
            (ValueDistribution::Numbers(own), ValueDistribution::Numbers(before)) => {
                Some((own, before))
            }
            _ => None,
        }
    }

    fn both_words(&self) -> Option<(&WordBaseline, &WordBaseline)> {
        match (&self.own.values, &self.before.values) {
            (ValueDistribution::Words(own), ValueDistribution::Words(before)) => {
                Some((own, before))
            }
            _ => None,
        }
    }

    fn other_type(&self) -> Option<String> {
        let of = |column: &BaselineColumn| match &column.values {
            ValueDistribution::Numbers(_) => "numbers",
            ValueDistribution::Words(_) => "text",
        };
        let (now, then) = (of(self.own), of(self.before));
        (now != then).then(|| {
            format!(
                "{} is {now}, in version {} it was {then}",
                self.own.name, self.version
            )
        })
    }

    /// Tells that no row has a finite value.
    fn no_values(&self) -> Option<String> {
        let has_values = |column: &BaselineColumn| values(column) > 0 && !is_infinite(column);
        if has_values(self.own) || !has_values(self.before) {
            return None;
        }
        let (name, version) = (&self.own.name, self.version);
        let is_missing = values(self.own) == 0 && self.own.missing > 0;
        if is_missing {
            let then = percent(column_missing(self.before, rows(self.before)));
            return Some(format!(
                "{name} is missing in all rows, in version {version} it was in {then}"
            ));
        }
        is_infinite(self.own)
            .then(|| format!("{name} is infinite in all rows, in version {version} it was not"))
    }

    /// Tells that all rows have one value, which is no chance.
    fn one_value(&self) -> Option<String> {
        if !is_one(self.own) || is_one(self.before) {
            return None;
        }
        let most = self.before.counts().into_iter().max()?;
        let share = most as f64 / values(self.before).max(1) as f64;
        let effective = values(self.own) as f64 / self.own.design_effect;
        let is_chance = share.powf(effective) > self.alpha;
        (!is_chance).then(|| {
            format!(
                "{} has one value in all rows, in version {} it had several",
                self.own.name, self.version
            )
        })
    }

    /// Tells that values are ten times what they were or more, or a tenth or less, and that one factor
    /// explains it.
    fn other_unit(&self, own: &NumberBaseline, before: &NumberBaseline) -> Option<String> {
        let factor = own.median / before.median;
        // A factor of ten may be measured as a little less.
        let far = FACTOR * (1.0 - NEAR);
        let is_far = factor >= far || (factor > 0.0 && factor <= 1.0 / far);
        let apart = apart_at_least(own, before);
        let is_certain = apart - self.sizes_of_values()?.ks() > self.settings.ks;
        if !factor.is_finite() || !is_far || !is_certain || apart < UNFIT {
            return None;
        }
        let scaled = NumberBaseline {
            edges: before.edges.iter().map(|edge| edge * factor).collect(),
            ..before.clone()
        };
        let power = 10.0_f64.powi(factor.log10().round() as i32);
        let is_power = (factor / power - 1.0).abs() < NEAR;
        (apart_at_least(own, &scaled) <= FITS).then(|| {
            format!(
                "{} is {} times what it was in version {} (typical value {}, was {})",
                self.own.name,
                times(if is_power { power } else { factor }),
                self.version,
                typical(own.median),
                typical(before.median)
            )
        })
    }

    /// Tells that most rows have categories that the other version never had.
    fn recoded(&self) -> Option<String> {
        let (own, before) = self.both_words()?;
        if before.open || before.other_rows > 0 {
            return None;
        }
        let cells = by_name(own, before);
        let unknown = cells.iter().filter(|(_, counts)| counts.1 == 0);
        let unknown: u64 = unknown.map(|(_, counts)| counts.0).sum();
        let share = unknown as f64 / values(self.own).max(1) as f64;
        let effective = values(self.own) as f64 / self.own.design_effect;
        // A share of half cannot be seen in a few rows.
        let is_sure = share > RECODED && 0.5_f64.powf(effective) < self.alpha;
        is_sure.then(|| {
            format!(
                "{} has values that version {} never had in {} of the rows",
                self.own.name,
                self.version,
                percent(share)
            )
        })
    }
}

/// Returns the rows with a value.
fn values(column: &BaselineColumn) -> u64 {
    column.counts().iter().sum()
}

fn rows(column: &BaselineColumn) -> u64 {
    values(column) + column.missing
}

/// Tells whether all rows with a value have the same one.
fn is_one(column: &BaselineColumn) -> bool {
    match &column.values {
        ValueDistribution::Numbers(numbers) => {
            values(column) > 0 && numbers.deviation == 0.0 && !is_infinite(column)
        }
        ValueDistribution::Words(words) => words.words.len() == 1 && words.other_rows == 0,
    }
}
