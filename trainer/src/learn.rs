//! Fits a model: finds the features of the rows, and runs the algorithm of the
//! specification.

use crate::data::Rows;
use crate::features::Feature;
use crate::fit::bins::{Binned, Cut};
use crate::fit::encode::Labelled;
use crate::fit::trees::loss::Loss;
use crate::fit::trees::{self, Round, TreeRows};
use crate::fit::{linear, mlp};
use crate::frame::Frame;
use crate::model::{Learned, TrainedModel, loss};
use crate::spec::{Algorithm, Spec};
use crate::split::Fold;
use ortus::core::error::{Error, Result};

/// Fits a model to the rows of a fold; `watch` is called after every round.
/// Refuses a model that is no better than chance.
pub(crate) fn learn(
    spec: &Spec,
    rows: &Rows,
    fold: &Fold,
    watch: &mut dyn FnMut(Round),
) -> Result<TrainedModel> {
    let classes = rows.target.classes().map(<[String]>::to_vec);
    let features = (0..rows.frame.columns.len())
        .map(|column| Feature::learn(&rows.frame, column, &fold.train))
        .collect();
    let fit = Fit {
        spec,
        rows,
        fold,
        features,
        loss: loss(classes.as_ref().map(Vec::len)),
        targets: rows.target.numbers(),
        weights: weights(spec, rows, fold),
    };

    let learned = match spec.fit.algorithm {
        Algorithm::Trees => Learned::Trees(fit.trees(watch)),
        Algorithm::Mlp => Learned::Mlp(fit.mlp(watch)),
        Algorithm::Linear => Learned::Linear(fit.linear()),
        Algorithm::Command => return Err(Error::internal("a training program fits its own model")),
    };

    let model = TrainedModel {
        features: fit.features,
        classes,
        learned,
    };

    if spec.fit.algorithm == Algorithm::Mlp && !model.converged() {
        return Err(Error::precondition(
            "the fit found no weights that are better than chance; lower 'rate' in [fit.mlp]",
        ));
    }

    Ok(model)
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
            .map(|column| Cut::find(&self.rows.frame, column, &self.fold.train))
            .collect();
        let binned =
            |part: &[u32]| Binned::of(&self.rows.frame, &self.features, cuts.clone(), part);
        let (train, stop) = (binned(&self.fold.train), binned(&self.fold.stop));

        let (train_part, stop_part) = (self.part(&self.fold.train), self.part(&self.fold.stop));

        let train = TreeRows {
            data: &train,
            targets: &train_part.targets,
            weights: train_part.weights.as_deref(),
        };

        let stop = TreeRows {
            data: &stop,
            targets: &stop_part.targets,
            weights: stop_part.weights.as_deref(),
        };

        trees::fit(&train, Some(&stop), self.loss, &options(self.spec), watch)
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
    fn labelled<'p>(&'p self, frame: &'p Frame) -> Labelled<'p> {
        Labelled {
            frame,
            targets: &self.targets,
            weights: self.weights.as_deref(),
        }
    }
}

fn options(spec: &Spec) -> trees::TreeOptions {
    let t = &spec.trees;
    trees::TreeOptions {
        rounds_max: t.rounds_max,
        patience: t.patience,
        learning_rate: t.learning_rate,
        leaves_max: t.leaves_max,
        depth_max: t.depth_max,
        leaf_rows_min: t.leaf_rows_min,
        l2: t.l2,
        ..trees::TreeOptions::default()
    }
}

/// Returns the weight of each row: its own, multiplied by the rarity of its class if
/// the classes are balanced.
fn weights(spec: &Spec, rows: &Rows, fold: &Fold) -> Option<Vec<f32>> {
    let (true, crate::data::RowTarget::Classes { of, names }) = (spec.fit.balanced, &rows.target)
    else {
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
