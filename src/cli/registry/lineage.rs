//! `ortus lineage`: the lineage of a version, or of the version that made a captured prediction.

use super::access::{config, open_to_read};
use super::arguments::{LineageArguments, RegistryArguments, split_target};
use super::show::print_value;
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::core::request::id::minted_at;
use crate::observe::capture::find;
use crate::registry::commands::Operator;
use crate::storage::layout::Records;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::process::ExitCode;
use uuid::Uuid;

/// Prints the lineage of a version.
pub(super) async fn lineage(arguments: &LineageArguments) -> Result<ExitCode> {
    let common = &arguments.common;
    let operator = open_to_read(common).await?;
    let (name, which) = match (&arguments.target, arguments.prediction) {
        (Some(target), _) => split_target(target)?,
        (None, id) => version_of(&operator, common, id.unwrap_or_default()).await?,
    };

    let lineage = operator.lineage(&name, which.as_deref()).await?;
    print_value(&Value::Array(lineage), common.json)
}

/// Finds the version that made a captured prediction.
async fn version_of(
    operator: &Operator,
    common: &RegistryArguments,
    prediction: Uuid,
) -> Result<(ModelName, Option<String>)> {
    let config = config(common)?;
    let records = match &config.records.store {
        Some(url) => Records::open(url, operator.log.namespace())?,
        None => Records::of(operator.log.store.clone(), operator.log.namespace()),
    };

    let found = find::answered_by(&records, prediction).await?;
    let (model, version) = found.ok_or_else(|| not_captured(prediction))?;
    Ok((ModelName::parse(&model)?, Some(version.to_string())))
}

/// Refuses a prediction that was not captured.
fn not_captured(prediction: Uuid) -> Error {
    let when = minted_at(prediction).map_or_else(
        || "its id holds no time".to_owned(),
        |time| {
            DateTime::<Utc>::from(time)
                .format("%Y-%m-%d %H:%M:%S UTC")
                .to_string()
        },
    );
    Error::not_found(format!(
        "no captured prediction has the id {prediction} ({when}); give NAME:VERSION instead"
    ))
}
