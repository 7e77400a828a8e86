//! `performance`: the measured and estimated performance of a served model.

use super::print::{TextTable, line};
use super::registry::split_target;
use super::{block_on, monitor};
use crate::core::count::{agreed, counted};
use crate::core::error::Result;
use crate::observe::report::compared::{self, ComparedVersion};
use crate::observe::report::performance::{
    AlarmRows, EstimatedPerformance, MeasuredPerformance, PerformanceReport, SlicePerformance,
    WaitingLabels,
};
use clap::Args;
use std::collections::BTreeMap;

#[derive(Args)]
pub(super) struct PerformanceArguments {
    /// Model: NAME or NAME:VERSION.
    target: String,
    /// Address of the operator API of a running server.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8003")]
    server: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Shows the performance of a served model.
pub(super) fn performance(arguments: &PerformanceArguments) -> Result<()> {
    let (name, version) = split_target(&arguments.target)?;
    let query = version.map_or_else(String::new, |v| format!("?version={v}"));
    let path = format!("/v1/models/{name}/performance{query}");
    let body = block_on(monitor::ask(&arguments.server, &path))?;
    if arguments.json {
        line(&String::from_utf8_lossy(&body));
        return Ok(());
    }

    let report: PerformanceReport = monitor::read(&body)?;
    show_versions(&report.compared);
    report.measured.iter().for_each(show);
    report.waiting.iter().for_each(show_waiting);
    for version in &report.estimated {
        if let Some(estimate) = &version.estimated {
            show_estimate(name.as_str(), version.version, estimate);
        }
    }

    Ok(())
}

/// Prints the served versions beside each other, if there are several.
fn show_versions(versions: &[ComparedVersion]) {
    if versions.is_empty() {
        return;
    }
    let mut table = TextTable::new(&compared::HEADINGS);
    for version in versions {
        table.row(&compared::cells(version).each_ref().map(String::as_str));
    }
    table.print();
    compared::sentences(versions)
        .iter()
        .for_each(|text| line(text));
    line("");
}

/// Prints the labels that wait for their prediction, with their reasons.
fn show_waiting(waiting: &WaitingLabels) {
    if waiting.labels > 0 {
        line(&format!(
            "{} of any model {}; only a prediction tells the model",
            counted(waiting.labels, "label"),
            agreed(
                waiting.labels,
                "waits for its prediction",
                "wait for their predictions"
            )
        ));
    }
    for reason in &waiting.reasons {
        // The text goes with several labels.
        let about = reason.text.strip_prefix("wait").unwrap_or(&reason.text);
        line(&format!(
            "  {} {}{about}",
            counted(reason.labels, "label"),
            agreed(reason.labels, "waits", "wait")
        ));
    }
    if waiting.forgotten > 0 {
        line(&format!(
            "  {} no longer {}, because too many did; {} in the store",
            counted(waiting.forgotten, "label"),
            agreed(waiting.forgotten, "waits", "wait"),
            agreed(waiting.forgotten, "it is", "they are")
        ));
    }
    for (reason, predictions) in &waiting.lost_predictions {
        let why = match reason.as_str() {
            "queue" => "the queue of the monitor was full",
            "store" => "the store did not take them in time",
            other => other,
        };
        line(&format!(
            "  {} {} not kept for labels since the start: {why}",
            counted(*predictions, "answer"),
            agreed(*predictions, "was", "were")
        ));
    }
}

/// Prints an estimate and what it assumes.
fn show_estimate(model: &str, version: u64, estimate: &EstimatedPerformance) {
    let (source, measure) = match estimate.calibrated {
        Some(true) => ("calibrated scores", "accuracy"),
        Some(false) => (
            "uncalibrated scores (the baseline has no calibration)",
            "accuracy",
        ),
        None => ("the companion model's expected errors", "mae"),
    };

    let margin = estimate
        .margin
        .map_or_else(String::new, |m| format!("  ({measure} ± {m:.4})"));

    line(&format!(
        "{model}:{version}  estimated without labels, from {source} of {}",
        counted(estimate.rows, "row")
    ));
    line(&format!("  {}{margin}", measures_text(&estimate.measures)));
    line(&format!("  {}", estimate.assumption));
    if let Some(doubt) = &estimate.doubt {
        line(&format!("  NOT RELIABLE: {doubt}"));
    }
}

/// Writes measures in a line.
fn measures_text(measures: &BTreeMap<String, f64>) -> String {
    let all: Vec<String> = measures
        .iter()
        .map(|(name, value)| format!("{name} {value:.4}"))
        .collect();
    all.join("  ")
}

/// Writes the share of rows with a label.
fn share(maturity: Option<f64>) -> String {
    maturity.map_or_else(|| "-".to_owned(), |m| format!("{:.1} %", m * 100.0))
}

/// Says that labels are in alarm, since when and of which rows.
fn alarm_text(of_part: &str, rows: Option<&AlarmRows>) -> String {
    let told = rows.map_or_else(String::new, |rows| format!(", {}", rows.told()));
    format!("  ALARM{of_part}: more errors than the baseline allows{told}")
}

/// Prints performance measured with labels.
fn show(measured: &MeasuredPerformance) {
    let window = &measured.window;
    line(&format!(
        "{}:{}  {} of the last {}, maturity {}",
        measured.model,
        measured.version,
        counted(window.labelled_rows, "labelled row"),
        counted(measured.window_days, "day"),
        share(window.maturity)
    ));
    if measured.alarm {
        line(&alarm_text("", measured.alarm_rows.as_ref()));
    }

    line(&format!("  {}", measures_text(&window.measures)));
    for part in measured.slices.iter().filter(|part| part.alarm) {
        let of_part = format!(" where {}", part.condition());
        line(&alarm_text(&of_part, part.alarm_rows.as_ref()));
    }
    if let Some(allowed) = measured.loss_allowed.filter(|_| measured.is_of_numbers()) {
        line(&format!(
            "  up to {:.1} % of rows may have a larger absolute error than 90 % of the baseline's rows",
            allowed * 100.0
        ));
    }
    if measured.unfit_labels > 0 {
        line(&format!(
            "  {} {} not fit: the prediction has no such row, or the label is no class",
            counted(measured.unfit_labels, "label"),
            agreed(measured.unfit_labels, "does", "do")
        ));
    }

    let mut table = TextTable::new(&["predicted", "rows", "labelled", "maturity", "measures"]);
    for day in &measured.days {
        table.row(&[
            &day.from,
            &day.predicted_rows.to_string(),
            &day.labelled_rows.to_string(),
            &share(day.maturity),
            &measures_text(&day.measures),
        ]);
    }

    table.print();

    show_slices(&measured.slices);
}

/// Prints the performance of each slice, if there are any.
fn show_slices(slices: &[SlicePerformance]) {
    if slices.is_empty() {
        return;
    }

    let mut table = TextTable::new(&["slice", "part", "rows", "measures", "status"]);
    for slice in slices {
        table.row(&[
            &slice.slice,
            &slice.part,
            &slice.rows.to_string(),
            &measures_text(&slice.measures),
            if slice.alarm { "ALARM" } else { "" },
        ]);
    }

    table.print();
}
