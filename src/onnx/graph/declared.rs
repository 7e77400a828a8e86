//! The signature a graph declares: names, datatypes and shapes of its inputs
//! and outputs. Knows ONNX's numbers for datatypes; decides nothing else.

use super::GraphProto;
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::optional::{FixedInput, OptionalInput};
use crate::core::model::padding::AxisNames;
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::{DType, RANK_MAX};
use crate::proto::onnx::tensor_shape_proto::{Dimension, dimension};
use crate::proto::onnx::{TensorProto, TypeProto, ValueInfoProto, type_proto};
use std::collections::{HashMap, HashSet};

/// The most inputs and outputs together.
pub(super) const VALUES_MAX: usize = 4_096;
/// The longest name of an input or output.
pub(super) const VALUE_NAME_BYTES_MAX: usize = 1_024;

/// The most inputs with a default that a request may replace.
pub(super) const OPTIONAL_MAX: usize = 4_096;
/// The most optional inputs that metadata lists. Where there are more, all are weights that the
/// exporter wrote among the inputs.
pub(super) const LISTED_MAX: usize = 32;
/// The most elements in the default of an optional input that metadata lists; a larger one is a
/// weight.
pub(super) const LISTED_ELEMENTS_MAX: usize = 4_096;
/// The first IR version in which ONNX Runtime lets a run replace an initializer. In older files it
/// takes every initializer for a constant.
const OPTIONAL_IR_VERSION: i64 = 4;

const OLD_FILE: &str =
    "its file is of an IR version below 4; save the model with IR version 4 or later";
const UNSUPPORTED: &str = "no request can hold its datatype";
const TOO_MANY: &str = "the file declares over 4096 inputs with a default";

/// Reads the signature of a graph. Inputs that are also initializers have a default: a request
/// may leave them out.
pub(super) fn signature(graph: &GraphProto, ir_version: i64) -> Result<Signature> {
    let defaults: HashMap<&str, usize> = graph.initializer.iter().filter_map(default).collect();
    let is_default = |v: &&ValueInfoProto| {
        let name = v.name.as_deref();
        name.is_some_and(|name| defaults.contains_key(name))
    };
    let (with_default, inputs): (Vec<&ValueInfoProto>, Vec<_>) =
        graph.input.iter().partition(is_default);

    let outputs: Vec<&ValueInfoProto> = graph.output.iter().collect();
    let count = inputs.len() + outputs.len();
    if count > VALUES_MAX {
        return Err(Error::invalid(format!(
            "{count} inputs and outputs are over the limit of {VALUES_MAX}"
        )));
    }

    if outputs.is_empty() {
        return Err(Error::invalid("not an ONNX model: the graph has no output"));
    }
    let (optional, fixed) = optional(&with_default, &defaults, ir_version);
    Ok(Signature {
        inputs: specs("input", &inputs)?,
        optional,
        fixed,
        outputs: specs("output", &outputs)?,
    })
}

/// Returns the name of an initializer, and its number of elements.
fn default(initializer: &TensorProto) -> Option<(&str, usize)> {
    let sizes = initializer.dims.iter();
    let elements = sizes
        .map(|n| usize::try_from(*n).unwrap_or(usize::MAX))
        .fold(1, usize::saturating_mul);
    Some((initializer.name.as_deref()?, elements))
}

/// Parts the inputs with a default into those that a request can replace and those that it cannot.
fn optional(
    values: &[&ValueInfoProto],
    defaults: &HashMap<&str, usize>,
    ir_version: i64,
) -> (Vec<OptionalInput>, Vec<FixedInput>) {
    let (mut optional, mut fixed) = (Vec::new(), Vec::new());
    let for_all = match values.len() {
        _ if ir_version < OPTIONAL_IR_VERSION => Some(OLD_FILE),
        count if count > OPTIONAL_MAX => Some(TOO_MANY),
        _ => None,
    };

    for value in values {
        let name = value.name.as_deref().unwrap_or_default();
        match (for_all, spec(name, value)) {
            (None, Ok(spec)) => {
                let elements = defaults.get(name).copied();
                let is_listed = elements.is_some_and(|n| n <= LISTED_ELEMENTS_MAX);
                optional.push(OptionalInput { spec, is_listed });
            }
            (reason, _) => fixed.push(FixedInput {
                name: name.to_owned(),
                reason: reason.unwrap_or(UNSUPPORTED),
            }),
        }
    }

    if optional.iter().filter(|o| o.is_listed).count() > LISTED_MAX {
        optional.iter_mut().for_each(|o| o.is_listed = false);
    }
    (optional, fixed)
}

fn specs(role: &str, values: &[&ValueInfoProto]) -> Result<Vec<TensorSpec>> {
    let mut seen = HashSet::new();
    let mut specs = Vec::with_capacity(values.len());
    for value in values {
        let name = value.name.as_deref().unwrap_or_default();
        if name.is_empty() || name.len() > VALUE_NAME_BYTES_MAX {
            return Err(Error::invalid(format!(
                "the name of an {role} is not 1 to {VALUE_NAME_BYTES_MAX} bytes"
            )));
        }
        if !seen.insert(name) {
            return Err(Error::invalid(format!(
                "{role} '{}' is declared twice",
                short(name)
            )));
        }
        specs.push(spec(name, value).map_err(|e| e.context(format!("{role} '{}'", short(name))))?);
    }

    Ok(specs)
}

fn spec(name: &str, value: &ValueInfoProto) -> Result<TensorSpec> {
    let tensor = match value.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor,
        Some(other) => {
            return Err(Error::precondition(format!(
                "is {}, not a tensor; {}",
                described(other),
                remedy(other)
            )));
        }
        None => return Err(Error::precondition("has no type")),
    };

    let number = tensor.elem_type.unwrap_or_default();
    let unknown = || {
        Error::precondition(format!(
            "has element type {number}, which this server does not support"
        ))
    };

    let dtype = dtype(number).ok_or_else(unknown)?;
    let Some(shape) = &tensor.shape else {
        return Ok(TensorSpec {
            name: name.to_owned(),
            dtype,
            shape: None,
        });
    };

    if shape.dim.len() > RANK_MAX {
        return Err(Error::invalid(format!(
            "has rank {}, over the limit of {RANK_MAX}",
            shape.dim.len()
        )));
    }

    Ok(TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: Some(shape.dim.iter().map(dim).collect()),
    })
}

/// Describes a type in words.
fn described(value: &type_proto::Value) -> String {
    let element = |of: Option<&TypeProto>| match of.and_then(|of| of.value.as_ref()) {
        // A tensor in a map is a single number.
        Some(type_proto::Value::TensorType(tensor)) => {
            element_type(tensor.elem_type.unwrap_or_default())
        }
        Some(value) => described(value),
        None => "an unknown type".to_owned(),
    };
    match value {
        type_proto::Value::TensorType(tensor) => {
            let number = tensor.elem_type.unwrap_or_default();
            format!("a tensor of {}", element_type(number))
        }
        type_proto::Value::SequenceType(of) => {
            format!(
                "a sequence, each element {}",
                element(of.elem_type.as_deref())
            )
        }
        type_proto::Value::MapType(map) => format!(
            "a map from {} to {}",
            element_type(map.key_type.unwrap_or_default()),
            element(map.value_type.as_deref())
        ),
        type_proto::Value::SparseTensorType(_) => "a sparse tensor".to_owned(),
        type_proto::Value::OptionalType(of) => {
            format!(
                "an optional, if present {}",
                element(of.elem_type.as_deref())
            )
        }
    }
}

/// What to change in the model, so that its type is a tensor.
fn remedy(value: &type_proto::Value) -> &'static str {
    match value {
        type_proto::Value::SparseTensorType(_) => "make it dense",
        type_proto::Value::OptionalType(_) => "make it always present",
        type_proto::Value::MapType(_) => "give the values of the map as a tensor",
        type_proto::Value::SequenceType(of) => {
            let element = of.elem_type.as_ref().and_then(|of| of.value.as_ref());
            match element {
                Some(type_proto::Value::MapType(_)) => {
                    "give the values of the maps as a tensor, a column for each key; scikit-learn's \
                     converter does so with options={'zipmap': False}"
                }
                _ => {
                    "give each element as a tensor of its own, or join them with ConcatFromSequence"
                }
            }
        }
        type_proto::Value::TensorType(_) => "",
    }
}

/// The protocol's name of an element type, or the format's number.
fn element_type(number: i32) -> String {
    dtype(number).map_or_else(
        || format!("element type {number}"),
        |dtype| dtype.name().to_owned(),
    )
}

/// Reads the names of dynamic axes, in the order of the signature.
pub(super) fn axis_names(graph: &GraphProto, signature: &Signature) -> AxisNames {
    let of = |values: &[ValueInfoProto], spec: &TensorSpec| {
        let named = |value: &&ValueInfoProto| value.name.as_deref() == Some(&spec.name);
        values.iter().find(named).map_or_else(Vec::new, names)
    };
    let inputs = signature.inputs.iter().map(|spec| of(&graph.input, spec));
    let outputs = signature.outputs.iter().map(|spec| of(&graph.output, spec));
    AxisNames {
        inputs: inputs.collect(),
        outputs: outputs.collect(),
    }
}

/// The name of each axis; none for an axis that is fixed or has no name.
fn names(value: &ValueInfoProto) -> Vec<Option<String>> {
    let Some(type_proto::Value::TensorType(tensor)) =
        value.r#type.as_ref().and_then(|t| t.value.as_ref())
    else {
        return Vec::new();
    };
    let axes = tensor.shape.iter().flat_map(|shape| &shape.dim);
    axes.map(|axis| match &axis.value {
        Some(dimension::Value::DimParam(name)) if !name.is_empty() => Some(name.clone()),
        _ => None,
    })
    .collect()
}

/// Some exporters write a negative length for a dynamic axis.
fn dim(dim: &Dimension) -> Dim {
    match &dim.value {
        Some(dimension::Value::DimValue(n)) => usize::try_from(*n).map_or(Dim::Dynamic, Dim::Fixed),
        Some(dimension::Value::DimParam(_)) | None => Dim::Dynamic,
    }
}

/// The numbers of `TensorProto.DataType`.
fn dtype(number: i32) -> Option<DType> {
    Some(match number {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        8 => DType::String,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        16 => DType::BF16,
        _ => return None,
    })
}
