//! The report as one HTML page without scripts or files beside it.

use super::{Bar, Finding, Outcome, Standing, number};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

const STYLE: &str = "
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #1c2733 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .25rem .7rem; border-bottom: 1px solid #d8dee6; text-align: left }
td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.Met { color: #14713a } .Missed { color: #b3261e; font-weight: 600 } .Void { color: #8a6100 } .Noted { color: #6b7785 }
.plots { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0; width: 29rem } figcaption { font-weight: 600 }
svg { width: 100%; font-size: 11px; fill: #44505c } polyline { fill: none; stroke-width: 2; stroke: currentColor } circle { fill: currentColor }
.grid { stroke: #e5e9ee } .level { stroke: #b3261e; stroke-dasharray: 4 3 } .end { text-anchor: end } .middle { text-anchor: middle }
.key span { margin-right: 1rem } .c0 { color: #1f6feb } .c1 { color: #d1570a } .c2 { color: #2da44e } .c3 { color: #8250df } .c4 { color: #bf3989 } .c5 { color: #57606a }
";

pub(super) fn page(machine: &Value, outcomes: &[Outcome]) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                title { "Load test" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Load test" }
                table {
                    @for (key, value) in machine.as_object().into_iter().flatten() {
                        tr { th { (key) } td { (value.as_str().map_or_else(|| value.to_string(), str::to_owned)) } }
                    }
                }
                @for outcome in outcomes { (section(outcome)) }
            }
        }
    }
}

fn section(outcome: &Outcome) -> Markup {
    html! {
        h2 { (outcome.id) " " (outcome.title) }
        table {
            tr { th { "case" } th { "figure" } th { "value" } th { "bar" } th { "verdict" } th { "from" } }
            @for finding in &outcome.findings { (row(finding)) }
        }
        div.plots { @for plot in &outcome.plots { (plot.svg()) } }
    }
}

fn row(finding: &Finding) -> Markup {
    let standing: Standing = finding.standing();
    html! {
        tr {
            td { (finding.case) }
            td { (finding.name) }
            td.n { (number(finding.figure)) }
            td.n { (finding.bar.map(Bar::text).unwrap_or_default()) }
            td class=(format!("{standing:?}")) {
                (standing.text()) @if let Some(why) = &finding.void { ": " (why) }
            }
            td { @if let Some(detail) = finding.detail.as_object() { (parts(detail)) } }
        }
    }
}

/// The figures that a figure was made of, as a line.
fn parts(detail: &serde_json::Map<String, Value>) -> String {
    let part = |(key, value): (&String, &Value)| match value.as_f64() {
        Some(value) => format!("{key} {}", number(value)),
        None => format!("{key} {value}"),
    };
    detail.iter().map(part).collect::<Vec<_>>().join(", ")
}
