//! The registry's verbs over the operator listener: parse, call `operate`,
//! print. No path or address in a request names bytes: what is pushed is pushed
//! by the command line, with its own credentials.

use crate::api::Front;
use crate::api::rest::Reply;
use crate::error::{Error, Result};
use crate::model::{Alias, ModelName};
use crate::operate::Operator;
use crate::operate::change::Changed;
use crate::operate::gc::Rules;
use crate::registry::log::{Author, now};
use crate::registry::sign::Policy;
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a change says; a verb refuses what it needs and does not find.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asked {
    /// A version's number, or an alias of it.
    version: Option<String>,
    alias: Option<String>,
    weights: BTreeMap<String, u32>,
    key: Option<String>,
    value: Option<String>,
    approvals: Option<u32>,
    signatures: Option<Policy>,
    allow_signature_change: bool,
    dry_run: bool,
    grace_hours: Option<u32>,
    retain_days: Option<u32>,
    reason: String,
    actor: Option<String>,
}

impl Asked {
    fn version(&self) -> Result<&str> {
        self.version.as_deref().ok_or_else(|| Error::invalid("the body lacks 'version'"))
    }

    fn key(&self) -> Result<&str> {
        self.key.as_deref().ok_or_else(|| Error::invalid("the body lacks 'key'"))
    }

    fn alias(&self) -> Result<Alias> {
        Alias::parse(self.alias.as_deref().ok_or_else(|| Error::invalid("the body lacks 'alias'"))?)
    }
}

/// Answers `GET` or `POST /v1/registry/…`; `path` is what follows.
pub(super) async fn answer(front: &Front, method: &str, path: &str, query: &str, body: &Bytes) -> Result<Reply> {
    let (url, namespace) = front
        .registry
        .as_ref()
        .ok_or_else(|| Error::precondition("this server serves a directory; it follows no registry"))?;
    let asked: Asked = match body.is_empty() {
        true => Asked::default(),
        false => serde_json::from_slice(body)
            .map_err(|e| Error::invalid(format!("the body is not the JSON expected: {e}")))?,
    };
    let author = Author {
        actor: asked.actor.clone().unwrap_or_else(|| "operator-api".to_owned()),
        reason: asked.reason.clone(),
    };
    let writes = method == "POST" && path != "verify";
    let operator = Operator::open(url, namespace, author, writes).await?;
    let parts: Vec<&str> = path.split('/').collect();
    if method == "GET" {
        return look(&operator, &parts, query).await.map(|value| Reply::json(value.to_string()));
    }
    let value = match parts.as_slice() {
        ["verify"] => json!(operator.verify(&|_| {}).await?),
        ["gc"] => json!(operator.gc(rules(&asked)).await?),
        ["policy"] => {
            if asked.approvals.is_none() && asked.signatures.is_none() {
                return Err(Error::invalid("the body lacks 'approvals' and 'signatures'"));
            }
            json!(operator.require(asked.approvals, asked.signatures).await?)
        }
        ["models", name, verb] => {
            let changed = change(&operator, &ModelName::parse(name)?, verb, &asked).await?;
            front.manager.nudge();
            let mut reply = Reply::json(json!(changed).to_string());
            if changed.waiting {
                reply.status = StatusCode::ACCEPTED;
            }
            return Ok(reply);
        }
        _ => return Err(unknown()),
    };
    Ok(Reply::json(value.to_string()))
}

fn unknown() -> Error {
    Error::not_found("no such call; docs/registry.md lists them")
}

fn rules(asked: &Asked) -> Rules {
    let hours = |n: u32| Duration::from_secs(u64::from(n) * 3600);
    Rules {
        grace: hours(asked.grace_hours.unwrap_or(24)),
        retain: hours(asked.retain_days.unwrap_or(30).saturating_mul(24)),
        dry_run: asked.dry_run,
    }
}

async fn look(operator: &Operator, parts: &[&str], query: &str) -> Result<Value> {
    let field = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let needed = |key: &str| field(key).ok_or_else(|| Error::invalid(format!("the query lacks '{key}'")));
    Ok(match parts {
        ["models"] => json!(operator.list(field("tag")).await?),
        ["fleet"] => json!({"newest": operator.state().await?.seq, "servers": operator.log.fleet(now()).await?}),
        ["report"] => json!(operator.moves(None, (None, None)).await?),
        ["models", name] => operator.show(&ModelName::parse(name)?, field("version")).await?,
        ["models", name, "history"] => json!(operator.history(&ModelName::parse(name)?, None).await?),
        ["models", name, "lineage"] => json!(operator.lineage(&ModelName::parse(name)?, field("version")).await?),
        ["models", name, "diff"] => operator.diff(&ModelName::parse(name)?, needed("from")?, needed("to")?).await?,
        _ => return Err(unknown()),
    })
}

async fn change(operator: &Operator, name: &ModelName, verb: &str, asked: &Asked) -> Result<Changed> {
    match verb {
        "promote" => operator.promote(name, asked.version()?, asked.allow_signature_change).await,
        "rollback" => operator.rollback(name).await,
        "alias" => operator.alias(name, &asked.alias()?, asked.version.as_deref()).await,
        "traffic" => operator.traffic(name, &asked.weights).await,
        "retire" => operator.retire(name, asked.version()?).await,
        "tag" => operator.tag(name, asked.version.as_deref(), asked.key()?, asked.value.as_deref()).await,
        "approve" => operator.judge(name, asked.version()?, true).await,
        "reject" => operator.judge(name, asked.version()?, false).await,
        _ => Err(unknown()),
    }
}
