//! Calibration of the probabilities of two classes: a function of the score that is fitted to rows
//! which the model did not learn from. The exported graph computes the same function.

#[cfg(test)]
mod tests;

use ortus::core::error::{Error, Result};
use ortus::observe::quality::calibrate::pooled;
use serde::{Deserialize, Serialize};

/// The most knots of an isotonic curve.
const KNOTS_MAX: usize = 256;
/// The fewest rows of a bin of an isotonic curve.
const BIN_ROWS_MIN: usize = 10;
/// Knots that are closer than this share of their score are one.
const GAP_MIN: f64 = 1e-5;
/// The most steps of the fit of a logistic function.
const STEPS_MAX: usize = 100;

/// A function from the score of the positive class to its probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ScoreCalibration {
    /// A logistic function (Platt 1999).
    Platt { slope: f32, offset: f32 },
    /// Lines between knots, which rise (Zadrozny and Elkan 2002).
    Isotonic {
        scores: Vec<f32>,
        probabilities: Vec<f32>,
    },
}

/// A row that the model did not learn from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScoredRow {
    pub score: f64,
    pub is_positive: bool,
    pub weight: f64,
}

impl ScoreCalibration {
    /// Fits a logistic function by Newton's method. Refuses rows of one class.
    pub(crate) fn platt(rows: &[ScoredRow]) -> Result<Self> {
        let (positive, negative) = class_weights(rows)?;
        // Targets are not quite 0 and 1, as if there were one row more of each class.
        let high = (positive + 1.0) / (positive + 2.0);
        let low = 1.0 / (negative + 2.0);
        let target = |row: &ScoredRow| if row.is_positive { high } else { low };
        let loss = |slope: f64, offset: f64| -> f64 {
            let of = |row: &ScoredRow| {
                let x = slope * row.score + offset;
                row.weight * (x.max(0.0) + (-x.abs()).exp().ln_1p() - target(row) * x)
            };
            rows.iter().map(of).sum()
        };

        let (mut slope, mut offset) = (0.0, ((positive + 1.0) / (negative + 1.0)).ln());
        let mut here = loss(slope, offset);
        for _ in 0..STEPS_MAX {
            let (mut g, mut h) = ([0.0; 2], [1e-12, 0.0, 1e-12]);
            for row in rows {
                let p = 1.0 / (1.0 + (-(slope * row.score + offset)).exp());
                let (pull, curve) = (row.weight * (p - target(row)), row.weight * p * (1.0 - p));
                g = [g[0] + pull * row.score, g[1] + pull];
                h[0] += curve * row.score * row.score;
                h[1] += curve * row.score;
                h[2] += curve;
            }
            let whole = h[0] * h[2] - h[1] * h[1];
            if whole.abs() < f64::MIN_POSITIVE {
                break;
            }
            let step = [
                (h[2] * g[0] - h[1] * g[1]) / whole,
                (h[0] * g[1] - h[1] * g[0]) / whole,
            ];
            let mut length = 1.0;
            let mut next = here;
            while length > 1e-10 {
                next = loss(slope - length * step[0], offset - length * step[1]);
                if next < here {
                    break;
                }
                length /= 2.0;
            }
            if next >= here {
                break;
            }
            (slope, offset) = (slope - length * step[0], offset - length * step[1]);
            let gained = here - next;
            here = next;
            if gained < 1e-12 * here.abs() {
                break;
            }
        }
        Ok(Self::Platt {
            slope: slope as f32,
            offset: offset as f32,
        })
    }

    /// Fits a rising curve: pools neighbouring bins until their frequencies rise (Ayer et al. 1955), and
    /// draws lines between them. Refuses rows of one class.
    pub(crate) fn isotonic(rows: &[ScoredRow]) -> Result<Self> {
        class_weights(rows)?;
        let rises = |before: &ScoreBin, last: &ScoreBin| before.frequency() < last.frequency();
        let pooled = pooled(bins(rows), rises, ScoreBin::with);

        // Never certain: as if there were one row more of each class.
        let least = 1.0 / (rows.len() as f64 + 2.0);
        let (mut scores, mut probabilities): (Vec<f32>, Vec<f32>) = Default::default();
        for bin in pooled {
            let score = bin.score();
            let is_near = |last: &f32| {
                score - f64::from(*last) <= GAP_MIN * (1.0 + score.abs().max(f64::from(last.abs())))
            };
            if scores.last().is_some_and(is_near) {
                continue;
            }
            scores.push(score as f32);
            probabilities.push(bin.frequency().clamp(least, 1.0 - least) as f32);
        }
        if scores.len() == 1 {
            scores.push(scores[0] + 1.0);
            probabilities.push(probabilities[0]);
        }
        Ok(Self::Isotonic {
            scores,
            probabilities,
        })
    }

    /// Returns the probability of the positive class.
    pub(crate) fn probability(&self, score: f64) -> f64 {
        match self {
            Self::Platt { slope, offset } => {
                let x = f64::from(*slope) * score + f64::from(*offset);
                1.0 / (1.0 + (-x).exp())
            }
            Self::Isotonic { probabilities, .. } => {
                let lines = self.lines().into_iter();
                let rise = lines.map(|line| {
                    let along = (score - f64::from(line.from)) / f64::from(line.length);
                    along.clamp(0.0, 1.0) * f64::from(line.rise)
                });
                f64::from(probabilities[0]) + rise.sum::<f64>()
            }
        }
    }

    /// Returns the steepest rise near a score.
    pub(crate) fn steepness(&self, score: f64, near: f64) -> f64 {
        match self {
            Self::Platt { slope, .. } => {
                let p = self.probability(score);
                f64::from(slope.abs()) * p * (1.0 - p)
            }
            Self::Isotonic { .. } => {
                let is_near = |line: &CurveLine| {
                    let from = f64::from(line.from);
                    score >= from - near && score <= from + f64::from(line.length) + near
                };
                let lines = self.lines().into_iter().filter(is_near);
                let rises = lines.map(|line| f64::from(line.rise) / f64::from(line.length));
                rises.fold(0.0, f64::max)
            }
        }
    }

    /// Returns the lines between the knots of a curve.
    pub(crate) fn lines(&self) -> Vec<CurveLine> {
        let Self::Isotonic {
            scores,
            probabilities,
        } = self
        else {
            return Vec::new();
        };
        let pairs = scores.windows(2).zip(probabilities.windows(2));
        let line = |(scores, ends): (&[f32], &[f32])| CurveLine {
            from: scores[0],
            length: scores[1] - scores[0],
            rise: ends[1] - ends[0],
        };
        pairs.map(line).collect()
    }
}

/// A line of a curve.
pub(crate) struct CurveLine {
    pub from: f32,
    pub length: f32,
    pub rise: f32,
}

/// Rows of neighbouring scores.
#[derive(Clone, Copy, Debug)]
struct ScoreBin {
    weight: f64,
    positive: f64,
    /// The sum of scores times weights.
    scores: f64,
}

impl ScoreBin {
    fn frequency(&self) -> f64 {
        self.positive / self.weight
    }

    fn score(&self) -> f64 {
        self.scores / self.weight
    }

    fn with(&self, other: &Self) -> Self {
        Self {
            weight: self.weight + other.weight,
            positive: self.positive + other.positive,
            scores: self.scores + other.scores,
        }
    }
}

/// Puts rows of neighbouring scores into bins of about as many rows; equal scores share one.
fn bins(rows: &[ScoredRow]) -> Vec<ScoreBin> {
    let mut sorted: Vec<ScoredRow> = rows.iter().copied().filter(|r| r.weight > 0.0).collect();
    sorted.sort_by(|a, b| a.score.total_cmp(&b.score));
    let size = (sorted.len().div_ceil(KNOTS_MAX)).max(BIN_ROWS_MIN);
    let (mut all, mut held): (Vec<ScoreBin>, usize) = (Vec::new(), size);
    for tied in sorted.chunk_by(|a, b| a.score == b.score) {
        if held >= size {
            held = 0;
            all.push(ScoreBin {
                weight: 0.0,
                positive: 0.0,
                scores: 0.0,
            });
        }
        held += tied.len();
        let Some(bin) = all.last_mut() else { continue };
        for row in tied {
            bin.weight += row.weight;
            bin.positive += row.weight * f64::from(u8::from(row.is_positive));
            bin.scores += row.weight * row.score;
        }
    }
    all
}

/// Returns the weights of the positive and of the negative class. Refuses rows that lack one.
fn class_weights(rows: &[ScoredRow]) -> Result<(f64, f64)> {
    let weight = |is: bool| -> f64 {
        let of = rows.iter().filter(|row| row.is_positive == is);
        of.map(|row| row.weight).sum()
    };
    let (positive, negative) = (weight(true), weight(false));
    if positive > 0.0 && negative > 0.0 {
        return Ok((positive, negative));
    }
    Err(Error::invalid(
        "the early-stopping rows, by which probabilities are calibrated, are all of one class; raise 'stop' in [split], add rows, or leave 'calibration' in [fit] out",
    ))
}
