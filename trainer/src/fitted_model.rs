//! The fitted model, of a built-in algorithm or of a training program: its graph,
//! its columns and its parity check.

use crate::command::agreement::compare;
use crate::command::exchange::{ProgramOutput, ProgramPredictions, ProgramReport};
use crate::data::Rows;
use crate::fit::trees::Round;
use crate::frame::Frame;
use crate::judge::OpenModel;
use crate::model::TrainedModel;
use crate::parity::{self, Parity};
use crate::record::{Importance, MetricValues};
use crate::spec::{Algorithm, Spec};
use crate::split::Fold;
use crate::{command, export, learn};
use bytes::Bytes;
use ortus::core::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The rows of the parity check.
const PARITY_ROWS: usize = 20_000;

/// A fitted model.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FittedModel {
    Ours(Box<TrainedModel>),
    Program {
        said: ProgramReport,
        claims: ProgramPredictions,
        /// Stored behind the rest.
        #[serde(skip)]
        model: Bytes,
    },
}

/// Fits a model to a fold; `watch` is called after every round.
pub(crate) fn fit(
    spec: &Spec,
    rows: &Rows,
    fold: &Fold,
    watch: &mut dyn FnMut(Round),
) -> Result<FittedModel> {
    if spec.fit.algorithm == Algorithm::Command {
        let ProgramOutput {
            model,
            said,
            claims,
        } = command::learn(spec, rows, fold)?;
        return Ok(FittedModel::Program {
            said,
            claims,
            model,
        });
    }

    let model = learn::learn(spec, rows, fold, watch)?;
    Ok(FittedModel::Ours(Box::new(model)))
}

impl FittedModel {
    /// Returns the ONNX graph.
    pub(crate) fn graph(&self, spec: &Spec, run: &str) -> Bytes {
        match self {
            Self::Program { model, .. } => model.clone(),
            Self::Ours(model) => {
                let about = spec.model.about.as_deref().unwrap_or_default();
                export::export(model, about, &properties(spec, model, run)).into()
            }
        }
    }

    /// Returns the columns of the graph's inputs; empty if each input is a column.
    pub(crate) fn columns(&self, spec: &Spec, rows: &Rows) -> Vec<String> {
        match self {
            Self::Ours(model) => export::columns(&model.features),
            Self::Program { said, .. } if !said.features.is_empty() => said.features.clone(),
            Self::Program { .. } if !spec.schema.features.is_empty() => {
                spec.schema.features.clone()
            }
            Self::Program { .. } => {
                let plain = rows.frame.plain().map(|column| &column.name);
                let sources = rows.frame.sources.iter().map(|source| &source.name);
                plain.chain(sources).cloned().collect()
            }
        }
    }

    /// Compares the graph with the fitted model on rows that probe its boundaries,
    /// or with the predictions of the training program.
    pub(crate) fn parity(
        &self,
        spec: &Spec,
        predictor: &mut OpenModel,
        rows: &Rows,
        fold: &Fold,
    ) -> Result<Parity> {
        match self {
            Self::Ours(model) => {
                let step = fold.train.len().div_ceil(PARITY_ROWS).max(1);
                let some: Vec<u32> = fold.train.iter().copied().step_by(step).collect();
                parity::check(model, predictor, &rows.frame.take(&some), PARITY_ROWS, 7)
            }
            Self::Program { claims, .. } => {
                let frame: Frame = rows.frame.take(&fold.test);
                let answers = predictor.predict(&frame, &mut |_, _, _| {})?;
                let places = predictor.class_indices(&rows.target)?;
                compare(claims, &answers, &places, spec.program.parity_max)
            }
        }
    }

    /// Returns the importances of features, the largest first.
    pub(crate) fn importances(&self) -> Vec<Importance> {
        let mut all: Vec<Importance> = match self {
            Self::Ours(model) => model
                .features
                .iter()
                .zip(model.importances())
                .map(|(feature, share)| Importance(feature.name.clone(), share))
                .collect(),
            Self::Program { said, .. } => said
                .importances
                .iter()
                .map(|(name, share)| Importance(name.clone(), *share))
                .collect(),
        };

        all.sort_by(|a, b| b.1.total_cmp(&a.1));
        all
    }

    /// Notes for a person.
    pub(crate) fn notes(&self) -> Vec<String> {
        match self {
            Self::Ours(model) if !model.converged() => {
                vec!["the fit did not converge; raise 'l2' in [fit.linear]".to_owned()]
            }
            Self::Ours(_) => Vec::new(),
            Self::Program { said, .. } => said.notes.clone(),
        }
    }

    /// Returns the metrics that a training program reported.
    pub(crate) fn own_metrics(&self) -> Option<MetricValues> {
        match self {
            Self::Program { said, .. } if !said.metrics.is_empty() => {
                Some(said.metrics.clone().into())
            }
            _ => None,
        }
    }

    /// Returns whether it must predict a row of missing values.
    pub(crate) fn must_predict_missing_row(&self) -> bool {
        matches!(self, Self::Ours(_))
    }

    /// Returns its stored form: a line of JSON, then the graph of a program.
    pub(crate) fn write(&self) -> Result<Bytes> {
        let mut all = serde_json::to_vec(self)
            .map_err(|e| Error::internal("write the fitted model").with_source(e))?;
        all.push(b'\n');
        if let Self::Program { model, .. } = self {
            all.extend_from_slice(model);
        }
        Ok(all.into())
    }

    /// Reads its stored form; none if it is damaged.
    pub(crate) fn read(bytes: &Bytes) -> Option<Self> {
        let end = bytes.iter().position(|b| *b == b'\n')?;
        let mut fitted: Self = serde_json::from_slice(&bytes[..end]).ok()?;
        if let Self::Program { model, .. } = &mut fitted {
            *model = bytes.slice(end + 1..);
        }
        Some(fitted)
    }
}

/// Returns the metadata of the graph.
fn properties(spec: &Spec, model: &TrainedModel, run: &str) -> Vec<(&'static str, String)> {
    let mut all = vec![
        ("run", run.to_owned()),
        ("target", spec.schema.target.clone()),
        (
            "features",
            json!(export::columns(&model.features)).to_string(),
        ),
    ];

    all.extend(
        model
            .classes
            .as_ref()
            .map(|classes| ("classes", json!(classes).to_string())),
    );

    all
}
