//! The file of an explanation in a version: a line of JSON with the features, then the numbers, little-endian. A tree
//! is written split by split, each before its sides, so that no file holds anything but trees. Everything is checked
//! at read: what belongs together, finite numbers, the depth, and that nothing is left over.

#[cfg(test)]
mod tests;

use super::linear::{CODES, LinearPart, LinearTerm};
use super::model::{
    ExplainedFeature, ExplainedModel, ExplainedModelParts, ExplainedParts, SCORES_MAX, ScoreScale,
};
use super::trees::{CoverNode, CoverTest, CoverTree, TreeBuilder};
use crate::core::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// The format written, and the newest that is read.
pub const FORMAT: u32 = 1;
/// The largest file.
pub const BYTES_MAX: u64 = 16 << 20;

/// The marks before a leaf, a split of numbers by the side of missing ones, and a split of categories.
const LEAF: u8 = 0;
const NUMBER_MISSING_LEFT: u8 = 1;
const NUMBER_MISSING_RIGHT: u8 = 2;
const CATEGORY: u8 = 3;
/// The fewest bytes of a tree: a leaf.
const TREE_BYTES_MIN: usize = 9;

/// What kind of model is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ExplainedKind {
    Trees,
    Linear,
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileHead {
    format: u32,
    kind: ExplainedKind,
    scale: ScoreScale,
    scores: usize,
    /// The number of trees; 0 for a linear model.
    trees: usize,
    classes: Vec<String>,
    features: Vec<ExplainedFeature>,
}

/// Writes a model.
pub fn write(model: &ExplainedModel) -> Result<Vec<u8>> {
    let parts = model.parts();
    let (kind, trees) = match &parts.parts {
        ExplainedParts::Trees(trees) => (ExplainedKind::Trees, trees.len()),
        ExplainedParts::Linear(_) => (ExplainedKind::Linear, 0),
    };
    let head = FileHead {
        format: FORMAT,
        kind,
        scale: parts.scale,
        scores: parts.start.len(),
        trees,
        classes: parts.classes.clone(),
        features: parts.features.clone(),
    };

    let mut bytes = serde_json::to_vec(&head)
        .map_err(|e| Error::internal("write the explanation").with_source(e))?;
    bytes.push(b'\n');
    put_doubles(&mut bytes, &parts.start);
    match &parts.parts {
        ExplainedParts::Trees(trees) => trees.iter().for_each(|tree| put_tree(&mut bytes, tree)),
        ExplainedParts::Linear(all) => all.iter().for_each(|part| put_part(&mut bytes, part)),
    }
    Ok(bytes)
}

fn put_doubles(bytes: &mut Vec<u8>, values: &[f64]) {
    values
        .iter()
        .for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
}

fn put_floats(bytes: &mut Vec<u8>, values: &[f32]) {
    values
        .iter()
        .for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
}

fn put_tree(bytes: &mut Vec<u8>, tree: &CoverTree) {
    for node in &tree.nodes {
        match (node, tree.test(node)) {
            (CoverNode::Leaf { value, rows }, _) => {
                bytes.push(LEAF);
                put_floats(bytes, &[*value]);
                bytes.extend_from_slice(&rows.to_le_bytes());
            }
            (
                _,
                Some((
                    feature,
                    CoverTest::UpTo {
                        threshold,
                        missing_left,
                    },
                )),
            ) => {
                bytes.push(match missing_left {
                    true => NUMBER_MISSING_LEFT,
                    false => NUMBER_MISSING_RIGHT,
                });
                bytes.extend_from_slice(&feature.to_le_bytes());
                put_floats(bytes, &[threshold]);
            }
            (_, Some((feature, CoverTest::OneOf(set)))) => {
                bytes.push(CATEGORY);
                bytes.extend_from_slice(&feature.to_le_bytes());
                set.iter()
                    .for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
            }
            (_, None) => {}
        }
    }
}

fn put_part(bytes: &mut Vec<u8>, part: &LinearPart) {
    match &part.term {
        LinearTerm::Number {
            mean,
            spread,
            clip,
            weights,
            missing,
        } => {
            put_floats(bytes, &[*mean, *spread, *clip]);
            put_floats(bytes, weights);
            put_floats(bytes, missing);
        }
        LinearTerm::Category(weights) => put_floats(bytes, weights),
    }
    put_doubles(bytes, &part.means);
}

/// Reads a model. Refuses a file that is too large, of a newer format, damaged, or that goes on after its end.
pub fn read(bytes: &[u8]) -> Result<ExplainedModel> {
    read_parts(bytes).map_err(|error| error.context("the explanation"))
}

fn read_parts(bytes: &[u8]) -> Result<ExplainedModel> {
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Error::precondition(format!("is over {BYTES_MAX} bytes")));
    }
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let end = end.ok_or_else(|| Error::precondition("has no end of its first line"))?;
    let head = head(&bytes[..end])?;
    let mut rest = RestOfFile(&bytes[end + 1..]);

    // Before room is made for them.
    if !(1..=SCORES_MAX).contains(&head.scores) {
        return Err(Error::precondition(format!(
            "has {} scores; 1 to {SCORES_MAX} are possible",
            head.scores
        )));
    }
    if head.trees > rest.0.len() / TREE_BYTES_MIN {
        return Err(Error::precondition(format!(
            "has no room for its {} trees",
            head.trees
        )));
    }

    let start = rest.doubles(head.scores)?;
    let parts = match head.kind {
        ExplainedKind::Trees => {
            let all = (0..head.trees).map(|_| rest.tree());
            ExplainedParts::Trees(all.collect::<Result<_>>()?)
        }
        ExplainedKind::Linear => {
            let all = head.features.iter();
            let all = all.map(|feature| rest.part(feature.categories.is_some(), head.scores));
            ExplainedParts::Linear(all.collect::<Result<_>>()?)
        }
    };
    if !rest.0.is_empty() {
        return Err(Error::precondition(format!(
            "goes on for {} bytes after its end",
            rest.0.len()
        )));
    }
    ExplainedModel::new(ExplainedModelParts {
        features: head.features,
        classes: head.classes,
        scale: head.scale,
        start,
        parts,
    })
}

fn head(line: &[u8]) -> Result<FileHead> {
    #[derive(Deserialize)]
    struct HeadFormat {
        format: u32,
    }
    let damaged = |e: serde_json::Error| {
        Error::precondition(format!("has a first line that cannot be read: {e}"))
    };
    let HeadFormat { format } = serde_json::from_slice(line).map_err(damaged)?;
    if format != FORMAT {
        return Err(Error::precondition(format!(
            "is of format {format}, but this ortus reads format {FORMAT}; use a newer ortus"
        )));
    }
    serde_json::from_slice(line).map_err(damaged)
}

/// What of a file was not read yet.
struct RestOfFile<'f>(&'f [u8]);

impl RestOfFile<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or_else(|| Error::precondition("ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn double(&mut self) -> Result<f64> {
        self.take().map(f64::from_le_bytes)
    }

    fn float(&mut self) -> Result<f32> {
        self.take().map(f32::from_le_bytes)
    }

    fn doubles(&mut self, count: usize) -> Result<Vec<f64>> {
        (0..count).map(|_| self.double()).collect()
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>> {
        (0..count).map(|_| self.float()).collect()
    }

    fn tree(&mut self) -> Result<CoverTree> {
        let mut tree = TreeBuilder::default();
        while !tree.is_complete() {
            let [mark] = self.take()?;
            if mark == LEAF {
                let value = self.float()?;
                tree.leaf(value, u32::from_le_bytes(self.take()?))?;
                continue;
            }
            let feature = u32::from_le_bytes(self.take()?) as usize;
            let test = match mark {
                NUMBER_MISSING_LEFT | NUMBER_MISSING_RIGHT => CoverTest::UpTo {
                    threshold: self.float()?,
                    missing_left: mark == NUMBER_MISSING_LEFT,
                },
                CATEGORY => {
                    let mut set = [0; 4];
                    for word in &mut set {
                        *word = u64::from_le_bytes(self.take()?);
                    }
                    CoverTest::OneOf(set)
                }
                _ => {
                    return Err(Error::precondition(format!(
                        "has a node of the unknown kind {mark}"
                    )));
                }
            };
            tree.split(feature, &test)?;
        }
        tree.finish()
    }

    fn part(&mut self, is_category: bool, scores: usize) -> Result<LinearPart> {
        let term = match is_category {
            true => LinearTerm::Category(self.floats(CODES * scores)?),
            false => LinearTerm::Number {
                mean: self.float()?,
                spread: self.float()?,
                clip: self.float()?,
                weights: self.floats(scores)?,
                missing: self.floats(scores)?,
            },
        };
        Ok(LinearPart {
            term,
            means: self.doubles(scores)?,
        })
    }
}
