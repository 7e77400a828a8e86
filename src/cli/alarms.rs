//! `alarms`: the alarm log in the store.

use super::print::{TextTable, line, note};
use super::registry::arguments::beginning;
use super::{block_on, load};
use crate::core::error::{Error, Result};
use crate::observe::alarms::{self, LoggedAlarm};
use crate::observe::report::alarm::AlarmEvent;
use crate::observe::report::column::DriftTest;
use crate::storage::layout::Records;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct AlarmsArguments {
    /// List only alarms of this model.
    model: Option<String>,
    /// Start of the period: a date (UTC) or an RFC 3339 time [default: 30 days ago].
    #[arg(long, value_name = "DATE", value_parser = beginning)]
    since: Option<DateTime<Utc>>,
    #[command(flatten)]
    pub place: RecordsPlace,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The store of records.
#[derive(Args)]
pub(super) struct RecordsPlace {
    /// URL of the store [default: records.store of the configuration].
    #[arg(long, value_name = "URL")]
    records: Option<String>,
    /// Namespace in the store.
    #[arg(long, default_value = "default")]
    namespace: String,
    /// Configuration file [default: ./ortus.toml if it exists].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl RecordsPlace {
    /// Opens the store.
    pub(super) fn open(&self) -> Result<Records> {
        if let Some(url) = &self.records {
            return Records::open(url, &self.namespace);
        }
        let config = load(
            &super::CommonArguments {
                config: self.config.clone(),
                ..Default::default()
            },
            Vec::new(),
        )?;

        crate::app::watching::records::open(&config)?.ok_or_else(|| {
            Error::invalid("no store of records is set; give --records URL, or set records.store")
        })
    }
}

/// The output of `--json`.
#[derive(Serialize)]
struct Listing {
    alarms: Vec<LoggedAlarm>,
}

/// Lists the alarms of a period.
pub(super) fn alarms(arguments: &AlarmsArguments) -> Result<()> {
    let records = arguments.place.open()?;
    let since = arguments
        .since
        .unwrap_or_else(|| Utc::now() - TimeDelta::days(30));
    let (found, damaged) = block_on(alarms::list(&records, arguments.model.as_deref(), since))?;

    if damaged > 0 {
        note(&format!(
            "{damaged} alarms were skipped: they are damaged, or written by a newer version of Ortus"
        ));
    }

    if arguments.json {
        let listing = Listing { alarms: found };
        line(&serde_json::to_string(&listing).expect("plain data is JSON"));
        return Ok(());
    }

    let mut table = TextTable::new(&[
        "time",
        "model",
        "kind",
        "what",
        "value",
        "lower bound",
        "threshold",
        "server",
    ]);
    found.iter().for_each(|kept| add(&mut table, kept));
    table.print();
    Ok(())
}

/// Adds a row with an alarm.
fn add(table: &mut TextTable, kept: &LoggedAlarm) {
    let what = match &kept.alarm {
        AlarmEvent::Incident(incident) => incident.summary.clone(),
        AlarmEvent::Drift(alarm) => format!("{} {}", alarm.column, alarm.test.metric.name()),
        AlarmEvent::Performance(alarm) => {
            format!("{} of {} rows wrong", alarm.lost, alarm.rows)
        }
        AlarmEvent::Other(alarm) => alarm.column.clone().unwrap_or_default(),
    };

    let version = kept
        .alarm
        .version()
        .map_or_else(|| "?".to_owned(), |v| v.to_string());
    let number = |of: fn(&DriftTest) -> f64| {
        kept.alarm
            .test()
            .map_or_else(String::new, |test| format!("{:.4}", of(test)))
    };

    table.row(&[
        &kept.time.format("%Y-%m-%d %H:%M:%S").to_string(),
        &format!("{}:{version}", kept.model),
        &kept.kind,
        &what,
        &number(|test| test.value),
        &number(|test| test.lower),
        &number(|test| test.threshold),
        &kept.server,
    ]);
}
