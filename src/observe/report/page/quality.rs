//! The performance of a version: on the baseline, measured with labels, and
//! estimated without.

use super::Ends;
use crate::core::count::counted;
use crate::observe::report::chart::{ChartSeries, lines, number};
use crate::observe::report::model::VersionReport;
use crate::observe::report::performance::{
    CohortPerformance, EstimatedPerformance, MeasuredPerformance, SlicePerformance,
};
use maud::{Markup, html};
use std::collections::BTreeMap;

/// Measures that the table of slices shows, where there are any.
const SLICE_MEASURES: [&str; 5] = ["accuracy", "f1", "log_loss", "mae", "rmse"];

/// Measures by name.
type ReportMeasures = BTreeMap<String, f64>;

/// Writes the section; nothing where no performance is known.
pub(super) fn section(version: &VersionReport, measured: Option<&MeasuredPerformance>) -> Markup {
    let baseline = version.shown.performance.as_ref().filter(|p| !p.is_empty());
    let measured = measured.filter(|m| m.window.labelled_rows > 0);
    let estimated = version.drift.estimated.as_ref();
    if baseline.is_none() && measured.is_none() && estimated.is_none() {
        return html! {};
    }

    html! {
        h3 { "Performance" }
        (table(baseline, measured.map(|m| &m.window.measures), estimated.map(|e| &e.measures)))
        @if let Some(measured) = measured { (measured_note(measured)) }
        @if let Some(estimated) = estimated { (estimated_note(estimated)) }
        div class="plots" {
            (over_time(version, measured))
            @if let Some(measured) = measured { (calibration(version, measured)) }
        }
        @if let Some(measured) = measured { (slices(&measured.slices)) }
    }
}

fn table(
    baseline: Option<&ReportMeasures>,
    measured: Option<&ReportMeasures>,
    estimated: Option<&ReportMeasures>,
) -> Markup {
    let mut names: Vec<&String> = Vec::new();
    for name in [measured, estimated]
        .into_iter()
        .flatten()
        .flat_map(BTreeMap::keys)
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }

    if names.is_empty() {
        names = baseline.into_iter().flat_map(BTreeMap::keys).collect();
    }

    html! {
        table {
            tr {
                th { "Measure" } th { "Baseline" } th { "Measured with labels" }
                th { "Estimated without labels" }
            }
            @for name in names {
                tr {
                    td { (measure_name(name)) }
                    (cell(baseline, name)) (cell(measured, name)) (cell(estimated, name))
                }
            }
        }
    }
}

fn cell(measures: Option<&ReportMeasures>, name: &str) -> Markup {
    let value = measures.and_then(|m| m.get(name));
    html! { td class="n" { @if let Some(value) = value { (number(*value)) } } }
}

/// Writes the name of a measure.
fn measure_name(name: &str) -> String {
    name.replace('_', " ")
}

fn measured_note(measured: &MeasuredPerformance) -> Markup {
    let window = &measured.window;
    html! {
        p class="quiet" {
            "Measured on " (counted(window.labelled_rows, "labelled row")) ", predicted in the last "
            (counted(measured.window_days, "day"))
            @if let Some(share) = window.maturity {
                " (" (number(share * 100.0)) " % of the rows predicted here have a label)"
            }
            "."
            @if let Some(allowed) = measured.loss_allowed {
                " Up to " (number(allowed * 100.0))
                " % of the rows may be wrong before an alarm is raised."
                (measured.wrong_means())
            }
        }
    }
}

fn estimated_note(estimated: &EstimatedPerformance) -> Markup {
    let (source, measure) = match estimated.calibrated {
        Some(true) => ("calibrated scores", "accuracy"),
        Some(false) => (
            "uncalibrated scores, because the baseline has no calibration",
            "accuracy",
        ),
        None => (
            "the errors that the companion model expects",
            "mean absolute error",
        ),
    };

    html! {
        p class="quiet" {
            "Estimated on " (counted(estimated.rows, "row")) " from " (source)
            @if let Some(margin) = estimated.margin { "; " (measure) " ± " (number(margin)) }
            ". The estimate " (estimated.assumption) "."
            @if let Some(doubt) = &estimated.doubt { " " b { "It cannot be relied on now: " (doubt) "." } }
        }
    }
}

/// Draws accuracy, or mean absolute error, over time.
fn over_time(version: &VersionReport, measured: Option<&MeasuredPerformance>) -> Markup {
    let history = &version.shown.history;
    let estimated: Vec<(f64, f64)> = history
        .iter()
        .filter_map(|p| Some((p.time as f64, p.estimated?)))
        .collect();
    let now = history.last().map_or(f64::INFINITY, |p| p.time as f64);

    let by_day: Vec<(f64, f64)> = measured
        .iter()
        .flat_map(|m| &m.days)
        .filter_map(|day| end_of(day, now))
        .collect();
    if estimated.is_empty() && by_day.is_empty() {
        return html! {};
    }

    let known = [
        measured.map(|m| &m.window.measures),
        version.drift.estimated.as_ref().map(|e| &e.measures),
    ];
    let is_regression = known.into_iter().flatten().any(|m| m.contains_key("mae"));
    let measure = if is_regression {
        "Mean absolute error"
    } else {
        "Accuracy"
    };

    let ends = Ends::of(estimated.iter().chain(&by_day).map(|p| p.0));
    let series = [
        ChartSeries {
            name: "estimated",
            class: "other",
            points: estimated,
            is_dots: false,
        },
        ChartSeries {
            name: "measured by day",
            class: "now",
            points: by_day,
            is_dots: true,
        },
    ];

    let title = format!("{measure} over time: measured by day (dots), estimated (line)");
    lines(&title, &series, &ends.left, &ends.right, None)
}

/// Places a day at its end, or now where that is still to come.
fn end_of(day: &CohortPerformance, now: f64) -> Option<(f64, f64)> {
    let start = chrono::DateTime::parse_from_rfc3339(&day.from.replace('Z', ":00Z"))
        .ok()?
        .timestamp();
    let value = day
        .measures
        .get("accuracy")
        .or_else(|| day.measures.get("mae"))?;
    Some(((start as f64 + 86_400.0).min(now), *value))
}

/// Draws how often scores were right.
fn calibration(version: &VersionReport, measured: &MeasuredPerformance) -> Markup {
    if measured.reliability.is_empty() {
        return html! {};
    }

    // The first curve is enough to see.
    let curves = version.shown.calibration.as_deref().unwrap_or_default();
    let curve = curves.first().map(|c| c.points.clone()).unwrap_or_default();
    let labelled = measured
        .reliability
        .iter()
        .map(|(score, share, _)| (*score, *share))
        .collect();
    let series = [
        ChartSeries {
            name: "perfect calibration",
            class: "before",
            points: vec![(0.0, 0.0), (1.0, 1.0)],
            is_dots: false,
        },
        ChartSeries {
            name: "baseline",
            class: "other",
            points: curve,
            is_dots: false,
        },
        ChartSeries {
            name: "labelled rows",
            class: "now",
            points: labelled,
            is_dots: true,
        },
    ];

    let title = "Calibration: share of correct predictions by score. Labelled rows (dots), baseline (orange), perfect (grey)";
    lines(title, &series, "score 0", "score 1", None)
}

fn slices(slices: &[SlicePerformance]) -> Markup {
    if slices.is_empty() {
        return html! {};
    }

    let is_known = |name: &&str| slices.iter().any(|s| s.measures.contains_key(*name));
    let names: Vec<&str> = SLICE_MEASURES.into_iter().filter(is_known).collect();
    html! {
        h3 { "Performance by slice" }
        table {
            tr {
                th { "Slice column" } th { "Values" } th { "Labelled rows" }
                @for name in &names { th { (measure_name(name)) } }
            }
            @for slice in slices {
                tr {
                    td { (slice.slice) }
                    td class=[slice.alarm.then_some("alarm")] {
                        (slice.part) @if slice.alarm {
                            " (in alarm: more errors than the baseline allows"
                            @if let Some(rows) = &slice.alarm_rows { ", " (rows.told()) }
                            ")"
                        }
                    }
                    td class="n" { (slice.rows) }
                    @for name in &names { (cell(Some(&slice.measures), name)) }
                }
            }
        }
    }
}
