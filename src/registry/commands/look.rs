//! Commands that only read: list, show, history, diff, pull.

use super::{NewFolder, Operator, find};
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::registry::blob::Progress;
use crate::registry::entry::Op;
use crate::registry::fold::{NamespaceState, Record};
use crate::registry::manifest::{MANIFEST_PATH, Manifest};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// One model in a list.
#[derive(Debug, Serialize)]
pub(crate) struct ListedModel {
    pub name: String,
    pub versions: usize,
    pub latest: Option<u64>,
    pub aliases: BTreeMap<String, u64>,
    pub traffic: BTreeMap<String, u32>,
    pub tags: BTreeMap<String, String>,
}

/// One change of a model.
#[derive(Debug, Serialize)]
pub(crate) struct Happened {
    pub seq: u64,
    pub time: DateTime<Utc>,
    pub actor: String,
    pub reason: String,
    /// Description of the change.
    pub did: Vec<String>,
    /// The champion after it.
    pub champion: Option<u64>,
    /// The operations as in the log.
    pub ops: Vec<Op>,
    pub hash: String,
    /// The keys that signed the entry.
    pub keys: Vec<String>,
}

impl Operator {
    /// Lists models; `tag` is `key` or `key=value`.
    pub(crate) async fn list(&self, tag: Option<&str>) -> Result<Vec<ListedModel>> {
        let state = self.state().await?;
        let wanted = |tags: &BTreeMap<String, String>| match tag
            .map(|t| t.split_once('=').unwrap_or((t, "")))
        {
            None => true,
            Some((key, "")) => tags.contains_key(key),
            Some((key, value)) => tags.get(key).is_some_and(|v| v == value),
        };

        let listed = state
            .models
            .iter()
            .filter(|(_, m)| wanted(&m.tags))
            .map(|(name, m)| ListedModel {
                name: name.to_string(),
                versions: m.versions.len(),
                latest: m.versions.last_key_value().map(|(v, _)| v.number()),
                aliases: m
                    .all_aliases()
                    .into_iter()
                    .map(|(a, v)| (a.to_string(), v.number()))
                    .collect(),
                traffic: m.traffic.clone(),
                tags: m.tags.clone(),
            });
        Ok(listed.collect())
    }

    /// Shows a model, or one version with its manifest.
    pub(crate) async fn show(&self, name: &ModelName, which: Option<&str>) -> Result<Value> {
        let state = self.state().await?;
        let model = state.model(name)?;
        let aliases: BTreeMap<String, u64> = model
            .all_aliases()
            .into_iter()
            .map(|(a, v)| (a.to_string(), v.number()))
            .collect();
        let Some(which) = which else {
            let versions: Vec<Value> = model.versions.iter().map(|(v, r)| summary(*v, r)).collect();
            return Ok(json!({
                "name": name.as_str(), "aliases": aliases, "traffic": model.traffic, "tags": model.tags,
                "versions": versions,
            }));
        };

        let version = find(&state, name, which)?;
        let record = state.record(name, version)?;
        let mut shown = summary(version, record);
        shown["name"] = json!(name.as_str());
        shown["aliases"] = json!(
            aliases
                .iter()
                .filter(|(_, v)| **v == version.number())
                .map(|(a, _)| a)
                .collect::<Vec<_>>()
        );

        shown["manifest"] = json!(self.manifest(record).await?);
        shown["evidence"] = json!(record.evidence);
        shown["verdicts"] = json!(record.verdicts);
        shown["vouched"] = json!(record.vouched);
        Ok(shown)
    }

    /// Lists every change of a model, oldest first; up to `until` by the entries' time.
    pub(crate) async fn history(
        &self,
        name: &ModelName,
        until: Option<DateTime<Utc>>,
    ) -> Result<Vec<Happened>> {
        let state = self.state().await?;
        let model = state.model(name)?;
        let mut past = NamespaceState::default();
        let mut all = Vec::with_capacity(model.entries.len());
        for seq in &model.entries {
            let missing = || Error::precondition(format!("entry {seq} is missing from the log"));
            let read = self.log.entry(*seq).await?.ok_or_else(missing)?;
            if until.is_some_and(|until| read.entry.time > until) {
                break;
            }
            past.replay(&read);
            let entry = read.entry;
            let ops: Vec<Op> = entry
                .ops
                .into_iter()
                .filter(|op| op.model() == Some(name))
                .collect();
            all.push(Happened {
                seq: entry.seq,
                time: entry.time,
                actor: entry.actor,
                reason: entry.reason,
                did: ops.iter().map(Op::description).collect(),
                champion: past
                    .models
                    .get(name)
                    .and_then(|m| m.champion())
                    .map(Version::number),
                ops,
                hash: read.hash.to_string(),
                keys: read.signatures.into_iter().map(|s| s.key).collect(),
            });
        }

        Ok(all)
    }

    /// Compares two versions: signature, graph, size, metrics, files.
    pub(crate) async fn diff(&self, name: &ModelName, one: &str, two: &str) -> Result<Value> {
        let state = self.state().await?;
        let (a, b) = (find(&state, name, one)?, find(&state, name, two)?);
        let (old, new) = (
            self.manifest(state.record(name, a)?).await?,
            self.manifest(state.record(name, b)?).await?,
        );
        let bytes = |m: &Manifest| m.files.iter().map(|f| f.bytes).sum::<u64>();
        let only = |m: &Manifest, other: &Manifest| -> Vec<String> {
            m.operators
                .iter()
                .filter(|op| !other.operators.contains(op))
                .cloned()
                .collect()
        };

        let changed = |old: &Manifest, new: &Manifest| -> Vec<String> {
            let differs = |f: &&crate::registry::manifest::File| !old.files.contains(f);
            new.files
                .iter()
                .filter(differs)
                .map(|f| f.path.clone())
                .collect()
        };

        Ok(json!({
            "name": name.as_str(), "from": a.number(), "to": b.number(),
            "breaks_clients": new.signature.breaks(&old.signature),
            "signature": if old.signature == new.signature { Value::Null } else { json!([old.signature, new.signature]) },
            "operators_removed": only(&old, &new), "operators_added": only(&new, &old),
            "opsets": if old.opsets == new.opsets { Value::Null } else { json!([old.opsets, new.opsets]) },
            "bytes": [bytes(&old), bytes(&new)],
            "files_changed": changed(&old, &new),
            "evaluation": [old.evaluation, new.evaluation],
            "lineage": [old.lineage, new.lineage],
        }))
    }

    /// Copies a version's files into a new folder, verified. The folder appears
    /// complete or not at all; returns the version.
    pub async fn pull(
        &self,
        name: &ModelName,
        which: Option<&str>,
        into: &Path,
        progress: Progress<'_>,
    ) -> Result<Version> {
        let (version, record, manifest) = self.chosen(name, which).await?;
        let staged = NewFolder::beside(into)?;
        for file in &manifest.files {
            let blob = record.blob(file.digest, file.bytes);
            self.log
                .fetch_blob(&blob, &staged.path().join(&file.path), progress)
                .await?;
        }

        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| Error::internal("print").with_source(e))?;
        staged.write(MANIFEST_PATH, &text)?;
        staged.appear()?;
        Ok(version)
    }
}

fn summary(version: Version, record: &Record) -> Value {
    json!({
        "version": version.number(),
        "digest": record.manifest.to_string(),
        "bytes": record.blobs.iter().map(|b| b.bytes).sum::<u64>(),
        "seq": record.seq,
        "time": record.time,
        "actor": record.actor,
        "retired": record.retired,
        "tags": record.tags,
        "signed_by": record.signatures.iter().map(|s| s.key.as_str()).collect::<Vec<_>>(),
    })
}
