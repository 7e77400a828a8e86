//! The Open Inference Protocol's infer bodies: JSON, the binary parts that may
//! follow it, and the raw body without JSON. Pure; binary parts are not copied.
//! Does not know which tensors a model takes: `Signature::check` does.

mod parameters;
mod plain;
#[cfg(test)]
mod tests;

use super::shared_memory::{RegionPart, Regions};
use super::wishes::{self, OutputWishes};
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::{Dim, Signature};
use crate::core::request::{INPUTS_MAX, Request, Response};
use crate::core::tensor::json::document::{Json, read_body};
use crate::core::tensor::json::elements::{ElementRules, Elements};
use crate::core::tensor::json::{check_json_form, write_elements, write_json};
use crate::core::tensor::{DType, RANK_MAX, Strings, Tensor, elements, shape_from_wire};
use bytes::Bytes;
pub(crate) use parameters::JsonParameters;
use parameters::{binary_size, output_parameters, parameters, part};

/// The most outputs a request may name.
pub(crate) const OUTPUTS_MAX: usize = INPUTS_MAX;

/// The content of a request besides its target.
#[derive(Debug)]
pub(crate) struct InferRequest {
    /// The client's own id.
    pub(crate) id: String,
    /// The parameters this server acts on.
    pub(crate) parameters: JsonParameters,
    /// Named tensors, in the order sent.
    pub(crate) inputs: Vec<(String, Tensor)>,
    /// The requested outputs, and whether each is requested in binary (`None`: not
    /// said).
    pub(crate) outputs: Vec<(String, Option<bool>)>,
    /// What else is asked of them.
    pub(crate) wishes: OutputWishes,
}

/// Decodes a body whose first `json_bytes` are JSON (the whole body if `None`).
/// Refuses trailing bytes that belong to no input.
pub(crate) fn decode(
    body: &Bytes,
    json_bytes: Option<usize>,
    regions: &Regions,
) -> Result<InferRequest> {
    let length = json_bytes.unwrap_or(body.len());
    if length > body.len() {
        return Err(Error::invalid(format!(
            "Inference-Header-Content-Length is {length}, the body has {} bytes",
            body.len()
        )));
    }

    let tail = body.slice(length..);
    if !tail.is_empty()
        && let Some(request) = plain::read(&body[..length], tail.clone())
    {
        return Ok(request);
    }
    read_body(&body[..length], |header| {
        decode_header(header, tail, regions)
    })
}

/// Decodes the JSON; `tail` are the binary parts.
fn decode_header(header: Json<'_>, mut tail: Bytes, regions: &Regions) -> Result<InferRequest> {
    let [id, given, inputs, outputs] =
        header.fields("the request", ["id", "parameters", "inputs", "outputs"])?;
    let id = id
        .map(|id| id.string("id"))
        .transpose()?
        .unwrap_or_default()
        .into_owned();
    let parameters = parameters(given)?;

    let inputs = inputs.ok_or_else(|| no_inputs(header))?.array("inputs")?;
    Request::check_limits(&id, inputs.clone().count())?;
    let inputs = inputs
        .map(|value| input(value, &mut tail, regions))
        .collect::<Result<_>>()?;
    if !tail.is_empty() {
        return Err(Error::invalid(format!(
            "{} bytes follow the last input's binary data",
            tail.len()
        )));
    }

    let mut wishes = OutputWishes::default();
    let outputs = outputs.map(|outputs| requested(outputs, &mut wishes, regions));
    Ok(InferRequest {
        id,
        parameters,
        inputs,
        outputs: outputs.transpose()?.unwrap_or_default(),
        wishes,
    })
}

/// The error of a body without inputs, which may be one of another protocol.
fn no_inputs(header: Json<'_>) -> Error {
    let forms = ["instances", "dataframe_split", "dataframe_records"];
    let elsewhere = match header.fields("the request", forms) {
        Ok([Some(_), _, _]) => "; send instances to /v1/models/NAME:predict",
        Ok([_, None, None]) | Err(_) => "",
        Ok(_) => "; send a table to /invocations",
    };
    Error::invalid(format!("the request has no inputs{elsewhere}"))
}

/// Decodes a body that is the raw data of a single input with one row. Refuses a
/// model with several inputs, or a shape that the length of the body does not
/// determine.
pub(crate) fn raw_request(body: Bytes, signature: &Signature) -> Result<Vec<(String, Tensor)>> {
    let [spec] = signature.inputs.as_slice() else {
        return Err(Error::invalid(format!(
            "a raw binary request needs a model with one input, this one has {}",
            signature.inputs.len()
        )));
    };

    let within = |e: Error| e.context(format_args!("input '{}'", spec.name));
    let vague = || within(vague_shape());
    let mut dims = spec.shape.clone().ok_or_else(vague)?;
    if let Some(first @ Dim::Dynamic) = dims.first_mut() {
        *first = Dim::Fixed(1);
    }
    let fixed: Vec<usize> = dims
        .iter()
        .filter_map(|d| {
            if let Dim::Fixed(n) = d {
                Some(*n)
            } else {
                None
            }
        })
        .collect();
    let known = elements(&fixed).ok_or_else(vague)?;

    // A raw body of strings is one string, without its length.
    let count = spec
        .dtype
        .element_bytes()
        .map_or(1, |width| body.len() / width);
    let free = match dims.len() - fixed.len() {
        0 => 1,
        1 if known > 0 => count / known,
        _ => return Err(vague()),
    };

    let shape: Vec<usize> = dims
        .iter()
        .map(|d| if let Dim::Fixed(n) = d { *n } else { free })
        .collect();
    let tensor = match spec.dtype {
        DType::String => {
            Strings::from_parts([body]).and_then(|strings| Tensor::strings(shape, strings))
        }
        dtype => Tensor::fixed(dtype, shape, body),
    };

    Ok(vec![(spec.name.clone(), tensor.map_err(within)?)])
}

fn vague_shape() -> Error {
    Error::invalid("a raw binary request needs a shape with at most one variable dimension")
}

/// An answer's body.
#[derive(Debug)]
pub(crate) struct EncodedAnswer {
    /// JSON, then the binary outputs in order.
    pub(crate) body: Bytes,
    /// The length of the JSON where binary outputs follow it.
    pub(crate) json_bytes: Option<usize>,
}

/// Encodes an answer; `binary` tells which outputs follow the JSON, and `placed` which are in shared memory. Refuses
/// FP16 and BF16 within it.
pub(crate) fn encode(
    response: &Response,
    binary: &dyn Fn(&str) -> bool,
    placed: &[Option<RegionPart>],
) -> Result<EncodedAnswer> {
    let mut out = Vec::new();
    let mut parts: Vec<Bytes> = Vec::new();
    out.extend_from_slice(b"{\"model_name\":");
    write_json(&mut out, response.model.as_str());
    out.extend_from_slice(b",\"model_version\":");
    write_json(&mut out, &response.version.to_string());
    if !response.id.is_empty() {
        out.extend_from_slice(b",\"id\":");
        write_json(&mut out, &response.id);
    }
    out.extend_from_slice(b",\"outputs\":[");
    for (i, (name, tensor)) in response.outputs.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if let Some(Some(_)) = placed.get(i) {
            write_placed(&mut out, name, tensor);
            continue;
        }
        let raw = binary(name).then(|| tensor.to_raw());
        write_output(&mut out, name, tensor, raw.as_ref())?;
        parts.extend(raw);
    }

    out.extend_from_slice(b"]}");
    let json_bytes = (!parts.is_empty()).then_some(out.len());
    parts.iter().for_each(|part| out.extend_from_slice(part));
    Ok(EncodedAnswer {
        body: out.into(),
        json_bytes,
    })
}

/// The body of an error.
pub(crate) fn error_body(message: &str) -> Vec<u8> {
    let mut out = b"{\"error\":".to_vec();
    write_json(&mut out, message);
    out.push(b'}');
    out
}

/// Begins an output with what does not depend on where its elements are.
fn begin_output(out: &mut Vec<u8>, name: &str, tensor: &Tensor) {
    out.extend_from_slice(b"{\"name\":");
    write_json(out, name);
    out.extend_from_slice(b",\"shape\":");
    write_json(out, tensor.shape());
    out.extend_from_slice(b",\"datatype\":");
    write_json(out, tensor.dtype().name());
}

/// Writes an output whose elements are in shared memory. It has no parameters: Triton's C++ client takes these for
/// a sign of binary data.
fn write_placed(out: &mut Vec<u8>, name: &str, tensor: &Tensor) {
    begin_output(out, name, tensor);
    out.push(b'}');
}

fn write_output(out: &mut Vec<u8>, name: &str, tensor: &Tensor, raw: Option<&Bytes>) -> Result<()> {
    begin_output(out, name, tensor);
    match raw {
        Some(raw) => {
            out.extend_from_slice(b",\"parameters\":{\"binary_data_size\":");
            write_json(out, &raw.len());
            out.push(b'}');
        }
        None => {
            check_json_form(name, tensor, "ask for it with binary_data")?;
            out.extend_from_slice(b",\"data\":");
            write_elements(out, tensor, false);
        }
    }

    out.push(b'}');
    Ok(())
}

fn input(value: Json<'_>, tail: &mut Bytes, regions: &Regions) -> Result<(String, Tensor)> {
    let names = ["name", "shape", "datatype", "parameters", "data"];
    let [name, shape, datatype, parameters, data] = value.fields("an input", names)?;
    let name = named(name, "an input")?;
    let fields = InputFields {
        shape,
        datatype,
        parameters,
        data,
    };

    let tensor = fields.tensor(tail, regions);
    let tensor = tensor.map_err(|e| e.context(format_args!("input '{}'", short(&name))))?;
    Ok((name, tensor))
}

/// The fields of an input besides its name.
struct InputFields<'j> {
    shape: Option<Json<'j>>,
    datatype: Option<Json<'j>>,
    parameters: Option<Json<'j>>,
    data: Option<Json<'j>>,
}

impl InputFields<'_> {
    fn tensor(self, tail: &mut Bytes, regions: &Regions) -> Result<Tensor> {
        let datatype = self
            .datatype
            .ok_or_else(|| Error::invalid("datatype is missing"))?
            .string("datatype")?;
        let dtype = DType::parse(&datatype)?;
        let shape = self
            .shape
            .ok_or_else(|| Error::invalid("shape is missing"))?;
        let shape = dimensions(shape)?;

        let size = binary_size(self.parameters)?;
        if let Some(part) = part(self.parameters, regions)? {
            return match (size, self.data) {
                (None, None) => part.tensor(dtype, shape),
                _ => Err(Error::invalid(
                    "has data and is in shared memory; send one of them",
                )),
            };
        }

        match (size, self.data) {
            (Some(_), Some(_)) => Err(Error::invalid(
                "both data and binary_data_size are given; send one of them",
            )),
            (None, None) => Err(Error::invalid(
                "neither data nor binary_data_size is given; send one of them",
            )),
            (Some(size), None) if size > tail.len() => Err(Error::invalid(format!(
                "binary_data_size is {size}, the body has {} bytes left",
                tail.len()
            ))),
            (Some(size), None) => Tensor::from_raw(dtype, shape, tail.split_to(size)),
            (None, Some(data)) => tensor(dtype, shape, data),
        }
    }
}

fn tensor(dtype: DType, shape: Vec<usize>, data: Json<'_>) -> Result<Tensor> {
    let elements = Elements::of(
        data,
        ElementRules {
            dtype,
            depth_max: shape.len().max(1),
            count: elements(&shape).unwrap_or(0),
            base64: false,
        },
    )?;

    let nesting = elements.shape();
    // A flat list of all elements fits any shape.
    if nesting.len() != 1 && nesting != shape {
        return Err(Error::invalid(format!(
            "data is nested as {nesting:?}, neither flat nor as the shape {shape:?}"
        )));
    }

    elements.into_tensor(shape)
}

fn named(name: Option<Json<'_>>, what: &str) -> Result<String> {
    let name = name
        .ok_or_else(|| Error::invalid(format!("{what} has no name")))?
        .string("name")?;
    if name.is_empty() {
        return Err(Error::invalid(format!("{what} has an empty name")));
    }

    Ok(name.into_owned())
}

fn dimensions(shape: Json<'_>) -> Result<Vec<usize>> {
    // Reads one more than the limit, to see that it is passed; the rest is not
    // read.
    let dims = shape
        .array("shape")?
        .take(RANK_MAX + 1)
        .map(|dim| dim.integer("a dimension of shape"));
    shape_from_wire(&dims.collect::<Result<Vec<i64>>>()?)
}

fn requested(
    outputs: Json<'_>,
    wishes: &mut OutputWishes,
    regions: &Regions,
) -> Result<Vec<(String, Option<bool>)>> {
    let outputs = outputs.array("outputs")?;
    let count = outputs.clone().count();
    if count > OUTPUTS_MAX {
        return Err(Error::invalid(format!(
            "{count} outputs are over the limit of {OUTPUTS_MAX}"
        )));
    }

    outputs
        .map(|value| {
            let [name, parameters] = value.fields("an output", ["name", "parameters"])?;
            let name = named(name, "an output")?;
            let (binary, wish) = output_parameters(parameters, regions)
                .map_err(|e| e.context(format_args!("output '{}'", short(&name))))?;
            wishes::note(wishes, &name, wish);
            Ok((name, binary))
        })
        .collect()
}
