//! Inputs and outputs of a version: distributions, drift over time, and values
//! outside the contract.

use super::{Ends, baseline_name, side_name};
use crate::core::count::counted;
use crate::observe::drift::alarm::Metric;
use crate::observe::report::chart::{ChartSeries, bars, lines, number};
use crate::observe::report::column::DriftTest;
use crate::observe::report::drift::{
    ColumnDrift, ColumnHistogram, DriftCharts, VersionDrift, WindowDrift,
};
use crate::observe::report::model::VersionReport;
use crate::observe::report::status;
use maud::{Markup, html};

/// Columns whose distribution is drawn.
const HISTOGRAMS_MAX: usize = 40;
/// Columns whose drift over time is drawn.
const OVER_TIME_MAX: usize = 12;
/// Columns with violations that are listed.
const VIOLATIONS_MAX: usize = 200;

/// Writes distributions and drift over time, columns in alarm first.
pub(super) fn section(version: &VersionReport) -> Markup {
    let DriftCharts {
        pictures, history, ..
    } = &version.shown;
    if pictures.is_empty() {
        return html! {};
    }

    let order = by_distance(version);
    let ends = Ends::of(history.iter().map(|p| p.time as f64));
    html! {
        h3 { "Inputs and outputs against " (baseline_name(&version.drift)) }
        p class="key quiet" {
            "Each bar is the share of rows in a range of values, or a category: "
            span style="background:#b7c3cf" {} "baseline "
            span style="background:#2f6db5" {} "last windows. "
            "The ranges hold about equally many rows of the baseline. "
            "Columns in alarm come first, then those that differ most."
        }
        div class="plots" {
            @for at in order.iter().take(HISTOGRAMS_MAX) { (histogram(&pictures[*at])) }
        }
        @if pictures.len() > HISTOGRAMS_MAX {
            p class="quiet" { "Not drawn: " (counted(pictures.len() - HISTOGRAMS_MAX, "further column")) "." }
        }
        h3 { "Drift over time" }
        p class="quiet" {
            "Distance of each window from the baseline: 0 means the same distribution, 1 means no overlap. "
            "The dashed line is the alarm threshold."
        }
        div class="plots" {
            @for at in order.iter().take(OVER_TIME_MAX) { (over_time(version, *at, &ends)) }
        }
    }
}

/// Orders columns: those in alarm first, and each group by the distance of the test that tells most, largest first.
fn by_distance(version: &VersionReport) -> Vec<usize> {
    let pictures = &version.shown.pictures;
    let rank = |at: usize| {
        let is_it = |c: &&ColumnDrift| c.name == pictures[at].name && c.side == pictures[at].side;
        let column = version.drift.columns.iter().find(is_it);
        let test = column.and_then(status::main_test);
        let excess = |t: &DriftTest| t.value / t.threshold.max(f64::MIN_POSITIVE);
        (
            column.is_some_and(|column| column.alarms() > 0),
            test.map_or(0.0, excess),
        )
    };
    let mut order: Vec<usize> = (0..pictures.len()).collect();
    order.sort_by(|a, b| {
        let (a, b) = (rank(*a), rank(*b));
        b.0.cmp(&a.0).then(b.1.total_cmp(&a.1))
    });
    order
}

fn over_time(version: &VersionReport, at: usize, ends: &Ends) -> Markup {
    let point = |window: &WindowDrift| {
        let (distance, _) = window.columns.get(at).copied().flatten()?;
        Some((window.time as f64, f64::from(distance)))
    };
    let series = [ChartSeries {
        name: "distance",
        class: "now",
        points: version.shown.history.iter().filter_map(point).collect(),
        is_dots: false,
    }];

    let name = &version.shown.pictures[at].name;
    let level = threshold(&version.drift, name);
    lines(name, &series, &ends.left, &ends.right, level)
}

/// Finds the alarm threshold of a column's distance.
fn threshold(drift: &VersionDrift, name: &str) -> Option<f64> {
    let column = drift.columns.iter().find(|c| c.name == name)?;
    let is_drawn = |metric| matches!(metric, Metric::Ks | Metric::Largest);
    let test = column.tests.iter().find(|t| is_drawn(t.metric))?;
    Some(test.threshold)
}

fn histogram(column: &ColumnHistogram) -> Markup {
    let importance = column
        .importance
        .map_or_else(String::new, |i| format!(", importance {}", number(i)));
    let side = side_name(column.side).to_lowercase();
    let title = format!("{} ({side}{importance})", column.name);

    let before = shares(&column.before, column.before_missing);
    let now = shares(&column.now, column.now_missing);
    bars(&title, &labels(column), &before, &now)
}

/// Returns the share of rows in each cell, and without a value.
fn shares(counts: &[u64], missing: u64) -> Vec<f64> {
    let rows = counts.iter().sum::<u64>() + missing;
    let share = |n: u64| {
        if rows == 0 {
            0.0
        } else {
            n as f64 / rows as f64
        }
    };

    counts.iter().copied().chain([missing]).map(share).collect()
}

/// Names the cells of a column.
fn labels(column: &ColumnHistogram) -> Vec<String> {
    let mut labels: Vec<String> = if column.words.is_empty() {
        (0..column.before.len())
            .map(|at| range(&column.edges, at))
            .collect()
    } else {
        let others = ["other".to_owned(), "unseen".to_owned()];
        column.words.iter().cloned().chain(others).collect()
    };

    labels.push("missing".to_owned());
    labels
}

/// Names the range of a cell.
fn range(edges: &[f64], at: usize) -> String {
    let low = at.checked_sub(1).and_then(|below| edges.get(below));
    match (low, edges.get(at)) {
        (None, Some(high)) => format!("≤ {}", number(*high)),
        (Some(low), Some(high)) => format!("{} to {}", number(*low), number(*high)),
        (Some(low), None) => format!("> {}", number(*low)),
        (None, None) => "all".to_owned(),
    }
}

/// Writes the values outside the contract.
pub(super) fn violations(drift: &VersionDrift) -> Markup {
    let is_broken = |c: &&ColumnDrift| c.contract.counts().iter().any(|(_, n)| *n > 0);
    let columns: Vec<&ColumnDrift> = drift.columns.iter().filter(is_broken).collect();

    html! {
        h3 { "Values outside the contract" }
        @if columns.is_empty() {
            p class="quiet" { "None: every value is within the ranges and categories of the baseline." }
        } @else {
            table {
                tr { th { "Column" } th { "Values, of all rows" } }
                @for column in columns.iter().take(VIOLATIONS_MAX) {
                    tr { td { (column.name) } td { (counts(column)) } }
                }
            }
            p class="quiet" {
                "below, above: outside the range of the baseline. unseen: a category that the baseline does not have."
            }
        }
    }
}

fn counts(column: &ColumnDrift) -> String {
    let kinds: Vec<String> = column
        .contract
        .counts()
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    kinds.join(", ")
}
