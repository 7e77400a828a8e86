//! The counts of one server over one interval, to be added to those of other servers: the cells of
//! each column. Versioned, because servers of two releases may share a store.

use super::layout::Side;
use super::window::ColumnTally;
use serde::{Deserialize, Serialize};

/// The format written, and the newest that is read.
pub(crate) const FORMAT: u32 = 1;

/// The counts of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sketches {
    pub format: u32,
    pub versions: Vec<Sketch>,
}

/// The counts of one version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sketch {
    pub model: String,
    pub version: u64,
    pub digest: String,
    pub rows: u64,
    pub columns: Vec<SketchCounts>,
}

/// The counts of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SketchCounts {
    pub name: String,
    pub input: bool,
    pub counts: Vec<u32>,
    pub missing: u32,
    /// The least and the greatest number, if there were numbers.
    pub ends: Option<(f64, f64)>,
}

impl SketchCounts {
    /// Takes the counts of a column.
    pub(super) fn of((name, side): (&str, Side), tally: &ColumnTally) -> Self {
        Self {
            name: name.to_owned(),
            input: side == Side::Input,
            counts: tally.counts.clone(),
            missing: tally.missing,
            ends: (tally.ends.0 <= tally.ends.1).then_some(tally.ends),
        }
    }

    /// Returns the counts; none if their cells differ from those expected.
    pub(super) fn tally(&self, cells: usize) -> Option<ColumnTally> {
        let ends = self.ends.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        (self.counts.len() == cells).then(|| ColumnTally {
            counts: self.counts.clone(),
            missing: self.missing,
            ends,
        })
    }
}
