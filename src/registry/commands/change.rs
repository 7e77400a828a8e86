//! Commands that change what points at a version, its tags and its approvals:
//! promote, roll back, alias, traffic, retire, tag, approve. Each commits one
//! entry. If another writer commits first, the command is decided again on the new
//! state.

use super::{Operator, find, manifest};
use crate::core::error::{Error, Kind, Result};
use crate::core::model::{Alias, ModelName, Version};
use crate::registry::entry::Op;
use crate::registry::fold::{NamespaceState, nothing_before};
use crate::registry::sign::{Policy, check_public};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// The result of a change.
#[derive(Debug, Serialize)]
pub(crate) struct Changed {
    pub name: String,
    /// The version that was changed, if one was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The entry; absent if there was nothing to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// Whether the version waits for approvals, so nothing changed.
    pub waiting: bool,
}

/// The policy of a namespace.
#[derive(Debug, Serialize)]
pub(crate) struct Required {
    pub approvals: u32,
    pub signatures: Policy,
    /// The keys that may change the policy.
    pub owners: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// The version that a change is about, and its operations; empty if there is nothing to change.
type Decided = Result<(Option<Version>, Vec<Op>)>;

/// Returns the version that `which` names, and the champion.
fn resolve_with_champion(
    state: &NamespaceState,
    name: &ModelName,
    which: &str,
) -> Result<(Version, Option<Version>)> {
    Ok((find(state, name, which)?, state.model(name)?.champion()))
}

impl Operator {
    async fn change(
        &self,
        name: &ModelName,
        decide: &(dyn Fn(&NamespaceState) -> Decided + Sync),
    ) -> Result<Changed> {
        let version = parking_lot::Mutex::new(None);
        let decide = |state: &NamespaceState| {
            let (about, ops) = decide(state)?;
            *version.lock() = about;
            Ok(ops.into())
        };

        let committed = self.commit(self.state().await?, &decide).await?;
        let version = version.lock().map(Version::number);
        Ok(Changed {
            name: name.to_string(),
            version,
            seq: committed.seq,
            waiting: false,
        })
    }

    /// Makes a version champion. Refuses one whose signature breaks the
    /// champion's clients, unless that is allowed.
    pub(crate) async fn promote(
        &self,
        name: &ModelName,
        which: &str,
        allow_signature_change: bool,
    ) -> Result<Changed> {
        loop {
            let state = self.state().await?;
            let compared = resolve_with_champion(&state, name, which)?;
            if !allow_signature_change {
                self.check_signature(&state, name, compared.0).await?;
            }
            let (waiting, stale) = (AtomicBool::new(false), AtomicBool::new(false));
            let decide = |state: &NamespaceState| {
                let (version, champion) = resolve_with_champion(state, name, which)?;
                // The version or the champion has changed since the signatures were
                // compared.
                stale.store((version, champion) != compared, Ordering::Relaxed);
                if champion == Some(version) || stale.load(Ordering::Relaxed) {
                    return Ok((Some(version), Vec::new()));
                }
                let record = state.model(name)?.versions.get(&version);
                match record.map(|record| state.check_approved(record)) {
                    Some(Err(error)) if error.kind == Kind::FailedPrecondition => {
                        return Err(error);
                    }
                    Some(Err(_)) => {
                        waiting.store(true, Ordering::Relaxed);
                        return Ok((Some(version), Vec::new()));
                    }
                    _ => {}
                }
                Ok((
                    Some(version),
                    vec![Op::Promote {
                        model: name.clone(),
                        version,
                        from: champion,
                    }],
                ))
            };
            let changed = self.change(name, &decide).await?;
            if !stale.load(Ordering::Relaxed) {
                return Ok(Changed {
                    waiting: waiting.load(Ordering::Relaxed),
                    ..changed
                });
            }
        }
    }

    async fn check_signature(
        &self,
        state: &NamespaceState,
        name: &ModelName,
        version: Version,
    ) -> Result<()> {
        let model = state.model(name)?;
        let record = |v: Version| model.versions.get(&v);
        let Some((new, old)) = record(version).zip(model.champion().and_then(record)) else {
            return Ok(());
        };
        let (new, old) = (
            manifest(&self.log, new).await?,
            manifest(&self.log, old).await?,
        );
        let broken = new.signature.breaks(&old.signature);
        if broken.is_empty() {
            return Ok(());
        }
        Err(Error::precondition(format!(
            "clients of the champion would break: {}; to promote it anyway, use --allow-signature-change",
            broken.join("; ")
        )))
    }

    /// Goes back to the previous champion. Fails if another writer moves the
    /// champion first, so that two operators who roll back the same champion go
    /// back once.
    pub(crate) async fn rollback(&self, name: &ModelName) -> Result<Changed> {
        let seen = self.state().await?.model(name)?.champion();
        self.change(name, &|state| {
            let model = state.model(name)?;
            if model.champion() != seen {
                let now = model
                    .champion()
                    .map_or_else(|| "none".to_owned(), |v| v.to_string());
                return Err(Error::precondition(format!(
                    "another writer changed the champion of '{name}' to {now}; check the history before you roll back"
                )));
            }
            let from = model.champion().ok_or_else(|| {
                Error::precondition(format!("'{name}' has no champion to roll back"))
            })?;
            let version = model.previous().ok_or_else(|| nothing_before(name, from))?;
            Ok((
                Some(version),
                vec![Op::Rollback {
                    model: name.clone(),
                    version,
                    from,
                }],
            ))
        })
        .await
    }

    /// Points an alias at a version, or removes it. `champion` is promoted.
    pub(crate) async fn alias(
        &self,
        name: &ModelName,
        alias: &Alias,
        which: Option<&str>,
    ) -> Result<Changed> {
        if let (true, Some(which)) = (*alias == Alias::champion(), which) {
            return self.promote(name, which, false).await;
        }
        self.change(name, &|state| {
            let version = which.map(|which| find(state, name, which)).transpose()?;
            let from = state.model(name)?.aliases.get(alias).copied();
            if which.is_none() && from.is_none() {
                return Err(Error::not_found(format!(
                    "'{name}' has no alias '{alias}' to remove"
                )));
            }
            let op = Op::Alias {
                model: name.clone(),
                alias: alias.clone(),
                version,
                from,
            };
            Ok((
                version.or(from),
                if version == from {
                    Vec::new()
                } else {
                    vec![op]
                },
            ))
        })
        .await
    }

    /// Sets the traffic weights of requests that name no version, in percent.
    pub(crate) async fn traffic(
        &self,
        name: &ModelName,
        weights: &BTreeMap<String, u32>,
    ) -> Result<Changed> {
        self.change(name, &|state| {
            let same = state.model(name)?.traffic == *weights;
            let op = Op::Traffic {
                model: name.clone(),
                weights: weights.clone(),
            };
            Ok((None, if same { Vec::new() } else { vec![op] }))
        })
        .await
    }

    /// Retires a version: it can no longer be served.
    pub(crate) async fn retire(&self, name: &ModelName, which: &str) -> Result<Changed> {
        self.change(name, &|state| {
            let version = find(state, name, which)?;
            Ok((
                Some(version),
                vec![Op::Retire {
                    model: name.clone(),
                    version,
                }],
            ))
        })
        .await
    }

    /// Sets or removes a tag of a model, or of one of its versions.
    pub(crate) async fn tag(
        &self,
        name: &ModelName,
        which: Option<&str>,
        key: &str,
        value: Option<&str>,
    ) -> Result<Changed> {
        self.change(name, &|state| {
            let version = which.map(|which| find(state, name, which)).transpose()?;
            let op = Op::Tag {
                model: name.clone(),
                version,
                key: key.to_owned(),
                value: value.map(str::to_owned),
            };
            Ok((version, vec![op]))
        })
        .await
    }

    /// Approves or rejects a version as champion.
    pub(crate) async fn judge(
        &self,
        name: &ModelName,
        which: &str,
        approve: bool,
    ) -> Result<Changed> {
        self.change(name, &|state| {
            let version = find(state, name, which)?;
            Ok((
                Some(version),
                vec![Op::Verdict {
                    model: name.clone(),
                    version,
                    approve,
                }],
            ))
        })
        .await
    }

    /// Sets how many approvals a champion needs, and which signatures are required;
    /// `None` leaves a value unchanged. Returns the policy and the entry.
    pub(crate) async fn set_requirements(
        &self,
        approvals: Option<u32>,
        signatures: Option<Policy>,
        owners: &[String],
    ) -> Result<Required> {
        owners.iter().try_for_each(|key| check_public(key))?;
        let wanted = |state: &NamespaceState| {
            (
                approvals.unwrap_or(state.approvals),
                signatures.unwrap_or(state.signatures),
            )
        };

        let decide = |state: &NamespaceState| {
            let (approvals, signatures) = wanted(state);
            let owned = owners.is_empty() || owners == state.owners;
            let same = owned && (state.approvals, state.signatures) == (approvals, signatures);
            if !same && signatures == Policy::Require && self.key.is_none() {
                return Err(Error::invalid(
                    "a policy that requires signatures must be signed itself; add --key FILE",
                ));
            }
            Ok(if same {
                Vec::new()
            } else {
                vec![Op::Policy {
                    approvals,
                    signatures,
                    owners: owners.to_vec(),
                }]
            }
            .into())
        };

        let committed = self.commit(self.state().await?, &decide).await?;
        let (approvals, signatures) = wanted(&committed.state);
        Ok(Required {
            approvals,
            signatures,
            owners: committed.state.owners,
            seq: committed.seq,
        })
    }
}
