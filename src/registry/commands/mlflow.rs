//! Reads a model that MLflow saved: a folder with `MLmodel`, which names the ONNX
//! file, the columns, the run and the environment. Runs no code of MLflow.

#[cfg(test)]
mod tests;

use super::push::Push;
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::names;
use crate::registry::manifest::MODEL_PATH;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// Name of MLflow's description of the model.
const DESCRIPTION: &str = "MLmodel";
const DESCRIPTION_BYTES_MAX: u64 = 1 << 20;

/// The fields of the description that are used; MLflow adds fields with most releases.
#[derive(Deserialize)]
struct Description {
    #[serde(default)]
    flavors: BTreeMap<String, Flavor>,
    signature: Option<MlflowSignature>,
    run_id: Option<String>,
    model_uuid: Option<String>,
    mlflow_version: Option<String>,
    utc_time_created: Option<String>,
    artifact_path: Option<String>,
}

#[derive(Deserialize)]
struct Flavor {
    data: Option<String>,
}

/// Inputs and outputs, each as a string that holds a JSON list.
#[derive(Deserialize)]
struct MlflowSignature {
    inputs: Option<String>,
}

#[derive(Deserialize)]
struct MlflowColumn {
    name: Option<String>,
    #[serde(rename = "type")]
    kind: String,
}

impl Push {
    /// Creates a push from an MLflow model: the folder, the columns as features, the
    /// run as lineage. Refuses a folder without the ONNX flavour.
    pub(crate) fn of_mlflow(folder: &Path) -> Result<Self> {
        let path = folder.join(DESCRIPTION);
        let unreadable =
            |e| Error::invalid(format!("{} cannot be read", path.display())).with_source(e);
        let mut text = String::new();
        let file = std::fs::File::open(&path).map_err(unreadable)?;
        file.take(DESCRIPTION_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        let described = read(&text)?;
        Ok(Self {
            path: folder.to_owned(),
            ..described
        })
    }
}

fn read(text: &str) -> Result<Push> {
    let description: Description = serde_saphyr::from_str(text).map_err(|e| {
        Error::invalid(format!(
            "MLmodel is not in MLflow's format: {}",
            short(&e.to_string())
        ))
    })?;

    let flavor = description.flavors.get("onnx").ok_or_else(|| {
        let others: Vec<&str> = description.flavors.keys().map(String::as_str).collect();
        Error::invalid(format!(
            "the model has no flavour `onnx`, only {}; save it with mlflow.onnx",
            names::listed(&others)
        ))
    })?;

    match flavor.data.as_deref() {
        Some(MODEL_PATH) => {}
        other => {
            let other = short(other.unwrap_or("nowhere"));
            return Err(Error::invalid(format!(
                "the ONNX file is at {other}, not {MODEL_PATH} as MLflow writes it"
            )));
        }
    }

    let inputs = description
        .signature
        .as_ref()
        .and_then(|s| s.inputs.as_deref());
    let features = inputs.map(columns).transpose()?.unwrap_or_default();

    let facts = [
        ("run_id", description.run_id),
        ("model_uuid", description.model_uuid),
        ("mlflow_version", description.mlflow_version),
        ("utc_time_created", description.utc_time_created),
        ("artifact_path", description.artifact_path),
    ];

    let run: Map<String, Value> = facts
        .into_iter()
        .filter_map(|(k, v)| Some((k.to_owned(), v?.into())))
        .collect();
    let lineage = [("mlflow".to_owned(), Value::Object(run))]
        .into_iter()
        .collect();
    Ok(Push {
        features,
        lineage,
        ..Push::default()
    })
}

/// Returns the names of the columns; a tensor input has none.
fn columns(json: &str) -> Result<Vec<String>> {
    let columns: Vec<MlflowColumn> = serde_json::from_str(json).map_err(|e| {
        Error::invalid("the signature's inputs are not a list in JSON").with_source(e)
    })?;
    let all_named = columns
        .iter()
        .all(|c| c.name.is_some() && c.kind != "tensor");
    Ok(if all_named {
        columns.into_iter().filter_map(|c| c.name).collect()
    } else {
        Vec::new()
    })
}
