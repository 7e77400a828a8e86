//! Open Inference Protocol JSON, and its binary tensor extension. Pure.

#[cfg(test)]
mod tests;

use crate::api::elements::{Elements, json_string, object, write_elements};
use crate::error::{Error, Result};
use crate::model::{Dim, Signature, short};
use crate::request::{Request, Response};
use crate::tensor::{DType, Tensor, shape_from_wire};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt;

/// What Ortus honours of a request's parameters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Parameters {
    pub priority: u8,
    pub timeout_us: Option<u64>,
}

/// A decoded infer request; its target is in the path.
#[derive(Debug)]
pub(crate) struct InferRequest {
    pub id: String,
    pub parameters: Parameters,
    pub inputs: Vec<(String, Tensor)>,
    /// Names, and whether that one is wanted in binary.
    pub outputs: Vec<(String, Option<bool>)>,
    /// Whether outputs are wanted in binary that do not say.
    pub binary_default: bool,
}

/// A parameter: no nesting.
#[derive(Debug, PartialEq)]
enum Parameter {
    Bool(bool),
    Whole(i128),
    Other,
}

impl<'de> Deserialize<'de> for Parameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = Parameter;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a boolean, a number or a string")
            }
            fn visit_bool<E>(self, v: bool) -> Result<Parameter, E> {
                Ok(Parameter::Bool(v))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Parameter, E> {
                Ok(Parameter::Whole(v.into()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Parameter, E> {
                Ok(Parameter::Whole(v.into()))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Parameter, E> {
                Ok(Parameter::Other)
            }
            fn visit_str<E>(self, _: &str) -> Result<Parameter, E> {
                Ok(Parameter::Other)
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

/// A JSON object whose keys must differ.
#[derive(Debug, Default)]
struct Unique(BTreeMap<String, Parameter>);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Unique;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of parameters")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Parameter>()? {
                    if all.insert(key, value).is_some() {
                        return Err(serde::de::Error::custom("a parameter is given twice"));
                    }
                }
                Ok(Unique(all))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

impl Unique {
    fn refuse_unserved(&self) -> Result<()> {
        let unserved = |name: &&String| {
            name.starts_with("shared_memory") || name.starts_with("sequence_") || name.as_str() == "classification"
        };
        match self.0.keys().find(unserved) {
            Some(name) => Err(Error::unimplemented(format!("parameter '{}' is not served here", short(name)))),
            None => Ok(()),
        }
    }

    fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Parameter::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(Error::invalid(format!("parameter '{name}' is not a boolean"))),
        }
    }

    fn whole<T: TryFrom<i128>>(&self, name: &str) -> Result<Option<T>> {
        let Some(parameter) = self.0.get(name) else { return Ok(None) };
        let value = match parameter {
            Parameter::Whole(v) => T::try_from(*v).ok(),
            _ => None,
        };
        value.map(Some).ok_or_else(|| Error::invalid(format!("parameter '{name}' is not a whole number in range")))
    }
}

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    parameters: Unique,
    #[serde(borrow)]
    inputs: Vec<Input<'b>>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Deserialize)]
struct Input<'b> {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: Unique,
    #[serde(default, borrow)]
    data: Option<&'b RawValue>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: Unique,
}

/// Decodes a body whose first `json_bytes` are JSON, or all of it, and whose
/// rest is the binary tensors.
pub(crate) fn decode(body: &Bytes, json_bytes: Option<usize>) -> Result<InferRequest> {
    let length = json_bytes.unwrap_or(body.len());
    let head = body.get(..length).ok_or_else(|| {
        Error::invalid(format!("Inference-Header-Content-Length is {length}, the body has {} bytes", body.len()))
    })?;
    let parsed: Body<'_> = object(head, "an infer request")?;
    let id = parsed.id.unwrap_or_default();
    Request::check_limits(&id, parsed.inputs.len())?;
    parsed.parameters.refuse_unserved()?;
    let mut rest = body.slice(length..);
    let mut inputs = Vec::with_capacity(parsed.inputs.len());
    for input in parsed.inputs {
        let name = input.name.clone();
        let tensor = tensor(input, &mut rest).map_err(|e| e.context(format_args!("input '{}'", short(&name))))?;
        inputs.push((name, tensor));
    }
    if !rest.is_empty() {
        return Err(Error::invalid(format!("{} bytes follow the last binary tensor", rest.len())));
    }
    let mut outputs = Vec::with_capacity(parsed.outputs.len());
    for output in parsed.outputs {
        output.parameters.refuse_unserved()?;
        let binary = output.parameters.flag("binary_data")?;
        outputs.push((output.name, binary));
    }
    Ok(InferRequest {
        id,
        parameters: Parameters {
            priority: parsed.parameters.whole("priority")?.unwrap_or(0),
            timeout_us: parsed.parameters.whole("timeout")?.filter(|us| *us > 0),
        },
        inputs,
        outputs,
        binary_default: parsed.parameters.flag("binary_data_output")?.unwrap_or(false),
    })
}

fn tensor(input: Input<'_>, rest: &mut Bytes) -> Result<Tensor> {
    input.parameters.refuse_unserved()?;
    let dtype = DType::from_name(&input.datatype)
        .ok_or_else(|| Error::invalid(format!("datatype '{}' is unknown", short(&input.datatype))))?;
    let shape = shape_from_wire(&input.shape)?;
    match (input.data, input.parameters.whole::<usize>("binary_data_size")?) {
        (Some(_), Some(_)) => Err(Error::invalid("has both data and binary_data_size")),
        (None, None) => Err(Error::invalid("has neither data nor binary_data_size")),
        (None, Some(size)) if size > rest.len() => {
            Err(Error::invalid(format!("binary_data_size is {size}, {} bytes are left", rest.len())))
        }
        (None, Some(size)) => Tensor::from_raw(dtype, shape, rest.split_to(size)),
        (Some(data), None) => {
            let elements = Elements::parse(data, dtype)?;
            let flat = elements.shape.len() == 1;
            // A scalar is sent bare or as a list of one.
            if !flat && elements.shape != shape {
                return Err(Error::invalid(format!("data is nested {:?}, shape is {shape:?}", elements.shape)));
            }
            elements.into_tensor(shape)
        }
    }
}

/// Reads a body that is nothing but the one input of a model, as one row.
pub(crate) fn raw_request(body: Bytes, signature: &Signature) -> Result<Vec<(String, Tensor)>> {
    let [spec] = signature.inputs.as_slice() else {
        return Err(Error::invalid("a raw binary request needs a model with one input"));
    };
    let name = spec.name.clone();
    if spec.dtype == DType::String {
        return Ok(vec![(name, Tensor::from_raw(DType::String, vec![1], body)?)]);
    }
    let dims = spec.shape.as_deref().unwrap_or(&[Dim::Dynamic]);
    let width = spec.dtype.element_bytes().unwrap_or(1);
    let mut fixed: usize = 1;
    let mut open = Vec::new();
    for (axis, dim) in dims.iter().enumerate() {
        match dim {
            Dim::Fixed(n) => fixed = fixed.saturating_mul(*n),
            // The first is the batch, of one row, where others are open too.
            Dim::Dynamic => open.push(axis),
        }
    }
    let mut shape: Vec<usize> = dims.iter().map(|d| if let Dim::Fixed(n) = d { *n } else { 1 }).collect();
    if open.len() > 1 && open[0] == 0 {
        open.remove(0);
    }
    match open.as_slice() {
        [] | [0] => {}
        [axis] => shape[*axis] = body.len().checked_div(width * fixed).unwrap_or(0),
        _ => return Err(Error::invalid("a raw binary request needs a model with at most one variable dimension")),
    }
    let tensor = Tensor::fixed(spec.dtype, shape, body).map_err(|e| e.context(format_args!("input '{name}'")))?;
    Ok(vec![(name, tensor)])
}

/// An encoded answer.
pub(crate) struct Encoded {
    pub body: Vec<u8>,
    /// The length of the JSON part, where binary tensors follow it.
    pub json_bytes: Option<usize>,
}

/// Encodes an answer; `binary` says which outputs are wanted in binary.
pub(crate) fn encode(response: &Response, binary: &dyn Fn(&str) -> bool) -> Result<Encoded> {
    let mut body = Vec::with_capacity(256 + response.outputs.iter().map(|(_, t)| t.bytes() * 4).sum::<usize>());
    let mut tail = Vec::new();
    body.extend_from_slice(b"{\"model_name\":");
    json_string(&mut body, response.model.as_str());
    body.extend_from_slice(format!(",\"model_version\":\"{}\"", response.version).as_bytes());
    if !response.id.is_empty() {
        body.extend_from_slice(b",\"id\":");
        json_string(&mut body, &response.id);
    }
    body.extend_from_slice(b",\"outputs\":[");
    for (i, (name, tensor)) in response.outputs.iter().enumerate() {
        body.extend_from_slice(if i == 0 { b"{\"name\":" } else { b",{\"name\":" });
        json_string(&mut body, name);
        let shape =
            serde_json::to_string(tensor.shape()).map_err(|e| Error::internal("write a shape").with_source(e))?;
        body.extend_from_slice(format!(",\"shape\":{shape},\"datatype\":\"{}\"", tensor.dtype()).as_bytes());
        if binary(name) {
            let raw = tensor.to_raw();
            body.extend_from_slice(format!(",\"parameters\":{{\"binary_data_size\":{}}}}}", raw.len()).as_bytes());
            tail.push(raw);
        } else if matches!(tensor.dtype(), DType::F16 | DType::BF16) {
            let dtype = tensor.dtype();
            return Err(Error::invalid(format!(
                "output '{name}' is {dtype}, which has no JSON form; ask for binary_data"
            )));
        } else {
            body.extend_from_slice(b",\"data\":");
            write_elements(&mut body, tensor, false);
            body.push(b'}');
        }
    }
    body.extend_from_slice(b"]}");
    let json_bytes = (!tail.is_empty()).then_some(body.len());
    tail.iter().for_each(|raw| body.extend_from_slice(raw));
    Ok(Encoded { body, json_bytes })
}

/// The JSON form of an error.
pub(crate) fn error_body(message: &str) -> Vec<u8> {
    let mut body = b"{\"error\":".to_vec();
    json_string(&mut body, message);
    body.push(b'}');
    body
}
