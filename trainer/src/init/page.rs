//! What was understood of the data as HTML: one file without external resources.

use super::Understood;
use super::show::{heading, shown};
use maud::html;
use ortus::observe::report::document;

/// Renders the page.
pub(crate) fn render(understood: &Understood) -> String {
    let remarks = &understood.remarks;
    let class = if remarks.is_empty() {
        "verdict calm"
    } else {
        "verdict bad"
    };
    let body = html! {
        h1 { (understood.data) }
        p class="quiet" { (heading(understood)) }
        p { (understood.plan) }
        h2 { "Look at this first" }
        div class=(class) {
            @if remarks.is_empty() { p { "Nothing is suspicious." } }
            @for remark in remarks {
                p { (remark.what) }
                @if !remark.way_out.is_empty() { p class="do" { (remark.way_out) } }
            }
        }
        h2 { "Columns" }
        div class="wide" {
            table {
                tr { th { "column" } th { "kind" } th { "missing" } th { "values" } th { "use" } }
                @for column in &understood.columns {
                    tr {
                        td { (shown(&column.name)) }
                        td { (column.kind) }
                        td class="n" { (column.missing) }
                        td { (column.values) }
                        td { (column.used) }
                    }
                }
            }
        }
    };
    document(&format!("{}: what init understood", understood.data), &body)
}
