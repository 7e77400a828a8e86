//! What a person should know first: the alarms of a version, or that there are
//! none, or that there is not enough data.

use super::{baseline_name, side_name};
use crate::observe::drift::alarm::{Against, Metric};
use crate::observe::report::chart::number;
use crate::observe::report::drift::{ColumnDrift, DriftTest, VersionDrift};
use crate::observe::report::model::VersionReport;
use crate::observe::report::performance::MeasuredPerformance;
use maud::{Markup, html};

/// Writes the verdict.
pub(super) fn section(version: &VersionReport, measured: Option<&MeasuredPerformance>) -> Markup {
    let drift = &version.drift;
    let mut findings: Vec<Markup> = Vec::new();
    if measured.is_some_and(|m| m.alarm) {
        findings.push(html! {
            "Performance alarm: according to the labels, more predictions are wrong than allowed."
        });
    }

    for column in &drift.columns {
        findings.extend(alarm(column, drift));
        findings.extend(hints(column));
    }

    if !findings.is_empty() {
        return listed(&findings);
    }
    if drift.windows == 0 {
        return html! {
            p class="verdict unknown" {
                "Not enough rows for a verdict: " (drift.sampled_rows)
                " rows counted, and no window is closed. The settings "
                code { "monitor.window_rows" } " and " code { "monitor.window_max" }
                " say when a window closes."
            }
        };
    }

    html! {
        p class="verdict good" {
            "No alarm: inputs and outputs are distributed as in " (baseline_name(drift)) "."
        }
    }
}

fn listed(findings: &[Markup]) -> Markup {
    html! {
        div class="verdict bad" {
            @if findings.len() == 1 { "1 finding to check." }
            @else { (findings.len()) " findings to check." }
            ul { @for finding in findings { li { (finding) } } }
        }
    }
}

/// Describes the clearest drift alarm of a column: the one that is the most times
/// over its threshold.
fn alarm(column: &ColumnDrift, drift: &VersionDrift) -> Option<Markup> {
    let excess = |t: &DriftTest| t.lower / t.threshold.max(f64::MIN_POSITIVE);
    let test = column
        .tests
        .iter()
        .filter(|t| t.alarm)
        .max_by(|a, b| excess(a).total_cmp(&excess(b)))?;
    let reference = match test.against {
        Against::LastWeek => "the same hour a week ago",
        Against::Training => baseline_name(drift),
    };

    Some(html! {
        (side_name(column.side)) " drift: " b { (column.name) }
        " is not distributed as in " (reference) ". " (metric(test.metric)) " is "
        (number(test.value)) " on " (test.rows) " rows; its lower confidence bound is "
        (number(test.lower)) ", and the alarm threshold is " (number(test.threshold)) "."
        @if test.lower <= test.threshold {
            " The last window is within the threshold; the alarm ends after three such windows."
        }
    })
}

fn hints(column: &ColumnDrift) -> Vec<Markup> {
    let mut found = Vec::new();
    if let Some(scale) = column.hints.scale {
        found.push(html! {
            b { (column.name) } " may be in another unit: its values are " (number(scale))
            " times those of the baseline."
        });
    }

    if column.hints.constant {
        found.push(html! {
            b { (column.name) } " has the same value in every row, unlike in the baseline."
        });
    }

    found
}

/// Names a distance at the start of a sentence.
fn metric(metric: Metric) -> &'static str {
    match metric {
        Metric::Ks => "The Kolmogorov-Smirnov statistic",
        Metric::Wasserstein => "The Wasserstein distance in interquartile ranges",
        Metric::Psi => "The population stability index",
        Metric::Js => "The Jensen-Shannon distance",
        Metric::Largest => "The largest change of a category's share",
        Metric::Missing => "The change of the share of missing values",
    }
}
