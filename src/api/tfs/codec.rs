//! Converts TensorFlow Serving's messages to tensors, targets and signatures, and
//! back. Pure. A tiny message can name a huge shape, so the fill is limited before
//! anything is allocated.

#[cfg(test)]
mod tests;

use crate::api::inbound::Decoded;
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::fields::{Fields, WireField};
use crate::core::model::{Dim, ModelName, Signature, TensorSpec, Version};
use crate::core::request::{Request, Selector, Target};
use crate::core::tensor::{
    DType, Data, RANK_MAX, Strings, Tensor, elements, read_all, shape_from_wire,
};
use crate::proto::tensorflow::serving::model_spec::VersionChoice;
use crate::proto::tensorflow::serving::{ModelSpec, PredictRequest};
use crate::proto::tensorflow::tensor_info::Encoding;
use crate::proto::tensorflow::tensor_shape_proto::Dim as WireDim;
use crate::proto::tensorflow::{DataType, SignatureDef, TensorInfo, TensorProto, TensorShapeProto};
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;

/// The most memory a tensor may take that repeats its last element to fill
/// its shape; beyond it the request is refused.
pub(crate) const FILL_BYTES_MAX: usize = 64 << 20;
/// An element that was sent in a list takes at most so many times its bytes in the message.
const LIST_GROWTH: usize = 8;
/// The longest version label.
pub(crate) const LABEL_BYTES_MAX: usize = 128;
/// The one signature every model has.
pub(crate) const SIGNATURE: &str = "serving_default";

/// Reads the model of an encoded PredictRequest before its tensors; none if that is not plain.
pub(crate) fn spec(message: &[u8]) -> Option<ModelSpec> {
    let mut specs = Fields::of(message).filter_map(|field| match field {
        Ok((1, WireField::Body(spec))) => Some(spec),
        _ => None,
    });
    match (specs.next(), specs.next()) {
        (Some(spec), None) => ModelSpec::decode(spec).ok(),
        _ => None,
    }
}

/// Reads which model and version a request means. Refuses a signature other
/// than `serving_default`.
pub(crate) fn target(spec: Option<&ModelSpec>) -> Result<Target> {
    let spec = spec.ok_or_else(|| Error::invalid("model_spec is missing"))?;
    let model = ModelName::parse(&spec.name)?;
    if !spec.signature_name.is_empty() && spec.signature_name != SIGNATURE {
        let name = short(&spec.signature_name);
        return Err(Error::precondition(format!(
            "signature '{name}' is unknown; the model has '{SIGNATURE}'"
        )));
    }

    let selector = match &spec.version_choice {
        None => Selector::Latest,
        // A wrapper message: absent means the latest version; 0 is not a version.
        Some(VersionChoice::Version(number)) => Selector::Exact(
            u64::try_from(*number)
                .ok()
                .and_then(Version::new)
                .ok_or_else(|| Error::invalid("the model version must be a positive integer"))?,
        ),
        Some(VersionChoice::VersionLabel(label))
            if label.is_empty() || label.len() > LABEL_BYTES_MAX =>
        {
            return Err(Error::invalid(format!(
                "the version label must be 1 to {LABEL_BYTES_MAX} bytes"
            )));
        }
        Some(VersionChoice::VersionLabel(label)) => Selector::Label(label.clone()),
    };

    Ok(Target {
        model,
        selector,
        key: None,
    })
}

/// Decodes a request; its target is read apart.
pub(crate) fn decode(request: PredictRequest) -> Result<Decoded<()>> {
    Request::check_limits("", request.inputs.len())?;
    // Each input alone may be at the limit of a fill; all together may not be over it.
    let mut filled = 0_usize;
    let mut inputs = Vec::with_capacity(request.inputs.len());
    for (name, proto) in request.inputs {
        let is_list = proto.tensor_content.is_empty();
        let given = if is_list { proto.encoded_len() } else { 0 };
        let tensor = tensor_from_proto(&name, proto)?;
        if is_list {
            let more = memory(&tensor).saturating_sub(given.saturating_mul(LIST_GROWTH));
            filled = filled.saturating_add(more);
        }
        if filled > FILL_BYTES_MAX {
            return Err(Error::invalid(format!(
                "the inputs filled from few elements are over the limit of {FILL_BYTES_MAX} bytes together"
            )));
        }
        inputs.push((name, tensor));
    }

    Ok(Decoded {
        id: String::new(),
        priority: 0,
        timeout_us: None,
        route_key: None,
        inputs,
        outputs: request.output_filter,
        form: (),
    })
}

/// The memory of a tensor's elements, and of where each string begins and ends.
fn memory(tensor: &Tensor) -> usize {
    let spans = match tensor.dtype() {
        DType::String => elements(tensor.shape()).unwrap_or(usize::MAX),
        _ => 0,
    };
    tensor
        .bytes()
        .saturating_add(spans.saturating_mul(size_of::<(u32, u32)>()))
}

/// Decodes a tensor: `tensor_content` where it is not empty, else the typed
/// list, whose last element fills the rest of the shape; without any element it is all zeros or
/// empty strings, as in TensorFlow.
pub(crate) fn tensor_from_proto(name: &str, proto: TensorProto) -> Result<Tensor> {
    tensor_of(proto).map_err(|e| e.context(format_args!("input '{}'", short(name))))
}

fn tensor_of(proto: TensorProto) -> Result<Tensor> {
    let dtype = dtype_of(proto.dtype)?;
    let shape = shape_of(proto.tensor_shape.as_ref())?;
    if !proto.tensor_content.is_empty() {
        return match dtype {
            DType::String => strings_of_content(shape, proto.tensor_content),
            _ => Tensor::fixed(dtype, shape, proto.tensor_content),
        };
    }

    let fill = Fill {
        dtype,
        count: elements(&shape).expect("checked by shape_from_wire"),
        is_bare: listed(&proto) == 0,
    };
    if dtype == DType::String {
        return strings_of_list(shape, fill, &proto.string_val);
    }
    let raw = match dtype {
        DType::F32 => fill.extend(&proto.float_val, |v| Some(v.to_le_bytes())),
        DType::F64 => fill.extend(&proto.double_val, |v| Some(v.to_le_bytes())),
        DType::I64 => fill.extend(&proto.int64_val, |v| Some(v.to_le_bytes())),
        DType::U32 => fill.extend(&proto.uint32_val, |v| Some(v.to_le_bytes())),
        DType::U64 => fill.extend(&proto.uint64_val, |v| Some(v.to_le_bytes())),
        DType::Bool => fill.extend(&proto.bool_val, |v| Some([u8::from(v)])),
        DType::I32 => fill.extend(&proto.int_val, |v| Some(v.to_le_bytes())),
        DType::I16 => fill.extend(&proto.int_val, |v| {
            i16::try_from(v).ok().map(i16::to_le_bytes)
        }),
        DType::I8 => fill.extend(&proto.int_val, |v| {
            i8::try_from(v).ok().map(i8::to_le_bytes)
        }),
        DType::U16 => fill.extend(&proto.int_val, |v| {
            u16::try_from(v).ok().map(u16::to_le_bytes)
        }),
        DType::U8 => fill.extend(&proto.int_val, |v| {
            u8::try_from(v).ok().map(u8::to_le_bytes)
        }),
        // The list holds bit patterns, not numbers.
        DType::F16 | DType::BF16 => fill.extend(&proto.half_val, |v| {
            u16::try_from(v).ok().map(u16::to_le_bytes)
        }),
        DType::String => unreachable!("strings are decoded above"),
    }?;

    Tensor::fixed(dtype, shape, raw.into())
}

/// Encodes a tensor into the typed list, which hand-written clients read.
pub(crate) fn tensor_to_proto(tensor: &Tensor) -> TensorProto {
    let dims = tensor
        .shape()
        .iter()
        .map(|n| i64::try_from(*n).unwrap_or(i64::MAX));
    let mut proto = TensorProto {
        dtype: wire_dtype(tensor.dtype()) as i32,
        tensor_shape: Some(shape_proto(dims)),
        ..TensorProto::default()
    };

    let raw = match tensor.data() {
        Data::Fixed(bytes) => bytes,
        Data::Strings(strings) => {
            proto.string_val = strings.iter().map(Bytes::copy_from_slice).collect();
            return proto;
        }
    };

    match tensor.dtype() {
        DType::F32 => proto.float_val = read_all(raw, f32::from_le_bytes),
        DType::F64 => proto.double_val = read_all(raw, f64::from_le_bytes),
        DType::I64 => proto.int64_val = read_all(raw, i64::from_le_bytes),
        DType::U32 => proto.uint32_val = read_all(raw, u32::from_le_bytes),
        DType::U64 => proto.uint64_val = read_all(raw, u64::from_le_bytes),
        DType::Bool => proto.bool_val = read_all(raw, |[b]: [u8; 1]| b != 0),
        DType::I32 => proto.int_val = read_all(raw, i32::from_le_bytes),
        DType::I16 => proto.int_val = read_all(raw, |b| i16::from_le_bytes(b).into()),
        DType::I8 => proto.int_val = read_all(raw, |b| i8::from_le_bytes(b).into()),
        DType::U16 => proto.int_val = read_all(raw, |b| u16::from_le_bytes(b).into()),
        DType::U8 => proto.int_val = read_all(raw, |[b]: [u8; 1]| b.into()),
        DType::F16 | DType::BF16 => {
            proto.half_val = read_all(raw, |b| u16::from_le_bytes(b).into())
        }
        DType::String => unreachable!("strings are not fixed-width"),
    }

    proto
}

/// Describes the inputs and outputs of a model.
pub(crate) fn signature_def(signature: &Signature) -> SignatureDef {
    SignatureDef {
        inputs: tensor_infos(signature.listed_inputs()),
        outputs: tensor_infos(signature.outputs.iter()),
        method_name: "tensorflow/serving/predict".to_owned(),
    }
}

fn tensor_infos<'s>(specs: impl Iterator<Item = &'s TensorSpec>) -> BTreeMap<String, TensorInfo> {
    specs
        .map(|spec| (spec.name.clone(), tensor_info(spec)))
        .collect()
}

/// TensorFlow's number for a datatype.
pub(crate) fn wire_dtype(dtype: DType) -> DataType {
    match dtype {
        DType::Bool => DataType::DtBool,
        DType::U8 => DataType::DtUint8,
        DType::U16 => DataType::DtUint16,
        DType::U32 => DataType::DtUint32,
        DType::U64 => DataType::DtUint64,
        DType::I8 => DataType::DtInt8,
        DType::I16 => DataType::DtInt16,
        DType::I32 => DataType::DtInt32,
        DType::I64 => DataType::DtInt64,
        DType::F16 => DataType::DtHalf,
        DType::BF16 => DataType::DtBfloat16,
        DType::F32 => DataType::DtFloat,
        DType::F64 => DataType::DtDouble,
        DType::String => DataType::DtString,
    }
}

fn dtype_of(number: i32) -> Result<DType> {
    let known = DType::ALL
        .into_iter()
        .find(|d| wire_dtype(*d) as i32 == number);
    known.ok_or_else(|| Error::invalid(format!("dtype {number} is not supported")))
}

fn shape_of(shape: Option<&TensorShapeProto>) -> Result<Vec<usize>> {
    let Some(shape) = shape else {
        return Ok(Vec::new());
    };
    if shape.unknown_rank {
        return Err(Error::invalid("tensor_shape has unknown_rank"));
    }
    if shape.dim.len() > RANK_MAX {
        return Err(Error::invalid(format!(
            "rank {} is over the limit of {RANK_MAX}",
            shape.dim.len()
        )));
    }

    shape_from_wire(&shape.dim.iter().map(|d| d.size).collect::<Vec<_>>())
}

/// Counts the elements of all typed lists.
fn listed(proto: &TensorProto) -> usize {
    [
        proto.float_val.len(),
        proto.double_val.len(),
        proto.int_val.len(),
        proto.string_val.len(),
        proto.int64_val.len(),
        proto.bool_val.len(),
        proto.half_val.len(),
        proto.uint32_val.len(),
        proto.uint64_val.len(),
    ]
    .into_iter()
    .sum()
}

/// The number and the datatype of the elements that a typed list must give.
#[derive(Clone, Copy)]
struct Fill {
    dtype: DType,
    count: usize,
    /// Whether no typed list has an element: then all are zero.
    is_bare: bool,
}

impl Fill {
    fn extend<T: Copy, const W: usize>(
        self,
        values: &[T],
        bytes: impl Fn(T) -> Option<[u8; W]>,
    ) -> Result<Vec<u8>> {
        let missing = self.missing(values.len(), W)?;
        let mut raw = Vec::with_capacity((values.len() + missing) * W);
        for (i, value) in values.iter().enumerate() {
            let word = bytes(*value).ok_or_else(|| {
                Error::invalid(format!("element {i} is out of range for {}", self.dtype))
            })?;
            raw.extend_from_slice(&word);
        }

        let last = raw.last_chunk::<W>().copied().unwrap_or([0; W]);
        (0..missing).for_each(|_| raw.extend_from_slice(&last));
        Ok(raw)
    }

    /// Counts the repetitions of the last element. Refuses too many elements,
    /// none where another list has some, and a fill over the limit.
    fn missing(self, given: usize, width: usize) -> Result<usize> {
        let Self {
            dtype,
            count,
            is_bare,
        } = self;
        let missing = count.checked_sub(given).ok_or_else(|| {
            Error::invalid(format!(
                "{given} elements are over the {count} of the shape"
            ))
        })?;

        // Filling with zeros would hide elements that were sent in the wrong field.
        if missing > 0 && given == 0 && !is_bare {
            return Err(Error::invalid(format!(
                "the list of {dtype} is empty where the shape takes {count} elements, but another list is not"
            )));
        }

        if missing > 0
            && count
                .checked_mul(width)
                .is_none_or(|bytes| bytes > FILL_BYTES_MAX)
        {
            return Err(Error::invalid(format!(
                "{count} elements filled from {given} are over the limit of {FILL_BYTES_MAX} bytes"
            )));
        }

        Ok(missing)
    }
}

fn strings_of_list(shape: Vec<usize>, fill: Fill, values: &[Bytes]) -> Result<Tensor> {
    let width = values
        .last()
        .map_or(0, Bytes::len)
        .saturating_add(size_of::<(u32, u32)>());
    let missing = fill.missing(values.len(), width)?;
    let last = values.last().cloned().unwrap_or_default();
    let last = std::iter::repeat_n(&last, missing);
    Tensor::strings(shape, Strings::from_parts(values.iter().chain(last))?)
}

/// Reads every length as a varint, then the strings back to back.
fn strings_of_content(shape: Vec<usize>, mut content: Bytes) -> Result<Tensor> {
    let count = elements(&shape).expect("checked by shape_from_wire");
    if count > content.len() {
        return Err(Error::invalid(format!(
            "tensor_content of {} bytes lacks {count} lengths",
            content.len()
        )));
    }

    let mut lengths = Vec::with_capacity(count);
    for i in 0..count {
        let length = prost::encoding::decode_varint(&mut content)
            .ok()
            .and_then(|n| usize::try_from(n).ok());
        lengths.push(length.ok_or_else(|| Error::invalid(format!("string {i} lacks its length")))?);
    }

    let mut parts = Vec::with_capacity(count);
    for (i, length) in lengths.into_iter().enumerate() {
        if length > content.len() {
            return Err(Error::invalid(format!(
                "string {i} of {length} bytes reaches beyond tensor_content"
            )));
        }
        parts.push(content.split_to(length));
    }

    if !content.is_empty() {
        return Err(Error::invalid(format!(
            "{} bytes follow the last string",
            content.len()
        )));
    }

    Tensor::strings(shape, Strings::from_parts(parts)?)
}

fn shape_proto(dims: impl Iterator<Item = i64>) -> TensorShapeProto {
    TensorShapeProto {
        dim: dims
            .map(|size| WireDim {
                size,
                name: String::new(),
            })
            .collect(),
        unknown_rank: false,
    }
}

fn tensor_info(spec: &TensorSpec) -> TensorInfo {
    let shape = match &spec.shape {
        Some(dims) => shape_proto(dims.iter().map(|d| Dim::to_wire(*d))),
        None => TensorShapeProto {
            dim: Vec::new(),
            unknown_rank: true,
        },
    };

    TensorInfo {
        encoding: Some(Encoding::Name(spec.name.clone())),
        dtype: wire_dtype(spec.dtype) as i32,
        tensor_shape: Some(shape),
    }
}
