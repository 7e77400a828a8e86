//! TensorFlow Serving's REST bodies: predict in rows and in columns, status
//! and metadata. JSON does not say its datatypes, so the signature does.

#[cfg(test)]
mod tests;

use super::codec::wire_dtype;
use crate::api::tables::{TableReader, TableSchema, UnknownColumns};
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::request::Response;
use crate::core::tensor::json::document::{Json, read_body};
use crate::core::tensor::json::elements::{ElementRules, Elements, JSON_DEPTH_MAX, is_base64};
use crate::core::tensor::json::{StringForm, Writer, check_json_form, write_f32, write_json};
use crate::core::tensor::{DType, NamedTensors, Tensor, shape_from_wire};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The one signature every model has.
const SIGNATURE: &str = "serving_default";

/// The form of a request, which its answer also has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestForm {
    /// `instances` and `predictions`: a list along the first axis.
    Row,
    /// `inputs` and `outputs`: whole tensors.
    Column,
}

/// Decodes a predict body.
pub(crate) fn decode(body: &[u8], schema: TableSchema<'_>) -> Result<(NamedTensors, RequestForm)> {
    read_body(body, |request| decode_request(request, schema))
}

fn decode_request(
    request: Json<'_>,
    schema: TableSchema<'_>,
) -> Result<(NamedTensors, RequestForm)> {
    let names = ["signature_name", "instances", "inputs"];
    let [name, instances, inputs] = request.fields("the request", names)?;
    if let Some(name) = name {
        let name = name.string("signature_name")?;
        if !name.is_empty() && name != SIGNATURE {
            let name = short(&name);
            return Err(Error::invalid(format!(
                "signature '{name}' is unknown; the model has '{SIGNATURE}'"
            )));
        }
    }

    match (instances, inputs) {
        (Some(_), Some(_)) => Err(Error::invalid("both instances and inputs are given")),
        (None, None) => Err(Error::invalid("neither instances nor inputs is given")),
        (Some(rows), None) => {
            let decoded = decode_rows(rows, schema)?;
            Ok((decoded, RequestForm::Row))
        }
        (None, Some(inputs)) => Ok((
            decode_columns(inputs, schema.signature)?,
            RequestForm::Column,
        )),
    }
}

/// Reads rows: values of the model's only input, objects with a value for each input, or objects with a
/// number or word for each column.
pub(crate) fn decode_rows(instances: Json<'_>, schema: TableSchema<'_>) -> Result<NamedTensors> {
    let signature = schema.signature;
    let rows = instances.array("instances")?;
    let Some(first) = rows.clone().next() else {
        return Err(Error::invalid("instances is empty"));
    };
    if let Some(spec) = bare(signature, first) {
        return Ok(vec![(spec.name.clone(), whole(spec, instances)?)]);
    }

    if is_row_of_columns(first, schema)? {
        let mut reader = TableReader::new(schema, UnknownColumns::Refused)?;
        for row in rows {
            reader.push_object(row)?;
        }
        return reader.finish();
    }

    let mut stacks: Vec<(&TensorSpec, Elements)> = Vec::new();
    let mut count = 0;
    for row in rows {
        let what = format!("instance {count}");
        let taken = named(row, signature, &what)?;
        if count == 0 {
            stacks = taken.iter().map(stack).collect::<Result<_>>()?;
        }

        let before = stacks.iter().map(|(spec, _)| &spec.name);
        if !taken.iter().map(|(spec, _)| &spec.name).eq(before) {
            return Err(Error::invalid(format!(
                "{what} and instance 0 must give the same optional inputs"
            )));
        }
        for ((spec, stack), (_, value)) in stacks.iter_mut().zip(taken) {
            stack
                .push(value)
                .map_err(|e| within(spec, e).context(&what))?;
        }
        count += 1;
    }

    let mut inputs = Vec::with_capacity(stacks.len());
    for (at, (spec, stack)) in stacks.into_iter().enumerate() {
        let tensor = stacked(spec, stack, count)?;
        if at >= signature.inputs.len() {
            check_rows(spec, &tensor)?;
        }
        inputs.push((spec.name.clone(), tensor));
    }
    Ok(inputs)
}

/// Tells whether an object gives a number or word for columns of the model, and not the values of its inputs.
fn is_row_of_columns(row: Json<'_>, schema: TableSchema<'_>) -> Result<bool> {
    if !row.is_object() {
        return Ok(false);
    }
    let mut needs_columns = false;
    for member in row.object("instance 0")? {
        let (name, value) = member?;
        if !value.is_scalar() && value.text() != "null" && !is_base64(value) {
            return Ok(false);
        }
        needs_columns = needs_columns || schema.is_cell(&name);
    }
    Ok(needs_columns)
}

/// Starts the stack of an input of the first row.
fn stack<'s>((spec, _): &(&'s TensorSpec, Json<'_>)) -> Result<(&'s TensorSpec, Elements)> {
    let elements = Elements::stacked(rules(spec)).map_err(|e| within(spec, e))?;
    Ok((*spec, elements))
}

/// Turns the values of an input, one for each of `count` rows, into its tensor.
fn stacked(spec: &TensorSpec, mut stack: Elements, count: usize) -> Result<Tensor> {
    stack
        .close_stack(count)
        .and_then(|()| shaped(stack))
        .map_err(|e| within(spec, e))
}

/// Refuses rows of an optional input that has no axis for them.
fn check_rows(spec: &TensorSpec, tensor: &Tensor) -> Result<()> {
    let has_no_axis = |dims: &Vec<Dim>| {
        dims.first() != Some(&Dim::Dynamic) && dims.len() + 1 == tensor.shape().len()
    };
    if spec.shape.as_ref().is_some_and(has_no_axis) {
        return Err(Error::invalid(format!(
            "input '{}' is optional and has no axis for rows; ask with inputs, not instances",
            short(&spec.name)
        )));
    }
    Ok(())
}

/// Reads whole tensors: the value of the model's only input, or an object with one for each input.
pub(crate) fn decode_columns(inputs: Json<'_>, signature: &Signature) -> Result<NamedTensors> {
    if let Some(spec) = bare(signature, inputs) {
        return Ok(vec![(spec.name.clone(), whole(spec, inputs)?)]);
    }
    let taken = named(inputs, signature, "inputs")?;
    taken
        .into_iter()
        .map(|(spec, value)| Ok((spec.name.clone(), whole(spec, value)?)))
        .collect()
}

/// The model's only input, if `value` is its value and not an object of input
/// names.
fn bare<'s>(signature: &'s Signature, value: Json<'_>) -> Option<&'s TensorSpec> {
    let [spec] = signature.inputs.as_slice() else {
        return None;
    };
    let string = spec.dtype == DType::String && spec.name != "b64" && is_base64(value);
    (!value.is_object() || string).then_some(spec)
}

/// An input with its value.
type NamedValue<'s, 'a> = (&'s TensorSpec, Json<'a>);

/// Reads an object with every required input and some optional ones, into the signature's order.
fn named<'s, 'a>(
    value: Json<'a>,
    signature: &'s Signature,
    what: &str,
) -> Result<Vec<NamedValue<'s, 'a>>> {
    let mut slots: Vec<Option<Json<'a>>> = vec![None; signature.inputs.len()];
    let mut optional: BTreeMap<usize, Json<'a>> = BTreeMap::new();
    for member in value.object(what)? {
        let (name, value) = member?;
        let required = signature.inputs.iter().position(|spec| spec.name == name);
        let before = match (required, signature.find_optional(&name)) {
            (Some(at), _) => slots[at].replace(value),
            (None, Some(at)) => optional.insert(at, value),
            (None, None) => return Err(signature.refuse_input(&name).context(what)),
        };
        if before.is_some() {
            return Err(Error::invalid(format!(
                "{what} has the input '{}' twice",
                short(&name)
            )));
        }
    }

    if let Some(at) = slots.iter().position(Option::is_none) {
        return Err(Error::invalid(format!(
            "{what} lacks the input '{}'",
            short(&signature.inputs[at].name)
        )));
    }

    let required = signature.inputs.iter().zip(slots.into_iter().flatten());
    let optional = optional.into_iter();
    let optional = optional.map(|(at, value)| (&signature.optional[at].spec, value));
    Ok(required.chain(optional).collect())
}

fn rules(spec: &TensorSpec) -> ElementRules {
    ElementRules {
        dtype: spec.dtype,
        depth_max: JSON_DEPTH_MAX,
        count: 0,
        base64: true,
    }
}

fn within(spec: &TensorSpec, error: Error) -> Error {
    error.context(format_args!("input '{}'", short(&spec.name)))
}

fn whole(spec: &TensorSpec, value: Json<'_>) -> Result<Tensor> {
    Elements::of(value, rules(spec))
        .and_then(shaped)
        .map_err(|e| within(spec, e))
}

fn shaped(elements: Elements) -> Result<Tensor> {
    let dims: Vec<i64> = elements
        .shape()
        .into_iter()
        .map(|n| i64::try_from(n).unwrap_or(i64::MAX))
        .collect();
    elements.into_tensor(shape_from_wire(&dims)?)
}

/// Encodes an answer in the request's form. Rows need the same first
/// dimension in every output.
pub(crate) fn encode(response: &Response, form: RequestForm) -> Result<Vec<u8>> {
    for (name, tensor) in &response.outputs {
        if string_form(name) == StringForm::Plain && tensor.dtype() == DType::String {
            check_json_form(name, tensor, "ask over gRPC, or let its name end in _bytes")?;
        }
    }
    match form {
        RequestForm::Row => encode_rows(response),
        RequestForm::Column => Ok(encode_columns(response)),
    }
}

/// Refuses outputs that do not have the same number of rows, and returns that.
pub(crate) fn check_rows_agree(outputs: &[(Arc<str>, Tensor)]) -> Result<usize> {
    let mut rows = None;
    for (name, tensor) in outputs {
        if tensor.rows().is_none() || *rows.get_or_insert(tensor.rows()) != tensor.rows() {
            let name = short(name);
            return Err(Error::invalid(format!(
                "output '{name}' does not share a first dimension with the others; ask with inputs, not instances"
            )));
        }
    }
    Ok(rows.flatten().unwrap_or(0))
}

fn encode_rows(response: &Response) -> Result<Vec<u8>> {
    let rows = check_rows_agree(&response.outputs)?;
    let mut writers: Vec<_> = response
        .outputs
        .iter()
        .map(|(name, tensor)| writer(name, tensor))
        .collect();
    let mut out = b"{\"predictions\":[".to_vec();

    for row in 0..rows {
        if row > 0 {
            out.push(b',');
        }
        write_outputs(&mut out, response, &mut writers, 1);
    }

    out.extend_from_slice(b"]}");
    Ok(out)
}

fn encode_columns(response: &Response) -> Vec<u8> {
    let mut writers: Vec<_> = response
        .outputs
        .iter()
        .map(|(name, tensor)| writer(name, tensor))
        .collect();
    let mut out = b"{\"outputs\":".to_vec();

    write_outputs(&mut out, response, &mut writers, 0);
    out.push(b'}');
    out
}

/// Appends the next part of every output, of its shape less the leading `axes`.
fn write_outputs(out: &mut Vec<u8>, response: &Response, writers: &mut [Writer<'_>], axes: usize) {
    if let ([(_, tensor)], [writer]) = (response.outputs.as_slice(), &mut *writers) {
        return writer.write(out, &tensor.shape()[axes..]);
    }
    out.push(b'{');
    for (i, ((name, tensor), writer)) in response.outputs.iter().zip(writers).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_json(out, &**name);
        out.push(b':');
        writer.write(out, &tensor.shape()[axes..]);
    }

    out.push(b'}');
}

fn writer<'a>(name: &str, tensor: &'a Tensor) -> Writer<'a> {
    Writer::new(tensor, string_form(name))
}

fn string_form(name: &str) -> StringForm {
    match name.ends_with("_bytes") {
        true => StringForm::Base64,
        false => StringForm::Plain,
    }
}

/// Writes the classes of examples: for each, pairs of a label and a score.
pub(crate) fn classes(all: &[Vec<(String, f32)>]) -> Vec<u8> {
    let mut out = b"{\"results\":[".to_vec();
    for (at, classes) in all.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.push(b'[');
        for (i, (label, score)) in classes.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.push(b'[');
            write_json(&mut out, label);
            out.push(b',');
            write_f32(&mut out, *score);
            out.push(b']');
        }
        out.push(b']');
    }
    out.extend_from_slice(b"]}");
    out
}

/// Writes the values of examples.
pub(crate) fn values(all: &[f32]) -> Vec<u8> {
    let mut out = b"{\"results\":[".to_vec();
    for (at, value) in all.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_f32(&mut out, *value);
    }
    out.extend_from_slice(b"]}");
    out
}

/// One version in the answer to a status call.
pub(crate) struct StatusLine {
    pub(crate) version: u64,
    pub(crate) state: &'static str,
    /// The name of its gRPC code.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// Writes the states of a model's versions.
pub(crate) fn status_body(versions: &[StatusLine]) -> Vec<u8> {
    let statuses: Vec<Value> = versions.iter().map(status).collect();
    json!({ "model_version_status": statuses })
        .to_string()
        .into_bytes()
}

fn status(line: &StatusLine) -> Value {
    json!({
        "version": line.version.to_string(),
        "state": line.state,
        "status": {"error_code": line.code, "error_message": line.message},
    })
}

/// Writes the inputs and outputs of a version, as the JSON form of a SignatureDef.
pub(crate) fn metadata_body(name: &str, version: u64, signature: &Signature) -> Vec<u8> {
    json!({
        "model_spec": {"name": name, "signature_name": "", "version": version.to_string()},
        "metadata": {"signature_def": {"signature_def": {SIGNATURE: {
            "inputs": tensor_infos(signature.listed_inputs()),
            "outputs": tensor_infos(signature.outputs.iter()),
            "method_name": "tensorflow/serving/predict",
        }}}},
    })
    .to_string()
    .into_bytes()
}

fn tensor_infos<'s>(specs: impl Iterator<Item = &'s TensorSpec>) -> Map<String, Value> {
    specs
        .map(|spec| (spec.name.clone(), tensor_info(spec)))
        .collect()
}

fn tensor_info(spec: &TensorSpec) -> Value {
    let dims = spec.shape.iter().flatten();
    let dims: Vec<Value> = dims
        .map(|d| json!({"size": d.to_wire().to_string(), "name": ""}))
        .collect();

    json!({
        "name": spec.name,
        "dtype": wire_dtype(spec.dtype).as_str_name(),
        "tensor_shape": {"dim": dims, "unknown_rank": spec.shape.is_none()},
    })
}
