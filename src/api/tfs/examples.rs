//! Examples, as Classify and Regress take them: named lists of values, in messages and in JSON, to the tensors of a model.
//! A feature is a column, or a whole input. Features that the model does not take are ignored, as in
//! TensorFlow.

#[cfg(test)]
mod tests;

use crate::api::tables::cells::TableCell;
use crate::api::tables::{TableReader, TableRow, TableSchema, UnknownColumns};
use crate::core::error::{Error, Result};
use crate::core::tensor::json::document::{Json, Members, read_body};
use crate::core::tensor::json::elements::{ElementRules, Elements};
use crate::core::tensor::{NamedTensors, Tensor};
use crate::proto::tensorflow::feature::Kind;
use crate::proto::tensorflow::serving::Input;
use crate::proto::tensorflow::serving::input;
use crate::proto::tensorflow::{Example, Feature};

/// What a body of `:classify` or `:regress` may have.
const MEMBERS: [&str; 3] = ["signature_name", "context", "examples"];

/// Decodes the examples of a message.
pub(crate) fn decode(input: Option<Input>, schema: TableSchema<'_>) -> Result<NamedTensors> {
    let kind = input.and_then(|input| input.kind);
    let (examples, context) = match kind {
        Some(input::Kind::ExampleList(list)) => (list.examples, None),
        Some(input::Kind::ExampleListWithContext(list)) => (list.examples, list.context),
        None => return Err(Error::invalid("input is missing")),
    };
    let mut reader = TableReader::new(schema, UnknownColumns::Ignored)?;
    reader.expect_rows(examples.len())?;
    if let Some(context) = &context {
        let mut shared = reader.shared_row();
        put(&mut shared, &reader, context)?;
        reader.share(shared, examples.len())?;
    }

    for example in &examples {
        let mut row = reader.row();
        if features(example).next().is_none() && context.is_none() {
            return Err(Error::invalid(format!("{} has no features", row.name())));
        }
        put(&mut row, &reader, example)?;
        reader.push(row)?;
    }
    reader.finish()
}

/// Puts the features of an example that the model takes into a row.
fn put<'e>(row: &mut TableRow<'e>, reader: &TableReader<'_>, example: &'e Example) -> Result<()> {
    for (name, feature) in features(example) {
        if let Some(places) = reader.feature(name) {
            row.put_feature(reader, name, places, values(feature))?;
        }
    }
    Ok(())
}

fn features(example: &Example) -> impl Iterator<Item = (&str, &Feature)> {
    let all = example.features.iter().flat_map(|f| &f.feature);
    all.map(|(name, feature)| (name.as_str(), feature))
}

fn values(feature: &Feature) -> Box<dyn Iterator<Item = TableCell<'_>> + '_> {
    match &feature.kind {
        Some(Kind::BytesList(list)) => Box::new(list.value.iter().map(|v| TableCell::Bytes(v))),
        Some(Kind::FloatList(list)) => Box::new(list.value.iter().copied().map(TableCell::Float)),
        Some(Kind::Int64List(list)) => Box::new(list.value.iter().copied().map(TableCell::Integer)),
        None => Box::new(std::iter::empty()),
    }
}

/// Decodes the examples of a JSON body; returns the name of the signature too.
pub(crate) fn decode_json(body: &[u8], schema: TableSchema<'_>) -> Result<(String, NamedTensors)> {
    read_body(body, |request| {
        let [name, context, examples] = request.fields("the request", MEMBERS)?;
        let name = name.map(|name| name.string("signature_name")).transpose()?;
        let examples = examples.ok_or_else(|| Error::invalid("examples is missing"))?;
        let examples = examples.array("examples")?;
        let count = examples.clone().count();
        let mut reader = TableReader::new(schema, UnknownColumns::Ignored)?;
        reader.expect_rows(count)?;
        let name = name.unwrap_or_default().into_owned();
        if context.is_none()
            && let Some(tensor) = plain(examples.clone(), &reader, schema)
        {
            return Ok((name, vec![tensor]));
        }
        if let Some(context) = context {
            let mut shared = reader.shared_row();
            put_json(&mut shared, &reader, context.object("context")?)?;
            reader.share(shared, count)?;
        }

        for example in examples {
            let mut row = reader.row();
            let what = format!("example of {}", row.name());
            put_json(&mut row, &reader, example.object(&what)?)?;
            reader.push(row)?;
        }
        Ok((name, reader.finish()?))
    })
}

/// Reads examples that give the one input of a model as lists of numbers, as most do, without a look at each number.
/// None for all others, which have the same meaning when they are read cell by cell.
fn plain<'j>(
    examples: impl Iterator<Item = Json<'j>>,
    reader: &TableReader<'_>,
    schema: TableSchema<'_>,
) -> Option<(String, Tensor)> {
    let [spec] = schema.signature.inputs.as_slice() else {
        return None;
    };
    let columns = schema.columns.len();
    let width = spec.dtype.element_bytes()?;
    let is_matrix = spec.shape.as_ref().is_some_and(|dims| dims.len() == 2);
    if !is_matrix || !schema.signature.optional.is_empty() {
        return None;
    }
    let rules = ElementRules {
        dtype: spec.dtype,
        depth_max: 2,
        count: 0,
        base64: false,
    };
    let mut elements = Elements::stacked(rules).ok()?;
    let mut rows = 0;
    for example in examples {
        let mut given = None;
        for member in example.object("").ok()? {
            let (name, value) = member.ok()?;
            if reader.feature(&name).is_some() {
                let is_first = name == spec.name && given.is_none();
                given = is_first.then_some(Some(value))?;
            }
        }
        elements.push(given?).ok()?;
        rows += 1;
        if rows * columns * width > schema.limits.bytes_max {
            return None;
        }
    }
    elements.close_stack(rows).ok()?;
    if elements.shape() != [rows, columns] {
        return None;
    }
    let tensor = elements.into_tensor(vec![rows, columns]).ok()?;
    Some((spec.name.clone(), tensor))
}

/// Puts the features of an object that the model takes into a row.
fn put_json<'j>(
    row: &mut TableRow<'j>,
    reader: &TableReader<'_>,
    features: Members<'j>,
) -> Result<()> {
    for member in features {
        let (name, value) = member?;
        let Some(places) = reader.feature(&name) else {
            continue;
        };
        // A value, or a list of values.
        match value.text().starts_with('[') {
            true => {
                let values = value.array(&name)?.map(TableCell::Json);
                row.put_feature(reader, &name, places, values)?;
            }
            false => {
                let values = std::iter::once(TableCell::Json(value));
                row.put_feature(reader, &name, places, values)?;
            }
        }
    }
    Ok(())
}
