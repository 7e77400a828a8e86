//! Columns that tell a model nothing.

use super::RemarkRank;
use crate::data::look::{LookedColumn, LookedKind, RowName};

/// Why a column is no feature.
pub(super) struct Useless {
    pub why: &'static str,
    pub rank: RemarkRank,
    pub what: &'static str,
    pub way_out: &'static str,
}

impl Useless {
    pub(super) fn of(column: &LookedColumn) -> Option<Self> {
        let useless = match (column.kind, column.row_name) {
            (LookedKind::Missing, _) => Self {
                why: "no row has a value",
                rank: RemarkRank::Empty,
                what: "has no value in any row, and is left out",
                way_out: "",
            },
            (LookedKind::Constant, _) => Self {
                why: "one value in all rows",
                rank: RemarkRank::Empty,
                what: "has one value in all rows, and is left out",
                way_out: "",
            },
            (_, Some(RowName::Identifies)) => Self {
                why: "identifies the row",
                rank: RemarkRank::RowName,
                what: "has its own value in nearly every row, and is left out",
                way_out: "remove it from 'ignore' if it tells more than which row it is",
            },
            (_, Some(RowName::Counts)) => Self {
                why: "counts the rows",
                rank: RemarkRank::RowName,
                what: "grows with every row as a counter does, and is left out",
                way_out: "remove it from 'ignore' if it is an amount",
            },
            (_, None) => return None,
        };
        Some(useless)
    }
}
