//! The training baseline of a model: the format of `baseline.json` and how it is read. Windows are
//! counted in its cells. Knows no model; `layout` compares it with one.

pub mod part;
#[cfg(test)]
mod tests;

use super::cells::{Edges, KnownWords, WORDS_MAX};
use super::distance::shares;
use super::kind::band::shares_up_to;
use super::kind::{ColumnKind, EFFECTIVE_MIN, SLOW};
use super::word_filter::WordFilter;
use crate::core::error::short;
use crate::core::error::{Error, Result};
use part::{BaselinePart, MultivariateBaseline};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format written, and the newest that is read.
pub(crate) const FORMAT: u32 = 3;
/// The oldest format that is read. It has no kinds of columns.
const FORMAT_MIN: u32 = 1;
/// Most columns, inputs and outputs together.
pub(crate) const COLUMNS_MAX: usize = 4_096;
/// Most categories that are listed in addition to those with counts.
pub(crate) const OTHERS_MAX: usize = 4_096;

/// The baseline of one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// [`FORMAT`].
    pub format: u32,
    /// Rows from which it was built.
    pub rows: u64,
    /// Where the rows came from, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Whether the order of the rows tells nothing: they were sorted by their labels.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unordered: bool,
    /// Names of the input columns in the model's order, if they differ from the names of its
    /// tensors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Columns of the inputs.
    pub inputs: Vec<BaselineColumn>,
    /// Columns of the outputs.
    #[serde(default)]
    pub outputs: Vec<BaselineColumn>,
    /// Parts of the rows with distributions of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<BaselinePart>,
    /// How the numeric inputs fit together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multivariate: Option<MultivariateBaseline>,
    /// Calibration curves of the scores: of the positive class, or of each class. A single one is
    /// written without a list.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "one_or_more")]
    pub calibration: Vec<Calibration>,
    /// Metrics on the rows from which it was built, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub performance: BTreeMap<String, f64>,
}

/// A list that is written without brackets if it has one member.
mod one_or_more {
    use super::Calibration;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(Calibration),
        More(Vec<Calibration>),
    }

    pub(super) fn serialize<S: Serializer>(
        all: &[Calibration],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match all {
            [one] => one.serialize(serializer),
            more => more.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<Vec<Calibration>, D::Error> {
        Ok(match Either::deserialize(deserializer)? {
            Either::One(one) => vec![one],
            Either::More(more) => more,
        })
    }
}

/// One column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineColumn {
    /// Name of the column.
    pub name: String,
    /// Rows without a value: NaN, or an empty string.
    #[serde(default)]
    pub missing: u64,
    /// Feature importance, if it is known; on any scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<f64>,
    /// Design effect: how many rows carry as much information as one independent row.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub design_effect: f64,
    /// The same for whether a value is missing.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub missing_effect: f64,
    /// What kind of column it is.
    #[serde(default)]
    pub kind: ColumnKind,
    /// Why it is of this kind, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The least and the greatest share over parts of the baseline: of the rows up to each edge
    /// of numbers, or of each category. Only of columns that move within the baseline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub band: Vec<(f64, f64)>,
    /// Seconds for which a column that moves may have one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_max_s: Option<u64>,
    /// Distribution of its values.
    pub values: ValueDistribution,
}

fn one() -> f64 {
    1.0
}

fn is_one(n: &f64) -> bool {
    *n == 1.0
}

/// How the values of a column are distributed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueDistribution {
    /// Numbers.
    Numbers(NumberBaseline),
    /// Categories with their counts.
    Words(WordBaseline),
}

/// A column of numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberBaseline {
    /// Increasing; cell `i` is `(edge i−1, edge i]`.
    pub edges: Vec<f64>,
    /// Rows in each cell. The first cell lies below the first edge, the last above the last edge.
    pub counts: Vec<u64>,
    /// Mean of the finite values in each cell; 0 for an empty cell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub means: Vec<f64>,
    /// The different values, if they are at most 64 whole numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<i64>,
    /// The least and the greatest value in the rows that the model learned from; of codes and of units of
    /// the calendar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learned: Option<(f64, f64)>,
    /// Arithmetic mean.
    pub mean: f64,
    /// Standard deviation.
    pub deviation: f64,
    /// Median.
    pub median: f64,
    /// Interquartile range.
    pub iqr: f64,
}

/// A column of categories.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordBaseline {
    /// The most frequent ones, with their counts.
    pub words: Vec<(String, u64)>,
    /// Other categories, as far as they are listed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// Rows of all other categories.
    #[serde(default)]
    pub other_rows: u64,
    /// Whether there are categories that are not listed.
    #[serde(default)]
    pub open: bool,
    /// Categories that occur once.
    #[serde(default)]
    pub singles: u64,
    /// A filter of the categories without counts, as Base64, if not all are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

/// A calibration curve: how often the class occurs at each score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The output that holds the score of each class, or of the positive one.
    pub output: String,
    /// Pairs of a score and the share of rows with about this score that belong to the class;
    /// scores increase.
    pub points: Vec<(f64, f64)>,
}

impl Baseline {
    /// Makes a baseline of columns, without names of features and without labels.
    pub(crate) fn of_columns(
        rows: u64,
        inputs: Vec<BaselineColumn>,
        outputs: Vec<BaselineColumn>,
    ) -> Self {
        Self {
            format: FORMAT,
            rows,
            source: String::new(),
            unordered: false,
            features: Vec::new(),
            inputs,
            outputs,
            parts: Vec::new(),
            multivariate: None,
            calibration: Vec::new(),
            performance: BTreeMap::new(),
        }
    }

    /// Returns the columns by which its rows are sliced.
    pub(crate) fn slices(&self) -> Vec<&str> {
        let mut slices: Vec<&str> = self.parts.iter().map(|p| p.slice.as_str()).collect();
        slices.dedup();
        slices
    }

    /// Writes the file. Equal baselines are equal bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("plain data is JSON");
        text.push(b'\n');
        text
    }

    /// Reads a file. Refuses another format, unknown fields and inconsistent values; the error names
    /// the column.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct BaselineHead {
            format: u32,
        }
        let malformed =
            |e: serde_json::Error| Error::precondition(format!("the baseline is malformed: {e}"));
        let head: BaselineHead = serde_json::from_slice(bytes).map_err(malformed)?;
        if !(FORMAT_MIN..=FORMAT).contains(&head.format) {
            return Err(Error::precondition(format!(
                "the baseline is of format {}; this version of Ortus reads formats {FORMAT_MIN} to {FORMAT}; use a newer version",
                head.format
            )));
        }

        let mut read: Self = serde_json::from_slice(bytes).map_err(malformed)?;
        let mut names = BTreeSet::new();
        if read.inputs.len() + read.outputs.len() > COLUMNS_MAX {
            return Err(Error::precondition(format!(
                "the baseline must have at most {COLUMNS_MAX} columns"
            )));
        }

        for column in read.inputs.iter().chain(&read.outputs) {
            let wrong = |why: &str| {
                Error::precondition(format!(
                    "the baseline's column '{}' {why}",
                    short(&column.name)
                ))
            };
            if !names.insert(&column.name) {
                return Err(wrong("appears twice"));
            }
            column.check().map_err(wrong)?;
        }

        let wrong = |why: String| Error::precondition(format!("the baseline {why}"));
        part::check(&read.parts).map_err(wrong)?;
        if let Some(together) = &read.multivariate {
            let checked = together.projection.check();
            let checked = checked.and_then(|()| together.distances.check());
            checked.map_err(|why| wrong(format!("has a multivariate part that {why}")))?;
        }

        for calibration in &read.calibration {
            let rises = calibration.points.windows(2).all(|p| p[0].0 < p[1].0);
            let legal = calibration
                .points
                .iter()
                .all(|(s, p)| s.is_finite() && (0.0..=1.0).contains(p));
            if calibration.points.is_empty() || !rises || !legal {
                return Err(Error::precondition(
                    "the baseline's calibration must be points of increasing scores, each with a share from 0 to 1",
                ));
            }
        }

        let columns = read.inputs.iter_mut().chain(&mut read.outputs);
        columns.for_each(BaselineColumn::doubt_few_effective_rows);
        if read.format < 3 {
            let columns = read.inputs.iter_mut().chain(&mut read.outputs);
            columns.for_each(BaselineColumn::hold_as_before_format_3);
        }
        Ok(read)
    }
}

impl BaselineColumn {
    /// Takes a column of format 1 whose rows are worth few independent ones for unsteady: compared
    /// with the whole baseline it would never alarm.
    fn doubt_few_effective_rows(&mut self) {
        let rows = self.counts().iter().sum::<u64>() as f64;
        let is_known = !self.reason.is_empty();
        let is_slow = self.design_effect >= SLOW;
        if !is_known && is_slow && rows / self.design_effect < EFFECTIVE_MIN {
            self.kind = ColumnKind::Unsteady;
            self.reason = format!(
                "its level moves within the baseline ({:.0} rows are worth one), which has no band of its parts; profile the rows again",
                self.design_effect
            );
        }
    }

    /// Sets for how long the column may have one value as versions did that wrote no such limit.
    fn hold_as_before_format_3(&mut self) {
        let different = match &self.values {
            ValueDistribution::Numbers(numbers) => numbers.codes.len(),
            ValueDistribution::Words(listed) => listed.words.len(),
        };
        let hours = match (self.kind, different) {
            (ColumnKind::Cyclic, 4..=8) => 8 * 24,
            (ColumnKind::Cyclic, 9..=16) => 32 * 24,
            (ColumnKind::Cyclic | ColumnKind::Trending | ColumnKind::Unsteady, _) => 26,
            _ => return,
        };
        self.held_max_s = Some(hours * 3_600);
    }

    fn check(&self) -> Result<(), &'static str> {
        if !(self.design_effect >= 1.0 && self.design_effect.is_finite()) {
            return Err("has a design effect below 1; it must be a finite number of at least 1");
        }
        if !(self.missing_effect >= 1.0 && self.missing_effect.is_finite()) {
            return Err("has a missing_effect below 1; it must be a finite number of at least 1");
        }
        let is_share = |share: f64| (0.0..=1.0).contains(&share);
        let is_band = |(low, high): &(f64, f64)| is_share(*low) && is_share(*high) && low <= high;
        if !self.band.iter().all(is_band) {
            return Err("has a band that is not of shares from 0 to 1, the lower first");
        }
        match &self.values {
            ValueDistribution::Numbers(numbers) => {
                if Edges::new(numbers.edges.clone()).is_none() {
                    return Err("has edges that are not finite or do not increase");
                }
                if numbers.counts.len() != numbers.edges.len() + 1 {
                    return Err("must have one count more than edges");
                }
                if numbers.edges.len() > 256 {
                    return Err("has more than 256 edges");
                }
                if !numbers.means.is_empty() && numbers.means.len() != numbers.counts.len() {
                    return Err("must have as many means as counts, or none");
                }
                let is_range =
                    |(low, high): (f64, f64)| low.is_finite() && high.is_finite() && low <= high;
                if !numbers.learned.is_none_or(is_range) {
                    return Err(
                        "has a range 'learned' that is not two finite numbers, the lower first",
                    );
                }
                if numbers.codes.len() > WORDS_MAX {
                    return Err("has more than 64 codes");
                }
                if !self.band.is_empty() && self.band.len() != numbers.edges.len() {
                    return Err("must have a band for each edge, or none");
                }
            }
            ValueDistribution::Words(listed) => {
                let all: BTreeSet<&String> = listed
                    .words
                    .iter()
                    .map(|(w, _)| w)
                    .chain(&listed.others)
                    .collect();
                if all.len() != listed.words.len() + listed.others.len() {
                    return Err("lists a category twice");
                }
                if listed.words.len() > WORDS_MAX || listed.others.len() > OTHERS_MAX {
                    return Err("lists too many categories");
                }
                if !self.band.is_empty() && self.band.len() != listed.words.len() + 2 {
                    return Err("must have a band for each category, or none");
                }
                let is_filter = |text: &String| WordFilter::of_text(text).is_some();
                if !listed.filter.as_ref().is_none_or(is_filter) {
                    return Err("has a filter that is not Base64 of 1 to 131,072 bytes");
                }
            }
        }

        Ok(())
    }

    /// Returns the rows in each cell.
    pub(crate) fn counts(&self) -> Vec<u64> {
        match &self.values {
            ValueDistribution::Numbers(numbers) => numbers.counts.clone(),
            ValueDistribution::Words(listed) => listed
                .words
                .iter()
                .map(|(_, n)| *n)
                .chain([listed.other_rows, 0])
                .collect(),
        }
    }

    /// Returns the rows in each cell that as many rows like those of the baseline would have. Of
    /// categories, about as many are new as the baseline has only once (Good and Turing).
    pub(crate) fn expected_counts(&self) -> Vec<u64> {
        let mut counts = self.counts();
        if let ValueDistribution::Words(listed) = &self.values
            && (!listed.open || listed.filter.is_some())
        {
            let new = listed.singles.min(listed.other_rows);
            let last = counts.len() - 1;
            counts[last] += new;
            counts[last - 1] -= new;
        }
        counts
    }

    /// Returns its categories; none for a numeric column.
    pub(crate) fn words(&self) -> Option<KnownWords> {
        let ValueDistribution::Words(listed) = &self.values else {
            return None;
        };
        let counted: Vec<String> = listed.words.iter().map(|(word, _)| word.clone()).collect();
        let filter = listed.filter.as_deref().and_then(WordFilter::of_text);
        Some(KnownWords::new(&counted, &listed.others, listed.open).with_filter(filter))
    }

    /// Returns the cells that its values are counted in.
    pub(crate) fn cells(&self) -> Cells {
        match &self.values {
            ValueDistribution::Numbers(numbers) => Cells::Numbers(
                Edges::new(numbers.edges.clone()).expect("checked when it was read or cut"),
            ),
            ValueDistribution::Words(_) => Cells::Words(self.words().expect("these are words")),
        }
    }
}

/// The cells that the values of a column are counted in.
#[derive(Clone, Debug)]
pub(crate) enum Cells {
    Numbers(Edges),
    Words(KnownWords),
}

impl Cells {
    /// Returns the shares that a band is made of: up to each edge of numbers, or of each category.
    pub(crate) fn shares(&self, counts: &[u64]) -> Vec<f64> {
        match self {
            Self::Numbers(_) => shares_up_to(counts),
            Self::Words(_) => shares(counts),
        }
    }

    /// Returns how many cells there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Numbers(edges) => edges.cells(),
            Self::Words(words) => words.cells(),
        }
    }
}
