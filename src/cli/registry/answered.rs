//! Finds the version that answered a prediction, for `ortus lineage --prediction`.

use super::{Common, config, parse};
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::observe::capture::find;
use crate::registry::commands::Operator;
use crate::storage::layout::Records;

/// Finds the version that answered a captured prediction.
pub(super) async fn answered_by(
    operator: &Operator,
    common: &Common,
    prediction: uuid::Uuid,
) -> Result<(ModelName, Option<String>)> {
    let config = config(common)?;
    let records = match &config.records.store {
        Some(url) => Records::open(url, operator.log.namespace())?,
        None => Records::of(operator.log.store.clone(), operator.log.namespace()),
    };
    let (model, version) = find::answered_by(&records, prediction)
        .await?
        .ok_or_else(|| {
            let when = crate::core::request::id::minted(prediction)
                .map(chrono::DateTime::<chrono::Utc>::from);
            let when = when.map_or_else(
                || "its id holds no time".to_owned(),
                |t| t.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
            );
            Error::not_found(format!(
                "no captured prediction has the id {prediction} ({when}); give NAME:VERSION instead"
            ))
        })?;
    Ok((parse(&model)?, Some(version.to_string())))
}
