//! The counts of one server over one interval, to be added to those of other servers: the cells of
//! each column. Versioned, because servers of two releases may share a store.

use super::baseline::Cells;
use super::layout::Side;
use super::window::ColumnTally;
use serde::{Deserialize, Serialize};

/// The format written, and the newest that is read.
pub(crate) const FORMAT: u32 = 2;

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
    /// The sum of the numbers in each cell; empty for categories.
    pub sums: Vec<f64>,
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
            sums: tally.sums.clone(),
            ends: (tally.ends.0 <= tally.ends.1).then_some(tally.ends),
        }
    }

    /// Returns the counts; none if their cells differ from those expected.
    pub(super) fn tally(&self, cells: &Cells) -> Option<ColumnTally> {
        let mut tally = ColumnTally::new(cells);
        let fits = self.counts.len() == tally.counts.len() && self.sums.len() == tally.sums.len();
        tally.counts.clone_from(&self.counts);
        tally.sums.clone_from(&self.sums);
        tally.missing = self.missing;
        tally.ends = self.ends.unwrap_or(tally.ends);
        fits.then_some(tally)
    }
}
