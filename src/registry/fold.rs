//! Turns the log into a state: a pure fold over entries. Decides whether an entry
//! is valid or void (its conditions do not hold, so it changes nothing). Does no
//! input or output; the only times that it uses are those in entries.

mod change;
#[cfg(test)]
mod tests;

use super::entry::{Blob, Entry, Evidence, FORMAT, Op, ReadEntry, is_zero};
use super::sign::{Policy, Signed};
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{Alias, ModelName, Version};
use change::ProposedState;
use change::approval::check_approved;
pub(crate) use change::pointers::nothing_before;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most models of a namespace.
pub(crate) const MODELS_MAX: usize = 100_000;
/// The most versions of a model, retired ones included.
pub(crate) const VERSIONS_MAX: usize = 100_000;
/// The most aliases, and the most tags, of a model or version.
pub(crate) const NAMES_MAX: usize = 64;

/// The state of a namespace after entry `seq`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceState {
    /// The last entry; 0 before the first.
    pub seq: u64,
    /// The hash of the last entry's bytes.
    pub hash: Option<Digest>,
    pub models: BTreeMap<ModelName, RegisteredModel>,
    /// Approvals that a version needs to become champion.
    #[serde(default)]
    pub approvals: u32,
    /// Which signatures every change needs.
    #[serde(default, skip_serializing_if = "Policy::is_none")]
    pub signatures: Policy,
    /// The keys that may change the policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owners: Vec<String>,
    /// How often a blob was deleted, if ever.
    #[serde(default)]
    pub generations: BTreeMap<Digest, u32>,
    /// Entries whose conditions did not hold, and why.
    #[serde(default)]
    pub void: BTreeMap<u64, String>,
}

/// One model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisteredModel {
    #[serde(default, with = "pairs")]
    pub versions: BTreeMap<Version, Record>,
    /// Champions to roll back to, the current one last.
    #[serde(default)]
    pub champions: Vec<Version>,
    /// All aliases but `champion` and `previous`.
    #[serde(default)]
    pub aliases: BTreeMap<Alias, Version>,
    /// Traffic weights in percent, by alias or version; empty: all to the champion.
    #[serde(default)]
    pub traffic: BTreeMap<String, u32>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The entries that touched it.
    #[serde(default)]
    pub entries: Vec<u64>,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub manifest: Digest,
    pub blobs: Vec<Blob>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<Signed>,
    /// The key of the training run that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Digest>,
    /// The entry that added it.
    pub seq: u64,
    pub time: DateTime<Utc>,
    pub actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired: Option<DateTime<Utc>>,
    /// The entry that retired it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_by: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The keys that signed the entry that added it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Approvals (true) and rejections by actor. Actors are unverified.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub verdicts: BTreeMap<String, bool>,
    /// Approvals by keys that were needed when it became champion.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub needed: u32,
    /// Approvals (true) and rejections by the key that signed them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vouched: BTreeMap<String, bool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
}

/// Versions as a list of pairs: keys of JSON objects cannot be numbers.
mod pairs {
    use super::{BTreeMap, Record, Version};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<Version, Record>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_seq(map)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<BTreeMap<Version, Record>, D::Error> {
        Ok(Vec::<(Version, Record)>::deserialize(d)?
            .into_iter()
            .collect())
    }
}

impl Record {
    /// The blob of a file that the version's manifest lists, or of that manifest.
    pub(crate) fn blob(&self, digest: Digest, bytes: u64) -> Blob {
        let listed = self.blobs.iter().find(|b| b.digest == digest).copied();
        listed.unwrap_or(Blob {
            digest,
            bytes,
            generation: 0,
        })
    }
}

impl RegisteredModel {
    /// The version that a training run made, retired or not.
    pub fn of_run(&self, run: &Digest) -> Option<(Version, &Record)> {
        self.versions
            .iter()
            .find(|(_, r)| r.run.as_ref() == Some(run))
            .map(|(version, record)| (*version, record))
    }

    /// The version for requests that do not name one.
    pub fn champion(&self) -> Option<Version> {
        self.champions.last().copied()
    }

    /// The version that a rollback would promote.
    pub(crate) fn previous(&self) -> Option<Version> {
        let (_, before) = self.champions.split_last()?;
        before.iter().rev().copied().find(|v| self.is_live(*v))
    }

    /// Every alias, `champion` and `previous` included.
    pub(crate) fn all_aliases(&self) -> BTreeMap<Alias, Version> {
        let mut all = self.aliases.clone();
        all.extend(self.champion().map(|v| (Alias::champion(), v)));
        all.extend(self.previous().map(|v| (Alias::previous(), v)));
        all
    }

    /// Finds a version by alias or number.
    pub(crate) fn find(&self, name: &str) -> Option<Version> {
        match Version::parse(name) {
            Ok(version) => self.versions.contains_key(&version).then_some(version),
            Err(_) => self.all_aliases().get(name).copied(),
        }
    }

    /// Whether a version exists and is not retired.
    pub(super) fn is_live(&self, version: Version) -> bool {
        self.versions
            .get(&version)
            .is_some_and(|r| r.retired.is_none())
    }

    fn live_record(&self, version: Version) -> Result<&Record> {
        match self.versions.get(&version) {
            None => Err(Error::not_found(format!("there is no version {version}"))),
            Some(record) if record.retired.is_some() => {
                Err(Error::precondition(format!("version {version} is retired")))
            }
            Some(record) => Ok(record),
        }
    }

    /// Lists the aliases and traffic weights that point at a version.
    fn pointers(&self, version: Version) -> Vec<String> {
        let aliases = self
            .aliases
            .iter()
            .filter(|(_, v)| **v == version)
            .map(|(a, _)| a.to_string());
        let champion = (self.champion() == Some(version)).then(|| "champion".to_owned());

        let weights = self
            .traffic
            .keys()
            .filter(|name| self.find(name) == Some(version))
            .map(|n| format!("traffic {n}"));
        champion.into_iter().chain(aliases).chain(weights).collect()
    }
}

impl NamespaceState {
    /// Applies the next entry. An entry that breaks the chain is an error and changes
    /// nothing: the log was forked or rolled back. An entry whose conditions do not
    /// hold is recorded as void and changes nothing else.
    pub(crate) fn apply(&mut self, read: ReadEntry) -> Result<()> {
        let keys = read.keys();
        let ReadEntry { entry, hash, .. } = read;
        if entry.format != FORMAT || entry.seq != self.seq + 1 || entry.prev != self.hash {
            return Err(Error::precondition(format!(
                "entry {} does not follow entry {}: the log was forked or rolled back",
                entry.seq, self.seq
            )));
        }

        let seq = entry.seq;
        // A void entry must leave nothing behind: it is tried on copies of the models it touches.
        let mut tried = self.trial(&entry.models());
        let result = tried.apply(&entry, &keys);
        let ProposedState {
            mut models,
            approvals,
            signatures,
            owners,
            generations,
            ..
        } = tried;

        match result {
            Ok(()) => {
                models
                    .values_mut()
                    .for_each(|model| model.entries.push(seq));
                self.models.append(&mut models);
                self.approvals = approvals;
                self.signatures = signatures;
                self.owners = owners;
                self.generations = generations;
            }
            Err(error) => drop(self.void.insert(seq, error.message)),
        }

        self.seq = seq;
        self.hash = Some(hash);
        Ok(())
    }

    /// Applies entries of one model without those between them, for its history: the
    /// chain and the rest of the namespace are not checked.
    pub(crate) fn replay(&mut self, read: &ReadEntry) {
        let entry = &read.entry;
        for op in &entry.ops {
            if let Op::Version { blobs, .. } = op {
                self.generations
                    .extend(blobs.iter().map(|b| (b.digest, b.generation)));
            }
        }

        let mut tried = self.trial(&entry.models());
        if tried.apply(entry, &read.keys()).is_ok() {
            let mut models = tried.models;
            self.models.append(&mut models);
        }
    }

    /// Fails with the reason if an entry, signed by these keys, would be void now.
    pub(crate) fn check(&self, entry: &Entry, keys: &[String]) -> Result<()> {
        self.trial(&entry.models()).apply(entry, keys)
    }

    /// Fails unless a version has the approvals that the policy requires: by keys
    /// if signatures are required, else by actors, which are unverified.
    pub(crate) fn check_approved(&self, record: &Record) -> Result<()> {
        check_approved(record, self.approvals, self.signatures)
    }

    /// Copies some models, and the parts of the state that belong to no model.
    fn trial(&self, names: &BTreeSet<ModelName>) -> ProposedState<'_> {
        let models = names
            .iter()
            .filter_map(|name| Some((name.clone(), self.models.get(name)?.clone())));
        ProposedState {
            base: self,
            models: models.collect(),
            approvals: self.approvals,
            signatures: self.signatures,
            owners: self.owners.clone(),
            generations: self.generations.clone(),
        }
    }

    /// Finds a model.
    pub(crate) fn model(&self, name: &ModelName) -> Result<&RegisteredModel> {
        self.models
            .get(name)
            .ok_or_else(|| Error::not_found(format!("there is no model '{name}' in the registry")))
    }

    /// Finds a version of a model.
    pub(crate) fn record(&self, name: &ModelName, version: Version) -> Result<&Record> {
        let found = self.model(name)?.versions.get(&version);
        found.ok_or_else(|| Error::not_found(format!("'{name}' has no version {version}")))
    }

    /// The generation for the next upload of a blob.
    pub(crate) fn generation(&self, digest: &Digest) -> u32 {
        self.generations.get(digest).copied().unwrap_or(0)
    }

    /// The blobs of all versions in use.
    pub(crate) fn referenced(&self) -> BTreeSet<Digest> {
        let records = self
            .models
            .values()
            .flat_map(|m| m.versions.values())
            .filter(|r| r.retired.is_none());
        records
            .flat_map(|r| r.blobs.iter().map(|b| b.digest))
            .collect()
    }
}

impl Entry {
    /// The models that it changes.
    pub(crate) fn models(&self) -> BTreeSet<ModelName> {
        self.ops.iter().filter_map(Op::model).cloned().collect()
    }
}
