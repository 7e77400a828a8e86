//! `ortus backtest`: shows rows of the past to the monitor, on this machine.

use super::drift::{show, show_tests};
use super::load;
use super::model_file::ModelArguments;
use super::print::{TextTable, line, note};
use super::registry::RegistryArguments;
use super::text_format::FormatArguments;
use crate::app::watching::monitor_settings;
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::task::Wish;
use crate::core::model::{ModelName, Signature, Version};
use crate::observe::backtest::clock::RowClock;
use crate::observe::backtest::{TimedRows, backtest};
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::slice::choice::SliceChoice;
use crate::observe::drift::watch::WatchSubject;
use crate::observe::profile::Profile;
use crate::observe::report::drift::{DriftReport, VersionDrift};
use crate::storage::table::{Column, Table};
use clap::Args;
use std::path::{Path, PathBuf};

/// The first second since 1970 of rows without times: a Monday at midnight.
const FROM: i64 = 1_767_571_200;
/// Rows that come in each minute, if they have no times and none are given.
const ROWS_PER_MINUTE: f64 = 600.0;

#[derive(Args)]
pub(super) struct BacktestArguments {
    /// Rows as they would be served: CSV with a header, or Parquet.
    data: PathBuf,
    #[command(flatten)]
    model: ModelArguments,
    /// Baseline of the model [default: the one of the version, or else the first rows of the table]
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Column with the time of each row, UTC where it has no zone; rows are sorted by it [default: the only column of
    /// times]
    #[arg(long, value_name = "COLUMN", conflicts_with = "rows_per_minute")]
    time: Option<String>,
    /// Rows that come in each minute, whatever their times [default: 600 if there are no times]
    #[arg(long, value_name = "N")]
    rows_per_minute: Option<f64>,
    /// Columns of the dataset to ignore.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    ignore: Vec<String>,
    /// Name of the model, whose section of the configuration applies.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// List every test of every column.
    #[arg(long)]
    tests: bool,
    #[command(flatten)]
    format: FormatArguments,
    #[command(flatten)]
    common: RegistryArguments,
}

/// Shows the rows of a table to the monitor.
pub(super) fn run(arguments: &BacktestArguments) -> Result<()> {
    let model = arguments.model.find(&arguments.common)?;
    let name = arguments.name.clone().or(model.name.clone());
    let name = name.unwrap_or_else(|| "model".to_owned());
    let config = load(&arguments.common.file(), Vec::new())?;
    let (graph, mut session) = crate::app::engine::open_session(&config, &model.path, &note)?;
    let own = config.model(&name);

    let format = arguments.format.read()?;
    let table = Table::read_format(&arguments.data, &format)?;
    let time = time_column(arguments, &table, &model.features, &graph.signature);
    if let (Some(found), None) = (&time, &arguments.time) {
        note(&format!(
            "the rows come at the times of '{found}'; --time or --rows-per-minute choose others"
        ));
    }
    let (table, times) = in_order(table, &clock(arguments, time.clone())?)?;
    let mut ignore = arguments.ignore.clone();
    ignore.extend(time);
    let chosen = Profile {
        data: &arguments.data,
        format,
        features: model.features.clone(),
        ignore,
        label: None,
        task: Wish::default(),
        slices: SliceChoice::default(),
    };
    let features = chosen.columns(&table, &graph.signature)?;
    let baseline = arguments.baseline.clone().or(model.baseline.clone());
    let subject = WatchSubject {
        model: ModelName::parse(&name)?,
        version: Version::new(1).expect("1 is a version"),
        digest: Digest::of(&file(&model.path)?),
        signature: graph.signature.clone(),
        features: features.clone(),
        baseline: baseline
            .map(|path| Baseline::read(&file(&path)?))
            .transpose()?,
        task: None,
        slices: own.slices.clone(),
        rules: own.monitor.clone(),
    };
    let rows = TimedRows {
        table: &table,
        features: &features,
        times: &times,
    };
    let found = backtest(&rows, subject, &monitor_settings(&config), session.as_mut())?;

    if arguments.common.json {
        let report = DriftReport {
            versions: vec![found.report],
        };
        line(&serde_json::to_string(&report).expect("plain data is JSON"));
        return Ok(());
    }
    show(&found.report);
    if arguments.tests {
        show_tests(&found.report);
    }
    show_incidents(&found.report);
    Ok(())
}

/// Returns the column with the times of the rows: the one that is given, or the only one of times that the
/// model is not given.
fn time_column(
    arguments: &BacktestArguments,
    table: &Table,
    features: &[String],
    signature: &Signature,
) -> Option<String> {
    if arguments.time.is_some() || arguments.rows_per_minute.is_some() {
        return arguments.time.clone();
    }
    let is_input = |name: &str| {
        features.iter().any(|f| f == name) || signature.inputs.iter().any(|i| i.name == name)
    };
    let of_times = |name: &&str| matches!(table.column(name), Some(Column::Time(_)));
    let mut found = table
        .names()
        .filter(of_times)
        .filter(|name| !is_input(name));
    let only = found.next()?;
    found.next().is_none().then(|| only.to_owned())
}

fn clock(arguments: &BacktestArguments, time: Option<String>) -> Result<RowClock> {
    if let Some(column) = time {
        return Ok(RowClock::Column(column));
    }
    let rows = arguments.rows_per_minute.unwrap_or(ROWS_PER_MINUTE);
    if !(rows.is_finite() && rows > 0.0) {
        return Err(Error::invalid("--rows-per-minute must be a number over 0"));
    }
    Ok(RowClock::PerMinute(rows, FROM))
}

/// Sorts the rows by their times.
fn in_order(table: Table, clock: &RowClock) -> Result<(Table, Vec<i64>)> {
    let times = clock.times(&table)?;
    if times.is_sorted() {
        return Ok((table, times));
    }
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|row| times[*row]);
    let sorted = order.iter().map(|row| times[*row]).collect();
    Ok((table.rows_at(&order), sorted))
}

fn file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path)
        .map_err(|e| Error::precondition(format!("read {}", path.display())).with_source(e))
}

/// Prints when each incident would have been open.
fn show_incidents(report: &VersionDrift) {
    let mut table = TextTable::new(&["opened", "closed", "columns", "incident"]);
    for incident in &report.incidents {
        let closed = incident.closed.map_or_else(
            || "open".to_owned(),
            |at| at.format("%Y-%m-%d %H:%M").to_string(),
        );
        table.row(&[
            &incident.opened.format("%Y-%m-%d %H:%M").to_string(),
            &closed,
            &incident.columns_total.to_string(),
            &incident.summary,
        ]);
    }
    if report.incidents.is_empty() {
        line("No incident would have been told.");
    } else {
        table.print();
    }
}
