//! The registry's commands. Parses arguments, calls `registry::commands` and prints a table, or
//! with --json one JSON value.

mod answered;
pub mod arguments;
mod files;
mod key;
mod show;

pub(crate) use arguments::{By, Common, Verb, instant, split_target};

use super::print::{line, note};
use super::{block_on, load};
use crate::client;
use crate::config::Config;
use crate::core::error::{Error, Result};
use crate::core::model::{Alias, ModelName};
use crate::registry::commands::Operator;
use crate::registry::commands::change::Changed;
use crate::registry::commands::gc::Rules;
use crate::registry::commands::report;
use crate::registry::log::Author;
use crate::registry::sign::{Key, Policy};
use arguments::{AuditVerb, NameAndVersion};
use serde_json::Value;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

/// Exit code of a command that waits for approvals.
const WAITING: u8 = 4;

/// Runs a verb.
pub(super) fn run(verb: Verb) -> Result<ExitCode> {
    block_on(async {
        match verb {
            Verb::Push(arguments) => files::push(&arguments).await,
            Verb::Pull {
                target,
                output,
                common,
            } => files::pull(&target, &output, &common).await,
            Verb::List { tag, common } => files::list(tag.as_deref(), &common).await,
            Verb::Show { target, common } => {
                let (name, which) = split_target(&target)?;
                show::shown(
                    &open(&common, None, false)
                        .await?
                        .show(&name, which.as_deref())
                        .await?,
                    common.json,
                )
            }
            Verb::History { name, at, common } => {
                let until = at.as_deref().map(instant).transpose()?;
                let happened = open(&common, None, false)
                    .await?
                    .history(&parse(&name)?, until)
                    .await?;
                show::history(&happened, common.json)
            }
            Verb::Diff {
                name,
                one,
                two,
                common,
            } => {
                let diff = open(&common, None, false)
                    .await?
                    .diff(&parse(&name)?, &one, &two)
                    .await?;
                show::shown(&diff, common.json)
            }
            Verb::Promote {
                at,
                allow_signature_change,
            } => {
                let (operator, name) = writer(&at.name, &at.common, &at.by).await?;
                let changed = operator
                    .promote(&name, &at.version, allow_signature_change)
                    .await?;
                say(
                    &operator,
                    &changed,
                    &format!("version {} is champion", number(&changed)),
                    &at.common,
                    &at.by,
                )
                .await
            }
            Verb::Rollback { name, common, by } => {
                let (operator, name) = writer(&name, &common, &by).await?;
                let changed = operator.rollback(&name).await?;
                say(
                    &operator,
                    &changed,
                    &format!("version {} is champion again", number(&changed)),
                    &common,
                    &by,
                )
                .await
            }
            Verb::Alias {
                name,
                alias,
                version,
                remove,
                common,
                by,
            } => {
                let (operator, name) = writer(&name, &common, &by).await?;
                let alias = Alias::parse(&alias)?;
                let changed = operator
                    .alias(&name, &alias, version.as_deref().filter(|_| !remove))
                    .await?;
                let done = if remove {
                    "is removed".into()
                } else {
                    format!("is version {}", number(&changed))
                };
                say(
                    &operator,
                    &changed,
                    &format!("{alias} {done}"),
                    &common,
                    &by,
                )
                .await
            }
            Verb::Traffic {
                name,
                weights,
                common,
                by,
            } => {
                let (operator, name) = writer(&name, &common, &by).await?;
                let weights = weights
                    .iter()
                    .map(|w| arguments::weight(w))
                    .collect::<Result<BTreeMap<_, _>>>()?;
                say(
                    &operator,
                    &operator.traffic(&name, &weights).await?,
                    "the traffic weights are set",
                    &common,
                    &by,
                )
                .await
            }
            Verb::Retire(NameAndVersion {
                name,
                version,
                common,
                by,
            }) => {
                let (operator, name) = writer(&name, &common, &by).await?;
                let changed = operator.retire(&name, &version).await?;
                say(
                    &operator,
                    &changed,
                    &format!("version {} is retired", number(&changed)),
                    &common,
                    &by,
                )
                .await
            }
            Verb::Tag {
                target,
                tag,
                remove,
                common,
                by,
            } => {
                let (name, which) = split_target(&target)?;
                let operator = open(&common, Some(&by), true).await?;
                let (key, value) = match tag.split_once('=') {
                    Some((key, value)) if !remove => (key, Some(value)),
                    None if remove => (tag.as_str(), None),
                    _ => {
                        return Err(Error::invalid(
                            "the tag must be KEY=VALUE, or KEY with --remove",
                        ));
                    }
                };
                say(
                    &operator,
                    &operator.tag(&name, which.as_deref(), key, value).await?,
                    "tagged",
                    &common,
                    &by,
                )
                .await
            }
            Verb::Approve(at) => judge(&at, true).await,
            Verb::Reject(at) => judge(&at, false).await,
            Verb::Policy {
                approvals,
                signatures,
                owners,
                common,
                by,
            } => {
                let signatures = signatures.as_deref().map(Policy::parse).transpose()?;
                let required = open(&common, Some(&by), true)
                    .await?
                    .require(approvals, signatures, &owners)
                    .await?;
                let text = format!(
                    "a champion needs {} approvals; signatures: {}",
                    required.approvals,
                    required.signatures.word()
                );
                print(&serde_json::json!(required), &text, &common)
            }
            Verb::Gc {
                dry_run,
                grace,
                retain,
                common,
                by,
            } => {
                let hours = |n: u32| Duration::from_secs(u64::from(n) * 3600);
                let rules = Rules {
                    grace: hours(grace),
                    retain: hours(retain.saturating_mul(24)),
                    dry_run,
                };
                let swept = open(&common, Some(&by), true).await?.gc(rules).await?;
                let done = if dry_run {
                    "would be deleted"
                } else {
                    "deleted"
                };
                let text = format!(
                    "{} blobs, {} bytes {done}; {} too young",
                    swept.blobs, swept.bytes, swept.young
                );
                print(&serde_json::json!(swept), &text, &common)
            }
            Verb::Fleet { common } => {
                let operator = open(&common, None, false).await?;
                let newest = operator.state().await?.seq;
                show::fleet(
                    &operator.log.fleet(crate::registry::log::now()).await?,
                    newest,
                    common.json,
                )
            }
            Verb::Key { verb } => key::run(verb),
            Verb::Lineage {
                target,
                prediction,
                common,
            } => {
                let operator = open(&common, None, false).await?;
                let (name, which) = match (target, prediction) {
                    (Some(target), _) => split_target(&target)?,
                    (None, id) => {
                        answered::answered_by(&operator, &common, id.unwrap_or_default()).await?
                    }
                };
                let lineage = operator.lineage(&name, which.as_deref()).await?;
                show::shown(&Value::Array(lineage), common.json)
            }
            Verb::Export {
                target,
                output,
                common,
            } => {
                let (name, which) = split_target(&target)?;
                let operator = open(&common, None, false).await?;
                let version = operator
                    .export(&name, which.as_deref(), &output, &|_| {})
                    .await?
                    .number();
                let text = format!("{name}:{version} is in {}", output.display());
                print(
                    &serde_json::json!({"name": name.as_str(), "version": version, "path": output}),
                    &text,
                    &common,
                )
            }
            Verb::Import {
                path,
                name,
                common,
                by,
            } => {
                let name = name.as_deref().map(parse).transpose()?;
                let operator = open(&common, Some(&by), true).await?;
                let bar = files::bar();
                let pushed = operator
                    .import(&path, name.as_ref(), &|bytes| bar.inc(bytes))
                    .await;
                bar.finish_and_clear();
                let pushed = pushed?;
                nudge(&operator, &by).await;
                let lines: Vec<String> = pushed
                    .iter()
                    .map(|p| format!("{}:{}", p.name, p.version))
                    .collect();
                print(&serde_json::json!(pushed), &lines.join("\n"), &common)
            }
            Verb::Audit {
                verb:
                    AuditVerb::Report {
                        model,
                        since,
                        until,
                        html,
                        common,
                    },
            } => {
                let model = model.as_deref().map(parse).transpose()?;
                let since = since.as_deref().map(arguments::beginning).transpose()?;
                let until = until.as_deref().map(arguments::instant).transpose()?;
                let operator = open(&common, None, false).await?;
                let moves = operator
                    .moves(model.as_ref(), report::Period { since, until })
                    .await?;
                let render = if html { report::html } else { report::markdown };
                let text = render(operator.log.namespace(), &moves);
                print(&serde_json::json!(moves), text.trim_end(), &common)
            }
            Verb::Audit {
                verb: AuditVerb::Verify { common },
            } => {
                let verified = open(&common, None, false).await?.verify(&|_| {}).await?;
                verified
                    .void
                    .iter()
                    .for_each(|v| note(&format!("ortus: entry without effect: {v}")));
                let text = format!(
                    "verified: {} entries, {} blobs ({} bytes), {} checkpoints",
                    verified.entries, verified.blobs, verified.bytes, verified.checkpoints
                );
                print(&serde_json::json!(verified), &text, &common)
            }
        }
    })
}

/// Notifies servers of a change: those that are named, or else those of the fleet. A server that
/// does not answer is not an error, because it polls the registry anyway.
pub async fn nudge(operator: &Operator, by: &By) {
    let fleet = async || {
        let fleet = operator
            .log
            .fleet(crate::registry::log::now())
            .await
            .unwrap_or_default();
        fleet
            .into_iter()
            .map(|server| server.addresses.operator)
            .collect()
    };

    let (named, addresses) = match by.nudge.as_slice() {
        [] => (false, fleet().await),
        named => (true, named.to_vec()),
    };
    let all = addresses
        .iter()
        .take(NUDGES_MAX)
        .map(|address| client::nudge(address));
    for error in futures_util::future::join_all(all)
        .await
        .into_iter()
        .filter_map(Result::err)
    {
        if named {
            note(&format!(
                "ortus: a server was not notified of the change and will see it at its next poll: {error}"
            ));
        }
    }
}

/// Most servers that a command notifies.
const NUDGES_MAX: usize = 64;

/// Opens the registry of the flags, the environment or the configuration.
pub async fn open(common: &Common, by: Option<&By>, writes: bool) -> Result<Operator> {
    let config = config(common)?.registry;
    let url = config.url.ok_or_else(|| {
        Error::invalid("no registry is set; give --registry URL, or set ORTUS_REGISTRY__URL, or registry.url in ortus.toml")
    })?;
    let actor = by.and_then(|by| by.actor.clone()).unwrap_or_else(user);
    let reason = by.and_then(|by| by.reason.clone()).unwrap_or_default();
    let key = by
        .and_then(|by| by.key.as_deref())
        .map(Key::read)
        .transpose()?;
    let operator =
        Operator::open(&url, &config.namespace, Author { actor, reason }, writes).await?;
    Ok(Operator { key, ..operator })
}

/// Loads the configuration, overridden by the flags.
pub fn config(common: &Common) -> Result<Config> {
    let mut flags = Vec::new();
    let mut put = |key: &str, value: &Option<String>| {
        flags.extend(
            value
                .clone()
                .map(|v| (key.to_owned(), toml::Value::String(v))),
        );
    };

    put("registry.url", &common.registry);
    put("registry.namespace", &common.namespace);
    load(
        &super::Common {
            config: common.config.clone(),
            ..super::Common::default()
        },
        flags,
    )
}

/// Returns the name of the user, from the environment or from `/etc/passwd`.
fn user() -> String {
    use std::os::unix::fs::MetadataExt;
    let named = ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    let listed = || {
        let id = std::fs::metadata("/proc/self").ok()?.uid().to_string();
        let users = std::fs::read_to_string("/etc/passwd").ok()?;
        let line = users
            .lines()
            .find(|l| l.split(':').nth(2) == Some(id.as_str()))?;
        Some(line.split(':').next()?.to_owned())
    };

    named
        .or_else(listed)
        .unwrap_or_else(|| "unknown".to_owned())
}

async fn writer(name: &str, common: &Common, by: &By) -> Result<(Operator, ModelName)> {
    let name = parse(name)?;
    Ok((open(common, Some(by), true).await?, name))
}

fn parse(name: &str) -> Result<ModelName> {
    ModelName::parse(name)
}

fn number(changed: &Changed) -> u64 {
    changed.version.unwrap_or_default()
}

fn print(json: &Value, text: &str, common: &Common) -> Result<ExitCode> {
    line(&if common.json {
        json.to_string()
    } else {
        text.to_owned()
    });

    Ok(ExitCode::SUCCESS)
}

async fn say(
    operator: &Operator,
    changed: &Changed,
    done: &str,
    common: &Common,
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

async fn judge(at: &NameAndVersion, approve: bool) -> Result<ExitCode> {
    let (operator, name) = writer(&at.name, &at.common, &at.by).await?;
    let changed = operator.judge(&name, &at.version, approve).await?;
    let verdict = if approve { "approved" } else { "rejected" };
    say(
        &operator,
        &changed,
        &format!("version {} is {verdict}", number(&changed)),
        &at.common,
        &at.by,
    )
    .await
}
