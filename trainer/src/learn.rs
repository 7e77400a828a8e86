//! Fits a model: finds the features of the rows, and runs the algorithm of the
//! specification.

use crate::data::Rows;
use crate::features::Feature;
use crate::fit::bins::{Binned, Cut};
use crate::fit::trees::{self, Round, Sample};
use crate::fit::{linear, mlp};
use crate::model::{Learned, Model, loss};
use crate::spec::{Algorithm, Spec};
use crate::split::Fold;
use ortus::core::error::{Error, Result};

/// Fits a model to the rows of a fold; `watch` is told of every round. Refuses
/// one that is no better than chance.
pub(crate) fn learn(
    spec: &Spec,
    rows: &Rows,
    fold: &Fold,
    watch: &mut dyn FnMut(Round),
) -> Result<Model> {
    let classes = rows.target.classes().map(<[String]>::to_vec);
    let loss = loss(classes.as_ref().map(Vec::len));
    let weights = weights(spec, rows, fold);
    let targets = rows.target.numbers();
    let of =
        |part: &[u32], all: &[f32]| part.iter().map(|r| all[*r as usize]).collect::<Vec<f32>>();
    let weights_of = |part: &[u32]| weights.as_ref().map(|all| of(part, all));
    let count = rows.frame.columns.len();
    let features: Vec<Feature> = (0..count)
        .map(|at| Feature::learn(&rows.frame, at, &fold.train))
        .collect();
    let learned = match spec.fit.algorithm {
        Algorithm::Trees => {
            let cuts: Vec<Cut> = (0..count)
                .map(|at| Cut::find(&rows.frame, at, &fold.train))
                .collect();
            let binned = |part: &[u32]| Binned::of(&rows.frame, &features, cuts.clone(), part);
            let (train, stop) = (binned(&fold.train), binned(&fold.stop));
            let (train_targets, stop_targets) =
                (of(&fold.train, &targets), of(&fold.stop, &targets));
            let (train_weights, stop_weights) = (weights_of(&fold.train), weights_of(&fold.stop));
            let train = Sample {
                data: &train,
                targets: &train_targets,
                weights: train_weights.as_deref(),
            };
            let stop = Sample {
                data: &stop,
                targets: &stop_targets,
                weights: stop_weights.as_deref(),
            };
            let booster = trees::fit(&train, Some(&stop), loss, &options(spec), watch);
            Learned::Trees(booster)
        }
        Algorithm::Mlp => {
            let (train, stop) = (rows.frame.take(&fold.train), rows.frame.take(&fold.stop));
            let (train_targets, stop_targets) =
                (of(&fold.train, &targets), of(&fold.stop, &targets));
            let (train_weights, stop_weights) = (weights_of(&fold.train), weights_of(&fold.stop));
            let train = mlp::Rows {
                frame: &train,
                targets: &train_targets,
                weights: train_weights.as_deref(),
            };
            let stop = mlp::Rows {
                frame: &stop,
                targets: &stop_targets,
                weights: stop_weights.as_deref(),
            };
            let m = &spec.mlp;
            let options = mlp::Options {
                hidden: m.hidden,
                rate: m.rate,
                decay: m.decay,
                epochs_max: m.epochs_max,
                patience: m.patience,
                seed: spec.fit.seed.into(),
            };
            let found = mlp::fit(&train, &stop, &features, (loss, &options), watch);
            Learned::Mlp(found)
        }
        Algorithm::Command => return Err(Error::internal("a program learns by itself")),
        Algorithm::Linear => {
            let frame = rows.frame.take(&fold.train);
            let (targets, weights) = (of(&fold.train, &targets), weights_of(&fold.train));
            let found = linear::fit(
                &frame,
                &features,
                (&targets, weights.as_deref()),
                loss,
                spec.linear.l2,
            );
            Learned::Linear(found)
        }
    };
    let model = Model {
        features,
        classes,
        learned,
    };
    if spec.fit.algorithm == Algorithm::Mlp && !model.converged() {
        return Err(Error::precondition(
            "no weights were found that are better than chance; try a smaller 'rate' in [fit.mlp]",
        ));
    }
    Ok(model)
}

fn options(spec: &Spec) -> trees::Options {
    let t = &spec.trees;
    trees::Options {
        rounds_max: t.rounds_max,
        patience: t.patience,
        learning_rate: t.learning_rate,
        leaves_max: t.leaves_max,
        depth_max: t.depth_max,
        leaf_rows_min: t.leaf_rows_min,
        l2: t.l2,
        ..trees::Options::default()
    }
}

/// What rows weigh: as they say, and as rare as their class is.
fn weights(spec: &Spec, rows: &Rows, fold: &Fold) -> Option<Vec<f32>> {
    let (true, crate::data::Target::Classes { of, names }) = (spec.fit.balanced, &rows.target)
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
