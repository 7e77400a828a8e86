//! Examples, as Classify and Regress take them: named lists of values, in messages and in JSON, to the tensors of a model.
//! A feature is a column, or a whole input. Features that the model does not take are ignored, as in
//! TensorFlow.

#[cfg(test)]
mod tests;

use crate::api::tables::{TableCell, TableReader};
use crate::core::error::{Error, Result};
use crate::core::model::Signature;
use crate::core::model::columns::InputColumns;
use crate::core::tensor::NamedTensors;
use crate::core::tensor::json::document::{Json, read_body};
use crate::proto::tensorflow::feature::Kind;
use crate::proto::tensorflow::serving::Input;
use crate::proto::tensorflow::serving::input;
use crate::proto::tensorflow::{Example, Feature};
use std::borrow::Cow;

/// What a body of `:classify` or `:regress` may have.
const MEMBERS: [&str; 3] = ["signature_name", "context", "examples"];

/// Decodes the examples of a message.
pub(super) fn decode(
    input: Option<Input>,
    signature: &Signature,
    columns: &InputColumns,
) -> Result<NamedTensors> {
    let kind = input.and_then(|input| input.kind);
    let (examples, context) = match kind {
        Some(input::Kind::ExampleList(list)) => (list.examples, None),
        Some(input::Kind::ExampleListWithContext(list)) => (list.examples, list.context),
        None => return Err(Error::invalid("input is missing")),
    };
    let mut reader = TableReader::new(signature, columns)?;
    for example in &examples {
        let mut row = reader.row();
        let mut given = features(example).peekable();
        if given.peek().is_none() && context.is_none() {
            return Err(Error::invalid(format!(
                "{} has no features",
                reader.row_name()
            )));
        }
        for (name, feature) in given {
            reader.put_feature(&mut row, name, &cells(feature))?;
        }
        // The example's own features come first.
        let shared = context.as_ref().into_iter().flat_map(features);
        for (name, feature) in shared.filter(|(name, _)| !has(example, name)) {
            reader.put_feature(&mut row, name, &cells(feature))?;
        }
        reader.push(row)?;
    }
    reader.finish()
}

fn features(example: &Example) -> impl Iterator<Item = (&str, &Feature)> {
    let all = example.features.iter().flat_map(|f| &f.feature);
    all.map(|(name, feature)| (name.as_str(), feature))
}

fn has(example: &Example, name: &str) -> bool {
    let features = example.features.as_ref();
    features.is_some_and(|features| features.feature.contains_key(name))
}

fn cells(feature: &Feature) -> Vec<TableCell<'_>> {
    match &feature.kind {
        Some(Kind::BytesList(list)) => list.value.iter().map(|v| TableCell::Bytes(v)).collect(),
        Some(Kind::FloatList(list)) => list.value.iter().map(|v| TableCell::Float(*v)).collect(),
        Some(Kind::Int64List(list)) => list.value.iter().map(|v| TableCell::Integer(*v)).collect(),
        None => Vec::new(),
    }
}

/// Decodes the examples of a JSON body; returns the name of the signature too.
pub(super) fn decode_json(
    body: &[u8],
    signature: &Signature,
    columns: &InputColumns,
) -> Result<(String, NamedTensors)> {
    read_body(body, |request| {
        let [name, context, examples] = request.fields("the request", MEMBERS)?;
        let name = name.map(|name| name.string("signature_name")).transpose()?;
        let examples = examples.ok_or_else(|| Error::invalid("examples is missing"))?;
        let mut reader = TableReader::new(signature, columns)?;
        for example in examples.array("examples")? {
            let mut row = reader.row();
            let what = format!("example of {}", reader.row_name());
            let own: Vec<(Cow<'_, str>, Json<'_>)> =
                example.object(&what)?.collect::<Result<_>>()?;
            for (name, value) in &own {
                reader.put_feature(&mut row, name, &json_cells(*value, name)?)?;
            }
            if let Some(context) = context {
                for member in context.object("context")? {
                    let (name, value) = member?;
                    if own.iter().all(|(other, _)| *other != name) {
                        reader.put_feature(&mut row, &name, &json_cells(value, &name)?)?;
                    }
                }
            }
            reader.push(row)?;
        }
        Ok((name.unwrap_or_default().into_owned(), reader.finish()?))
    })
}

/// A value, or a list of values.
fn json_cells<'a>(value: Json<'a>, name: &str) -> Result<Vec<TableCell<'a>>> {
    if value.text().starts_with('[') {
        return Ok(value.array(name)?.map(TableCell::Json).collect());
    }
    Ok(vec![TableCell::Json(value)])
}
