//! Estimated performance of classifiers without labels (CBPE): calibrated scores say how often the
//! model is right. The estimate holds while P(y | score) is as in training, which inputs alone
//! cannot show; whoever prints an estimate prints that assumption with it.

#[cfg(test)]
mod tests;

use super::answer::Answer;
use super::calibrate::Curve;
use super::measure::{Counts, Measures};
use crate::core::model::task::Classification;
use std::collections::BTreeMap;

/// Parts of the scores, for the area under the curve: equal ones of the
/// logarithm of their odds, for sure models have most scores near 0 and 1.
const BINS: usize = 1_024;
/// The logarithm at which the outermost begin.
const ODDS_MAX: f64 = 20.0;

/// What is printed beside every estimate.
pub(crate) const ASSUMPTION: &str = "holds if a score is right as often as it was on the baseline's rows; concept drift does not show";

/// Sums over rows, each worth its calibrated scores.
#[derive(Clone)]
pub(crate) struct Estimator {
    curves: Vec<Option<Curve>>,
    looked_at: Vec<usize>,
    rows: u64,
    /// What is expected to be right, and how far that may be off by chance.
    right: f64,
    variance: f64,
    /// Of each class looked at.
    sums: Vec<Sums>,
}

/// One class against the rest.
#[derive(Clone)]
struct Sums {
    decided: u64,
    /// Rows of the class expected among those decided for it, and among all.
    right: f64,
    of_class: f64,
    /// Rows and those expected of the class, by the score.
    bins: Box<[(u32, f64); BINS]>,
}

/// What is estimated of some rows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Estimate {
    pub rows: u64,
    pub measures: Measures,
    /// The accuracy, or mean absolute error, of as many labelled rows lies within
    /// this of the estimate 95 times of 100, if the assumption holds; none where
    /// nothing says how far errors are spread.
    pub margin: Option<f64>,
    /// Of scores, whether there was a curve for them; as they are where not.
    pub calibrated: Option<bool>,
}

impl Estimator {
    /// Starts at nothing. Curves go by the name of the scores' column, as the
    /// baseline has them.
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

    /// Takes a row's answer.
    pub(crate) fn take(&mut self, answer: &Answer) {
        let Answer::Class(class, scores) = answer else {
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

    /// Scores as they turned out; together one.
    fn shares(&self, scores: &[f32]) -> Vec<f64> {
        let at = |class: usize, score: f32| match &self.curves[class] {
            Some(curve) => curve.at(score.into()),
            None => f64::from(score).clamp(0.0, 1.0),
        };
        // Of two classes the positive one has the curve.
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

    /// Tells what it comes to, and starts again; none of no rows.
    pub(crate) fn close(&mut self) -> Option<Estimate> {
        let rows = std::mem::take(&mut self.rows);
        let (right, variance) = (
            std::mem::take(&mut self.right),
            std::mem::take(&mut self.variance),
        );
        let n = (rows > 0).then_some(rows as f64)?;
        let classes = self.sums.len() as f64;
        let mut measures = Measures::from([("accuracy", right / n)]);
        let counts: Vec<Counts> = self.sums.iter().map(Sums::counts).collect();
        let average = |of: fn(&Counts) -> f64| counts.iter().map(of).sum::<f64>() / classes;
        measures.insert("precision", average(Counts::precision));
        measures.insert("recall", average(Counts::recall));
        measures.insert("f1", average(Counts::f1));
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

/// The part of a score.
fn bin(score: f64) -> usize {
    let score = score.clamp(0.0, 1.0);
    let odds = (score / (1.0 - score)).ln().clamp(-ODDS_MAX, ODDS_MAX);
    // What is no score has no odds.
    if odds.is_nan() {
        0
    } else {
        (((odds / ODDS_MAX + 1.0) / 2.0 * BINS as f64) as usize).min(BINS - 1)
    }
}

impl Sums {
    fn counts(&self) -> Counts {
        Counts {
            right: self.right,
            wrong: self.decided as f64 - self.right,
            missed: self.of_class - self.right,
        }
    }

    /// The chance that a row of the class scores higher than one that is not.
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
