//! The parameters of a load call: a configuration, and files, that take the place of those in the model
//! directory.

use super::options::Compat;
use crate::api::Front;
use crate::core::error::{Error, Result, short};
use crate::core::model::ModelName;
use crate::proto::inference::ModelRepositoryParameter;
use crate::proto::inference::model_repository_parameter::ParameterChoice;
use crate::registry::directory::supplied::{SuppliedFile, Supply};
use crate::registry::pbtxt::ModelConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};

/// The parameter with a configuration as JSON.
const CONFIG: &str = "config";
/// The beginning of the parameters with files.
const FILE: &str = "file:";

/// Loads a model from the directory, or from what the call supplies.
pub(super) async fn load(
    front: &Front,
    name: ModelName,
    supply: impl FnOnce(&ModelName) -> Result<Supply>,
) -> Result<()> {
    let loaded = match supply(&name) {
        Ok(supply) => front.load(name.clone(), supply).await,
        Err(error) => Err(error),
    };
    match front.oip.compat {
        // Its clients look for this status and these words.
        Compat::Triton => loaded.map_err(|e| {
            let detail = &e.message;
            Error::internal(format!(
                "failed to load '{name}', failed to poll from model repository: {detail}"
            ))
        }),
        Compat::None => loaded,
    }
}

/// Reads the parameters of a call over gRPC.
pub(super) fn of_message(
    name: &ModelName,
    parameters: HashMap<String, ModelRepositoryParameter>,
) -> Result<Supply> {
    let mut supply = Supply::default();
    for (key, value) in parameters {
        match (key.strip_prefix(FILE), value.parameter_choice) {
            (Some(path), Some(ParameterChoice::BytesParam(bytes))) => {
                supply
                    .files
                    .push(SuppliedFile::new(path.to_owned(), bytes)?);
            }
            (Some(_), _) => return Err(wrong_type(&key, "bytes_param")),
            (None, Some(ParameterChoice::StringParam(text))) if key == CONFIG => {
                supply.config = Some(ModelConfig::read_json(name, &text)?);
            }
            (None, _) if key == CONFIG => return Err(wrong_type(&key, "string_param")),
            (None, _) => return Err(unknown(&key)),
        }
    }
    Ok(supply)
}

/// Reads the parameters of a call over REST, where files are base64.
pub(super) fn of_json(
    name: &ModelName,
    parameters: BTreeMap<String, serde_json::Value>,
) -> Result<Supply> {
    let mut supply = Supply::default();
    for (key, value) in parameters {
        let text = value.as_str().ok_or_else(|| wrong_type(&key, "a string"));
        match key.strip_prefix(FILE) {
            Some(path) => {
                let bytes = STANDARD.decode(text?).map_err(|e| {
                    let key = short(&key);
                    Error::invalid(format!(
                        "load parameter '{key}' is not standard base64: {e}"
                    ))
                })?;
                let file = SuppliedFile::new(path.to_owned(), Bytes::from(bytes))?;
                supply.files.push(file);
            }
            None if key == CONFIG => supply.config = Some(ModelConfig::read_json(name, text?)?),
            None => return Err(unknown(&key)),
        }
    }
    Ok(supply)
}

fn wrong_type(key: &str, wanted: &str) -> Error {
    Error::invalid(format!("load parameter '{}' must be {wanted}", short(key)))
}

fn unknown(key: &str) -> Error {
    Error::invalid(format!(
        "load parameter '{}' is unknown; use 'config' or 'file:VERSION/FILE'",
        short(key)
    ))
}
