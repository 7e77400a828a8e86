//! A model as it is explained: its features, what its scores mean, and its trees or its weights. Explains rows of
//! features. Knows no tensor and no file.

#[cfg(test)]
pub(crate) mod tests;

use super::derivation::Derivation;
use super::linear::LinearPart;
use super::trees::{CoverTree, TreeScratch};
use crate::core::error::{Error, Result, short};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// The code of an unknown or rare category.
pub const OTHER: u8 = 254;
/// The code of a missing category.
pub const ABSENT: u8 = 255;
/// The most columns of an input.
pub const COLUMNS_MAX: usize = 1 << 20;
/// The most scores of a model.
pub const SCORES_MAX: usize = 10_000;

/// What a score is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreScale {
    /// The predicted value itself.
    Value,
    /// The logarithm of the predicted value.
    Log,
    /// The logarithm of the odds of the second of two classes.
    LogOdds,
    /// The same before the graph calibrates it.
    Uncalibrated,
    /// A score for each class, of which Softmax makes probabilities.
    Softmax,
}

impl ScoreScale {
    /// Returns its name for a person.
    pub fn label(self) -> &'static str {
        match self {
            Self::Value => "value",
            Self::Log => "log of the value",
            Self::LogOdds => "log odds",
            Self::Uncalibrated => "log odds before calibration",
            Self::Softmax => "score of the class",
        }
    }

    /// Returns what is predicted from scores: a value, or a probability for each class; nothing where only the
    /// graph knows.
    pub fn prediction(self, scores: &[f64]) -> Vec<f64> {
        match self {
            Self::Value => scores.to_vec(),
            Self::Uncalibrated => Vec::new(),
            Self::Log => scores.iter().map(|score| score.exp()).collect(),
            Self::LogOdds => {
                let odds = scores.first().copied().unwrap_or(0.0);
                vec![1.0 / (1.0 + odds.exp()), 1.0 / (1.0 + (-odds).exp())]
            }
            Self::Softmax => {
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let parts: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
                let whole: f64 = parts.iter().sum();
                parts.into_iter().map(|part| part / whole).collect()
            }
        }
    }
}

/// A feature, and the input that it is read from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainedFeature {
    /// Its name.
    pub name: String,
    /// The input of the model with its value, or with the value that it is computed from.
    pub input: String,
    /// The column of that input.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub column: usize,
    /// The known categories in the order of their codes; none for a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
    /// How it is computed, if it is no input itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived: Option<Derivation>,
}

fn is_zero(column: &usize) -> bool {
    *column == 0
}

impl ExplainedFeature {
    /// Returns the name by which a client knows what the feature is made of.
    pub fn client_name(&self) -> &str {
        match self.derived {
            Some(_) => &self.input,
            None => &self.name,
        }
    }
}

/// The trees or the weights.
#[derive(Clone, Debug, PartialEq)]
pub enum ExplainedParts {
    /// Round by round, a tree for each score.
    Trees(Vec<CoverTree>),
    /// A part for each feature.
    Linear(Vec<LinearPart>),
}

/// What a model is explained from.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedModelParts {
    /// In the order of the values of a row.
    pub features: Vec<ExplainedFeature>,
    /// The classes in the order of their scores or probabilities; empty for regression.
    pub classes: Vec<String>,
    /// What the scores are.
    pub scale: ScoreScale,
    /// What each score begins with.
    pub start: Vec<f64>,
    /// What is added to it.
    pub parts: ExplainedParts,
}

impl ExplainedModelParts {
    /// Names the scores for a person, of two classes with the one whose odds they are.
    pub fn scale_text(&self) -> String {
        let name = self.scale.label();
        match (self.scale, self.classes.as_slice()) {
            (ScoreScale::LogOdds, [_, class]) => format!("{name} of '{class}'"),
            (ScoreScale::Uncalibrated, [_, class]) => {
                format!("log odds of '{class}' before calibration")
            }
            _ => name.to_owned(),
        }
    }
}

/// A model that can be explained.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedModel {
    parts: ExplainedModelParts,
    /// The mean score of the training rows, as the contributions see it.
    base: Vec<f64>,
    /// What clients know: the name of each column, and the column of each feature.
    client_names: Vec<String>,
    client_columns: Vec<usize>,
    /// The code of each category, by feature.
    codes: Vec<HashMap<String, u8>>,
    /// The columns of each input.
    widths: HashMap<String, usize>,
}

/// An explained row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowContributions {
    /// Score by score, feature by feature.
    pub values: Vec<f64>,
}

impl ExplainedModel {
    /// Checks the parts. Refuses parts that do not belong together.
    pub fn new(parts: ExplainedModelParts) -> Result<Self> {
        let wrong = |why: String| Err(Error::precondition(why));
        let scores = parts.start.len();
        let expected = match (parts.scale, parts.classes.len()) {
            (ScoreScale::Value | ScoreScale::Log, 0) => 1..=SCORES_MAX,
            (ScoreScale::LogOdds | ScoreScale::Uncalibrated, 2) => 1..=1,
            (ScoreScale::Softmax, classes) if (2..=SCORES_MAX).contains(&classes) => {
                classes..=classes
            }
            (scale, classes) => {
                return wrong(format!("{classes} classes do not go with {scale:?}"));
            }
        };
        if !expected.contains(&scores) || !parts.start.iter().all(|start| start.is_finite()) {
            return wrong(format!("{scores} scores do not go with the classes"));
        }
        if parts.features.is_empty() {
            return wrong("there is no feature".to_owned());
        }
        parts.features.iter().try_for_each(check_feature)?;
        let base = base(&parts)?;

        let (client_names, client_columns) = client_columns(&parts.features);
        let codes = parts.features.iter().map(codes).collect();
        let mut widths = HashMap::new();
        for feature in &parts.features {
            let width: &mut usize = widths.entry(feature.input.clone()).or_default();
            *width = (*width).max(feature.column + 1);
        }
        Ok(Self {
            widths,
            parts,
            base,
            client_names,
            client_columns,
            codes,
        })
    }

    /// Returns what it is made of.
    pub fn parts(&self) -> &ExplainedModelParts {
        &self.parts
    }

    /// Returns its features, in the order of the values of a row.
    pub fn features(&self) -> &[ExplainedFeature] {
        &self.parts.features
    }

    /// Returns the mean of each score over the training rows.
    pub fn base(&self) -> &[f64] {
        &self.base
    }

    /// Returns the names that clients know, and the place among them of each feature.
    pub fn clients(&self) -> (&[String], &[usize]) {
        (&self.client_names, &self.client_columns)
    }

    /// Returns how many columns an input has.
    pub(super) fn width(&self, input: &str) -> usize {
        self.widths.get(input).copied().unwrap_or(1)
    }

    /// Returns the code of a word.
    pub fn code(&self, feature: usize, word: &str) -> u8 {
        match word {
            "" => ABSENT,
            word => self.codes[feature].get(word).copied().unwrap_or(OTHER),
        }
    }

    /// Returns how many steps a row takes: numbers that are computed at the nodes of its trees.
    pub fn row_steps(&self) -> u64 {
        let width = self.features().len() as u64;
        let of = match &self.parts.parts {
            ExplainedParts::Trees(trees) => trees.iter().map(CoverTree::steps).sum(),
            ExplainedParts::Linear(_) => 0,
        };
        of + width * self.base.len() as u64
    }

    /// Returns about how much memory it takes.
    pub fn memory_bytes(&self) -> usize {
        let words = self.codes.iter().flat_map(HashMap::keys).map(String::len);
        let names: usize = words.map(|bytes| 2 * bytes + 64).sum();
        let of: usize = match &self.parts.parts {
            ExplainedParts::Trees(trees) => trees.iter().map(CoverTree::memory_bytes).sum(),
            ExplainedParts::Linear(all) => all.iter().map(LinearPart::memory_bytes).sum(),
        };
        names + of + size_of_val(self.features())
    }

    /// Computes what each feature of a row contributes to each score: numbers, NaN if missing, and categories by
    /// code. Their sum with [`ExplainedModel::base`] is the score.
    pub fn contribute(&self, row: &[f32], scratch: &mut TreeScratch, found: &mut RowContributions) {
        let (scores, width) = (self.base.len(), self.features().len());
        found.values.clear();
        found.values.resize(scores * width, 0.0);
        match &self.parts.parts {
            ExplainedParts::Trees(trees) => {
                for (at, tree) in trees.iter().enumerate() {
                    let sums = &mut found.values[at % scores * width..][..width];
                    tree.contribute(row, scratch, sums);
                }
            }
            ExplainedParts::Linear(parts) => {
                let places = found.values.chunks_exact_mut(width);
                for (score, sums) in places.enumerate() {
                    let of = sums.iter_mut().zip(parts.iter().zip(row));
                    of.for_each(|(sum, (part, value))| *sum = part.contribution(*value, score));
                }
            }
        }
    }

    /// Returns the scores of an explained row.
    pub fn scores(&self, found: &RowContributions) -> Vec<f64> {
        let width = self.features().len();
        let rows = self.base.iter().zip(found.values.chunks_exact(width));
        rows.map(|(base, all)| base + all.iter().sum::<f64>())
            .collect()
    }
}

/// Returns the mean of each score, and refuses parts of another number of features or scores.
fn base(parts: &ExplainedModelParts) -> Result<Vec<f64>> {
    let (width, scores) = (parts.features.len(), parts.start.len());
    let mut base = parts.start.clone();
    match &parts.parts {
        ExplainedParts::Trees(trees) => {
            if !trees.len().is_multiple_of(scores) {
                return Err(Error::precondition(
                    "there is not a tree for each score in every round",
                ));
            }
            let most = trees.iter().filter_map(CoverTree::feature_max).max();
            if let Some(feature) = most.filter(|feature| *feature as usize >= width) {
                return Err(Error::precondition(format!(
                    "a tree splits by feature {feature}; there are {width}"
                )));
            }
            let means = trees.iter().map(CoverTree::mean).enumerate();
            means.for_each(|(at, mean)| base[at % scores] += mean);
        }
        ExplainedParts::Linear(all) => {
            if all.len() != width {
                return Err(Error::precondition(format!(
                    "there are weights of {} features; there are {width}",
                    all.len()
                )));
            }
            all.iter().try_for_each(|part| part.check(scores))?;
            for part in all {
                let sums = base.iter_mut().zip(&part.means);
                sums.for_each(|(sum, mean)| *sum += mean);
            }
        }
    }
    Ok(base)
}

fn check_feature(feature: &ExplainedFeature) -> Result<()> {
    let words = feature.categories.as_ref().map_or(0, Vec::len);
    let is_sound = !feature.name.is_empty()
        && !feature.input.is_empty()
        && feature.column < COLUMNS_MAX
        && words <= usize::from(OTHER)
        && !(feature.derived.is_some() && feature.categories.is_some());
    match is_sound {
        true => Ok(()),
        false => Err(Error::precondition(format!(
            "feature '{}' has no name, no input, or over {OTHER} categories or {COLUMNS_MAX} columns beside it",
            short(&feature.name)
        ))),
    }
}

fn client_columns(features: &[ExplainedFeature]) -> (Vec<String>, Vec<usize>) {
    let mut names: Vec<String> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut columns = Vec::with_capacity(features.len());
    for feature in features {
        let name = feature.client_name();
        let place = *places.entry(name.to_owned()).or_insert_with(|| {
            names.push(name.to_owned());
            names.len() - 1
        });
        columns.push(place);
    }
    (names, columns)
}

fn codes(feature: &ExplainedFeature) -> HashMap<String, u8> {
    let words = feature.categories.iter().flatten().cloned();
    words.zip(0_u8..).collect()
}
