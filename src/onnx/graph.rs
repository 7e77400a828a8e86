//! Reads what an ONNX file declares: its signature, operators and external data.
//! Works in safe Rust, before the C++ of ONNX Runtime reads the file. Does not
//! check operators or weights, and runs nothing.

mod declared;
mod end;
pub(in crate::onnx) mod fields;
pub(in crate::onnx) mod maps;
mod outline;
pub(in crate::onnx) mod parts;
#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::model::answered::{AnsweredShapes, ReplacedShape};
use crate::core::model::optional::OptionalInput;
use crate::core::model::padding::AxisNames;
use crate::core::model::task::OutputEnd;
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::DType;
use crate::proto::onnx::{FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto};
use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeSet, HashMap};
use std::path::{Component, Path, PathBuf};

/// The largest ONNX file: protobuf's own limit. Weights beyond it are external data.
pub const MODEL_BYTES_MAX: u64 = 2 << 30;
/// The most files a model may keep its weights in.
pub(crate) const EXTERNAL_FILES_MAX: usize = 10_000;
/// The most functions a model may define.
pub(crate) const FUNCTIONS_MAX: usize = 4_096;
/// The most operator sets a model may import.
pub(crate) const OPSETS_MAX: usize = 1_024;

/// The value of `TensorProto.data_location` for external data.
const EXTERNAL: i32 = 1;

/// What an ONNX file declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    /// Inputs and outputs, in the graph's order.
    pub signature: Signature,
    /// The names of their dynamic axes.
    pub axis_names: AxisNames,
    /// The operator that computes each output.
    pub ends: Vec<OutputEnd>,
    /// Imported operator sets, as `(domain, version)`; the default domain is empty.
    pub opsets: Vec<(String, i64)>,
    /// Every `(domain, operator)` used, in subgraphs and functions too; calls of
    /// the model's own functions are not operators.
    pub operators: BTreeSet<(String, String)>,
    /// The version of the file format.
    pub ir_version: i64,
    /// The tool that wrote the file; may be empty.
    pub producer: String,
    /// Files with weights, relative to the model's folder: sorted, each once.
    pub external: Vec<PathBuf>,
}

impl Graph {
    /// Reads an ONNX file of any size without its weights; refuses what
    /// [`Graph::read`] refuses.
    pub(crate) fn read_file(file: &mut std::fs::File) -> Result<Self> {
        let length = file
            .metadata()
            .map_err(|e| Error::unavailable("inspect the model file").with_source(e))?
            .len();
        check_size(length)?;

        Self::read(outline::read(file)?.into())
    }

    /// Decodes an ONNX file. Refuses a file that is not ONNX or over a limit with
    /// `InvalidArgument`, and valid ONNX that cannot be served (an input that is
    /// not a tensor, an unsupported element type) with `FailedPrecondition`.
    pub fn read(bytes: Bytes) -> Result<Self> {
        check_size(bytes.len() as u64)?;
        parts::check(&bytes)?;
        let without_maps = maps::as_tensors(&bytes)?;
        let bytes = without_maps.as_ref().map_or(bytes, |w| w.file.clone());
        let model = ModelProto::decode(bytes.clone()).map_err(|e| truncated().with_source(e))?;
        let ir_version = model.ir_version.filter(|v| *v > 0);
        let ir_version =
            ir_version.ok_or_else(|| Error::invalid("not an ONNX model: it has no IR version"))?;
        let graph = model
            .graph
            .ok_or_else(|| Error::invalid("not an ONNX model: it has no graph"))?;
        let mut census = Census::default();

        census.graph(&graph)?;
        census.functions(&model.functions)?;
        if model.opset_import.is_empty() || model.opset_import.len() > OPSETS_MAX {
            let count = model.opset_import.len();
            return Err(Error::invalid(format!(
                "the model imports {count} operator sets, not 1 to {OPSETS_MAX}"
            )));
        }

        let opset = |o: crate::proto::onnx::OperatorSetIdProto| {
            (
                domain(o.domain.as_deref()).to_owned(),
                o.version.unwrap_or_default(),
            )
        };

        let signature = declared::signature(&graph, ir_version)?;
        let mut ends = end::output_ends(&graph, &bytes);
        if let Some(without_maps) = without_maps {
            let outputs = signature.outputs.iter().map(|spec| spec.name.as_str());
            without_maps.note(outputs, &mut ends);
        }
        Ok(Self {
            axis_names: declared::axis_names(&graph, &signature),
            signature,
            ends,
            opsets: model.opset_import.into_iter().map(opset).collect(),
            operators: census.operators,
            ir_version,
            producer: model.producer_name.unwrap_or_default(),
            external: census.external.into_iter().collect(),
        })
    }

    /// Replaces declared shapes of outputs by those that are answered.
    pub(crate) fn follow(&mut self, answered: &AnsweredShapes) -> Vec<ReplacedShape> {
        let replaced = self.signature.follow(answered);
        let outputs = self.signature.outputs.iter();
        for (spec, names) in outputs.zip(&mut self.axis_names.outputs) {
            // Names belong to the axes that were declared.
            if replaced.iter().any(|r| r.output == spec.name) {
                *names = vec![None; spec.shape.as_ref().map_or(0, Vec::len)];
            }
        }
        replaced
    }

    /// Whether the time of a run depends on its number of rows alone: no axis but the
    /// first is dynamic, no input is a string, and no operator's work depends on
    /// values. Optional inputs, which run without a limit of rows, have no dynamic axis.
    pub(crate) fn runs_in_bounded_time(&self) -> bool {
        let fixed = |spec: &TensorSpec| {
            let dims = spec
                .shape
                .as_deref()
                .unwrap_or(&[Dim::Dynamic, Dim::Dynamic]);
            spec.dtype != DType::String
                && dims.iter().skip(1).all(|dim| matches!(dim, Dim::Fixed(_)))
        };

        // Operators of other domains are not known here, except those of trees.
        let known = |(domain, op): &(String, String)| {
            matches!(domain.as_str(), "" | "ai.onnx.ml") && !DATA_DRIVEN.contains(&op.as_str())
        };
        let whole = |o: &OptionalInput| {
            let dims = o.spec.shape.as_deref().unwrap_or(&[Dim::Dynamic]);
            o.spec.dtype != DType::String && dims.iter().all(|dim| matches!(dim, Dim::Fixed(_)))
        };

        self.signature.inputs.iter().all(fixed)
            && self.signature.optional.iter().all(whole)
            && self.operators.iter().all(known)
    }
}

/// Operators whose work depends on the values of a tensor, not only on shapes:
/// loops, and those with an input for the size of the output.
const DATA_DRIVEN: [&str; 27] = [
    "AffineGrid",
    "BlackmanWindow",
    "CenterCropPad",
    "Col2Im",
    "ConstantOfShape",
    "DFT",
    "Expand",
    "HammingWindow",
    "HannWindow",
    "Loop",
    "MaxUnpool",
    "MelWeightMatrix",
    "OneHot",
    "Pad",
    "Range",
    "RegexFullMatch",
    "Resize",
    "STFT",
    "Scan",
    "SequenceMap",
    "StringConcat",
    "StringNormalizer",
    "StringSplit",
    "TfIdfVectorizer",
    "Tile",
    "Unique",
    "Upsample",
];

/// Refuses a model file that is empty or over [`MODEL_BYTES_MAX`].
pub(crate) fn check_size(file_bytes: u64) -> Result<()> {
    match file_bytes {
        0 => Err(Error::invalid("the file is empty")),
        n if n > MODEL_BYTES_MAX => Err(Error::invalid(format!(
            "the file is {n} bytes, over the limit of {MODEL_BYTES_MAX}; keep the weights in external data"
        ))),
        _ => Ok(()),
    }
}

fn truncated() -> Error {
    Error::invalid("not an ONNX model: the file is truncated or not ONNX")
}

/// `ai.onnx` is the long name of the default domain.
fn domain(name: Option<&str>) -> &str {
    name.filter(|d| *d != "ai.onnx").unwrap_or_default()
}

/// Collects operators and external files of graphs, subgraphs and functions.
/// The decoder limits the recursion.
#[derive(Default)]
struct Census {
    operators: BTreeSet<(String, String)>,
    external: BTreeSet<PathBuf>,
}

impl Census {
    fn graph(&mut self, graph: &GraphProto) -> Result<()> {
        graph.initializer.iter().try_for_each(|t| self.tensor(t))?;
        graph.node.iter().try_for_each(|n| self.node(n))
    }

    fn node(&mut self, node: &NodeProto) -> Result<()> {
        let op = node.op_type.as_deref().unwrap_or_default();
        if op.is_empty() {
            return Err(Error::invalid("not an ONNX model: a node has no operator"));
        }
        self.operators
            .insert((domain(node.domain.as_deref()).to_owned(), op.to_owned()));
        for attribute in &node.attribute {
            attribute
                .t
                .iter()
                .chain(&attribute.tensors)
                .try_for_each(|t| self.tensor(t))?;
            attribute
                .g
                .iter()
                .chain(&attribute.graphs)
                .try_for_each(|g| self.graph(g))?;
        }

        Ok(())
    }

    fn tensor(&mut self, tensor: &TensorProto) -> Result<()> {
        if tensor.data_location != Some(EXTERNAL) {
            return Ok(());
        }
        let mut locations = tensor
            .external_data
            .iter()
            .filter(|e| e.key.as_deref() == Some("location"));
        let location = locations.next().and_then(|e| e.value.as_deref());

        // Readers differ in which of two locations they use.
        let (Some(location), None) = (location, locations.next()) else {
            let name = crate::core::error::short(tensor.name.as_deref().unwrap_or_default());
            return Err(Error::invalid(format!(
                "external data of tensor '{name}' must have exactly one location"
            )));
        };

        self.external.insert(relative(location)?);
        if self.external.len() > EXTERNAL_FILES_MAX {
            return Err(Error::invalid(format!(
                "external data is in over {EXTERNAL_FILES_MAX} files"
            )));
        }

        Ok(())
    }

    /// Adds the bodies of functions and removes the calls of them. Refuses recursive
    /// functions, which would expand without end.
    fn functions(&mut self, functions: &[FunctionProto]) -> Result<()> {
        if functions.len() > FUNCTIONS_MAX {
            return Err(Error::invalid(format!(
                "{} functions are over the limit of {FUNCTIONS_MAX}",
                functions.len()
            )));
        }

        let key = |f: &FunctionProto| {
            (
                domain(f.domain.as_deref()).to_owned(),
                f.name.clone().unwrap_or_default(),
            )
        };

        let index: HashMap<_, usize> = functions
            .iter()
            .enumerate()
            .map(|(i, f)| (key(f), i))
            .collect();
        if index.len() < functions.len() {
            return Err(Error::invalid("a function is defined twice"));
        }

        let mut waiting: Vec<(usize, Vec<usize>)> = Vec::new();
        for (i, function) in functions.iter().enumerate() {
            let mut body = Self::default();
            function.node.iter().try_for_each(|n| body.node(n))?;
            waiting.push((
                i,
                body.operators
                    .iter()
                    .filter_map(|o| index.get(o).copied())
                    .collect(),
            ));
            self.operators.append(&mut body.operators);
            self.external.append(&mut body.external);
        }

        self.operators.retain(|o| !index.contains_key(o));
        let mut acyclic = vec![false; functions.len()];
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|(i, calls)| {
                acyclic[*i] = calls.iter().all(|c| acyclic[*c]);
                !acyclic[*i]
            });
            if waiting.len() == before {
                return Err(Error::invalid("functions call each other in a circle"));
            }
        }

        Ok(())
    }
}

/// Reads the location of external data: a relative path inside the folder.
fn relative(location: &str) -> Result<PathBuf> {
    let refuse = |why: &str| {
        Err(Error::invalid(format!(
            "external data location '{}' {why}",
            crate::core::error::short(location)
        )))
    };

    if location.is_empty() {
        return refuse("is empty");
    }
    if location.contains('\\') || location.chars().any(char::is_control) {
        return refuse("has a backslash or a control character");
    }
    // ONNX Runtime takes such a location for an address in its own memory.
    if location.contains("_ORT_MEM_ADDR_") {
        return refuse("is not a file");
    }
    let mut path = PathBuf::new();
    for component in Path::new(location).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir => return refuse("has '..'"),
            Component::RootDir | Component::Prefix(_) => return refuse("is absolute"),
        }
    }

    if path.as_os_str().is_empty() {
        refuse("is not a file")
    } else {
        Ok(path)
    }
}
