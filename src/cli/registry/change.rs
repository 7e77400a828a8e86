//! The commands that change a model's champion, aliases, traffic, tags and approvals, and the
//! policy of the namespace.

use super::access::{open_model, open_to_change, print};
use super::arguments::change::{
    AliasArguments, NameAndVersion, PolicyArguments, PromoteArguments, RollbackArguments,
    TagArguments, TrafficArguments,
};
use super::arguments::{By, RegistryArguments, split_target, weight};
use super::notify::nudge;
use crate::cli::print::{line, note};
use crate::core::error::{Error, Result};
use crate::core::model::Alias;
use crate::registry::commands::Operator;
use crate::registry::commands::change::Changed;
use crate::registry::sign::Policy;
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Exit code of a command that waits for approvals.
pub(super) const WAITING: u8 = 4;

/// Makes a version champion.
pub(super) async fn promote(arguments: &PromoteArguments) -> Result<ExitCode> {
    let at = &arguments.at;
    let (operator, name) = open_model(&at.name, &at.common, &at.by).await?;
    let changed = operator
        .promote(&name, &at.version, arguments.allow_signature_change)
        .await?;

    let done = format!("version {} is champion", number(&changed));
    finish(&operator, &changed, &done, &at.common, &at.by).await
}

/// Restores the previous champion.
pub(super) async fn rollback(arguments: &RollbackArguments) -> Result<ExitCode> {
    let RollbackArguments { name, common, by } = arguments;
    let (operator, name) = open_model(name, common, by).await?;
    let changed = operator.rollback(&name).await?;

    let done = format!("version {} is champion again", number(&changed));
    finish(&operator, &changed, &done, common, by).await
}

/// Sets an alias, or removes it.
pub(super) async fn alias(arguments: &AliasArguments) -> Result<ExitCode> {
    let (common, by) = (&arguments.common, &arguments.by);
    let (operator, name) = open_model(&arguments.name, common, by).await?;
    let alias = Alias::parse(&arguments.alias)?;
    let version = arguments.version.as_deref().filter(|_| !arguments.remove);
    let changed = operator.alias(&name, &alias, version).await?;

    let done = if arguments.remove {
        format!("{alias} is removed")
    } else {
        format!("{alias} is version {}", number(&changed))
    };
    finish(&operator, &changed, &done, common, by).await
}

/// Sets the traffic weights of a model.
pub(super) async fn traffic(arguments: &TrafficArguments) -> Result<ExitCode> {
    let (common, by) = (&arguments.common, &arguments.by);
    let (operator, name) = open_model(&arguments.name, common, by).await?;
    let weights = arguments
        .weights
        .iter()
        .map(|text| weight(text))
        .collect::<Result<BTreeMap<_, _>>>()?;

    let changed = operator.traffic(&name, &weights).await?;
    let done = "the traffic weights are set";
    finish(&operator, &changed, done, common, by).await
}

/// Retires a version.
pub(super) async fn retire(at: &NameAndVersion) -> Result<ExitCode> {
    let (operator, name) = open_model(&at.name, &at.common, &at.by).await?;
    let changed = operator.retire(&name, &at.version).await?;

    let done = format!("version {} is retired", number(&changed));
    finish(&operator, &changed, &done, &at.common, &at.by).await
}

/// Sets a tag of a model or a version, or removes it.
pub(super) async fn tag(arguments: &TagArguments) -> Result<ExitCode> {
    let (common, by) = (&arguments.common, &arguments.by);
    let (name, which) = split_target(&arguments.target)?;
    let (key, value) = match arguments.tag.split_once('=') {
        Some((key, value)) if !arguments.remove => (key, Some(value)),
        None if arguments.remove => (arguments.tag.as_str(), None),
        _ => {
            return Err(Error::invalid(
                "the tag must be KEY=VALUE, or KEY with --remove",
            ));
        }
    };

    let operator = open_to_change(common, by).await?;
    let changed = operator.tag(&name, which.as_deref(), key, value).await?;
    finish(&operator, &changed, "tagged", common, by).await
}

/// Approves or rejects a version.
pub(super) async fn judge(at: &NameAndVersion, approve: bool) -> Result<ExitCode> {
    let (operator, name) = open_model(&at.name, &at.common, &at.by).await?;
    let changed = operator.judge(&name, &at.version, approve).await?;

    let verdict = if approve { "approved" } else { "rejected" };
    let done = format!("version {} is {verdict}", number(&changed));
    finish(&operator, &changed, &done, &at.common, &at.by).await
}

/// Sets the approval and signature policy of the namespace.
pub(super) async fn policy(arguments: &PolicyArguments) -> Result<ExitCode> {
    let signatures = arguments
        .signatures
        .as_deref()
        .map(Policy::parse)
        .transpose()?;
    let operator = open_to_change(&arguments.common, &arguments.by).await?;
    let required = operator
        .set_requirements(arguments.approvals, signatures, &arguments.owners)
        .await?;

    let text = format!(
        "a champion needs {} approvals; signatures: {}",
        required.approvals,
        required.signatures.name()
    );
    print(&serde_json::json!(required), &text, &arguments.common)
}

/// Returns the version that a change is about; 0 if it is about none.
fn number(changed: &Changed) -> u64 {
    changed.version.unwrap_or_default()
}

/// Notifies servers and prints the change, or that it waits for approvals.
async fn finish(
    operator: &Operator,
    changed: &Changed,
    done: &str,
    common: &RegistryArguments,
    by: &By,
) -> Result<ExitCode> {
    if changed.seq.is_some() {
        nudge(operator, by).await;
    }

    if changed.waiting {
        note(&format!(
            "ortus: version {} waits for approvals before it can become champion",
            number(changed)
        ));
        if common.json {
            line(&serde_json::json!(changed).to_string());
        }
        return Ok(ExitCode::from(WAITING));
    }

    let entry = changed
        .seq
        .map_or_else(|| "no change".to_owned(), |seq| format!("entry {seq}"));
    print(
        &serde_json::json!(changed),
        &format!("{}: {done} ({entry})", changed.name),
        common,
    )
}
