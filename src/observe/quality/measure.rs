//! Performance measures of labelled rows, exact over the given rows. With two classes, scores are
//! those of the last (positive) class; with more, each class is measured against the others and the
//! results are averaged.

#[cfg(test)]
mod tests;

use super::answer::{RowAnswer, Truth};
use std::collections::BTreeMap;

/// Measures by name. One that is not defined for the rows, such as the AUC of a single class, is
/// left out.
pub type Measures = BTreeMap<&'static str, f64>;

/// Scores are limited to this distance from 0 and 1 before a logarithm is taken.
const CLIP: f64 = 1e-15;
/// Equal bins of the scores for the calibration error.
const ECE_BINS: usize = 10;

/// Measures rows of one task; other rows are skipped.
pub fn measure<'r>(rows: impl Iterator<Item = (&'r RowAnswer, Truth)>) -> Measures {
    measure_weighted(rows.map(|(answer, truth)| (answer, truth, 1.0)))
}

/// Measures rows with their weights; rows of weight 0 are skipped.
pub fn measure_weighted<'r>(rows: impl Iterator<Item = (&'r RowAnswer, Truth, f64)>) -> Measures {
    let (mut classes, mut values) = (Vec::new(), Vec::new());
    for row in rows.filter(|(_, _, weight)| *weight > 0.0) {
        match row {
            (RowAnswer::Class(class, scores), Truth::Class(truth), weight)
                if truth < scores.len() =>
            {
                classes.push(ClassifiedRow {
                    class: *class as usize,
                    truth,
                    scores,
                    weight,
                });
            }
            (RowAnswer::Value(value), Truth::Value(truth), weight) => {
                values.push((*value, truth, weight));
            }
            _ => {}
        }
    }

    if classes.is_empty() {
        regression(&values)
    } else {
        classification(&classes)
    }
}

/// A labelled row of a classifier.
struct ClassifiedRow<'r> {
    class: usize,
    truth: usize,
    scores: &'r [f32],
    weight: f64,
}

impl ClassifiedRow<'_> {
    fn score(&self, class: usize) -> f64 {
        self.scores.get(class).copied().unwrap_or(0.0).into()
    }
}

fn classification(rows: &[ClassifiedRow<'_>]) -> Measures {
    let n: f64 = rows.iter().map(|r| r.weight).sum();
    let mean = |of: &dyn Fn(&ClassifiedRow<'_>) -> f64| {
        rows.iter().map(|r| r.weight * of(r)).sum::<f64>() / n
    };
    let width = rows.iter().map(|r| r.scores.len()).max().unwrap_or(0);
    let looked_at: Vec<usize> = if width == 2 {
        vec![1]
    } else {
        (0..width).collect()
    };

    let mut measures = Measures::from([
        (
            "accuracy",
            mean(&|r| f64::from(u8::from(r.class == r.truth))),
        ),
        (
            "log_loss",
            mean(&|r| -r.score(r.truth).clamp(CLIP, 1.0 - CLIP).ln()),
        ),
        ("ece", calibration_error(rows)),
    ]);

    let square =
        |r: &ClassifiedRow<'_>, c: usize| (r.score(c) - f64::from(u8::from(r.truth == c))).powi(2);
    measures.insert(
        "brier",
        mean(&|r| looked_at.iter().map(|c| square(r, *c)).sum()),
    );

    let counted: Vec<ConfusionCounts> = looked_at
        .iter()
        .map(|class| ConfusionCounts::of(rows, *class))
        .collect();
    let average = |of: fn(&ConfusionCounts) -> f64| {
        counted.iter().map(of).sum::<f64>() / counted.len() as f64
    };
    measures.insert("precision", average(ConfusionCounts::precision));

    measures.insert("recall", average(ConfusionCounts::recall));
    measures.insert("f1", average(ConfusionCounts::f1));
    let areas: Option<Vec<f64>> = looked_at.iter().map(|class| area(rows, *class)).collect();
    if let Some(areas) = areas {
        measures.insert("auc", areas.iter().sum::<f64>() / areas.len() as f64);
    }
    let precisions: Option<Vec<f64>> = looked_at
        .iter()
        .map(|class| average_precision_of(scored(rows, *class)))
        .collect();
    if let Some(of) = precisions {
        measures.insert(
            "average_precision",
            of.iter().sum::<f64>() / of.len() as f64,
        );
    }
    measures
}

/// True and false positives and negatives of one class, as shares of rows or as rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ConfusionCounts {
    pub right: f64,
    pub wrong: f64,
    pub missed: f64,
}

impl ConfusionCounts {
    fn of(rows: &[ClassifiedRow<'_>], class: usize) -> Self {
        let count = |is: &dyn Fn(&ClassifiedRow<'_>) -> bool| -> f64 {
            let of = rows.iter().filter(|r| is(r));
            of.map(|r| r.weight).sum()
        };
        Self {
            right: count(&|r| r.class == class && r.truth == class),
            wrong: count(&|r| r.class == class && r.truth != class),
            missed: count(&|r| r.class != class && r.truth == class),
        }
    }

    pub(super) fn precision(&self) -> f64 {
        share(self.right, self.right + self.wrong)
    }

    pub(super) fn recall(&self) -> f64 {
        share(self.right, self.right + self.missed)
    }

    pub(super) fn f1(&self) -> f64 {
        share(
            2.0 * self.right,
            2.0 * self.right + self.wrong + self.missed,
        )
    }
}

/// Divides; 0 if the divisor is 0.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// Returns the probability that a row of the class scores higher than another; ties count half.
/// None if all rows are of one kind.
fn area(rows: &[ClassifiedRow<'_>], class: usize) -> Option<f64> {
    weighted_area(scored(rows, class))
}

/// The score of a class, whether the row is of the class, and the weight of the row.
type WeightedScore = (f64, bool, f64);

/// Returns the score of a class in each row, and whether the row is of the class.
fn scored(rows: &[ClassifiedRow<'_>], class: usize) -> Vec<WeightedScore> {
    let one = |r: &ClassifiedRow<'_>| (r.score(class), r.truth == class, r.weight);
    rows.iter().map(one).collect()
}

/// Returns the average precision of pairs of a score and whether the row is of the class: the sum over
/// all scores, from the highest on, of the precision times the gain of recall. Rows of equal score
/// count together. None if all rows are of one kind.
fn average_precision_of(mut sorted: Vec<WeightedScore>) -> Option<f64> {
    sorted.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let (mut rows, mut right, mut sum) = (0.0, 0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let (hits, others) = hits_and_others(tied);
        rows += hits + others;
        right += hits;
        sum += hits * right / rows;
    }
    (right > 0.0 && right < rows).then(|| sum / right)
}

/// Returns the same for pairs of a score and whether the row is of the class.
pub fn area_of(rows: Vec<(f64, bool)>) -> Option<f64> {
    weighted_area(
        rows.into_iter()
            .map(|(score, is)| (score, is, 1.0))
            .collect(),
    )
}

/// Returns the weights of rows of the class, and of the others.
fn hits_and_others(rows: &[WeightedScore]) -> (f64, f64) {
    rows.iter()
        .fold((0.0, 0.0), |(hits, others), (_, is, weight)| match is {
            true => (hits + weight, others),
            false => (hits, others + weight),
        })
}

fn weighted_area(mut sorted: Vec<WeightedScore>) -> Option<f64> {
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let (mut below, mut won, mut of_class) = (0.0, 0.0, 0.0);
    for tied in sorted.chunk_by(|a, b| a.0 == b.0) {
        let (hits, others) = hits_and_others(tied);
        won += hits * (below + others / 2.0);
        below += others;
        of_class += hits;
    }

    (below > 0.0 && of_class > 0.0).then(|| won / (below * of_class))
}

/// Returns the mean difference between the score of the predicted class and the share of correct
/// predictions, over equal bins of the score, weighted by rows.
fn calibration_error(rows: &[ClassifiedRow<'_>]) -> f64 {
    let mut bins = [(0.0, 0.0); ECE_BINS];
    for row in rows {
        let score = row.score(row.class);
        // A bin excludes its lower end: 0.1 belongs to the first.
        let at = ((score * ECE_BINS as f64).ceil() as usize).clamp(1, ECE_BINS) - 1;
        bins[at].0 += row.weight * score;
        bins[at].1 += row.weight * f64::from(u8::from(row.class == row.truth));
    }

    bins.iter()
        .map(|(score, right)| (score - right).abs())
        .sum::<f64>()
        / rows.iter().map(|row| row.weight).sum::<f64>()
}

/// Measures predicted values with their labels and weights.
fn regression(rows: &[(f64, f64, f64)]) -> Measures {
    if rows.is_empty() {
        return Measures::new();
    }
    let n: f64 = rows.iter().map(|(_, _, weight)| weight).sum();
    let mean = |of: &dyn Fn(f64, f64) -> f64| {
        rows.iter()
            .map(|(value, truth, weight)| weight * of(*value, *truth))
            .sum::<f64>()
            / n
    };

    let squared = mean(&|v, t| (t - v).powi(2));
    let centre = mean(&|_, t| t);
    let spread = mean(&|_, t| (t - centre).powi(2));
    let pinball = |q: f64| {
        mean(&|v, t| {
            if t >= v {
                q * (t - v)
            } else {
                (1.0 - q) * (v - t)
            }
        })
    };

    let mut measures = Measures::from([
        ("mae", mean(&|v, t| (t - v).abs())),
        ("rmse", squared.sqrt()),
        ("bias", mean(&|v, t| v - t)),
        ("quantile_loss_10", pinball(0.1)),
        ("quantile_loss_90", pinball(0.9)),
    ]);

    if spread > 0.0 {
        measures.insert("r2", 1.0 - squared / spread);
    }
    measures
}
