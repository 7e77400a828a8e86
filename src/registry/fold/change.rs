//! Applies one entry to copies of the models that it touches, or says why it is
//! void. An entry that is void leaves nothing behind.
//!
//! The messages are kept in checkpoints as the reasons of void entries, and
//! `verify` compares checkpoints with the log: a reworded message would make
//! checkpoints of older versions differ.

use super::{MODELS_MAX, Model, NAMES_MAX, Record, State, VERSIONS_MAX};
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{Alias, ModelName, Version};
use crate::registry::entry::{Blob, Entry, Op};
use crate::registry::sign::Policy;
use std::collections::BTreeMap;

const TAG_BYTES_MAX: usize = 256;

/// What an entry would make of the state.
pub(super) struct Trial<'s> {
    pub(super) base: &'s State,
    pub(super) models: BTreeMap<ModelName, Model>,
    pub(super) approvals: u32,
    pub(super) signatures: Policy,
    pub(super) owners: Vec<String>,
    pub(super) generations: BTreeMap<Digest, u32>,
}

/// Who approves or rejects a version.
struct Voter<'e> {
    /// A claim.
    actor: &'e str,
    /// The keys that signed the entry.
    keys: &'e [String],
}

impl Trial<'_> {
    /// Makes every change of an entry signed by `keys`, or says why it does not
    /// hold.
    pub(super) fn apply(&mut self, entry: &Entry, keys: &[String]) -> Result<()> {
        if self.signatures == Policy::Require && keys.is_empty() {
            return Err(Error::denied(
                "the namespace asks for signed changes, and this one is not signed",
            ));
        }

        entry
            .ops
            .iter()
            .try_for_each(|op| self.change(op, entry, keys))
    }

    fn change(&mut self, op: &Op, entry: &Entry, keys: &[String]) -> Result<()> {
        match op {
            Op::Version {
                model,
                version,
                manifest,
                blobs,
                signatures,
                run,
            } => {
                if let Some((before, _)) = run.and_then(|run| self.models.get(model)?.of_run(&run))
                {
                    return Err(Error::precondition(format!(
                        "the run already published version {before}"
                    )));
                }
                let record = Record {
                    manifest: *manifest,
                    blobs: blobs.clone(),
                    signatures: signatures.clone(),
                    run: *run,
                    seq: entry.seq,
                    time: entry.time,
                    actor: entry.actor.clone(),
                    retired: None,
                    retired_by: None,
                    tags: BTreeMap::new(),
                    keys: keys.to_vec(),
                    verdicts: BTreeMap::new(),
                    needed: 0,
                    vouched: BTreeMap::new(),
                    evidence: entry.evidence.clone(),
                };
                self.add(model, *version, record)
            }
            Op::Promote {
                model,
                version,
                from,
            } => self.promote(model, *version, *from),
            Op::Rollback {
                model,
                version,
                from,
            } => self.roll_back(model, *version, *from),
            Op::Alias {
                model,
                alias,
                version,
                from,
            } => self.alias(model, alias, *version, *from),
            Op::Traffic { model, weights } => self.split(model, weights),
            Op::Retire { model, version } => self.retire(model, *version, entry),
            Op::Tag {
                model,
                version,
                key,
                value,
            } => self.tag(model, *version, key, value.as_deref()),
            Op::Verdict {
                model,
                version,
                approve,
            } => {
                let voter = Voter {
                    actor: &entry.actor,
                    keys,
                };
                self.judge(model, *version, *approve, &voter)
            }
            Op::Policy {
                approvals,
                signatures,
                owners,
            } => self.set_policy(*approvals, *signatures, owners, keys),
            Op::Tombstone { blobs } => self.delete_blobs(blobs),
        }
    }

    /// Sets the namespace's policy. If signatures are required, any key may sign
    /// a change, but only an owner of the policy may change the policy.
    fn set_policy(
        &mut self,
        approvals: u32,
        signatures: Policy,
        owners: &[String],
        keys: &[String],
    ) -> Result<()> {
        if self.signatures == Policy::Require && !keys.iter().any(|key| self.owners.contains(key)) {
            return Err(Error::denied(
                "only a key that owns the policy may change it",
            ));
        }

        self.owners = match signatures {
            Policy::None | Policy::Warn => Vec::new(),
            Policy::Require if !owners.is_empty() => owners.to_vec(),
            Policy::Require if self.owners.is_empty() => keys.to_vec(),
            Policy::Require => std::mem::take(&mut self.owners),
        };

        if signatures == Policy::Require && self.owners.is_empty() {
            return Err(Error::denied(
                "who asks for signed changes signs this one too",
            ));
        }

        (self.approvals, self.signatures) = (approvals, signatures);
        Ok(())
    }

    fn model(&mut self, name: &ModelName) -> Result<&mut Model> {
        self.models
            .get_mut(name)
            .ok_or_else(|| Error::not_found(format!("there is no model '{name}' in the registry")))
    }

    fn add(&mut self, name: &ModelName, version: Version, record: Record) -> Result<()> {
        if self.signatures == Policy::Require && record.signatures.is_empty() {
            return Err(Error::denied(
                "the namespace asks for signed versions, and this one is not signed",
            ));
        }

        if !self.models.contains_key(name) {
            if self.base.models.len() >= MODELS_MAX {
                return Err(Error::overloaded(format!(
                    "the namespace has {MODELS_MAX} models, the limit"
                )));
            }
            // A directory that folds case could not hold both.
            let same = |other: &&ModelName| other.as_str().eq_ignore_ascii_case(name.as_str());
            if let Some(other) = self.base.models.keys().find(same) {
                return Err(Error::precondition(format!(
                    "'{name}' differs from the model '{other}' by case alone"
                )));
            }
        }

        for blob in &record.blobs {
            let now = self.generations.get(&blob.digest).copied().unwrap_or(0);
            if blob.generation != now {
                return Err(Error::precondition(format!(
                    "blob {} was deleted meanwhile; upload it again",
                    blob.digest
                )));
            }
        }

        let model = self.models.entry(name.clone()).or_default();
        let next = model
            .versions
            .last_key_value()
            .map_or(1, |(last, _)| last.number() + 1);
        if version.number() != next || model.versions.len() >= VERSIONS_MAX {
            return Err(Error::precondition(format!(
                "the next version of '{name}' is {next}, not {version}"
            )));
        }

        model.versions.insert(version, record);
        Ok(())
    }

    fn promote(&mut self, name: &ModelName, version: Version, from: Option<Version>) -> Result<()> {
        let (needed, signatures) = (self.approvals, self.signatures);
        let model = self.model(name)?;
        let record = model.live(version)?;
        expect("the champion", from, model.champion())?;
        if from == Some(version) {
            return Err(Error::precondition(format!(
                "version {version} is champion already"
            )));
        }

        check_approved(record, needed, signatures)
            .map_err(|e| e.context(format_args!("{name}:{version}")))?;
        if let Some(record) = model.versions.get_mut(&version) {
            record.needed = if signatures == Policy::Require {
                needed
            } else {
                0
            };
        }

        model.champions.retain(|v| *v != version);
        model.champions.push(version);
        model.traffic.clear();
        Ok(())
    }

    fn roll_back(&mut self, name: &ModelName, version: Version, from: Version) -> Result<()> {
        let model = self.model(name)?;
        expect("the champion", Some(from), model.champion())?;
        let target = model.previous().ok_or_else(|| nothing_before(name, from))?;
        if target != version {
            return Err(Error::precondition(format!(
                "a rollback goes to version {target}, not {version}"
            )));
        }

        while model.champion() != Some(target) {
            model.champions.pop();
        }
        model.traffic.clear();
        Ok(())
    }

    fn alias(
        &mut self,
        name: &ModelName,
        alias: &Alias,
        version: Option<Version>,
        from: Option<Version>,
    ) -> Result<()> {
        if [Alias::champion(), Alias::previous()].contains(alias) {
            return Err(Error::precondition(format!(
                "'{alias}' moves by promote and rollback alone"
            )));
        }

        let (needed, signatures) = (self.approvals, self.signatures);
        let model = self.model(name)?;
        let record = version.map(|v| model.live(v)).transpose()?;
        if let Some(record) = record.filter(|_| model.traffic.contains_key(&alias.to_string())) {
            // It would have a share of the traffic.
            check_approved(record, needed, signatures)
                .map_err(|e| e.context(format_args!("{name}@{alias}")))?;
        }

        expect(
            &format!("'{alias}'"),
            from,
            model.aliases.get(alias).copied(),
        )?;

        match version {
            Some(version) => drop(model.aliases.insert(alias.clone(), version)),
            None => drop(model.aliases.remove(alias)),
        }

        if model.aliases.len() > NAMES_MAX {
            return Err(Error::overloaded(format!(
                "'{name}' has over {NAMES_MAX} aliases"
            )));
        }

        // Weights may not name what is no longer there.
        match model
            .traffic
            .keys()
            .find(|target| model.find(target).is_none())
        {
            Some(lost) => Err(Error::precondition(format!(
                "traffic goes to '{lost}'; change that first"
            ))),
            None => Ok(()),
        }
    }

    fn split(&mut self, name: &ModelName, weights: &BTreeMap<String, u32>) -> Result<()> {
        let (needed, signatures) = (self.approvals, self.signatures);
        let model = self.model(name)?;
        for target in weights.keys() {
            let found = model
                .find(target)
                .ok_or_else(|| Error::not_found(format!("'{target}' is no version or alias")))?;
            let record = model.live(found)?;
            // Who is champion was approved by the rules of that day.
            if model.champion() != Some(found) {
                let approved = check_approved(record, needed, signatures);
                approved.map_err(|e| e.context(format_args!("{name}:{found}")))?;
            }
        }

        let sum: u64 = weights.values().map(|w| u64::from(*w)).sum();
        if !weights.is_empty() && (sum != 100 || weights.len() > NAMES_MAX) {
            return Err(Error::invalid(format!(
                "traffic weights are percent and add up to {sum}, not 100"
            )));
        }

        model.traffic = weights.clone();
        Ok(())
    }

    fn retire(&mut self, name: &ModelName, version: Version, entry: &Entry) -> Result<()> {
        let model = self.model(name)?;
        model.live(version)?;
        let pointers = model.pointers(version);
        if !pointers.is_empty() {
            return Err(Error::precondition(format!(
                "version {version} is in use by {}",
                pointers.join(", ")
            )));
        }

        model.champions.retain(|v| *v != version);
        if let Some(record) = model.versions.get_mut(&version) {
            (record.retired, record.retired_by) = (Some(entry.time), Some(entry.seq));
        }
        Ok(())
    }

    fn tag(
        &mut self,
        name: &ModelName,
        version: Option<Version>,
        key: &str,
        value: Option<&str>,
    ) -> Result<()> {
        let legal = |text: &str| text.len() <= TAG_BYTES_MAX && !text.chars().any(char::is_control);
        if key.is_empty() || !legal(key) || !value.is_none_or(legal) {
            return Err(Error::invalid(format!(
                "a tag's key and value are one line of at most {TAG_BYTES_MAX} bytes"
            )));
        }

        let model = self.model(name)?;
        let tags = match version {
            None => &mut model.tags,
            Some(version) => {
                let record = model.versions.get_mut(&version);
                &mut record
                    .ok_or_else(|| Error::not_found(format!("there is no version {version}")))?
                    .tags
            }
        };

        match value {
            Some(value) => drop(tags.insert(key.to_owned(), value.to_owned())),
            None => drop(tags.remove(key)),
        }

        if tags.len() > NAMES_MAX {
            Err(Error::overloaded(format!("over {NAMES_MAX} tags")))
        } else {
            Ok(())
        }
    }

    fn judge(
        &mut self,
        name: &ModelName,
        version: Version,
        approve: bool,
        voter: &Voter<'_>,
    ) -> Result<()> {
        let &Voter { actor, keys } = voter;
        let by_keys = self.signatures == Policy::Require;
        let model = self.model(name)?;
        model.live(version)?;
        let Some(record) = model.versions.get_mut(&version) else {
            return Ok(());
        };
        if record.actor == actor && approve {
            return Err(Error::denied(format!(
                "'{actor}' pushed version {version} and cannot approve it"
            )));
        }

        let own = |key: &String| {
            record.keys.contains(key) || record.signatures.iter().any(|s| s.key == *key)
        };
        if approve && by_keys && keys.iter().all(own) {
            return Err(Error::denied(format!(
                "the key that signed version {version} cannot approve it"
            )));
        }

        let counting: Vec<String> = keys
            .iter()
            .filter(|key| !approve || !own(key))
            .cloned()
            .collect();
        record
            .vouched
            .extend(counting.into_iter().map(|key| (key, approve)));
        record.verdicts.insert(actor.to_owned(), approve);

        Ok(())
    }

    fn delete_blobs(&mut self, blobs: &[Blob]) -> Result<()> {
        let referenced = self.base.referenced();
        for blob in blobs {
            if referenced.contains(&blob.digest) {
                return Err(Error::precondition(format!(
                    "blob {} is in use",
                    blob.digest
                )));
            }
            let generation = self.generations.entry(blob.digest).or_insert(0);
            if *generation != blob.generation {
                return Err(Error::precondition(format!(
                    "blob {} was deleted before",
                    blob.digest
                )));
            }
            *generation += 1;
        }

        Ok(())
    }
}

/// Tells why a rollback has nowhere to go.
pub(crate) fn nothing_before(name: &ModelName, from: Version) -> Error {
    Error::precondition(format!(
        "'{name}' has no champion before version {from} to roll back to"
    ))
}

/// Whether a version has the approvals that are asked for.
pub(super) fn check_approved(record: &Record, needed: u32, signatures: Policy) -> Result<()> {
    let (verdicts, by) = match signatures {
        Policy::Require => (&record.vouched, " by keys"),
        Policy::None | Policy::Warn => (&record.verdicts, ""),
    };

    let against: Vec<&str> = verdicts
        .iter()
        .filter(|(_, yes)| !**yes)
        .map(|(who, _)| who.as_str())
        .collect();
    if needed > 0 && !against.is_empty() {
        return Err(Error::precondition(format!(
            "was rejected by {}",
            against.join(", ")
        )));
    }

    let given = verdicts.values().filter(|yes| **yes).count();
    if (given as u64) < u64::from(needed) {
        return Err(Error::denied(format!(
            "has {given} of the {needed} approvals{by} needed to become champion"
        )));
    }

    Ok(())
}

fn expect(what: &str, seen: Option<Version>, actual: Option<Version>) -> Result<()> {
    let name = |v: Option<Version>| v.map_or_else(|| "none".to_owned(), |v| format!("version {v}"));
    if seen == actual {
        return Ok(());
    }
    Err(Error::precondition(format!(
        "{what} is {} now, not {}",
        name(actual),
        name(seen)
    )))
}
