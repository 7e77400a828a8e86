//! The table of slices: how each part of the rows stands.

use crate::observe::report::chart::number;
use crate::observe::report::drift::{ColumnDrift, PartDrift, VersionDrift};
use crate::observe::report::status;
use crate::observe::report::story::grouped;
use maud::{Markup, html};

/// Writes the table, parts in alarm first.
pub(super) fn section(drift: &VersionDrift) -> Markup {
    if drift.parts.is_empty() {
        return html! {};
    }
    let mut order: Vec<&PartDrift> = drift.parts.iter().collect();
    order.sort_by_key(|part| part.alarms == 0);
    html! {
        h3 { "Slices" }
        div class="wide" {
            table {
                tr {
                    th { "Part" } th { "Baseline rows" } th { "Rows now" } th { "Column" }
                    th { "Distance" } th { "Status" }
                }
                @for part in order { (rows(part, drift)) }
            }
        }
        p class="quiet" {
            "Each part is compared with the same part of the baseline. Of a part without an alarm, the column that is nearest to one is listed."
        }
    }
}

fn rows(part: &PartDrift, drift: &VersionDrift) -> Markup {
    html! {
        @if part.columns.is_empty() {
            tr { (head(part)) td { "–" } td {} td {} }
        }
        @for column in &part.columns {
            tr { (head(part)) (cells(column, drift)) }
        }
    }
}

fn head(part: &PartDrift) -> Markup {
    html! {
        td { b { (part.of.slice) } " is " (part.of.part) }
        td class="n" { (grouped(part.baseline_rows as f64)) }
        td class="n" { (grouped(part.rows as f64)) }
    }
}

fn cells(column: &ColumnDrift, drift: &VersionDrift) -> Markup {
    let is_alarm = column.alarms() > 0;
    html! {
        td { (column.name) }
        td class="n" {
            @if let Some(test) = status::main_test(column) {
                (number(test.value)) " (" (number(test.lower)) ", " (number(test.threshold)) ")"
            }
        }
        td class=[is_alarm.then_some("alarm")] { (status::text(column, drift)) }
    }
}
