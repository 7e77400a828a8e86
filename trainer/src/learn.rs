//! Fits a model: finds the features of the rows, and runs the algorithm of the
//! specification.

use crate::calibration::{ScoreCalibration, ScoredRow};
use crate::data::{RowTarget, Rows};
use crate::features::Feature;
use crate::fit::bins::{Binned, Cut};
use crate::fit::encode::Labelled;
use crate::fit::trees::loss::Loss;
use crate::fit::trees::rank::Queries;
use crate::fit::trees::{self, Round, TreeRows};
use crate::fit::{linear, mlp};
use crate::frame::Frame;
use crate::model::{Learned, TrainedModel, loss};
use crate::spec::{Algorithm, CalibrationMethod, Objective, Spec};
use crate::split::Fold;
use ortus::core::error::{Error, Result};
use rayon::prelude::*;

/// Fits a model to the rows of a fold; `watch` is called after every round.
/// Refuses a model that is no better than chance.
pub(crate) fn learn(
    spec: &Spec,
    rows: &Rows,
    fold: &Fold,
    watch: &mut dyn FnMut(Round),
) -> Result<TrainedModel> {
    check_target(spec, &rows.target)?;
    let classes = rows.target.classes().map(<[String]>::to_vec);
    let features = (0..rows.frame.columns.len())
        .map(|column| Feature::learn(&rows.frame, column, &fold.train))
        .collect();
    let fit = Fit {
        spec,
        rows,
        fold,
        features,
        loss: loss(&spec.fit, classes.as_ref().map(Vec::len)),
        targets: rows.target.numbers(),
        weights: weights(spec, rows, fold),
    };

    let learned = match spec.fit.algorithm {
        Algorithm::Trees => Learned::Trees(fit.trees(watch)),
        Algorithm::Mlp => Learned::Mlp(fit.mlp(watch)),
        Algorithm::Linear => Learned::Linear(fit.linear()),
        Algorithm::Command => return Err(Error::internal("a training program fits its own model")),
    };

    let mut model = TrainedModel {
        features: fit.features,
        classes,
        loss: fit.loss,
        calibration: None,
        learned,
    };

    if spec.fit.algorithm == Algorithm::Mlp && !model.converged() {
        return Err(Error::precondition(
            "the fit found no weights that are better than chance; lower 'rate' in [fit.mlp]",
        ));
    }

    model.calibration = calibration(spec, rows, fold, &model)?;
    Ok(model)
}

/// Refuses targets that the objective cannot learn from. The trials of a sweep share targets that were
/// read for another objective.
fn check_target(spec: &Spec, target: &RowTarget) -> Result<()> {
    let objective = spec.fit.objective;
    let is_rate = matches!(objective, Objective::Poisson | Objective::Tweedie);
    let why = match target {
        RowTarget::Classes { .. } if objective != Objective::Auto => {
            "predicts a number, but the target was read as classes; set task = \"regression\" in [schema]"
        }
        RowTarget::Values(values) if is_rate && values.iter().any(|v| *v < 0.0) => {
            "needs targets of 0 or more, and some are below 0"
        }
        _ => return Ok(()),
    };
    Err(Error::invalid(format!(
        "'objective' in [fit] is \"{}\", which {why}",
        objective.word()
    )))
}

/// Fits the probabilities of two classes to the stopping rows; none if the specification asks for none.
fn calibration(
    spec: &Spec,
    rows: &Rows,
    fold: &Fold,
    model: &TrainedModel,
) -> Result<Option<ScoreCalibration>> {
    let fit = match spec.fit.calibration {
        CalibrationMethod::None => return Ok(None),
        CalibrationMethod::Platt => ScoreCalibration::platt,
        CalibrationMethod::Isotonic => ScoreCalibration::isotonic,
    };
    let (width, targets) = (model.features.len(), rows.target.numbers());
    let numbers = trees::rows(&rows.frame.take(&fold.stop), &model.features);
    let scored = fold.stop.iter().zip(numbers.chunks(width.max(1)));
    let one = |(row, values): (&u32, &[f32])| ScoredRow {
        score: model.scores(values)[0],
        is_positive: targets[*row as usize] > 0.5,
        // The weights of `balanced` would bend the frequencies.
        weight: rows
            .weight
            .as_ref()
            .map_or(1.0, |w| w[*row as usize].into()),
    };
    fit(&scored.map(one).collect::<Vec<_>>()).map(Some)
}

/// A fit: the rows with their features, targets and weights.
struct Fit<'f> {
    spec: &'f Spec,
    rows: &'f Rows,
    fold: &'f Fold,
    features: Vec<Feature>,
    loss: Loss,
    targets: Vec<f32>,
    weights: Option<Vec<f32>>,
}

/// The targets and the weights of a part of the rows.
struct WeightedTargets {
    targets: Vec<f32>,
    weights: Option<Vec<f32>>,
}

impl Fit<'_> {
    fn part(&self, rows: &[u32]) -> WeightedTargets {
        let of = |all: &Vec<f32>| rows.iter().map(|row| all[*row as usize]).collect();
        WeightedTargets {
            targets: of(&self.targets),
            weights: self.weights.as_ref().map(of),
        }
    }

    fn trees(&self, watch: &mut dyn FnMut(Round)) -> trees::Booster {
        let columns = 0..self.rows.frame.columns.len();
        let cuts: Vec<Cut> = columns
            .into_par_iter()
            .map(|column| Cut::find(&self.rows.frame, column, &self.fold.train))
            .collect();
        let binned =
            |part: &[u32]| Binned::of(&self.rows.frame, &self.features, cuts.clone(), part);
        let (train, stop) = (binned(&self.fold.train), binned(&self.fold.stop));

        let (train_part, stop_part) = (self.part(&self.fold.train), self.part(&self.fold.stop));
        let (train_queries, stop_queries) = (
            self.queries(&self.fold.train),
            self.queries(&self.fold.stop),
        );

        let train = TreeRows {
            data: &train,
            targets: &train_part.targets,
            weights: train_part.weights.as_deref(),
            queries: train_queries.as_ref(),
        };

        let stop = TreeRows {
            data: &stop,
            targets: &stop_part.targets,
            weights: stop_part.weights.as_deref(),
            queries: stop_queries.as_ref(),
        };

        let scale = train_part.scale();
        let options = options(self.spec, &self.features);
        let options = trees::TreeOptions {
            l2: options.l2 * scale,
            curvature_min: options.curvature_min * scale,
            category_smooth: options.category_smooth * scale,
            ..options
        };
        trees::fit(&train, Some(&stop), self.loss, &options, watch)
    }

    /// Returns the queries of some rows, if the rows of queries are ranked.
    fn queries(&self, rows: &[u32]) -> Option<Queries> {
        let groups = self.rows.group.as_ref();
        let groups = groups.filter(|_| matches!(self.loss, Loss::LambdaRank(_)))?;
        let groups: Vec<u32> = rows.iter().map(|row| groups[*row as usize]).collect();
        Some(Queries::of(&groups))
    }

    fn mlp(&self, watch: &mut dyn FnMut(Round)) -> mlp::Mlp {
        let train_frame = self.rows.frame.take(&self.fold.train);
        let stop_frame = self.rows.frame.take(&self.fold.stop);
        let (train_part, stop_part) = (self.part(&self.fold.train), self.part(&self.fold.stop));
        let settings = &self.spec.mlp;
        let options = mlp::MlpOptions {
            loss: self.loss,
            hidden: settings.hidden,
            rate: settings.rate,
            decay: settings.decay,
            epochs_max: settings.epochs_max,
            patience: settings.patience,
            seed: self.spec.fit.seed.into(),
        };

        let train = train_part.labelled(&train_frame);
        let stop = stop_part.labelled(&stop_frame);
        mlp::fit(&train, &stop, &self.features, &options, watch)
    }

    fn linear(&self) -> linear::Linear {
        let frame = self.rows.frame.take(&self.fold.train);
        let part = self.part(&self.fold.train);
        let labelled = part.labelled(&frame);
        linear::fit(&labelled, &self.features, self.loss, self.spec.linear.l2)
    }
}

impl WeightedTargets {
    /// Returns the mean weight, at most 1. By it regularisation is scaled: with weights of a thousandth, the sums of a leaf
    /// would not count beside it.
    fn scale(&self) -> f64 {
        let mean = |all: &Vec<f32>| {
            all.iter().map(|w| f64::from(*w)).sum::<f64>() / all.len().max(1) as f64
        };
        self.weights.as_ref().map_or(1.0, mean).min(1.0)
    }

    fn labelled<'p>(&'p self, frame: &'p Frame) -> Labelled<'p> {
        Labelled {
            frame,
            targets: &self.targets,
            weights: self.weights.as_deref(),
        }
    }
}

fn options(spec: &Spec, features: &[Feature]) -> trees::TreeOptions {
    let t = &spec.trees;
    let monotone = &spec.fit.monotone.0;
    let directions = features.iter().map(|f| monotone.get(&f.name).copied());
    trees::TreeOptions {
        rounds_max: t.rounds_max,
        patience: t.patience,
        learning_rate: t.learning_rate,
        leaves_max: t.leaves_max,
        depth_max: t.depth_max,
        leaf_rows_min: t.leaf_rows_min,
        l2: t.l2,
        monotone: match monotone.is_empty() {
            true => Vec::new(),
            false => directions.collect(),
        },
        ..trees::TreeOptions::default()
    }
}

/// Returns the weight of each row: its own, multiplied by the rarity of its class if
/// the classes are balanced.
fn weights(spec: &Spec, rows: &Rows, fold: &Fold) -> Option<Vec<f32>> {
    let (true, RowTarget::Classes { of, names }) = (spec.fit.balanced, &rows.target) else {
        return rows.weight.clone();
    };
    let own = |row: usize| rows.weight.as_ref().map_or(1.0, |w| f64::from(w[row]));
    let mut sums = vec![0.0; names.len()];
    fold.train
        .iter()
        .for_each(|row| sums[of[*row as usize] as usize] += own(*row as usize));
    let whole: f64 = sums.iter().sum();
    let weight =
        |row: usize| (own(row) * whole / (names.len() as f64 * sums[of[row] as usize])) as f32;
    Some((0..rows.len()).map(weight).collect())
}
