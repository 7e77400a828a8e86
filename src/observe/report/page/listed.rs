//! The table of columns: what each was, what it is now, and what its tests say.

use super::side_name;
use crate::core::count::counted;
use crate::observe::report::chart::number;
use crate::observe::report::column::ColumnSummary;
use crate::observe::report::drift::{ColumnDrift, VersionDrift};
use crate::observe::report::status::{self, ColumnStanding};
use crate::observe::report::story::percent;
use maud::{Markup, html};

/// Columns that are listed.
const LISTED_MAX: usize = 200;

/// Writes the table, columns in alarm first, then by importance.
pub(super) fn section(drift: &VersionDrift) -> Markup {
    if drift.columns.is_empty() {
        return html! {};
    }
    let mut order: Vec<&ColumnDrift> = drift.columns.iter().collect();
    let rank = |column: &ColumnDrift| match status::standing(column) {
        ColumnStanding::Alarm => 0,
        ColumnStanding::Unknown => 1,
        ColumnStanding::Calm => 2,
        ColumnStanding::Untested => 3,
    };
    let weight = |column: &ColumnDrift| column.importance.unwrap_or(0.0);
    order.sort_by(|a, b| rank(a).cmp(&rank(b)).then(weight(b).total_cmp(&weight(a))));

    html! {
        h3 { "Columns" }
        div class="wide" {
            table class="columns" {
                tr {
                    th { "Column" } th { "Importance" } th { "Baseline" } th { "Now" }
                    th { "Distance" } th { "Status" }
                }
                @for column in order.iter().take(LISTED_MAX) { (row(column, drift)) }
            }
        }
        @if order.len() > LISTED_MAX {
            p class="quiet" { "Not listed: " (counted(order.len() - LISTED_MAX, "further column")) "." }
        }
        p class="quiet" {
            "Distance: the clearest of the tests; in brackets what it is at least with 99 % confidence, and from "
            "where on it matters."
        }
    }
}

fn row(column: &ColumnDrift, drift: &VersionDrift) -> Markup {
    let is_alarm = status::standing(column) == ColumnStanding::Alarm;
    let test = status::main_test(column);
    html! {
        tr {
            td { b { (column.name) } br; span class="quiet" { (side_name(column.side)) ", " (column.kind.name()) } }
            td class="n" { @if let Some(share) = column.importance { (number(share)) } }
            td { (values(column.then.as_ref())) }
            td { (values(column.now.as_ref())) }
            td class="n" {
                @if let Some(test) = test {
                    (test.metric.name()) " " (number(test.value)) " (" (number(test.lower)) ", " (number(test.threshold)) ")"
                }
            }
            td class=[is_alarm.then_some("alarm")] {
                (status::text(column, drift))
                @if !is_alarm && !column.reason.is_empty() && column.kind != Default::default() {
                    br; span class="quiet" { (column.reason) }
                }
            }
        }
    }
}

/// Writes typical values.
fn values(summary: Option<&ColumnSummary>) -> Markup {
    let Some(summary) = summary else {
        return html! { span class="quiet" { "–" } };
    };
    html! {
        @if let Some(median) = summary.median {
            (number(median))
            @if let Some(mean) = summary.mean { span class="quiet" { " (mean " (number(mean)) ")" } }
        }
        @if let Some(most) = &summary.largest { (most.value) " " span class="quiet" { (percent(most.share)) } }
        @if summary.missing > 0.0 { br; span class="quiet" { (percent(summary.missing)) " missing" } }
    }
}
