//! The companion model: predicts the error of a regression model, row by row,
//! fitted to rows that the model was not trained on. With it a server estimates
//! the performance of the model before labels arrive.

use crate::context::Trainer;
use crate::data::{RowTarget, Rows};
use crate::judge::OpenModel;
use crate::random::mix;
use crate::record::CompanionSummary;
use crate::spec::{Algorithm, Fit as FitSettings, Objective, Spec, Trees};
use crate::split::Fold;
use crate::{evaluation, export, learn};
use bytes::Bytes;
use ortus::core::error::Result;
use ortus::observe::quality::answer::RowAnswer;

/// The fewest stopping rows to fit a companion model to.
const ROWS_MIN: usize = 500;
/// One of this many rows is a stopping row.
const STOP: u64 = 5;

/// Fits the companion model to the stopping rows; none for classification, or for
/// too few rows. Returns it with its summary on the test rows.
pub(super) fn learn_errors(
    trainer: &Trainer<'_>,
    spec: &Spec,
    rows: &Rows,
    fold: &Fold,
    predictor: &mut OpenModel,
) -> Result<Option<(Bytes, CompanionSummary)>> {
    // The scores of a ranking are no estimates, and have no errors.
    let is_ranking = spec.fit.objective == Objective::LambdaRank;
    if spec.fit.algorithm == Algorithm::Command || is_ranking || fold.stop.len() < ROWS_MIN {
        return Ok(None);
    }
    let Some(errors) = errors(rows, &fold.stop, predictor)? else {
        return Ok(None);
    };
    let own = Rows {
        frame: rows.frame.take(&fold.stop),
        target: RowTarget::Values(errors),
        time: None,
        group: None,
        weight: None,
        manifest: rows.manifest.clone(),
        notes: Vec::new(),
        unlabelled: None,
    };

    let seed = u64::from(spec.fit.seed);
    let (stop, train): (Vec<u32>, Vec<u32>) =
        (0..own.len() as u32).partition(|row| mix(seed, u64::from(*row)).is_multiple_of(STOP));
    let model = learn::learn(
        &settings(spec),
        &own,
        &Fold {
            train,
            stop,
            test: Vec::new(),
        },
        &mut |_| {},
    )?;

    let bytes = Bytes::from(export::export(
        &model,
        "How large the errors of the model beside it are likely to be.",
        &[],
    ));

    let mut companion = evaluation::open(
        trainer,
        bytes.clone(),
        None,
        &export::columns(&model.features),
    )?;

    let Some(real) = errors_of(rows, &fold.test, predictor)? else {
        return Ok(None);
    };
    let expected = companion.predict(&rows.frame.take(&fold.test), &mut |_, _, _| {})?;
    let expected = expected.iter().map(|answer| {
        if let Some(RowAnswer::Value(v)) = answer {
            *v
        } else {
            0.0
        }
    });

    let n = real.len().max(1) as f64;
    let summary = CompanionSummary {
        estimated_mae: expected.sum::<f64>() / n,
        mae: real.iter().sum::<f64>() / n,
        rows: fold.stop.len(),
    };

    Ok(Some((bytes, summary)))
}

/// Returns how the errors are learned, as values of their own.
fn settings(spec: &Spec) -> Spec {
    Spec {
        trees: Trees {
            rounds_max: 300,
            leaves_max: 15,
            ..Trees::default()
        },
        fit: FitSettings {
            seed: spec.fit.seed,
            threads: spec.fit.threads,
            ..FitSettings::default()
        },
        ..spec.clone()
    }
}

fn errors(rows: &Rows, part: &[u32], predictor: &mut OpenModel) -> Result<Option<Vec<f32>>> {
    Ok(errors_of(rows, part, predictor)?.map(|errors| errors.iter().map(|e| *e as f32).collect()))
}

/// Returns the absolute errors of a model on some rows; none for classification, or if a prediction is missing.
fn errors_of(rows: &Rows, part: &[u32], predictor: &mut OpenModel) -> Result<Option<Vec<f64>>> {
    let RowTarget::Values(truths) = rows.target.take(part) else {
        return Ok(None);
    };
    let answers = predictor.predict(&rows.frame.take(part), &mut |_, _, _| {})?;
    let one = |(answer, truth): (&Option<RowAnswer>, &f32)| match answer {
        Some(RowAnswer::Value(value)) if value.is_finite() => {
            Some((value - f64::from(*truth)).abs())
        }
        _ => None,
    };
    Ok(answers.iter().zip(&truths).map(one).collect())
}
