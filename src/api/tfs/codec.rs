//! TensorFlow's tensors to ours and back, model specs to targets. Pure.

#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::model::{Dim, ModelName, Signature, TensorSpec, Version, short};
use crate::proto::tensorflow as tf;
use crate::proto::tensorflow::serving as p;
use crate::request::{Selector, Target};
use crate::tensor::{DType, Data, Strings, Tensor, elements, shape_from_wire};
use bytes::Bytes;

/// The most bytes a tensor may have that repeats its last element to fill its
/// shape: a small message may name a huge shape.
const FILL_BYTES_MAX: usize = 64 << 20;

/// Reads which model and version are meant.
pub(crate) fn target(spec: Option<&p::ModelSpec>) -> Result<Target> {
    let spec = spec.ok_or_else(|| Error::invalid("model_spec is missing"))?;
    signature_name(&spec.signature_name)?;
    let selector = match &spec.version_choice {
        None => Selector::Latest,
        Some(p::model_spec::VersionChoice::Version(number)) => {
            let version = u64::try_from(*number).ok().and_then(Version::new);
            Selector::Exact(version.ok_or_else(|| Error::invalid(format!("model version {number} is not positive")))?)
        }
        Some(p::model_spec::VersionChoice::VersionLabel(label)) => Selector::Label(label.clone()),
    };
    Ok(Target { model: ModelName::parse(&spec.name)?, selector })
}

/// Accepts the one signature there is, by its name or by none.
pub(crate) fn signature_name(name: &str) -> Result<()> {
    if name.is_empty() || name == super::grpc::SIGNATURE {
        return Ok(());
    }
    Err(Error::precondition(format!("signature '{}' is unknown; the model has serving_default", short(name))))
}

fn dtype(wire: tf::DataType) -> Option<DType> {
    DType::ALL.into_iter().find(|d| data_type(*d) == wire)
}

/// TensorFlow's name for a datatype.
pub(crate) fn data_type(dtype: DType) -> tf::DataType {
    match dtype {
        DType::Bool => tf::DataType::DtBool,
        DType::U8 => tf::DataType::DtUint8,
        DType::U16 => tf::DataType::DtUint16,
        DType::U32 => tf::DataType::DtUint32,
        DType::U64 => tf::DataType::DtUint64,
        DType::I8 => tf::DataType::DtInt8,
        DType::I16 => tf::DataType::DtInt16,
        DType::I32 => tf::DataType::DtInt32,
        DType::I64 => tf::DataType::DtInt64,
        DType::F16 => tf::DataType::DtHalf,
        DType::BF16 => tf::DataType::DtBfloat16,
        DType::F32 => tf::DataType::DtFloat,
        DType::F64 => tf::DataType::DtDouble,
        DType::String => tf::DataType::DtString,
    }
}

/// Decodes a tensor: `tensor_content` where it is not empty, else the list of
/// its datatype, whose last element fills what the shape has more.
pub(crate) fn tensor_from_proto(name: &str, proto: tf::TensorProto) -> Result<Tensor> {
    decode(proto).map_err(|e| e.context(format_args!("input '{}'", short(name))))
}

fn decode(proto: tf::TensorProto) -> Result<Tensor> {
    let wire = tf::DataType::try_from(proto.dtype).unwrap_or(tf::DataType::DtInvalid);
    let dtype = dtype(wire).ok_or_else(|| Error::invalid(format!("dtype {} is not served", proto.dtype)))?;
    let wire_shape = proto.tensor_shape.unwrap_or_default();
    if wire_shape.unknown_rank {
        return Err(Error::invalid("the shape has an unknown rank"));
    }
    let dims: Vec<i64> = wire_shape.dim.iter().map(|d| d.size).collect();
    let shape = shape_from_wire(&dims)?;
    if !proto.tensor_content.is_empty() {
        return match dtype {
            DType::String => Err(Error::invalid("strings go into string_val, not tensor_content")),
            _ => Tensor::fixed(dtype, shape, proto.tensor_content),
        };
    }
    let count = elements(&shape).unwrap_or(usize::MAX);
    let bytes = match dtype {
        DType::String => return strings(shape, &proto.string_val),
        DType::Bool => list(&proto.bool_val, count, |v| Some([u8::from(v)])),
        DType::U8 => list(&proto.int_val, count, |v| u8::try_from(v).ok().map(u8::to_le_bytes)),
        DType::U16 => list(&proto.int_val, count, |v| u16::try_from(v).ok().map(u16::to_le_bytes)),
        DType::I8 => list(&proto.int_val, count, |v| i8::try_from(v).ok().map(i8::to_le_bytes)),
        DType::I16 => list(&proto.int_val, count, |v| i16::try_from(v).ok().map(i16::to_le_bytes)),
        DType::I32 => list(&proto.int_val, count, |v| Some(v.to_le_bytes())),
        DType::I64 => list(&proto.int64_val, count, |v| Some(v.to_le_bytes())),
        DType::U32 => list(&proto.uint32_val, count, |v| Some(v.to_le_bytes())),
        DType::U64 => list(&proto.uint64_val, count, |v| Some(v.to_le_bytes())),
        DType::F16 | DType::BF16 => list(&proto.half_val, count, |v| u16::try_from(v).ok().map(u16::to_le_bytes)),
        DType::F32 => list(&proto.float_val, count, |v| Some(v.to_le_bytes())),
        DType::F64 => list(&proto.double_val, count, |v| Some(v.to_le_bytes())),
    }?;
    Tensor::fixed(dtype, shape, bytes)
}

fn check_fill(given: usize, count: usize, width: usize) -> Result<()> {
    if given > count || (given == 0 && count > 0) {
        return Err(Error::invalid(format!("the shape takes {count} elements, got {given}")));
    }
    if given < count && count.saturating_mul(width) > FILL_BYTES_MAX {
        return Err(Error::invalid(format!("one element fills at most {FILL_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn list<T: Copy, const N: usize>(values: &[T], count: usize, convert: impl Fn(T) -> Option<[u8; N]>) -> Result<Bytes> {
    check_fill(values.len(), count, N)?;
    let mut bytes = Vec::with_capacity(count * N);
    let mut last = [0; N];
    for value in values {
        last = convert(*value).ok_or_else(|| Error::invalid("a value is out of the datatype's range"))?;
        bytes.extend_from_slice(&last);
    }
    for _ in values.len()..count {
        bytes.extend_from_slice(&last);
    }
    Ok(bytes.into())
}

fn strings(shape: Vec<usize>, values: &[Bytes]) -> Result<Tensor> {
    let count = elements(&shape).unwrap_or(usize::MAX);
    let width = values.last().map_or(0, Bytes::len) + size_of::<(u32, u32)>();
    check_fill(values.len(), count, width)?;
    let fill = values.last().into_iter().cycle().take(count - values.len());
    Tensor::strings(shape, Strings::from_parts(values.iter().chain(fill))?)
}

/// Encodes a tensor with the list of its datatype, which every client reads.
pub(crate) fn tensor_to_proto(tensor: &Tensor) -> tf::TensorProto {
    let dim = tensor.shape().iter().map(|d| tf::tensor_shape_proto::Dim { size: *d as i64, name: String::new() });
    let mut proto = tf::TensorProto {
        dtype: data_type(tensor.dtype()) as i32,
        tensor_shape: Some(tf::TensorShapeProto { dim: dim.collect(), unknown_rank: false }),
        ..tf::TensorProto::default()
    };
    let bytes = match tensor.data() {
        Data::Fixed(bytes) => bytes,
        Data::Strings(strings) => {
            proto.string_val = strings.iter().map(|s| Bytes::copy_from_slice(s.as_bytes())).collect();
            return proto;
        }
    };
    match tensor.dtype() {
        DType::Bool => proto.bool_val = bytes.iter().map(|b| *b != 0).collect(),
        DType::U8 => proto.int_val = each(bytes, |b| i32::from(u8::from_le_bytes(b))),
        DType::U16 => proto.int_val = each(bytes, |b| i32::from(u16::from_le_bytes(b))),
        DType::I8 => proto.int_val = each(bytes, |b| i32::from(i8::from_le_bytes(b))),
        DType::I16 => proto.int_val = each(bytes, |b| i32::from(i16::from_le_bytes(b))),
        DType::I32 => proto.int_val = each(bytes, i32::from_le_bytes),
        DType::I64 => proto.int64_val = each(bytes, i64::from_le_bytes),
        DType::U32 => proto.uint32_val = each(bytes, u32::from_le_bytes),
        DType::U64 => proto.uint64_val = each(bytes, u64::from_le_bytes),
        DType::F16 | DType::BF16 => proto.half_val = each(bytes, |b| i32::from(u16::from_le_bytes(b))),
        DType::F32 => proto.float_val = each(bytes, f32::from_le_bytes),
        DType::F64 => proto.double_val = each(bytes, f64::from_le_bytes),
        DType::String => {}
    }
    proto
}

fn each<T, const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|b| read(*b)).collect()
}

/// A signature as TensorFlow Serving tells it.
pub(crate) fn signature_def(signature: &Signature) -> tf::SignatureDef {
    let info = |spec: &TensorSpec| {
        let dim = |d: &Dim| tf::tensor_shape_proto::Dim { size: d.to_wire(), name: String::new() };
        let dims = spec.shape.as_ref().map(|dims| dims.iter().map(dim).collect::<Vec<_>>());
        let tensor_shape = tf::TensorShapeProto { unknown_rank: dims.is_none(), dim: dims.unwrap_or_default() };
        let info = tf::TensorInfo {
            encoding: Some(tf::tensor_info::Encoding::Name(spec.name.clone())),
            dtype: data_type(spec.dtype) as i32,
            tensor_shape: Some(tensor_shape),
        };
        (spec.name.clone(), info)
    };
    tf::SignatureDef {
        inputs: signature.inputs.iter().map(info).collect(),
        outputs: signature.outputs.iter().map(info).collect(),
        method_name: "tensorflow/serving/predict".to_owned(),
    }
}
