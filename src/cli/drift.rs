//! `ortus drift`: whether the inputs and answers of a served model are as in its baseline.

mod parts;

use super::block_on;
use super::monitor::{ask, read};
use super::print::{TextTable, line};
use super::registry::split_target;
use crate::core::count;
use crate::core::error::Result;
use crate::observe::drift::kind::ColumnKind;
use crate::observe::report::chart::number;
use crate::observe::report::column::{BaselineSource, ColumnSummary, DriftTest};
use crate::observe::report::drift::{ColumnDrift, DriftReport, VersionDrift};
use crate::observe::report::incident::Incident;
use crate::observe::report::status::{self, ColumnStanding};
use crate::observe::report::story::{named, percent};
use clap::Args;

#[derive(Args)]
pub(super) struct DriftArguments {
    /// Model: NAME or NAME:VERSION.
    target: String,
    /// Address of the operator API of a running server.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8003")]
    server: String,
    /// List every test of every column.
    #[arg(long)]
    tests: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Columns whose limits are named.
const NAMED_MAX: usize = 5;

/// Shows the drift report of a model.
pub(super) fn drift(arguments: &DriftArguments) -> Result<()> {
    let (name, version) = split_target(&arguments.target)?;
    let query = version.map_or_else(String::new, |v| format!("?version={v}"));
    let path = format!("/v1/models/{name}/drift{query}");
    let body = block_on(ask(&arguments.server, &path))?;
    if arguments.json {
        line(&String::from_utf8_lossy(&body));
        return Ok(());
    }
    let report: DriftReport = read(&body)?;
    for version in &report.versions {
        show(version);
        if arguments.tests {
            show_tests(version);
        }
    }
    Ok(())
}

/// Prints the verdict, the incidents and a line for each column.
pub(super) fn show(report: &VersionDrift) {
    line(&format!(
        "{}:{}  {}",
        report.model,
        report.version,
        verdict(report)
    ));
    line(&format!("  {}", counted(report)));
    report.open_incidents().for_each(show_incident);
    for doubt in status::doubts(report) {
        line(&format!("  ? {doubt}"));
    }

    let mut table = TextTable::new(&[
        "column",
        "side",
        "kind",
        "baseline",
        "now",
        "distance",
        "lower bound",
        "threshold",
        "status",
    ]);
    report
        .columns
        .iter()
        .for_each(|c| add(&mut table, c, report));
    table.print();
    parts::show(report);
    show_limits(report);
}

/// Says how the version stands, in a few words.
fn verdict(report: &VersionDrift) -> String {
    let open = report.open_incidents().count();
    let alarms = report.alarms;
    match (open, alarms, report.windows) {
        (0, 0, 0) if report.rows > 0 => "no verdict yet: no window has closed".to_owned(),
        (0, 0, 0) => "no verdict: no rows yet".to_owned(),
        (0, 0, _) => "no alarm".to_owned(),
        (0, n, _) => format!("ALARM: {}", count::counted(n, "test")),
        (n, ..) => format!("ALARM: {}", count::counted(n, "incident")),
    }
}

/// Says how many rows the verdict rests on, and what they are compared with.
fn counted(report: &VersionDrift) -> String {
    let share = report.sampled_rows as f64 / report.rows.max(1) as f64;
    let rows = count::counted(report.baseline_rows, "row");
    let reference = match report.baseline {
        BaselineSource::Training => format!("the training baseline of {rows}"),
        BaselineSource::Own => format!(
            "its own baseline: the first {rows} of this server, which may be wrong themselves"
        ),
        BaselineSource::Gathering => {
            let gathered = status::gathering(report);
            let gathered = gathered.map_or_else(String::new, |rows| format!(": {rows}"));
            format!("no baseline yet; it is made of the first rows that are served{gathered}")
        }
    };
    format!(
        "{}, {} counted ({}) in {}; compared with {reference}",
        count::counted(report.rows, "row"),
        report.sampled_rows,
        percent(share.min(1.0)),
        count::counted(report.windows, "window")
    )
}

fn show_incident(incident: &Incident) {
    line(&format!(
        "  ! {}  (since {})",
        incident.summary,
        incident.opened.format("%Y-%m-%d %H:%M UTC")
    ));
    line(&format!("    {}", incident.effect));
    for advice in &incident.advice {
        line(&format!("    {advice}"));
    }
}

/// Adds a row for a column.
fn add(table: &mut TextTable, column: &ColumnDrift, report: &VersionDrift) {
    let test = status::main_test(column);
    let figure = |of: fn(&DriftTest) -> f64| {
        test.map_or_else(|| "-".to_owned(), |test| format!("{:.4}", of(test)))
    };
    let distance = test.map_or_else(
        || "-".to_owned(),
        |test| format!("{} {:.4}", test.metric.name(), test.value),
    );
    let status = status::text(column, report);
    let status = match status::standing(column) {
        ColumnStanding::Alarm => format!("ALARM {status}"),
        _ => status,
    };
    let kind = if column.ignored {
        "-"
    } else {
        column.kind.name()
    };
    table.row(&[
        &column.name,
        column.side.name(),
        kind,
        &typical(column.then.as_ref()),
        &typical(column.now.as_ref()),
        &distance,
        &figure(|test| test.lower),
        &figure(|test| test.threshold),
        &status,
    ]);
}

/// Writes a typical value: a number in the middle, or the most frequent category; and the share that
/// is missing.
fn typical(summary: Option<&ColumnSummary>) -> String {
    let Some(summary) = summary else {
        return "-".to_owned();
    };
    let word = summary.largest.as_ref().map(|most| most.value.clone());
    let value = summary.median.map(number).or(word);
    let value = value.unwrap_or_else(|| "-".to_owned());
    if summary.missing > 0.0 {
        format!("{value}, {} missing", percent(summary.missing))
    } else {
        value
    }
}

/// Says which columns cannot show much, and which are not stationary, and why.
fn show_limits(report: &VersionDrift) {
    let coarse = status::coarse(report);
    if let Some((_, smallest)) = coarse.first() {
        let names: Vec<&str> = coarse.iter().map(|(name, _)| *name).collect();
        line(&format!(
            "The baseline has too few independent rows to show differences under {} in {}.",
            number(*smallest),
            named(&names, NAMED_MAX)
        ));
    }
    let moves = |column: &&ColumnDrift| {
        !column.ignored && !column.reason.is_empty() && column.kind != ColumnKind::Stationary
    };
    for column in report.columns.iter().filter(moves) {
        line(&format!(
            "{} is {}: {}",
            column.name,
            column.kind.name(),
            column.reason
        ));
    }
    report.columns.iter().for_each(show_contract);
}

/// Prints how often a column violated its contract, if it did.
fn show_contract(column: &ColumnDrift) {
    let violations: Vec<String> = column
        .contract
        .counts()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();

    if !violations.is_empty() {
        line(&format!(
            "{} ({}): {}",
            column.name,
            column.side.name(),
            violations.join(", ")
        ));
    }
}

/// Prints every test of every column.
pub(super) fn show_tests(report: &VersionDrift) {
    let mut table = TextTable::new(&[
        "column",
        "metric",
        "against",
        "windows",
        "rows",
        "effective",
        "value",
        "lower bound",
        "certain",
        "threshold",
        "alarm",
    ]);
    let of_parts = report.parts.iter().flat_map(|part| &part.columns);
    for column in report.columns.iter().chain(of_parts) {
        for test in &column.tests {
            table.row(&[
                &column.described(),
                test.metric.name(),
                test.against.name(),
                &test.span.to_string(),
                &test.rows.to_string(),
                &format!("{:.0}", test.effective_rows),
                &format!("{:.4}", test.value),
                &format!("{:.4}", test.lower),
                &format!("{:.4}", test.certain),
                &format!("{:.4}", test.threshold),
                if test.alarm { "ALARM" } else { "" },
            ]);
        }
    }
    table.print();
}
