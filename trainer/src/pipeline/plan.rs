//! What a run would do: its key, its data and its split, without running it.

use super::dataset::{algorithm, gate_measure, key, span};
use crate::data::{self, Reach};
use crate::spec::Spec;
use crate::{command, split};
use ortus::core::error::Result;
use serde_json::{Value, json};

/// What would run: the key, the data, the split.
pub(crate) async fn plan(spec: &Spec, reach: &Reach) -> Result<Value> {
    let mut rows = data::read(spec, reach).await?;
    let code = command::code(spec)?;
    rows.notes
        .extend(data::check::check(spec, &rows, reach.now)?);
    rows.manifest.time = span(&rows);
    gate_measure(spec, &rows)?;
    let (_, told) = split::split(spec, &rows)?;
    Ok(json!({
        "model": spec.model.name,
        "run": key(spec, &code, &rows.manifest.digest()).to_string(),
        "code": code,
        "target": spec.schema.target,
        "task": if rows.target.classes().is_some() { "classification" } else { "regression" },
        "classes": rows.target.classes(),
        "features": rows.frame.columns.iter().map(|c| &c.name).collect::<Vec<_>>(),
        "algorithm": algorithm(spec),
        "data": rows.manifest,
        "data_digest": rows.manifest.digest().to_string(),
        "split": told,
        "notes": rows.notes,
    }))
}
