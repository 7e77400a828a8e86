//! What a baseline knows beyond single columns: the distributions of parts of its rows, and how its
//! numeric inputs fit together.

use super::{BaselineColumn, COLUMNS_MAX};
use crate::core::error::short;
use crate::observe::drift::projection::Projection;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Most parts of a baseline: four slices of 16 categories and missing values.
pub(crate) const PARTS_MAX: usize = 68;
/// Most columns of a part.
pub(crate) const PART_COLUMNS_MAX: usize = 64;

/// The rows of one part of a slice, with distributions of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselinePart {
    /// The input column whose values decide the part of a row.
    pub slice: String,
    /// The category, or the range of numbers.
    pub part: String,
    /// Rows of the part.
    pub rows: u64,
    /// Columns of the inputs.
    pub inputs: Vec<BaselineColumn>,
    /// Columns of the outputs.
    #[serde(default)]
    pub outputs: Vec<BaselineColumn>,
    /// How often the model was wrong in its labelled rows, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<PartLoss>,
}

/// How often the model was wrong in the labelled rows of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartLoss {
    /// Rows with a label.
    pub rows: u64,
    /// Rows of them whose class is wrong, or whose absolute error is over the `abs_error_q90` of all
    /// rows of the baseline.
    pub lost: u64,
}

/// How the numeric inputs fit together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultivariateBaseline {
    /// What the inputs of a row have in common.
    pub projection: Projection,
    /// The distances of the rows from that.
    pub distances: BaselineColumn,
}

impl BaselinePart {
    /// Returns its inputs and outputs.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &BaselineColumn> {
        self.inputs.iter().chain(&self.outputs)
    }
}

/// Says what is wrong with the parts of a baseline that was read.
pub(super) fn check(parts: &[BaselinePart]) -> Result<(), String> {
    if parts.len() > PARTS_MAX {
        return Err(format!(
            "has {} parts of slices; at most {PARTS_MAX} are read",
            parts.len()
        ));
    }
    let mut seen = BTreeSet::new();
    for part in parts {
        let named = format!(
            "part '{}' of the slice '{}'",
            short(&part.part),
            short(&part.slice)
        );
        if !seen.insert((&part.slice, &part.part)) {
            return Err(format!("lists the {named} twice"));
        }
        if part.columns().count() > PART_COLUMNS_MAX.min(COLUMNS_MAX) {
            return Err(format!(
                "has over {PART_COLUMNS_MAX} columns in the {named}"
            ));
        }
        if part.loss.is_some_and(|loss| loss.lost > loss.rows) {
            return Err(format!(
                "counts more wrong rows than labelled ones in the {named}"
            ));
        }
        for column in part.columns() {
            column.check().map_err(|why| {
                format!(
                    "has a column '{}' in the {named} that {why}",
                    short(&column.name)
                )
            })?;
        }
    }
    Ok(())
}
