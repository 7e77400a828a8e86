//! Counts the parts of an ONNX file before it is decoded: a few bytes of a file can
//! become hundreds in memory, so a small file could exhaust it. Knows which
//! fields repeat, not what they mean.

use super::truncated;
use crate::core::error::{Error, Result};
use crate::core::fields as wire;

/// The most nodes, those of subgraphs and functions included.
pub(super) const NODES_MAX: usize = 1_000_000;
/// The most repeated parts of any kind: nodes, their inputs and attributes,
/// initializers, dimensions.
pub(super) const PARTS_MAX: usize = 8_000_000;
/// The deepest nesting of messages, the decoder's own limit.
const DEPTH_MAX: usize = 100;

/// Refuses a file with more than [`NODES_MAX`] nodes or [`PARTS_MAX`] parts,
/// or whose framing is broken.
pub(super) fn check(file: &[u8]) -> Result<()> {
    PartCount::default().message(MessageLevel::Model, file, 0)
}

/// The messages that can hold many parts.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum MessageLevel {
    Model,
    Function,
    Graph,
    Node,
    Attribute,
    Tensor,
    Value,
    Type,
    TensorType,
    Shape,
    /// Numbers, packed.
    Packed,
    /// A part that is counted, but whose content is not.
    Leaf,
}

impl MessageLevel {
    /// Whether messages of this kind can hold weights, at any depth.
    pub(super) fn holds_bulk(self) -> bool {
        matches!(
            self,
            Self::Function | Self::Graph | Self::Node | Self::Attribute | Self::Tensor
        )
    }

    /// Whether field `tag` can be large: the data of a tensor, or the list of an
    /// attribute.
    pub(super) fn is_bulk(self, tag: u64) -> bool {
        match self {
            Self::Tensor => matches!(tag, 4..=7 | 9..=11),
            Self::Attribute => matches!(tag, 7..=9),
            _ => false,
        }
    }

    /// The kind of field `tag`, if it is counted.
    pub(super) fn child(self, tag: u64) -> Option<Self> {
        Some(match (self, tag) {
            (Self::Model, 7) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 25) => Self::Function,
            (Self::Graph, 1) | (Self::Function, 7) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) => Self::Tensor,
            (Self::Graph, 11 | 12) => Self::Value,
            (Self::Node, 5) => Self::Attribute,
            (Self::Value, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Tensor, 1) => Self::Packed,
            (Self::Model, 8) | (Self::Node, 1 | 2) | (Self::Tensor, 13) | (Self::Shape, 1) => {
                Self::Leaf
            }
            _ => return None,
        })
    }
}

#[derive(Default)]
struct PartCount {
    nodes: usize,
    parts: usize,
}

impl PartCount {
    fn message(&mut self, level: MessageLevel, mut rest: &[u8], depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::invalid(format!(
                "not an ONNX model: nested deeper than {DEPTH_MAX}"
            )));
        }

        while !rest.is_empty() {
            let key = varint(&mut rest)?;
            let child = level.child(key >> 3);
            match key & 7 {
                0 => {
                    varint(&mut rest)?;
                    // Unpacked numbers are separate fields.
                    if child.is_some() {
                        self.add(MessageLevel::Leaf, 1)?;
                    }
                }
                1 => drop(take(&mut rest, 8)?),
                5 => drop(take(&mut rest, 4)?),
                2 => {
                    let length = varint(&mut rest)?;
                    let body = take(&mut rest, length)?;
                    match child {
                        Some(MessageLevel::Packed) => self.add(MessageLevel::Packed, body.len())?,
                        Some(MessageLevel::Leaf) => self.add(MessageLevel::Leaf, 1)?,
                        Some(child) => {
                            self.add(child, 1)?;
                            self.message(child, body, depth + 1)?;
                        }
                        None => {}
                    }
                }
                _ => return Err(truncated()),
            }
        }

        Ok(())
    }

    fn add(&mut self, level: MessageLevel, parts: usize) -> Result<()> {
        self.parts += parts;
        self.nodes += usize::from(level == MessageLevel::Node);
        if self.nodes > NODES_MAX {
            return Err(Error::invalid(format!(
                "the model has over {NODES_MAX} nodes"
            )));
        }

        if self.parts > PARTS_MAX {
            return Err(Error::invalid(format!(
                "the model has over {PARTS_MAX} parts"
            )));
        }

        Ok(())
    }
}

pub(in crate::onnx) fn varint(rest: &mut &[u8]) -> Result<u64> {
    wire::varint(rest).map_err(|_| truncated())
}

pub(super) fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8]> {
    wire::take(rest, length).map_err(|_| truncated())
}
