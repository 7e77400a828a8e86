//! The body of the HTML page about a model: a section for each served version.

mod columns;
mod latency;
mod listed;
mod parts;
mod quality;
mod verdict;

use super::column::BaselineSource;
use super::compared::{self, ComparedVersion};
use super::drift::VersionDrift;
use super::model::{ModelReport, VersionReport};
use super::performance::MeasuredPerformance;
use crate::core::count::counted;
use crate::observe::drift::layout::Side;
use maud::{Markup, html};

/// Writes the page's body.
pub(super) fn body(name: &str, report: &ModelReport) -> Markup {
    html! {
        h1 { (name) }
        p class="quiet" {
            "Report of " (time(report.time)) ". Charts over time cover the last "
            (report.hours) " hours."
        }
        (beside(&report.compared))
        @for version in &report.watched { (section(version, report)) }
    }
}

/// Writes the served versions beside each other, if there are several.
fn beside(versions: &[ComparedVersion]) -> Markup {
    if versions.is_empty() {
        return html! {};
    }
    html! {
        h2 { "Versions" }
        table {
            tr { @for heading in compared::HEADINGS { th { (heading) } } }
            @for version in versions {
                tr { @for cell in compared::cells(version) { td { (cell) } } }
            }
        }
        @for sentence in compared::sentences(versions) { p { (sentence) "." } }
        p class="quiet" {
            "Requests, failures and durations are of this server since it started; labelled rows are of the last days. "
            "Intervals take rows as independent. Whoever looks often sees differences that chance made."
        }
    }
}

/// Writes the section of a version.
fn section(version: &VersionReport, report: &ModelReport) -> Markup {
    let drift = &version.drift;
    let is_same = |m: &&MeasuredPerformance| m.version == drift.version && m.digest == drift.digest;
    let measured = report.measured.iter().find(is_same);
    let times = report.times.get(&drift.version.to_string());

    html! {
        h2 { "Version " (drift.version) }
        (verdict::section(version, measured))
        p class="quiet" {
            (counted(drift.rows, "row")) " predicted, " (drift.sampled_rows) " of them counted, in "
            (counted(drift.windows, "window")) ". " (origin(drift)) br;
            code { (drift.digest) }
        }
        (listed::section(drift))
        (parts::section(drift))
        (quality::section(version, measured))
        (columns::section(version))
        (columns::violations(drift))
        (latency::section(times.map(Vec::as_slice).unwrap_or_default()))
    }
}

/// Says what the windows are compared with.
fn origin(drift: &VersionDrift) -> String {
    let rows = counted(drift.baseline_rows, "row");
    match drift.baseline {
        BaselineSource::Training => {
            format!("They are compared with the training baseline ({rows}).")
        }
        BaselineSource::Own => format!(
            "They are compared with the first {rows} that this version received, because it was published without a baseline."
        ),
        BaselineSource::Gathering => {
            "The version was published without a baseline. One is being collected from its first rows.".to_owned()
        }
    }
}

/// Names the baseline.
fn baseline_name(drift: &VersionDrift) -> &'static str {
    match drift.baseline {
        BaselineSource::Training => "the training baseline",
        BaselineSource::Own | BaselineSource::Gathering => "the version's first rows",
    }
}

/// Names the side of a column.
fn side_name(side: Side) -> &'static str {
    match side {
        Side::Input => "Input",
        Side::Output => "Output",
    }
}

/// The labels at the ends of a time axis.
#[derive(Default)]
struct Ends {
    left: String,
    right: String,
}

impl Ends {
    /// Spans some times, in seconds since 1970.
    fn of(times: impl Iterator<Item = f64>) -> Self {
        let (low, high) = times.fold((f64::INFINITY, 0.0_f64), |(low, high), t| {
            (low.min(t), high.max(t))
        });
        if !low.is_finite() {
            return Self::default();
        }
        Self {
            left: time(low as u64),
            right: time(high as u64),
        }
    }
}

fn time(seconds: u64) -> String {
    let at = i64::try_from(seconds)
        .ok()
        .and_then(|s| chrono::DateTime::from_timestamp(s, 0));
    at.map_or_else(String::new, |t| t.format("%Y-%m-%d %H:%M UTC").to_string())
}
