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
use crate::proto::onnx::{TensorProto, ValueInfoProto, type_proto};
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
    let no_tensor = |what: &str, hint: &str| {
        Err(Error::precondition(format!(
            "is {what}, not a tensor{hint}"
        )))
    };

    let tensor = match value.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor,
        Some(type_proto::Value::SequenceType(_)) => {
            return no_tensor(
                "a sequence",
                "; turn ZipMap off when exporting a classifier",
            );
        }
        Some(type_proto::Value::MapType(_)) => {
            return no_tensor("a map", "; turn ZipMap off when exporting a classifier");
        }
        Some(type_proto::Value::SparseTensorType(_)) => {
            return no_tensor("a sparse tensor", "; make it dense");
        }
        Some(type_proto::Value::OptionalType(_)) => {
            return no_tensor("an optional", "; make it always present");
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
