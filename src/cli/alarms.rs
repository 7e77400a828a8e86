//! `alarms`: the alarm log in the store.

#[cfg(test)]
mod tests;

use super::print::{TextTable, line, note};
use super::registry::arguments::beginning;
use super::{block_on, load};
use crate::core::count::{agreed, counted};
use crate::core::error::{Error, Result};
use crate::observe::alarms::{self, LoggedAlarm};
use crate::observe::report::alarm::AlarmEvent;
use crate::observe::report::chart::number;
use crate::observe::report::column::SlicePart;
use crate::observe::report::incident::IncidentPhase;
use crate::observe::report::story::percent;
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
    /// URL of the store of records [default: that of the configuration, else that of the registry].
    #[arg(long, value_name = "URL")]
    records: Option<String>,
    /// URL of the registry that the servers read.
    #[arg(long, value_name = "URL", conflicts_with = "records")]
    registry: Option<String>,
    /// Namespace in the store [default: that of the configuration, else default].
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Configuration file [default: ./ortus.toml if it exists].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl RecordsPlace {
    /// Opens the store.
    pub(super) fn open(&self) -> Result<Records> {
        if let Some(url) = &self.records {
            let namespace = self.namespace.as_deref().unwrap_or("default");
            return Records::open(url, namespace);
        }
        let given = [
            ("registry.url", &self.registry),
            ("registry.namespace", &self.namespace),
        ];
        let flags = given.into_iter().filter_map(|(key, value)| {
            let value = value.clone().map(toml::Value::String)?;
            Some((key.to_owned(), value))
        });
        let config = load(
            &super::CommonArguments {
                config: self.config.clone(),
                ..Default::default()
            },
            flags.collect(),
        )?;

        crate::app::watching::records::open(&config)?.ok_or_else(|| {
            Error::invalid("no store of records is set; give --registry URL or --records URL, or set records.store")
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
            "{} skipped: damaged, or written by a newer version of Ortus",
            counted(damaged, "alarm")
        ));
    }

    if arguments.json {
        let listing = Listing { alarms: found };
        line(&serde_json::to_string(&listing).expect("plain data is JSON"));
        return Ok(());
    }

    if found.is_empty() {
        let of_model = arguments.model.as_deref();
        line(&format!(
            "no alarms{} since {} in {}",
            of_model.map_or_else(String::new, |name| format!(" of {name}")),
            since.format("%Y-%m-%d %H:%M UTC"),
            records.address()
        ));
        return Ok(());
    }
    listed(&found).print();
    Ok(())
}

/// Lists alarms, one a line.
fn listed(found: &[LoggedAlarm]) -> TextTable {
    let mut table = TextTable::new(&[
        "time", "model", "version", "event", "columns", "server", "summary",
    ]);
    for kept in found {
        let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
        table.row(&[
            &kept.time.format("%Y-%m-%d %H:%M:%S").to_string(),
            &kept.model,
            &number(kept.alarm.version()),
            event(kept),
            &number(columns(&kept.alarm)),
            &server(kept),
            &summary(&kept.alarm),
        ]);
    }
    table
}

/// Names what happened.
fn event(kept: &LoggedAlarm) -> &str {
    match &kept.alarm {
        AlarmEvent::Incident(incident) => match incident.phase {
            IncidentPhase::Opened => "incident opened",
            IncidentPhase::Updated => "incident updated",
            IncidentPhase::Closed => "incident closed",
        },
        AlarmEvent::Drift(_) => "drift alarm",
        AlarmEvent::Performance(_) => "performance alarm",
        AlarmEvent::Other(_) => &kept.kind,
    }
}

/// Returns how many columns an alarm is about; none if it is not about columns.
fn columns(alarm: &AlarmEvent) -> Option<u64> {
    match alarm {
        AlarmEvent::Incident(incident) => u64::try_from(incident.columns_total).ok(),
        AlarmEvent::Drift(_) => Some(1),
        AlarmEvent::Performance(_) => None,
        AlarmEvent::Other(alarm) => alarm.column.as_ref().map(|_| 1),
    }
}

/// Names the server that raised an alarm, and how many it speaks for.
fn server(kept: &LoggedAlarm) -> String {
    let servers = match &kept.alarm {
        AlarmEvent::Incident(incident) => incident.servers,
        AlarmEvent::Drift(alarm) => alarm.servers,
        AlarmEvent::Performance(_) | AlarmEvent::Other(_) => None,
    };
    servers.map_or_else(
        || kept.server.clone(),
        |count| format!("{} (of {})", kept.server, counted(count, "server")),
    )
}

/// Writes a time in whole days where that is possible.
fn span(hours: u64) -> String {
    if hours >= 48 && hours.is_multiple_of(24) {
        counted(hours / 24, "day")
    } else {
        counted(hours, "hour")
    }
}

/// Describes an alarm in a sentence.
fn summary(alarm: &AlarmEvent) -> String {
    match alarm {
        AlarmEvent::Incident(incident) => incident.summary.clone(),
        AlarmEvent::Drift(alarm) => format!(
            "{}: {} is {}, at least {}, and matters from {}.",
            alarm.column,
            alarm.test.metric.name(),
            number(alarm.test.value),
            number(alarm.test.lower),
            number(alarm.test.threshold)
        ),
        AlarmEvent::Performance(alarm) => format!(
            "{}{} of {} of the last {} {} wrong; up to {} may be.",
            part_prefix(alarm.part.as_ref()),
            alarm.lost,
            counted(alarm.rows, "labelled row"),
            span(alarm.span_hours),
            agreed(alarm.lost, "was", "were"),
            percent(alarm.allowed)
        ),
        AlarmEvent::Other(alarm) => alarm.column.clone().unwrap_or_else(|| "-".to_owned()),
    }
}

/// Names the part of the rows that an alarm is of, at the start of a sentence; nothing for all rows.
fn part_prefix(part: Option<&SlicePart>) -> String {
    part.map_or_else(String::new, |part| format!("Where {}: ", part.condition()))
}
