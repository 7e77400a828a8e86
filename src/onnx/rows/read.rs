//! Reads what the analysis needs from the encoded file: nodes with their small
//! attributes, shapes, and small constants. Long lists are left out.

use crate::core::error::{Error, Result};
use crate::onnx::graph::fields::{Fields, WireField, bodies};
use crate::onnx::graph::parts::varint;

/// The most elements of a constant, or of a list of an attribute, that are read.
const NUMBERS_MAX: usize = 32;

/// A graph or subgraph.
#[derive(Default)]
pub(super) struct GraphView<'f> {
    pub nodes: Vec<NodeView<'f>>,
    pub initializers: Vec<TensorView<'f>>,
    pub inputs: Vec<InputView<'f>>,
    pub outputs: Vec<&'f str>,
}

/// A declared input; the lengths of dynamic axes are none.
pub(super) struct InputView<'f> {
    pub name: &'f str,
    pub dims: Option<Vec<Option<i64>>>,
}

/// A node.
#[derive(Clone, Default)]
pub(super) struct NodeView<'f> {
    pub name: &'f str,
    pub op: &'f str,
    pub domain: &'f str,
    pub inputs: Vec<&'f str>,
    pub outputs: Vec<&'f str>,
    pub attributes: Vec<AttributeView<'f>>,
}

impl<'f> NodeView<'f> {
    pub(super) fn attribute(&self, name: &str) -> Option<&AttributeView<'f>> {
        self.attributes.iter().find(|a| a.name == name)
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        self.attribute(name).and_then(|a| a.int)
    }

    pub(super) fn text(&self, name: &str) -> Option<&'f str> {
        self.attribute(name).and_then(|a| a.text)
    }

    /// Whether output `at` is used.
    pub(super) fn gives(&self, at: usize) -> bool {
        self.outputs.get(at).is_some_and(|name| !name.is_empty())
    }
}

/// An attribute of a node.
#[derive(Clone, Default)]
pub(super) struct AttributeView<'f> {
    pub name: &'f str,
    pub int: Option<i64>,
    pub text: Option<&'f str>,
    /// Whole numbers; the first few of a long list.
    pub ints: Vec<i64>,
    /// Length of the list, whatever it holds.
    pub listed: usize,
    /// The attribute of the call that it stands for, in a function.
    pub reference: Option<&'f str>,
    pub tensor: Option<TensorView<'f>>,
    /// An encoded subgraph.
    pub graph: Option<&'f [u8]>,
}

/// A constant. An element that is not a whole number is none.
#[derive(Clone, Default)]
pub(super) struct TensorView<'f> {
    pub name: &'f str,
    pub dims: Vec<i64>,
    pub numbers: Option<Vec<Option<i64>>>,
}

/// The version of each operator set, by its domain.
pub(super) type Opsets<'f> = Vec<(&'f str, i64)>;

/// The graph of a model file, and the version of each operator set.
pub(super) struct ModelView<'f> {
    pub graph: GraphView<'f>,
    pub opsets: Opsets<'f>,
    pub functions: Vec<FunctionView<'f>>,
}

/// A function that the model defines.
#[derive(Default)]
pub(super) struct FunctionView<'f> {
    pub domain: &'f str,
    pub name: &'f str,
    pub inputs: Vec<&'f str>,
    pub outputs: Vec<&'f str>,
    pub nodes: Vec<NodeView<'f>>,
    pub opsets: Opsets<'f>,
    /// Attributes with the values that they have where a call gives none.
    pub defaults: Vec<AttributeView<'f>>,
}

pub(super) fn model(file: &[u8]) -> Result<ModelView<'_>> {
    let mut model = ModelView {
        graph: GraphView::default(),
        opsets: Vec::new(),
        functions: Vec::new(),
    };
    let mut has_graph = false;
    for field in (Fields { rest: file }) {
        match field? {
            (7, WireField::Body(body)) if !has_graph => {
                model.graph = graph(body)?;
                has_graph = true;
            }
            // A reader of the format would merge them.
            (7, _) => return Err(Error::invalid("the file has more than one graph")),
            (8, WireField::Body(body)) => add(&mut model.opsets, opset(body)?)?,
            (25, WireField::Body(body)) => model.functions.push(function(body)?),
            _ => {}
        }
    }

    Ok(model)
}

pub(super) fn graph(message: &[u8]) -> Result<GraphView<'_>> {
    let mut graph = GraphView::default();
    for field in (Fields { rest: message }) {
        match field? {
            (1, WireField::Body(body)) => graph.nodes.push(node(body)?),
            (5, WireField::Body(body)) => graph.initializers.push(tensor(body)?),
            (11, WireField::Body(body)) => graph.inputs.push(input(body)?),
            (12, WireField::Body(body)) => graph.outputs.push(name_of(body, 1)?),
            _ => {}
        }
    }

    Ok(graph)
}

fn function(message: &[u8]) -> Result<FunctionView<'_>> {
    let mut function = FunctionView {
        domain: domain_of(message, 10)?,
        ..FunctionView::default()
    };
    for field in (Fields { rest: message }) {
        match field? {
            (1, WireField::Body(body)) => function.name = text(body)?,
            (4, WireField::Body(body)) => function.inputs.push(text(body)?),
            (5, WireField::Body(body)) => function.outputs.push(text(body)?),
            (7, WireField::Body(body)) => function.nodes.push(node(body)?),
            (9, WireField::Body(body)) => add(&mut function.opsets, opset(body)?)?,
            (11, WireField::Body(body)) => function.defaults.push(attribute(body)?),
            _ => {}
        }
    }

    Ok(function)
}

/// Adds an operator set, of which each domain has one.
fn add<'f>(opsets: &mut Opsets<'f>, new: (&'f str, i64)) -> Result<()> {
    if opsets.iter().any(|(domain, _)| *domain == new.0) {
        return Err(Error::invalid(
            "the file imports two operator sets of one domain",
        ));
    }
    opsets.push(new);
    Ok(())
}

fn opset(message: &[u8]) -> Result<(&str, i64)> {
    let mut version = 0;
    for field in (Fields { rest: message }) {
        if let (2, WireField::Number(n)) = field? {
            version = n.cast_signed();
        }
    }

    Ok((domain_of(message, 1)?, version))
}

/// `ai.onnx` is the long name of the default domain.
fn domain_of(message: &[u8], tag: u64) -> Result<&str> {
    let name = name_of(message, tag)?;
    Ok(if name == "ai.onnx" { "" } else { name })
}

fn name_of(message: &[u8], tag: u64) -> Result<&str> {
    bodies(message, tag)
        .last()
        .map_or(Ok(""), |body| text(body?))
}

fn text(bytes: &[u8]) -> Result<&str> {
    str::from_utf8(bytes).map_err(|_| Error::invalid("not an ONNX model: a name is not UTF-8"))
}

fn node(message: &[u8]) -> Result<NodeView<'_>> {
    let mut node = NodeView::default();
    for field in (Fields { rest: message }) {
        match field? {
            (1, WireField::Body(body)) => node.inputs.push(text(body)?),
            (2, WireField::Body(body)) => node.outputs.push(text(body)?),
            (3, WireField::Body(body)) => node.name = text(body)?,
            (4, WireField::Body(body)) => node.op = text(body)?,
            (5, WireField::Body(body)) => node.attributes.push(attribute(body)?),
            _ => {}
        }
    }
    node.domain = domain_of(message, 7)?;

    Ok(node)
}

fn attribute(message: &[u8]) -> Result<AttributeView<'_>> {
    let mut attribute = AttributeView::default();
    for field in (Fields { rest: message }) {
        match field? {
            (1, WireField::Body(body)) => attribute.name = text(body)?,
            (3, WireField::Number(n)) => attribute.int = Some(n.cast_signed()),
            (4, WireField::Body(body)) => attribute.text = str::from_utf8(body).ok(),
            (5, WireField::Body(body)) => attribute.tensor = Some(tensor(body)?),
            (6, WireField::Body(body)) => attribute.graph = Some(body),
            (21, WireField::Body(body)) => attribute.reference = Some(text(body)?),
            (8, WireField::Number(n)) => {
                attribute.listed += 1;
                if attribute.ints.len() < NUMBERS_MAX {
                    attribute.ints.push(n.cast_signed());
                }
            }
            (8, WireField::Body(packed)) => {
                // Each number ends with a byte whose first bit is not set.
                attribute.listed += packed.iter().filter(|byte| **byte < 0x80).count();
                attribute
                    .ints
                    .extend(whole_numbers(packed)?.unwrap_or_default());
            }
            (7, WireField::Body(packed)) => attribute.listed += packed.len() / 4,
            (7, WireField::Fixed) | (9, WireField::Body(_)) => attribute.listed += 1,
            _ => {}
        }
    }

    Ok(attribute)
}

/// Packed numbers; none if they are many.
fn whole_numbers(mut packed: &[u8]) -> Result<Option<Vec<i64>>> {
    let mut numbers = Vec::new();
    while !packed.is_empty() {
        if numbers.len() == NUMBERS_MAX {
            return Ok(None);
        }
        numbers.push(varint(&mut packed)?.cast_signed());
    }

    Ok(Some(numbers))
}

fn tensor(message: &[u8]) -> Result<TensorView<'_>> {
    let mut tensor = TensorView::default();
    let (mut kind, mut raw) = (0, None);
    let mut listed = Vec::new();
    for field in (Fields { rest: message }) {
        match field? {
            (1, WireField::Number(n)) => tensor.dims.push(n.cast_signed()),
            (1, WireField::Body(packed)) => match whole_numbers(packed)? {
                Some(dims) => tensor.dims.extend(dims),
                None => return Err(Error::invalid("a constant has too many axes")),
            },
            (2, WireField::Number(n)) => kind = n,
            (4, WireField::Body(packed)) => raw = Some(packed),
            (5 | 7, WireField::Number(n)) if listed.len() <= NUMBERS_MAX => {
                listed.push(n.cast_signed());
            }
            (5 | 7, WireField::Body(packed)) => {
                listed = whole_numbers(packed)?.unwrap_or_default();
            }
            (8, WireField::Body(body)) => tensor.name = text(body)?,
            (9, WireField::Body(body)) => raw = Some(body),
            _ => {}
        }
    }

    let numbers = match raw {
        Some(raw) => elements(kind, raw),
        None if matches!(kind, INT32 | INT64 | BOOL) => {
            Some(listed.into_iter().map(Some).collect())
        }
        None => None,
    };
    let count = tensor.dims.iter().try_fold(1_i64, |n, d| n.checked_mul(*d));
    // Data that is elsewhere, or too long, was not read.
    tensor.numbers = numbers.filter(|n| i64::try_from(n.len()).ok() == count);
    Ok(tensor)
}

/// The numbers of `TensorProto.DataType`.
const FLOAT: u64 = 1;
const INT32: u64 = 6;
const INT64: u64 = 7;
const BOOL: u64 = 9;

/// The elements of raw data, if they are numbers and few.
fn elements(kind: u64, raw: &[u8]) -> Option<Vec<Option<i64>>> {
    let width = match kind {
        FLOAT | INT32 => 4,
        INT64 => 8,
        BOOL => 1,
        _ => return None,
    };
    if raw.len() > NUMBERS_MAX * width {
        return None;
    }

    let whole = |float: f32| (float.fract() == 0.0 && float.abs() < 1e9).then_some(float as i64);
    let element = |bytes: &[u8]| match (kind, bytes) {
        (FLOAT, &[a, b, c, d]) => whole(f32::from_le_bytes([a, b, c, d])),
        (INT32, &[a, b, c, d]) => Some(i32::from_le_bytes([a, b, c, d]).into()),
        (_, &[a]) => Some(a.into()),
        (_, bytes) => bytes.try_into().ok().map(i64::from_le_bytes),
    };
    Some(raw.chunks_exact(width).map(element).collect())
}

fn input(message: &[u8]) -> Result<InputView<'_>> {
    Ok(InputView {
        name: name_of(message, 1)?,
        dims: shape(message)?,
    })
}

/// The declared shape: `ValueInfoProto.type.tensor_type.shape.dim`.
fn shape(message: &[u8]) -> Result<Option<Vec<Option<i64>>>> {
    let mut rest = message;
    for tag in [2, 1, 2] {
        match bodies(rest, tag).last() {
            Some(body) => rest = body?,
            None => return Ok(None),
        }
    }

    let length = |dim: Result<&[u8]>| {
        let mut fixed = None;
        for field in (Fields { rest: dim? }) {
            if let (1, WireField::Number(n)) = field? {
                fixed = Some(n.cast_signed()).filter(|n| *n >= 0);
            }
        }
        Ok(fixed)
    };
    bodies(rest, 1).map(length).collect::<Result<_>>().map(Some)
}
