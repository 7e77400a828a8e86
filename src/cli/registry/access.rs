//! Opens the registry that the flags, the environment or the configuration name, and prints the
//! outcome of a command.

use super::arguments::{By, RegistryArguments};
use crate::cli::load;
use crate::cli::print::line;
use crate::config::Config;
use crate::core::error::{Error, Result};
use crate::core::model::ModelName;
use crate::registry::commands::Operator;
use crate::registry::log::Author;
use crate::registry::sign::PrivateKey;
use serde_json::Value;
use std::process::ExitCode;

/// Opens the registry of the flags, the environment or the configuration.
pub async fn open(common: &RegistryArguments, by: Option<&By>, writes: bool) -> Result<Operator> {
    let config = config(common)?.registry;
    let url = config.url.ok_or_else(|| {
        Error::invalid("no registry is set; give --registry URL, or set ORTUS_REGISTRY__URL, or registry.url in ortus.toml")
    })?;

    let actor = by.and_then(|by| by.actor.clone()).unwrap_or_else(user);
    let reason = by.and_then(|by| by.reason.clone()).unwrap_or_default();
    let key = by
        .and_then(|by| by.key.as_deref())
        .map(PrivateKey::read)
        .transpose()?;

    let operator =
        Operator::open(&url, &config.namespace, Author { actor, reason }, writes).await?;
    Ok(Operator { key, ..operator })
}

/// Opens the registry to read it.
pub(super) async fn open_to_read(common: &RegistryArguments) -> Result<Operator> {
    open(common, None, false).await
}

/// Opens the registry to change it.
pub(super) async fn open_to_change(common: &RegistryArguments, by: &By) -> Result<Operator> {
    open(common, Some(by), true).await
}

/// Checks the name of a model, and opens the registry to change that model.
pub(super) async fn open_model(
    name: &str,
    common: &RegistryArguments,
    by: &By,
) -> Result<(Operator, ModelName)> {
    let name = ModelName::parse(name)?;
    Ok((open_to_change(common, by).await?, name))
}

/// Loads the configuration, overridden by the flags.
pub fn config(common: &RegistryArguments) -> Result<Config> {
    let given = [
        ("registry.url", &common.registry),
        ("registry.namespace", &common.namespace),
    ];
    let flags = given.into_iter().filter_map(|(key, value)| {
        let value = toml::Value::String(value.clone()?);
        Some((key.to_owned(), value))
    });

    load(&common.file(), flags.collect())
}

/// Prints the outcome of a command: JSON if it is asked for, otherwise the text.
pub(super) fn print(json: &Value, text: &str, common: &RegistryArguments) -> Result<ExitCode> {
    line(&if common.json {
        json.to_string()
    } else {
        text.to_owned()
    });

    Ok(ExitCode::SUCCESS)
}

/// Returns the name of the user: from the environment, or else from `/etc/passwd`.
fn user() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()))
        .or_else(user_of_process)
        .unwrap_or_else(|| "unknown".to_owned())
}

/// Looks up the user of this process in `/etc/passwd`.
fn user_of_process() -> Option<String> {
    use std::os::unix::fs::MetadataExt;

    let id = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users
        .lines()
        .find(|line| line.split(':').nth(2) == Some(id.as_str()))?;
    Some(line.split(':').next()?.to_owned())
}
