//! Reads a row that a person gives as JSON, as the features of a model that is explained, and writes values back.

#[cfg(test)]
mod tests;

use ortus::core::error::{Error, Result, short};
use ortus::core::{moment, names};
use ortus::explain::model::{ABSENT, ExplainedFeature, ExplainedModel};
use serde_json::{Map, Value};

/// Reads a row: an object with a value for each input that clients send, null for a missing one. Refuses an unknown
/// input, one that is left out, and a value of another type.
pub(crate) fn read(model: &ExplainedModel, text: &str) -> Result<Vec<f32>> {
    let row: Map<String, Value> = serde_json::from_str(text).map_err(|e| {
        Error::invalid(format!(
            "the row must be a JSON object such as {{\"{}\": null}}: {e}",
            short(&model.clients().0[0])
        ))
    })?;
    let inputs = inputs(model);
    if let Some(name) = row.keys().find(|name| !inputs.contains(&name.as_str())) {
        return Err(Error::invalid(format!(
            "the row has '{}', which is no input; the inputs are {}",
            short(name),
            names::listed(&inputs)
        )));
    }
    if let Some(name) = inputs.iter().find(|name| !row.contains_key(**name)) {
        return Err(Error::invalid(format!(
            "the row lacks '{}'; write null for a missing value",
            short(name)
        )));
    }

    let features = model.features().iter().enumerate();
    features
        .map(|(at, feature)| value(model, (at, feature), &row))
        .collect()
}

/// The inputs that clients send.
fn inputs(model: &ExplainedModel) -> Vec<&str> {
    let features = model.features().iter();
    let until = features.filter_map(|feature| feature.derived.as_ref()?.until());
    let own = model.clients().0.iter().map(String::as_str);
    let mut names: Vec<&str> = own.chain(until).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn value(
    model: &ExplainedModel,
    (at, feature): (usize, &ExplainedFeature),
    row: &Map<String, Value>,
) -> Result<f32> {
    let cell = |name: &str| row.get(name).unwrap_or(&Value::Null);
    if let Some(derived) = &feature.derived {
        let until = derived.until().map(|name| number_or_time(name, cell(name)));
        let source = number_or_time(&feature.input, cell(&feature.input))?;
        return Ok(derived.value(source, until.transpose()?.unwrap_or(f64::NAN)));
    }
    let cell = cell(&feature.name);
    match (&feature.categories, cell) {
        (None, cell) => Ok(number(&feature.name, cell)? as f32),
        (Some(_), Value::Null) => Ok(f32::from(ABSENT)),
        (Some(_), Value::String(word)) => Ok(f32::from(model.code(at, word))),
        (Some(_), other) => Err(Error::invalid(format!(
            "'{}' in the row must be a text or null, got {}",
            short(&feature.name),
            short(&other.to_string())
        ))),
    }
}

/// Reads a number, or a time as the server does: in seconds since 1970.
fn number_or_time(name: &str, cell: &Value) -> Result<f64> {
    let time = cell.as_str().and_then(moment::seconds);
    time.map_or_else(|| number(name, cell), Ok)
}

fn number(name: &str, cell: &Value) -> Result<f64> {
    match cell {
        Value::Null => Ok(f64::NAN),
        Value::Bool(is_true) => Ok(f64::from(u8::from(*is_true))),
        Value::Number(number) => Ok(number.as_f64().unwrap_or(f64::NAN)),
        other => Err(Error::invalid(format!(
            "'{}' in the row must be a number or null, got {}",
            short(name),
            short(&other.to_string())
        ))),
    }
}

/// Returns the value of a feature for a person.
pub(crate) fn shown(feature: &ExplainedFeature, value: f32) -> Value {
    match &feature.categories {
        None if value.is_nan() => Value::Null,
        None => serde_json::json!(value),
        Some(_) if value as u8 == ABSENT => Value::Null,
        Some(words) => match words.get(usize::from(value as u8)) {
            Some(word) => Value::from(word.as_str()),
            None => Value::from("another category"),
        },
    }
}
