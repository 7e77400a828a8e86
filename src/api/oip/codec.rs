//! Converts ModelInfer's messages to requests, and responses back. Pure; raw
//! contents are not copied.

#[cfg(test)]
mod tests;

use super::options::OipOptions;
use super::shared_memory::{RegionPart, Regions};
use super::wishes::{self, OutputWish, OutputWishes};
use crate::api::inbound::Decoded;
use crate::core::count::counted;
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::request::{Request, Response};
use crate::core::tensor::{DType, Data, Strings, Tensor, elements, read_all, shape_from_wire};
use crate::proto::inference::infer_parameter::ParameterChoice;
use crate::proto::inference::model_infer_request::InferInputTensor;
use crate::proto::inference::model_infer_response::InferOutputTensor;
use crate::proto::inference::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse,
};
use bytes::Bytes;
use std::collections::HashMap;

/// How a message contains the elements of tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// In `contents`, in a field for each datatype.
    Typed,
    /// In `raw_input_contents` and `raw_output_contents`.
    Raw,
}

/// How a client wants the answer.
#[derive(Debug)]
pub(crate) struct AnswerForm {
    pub contents: Contents,
    pub wishes: OutputWishes,
}

impl AnswerForm {
    /// Raw contents and nothing else.
    pub(crate) const RAW: Self = Self {
        contents: Contents::Raw,
        wishes: None,
    };
}

/// Decodes a request; its target is read apart. A client that sends typed contents
/// is answered with typed contents, and any other with raw ones, which is all that Triton's clients read.
pub(crate) fn decode(
    request: ModelInferRequest,
    options: &OipOptions,
) -> Result<Decoded<AnswerForm>> {
    let regions = &options.regions;
    Request::check_limits(&request.id, request.inputs.len())?;
    let route_key = route_key(&request)?;
    let parameters = parameters(&request.parameters)?;
    let raw = request.raw_input_contents;
    let is_placed = |input: &InferInputTensor| input.parameters.contains_key(super::REGION);
    let placed = request.inputs.iter().filter(|input| is_placed(input));
    check_raw_count(raw.len(), request.inputs.len() - placed.count())?;

    let is_typed = request.inputs.iter().any(|input| input.contents.is_some());
    let contents = match is_typed && raw.is_empty() && !options.is_raw_only() {
        true => Contents::Typed,
        false => Contents::Raw,
    };
    let mut raw = raw.into_iter();
    let mut inputs = Vec::with_capacity(request.inputs.len());
    for mut input in request.inputs {
        let name = std::mem::take(&mut input.name);
        let tensor = match part(&input.parameters, regions) {
            Ok(Some(part)) => placed_tensor(&input, &part),
            Ok(None) => tensor(input, raw.next()),
            Err(error) => Err(error),
        };
        let tensor = tensor.map_err(|e| e.context(format_args!("input '{}'", short(&name))))?;
        inputs.push((name, tensor));
    }

    let mut wishes = OutputWishes::default();
    for output in &request.outputs {
        refuse_unserved(&output.parameters)?;
        let wish = wish(&output.parameters, regions);
        let wish = wish.map_err(|e| e.context(format_args!("output '{}'", short(&output.name))))?;
        wishes::note(&mut wishes, &output.name, wish);
    }

    Ok(Decoded {
        id: request.id,
        priority: parameters.priority,
        timeout_us: parameters.timeout_us,
        route_key,
        inputs,
        outputs: request.outputs.into_iter().map(|o| o.name).collect(),
        form: AnswerForm { contents, wishes },
    })
}

/// Reads what the parameters of an output ask for.
fn wish(parameters: &HashMap<String, InferParameter>, regions: &Regions) -> Result<OutputWish> {
    let classes = integer(parameters, super::CLASSIFICATION)?.unwrap_or(0);
    Ok(OutputWish {
        classes: usize::try_from(classes).unwrap_or(usize::MAX),
        region: part(parameters, regions)?,
    })
}

/// Finds the part of a region that parameters name, if they name one.
fn part(
    parameters: &HashMap<String, InferParameter>,
    regions: &Regions,
) -> Result<Option<RegionPart>> {
    let Some(region) = parameters.get(super::REGION) else {
        return Ok(None);
    };
    let Some(ParameterChoice::StringParam(name)) = &region.parameter_choice else {
        return Err(Error::invalid(format!(
            "parameter '{}' must be a string",
            super::REGION
        )));
    };
    let offset = integer(parameters, super::REGION_OFFSET)?.unwrap_or(0);
    let bytes = integer(parameters, super::REGION_BYTES)?.ok_or_else(super::no_region_bytes)?;
    regions.part(name, offset, bytes).map(Some)
}

/// Reads an input from shared memory.
fn placed_tensor(input: &InferInputTensor, part: &RegionPart) -> Result<Tensor> {
    if input.contents.is_some() {
        return Err(Error::invalid(
            "has contents and is in shared memory; send one of them",
        ));
    }
    let dtype = dtype(&input.datatype)?;
    part.tensor(dtype, shape_from_wire(&input.shape)?)
}

/// Refuses raw contents for another number of inputs than there are.
pub(super) fn check_raw_count(raw: usize, inputs: usize) -> Result<()> {
    if raw == 0 || raw == inputs {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "raw_input_contents has {} for {}",
        counted(raw, "entry"),
        counted(inputs, "input")
    )))
}

/// Reads the name of a datatype.
pub(super) fn dtype(name: &str) -> Result<DType> {
    DType::parse(name)
}

fn tensor(input: InferInputTensor, raw: Option<Bytes>) -> Result<Tensor> {
    refuse_unserved(&input.parameters)?;
    let dtype = dtype(&input.datatype)?;
    let shape = shape_from_wire(&input.shape)?;
    match (raw, input.contents) {
        (Some(_), Some(_)) => Err(Error::invalid(
            "has both contents and raw_input_contents; send one of them",
        )),
        (Some(raw), None) => Tensor::from_raw(dtype, shape, raw),
        (None, Some(contents)) => typed(dtype, shape, contents),
        (None, None) if elements(&shape) == Some(0) => Tensor::from_raw(dtype, shape, Bytes::new()),
        (None, None) => Err(Error::invalid(
            "has neither contents nor raw_input_contents; send one of them",
        )),
    }
}

fn typed(dtype: DType, shape: Vec<usize>, contents: InferTensorContents) -> Result<Tensor> {
    check_fields(dtype, &contents)?;

    if dtype == DType::String {
        let strings = Strings::from_parts(contents.bytes_contents)?;
        return Tensor::strings(shape, strings);
    }

    let bytes = fixed_width_bytes(dtype, &contents)
        .ok_or_else(|| Error::invalid(format!("has a value out of the range of {dtype}")))?;
    Tensor::fixed(dtype, shape, bytes.into())
}

/// Refuses a datatype without a typed field, and values in the field of another
/// datatype.
fn check_fields(dtype: DType, contents: &InferTensorContents) -> Result<()> {
    if matches!(dtype, DType::F16 | DType::BF16) {
        return Err(Error::invalid(format!(
            "{dtype} has no typed contents; send raw_input_contents"
        )));
    }

    let own = field_of(dtype);
    let foreign = filled_fields(contents).find(|field| Some(*field) != own);
    match foreign {
        Some(field) => Err(Error::invalid(format!("{field} does not hold {dtype}"))),
        None => Ok(()),
    }
}

/// The field of `InferTensorContents` that holds a datatype; none for the
/// 16-bit floats.
fn field_of(dtype: DType) -> Option<&'static str> {
    Some(match dtype {
        DType::Bool => "bool_contents",
        DType::I8 | DType::I16 | DType::I32 => "int_contents",
        DType::I64 => "int64_contents",
        DType::U8 | DType::U16 | DType::U32 => "uint_contents",
        DType::U64 => "uint64_contents",
        DType::F32 => "fp32_contents",
        DType::F64 => "fp64_contents",
        DType::String => "bytes_contents",
        DType::F16 | DType::BF16 => return None,
    })
}

/// The names of the fields that have values.
fn filled_fields(contents: &InferTensorContents) -> impl Iterator<Item = &'static str> {
    [
        ("bool_contents", contents.bool_contents.is_empty()),
        ("int_contents", contents.int_contents.is_empty()),
        ("int64_contents", contents.int64_contents.is_empty()),
        ("uint_contents", contents.uint_contents.is_empty()),
        ("uint64_contents", contents.uint64_contents.is_empty()),
        ("fp32_contents", contents.fp32_contents.is_empty()),
        ("fp64_contents", contents.fp64_contents.is_empty()),
        ("bytes_contents", contents.bytes_contents.is_empty()),
    ]
    .into_iter()
    .filter_map(|(field, is_empty)| (!is_empty).then_some(field))
}

/// The values as little-endian bytes; `None` where one is out of the datatype's
/// range, or where the datatype has no fixed width.
fn fixed_width_bytes(dtype: DType, c: &InferTensorContents) -> Option<Vec<u8>> {
    match dtype {
        DType::Bool => narrow(&c.bool_contents, |v| Some([u8::from(v)])),
        DType::I8 => narrow(&c.int_contents, |v| {
            i8::try_from(v).ok().map(i8::to_le_bytes)
        }),
        DType::I16 => narrow(&c.int_contents, |v| {
            i16::try_from(v).ok().map(i16::to_le_bytes)
        }),
        DType::I32 => narrow(&c.int_contents, |v| Some(v.to_le_bytes())),
        DType::I64 => narrow(&c.int64_contents, |v| Some(v.to_le_bytes())),
        DType::U8 => narrow(&c.uint_contents, |v| {
            u8::try_from(v).ok().map(u8::to_le_bytes)
        }),
        DType::U16 => narrow(&c.uint_contents, |v| {
            u16::try_from(v).ok().map(u16::to_le_bytes)
        }),
        DType::U32 => narrow(&c.uint_contents, |v| Some(v.to_le_bytes())),
        DType::U64 => narrow(&c.uint64_contents, |v| Some(v.to_le_bytes())),
        DType::F32 => narrow(&c.fp32_contents, |v| Some(v.to_le_bytes())),
        DType::F64 => narrow(&c.fp64_contents, |v| Some(v.to_le_bytes())),
        DType::String | DType::F16 | DType::BF16 => None,
    }
}

/// Converts every value; `None` where one is out of range.
fn narrow<T: Copy, const N: usize>(
    values: &[T],
    convert: impl Fn(T) -> Option<[u8; N]>,
) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(values.len() * N);
    for value in values {
        bytes.extend_from_slice(&convert(*value)?);
    }
    Some(bytes)
}

/// The request parameters this server acts on.
struct GrpcParameters {
    priority: u8,
    timeout_us: Option<u64>,
}

/// Reads the parameters that this server acts on. Refuses unsupported ones that
/// would change the answer.
fn parameters(all: &HashMap<String, InferParameter>) -> Result<GrpcParameters> {
    refuse_unserved(all)?;
    let priority = integer(all, "priority")?.unwrap_or(0);

    Ok(GrpcParameters {
        priority: u8::try_from(priority).map_err(|_| {
            Error::invalid(format!(
                "parameter 'priority' must be at most 255, got {priority}"
            ))
        })?,
        // 0 means no timeout, as in Triton.
        timeout_us: integer(all, "timeout")?.filter(|us| *us > 0),
    })
}

fn integer(all: &HashMap<String, InferParameter>, name: &str) -> Result<Option<u64>> {
    let Some(parameter) = all.get(name) else {
        return Ok(None);
    };

    match &parameter.parameter_choice {
        Some(ParameterChoice::Int64Param(v)) if *v >= 0 => Ok(Some(v.unsigned_abs())),
        Some(ParameterChoice::Uint64Param(v)) => Ok(Some(*v)),
        _ => Err(Error::invalid(format!(
            "parameter '{name}' must be a non-negative integer"
        ))),
    }
}

/// The routing key of a traffic split, from the parameters.
fn route_key(request: &ModelInferRequest) -> Result<Option<String>> {
    match request
        .parameters
        .get(super::ROUTE_KEY)
        .map(|p| &p.parameter_choice)
    {
        None => Ok(None),
        Some(Some(ParameterChoice::StringParam(key))) => Ok(Some(key.clone())),
        Some(_) => Err(Error::invalid(format!(
            "parameter '{}' must be a string",
            super::ROUTE_KEY
        ))),
    }
}

fn refuse_unserved(all: &HashMap<String, InferParameter>) -> Result<()> {
    all.iter().try_for_each(|(name, parameter)| {
        let idle = match &parameter.parameter_choice {
            None => true,
            Some(ParameterChoice::BoolParam(v)) => !v,
            Some(ParameterChoice::Int64Param(v)) => *v == 0,
            Some(ParameterChoice::Uint64Param(v)) => *v == 0,
            Some(ParameterChoice::DoubleParam(v)) => *v == 0.0,
            Some(ParameterChoice::StringParam(v)) => v.is_empty(),
        };
        super::check_served(name, idle)
    })
}

/// Encodes a response: raw where the client sent raw contents or a datatype has
/// no typed field, typed otherwise.
pub(crate) fn encode(response: &Response, form: Contents) -> ModelInferResponse {
    encode_placed(response, form, &[])
}

/// Encodes a response of which some outputs are in shared memory.
pub(crate) fn encode_placed(
    response: &Response,
    form: Contents,
    placed: &[Option<RegionPart>],
) -> ModelInferResponse {
    let is_raw = form == Contents::Raw || response.outputs.iter().any(|(_, t)| is_only_raw(t));
    let mut outputs = Vec::with_capacity(response.outputs.len());
    let mut raw_output_contents = Vec::new();
    for (at, (name, tensor)) in response.outputs.iter().enumerate() {
        let part = placed.get(at).and_then(Option::as_ref);
        let contents = if is_raw {
            // Clients of Triton count on an entry for each output, empty where it is in shared memory.
            let raw = part.map_or_else(|| tensor.to_raw(), |_| Bytes::new());
            raw_output_contents.push(raw);
            None
        } else if part.is_some() {
            None
        } else {
            Some(contents(tensor))
        };
        outputs.push(InferOutputTensor {
            name: name.to_string(),
            datatype: tensor.dtype().name().to_owned(),
            shape: tensor.shape().iter().map(|d| *d as i64).collect(),
            parameters: part.map(region_parameters).unwrap_or_default(),
            contents,
        });
    }

    ModelInferResponse {
        model_name: response.model.as_str().to_owned(),
        model_version: response.version.to_string(),
        id: response.id.clone(),
        parameters: HashMap::new(),
        outputs,
        raw_output_contents,
    }
}

/// Says where an output is.
fn region_parameters(part: &RegionPart) -> HashMap<String, InferParameter> {
    let number = |n: u64| ParameterChoice::Int64Param(i64::try_from(n).unwrap_or(i64::MAX));
    let all = [
        (
            super::REGION,
            ParameterChoice::StringParam(part.region.name.clone()),
        ),
        (super::REGION_OFFSET, number(part.offset)),
        (super::REGION_BYTES, number(part.bytes)),
    ];
    let parameter = |choice| InferParameter {
        parameter_choice: Some(choice),
    };
    all.into_iter()
        .map(|(name, choice)| (name.to_owned(), parameter(choice)))
        .collect()
}

fn is_only_raw(tensor: &Tensor) -> bool {
    matches!(tensor.dtype(), DType::F16 | DType::BF16)
}

fn contents(tensor: &Tensor) -> InferTensorContents {
    let mut c = InferTensorContents::default();
    let bytes = match tensor.data() {
        Data::Fixed(bytes) => bytes,
        Data::Strings(strings) => {
            c.bytes_contents = strings.iter().map(Bytes::copy_from_slice).collect();
            return c;
        }
    };

    match tensor.dtype() {
        DType::Bool => c.bool_contents = bytes.iter().map(|b| *b != 0).collect(),
        DType::I8 => c.int_contents = read_all(bytes, |b| i32::from(i8::from_le_bytes(b))),
        DType::I16 => c.int_contents = read_all(bytes, |b| i32::from(i16::from_le_bytes(b))),
        DType::I32 => c.int_contents = read_all(bytes, i32::from_le_bytes),
        DType::I64 => c.int64_contents = read_all(bytes, i64::from_le_bytes),
        DType::U8 => c.uint_contents = read_all(bytes, |b| u32::from(u8::from_le_bytes(b))),
        DType::U16 => c.uint_contents = read_all(bytes, |b| u32::from(u16::from_le_bytes(b))),
        DType::U32 => c.uint_contents = read_all(bytes, u32::from_le_bytes),
        DType::U64 => c.uint64_contents = read_all(bytes, u64::from_le_bytes),
        DType::F32 => c.fp32_contents = read_all(bytes, f32::from_le_bytes),
        DType::F64 => c.fp64_contents = read_all(bytes, f64::from_le_bytes),
        DType::F16 | DType::BF16 | DType::String => {}
    }

    c
}
