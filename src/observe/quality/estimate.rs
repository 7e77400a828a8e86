//! Estimated performance of classifiers without labels (CBPE), computed from calibrated scores. The
//! estimate is valid while P(y | score) is as in training, which inputs alone cannot show; the
//! assumption is printed with every estimate.

#[cfg(test)]
mod tests;

use super::answer::RowAnswer;
use super::calibrate::Curve;
use super::measure::{ConfusionCounts, Measures};
use crate::core::model::task::Classification;
use std::collections::BTreeMap;

/// Bins of the scores for the area under the ROC curve. They are equal in log-odds, because
/// confident models have most scores near 0 and 1.
const BINS: usize = 1_024;
/// The log-odds at which the outermost bins start.
const ODDS_MAX: f64 = 20.0;

/// The assumption that is printed with every estimate.
pub(crate) const ASSUMPTION: &str = "holds if a score is right as often as it was on the baseline's rows; concept drift does not show";

/// Sums over rows, weighted by their calibrated scores.
#[derive(Clone)]
pub(crate) struct Estimator {
    curves: Vec<Option<Curve>>,
    looked_at: Vec<usize>,
    rows: u64,
    /// The expected number of correct predictions, and its variance.
    right: f64,
    variance: f64,
    /// Sums for each class.
    sums: Vec<Sums>,
}

/// One class against the rest.
#[derive(Clone)]
struct Sums {
    decided: u64,
    /// Expected rows of the class: among rows predicted as the class, and among all.
    right: f64,
    of_class: f64,
    /// Rows and expected rows of the class, by score.
    bins: Box<[(u32, f64); BINS]>,
}

/// The estimated performance on some rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub rows: u64,
    pub measures: Measures,
    /// Margin of the accuracy or mean absolute error: on as many labelled rows, it lies within this
    /// of the estimate in 95 of 100 cases, if the assumption holds. None if the spread of errors is
    /// unknown.
    pub margin: Option<f64>,
    /// For classifiers: whether scores were calibrated by the baseline's curve. None for
    /// companions.
    pub calibrated: Option<bool>,
}

impl Estimator {
    /// Starts at zero. Curves are given by class.
    pub(crate) fn new(task: &Classification, curves: &BTreeMap<usize, Curve>) -> Self {
        let width = task.classes.len();
        let looked_at: Vec<usize> = if width == 2 {
            vec![1]
        } else {
            (0..width).collect()
        };

        let sums = || Sums {
            decided: 0,
            right: 0.0,
            of_class: 0.0,
            bins: Box::new([(0, 0.0); BINS]),
        };

        Self {
            curves: (0..width)
                .map(|class| curves.get(&class).cloned())
                .collect(),
            sums: looked_at.iter().map(|_| sums()).collect(),
            looked_at,
            rows: 0,
            right: 0.0,
            variance: 0.0,
        }
    }

    /// Adds the prediction of a row.
    pub(crate) fn take(&mut self, answer: &RowAnswer) {
        let RowAnswer::Class(class, scores) = answer else {
            return;
        };
        let shares = self.shares(scores);
        let Some(own) = shares.get(*class as usize) else {
            return;
        };
        self.rows += 1;
        self.right += own;
        self.variance += own * (1.0 - own);
        for (sums, class_at) in self.sums.iter_mut().zip(&self.looked_at) {
            let share = shares[*class_at];
            sums.of_class += share;
            if *class as usize == *class_at {
                sums.decided += 1;
                sums.right += share;
            }
            let bin = &mut sums.bins[bin(scores[*class_at].into())];
            bin.0 = bin.0.saturating_add(1);
            bin.1 += share;
        }
    }

    /// Returns calibrated scores that add up to 1.
    fn shares(&self, scores: &[f32]) -> Vec<f64> {
        let at = |class: usize, score: f32| match &self.curves[class] {
            Some(curve) => curve.calibrated(score.into()),
            None => f64::from(score).clamp(0.0, 1.0),
        };
        // With two classes, the curve is that of the positive class.
        if let [_, positive] = scores {
            let share = at(1, *positive);
            return vec![1.0 - share, share];
        }

        let mut shares: Vec<f64> = scores
            .iter()
            .take(self.curves.len())
            .enumerate()
            .map(|(class, score)| at(class, *score))
            .collect();
        let whole: f64 = shares.iter().sum();

        if whole > 0.0 {
            shares.iter_mut().for_each(|share| *share /= whole);
        }
        shares
    }

    /// Returns the estimate and starts again at zero; none without rows.
    pub(crate) fn close(&mut self) -> Option<Estimate> {
        let rows = std::mem::take(&mut self.rows);
        let (right, variance) = (
            std::mem::take(&mut self.right),
            std::mem::take(&mut self.variance),
        );
        let n = (rows > 0).then_some(rows as f64)?;
        let classes = self.sums.len() as f64;
        let mut measures = Measures::from([("accuracy", right / n)]);
        let counts: Vec<ConfusionCounts> = self.sums.iter().map(Sums::counts).collect();
        let average =
            |of: fn(&ConfusionCounts) -> f64| counts.iter().map(of).sum::<f64>() / classes;
        measures.insert("precision", average(ConfusionCounts::precision));
        measures.insert("recall", average(ConfusionCounts::recall));
        measures.insert("f1", average(ConfusionCounts::f1));
        if let Some(areas) = self
            .sums
            .iter()
            .map(Sums::area)
            .collect::<Option<Vec<f64>>>()
        {
            measures.insert("auc", areas.iter().sum::<f64>() / classes);
        }

        for sums in &mut self.sums {
            (sums.decided, sums.right, sums.of_class) = (0, 0.0, 0.0);
            sums.bins.fill((0, 0.0));
        }
        let calibrated = self
            .looked_at
            .iter()
            .all(|class| self.curves[*class].is_some());
        let margin = Some(1.96 * variance.sqrt() / n);

        Some(Estimate {
            rows,
            measures,
            margin,
            calibrated: Some(calibrated),
        })
    }
}

/// Returns the bin of a score.
fn bin(score: f64) -> usize {
    let score = score.clamp(0.0, 1.0);
    let odds = (score / (1.0 - score)).ln().clamp(-ODDS_MAX, ODDS_MAX);
    // A value outside 0 to 1 has no log-odds.
    if odds.is_nan() {
        0
    } else {
        (((odds / ODDS_MAX + 1.0) / 2.0 * BINS as f64) as usize).min(BINS - 1)
    }
}

impl Sums {
    fn counts(&self) -> ConfusionCounts {
        ConfusionCounts {
            right: self.right,
            wrong: self.decided as f64 - self.right,
            missed: self.of_class - self.right,
        }
    }

    /// Returns the probability that a row of the class scores higher than one of another class.
    fn area(&self) -> Option<f64> {
        let (mut below, mut won) = (0.0, 0.0);
        for (rows, of_class) in self.bins.iter() {
            let others = f64::from(*rows) - of_class;
            won += of_class * (below + others / 2.0);
            below += others;
        }

        (self.of_class > 0.0 && below > 0.0).then(|| won / (self.of_class * below))
    }
}
