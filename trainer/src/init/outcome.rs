//! Columns that are empty in the rows without a target: known only after the outcome, as the target is.

use crate::data::look::{LookedColumn, LookedTable};
use crate::data::unlabelled::{MissingBeside, OutcomeDoubt};
use ortus::core::error::short;

/// A column that may be known too late.
pub(super) struct LateColumn {
    pub name: String,
    pub is_left_out: bool,
    pub what: String,
    pub way_out: &'static str,
}

/// Returns the columns that are missing where the target is, of those without another role.
pub(super) fn late_columns(
    table: &LookedTable,
    target: &str,
    is_free: impl Fn(&str) -> bool,
) -> Vec<LateColumn> {
    let Some(of_target) = table.columns.iter().find(|column| column.name == target) else {
        return Vec::new();
    };
    let beside = |column: &LookedColumn| MissingBeside {
        unlabelled: column.missing_with_target,
        of_unlabelled: of_target.missing,
        labelled: column.missing - column.missing_with_target,
        of_labelled: table.rows - of_target.missing,
    };
    let free = table.columns.iter().filter(|column| is_free(&column.name));
    let all: Vec<(&LookedColumn, Option<OutcomeDoubt>)> = free
        .map(|column| (column, beside(column).doubt()))
        .collect();
    // Rows that are empty altogether tell nothing.
    if all.iter().all(|(_, doubt)| doubt.is_some()) {
        return Vec::new();
    }
    let late = |(column, doubt): (&LookedColumn, Option<OutcomeDoubt>)| {
        let told = format!(
            "'{}' {}",
            short(&column.name),
            beside(column).told(short(target))
        );
        let is_left_out = doubt? == OutcomeDoubt::IsOutcome;
        let (why, way_out) = match is_left_out {
            true => (
                ", as something known only after the outcome is; it is left out",
                "remove it from 'ignore' if it is known when a prediction is made",
            ),
            false => (
                "; it may be known only after the outcome",
                "name it in 'ignore' of [schema] unless it is known when a prediction is made",
            ),
        };
        Some(LateColumn {
            name: column.name.clone(),
            is_left_out,
            what: format!("{told}{why}"),
            way_out,
        })
    };
    all.into_iter().filter_map(late).collect()
}
