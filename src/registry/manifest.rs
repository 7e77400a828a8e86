//! The manifest of a version: its files by digest, its signature, and its lineage.
//! Immutable. The same push always gives the same manifest, so that a repeated push
//! is recognised. Owns the format; measures and publishes nothing.

#[cfg(test)]
mod tests;

use super::text;
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{Dim, ModelName, Signature, TensorSpec, Version};
use crate::onnx::graph::Graph;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The format written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;
/// The largest manifest.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// The name of the model file of a version.
pub const MODEL_PATH: &str = "model.onnx";

/// The name of a version's baseline, and the most bytes of it.
pub const BASELINE_PATH: &str = "baseline.json";
pub(crate) const BASELINE_BYTES_MAX: u64 = 64 << 20;

/// The name of a version's golden rows, and the most bytes of them.
pub const GOLDEN_PATH: &str = "golden.json";
pub(crate) const GOLDEN_BYTES_MAX: u64 = 16 << 20;

/// The name of a version's companion, and the most bytes of it.
pub const COMPANION_PATH: &str = "companion.onnx";
pub(crate) const COMPANION_BYTES_MAX: u64 = 64 << 20;

/// The name of what explains a version's predictions, and the most bytes of it.
pub const EXPLANATION_PATH: &str = "explanation.bin";
pub(crate) const EXPLANATION_BYTES_MAX: u64 = crate::explain::file::BYTES_MAX;

/// The name of the manifest's own file beside a version's files.
pub const MANIFEST_PATH: &str = "manifest.json";

/// The manifest of one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// Name of the model.
    pub model: ModelName,
    /// Sorted by path; `model.onnx` is among them.
    pub files: Vec<File>,
    /// Read from the graph.
    pub signature: Declared,
    /// Operator sets the graph imports; the default domain is empty.
    pub opsets: BTreeMap<String, i64>,
    /// Operators used, as `domain:operator`.
    pub operators: Vec<String>,
    /// Version of the ONNX format.
    pub ir_version: i64,
    /// Program that wrote the graph.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub producer: String,
    /// Names of the input's columns, if given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// An SPDX expression.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub licence: String,
    /// Free tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The version it was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Version>,
    /// How it was made: digests of data, code, spec and environment, seed,
    /// parameters, trigger; as given at the push.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub lineage: Map<String, Value>,
    /// Its metrics, as given at the push.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub evaluation: Map<String, Value>,
}

/// One file of a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Relative to the version's folder, with `/`.
    pub path: String,
    /// What the file is for.
    pub role: Role,
    /// Digest of the content.
    pub digest: Digest,
    /// Length in bytes.
    pub bytes: u64,
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The ONNX file.
    Model,
    /// Weights in files of their own.
    Weights,
    /// Training reference profile for monitoring.
    Baseline,
    /// The model card, in Markdown.
    Card,
    /// Stored inputs with expected outputs.
    Golden,
    /// A second model, which predicts the error of the first.
    Companion,
    /// What explains its predictions: its trees or its weights.
    Explanation,
    /// Anything else that was pushed with it.
    Other,
}

/// A signature in its JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// Input tensors.
    pub inputs: Vec<DeclaredTensor>,
    /// Output tensors.
    pub outputs: Vec<DeclaredTensor>,
}

/// A declared tensor in its JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredTensor {
    /// Name of the tensor.
    pub name: String,
    /// Datatype, as the Open Inference Protocol names it.
    pub datatype: String,
    /// −1 for a dynamic axis; absent if the rank is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<i64>>,
    /// Whether a request may leave it out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl Declared {
    /// Converts a signature.
    pub(crate) fn of(signature: &Signature) -> Self {
        let required = signature.inputs.iter().map(DeclaredTensor::of);
        let optional = signature.listed_optional().map(|spec| DeclaredTensor {
            optional: true,
            ..DeclaredTensor::of(spec)
        });
        Self {
            inputs: required.chain(optional).collect(),
            outputs: signature.outputs.iter().map(DeclaredTensor::of).collect(),
        }
    }

    /// Tells whether a graph has this signature. Earlier releases left optional inputs out.
    pub(crate) fn is_of(&self, signature: &Signature) -> bool {
        let mut graph = Self::of(signature);
        if !self.inputs.iter().any(|input| input.optional) {
            graph.inputs.retain(|input| !input.optional);
        }
        *self == graph
    }

    /// Lists the differences that break clients of `before`; empty if every request
    /// that was valid stays valid and every output is still there.
    pub(crate) fn breaks(&self, before: &Self) -> Vec<String> {
        let mut broken = Vec::new();
        for old in &before.inputs {
            match self.inputs.iter().find(|t| t.name == old.name) {
                None => broken.push(format!("input '{}' is gone", old.name)),
                Some(new) if !new.takes(old) => {
                    broken.push(format!("input '{}' was {old}, is {new}", old.name))
                }
                Some(new) if old.optional && !new.optional => {
                    broken.push(format!("input '{}' was optional, is required", old.name))
                }
                Some(_) => {}
            }
        }

        let is_new = |t: &&DeclaredTensor| {
            !t.optional && !before.inputs.iter().any(|old| old.name == t.name)
        };
        broken.extend(
            self.inputs
                .iter()
                .filter(is_new)
                .map(|new| format!("input '{}' is new", new.name)),
        );

        for old in &before.outputs {
            match self.outputs.iter().find(|t| t.name == old.name) {
                None => broken.push(format!("output '{}' is gone", old.name)),
                Some(new) if !old.takes(new) => {
                    broken.push(format!("output '{}' was {old}, is {new}", old.name))
                }
                Some(_) => {}
            }
        }

        broken
    }
}

impl DeclaredTensor {
    fn of(spec: &TensorSpec) -> Self {
        let dims = spec.shape.as_ref();
        Self {
            name: spec.name.clone(),
            datatype: spec.dtype.name().to_owned(),
            shape: dims.map(|dims| dims.iter().map(|d| Dim::to_wire(*d)).collect()),
            optional: false,
        }
    }

    /// Whether every tensor that fits `other` also fits `self`.
    fn takes(&self, other: &Self) -> bool {
        let axis = |(mine, theirs): (&i64, &i64)| *mine == -1 || mine == theirs;
        self.datatype == other.datatype
            && match (&self.shape, &other.shape) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(axis),
            }
    }
}

impl std::fmt::Display for DeclaredTensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.shape {
            Some(shape) => write!(f, "{} {shape:?}", self.datatype),
            None => write!(f, "{} of any shape", self.datatype),
        }
    }
}

impl Manifest {
    /// Creates a manifest from a graph, without files.
    pub(crate) fn of(model: &ModelName, graph: &Graph) -> Self {
        Self {
            format: FORMAT,
            model: model.clone(),
            files: Vec::new(),
            signature: Declared::of(&graph.signature),
            opsets: graph.opsets.iter().cloned().collect(),
            operators: graph
                .operators
                .iter()
                .map(|(domain, op)| format!("{domain}:{op}"))
                .collect(),
            ir_version: graph.ir_version,
            producer: graph.producer.clone(),
            features: Vec::new(),
            licence: String::new(),
            tags: BTreeMap::new(),
            parent: None,
            lineage: Map::new(),
            evaluation: Map::new(),
        }
    }

    /// Writes it; the same manifest is always the same bytes.
    pub(crate) fn write(&self) -> Vec<u8> {
        text::write(self)
    }

    /// Reads one. Refuses another format, unknown fields, a path that leaves
    /// the version's folder, and one without a model.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct ManifestHead {
            format: u32,
        }
        let head: ManifestHead = text::read(bytes, "the manifest")?;
        if head.format != FORMAT {
            return Err(Error::precondition(format!(
                "the manifest is of format {}, but this ortus reads format {FORMAT}; use a newer ortus",
                head.format
            )));
        }

        let read: Self = text::read(bytes, "the manifest")?;
        for file in &read.files {
            check_path(&file.path)?;
            if file.path == MANIFEST_PATH {
                return Err(Error::precondition(
                    "the manifest lists a file under its own name",
                ));
            }
        }

        read.model_file()?;
        Ok(read)
    }

    /// The ONNX file.
    pub(crate) fn model_file(&self) -> Result<&File> {
        let mut all = self.files.iter().filter(|f| f.role == Role::Model);
        match (all.next(), all.next()) {
            (Some(file), None) if file.path == MODEL_PATH => Ok(file),
            _ => Err(Error::precondition(
                "the manifest does not list exactly one model.onnx",
            )),
        }
    }
}

/// Refuses a path that is not a plain relative path inside a folder.
pub(crate) fn check_path(path: &str) -> Result<()> {
    let legal =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\\');
    if path.len() > 1024 || path.chars().any(char::is_control) || !path.split('/').all(legal) {
        return Err(Error::precondition(format!(
            "the path '{}' leaves the version's folder or is not a plain relative path",
            crate::core::error::short(path)
        )));
    }

    Ok(())
}
