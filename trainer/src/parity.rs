//! Checks that the graph computes what the fitted model computes: on rows of the
//! dataset, on values at every boundary, and on values outside of the data.

#[cfg(test)]
mod tests;

use crate::features::Feature;
use crate::fit::encode::Term;
use crate::fit::linear::Linear;
use crate::fit::mlp::Mlp;
use crate::fit::trees::{self, Choice};
use crate::frame::{Coder, Frame, FrameColumn, FrameValues, MISSING, SourceColumn, WordCodes};
use crate::judge::OpenModel;
use crate::model::{Learned, TrainedModel};
use crate::random::mix;
use ortus::core::error::{Error, Result};
use ortus::core::tensor::{Data, Tensor};
use ortus::explain::derivation::{DAY, DerivedValue};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The largest relative difference of a prediction.
pub(crate) const WITHIN: f64 = 1e-5;
/// Two classes are tied if their probabilities differ by less.
const TIE: f64 = 1e-5;
/// Rows that are checked at once.
const CHECKED_ROWS: usize = 256;

/// The largest difference between the graph and the fitted model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Parity {
    pub rows: usize,
    /// The largest relative difference.
    pub worst: f64,
}

/// Compares the graph with the model on rows derived from a frame. Refuses a graph
/// that differs, and names the row.
pub(crate) fn check(
    model: &TrainedModel,
    predictor: &mut OpenModel,
    like: &Frame,
    rows: usize,
    seed: u64,
) -> Result<Parity> {
    let frame = rows_at_edges(model, like, rows, seed);
    let answers = Answers::of(model, predictor, &frame)?;
    let numbers = trees::rows(&frame, &model.features);
    let parts = numbers.par_chunks(CHECKED_ROWS * model.features.len().max(1));
    let checked: Vec<Vec<Check>> = parts
        .enumerate()
        .map(|(at, part)| checks(model, &answers, part, at * CHECKED_ROWS))
        .collect();
    let mut parity = Parity {
        rows,
        ..Parity::default()
    };
    for (row, check) in checked.into_iter().flatten().enumerate() {
        parity.worst = parity.worst.max(check.worst);
        if let Some(how) = check.wrong {
            return Err(mismatch(model, &frame, row, &how));
        }
    }

    Ok(parity)
}

/// What a row showed.
struct Check {
    /// The largest relative difference.
    worst: f64,
    wrong: Option<String>,
}

/// Checks some rows from one on.
fn checks(model: &TrainedModel, answers: &Answers, rows: &[f32], from: usize) -> Vec<Check> {
    let width = model.features.len().max(1);
    let all = rows.chunks_exact(width);
    let (scores, sums): (Vec<f64>, Vec<f64>) = match &model.learned {
        Learned::Trees(booster) => booster.scores_and_sizes(rows, width),
        Learned::Linear(linear) => (
            all.clone().flat_map(|row| model.scores(row)).collect(),
            all.map(|row| largest(linear.sizes(row))).collect(),
        ),
        Learned::Mlp(mlp) => (
            all.clone().flat_map(|row| model.scores(row)).collect(),
            all.map(|row| largest(mlp.sizes(row))).collect(),
        ),
    };
    let scores = scores.chunks_exact(model.loss.scores());
    let one = |(row, (scores, sums)): (usize, (&[f64], &f64))| {
        let expected = model.answer_of(scores);
        let size = size(model, &expected, (scores, *sums));
        check_row(answers, row, &expected, size)
    };
    (from..).zip(scores.zip(&sums)).map(one).collect()
}

fn check_row(answers: &Answers, row: usize, expected: &[f64], size: f64) -> Check {
    let mut worst = 0.0_f64;
    for (found, expected) in answers.row(row).iter().zip(expected) {
        let difference = difference(f64::from(*found), *expected) / size;
        worst = worst.max(difference);
        if difference.is_nan() || difference > WITHIN {
            let wrong = Some(format!("the graph predicts {found}, the model {expected}"));
            return Check { worst, wrong };
        }
    }
    let wrong = flip(answers, row, expected, size);
    Check { worst, wrong }
}

/// The predictions of a graph, NaN included.
struct Answers {
    width: usize,
    /// A value, or a probability for each class, row by row.
    values: Vec<f32>,
    /// The index of the label, for classification.
    labels: Vec<usize>,
}

impl Answers {
    fn of(model: &TrainedModel, predictor: &mut OpenModel, frame: &Frame) -> Result<Self> {
        let mut found = Self {
            width: model.classes.as_ref().map_or(1, Vec::len),
            values: Vec::new(),
            labels: Vec::new(),
        };

        let mut odd = None;
        predictor.predict(frame, &mut |_, outputs, rows| {
            if let Some(Data::Fixed(bytes)) = outputs.last().map(Tensor::data) {
                found.values.extend(
                    bytes
                        .chunks_exact(4)
                        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])),
                );
            }
            if let Some(classes) = &model.classes {
                match labels(&outputs[0], classes) {
                    Ok(labels) => found.labels.extend(labels),
                    Err(error) => odd = Some(error),
                }
            }
            if found.values.len() != rows.end * found.width {
                odd = Some(Error::precondition(
                    "the model does not return one prediction for each row",
                ));
            }
        })?;

        odd.map_or(Ok(found), Err)
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..][..self.width]
    }
}

/// Returns the indices of labels in the classes.
fn labels(tensor: &Tensor, classes: &[String]) -> Result<Vec<usize>> {
    let words: Vec<String> = match tensor.data() {
        Data::Fixed(bytes) => {
            let number =
                |b: &[u8]| i64::from_le_bytes(b.try_into().unwrap_or_default()).to_string();
            bytes.chunks_exact(8).map(number).collect()
        }
        Data::Strings(all) => all.words().map(str::to_owned).collect(),
    };

    let place = |word: &String| {
        let found = classes.iter().position(|c| c == word);
        found.ok_or_else(|| {
            Error::precondition(format!(
                "the label '{}' is not a class",
                ortus::core::error::short(word)
            ))
        })
    };

    words.iter().map(place).collect()
}

fn difference(found: f64, expected: f64) -> f64 {
    if found.is_nan() && expected.is_nan() || found == expected {
        0.0
    } else {
        (found - expected).abs()
    }
}

/// Returns the scale of a difference: the size of the prediction and of the sums behind
/// it.
fn size(model: &TrainedModel, expected: &[f64], (scores, sums): (&[f64], f64)) -> f64 {
    if model.classes.is_some() {
        // FP32 sums have a relative error of a few 1e-7, and a probability has that
        // error times its derivative.
        let moves = match &model.calibration {
            None => expected.iter().map(|p| p * (1.0 - p)).fold(0.0, f64::max),
            Some(calibration) => calibration.steepness(scores[0], WITHIN * (1.0 + sums)),
        };
        return 1.0 + 0.05 * sums * moves;
    }

    if model.loss.is_log_link() {
        // The absolute error of a logarithm is the relative error of the rate.
        return expected[0] * (1.0 + 0.05 * sums) + f64::from(f32::MIN_POSITIVE);
    }
    expected[0].abs() + sums + f64::from(f32::MIN_POSITIVE)
}

fn largest(sizes: Vec<f64>) -> f64 {
    sizes.into_iter().fold(0.0, f64::max)
}

/// Describes a class that differs without a tie.
fn flip(answers: &Answers, row: usize, expected: &[f64], size: f64) -> Option<String> {
    let label = *answers.labels.get(row)?;
    let first = |a: usize, b: usize| if expected[b] > expected[a] { b } else { a };
    let best = (0..expected.len()).fold(0, first);
    let is_tied = expected[best] - expected[label] <= TIE * size;
    (label != best && !is_tied)
        .then(|| format!("the graph predicts class {label}, the model {best}"))
}

fn mismatch(model: &TrainedModel, frame: &Frame, row: usize, how: &str) -> Error {
    let cell = |(column, feature): (&FrameColumn, &Feature)| match &column.values {
        FrameValues::Numbers(all) => format!("{}={}", feature.name, all[row]),
        FrameValues::Words(words) => {
            format!("{}={:?}", feature.name, words.get(row).unwrap_or_default())
        }
    };

    let sources = frame.sources.iter();
    let sources = sources.map(|source| format!("{}={}", source.name, source.values[row]));
    let cells = frame.columns.iter().zip(&model.features).map(cell);
    let all: Vec<String> = sources.chain(cells).take(8).collect();
    Error::precondition(format!(
        "the exported graph differs from the fitted model: for the row {}, {how}",
        all.join(", ")
    ))
}

/// Returns rows like those of a frame, with many values moved to boundaries where
/// a mistake would show.
fn rows_at_edges(model: &TrainedModel, like: &Frame, rows: usize, seed: u64) -> Frame {
    let edges = edges(model);
    let chosen: Vec<usize> = (0..rows)
        .map(|row| (mix(seed, row as u64) % like.rows.max(1) as u64) as usize)
        .collect();
    let columns = like.columns.iter().enumerate().map(|(at, column)| {
        let dice = |row: usize| mix(seed.wrapping_add(at as u64 + 1), row as u64);
        let values = match &column.values {
            FrameValues::Numbers(all) => {
                let one = |(row, from): (usize, &usize)| number(dice(row), all[*from], &edges[at]);
                FrameValues::Numbers(chosen.iter().enumerate().map(one).collect())
            }
            FrameValues::Words(words) => FrameValues::Words(word_at_edge(words, &chosen, &dice)),
        };
        FrameColumn {
            name: column.name.clone(),
            values,
        }
    });

    let columns = columns.collect();
    let mut frame = Frame {
        columns,
        rows,
        sources: sources_at_edges(model, like, &chosen, seed),
        derived: like.derived.clone(),
    };
    // Computed from the inputs as they are served, not from rounded ones.
    frame.derive();
    frame
}

/// Returns FP64 inputs, with many values moved to boundaries of what is computed from them.
fn sources_at_edges(
    model: &TrainedModel,
    like: &Frame,
    chosen: &[usize],
    seed: u64,
) -> Vec<SourceColumn> {
    let thresholds = edges(model);
    let one = |(at, source): (usize, &SourceColumn)| {
        let mut edges = Vec::new();
        for (feature, thresholds) in model.features.iter().zip(&thresholds) {
            if let Some(derivation) = &feature.derived
                && derivation.source == source.name
                && let DerivedValue::Minus(constant) = &derivation.how
            {
                edges.extend(thresholds.iter().map(|t| f64::from(*t) + constant));
            }
        }
        let seed = seed.wrapping_add((like.columns.len() + at) as u64 + 1);
        let bent = chosen.iter().enumerate();
        let bent =
            bent.map(|(row, from)| wide(mix(seed, row as u64), source.values[*from], &edges));
        SourceColumn {
            name: source.name.clone(),
            values: bent.collect(),
        }
    };
    like.sources.iter().enumerate().map(one).collect()
}

/// Returns an FP64 value, or one at an edge: of a second, an hour, a day, or of a threshold.
fn wide(dice: u64, there: f64, edges: &[f64]) -> f64 {
    const EXTREMES: [f64; 8] = [
        0.0,
        -1.0,
        f64::MIN_POSITIVE,
        f64::MAX,
        f64::MIN,
        9_007_199_254_740_993.0,
        -62_135_596_800.0,
        951_782_400.0,
    ];

    let pick = (dice >> 16) as usize;
    let edge = |all: &[f64]| all.get(pick % all.len().max(1)).copied().unwrap_or(there);
    match dice % 16 {
        0..=4 => there,
        5 => f64::NAN,
        6 => [f64::INFINITY, f64::NEG_INFINITY][pick % 2],
        7 => EXTREMES[pick % EXTREMES.len()],
        8 => (there / DAY).floor() * DAY,
        9 => ((there / DAY).floor() * DAY).next_down(),
        10 => (there / 3_600.0).floor() * 3_600.0 - 1.0,
        11 => there + (pick % 100_000) as f64 * DAY,
        12 | 13 => edge(edges),
        14 => edge(edges).next_up(),
        _ => edge(edges).next_down(),
    }
}

/// Returns the thresholds of each feature.
fn edges(model: &TrainedModel) -> Vec<Vec<f32>> {
    let mut all = vec![Vec::new(); model.features.len()];
    match &model.learned {
        Learned::Trees(booster) => {
            for node in booster.trees.iter().flat_map(|t| &t.nodes) {
                if let Choice::UpTo { threshold, .. } = &node.choice {
                    all[node.feature].push(*threshold);
                }
            }
        }
        Learned::Linear(Linear { terms, .. })
        | Learned::Mlp(Mlp {
            first: Linear { terms, .. },
            ..
        }) => {
            for (at, term) in terms.iter().enumerate() {
                if let Term::Number { mean, spread, .. } = term {
                    all[at].extend([*mean, mean + spread, mean - 8.0 * spread]);
                }
            }
        }
    }

    for edges in &mut all {
        edges.sort_unstable_by(f32::total_cmp);
        edges.dedup();
    }
    all
}

fn number(dice: u64, there: f32, edges: &[f32]) -> f32 {
    const EXTREMES: [f32; 10] = [
        0.0,
        -0.0,
        f32::MIN_POSITIVE,
        -1e-42,
        f32::MAX,
        f32::MIN,
        1e30,
        -1e-30,
        f32::EPSILON,
        16_777_216.0,
    ];

    let pick = (dice >> 16) as usize;
    match dice % 16 {
        0..=5 => there,
        6 => f32::NAN,
        7 => f32::INFINITY,
        8 => f32::NEG_INFINITY,
        9 => EXTREMES[pick % EXTREMES.len()],
        _ if edges.is_empty() => there,
        10 | 11 => edges[pick % edges.len()],
        12 | 13 => edges[pick % edges.len()].next_up(),
        _ => edges[pick % edges.len()].next_down(),
    }
}

fn word_at_edge(words: &WordCodes, chosen: &[usize], dice: &dyn Fn(usize) -> u64) -> WordCodes {
    let mut coder = Coder::default();
    for (row, from) in chosen.iter().enumerate() {
        let dice = dice(row);
        let any = words
            .list
            .get((dice >> 16) as usize % words.list.len().max(1));
        match dice % 8 {
            0 => coder.push(None),
            1 => coder.push(Some("no row has had this")),
            2 => coder.push(Some("é\u{1F600} \u{202e}")),
            3 | 4 => coder.push(any.map(String::as_str)),
            _ if words.codes[*from] == MISSING => coder.push(None),
            _ => coder.push(words.get(*from)),
        }
    }

    coder.finish()
}
