//! What features contribute to the scores of a sample of test rows: their mean sizes for the record of the run, and
//! the dots of the summary plot. Draws nothing.

use super::Explanation;
use crate::fit::trees;
use crate::frame::Frame;
use crate::model::TrainedModel;
use ortus::explain::model::RowContributions;
use ortus::explain::request::largest_first;
use ortus::explain::trees::TreeScratch;

/// The most test rows that are explained.
pub(crate) const ROWS_MAX: usize = 1_000;
/// The most features of the plot.
pub(crate) const FEATURES_MAX: usize = 20;
/// The most classes that are drawn.
const CLASSES_MAX: usize = 3;

/// The contributions of a sample of rows.
#[derive(Clone, Debug)]
pub(crate) struct ContributionSummary {
    /// The mean size of the contribution of each feature, the largest first.
    pub means: Vec<(String, f64)>,
    pub swarms: Vec<Swarm>,
    pub rows: usize,
}

/// The contributions to one score.
#[derive(Clone, Debug)]
pub(crate) struct Swarm {
    /// The class, if there are more than two.
    pub class: Option<String>,
    /// What the score is.
    pub scale: String,
    /// The features with the largest mean, the largest first.
    pub features: Vec<SwarmFeature>,
}

/// A feature with its dots.
#[derive(Clone, Debug)]
pub(crate) struct SwarmFeature {
    pub name: String,
    /// The mean size of its contributions.
    pub mean: f64,
    pub dots: Vec<SwarmDot>,
}

/// The contribution of a feature to the score of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SwarmDot {
    pub contribution: f64,
    /// The rank of the feature's value among those of the sample, 0 to 1; none for a missing value and for a
    /// category.
    pub rank: Option<f64>,
}

/// Explains some of the test rows, evenly spread over them.
pub(crate) fn summarise(
    model: &TrainedModel,
    explanation: &Explanation,
    test: &Frame,
) -> ContributionSummary {
    let step = test.rows.div_ceil(ROWS_MAX).max(1);
    let chosen: Vec<u32> = (0..test.rows as u32).step_by(step).collect();
    let frame = test.take(&chosen);
    let (values, width) = (trees::rows(&frame, &model.features), model.features.len());
    let scores = explanation.model.base().len();
    // Score by score, feature by feature, row by row.
    let mut all = vec![Vec::with_capacity(frame.rows); scores * width];
    let (mut scratch, mut found) = (TreeScratch::default(), RowContributions::default());
    for row in values.chunks_exact(width.max(1)) {
        explanation.model.contribute(row, &mut scratch, &mut found);
        let of = all.iter_mut().zip(&found.values);
        of.for_each(|(all, value)| all.push(*value));
    }

    let mean = |values: &Vec<f64>| {
        let sum: f64 = values.iter().map(|value| value.abs()).sum();
        sum / values.len().max(1) as f64
    };
    let sizes: Vec<f64> = all.iter().map(mean).collect();
    let sample = ExplainedSample {
        model,
        values: &values,
        all: &all,
        sizes: &sizes,
        scores,
    };
    let drawn = if scores > 1 {
        scores.min(CLASSES_MAX)
    } else {
        1
    };
    let scale = explanation.model.parts().scale_text();
    // Several plots have as many dots together as one.
    let every = drawn;
    ContributionSummary {
        means: sample.means(),
        swarms: (0..drawn)
            .map(|score| sample.swarm(score, every, &scale))
            .collect(),
        rows: frame.rows,
    }
}

/// The explained rows.
struct ExplainedSample<'s> {
    model: &'s TrainedModel,
    values: &'s [f32],
    all: &'s [Vec<f64>],
    sizes: &'s [f64],
    scores: usize,
}

impl ExplainedSample<'_> {
    /// The mean size of each feature's contributions, over all scores.
    fn means(&self) -> Vec<(String, f64)> {
        let scores = self.scores;
        let width = self.model.features.len();
        let of = |feature: usize| {
            let sizes = (0..scores).map(|score| self.sizes[score * width + feature]);
            sizes.sum::<f64>() / scores as f64
        };
        let means: Vec<f64> = (0..width).map(of).collect();
        let mut order = Vec::new();
        largest_first(&means, width, &mut order);
        let name = |at: &usize| (self.model.features[*at].name.clone(), means[*at]);
        order.iter().map(name).collect()
    }

    /// Returns the dots of every so many rows.
    fn swarm(&self, score: usize, every: usize, scale: &str) -> Swarm {
        let width = self.model.features.len();
        let sizes = &self.sizes[score * width..][..width];
        let mut order = Vec::new();
        largest_first(sizes, FEATURES_MAX, &mut order);
        let feature = |at: &usize| SwarmFeature {
            name: self.model.features[*at].name.clone(),
            mean: sizes[*at],
            dots: self.dots(*at, &self.all[score * width + at], every),
        };
        let class = self.model.classes.as_ref().filter(|_| self.scores > 1);
        Swarm {
            class: class.map(|classes| classes[score].clone()),
            scale: scale.to_owned(),
            features: order.iter().map(feature).collect(),
        }
    }

    fn dots(&self, feature: usize, contributions: &[f64], every: usize) -> Vec<SwarmDot> {
        let width = self.model.features.len();
        let is_number = self.model.features[feature].categories.is_none();
        let value = |row: usize| self.values[row * width + feature];
        // Equal values have equal ranks; the sum makes one zero of two.
        let known = (0..contributions.len()).map(|row| value(row) + 0.0);
        let mut distinct: Vec<f32> = known.filter(|v| is_number && !v.is_nan()).collect();
        distinct.sort_unstable_by(f32::total_cmp);
        distinct.dedup();
        let last = distinct.len().saturating_sub(1).max(1) as f64;
        let rank = |row: usize| {
            let place = distinct.binary_search_by(|known| known.total_cmp(&(value(row) + 0.0)));
            Some(place.ok()? as f64 / last)
        };
        let dot = |(row, contribution): (usize, &f64)| SwarmDot {
            contribution: *contribution,
            rank: rank(row),
        };
        let drawn = contributions.iter().enumerate().step_by(every);
        drawn.map(dot).collect()
    }
}
