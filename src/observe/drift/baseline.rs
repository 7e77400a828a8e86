//! The training baseline of a model: the format of `baseline.json` and how it is read. Windows are
//! counted in its cells. Knows no model; `layout` compares it with one.

#[cfg(test)]
mod tests;

use super::cells::{Edges, KnownWords, WORDS_MAX};
use crate::core::error::short;
use crate::core::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The format written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;
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
    /// Names of the input columns in the model's order, if they differ from the names of its
    /// tensors.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Columns of the inputs.
    pub inputs: Vec<BaselineColumn>,
    /// Columns of the outputs.
    #[serde(default)]
    pub outputs: Vec<BaselineColumn>,
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
    /// Writes the file. Equal baselines are equal bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec(self).expect("plain data is JSON");
        text.push(b'\n');
        text
    }

    /// Reads a file. Refuses another format, unknown fields and inconsistent values; the error names
    /// the column.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct BaselineHead {
            format: u32,
        }
        let malformed =
            |e: serde_json::Error| Error::precondition(format!("the baseline is malformed: {e}"));
        let head: BaselineHead = serde_json::from_slice(bytes).map_err(malformed)?;
        if head.format != FORMAT {
            return Err(Error::precondition(format!(
                "the baseline is of format {}; this version of Ortus reads format {FORMAT}; use a newer version",
                head.format
            )));
        }

        let read: Self = serde_json::from_slice(bytes).map_err(malformed)?;
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

        Ok(read)
    }
}

impl BaselineColumn {
    fn check(&self) -> Result<(), &'static str> {
        if !(self.design_effect >= 1.0 && self.design_effect.is_finite()) {
            return Err("has a design effect below 1; it must be a finite number of at least 1");
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

    /// Returns its categories; none for a numeric column.
    pub(crate) fn words(&self) -> Option<KnownWords> {
        let ValueDistribution::Words(listed) = &self.values else {
            return None;
        };
        let counted: Vec<String> = listed.words.iter().map(|(word, _)| word.clone()).collect();
        Some(KnownWords::new(&counted, &listed.others, listed.open))
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
    /// Returns how many cells there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Numbers(edges) => edges.cells(),
            Self::Words(words) => words.cells(),
        }
    }
}
