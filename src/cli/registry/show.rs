//! Prints the results of the registry's read-only commands.

use crate::cli::print::{Table, line};
use crate::core::error::{Error, Result};
use crate::registry::commands::look::Happened;
use crate::registry::servers::Presence;
use serde_json::Value;
use std::process::ExitCode;

/// Prints a value: as it is for scripts, indented for people.
pub(super) fn shown(value: &Value, json: bool) -> Result<ExitCode> {
    let pretty =
        || serde_json::to_string_pretty(value).map_err(|e| Error::internal("print").with_source(e));
    line(&if json { value.to_string() } else { pretty()? });
    Ok(ExitCode::SUCCESS)
}

/// Prints a model's history, oldest first.
pub(super) fn history(happened: &[Happened], json: bool) -> Result<ExitCode> {
    if json {
        line(&serde_json::json!(happened).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["entry", "time", "actor", "did", "champion", "reason"]);
    for change in happened {
        table.row(&[
            &change.seq.to_string(),
            &change.time.format("%Y-%m-%d %H:%M:%S").to_string(),
            &change.actor,
            &change.did.join("; "),
            &change
                .champion
                .map_or_else(|| "-".to_owned(), |v| v.to_string()),
            &change.reason,
        ]);
    }

    table.print();
    Ok(ExitCode::SUCCESS)
}

/// Prints the servers of the registry, and how many entries each is behind.
pub(super) fn fleet(servers: &[Presence], newest: u64, json: bool) -> Result<ExitCode> {
    if json {
        line(&serde_json::json!({"newest": newest, "servers": servers}).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["server", "entry", "behind", "http", "grpc", "version"]);
    for server in servers {
        table.row(&[
            &server.server,
            &server.entry.to_string(),
            &newest.saturating_sub(server.entry).to_string(),
            &server.addresses.http,
            &server.addresses.grpc,
            &server.version,
        ]);
    }

    table.print();
    Ok(ExitCode::SUCCESS)
}
