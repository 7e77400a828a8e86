//! `alarms`: what servers kept of their alarms, for whoever looks later.

use super::print::{Table, line, note};
use super::{block_on, load};
use crate::core::error::{Error, Result};
use crate::observe::alarms;
use crate::storage::layout::Records;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct AlarmsArguments {
    /// List only alarms of this model.
    model: Option<String>,
    /// Start of the period, as an RFC 3339 time [default: 30 days ago].
    #[arg(long, value_name = "TIME")]
    since: Option<DateTime<Utc>>,
    #[command(flatten)]
    pub place: Place,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Where records are.
#[derive(Args)]
pub(super) struct Place {
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

impl Place {
    /// Opens them.
    pub(super) fn open(&self) -> Result<Records> {
        if let Some(url) = &self.records {
            return Records::open(url, &self.namespace);
        }
        let config = load(
            &super::Common {
                config: self.config.clone(),
                ..Default::default()
            },
            Vec::new(),
        )?;
        crate::app::watching::records(&config)?.ok_or_else(|| Error::invalid("give --records URL"))
    }
}

/// Lists them.
pub(super) fn alarms(arguments: &AlarmsArguments) -> Result<()> {
    let records = arguments.place.open()?;
    let since = arguments
        .since
        .unwrap_or_else(|| Utc::now() - TimeDelta::days(30));
    let (found, damaged) = block_on(alarms::list(&records, arguments.model.as_deref(), since))?;
    if damaged > 0 {
        note(&format!(
            "{damaged} alarms are damaged, or of a newer ortus, and passed over"
        ));
    }
    if arguments.json {
        line(&serde_json::json!({"alarms": found}).to_string());
        return Ok(());
    }
    let mut table = Table::new(&[
        "time", "model", "kind", "what", "value", "at least", "matters", "server",
    ]);
    for kept in &found {
        let (alarm, test) = (&kept.alarm, &kept.alarm["test"]);
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &serde_json::Value| {
            value
                .as_f64()
                .map_or_else(String::new, |v| format!("{v:.4}"))
        };
        let what = match alarm["column"].as_str() {
            Some(column) => format!("{column} {}", word(&test["metric"])),
            None => format!("{} of {} rows lost", alarm["lost"], alarm["rows"]),
        };
        table.row(&[
            &kept.time.format("%Y-%m-%d %H:%M:%S").to_string(),
            &format!("{}:{}", kept.model, alarm["version"]),
            &kept.kind,
            &what,
            &number(&test["value"]),
            &number(&test["lower"]),
            &number(&test["threshold"]),
            &kept.server,
        ]);
    }
    table.print();
    Ok(())
}
