//! The operator that computes each output of a graph, behind operators that only
//! change names, shapes or types, with the classes it declares.

#[cfg(test)]
mod tests;

use super::GraphProto;
use super::fields::{bodies, fields_of};
use super::parts::varint;
use crate::core::error::Result;
use crate::core::fields::WireField;
use crate::core::model::task::OutputEnd;
use crate::proto::onnx::NodeProto;
use std::collections::HashMap;

/// Operators that keep the values of their input.
const PASSING: [&str; 7] = [
    "Identity",
    "Reshape",
    "Cast",
    "Squeeze",
    "Unsqueeze",
    "Flatten",
    "Normalizer",
];
/// Attributes that name classes.
const NAMING: [&[u8]; 5] = [
    b"classlabels_ints",
    b"classlabels_int64s",
    b"classlabels_strings",
    b"values_int64s",
    b"values_strings",
];
/// The most classes that are read.
pub(super) const CLASS_NAMES_MAX: usize = 4_096;
/// The most operators that are followed back from an output.
const STEPS_MAX: usize = 16;

/// Finds the operator of each output, in their order. `file` is the file of the graph.
pub(super) fn output_ends(graph: &GraphProto, file: &[u8]) -> Vec<OutputEnd> {
    let makers: HashMap<&str, &NodeProto> = graph
        .node
        .iter()
        .flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node)))
        .collect();
    let classes = classes(file).unwrap_or_default();

    let end = |name: &str| {
        let mut node = makers.get(name).copied();
        for _ in 0..STEPS_MAX {
            let passing =
                node.filter(|n| PASSING.contains(&n.op_type.as_deref().unwrap_or_default()));
            let before = passing
                .and_then(|n| n.input.first())
                .and_then(|input| makers.get(input.as_str()));
            match before {
                Some(before) => node = Some(before),
                None => break,
            }
        }
        let named = node.and_then(|n| n.output.iter().find_map(|output| classes.get(output)));
        let operator = node.and_then(|n| n.op_type.clone()).unwrap_or_default();
        OutputEnd {
            operator,
            classes: named.cloned().unwrap_or_default(),
            ..OutputEnd::default()
        }
    };

    graph
        .output
        .iter()
        .map(|output| end(output.name.as_deref().unwrap_or_default()))
        .collect()
}

/// Finds the classes that nodes declare, by their outputs. Reads the encoded file:
/// the decoded attributes of a large forest would fill the memory.
fn classes(file: &[u8]) -> Result<HashMap<String, Vec<String>>> {
    let mut found = HashMap::new();
    for graph in bodies(file, 7) {
        for node in bodies(graph?, 1) {
            let node = node?;
            let named: Vec<Vec<String>> = bodies(node, 5)
                .map(|a| of_attribute(a?))
                .collect::<Result<_>>()?;
            let Some(named) = named.into_iter().find(|classes| !classes.is_empty()) else {
                continue;
            };
            for output in bodies(node, 2) {
                found.insert(String::from_utf8_lossy(output?).into_owned(), named.clone());
            }
        }
    }

    Ok(found)
}

/// The classes that an attribute names; none if it names no classes, and not many more than
/// [`CLASS_NAMES_MAX`].
pub(super) fn of_attribute(attribute: &[u8]) -> Result<Vec<String>> {
    let mut classes = Vec::new();
    if !bodies(attribute, 1).any(|name| name.is_ok_and(|name| NAMING.contains(&name))) {
        return Ok(classes);
    }
    for field in fields_of(attribute) {
        match field? {
            (8, WireField::Number(n)) => classes.push(n.cast_signed().to_string()),
            (8, WireField::Body(mut packed)) => {
                while !packed.is_empty() && classes.len() <= CLASS_NAMES_MAX {
                    classes.push(varint(&mut packed)?.cast_signed().to_string());
                }
            }
            (9, WireField::Body(word)) => classes.push(String::from_utf8_lossy(word).into_owned()),
            _ => {}
        }
        if classes.len() > CLASS_NAMES_MAX {
            break;
        }
    }

    Ok(classes)
}
