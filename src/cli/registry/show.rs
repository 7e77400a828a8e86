//! The commands that show models, versions, their history and the servers of the registry.

use super::access::{open_to_read, print};
use super::arguments::{RegistryArguments, instant, split_target};
use crate::cli::print::{TextTable, line};
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::registry::commands::look::{Happened, ListedModel};
use crate::registry::log::now;
use crate::registry::servers::Presence;
use serde_json::Value;
use std::process::ExitCode;

/// Lists the models of the registry.
pub(super) async fn list(tag: Option<&str>, common: &RegistryArguments) -> Result<ExitCode> {
    let listed = open_to_read(common).await?.list(tag).await?;
    if common.json {
        return print(&serde_json::json!(listed), "", common);
    }

    let mut table = TextTable::new(&[
        "model", "versions", "champion", "aliases", "traffic", "tags",
    ]);
    for model in &listed {
        add_model(&mut table, model);
    }

    table.print();
    Ok(ExitCode::SUCCESS)
}

/// Adds a row with a model.
fn add_model(table: &mut TextTable, model: &ListedModel) {
    let champion = model
        .aliases
        .get("champion")
        .map_or_else(|| "-".to_owned(), u64::to_string);
    let others = model
        .aliases
        .iter()
        .filter(|(alias, _)| *alias != "champion");

    table.row(&[
        &model.name,
        &model.versions.to_string(),
        &champion,
        &pairs(others),
        &pairs(&model.traffic),
        &pairs(&model.tags),
    ]);
}

/// Writes keys and values as `a=1 b=2`.
fn pairs<'m, V: std::fmt::Display + 'm>(
    map: impl IntoIterator<Item = (&'m String, &'m V)>,
) -> String {
    let pairs: Vec<String> = map
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(" ")
}

/// Shows a model or a version.
pub(super) async fn show(target: &str, common: &RegistryArguments) -> Result<ExitCode> {
    let (name, which) = split_target(target)?;
    let operator = open_to_read(common).await?;
    let shown = operator.show(&name, which.as_deref()).await?;
    print_value(&shown, common.json)
}

/// Compares two versions.
pub(super) async fn diff(
    name: &str,
    one: &str,
    two: &str,
    common: &RegistryArguments,
) -> Result<ExitCode> {
    let name = ModelName::parse(name)?;
    let diff = open_to_read(common).await?.diff(&name, one, two).await?;
    print_value(&diff, common.json)
}

/// Lists every change of a model, oldest first.
pub(super) async fn history(
    name: &str,
    at: Option<&str>,
    common: &RegistryArguments,
) -> Result<ExitCode> {
    let name = ModelName::parse(name)?;
    let until = at.map(instant).transpose()?;
    let changes = open_to_read(common).await?.history(&name, until).await?;
    if common.json {
        return print(&serde_json::json!(changes), "", common);
    }

    let mut table = TextTable::new(&["entry", "time", "actor", "change", "champion", "reason"]);
    for change in &changes {
        add_change(&mut table, change);
    }

    table.print();
    Ok(ExitCode::SUCCESS)
}

/// Adds a row with a change.
fn add_change(table: &mut TextTable, change: &Happened) {
    let champion = change
        .champion
        .map_or_else(|| "-".to_owned(), |version| version.to_string());

    table.row(&[
        &change.seq.to_string(),
        &change.time.format("%Y-%m-%d %H:%M:%S").to_string(),
        &change.actor,
        &change.did.join("; "),
        &champion,
        &change.reason,
    ]);
}

/// Lists the servers of the registry, and how many entries each is behind.
pub(super) async fn fleet(common: &RegistryArguments) -> Result<ExitCode> {
    let operator = open_to_read(common).await?;
    let newest = operator.state().await?.seq;
    let servers = operator.log.fleet(now()).await?;
    if common.json {
        let json = serde_json::json!({"newest": newest, "servers": servers});
        return print(&json, "", common);
    }

    let mut table = TextTable::new(&["server", "entry", "behind", "http", "grpc", "version"]);
    for server in &servers {
        add_server(&mut table, server, newest);
    }

    table.print();
    Ok(ExitCode::SUCCESS)
}

/// Adds a row with a server; `newest` is the last entry of the log.
fn add_server(table: &mut TextTable, server: &Presence, newest: u64) {
    table.row(&[
        &server.server,
        &server.entry.to_string(),
        &newest.saturating_sub(server.entry).to_string(),
        &server.addresses.http,
        &server.addresses.grpc,
        &server.version,
    ]);
}

/// Prints a value: on one line for scripts, indented for people.
pub(super) fn print_value(value: &Value, json: bool) -> Result<ExitCode> {
    let text = if json {
        value.to_string()
    } else {
        serde_json::to_string_pretty(value)
            .map_err(|e| Error::internal("print a value as JSON").with_source(e))?
    };

    line(&text);
    Ok(ExitCode::SUCCESS)
}
