//! Encodes rows for linear models and perceptrons: standardised numbers, missing
//! indicators, and the place of each category among the weights.

#[cfg(test)]
mod tests;

use super::super::features::{self, ABSENT, Feature};
use super::super::frame::{Frame, FrameValues};
use serde::{Deserialize, Serialize};

/// Standardised numbers are clipped to this many standard deviations.
pub(crate) const FAR: f32 = 1e4;
/// The place of an unknown category, which has no weight.
const NOWHERE: u32 = u32::MAX;

/// The weights of a feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Term {
    /// The weights of a standardised number, and of its being missing.
    Number {
        mean: f32,
        spread: f32,
        weights: Vec<f32>,
        missing: Vec<f32>,
    },
    /// The weights of each category by code, with one for a missing category.
    Category(Vec<Vec<f32>>),
}

/// Rows with their targets.
pub(crate) struct Labelled<'r> {
    pub frame: &'r Frame,
    pub targets: &'r [f32],
    pub weights: Option<&'r [f32]>,
}

/// The mean and standard deviation of a number; none for a category.
pub(super) type FeatureScale = Option<(f32, f32)>;

/// Rows, encoded.
pub(super) struct EncodedRows {
    pub rows: usize,
    /// Row by row: standardised numbers, then whether each is missing.
    numbers: Vec<f32>,
    width: usize,
    /// Row by row: the place of each category among the weights.
    categories: Vec<u32>,
    category_width: usize,
    /// The number of weights of a score.
    pub size: usize,
}

/// Returns the mean and standard deviation of each number, missing values excluded.
pub(super) fn scales(frame: &Frame) -> Vec<FeatureScale> {
    let of = |values: &FrameValues| {
        let FrameValues::Numbers(all) = values else {
            return None;
        };
        let there = || all.iter().filter(|v| v.is_finite()).map(|v| f64::from(*v));
        let n = there().count().max(1) as f64;
        let mean = there().sum::<f64>() / n;
        let spread = (there().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt() as f32;
        Some((
            mean as f32,
            if spread > 0.0 && spread.is_finite() {
                spread
            } else {
                1.0
            },
        ))
    };

    frame.columns.iter().map(|c| of(&c.values)).collect()
}

/// Returns the standardised number; 0 if missing.
pub(super) fn scaled(value: f32, mean: f32, spread: f32) -> f32 {
    if value.is_nan() {
        0.0
    } else {
        ((value - mean) / spread).clamp(-FAR, FAR)
    }
}

impl EncodedRows {
    pub(super) fn of(frame: &Frame, features: &[Feature], scales: &[FeatureScale]) -> Self {
        let count = scales.iter().flatten().count();
        let (width, category_width) = (2 * count, features.len() - count);
        let mut numbers = vec![0.0; frame.rows * width];
        let mut categories = vec![NOWHERE; frame.rows * category_width];
        let (mut number, mut category, mut size) = (0, 0, width);
        for ((column, feature), scale) in frame.columns.iter().zip(features).zip(scales) {
            match (&column.values, scale) {
                (FrameValues::Numbers(all), Some((mean, spread))) => {
                    for (row, value) in all.iter().enumerate() {
                        numbers[row * width + number] = scaled(*value, *mean, *spread);
                        numbers[row * width + count + number] = f32::from(u8::from(value.is_nan()));
                    }
                    number += 1;
                }
                (FrameValues::Words(words), _) => {
                    let codes = feature.codes(&words.list);
                    let known = feature.categories.as_ref().map_or(0, Vec::len);
                    for (row, word) in words.codes.iter().enumerate() {
                        let place = match features::code(&codes, *word) {
                            ABSENT => known,
                            code if usize::from(code) < known => usize::from(code),
                            _ => continue,
                        };
                        categories[row * category_width + category] = (size + place) as u32;
                    }
                    category += 1;
                    size += known + 1;
                }
                (FrameValues::Numbers(_), None) => {}
            }
        }

        Self {
            rows: frame.rows,
            numbers,
            width,
            categories,
            category_width,
            size,
        }
    }

    /// Returns the numbers of a row; their places are the first ones.
    pub(super) fn numbers(&self, row: usize) -> &[f32] {
        &self.numbers[row * self.width..][..self.width]
    }

    /// Returns the places of a row's categories that have a weight.
    pub(super) fn categories(&self, row: usize) -> impl Iterator<Item = usize> {
        let all = &self.categories[row * self.category_width..][..self.category_width];
        all.iter()
            .filter(|place| **place != NOWHERE)
            .map(|place| *place as usize)
    }
}

/// Groups weights by feature; `of` returns the weights of a place.
pub(super) fn terms(
    features: &[Feature],
    scales: &[FeatureScale],
    of: impl Fn(usize) -> Vec<f32>,
) -> Vec<Term> {
    let count = scales.iter().flatten().count();
    let (mut number, mut category) = (0, 2 * count);
    let one = |(feature, scale): (&Feature, &FeatureScale)| match scale {
        Some((mean, spread)) => {
            number += 1;
            let (weights, missing) = (of(number - 1), of(count + number - 1));
            Term::Number {
                mean: *mean,
                spread: *spread,
                weights,
                missing,
            }
        }
        None => {
            let known = feature.categories.as_ref().map_or(0, Vec::len);
            let from = category;
            category += known + 1;
            let weights = |code: u8| match usize::from(code) {
                _ if code == ABSENT => of(from + known),
                at if at < known => of(from + at),
                _ => vec![0.0; of(from).len()],
            };
            Term::Category((0..=u8::MAX).map(weights).collect())
        }
    };

    features.iter().zip(scales).map(one).collect()
}

/// Adds the contribution of each feature of a row to the scores.
pub(super) fn add(terms: &[Term], row: &[f32], sums: &mut [f64]) {
    for (value, term) in row.iter().zip(terms) {
        match term {
            Term::Number { missing, .. } if value.is_nan() => {
                sums.iter_mut()
                    .zip(missing)
                    .for_each(|(s, w)| *s += f64::from(*w));
            }
            Term::Number {
                mean,
                spread,
                weights,
                ..
            } => {
                let x = f64::from(scaled(*value, *mean, *spread));
                sums.iter_mut()
                    .zip(weights)
                    .for_each(|(s, w)| *s += x * f64::from(*w));
            }
            Term::Category(weights) => {
                sums.iter_mut()
                    .zip(&weights[*value as usize])
                    .for_each(|(s, w)| *s += f64::from(*w));
            }
        }
    }
}

/// Adds the absolute contributions, which bound the rounding error.
pub(super) fn size(terms: &[Term], row: &[f32], sums: &mut [f64]) {
    for (value, term) in row.iter().zip(terms) {
        let (x, weights) = match term {
            Term::Number { missing, .. } if value.is_nan() => (1.0, missing),
            Term::Number {
                mean,
                spread,
                weights,
                ..
            } => (f64::from(scaled(*value, *mean, *spread).abs()), weights),
            Term::Category(weights) => (1.0, &weights[*value as usize]),
        };
        sums.iter_mut()
            .zip(weights)
            .for_each(|(s, w)| *s += x * f64::from(w.abs()));
    }
}

/// Returns the importance of each feature, as a share of all contributions.
pub(super) fn importances(terms: &[Term]) -> Vec<f64> {
    let most = |weights: &[f32]| weights.iter().map(|w| f64::from(w.abs())).sum::<f64>();
    let of = |term: &Term| match term {
        Term::Number { weights, .. } => most(weights),
        Term::Category(weights) => weights.iter().map(|w| most(w)).fold(0.0, f64::max),
    };
    let mut all: Vec<f64> = terms.iter().map(of).collect();
    let whole: f64 = all.iter().sum();
    if whole > 0.0 {
        all.iter_mut().for_each(|i| *i /= whole);
    }
    all
}
