//! Reads a model configuration that is written as JSON, as Protobuf writes it, into the same tree as the
//! text format. Fields may be in camel case, and a field with its default value counts as absent.

use super::syntax::{DEPTH_MAX, FieldValue, NamedField, TEXT_BYTES_MAX};
use crate::core::error::{Error, Result};
use serde_json::Value;

/// Fields that map keys to values. An empty one counts as absent.
const MAPS: [&str; 4] = ["inputs", "parameters", "metric_tags", "cc_model_filenames"];
/// A field whose 0 says something: the model does not batch.
const UNBATCHED: &str = "max_batch_size";

/// Reads a whole configuration. Refuses one over a limit, or that is not a JSON object.
pub(super) fn parse(text: &str) -> Result<Vec<NamedField>> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::invalid(format!(
            "it has {} bytes; the limit is {TEXT_BYTES_MAX}",
            text.len()
        )));
    }
    let value: Value = serde_json::from_str(text)
        .map_err(|e| Error::invalid(format!("it is not valid JSON: {e}")))?;

    match value {
        Value::Object(fields) => message(fields, 0),
        _ => Err(Error::invalid("it is not a JSON object")),
    }
}

fn message(members: serde_json::Map<String, Value>, depth: usize) -> Result<Vec<NamedField>> {
    if depth > DEPTH_MAX {
        return Err(Error::invalid(format!("nested deeper than {DEPTH_MAX}")));
    }

    let mut fields = Vec::new();
    for (name, value) in members {
        let name = snake_case(&name);
        let is_map = MAPS.contains(&name.as_str());
        if is_default(&name, &value, is_map) {
            continue;
        }
        let value = match value {
            Value::Object(entries) if is_map => map(entries, depth + 1)?,
            value => field_value(value, depth + 1)?,
        };
        fields.push(NamedField {
            name,
            line: 0,
            value,
        });
    }

    Ok(fields)
}

/// A map is a list of entries in the text format.
fn map(entries: serde_json::Map<String, Value>, depth: usize) -> Result<FieldValue> {
    let field = |name: &str, value| NamedField {
        name: name.to_owned(),
        line: 0,
        value,
    };
    let entry = |(key, value)| {
        let value = field_value(value, depth + 1)?;
        let key = field("key", FieldValue::Str(key));
        Ok(FieldValue::Message(vec![key, field("value", value)]))
    };
    let entries = entries.into_iter().map(entry);
    entries.collect::<Result<_>>().map(FieldValue::List)
}

fn field_value(value: Value, depth: usize) -> Result<FieldValue> {
    Ok(match value {
        Value::Null => FieldValue::Message(Vec::new()),
        Value::Bool(flag) => FieldValue::Ident(flag.to_string()),
        Value::Number(number) => FieldValue::Num(number.to_string()),
        Value::String(text) => FieldValue::Json(text),
        Value::Array(values) => {
            let values = values.into_iter().map(|value| field_value(value, depth));
            FieldValue::List(values.collect::<Result<_>>()?)
        }
        Value::Object(members) => FieldValue::Message(message(members, depth)?),
    })
}

/// Whether a member says no more than if it were left out.
fn is_default(name: &str, value: &Value, is_map: bool) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) if text == "0" => name != UNBATCHED,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0) && name != UNBATCHED,
        Value::Array(values) => values.is_empty(),
        Value::Object(members) => is_map && members.is_empty(),
        Value::Bool(true) => false,
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}
