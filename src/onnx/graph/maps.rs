//! Turns maps of scores into the tensors that they are made of. Converters end a classifier with ZipMap
//! by default, whose answer is a sequence of maps, one for each row; no protocol carries one. The
//! tensor has a column for each class, in the order of the classes, under the name of the output. Works
//! on the encoded file: weights are copied, not decoded.

#[cfg(test)]
mod tests;

use super::end::{CLASS_NAMES_MAX, of_attribute};
use super::fields::bodies;
use super::truncated;
use crate::core::error::Result;
use crate::core::fields::{Fields, WireField};
use crate::core::model::task::OutputEnd;
use crate::proto::onnx::tensor_shape_proto::{Dimension, dimension};
use crate::proto::onnx::{
    NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto,
};
use bytes::Bytes;
use prost::Message;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// The operator that makes maps, and its domain.
const ZIP_MAP: (&str, &str) = ("ai.onnx.ml", "ZipMap");
/// The operator that takes its place. It has existed in every version of its operator set.
const IDENTITY: &str = "Identity";
/// The operator set that is imported for it where the file imports none.
const OPSET_OF_IDENTITY: i64 = 9;
/// The format's number of FP32, the only type of scores that ZipMap takes.
const FLOAT: i32 = 1;

/// Fields of the format.
mod field {
    pub(super) const MODEL_GRAPH: u64 = 7;
    pub(super) const MODEL_OPSET: u64 = 8;
    pub(super) const GRAPH_NODE: u64 = 1;
    pub(super) const GRAPH_OUTPUT: u64 = 12;
    pub(super) const GRAPH_VALUE: u64 = 13;
    pub(super) const NODE_ATTRIBUTE: u64 = 5;
}

/// A file whose maps are tensors.
pub(in crate::onnx) struct WithoutMaps {
    pub file: Bytes,
    /// The classes of each output that was a sequence of maps: the columns of its tensor.
    classes: ScoreMaps,
}

impl WithoutMaps {
    /// Notes the outputs that were maps, in the order of `outputs`.
    pub(super) fn note<'o>(&self, outputs: impl Iterator<Item = &'o str>, ends: &mut [OutputEnd]) {
        for (output, end) in outputs.zip(ends) {
            if let Some(classes) = self.classes.get(output) {
                end.classes.clone_from(classes);
                end.is_from_maps = true;
            }
        }
    }
}

/// Returns the file as it is served: each output that is a sequence of maps from ZipMap is a tensor.
/// None if there is no such output.
pub(in crate::onnx) fn as_tensors(file: &[u8]) -> Result<Option<WithoutMaps>> {
    // A reader of the format would merge several graphs.
    let mut graphs = bodies(file, field::MODEL_GRAPH);
    let (Some(graph), None) = (graphs.next().transpose()?, graphs.next()) else {
        return Ok(None);
    };
    let maps = score_maps(graph)?;
    if maps.is_empty() {
        return Ok(None);
    }

    let graph = without(graph, &maps)?;
    let mut out = Vec::with_capacity(file.len() + EXTRA_BYTES);
    for part in parts(file) {
        match part? {
            (field::MODEL_GRAPH, WireField::Body(_), _) => {
                put(&mut out, field::MODEL_GRAPH, &graph);
            }
            (_, _, span) => out.extend_from_slice(&file[span]),
        }
    }
    if lacks_default_domain(file)? {
        let opset = OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(OPSET_OF_IDENTITY),
        };
        put(&mut out, field::MODEL_OPSET, &opset.encode_to_vec());
    }

    Ok(Some(WithoutMaps {
        file: out.into(),
        classes: maps,
    }))
}

/// Room for what is longer than before.
const EXTRA_BYTES: usize = 1 << 10;

/// The classes of each output that is a sequence of maps.
type ScoreMaps = HashMap<String, Vec<String>>;

/// Finds the outputs of the graph that ZipMap nodes make.
fn score_maps(graph: &[u8]) -> Result<ScoreMaps> {
    let mut wanted = HashSet::new();
    for output in bodies(graph, field::GRAPH_OUTPUT) {
        let output = value(output?)?;
        let kind = output.r#type.as_ref().and_then(|t| t.value.as_ref());
        if matches!(kind, Some(type_proto::Value::SequenceType(_))) {
            wanted.extend(output.name);
        }
    }

    let mut maps = HashMap::new();
    if wanted.is_empty() {
        return Ok(maps);
    }
    for node in bodies(graph, field::GRAPH_NODE) {
        let encoded = node?;
        let Some((_, output)) = zip_map(encoded)?.filter(|(_, out)| wanted.contains(out)) else {
            continue;
        };
        let mut classes = Vec::new();
        for attribute in bodies(encoded, field::NODE_ATTRIBUTE) {
            classes.extend(of_attribute(attribute?)?);
        }
        if (1..=CLASS_NAMES_MAX).contains(&classes.len()) {
            maps.insert(output, classes);
        }
    }

    Ok(maps)
}

/// The input and the output of a ZipMap; none if the node is another one.
fn zip_map(node: &[u8]) -> Result<Option<(String, String)>> {
    let mut op = bodies(node, 4);
    if op.next().transpose()? != Some(ZIP_MAP.1.as_bytes()) {
        return Ok(None);
    }
    let node = NodeProto::decode(node).map_err(|e| truncated().with_source(e))?;
    let is_known = node.domain.as_deref() == Some(ZIP_MAP.0);
    match (node.input.as_slice(), node.output.as_slice()) {
        ([scores], [output]) if is_known => Ok(Some((scores.clone(), output.clone()))),
        _ => Ok(None),
    }
}

fn value(encoded: &[u8]) -> Result<ValueInfoProto> {
    ValueInfoProto::decode(encoded).map_err(|e| truncated().with_source(e))
}

/// The graph with tensors in place of maps.
fn without(graph: &[u8], maps: &ScoreMaps) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(graph.len() + EXTRA_BYTES);
    for part in parts(graph) {
        let (tag, field, span) = part?;
        let replaced = match (tag, field) {
            (field::GRAPH_NODE, WireField::Body(node)) => zip_map(node)?
                .filter(|(_, output)| maps.contains_key(output))
                .map(|(scores, output)| Some(identity(scores, output))),
            (field::GRAPH_OUTPUT | field::GRAPH_VALUE, WireField::Body(body)) => {
                let name = value(body)?.name.unwrap_or_default();
                let declared = |classes: &Vec<String>| {
                    // A second declaration of the same value is left out.
                    (tag == field::GRAPH_OUTPUT).then(|| tensor(name.clone(), classes.len()))
                };
                maps.get(&name).map(declared)
            }
            _ => None,
        };
        match replaced {
            None => out.extend_from_slice(&graph[span]),
            Some(Some(body)) => put(&mut out, tag, &body),
            Some(None) => {}
        }
    }

    Ok(out)
}

fn identity(scores: String, output: String) -> Vec<u8> {
    NodeProto {
        input: vec![scores],
        output: vec![output],
        op_type: Some(IDENTITY.to_owned()),
        ..NodeProto::default()
    }
    .encode_to_vec()
}

/// Declares a row of scores for each row of the input.
fn tensor(name: String, columns: usize) -> Vec<u8> {
    let columns = i64::try_from(columns).unwrap_or(i64::MAX);
    let dim = |value| Dimension { value };
    let shape = TensorShapeProto {
        dim: vec![dim(None), dim(Some(dimension::Value::DimValue(columns)))],
    };
    let kind = type_proto::Value::TensorType(type_proto::Tensor {
        elem_type: Some(FLOAT),
        shape: Some(shape),
    });
    ValueInfoProto {
        name: Some(name),
        r#type: Some(TypeProto { value: Some(kind) }),
    }
    .encode_to_vec()
}

/// Whether the file imports operator sets, but not that of Identity. One that imports none is refused.
fn lacks_default_domain(file: &[u8]) -> Result<bool> {
    let mut imports = false;
    for opset in bodies(file, field::MODEL_OPSET) {
        let opset = OperatorSetIdProto::decode(opset?).map_err(|e| truncated().with_source(e))?;
        if matches!(opset.domain.as_deref(), None | Some("" | "ai.onnx")) {
            return Ok(false);
        }
        imports = true;
    }
    Ok(imports)
}

/// The fields of a message, with where they are in it.
fn parts(message: &[u8]) -> impl Iterator<Item = Result<(u64, WireField<'_>, Range<usize>)>> {
    let mut fields = Fields::of(message);
    std::iter::from_fn(move || {
        let start = message.len() - fields.left();
        let read = fields.next()?;
        let end = message.len() - fields.left();
        Some(match read {
            Ok((tag, field)) => Ok((tag, field, start..end)),
            Err(_) => Err(truncated()),
        })
    })
}

/// Appends a field with a length.
fn put(out: &mut Vec<u8>, tag: u64, body: &[u8]) {
    prost::encoding::encode_varint(tag << 3 | 2, out);
    prost::encoding::encode_varint(body.len() as u64, out);
    out.extend_from_slice(body);
}
