//! Reads what the analysis needs from the encoded file: nodes with their small
//! attributes, shapes, and small constants. Long lists are left out.

use crate::core::error::{Error, Result};
use crate::core::fields::WireField;
use crate::onnx::graph::fields::fields_of;
use crate::onnx::graph::parts::varint;
use std::collections::HashSet;
use std::rc::Rc;

/// The fields that a message may have more than once.
mod lists {
    pub(super) const MODEL: &[u64] = &[8, 14, 20, 25, 26];
    pub(super) const GRAPH: &[u64] = &[1, 5, 11, 12, 13, 14, 15, 16];
    pub(super) const FUNCTION: &[u64] = &[4, 5, 6, 7, 9, 11, 12, 14];
    pub(super) const NODE: &[u64] = &[1, 2, 5, 9, 10];
    pub(super) const ATTRIBUTE: &[u64] = &[7, 8, 9, 10, 11, 15, 23];
    pub(super) const TENSOR: &[u64] = &[1, 4, 5, 6, 7, 10, 11, 13, 16];
    pub(super) const VALUE: &[u64] = &[4];
    pub(super) const SHAPE: &[u64] = &[1];
    pub(super) const NONE: &[u64] = &[];
}

#[cfg(test)]
mod tests;

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
    /// A subgraph.
    pub graph: Option<Rc<GraphView<'f>>>,
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

/// The fields of a message. A field that is given twice, and not in `lists`, is refused: a reader of
/// the format would merge the two, or take one of them.
fn fields<'f>(
    message: &'f [u8],
    lists: &'static [u64],
) -> impl Iterator<Item = Result<(u64, WireField<'f>)>> {
    let mut seen = 0_u64;
    fields_of(message).map(move |field| {
        let (tag, field) = field?;
        // The format has no higher field.
        let bit = if tag < 64 { 1 << tag } else { 0 };
        if seen & bit != 0 && !lists.contains(&tag) {
            return Err(Error::invalid("the file gives a field twice"));
        }
        seen |= bit;
        Ok((tag, field))
    })
}

pub(super) fn model(file: &[u8]) -> Result<ModelView<'_>> {
    let mut model = ModelView {
        graph: GraphView::default(),
        opsets: Vec::new(),
        functions: Vec::new(),
    };
    for field in fields(file, lists::MODEL) {
        match field? {
            (7, WireField::Body(body)) => model.graph = graph(body)?,
            (8, WireField::Body(body)) => add(&mut model.opsets, opset(body)?)?,
            (25, WireField::Body(body)) => model.functions.push(function(body)?),
            _ => {}
        }
    }

    Ok(model)
}

fn graph(message: &[u8]) -> Result<GraphView<'_>> {
    let mut graph = GraphView::default();
    for field in fields(message, lists::GRAPH) {
        match field? {
            (1, WireField::Body(body)) => graph.nodes.push(node(body)?),
            (5, WireField::Body(body)) => graph.initializers.push(tensor(body)?),
            (11, WireField::Body(body)) => graph.inputs.push(value(body)?),
            (12, WireField::Body(body)) => graph.outputs.push(value(body)?.name),
            _ => {}
        }
    }

    Ok(graph)
}

fn function(message: &[u8]) -> Result<FunctionView<'_>> {
    let mut function = FunctionView::default();
    for field in fields(message, lists::FUNCTION) {
        match field? {
            (1, WireField::Body(body)) => function.name = text(body)?,
            (4, WireField::Body(body)) => function.inputs.push(text(body)?),
            (5, WireField::Body(body)) => function.outputs.push(text(body)?),
            (7, WireField::Body(body)) => function.nodes.push(node(body)?),
            (9, WireField::Body(body)) => add(&mut function.opsets, opset(body)?)?,
            (10, WireField::Body(body)) => function.domain = domain(body)?,
            (11, WireField::Body(body)) => function.defaults.push(attribute(body)?),
            _ => {}
        }
    }

    Ok(function)
}

/// Adds an operator set. A file may import it twice, but in one version.
fn add<'f>(opsets: &mut Opsets<'f>, new: (&'f str, i64)) -> Result<()> {
    match opsets.iter().find(|(domain, _)| *domain == new.0) {
        None => opsets.push(new),
        Some((_, version)) if *version == new.1 => {}
        Some(_) => {
            return Err(Error::invalid(
                "the file imports two versions of an operator set",
            ));
        }
    }
    Ok(())
}

fn opset(message: &[u8]) -> Result<(&str, i64)> {
    let (mut name, mut version) = ("", 0);
    for field in fields(message, lists::NONE) {
        match field? {
            (1, WireField::Body(body)) => name = domain(body)?,
            (2, WireField::Number(n)) => version = n.cast_signed(),
            _ => {}
        }
    }

    Ok((name, version))
}

/// `ai.onnx` is the long name of the default domain.
fn domain(name: &[u8]) -> Result<&str> {
    let name = text(name)?;
    Ok(if name == "ai.onnx" { "" } else { name })
}

fn text(bytes: &[u8]) -> Result<&str> {
    str::from_utf8(bytes).map_err(|_| Error::invalid("not an ONNX model: a name is not UTF-8"))
}

fn node(message: &[u8]) -> Result<NodeView<'_>> {
    let mut node = NodeView::default();
    for field in fields(message, lists::NODE) {
        match field? {
            (1, WireField::Body(body)) => node.inputs.push(text(body)?),
            (2, WireField::Body(body)) => node.outputs.push(text(body)?),
            (3, WireField::Body(body)) => node.name = text(body)?,
            (4, WireField::Body(body)) => node.op = text(body)?,
            (5, WireField::Body(body)) => node.attributes.push(attribute(body)?),
            (7, WireField::Body(body)) => node.domain = domain(body)?,
            _ => {}
        }
    }
    let mut names = HashSet::new();
    if !node.attributes.iter().all(|given| names.insert(given.name)) {
        return Err(Error::invalid("a node gives an attribute twice"));
    }

    Ok(node)
}

fn attribute(message: &[u8]) -> Result<AttributeView<'_>> {
    let mut attribute = AttributeView::default();
    for field in fields(message, lists::ATTRIBUTE) {
        match field? {
            (1, WireField::Body(body)) => attribute.name = text(body)?,
            (3, WireField::Number(n)) => attribute.int = Some(n.cast_signed()),
            (4, WireField::Body(body)) => attribute.text = str::from_utf8(body).ok(),
            (5, WireField::Body(body)) => attribute.tensor = Some(tensor(body)?),
            (6, WireField::Body(body)) => attribute.graph = Some(Rc::new(graph(body)?)),
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
    let (mut kind, mut raw, mut is_elsewhere) = (0, None, false);
    for field in fields(message, lists::TENSOR) {
        match field? {
            (1, WireField::Number(n)) => tensor.dims.push(n.cast_signed()),
            (1, WireField::Body(packed)) => match whole_numbers(packed)? {
                Some(dims) => tensor.dims.extend(dims),
                None => return Err(Error::invalid("a constant has too many axes")),
            },
            (2, WireField::Number(n)) => kind = n,
            (8, WireField::Body(body)) => tensor.name = text(body)?,
            (9, WireField::Body(body)) => raw = Some(body),
            (14, WireField::Number(location)) => is_elsewhere = location != 0,
            _ => {}
        }
    }
    let count = tensor.dims.iter().try_fold(1_i64, |n, d| n.checked_mul(*d));
    let count = count.and_then(|n| usize::try_from(n).ok());
    let Some(count) = count.filter(|n| *n <= NUMBERS_MAX && !is_elsewhere) else {
        return Ok(tensor);
    };

    let numbers = match raw {
        Some(raw) => elements(kind, raw),
        None => listed(message, kind)?,
    };
    tensor.numbers = numbers.filter(|n| n.len() == count);
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

    let element = |bytes: &[u8]| match (kind, bytes) {
        (FLOAT, &[a, b, c, d]) => whole(f32::from_le_bytes([a, b, c, d])),
        (INT32, &[a, b, c, d]) => Some(i32::from_le_bytes([a, b, c, d]).into()),
        (_, &[a]) => truth(a.into()),
        (_, bytes) => bytes.try_into().ok().map(i64::from_le_bytes),
    };
    Some(raw.chunks_exact(width).map(element).collect())
}

/// The elements of a tensor without raw data, if they are numbers and few.
fn listed(message: &[u8], kind: u64) -> Result<Option<Vec<Option<i64>>>> {
    let from = match kind {
        FLOAT => 4,
        INT32 | BOOL => 5,
        INT64 => 7,
        _ => return Ok(None),
    };
    let element = |n: u64| match kind {
        INT64 => Some(n.cast_signed()),
        // The format takes the lower half.
        INT32 => Some((n as i32).into()),
        _ => truth((n as i32).into()),
    };

    let mut numbers = Vec::new();
    for field in fields_of(message) {
        match field? {
            (tag, _) if tag != from => {}
            (_, WireField::Number(n)) if kind != FLOAT => numbers.push(element(n)),
            (_, WireField::Body(packed)) if kind == FLOAT => {
                numbers.extend(elements(FLOAT, packed).unwrap_or_default());
            }
            (_, WireField::Body(packed)) => {
                let more = whole_numbers(packed)?.unwrap_or_default();
                numbers.extend(more.into_iter().map(|n| element(n.cast_unsigned())));
            }
            _ => return Ok(None),
        }
        if numbers.len() > NUMBERS_MAX {
            return Ok(None);
        }
    }
    Ok(Some(numbers))
}

fn whole(float: f32) -> Option<i64> {
    (float.fract() == 0.0 && float.abs() < 1e9).then_some(float as i64)
}

/// A truth value, which is 0 or 1.
fn truth(number: i64) -> Option<i64> {
    matches!(number, 0 | 1).then_some(number)
}

/// A declared input or output.
fn value(message: &[u8]) -> Result<InputView<'_>> {
    let mut value = InputView {
        name: "",
        dims: None,
    };
    for field in fields(message, lists::VALUE) {
        match field? {
            (1, WireField::Body(body)) => value.name = text(body)?,
            (2, WireField::Body(body)) => value.dims = shape(body)?,
            _ => {}
        }
    }

    Ok(value)
}

/// The shape of a tensor's type: `TypeProto.tensor_type.shape.dim`.
fn shape(kind: &[u8]) -> Result<Option<Vec<Option<i64>>>> {
    let mut tensor = None;
    for field in fields(kind, lists::NONE) {
        match field? {
            (1, WireField::Body(body)) => tensor = Some(body),
            // A name for what the axes mean.
            (6, _) => {}
            // It is of another kind, too.
            _ => return Ok(None),
        }
    }
    let Some(tensor) = tensor else {
        return Ok(None);
    };
    let mut shape = None;
    for field in fields(tensor, lists::NONE) {
        if let (2, WireField::Body(body)) = field? {
            shape = Some(body);
        }
    }
    let Some(shape) = shape else {
        return Ok(None);
    };

    let mut lengths = Vec::new();
    for field in fields(shape, lists::SHAPE) {
        if let (1, WireField::Body(dim)) = field? {
            lengths.push(length(dim)?);
        }
    }
    Ok(Some(lengths))
}

/// The length of an axis, if it is fixed. One with a name as well is not.
fn length(dim: &[u8]) -> Result<Option<i64>> {
    let (mut fixed, mut is_named) = (None, false);
    for field in fields(dim, lists::NONE) {
        match field? {
            (1, WireField::Number(n)) => fixed = Some(n.cast_signed()),
            (2, _) => is_named = true,
            _ => {}
        }
    }

    Ok(fixed.filter(|n| *n >= 0 && !is_named))
}
