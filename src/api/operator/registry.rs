//! The registry's commands over the operator listener, for REST and for gRPC:
//! calls `registry::commands`. Does not push: the bytes of a version come from
//! the command line, with its own credentials, and no request names a file.

use super::route::{ModelChange, Query, RegistryRoute};
use crate::api::Front;
use crate::api::rest::reply::Reply;
use crate::core::error::{Error, Result};
use crate::core::model::{Alias, ModelName};
use crate::registry::commands::Operator;
use crate::registry::commands::change::Changed;
use crate::registry::commands::gc::GcRules;
use crate::registry::commands::report::Period;
use crate::registry::log::{Author, now};
use crate::registry::sign::Policy;
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The fields of a change; each command refuses a request without those it needs.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct ChangeFields {
    /// The number of a version, or an alias of it.
    pub version: Option<String>,
    pub alias: Option<String>,
    pub weights: BTreeMap<String, u32>,
    pub key: Option<String>,
    pub value: Option<String>,
    pub approvals: Option<u32>,
    pub signatures: Option<Policy>,
    pub allow_signature_change: bool,
    pub dry_run: bool,
    pub grace_hours: Option<u32>,
    pub retain_days: Option<u32>,
    pub reason: String,
    pub actor: Option<String>,
}

impl ChangeFields {
    fn version(&self) -> Result<&str> {
        self.version.as_deref().ok_or_else(|| lacks("version"))
    }

    fn key(&self) -> Result<&str> {
        self.key.as_deref().ok_or_else(|| lacks("key"))
    }

    fn alias(&self) -> Result<Alias> {
        Alias::parse(self.alias.as_deref().ok_or_else(|| lacks("alias"))?)
    }

    /// Returns what `gc` may delete.
    pub(super) fn rules(&self) -> GcRules {
        let hours = |n: u32| Duration::from_secs(u64::from(n) * 3600);
        GcRules {
            grace: hours(self.grace_hours.unwrap_or(24)),
            retain: hours(self.retain_days.unwrap_or(30).saturating_mul(24)),
            dry_run: self.dry_run,
        }
    }
}

fn lacks(what: &str) -> Error {
    Error::invalid(format!("'{what}' is missing in the request"))
}

/// A read of the registry.
pub(super) enum RegistryQuery<'a> {
    List {
        tag: Option<&'a str>,
    },
    Show {
        model: &'a str,
        version: Option<&'a str>,
    },
    History {
        model: &'a str,
    },
    Lineage {
        model: &'a str,
        version: Option<&'a str>,
    },
    Diff {
        model: &'a str,
        from: &'a str,
        to: &'a str,
    },
    Fleet,
    Report,
}

/// Opens the registry that this server follows, for reading or for a change.
pub(super) async fn open(front: &Front, fields: &ChangeFields, writes: bool) -> Result<Operator> {
    let registry = front.registry.as_ref();
    let (url, namespace) = registry.ok_or_else(|| {
        Error::precondition("this server follows no registry: it serves a model directory")
    })?;

    let actor = fields
        .actor
        .clone()
        .unwrap_or_else(|| "operator-api".to_owned());
    Operator::open(
        url,
        namespace,
        Author {
            actor,
            reason: fields.reason.clone(),
        },
        writes,
    )
    .await
}

/// Answers a read.
pub(super) async fn answer_query(front: &Front, what: RegistryQuery<'_>) -> Result<Value> {
    let operator = open(front, &ChangeFields::default(), false).await?;
    Ok(match what {
        RegistryQuery::List { tag } => json!(operator.list(tag).await?),
        RegistryQuery::Show { model, version } => {
            operator.show(&ModelName::parse(model)?, version).await?
        }
        RegistryQuery::History { model } => {
            json!(operator.history(&ModelName::parse(model)?, None).await?)
        }
        RegistryQuery::Lineage { model, version } => {
            json!(operator.lineage(&ModelName::parse(model)?, version).await?)
        }
        RegistryQuery::Diff { model, from, to } => {
            operator.diff(&ModelName::parse(model)?, from, to).await?
        }
        RegistryQuery::Fleet => {
            json!({"newest": operator.state().await?.seq, "servers": operator.log.fleet(now()).await?})
        }
        RegistryQuery::Report => json!(operator.champion_changes(None, Period::default()).await?),
    })
}

/// Makes a change, and has the server read the log at once.
pub(super) async fn change(
    front: &Front,
    name: &str,
    verb: ModelChange,
    fields: &ChangeFields,
) -> Result<Changed> {
    let name = &ModelName::parse(name)?;
    let operator = open(front, fields, true).await?;

    let changed = match verb {
        ModelChange::Promote => {
            operator
                .promote(name, fields.version()?, fields.allow_signature_change)
                .await
        }
        ModelChange::Rollback => operator.rollback(name).await,
        ModelChange::Alias => {
            operator
                .alias(name, &fields.alias()?, fields.version.as_deref())
                .await
        }
        ModelChange::Traffic => operator.traffic(name, &fields.weights).await,
        ModelChange::Retire => operator.retire(name, fields.version()?).await,
        ModelChange::Tag => {
            operator
                .tag(
                    name,
                    fields.version.as_deref(),
                    fields.key()?,
                    fields.value.as_deref(),
                )
                .await
        }
        ModelChange::Approve => operator.judge(name, fields.version()?, true).await,
        ModelChange::Reject => operator.judge(name, fields.version()?, false).await,
    }?;

    front.manager.nudge();
    Ok(changed)
}

/// Sets the policy of the namespace.
pub(super) async fn policy(
    front: &Front,
    fields: &ChangeFields,
) -> Result<crate::registry::commands::change::Required> {
    if fields.approvals.is_none() && fields.signatures.is_none() {
        return Err(Error::invalid(
            "'approvals' or 'signatures' is missing in the request",
        ));
    }

    open(front, fields, true)
        .await?
        .set_requirements(fields.approvals, fields.signatures, &[])
        .await
}

/// Answers a call of `/v1/registry/…`.
pub(super) async fn answer(
    front: &Front,
    call: RegistryRoute,
    query: &Query,
    body: &Bytes,
) -> Result<Reply> {
    let fields: ChangeFields = match body.is_empty() {
        true => ChangeFields::default(),
        false => serde_json::from_slice(body).map_err(|e| {
            Error::invalid(format!("the body is not valid JSON for this call: {e}"))
        })?,
    };

    let value = match call {
        RegistryRoute::Verify => {
            json!(open(front, &fields, false).await?.verify(&|_| {}).await?)
        }
        RegistryRoute::Gc => json!(open(front, &fields, true).await?.gc(fields.rules()).await?),
        RegistryRoute::Policy => json!(policy(front, &fields).await?),
        RegistryRoute::Change(name, verb) => {
            let changed = change(front, &name, verb, &fields).await?;
            let mut reply = Reply::json(json!(changed).to_string());
            if changed.waiting {
                reply.status = StatusCode::ACCEPTED;
            }
            return Ok(reply);
        }
        read => answer_query(front, parse_query(&read, query)?).await?,
    };

    Ok(Reply::json(value.to_string()))
}

/// Turns a call and the parameters of its query into what it reads.
fn parse_query<'a>(call: &'a RegistryRoute, query: &'a Query) -> Result<RegistryQuery<'a>> {
    let version = query.value("version");
    Ok(match call {
        RegistryRoute::List => RegistryQuery::List {
            tag: query.value("tag"),
        },
        RegistryRoute::Fleet => RegistryQuery::Fleet,
        RegistryRoute::Report => RegistryQuery::Report,
        RegistryRoute::Show(model) => RegistryQuery::Show { model, version },
        RegistryRoute::History(model) => RegistryQuery::History { model },
        RegistryRoute::Lineage(model) => RegistryQuery::Lineage { model, version },
        RegistryRoute::Diff(model) => RegistryQuery::Diff {
            model,
            from: query.required("from")?,
            to: query.required("to")?,
        },
        RegistryRoute::Verify
        | RegistryRoute::Gc
        | RegistryRoute::Policy
        | RegistryRoute::Change(..) => {
            return Err(Error::internal(
                "a call that changes the registry is not a read",
            ));
        }
    })
}
