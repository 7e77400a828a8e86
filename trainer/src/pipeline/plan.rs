//! What a run would do: its key, its data and its split, without running it.

#[cfg(test)]
mod tests;

use super::dataset::{algorithm, gate_measure, key, span};
use crate::command::{self, Code};
use crate::data::{self, DataManifest, Reach};
use crate::spec::{Objective, Spec};
use crate::split::{self, SplitSummary};
use ortus::core::error::Result;
use serde::Serialize;

/// What a run would do. Fields stand in alphabetical order, because plans have
/// always been printed that way.
#[derive(Debug, Serialize)]
pub(crate) struct RunPlan {
    pub algorithm: &'static str,
    /// The names of the classes; null for regression.
    pub classes: Option<Vec<String>>,
    /// The files of the training program; empty without one.
    pub code: Vec<Code>,
    pub data: DataManifest,
    pub data_digest: String,
    pub features: Vec<String>,
    pub model: String,
    pub notes: Vec<String>,
    /// What the fit minimises, if it was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub objective: Option<&'static str>,
    /// The key of the run.
    pub run: String,
    pub split: SplitSummary,
    pub target: String,
    /// `classification` or `regression`.
    pub task: &'static str,
}

/// Reads the data and splits it, and returns what a run would do.
pub(crate) async fn plan(spec: &Spec, reach: &Reach) -> Result<RunPlan> {
    let mut rows = data::read(spec, reach).await?;
    let code = command::code(spec)?;
    rows.notes
        .extend(data::check::check(spec, &rows, reach.now)?);
    rows.manifest.time = span(&rows);
    gate_measure(spec, &rows)?;
    let (_, summary) = split::split(spec, &rows)?;

    let digest = rows.manifest.digest();
    let features = rows.frame.columns.iter();
    Ok(RunPlan {
        algorithm: algorithm(spec),
        classes: rows.target.classes().map(<[String]>::to_vec),
        features: features.map(|column| column.name.clone()).collect(),
        run: key(spec, &code, &digest).to_string(),
        code,
        data_digest: digest.to_string(),
        model: spec.model.name.clone(),
        objective: (spec.fit.objective != Objective::Auto).then(|| spec.fit.objective.word()),
        split: summary,
        target: spec.schema.target.clone(),
        task: match rows.target.classes() {
            Some(_) => "classification",
            None => "regression",
        },
        data: rows.manifest,
        notes: rows.notes,
    })
}
