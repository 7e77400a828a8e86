//! TensorFlow Serving's REST bodies. Datatypes come from the signature, since
//! the JSON does not say them. Pure.

#[cfg(test)]
mod tests;

use super::codec;
use super::grpc::SIGNATURE;
use crate::api::elements::{Elements, json_string, object, write_elements};
use crate::error::{Error, Result};
use crate::model::{Signature, TensorSpec, short};
use crate::request::Response;
use crate::tensor::{DType, Data, Tensor};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Whether a request listed rows or columns; it is answered alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Row,
    Column,
}

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(default)]
    signature_name: Option<String>,
    #[serde(default, borrow)]
    instances: Option<Vec<&'b RawValue>>,
    #[serde(default, borrow)]
    inputs: Option<&'b RawValue>,
}

type Object<'b> = BTreeMap<String, &'b RawValue>;

/// Decodes a predict body.
pub(crate) fn decode(body: &[u8], signature: &Signature) -> Result<(Vec<(String, Tensor)>, Form)> {
    let parsed: Body<'_> = object(body, "a predict request")?;
    codec::signature_name(parsed.signature_name.as_deref().unwrap_or_default())
        .map_err(|e| Error::invalid(e.message))?;
    match (parsed.instances, parsed.inputs) {
        (Some(rows), None) => Ok((from_rows(&rows, signature)?, Form::Row)),
        (None, Some(columns)) => Ok((from_columns(columns, signature)?, Form::Column)),
        (Some(_), Some(_)) => Err(Error::invalid("the body has both instances and inputs")),
        (None, None) => Err(Error::invalid("the body has neither instances nor inputs")),
    }
}

fn object_of<'b>(json: &'b RawValue) -> Option<Object<'b>> {
    // {"b64": …} is a value, not an object of inputs.
    let parsed: Object<'b> = serde_json::from_str(json.get()).ok()?;
    (!parsed.contains_key("b64") || parsed.len() > 1).then_some(parsed)
}

fn from_rows(rows: &[&RawValue], signature: &Signature) -> Result<Vec<(String, Tensor)>> {
    let Some(first) = rows.first() else { return Err(Error::invalid("instances is empty")) };
    if let ([spec], None) = (signature.inputs.as_slice(), object_of(first)) {
        let tensor = column(spec, Elements::stack(rows.iter().copied(), spec.dtype))?;
        return Ok(vec![(spec.name.clone(), tensor)]);
    }
    let mut objects = Vec::with_capacity(rows.len());
    for (i, row) in rows.iter().enumerate() {
        let all = object_of(row).ok_or_else(|| Error::invalid(format!("instance {i} is not an object of inputs")))?;
        if let Some(name) = all.keys().find(|name| !signature.inputs.iter().any(|spec| spec.name == **name)) {
            return Err(Error::invalid(format!("instance {i}: input '{}' is unknown", short(name))));
        }
        objects.push(all);
    }
    let tensor = |spec: &TensorSpec| {
        let values: Option<Vec<&RawValue>> = objects.iter().map(|o| o.get(&spec.name).copied()).collect();
        let values =
            values.ok_or_else(|| Error::invalid(format!("input '{}' is missing in an instance", spec.name)))?;
        Ok((spec.name.clone(), column(spec, Elements::stack(values.into_iter(), spec.dtype))?))
    };
    signature.inputs.iter().map(tensor).collect()
}

fn from_columns(columns: &RawValue, signature: &Signature) -> Result<Vec<(String, Tensor)>> {
    let Some(all) = object_of(columns) else {
        let [spec] = signature.inputs.as_slice() else {
            return Err(Error::invalid("inputs is not an object, and the model has several inputs"));
        };
        return Ok(vec![(spec.name.clone(), column(spec, Elements::parse(columns, spec.dtype))?)]);
    };
    let tensor = |(name, json): (&String, &&RawValue)| {
        let spec = signature.inputs.iter().find(|spec| spec.name == *name);
        let spec = spec.ok_or_else(|| Error::invalid(format!("input '{}' is unknown", short(name))))?;
        Ok((name.clone(), column(spec, Elements::parse(json, spec.dtype))?))
    };
    all.iter().map(tensor).collect()
}

fn column(spec: &TensorSpec, elements: Result<Elements>) -> Result<Tensor> {
    let built = elements.and_then(|e| {
        let shape = e.shape.clone();
        e.into_tensor(shape)
    });
    built.map_err(|e| e.context(format_args!("input '{}'", spec.name)))
}

/// Encodes an answer in the form of its request.
pub(crate) fn encode(response: &Response, form: Form) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    match form {
        Form::Column => {
            out.extend_from_slice(b"{\"outputs\":");
            match response.outputs.as_slice() {
                [(name, tensor)] => write(&mut out, name, tensor),
                all => write_object(&mut out, all.iter().map(|(name, tensor)| (name.as_ref(), tensor))),
            }
        }
        Form::Row => {
            out.extend_from_slice(b"{\"predictions\":");
            write_rows(&mut out, response)?;
        }
    }
    out.push(b'}');
    Ok(out)
}

fn write_rows(out: &mut Vec<u8>, response: &Response) -> Result<()> {
    let rows = response.outputs.first().and_then(|(_, t)| t.rows());
    let Some(rows) = rows.filter(|_| response.outputs.iter().all(|(_, t)| t.rows() == rows)) else {
        return Err(Error::invalid(
            "the outputs differ in their first dimension; ask with inputs instead of instances",
        ));
    };
    let mut columns = Vec::with_capacity(response.outputs.len());
    for (_, tensor) in &response.outputs {
        columns.push(crate::tensor::batch::split(tensor, &vec![1; rows])?);
    }
    out.push(b'[');
    for row in 0..rows {
        if row > 0 {
            out.push(b',');
        }
        let values = response.outputs.iter().zip(&columns).map(|((name, _), c)| (name.as_ref(), &c[row]));
        match response.outputs.len() {
            1 => values.for_each(|(name, tensor)| write_row(out, name, tensor)),
            _ => write_row_object(out, values),
        }
    }
    out.push(b']');
    Ok(())
}

/// A row of one keeps its first axis in the tensor, not in the JSON.
fn write_row(out: &mut Vec<u8>, name: &str, tensor: &Tensor) {
    let mut nested = Vec::new();
    write(&mut nested, name, tensor);
    out.extend_from_slice(&nested[1..nested.len() - 1]);
}

fn write_row_object<'o>(out: &mut Vec<u8>, values: impl Iterator<Item = (&'o str, &'o Tensor)>) {
    for (i, (name, tensor)) in values.enumerate() {
        out.push(if i == 0 { b'{' } else { b',' });
        json_string(out, name);
        out.push(b':');
        write_row(out, name, tensor);
    }
    out.push(b'}');
}

fn write_object<'o>(out: &mut Vec<u8>, values: impl Iterator<Item = (&'o str, &'o Tensor)>) {
    out.push(b'{');
    for (i, (name, tensor)) in values.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        json_string(out, name);
        out.push(b':');
        write(out, name, tensor);
    }
    out.push(b'}');
}

/// Writes a value; strings of outputs whose name ends in `_bytes` as base64.
fn write(out: &mut Vec<u8>, name: &str, tensor: &Tensor) {
    match tensor.data() {
        Data::Strings(strings) if name.ends_with("_bytes") => {
            let all: Vec<&str> = strings.iter().collect();
            crate::api::elements::write_level(out, tensor.shape(), &mut 0, &|out, i| {
                out.extend_from_slice(b"{\"b64\":\"");
                out.extend_from_slice(STANDARD.encode(all[i]).as_bytes());
                out.extend_from_slice(b"\"}");
            });
        }
        _ => write_elements(out, tensor, true),
    }
}

/// One line of the status answer: version, state, code, the code's name, message.
pub(crate) type StatusLine<'s> = (u64, &'s str, i32, &'s str, String);

/// The status answer.
pub(crate) fn status_body(lines: &[StatusLine<'_>]) -> Vec<u8> {
    let line = |(version, state, _, code, message): &StatusLine<'_>| json!({"version": version.to_string(), "state": state, "status": {"error_code": code, "error_message": message}});
    json!({"model_version_status": lines.iter().map(line).collect::<Vec<Value>>()}).to_string().into_bytes()
}

/// The metadata answer.
pub(crate) fn metadata_body(name: &str, version: u64, signature: &Signature) -> Vec<u8> {
    let tensors = |specs: &[TensorSpec]| -> Value {
        let info = |spec: &TensorSpec| {
            let dims: Vec<Value> =
                spec.shape.iter().flatten().map(|d| json!({"size": d.to_wire().to_string(), "name": ""})).collect();
            let dtype: DType = spec.dtype;
            let info = json!({
                "name": spec.name,
                "dtype": codec::data_type(dtype).as_str_name(),
                "tensor_shape": {"dim": dims, "unknown_rank": spec.shape.is_none()},
            });
            (spec.name.clone(), info)
        };
        Value::Object(specs.iter().map(info).collect())
    };
    let definition = json!({
        "inputs": tensors(&signature.inputs),
        "outputs": tensors(&signature.outputs),
        "method_name": "tensorflow/serving/predict",
    });
    json!({
        "model_spec": {"name": name, "signature_name": "", "version": version.to_string()},
        "metadata": {"signature_def": {"signature_def": { SIGNATURE: definition }}},
    })
    .to_string()
    .into_bytes()
}
