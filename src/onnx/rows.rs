//! Whether the rows of a model influence each other, as far as the graph proves it. Each
//! operator of the graph keeps rows apart, mixes them, or is unknown, by its attributes and the
//! shapes of its inputs ([`table`]). Runs nothing.
//!
//! The model file must have passed [`crate::onnx::graph::Graph::read`], which checks its limits.

mod fact;
mod read;
mod rules;
mod table;
#[cfg(test)]
mod tests;
mod walk;

use crate::core::error::{Error, Result, short};
use crate::onnx::graph::maps;
use fact::{Extent, Fact};
use std::fmt;
use std::panic::UnwindSafe;

/// What the graph proves about rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowVerdict {
    /// Each row of the outputs depends on the same row of the inputs only.
    Independent,
    /// Rows influence each other.
    Dependent(RowFinding),
    /// Neither is proven.
    Unknown(RowFinding),
}

/// The node that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowFinding {
    /// Its name; may be empty.
    pub node: String,
    /// Its operator; empty where the doubt is about an input or output.
    pub operator: String,
    pub reason: String,
}

impl fmt::Display for RowFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.operator.is_empty() {
            write!(f, "operator {}", short(&self.operator))?;
        }
        if !self.node.is_empty() {
            write!(f, " of node '{}'", short(&self.node))?;
        }
        if !self.operator.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.reason)
    }
}

/// Analyses a model file, without running it. An analysis that fails proves nothing.
pub(crate) fn analyse(file: &[u8]) -> RowVerdict {
    guarded(|| match maps::as_tensors(file)? {
        Some(served) => decoded(&served.file),
        None => decoded(file),
    })
}

/// The verdict of an analysis; unknown if it panics.
fn guarded(analysis: impl FnOnce() -> Result<RowVerdict> + UnwindSafe) -> RowVerdict {
    let caught = std::panic::catch_unwind(analysis);
    let verdict = caught.unwrap_or_else(|_| Err(Error::internal("the analysis failed")));
    verdict.unwrap_or_else(|error| {
        RowVerdict::Unknown(RowFinding {
            node: String::new(),
            operator: String::new(),
            reason: error.message,
        })
    })
}

/// The operators that the analysis knows: domain, name, and what it does with rows.
pub(crate) fn operators() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let groups = table::TABLE.iter();
    groups.flat_map(|group| {
        let names = group.names();
        names.map(|name| (group.domain, name, group.reason))
    })
}

fn decoded(file: &[u8]) -> Result<RowVerdict> {
    let model = read::model(file)?;
    let walk = walk::Walk::new(&model);
    let outputs = match walk.run() {
        Ok(outputs) => outputs,
        Err(finding) => return Ok(RowVerdict::Dependent(finding)),
    };

    let mut is_proven = !model.graph.outputs.is_empty();
    for (name, fact) in model.graph.outputs.iter().zip(outputs) {
        match fact {
            Some(fact) if !has_one_row_each(&fact) => {
                return Ok(RowVerdict::Dependent(RowFinding {
                    node: String::new(),
                    operator: String::new(),
                    reason: format!(
                        "output '{}' does not have one row for each input row",
                        short(name)
                    ),
                }));
            }
            Some(_) => {}
            None => is_proven = false,
        }
    }

    match walk.unknown() {
        Some(finding) if !is_proven => Ok(RowVerdict::Unknown(finding)),
        _ if is_proven => Ok(RowVerdict::Independent),
        _ => Err(Error::invalid("an output of the graph is not computed")),
    }
}

fn has_one_row_each(fact: &Fact) -> bool {
    let first = fact.dims.as_ref().and_then(|dims| dims.first());
    fact.axis == Some(0) && first == Some(&Extent::rows())
}
