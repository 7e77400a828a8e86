//! Applies one entry to copies of the models that it changes, or returns why it is
//! void. A void entry leaves nothing behind.
//!
//! The messages are kept in checkpoints as the reasons of void entries, and
//! `verify` compares checkpoints with the log: a reworded message would make
//! checkpoints of older versions differ.

pub(super) mod approval;
pub(super) mod pointers;

use super::{MODELS_MAX, NAMES_MAX, NamespaceState, Record, RegisteredModel, VERSIONS_MAX};
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use crate::registry::entry::{Blob, Entry, Op};
use crate::registry::sign::Policy;
use std::collections::BTreeMap;

const TAG_BYTES_MAX: usize = 256;

/// The copies on which an entry is tried.
pub(super) struct ProposedState<'s> {
    pub(super) base: &'s NamespaceState,
    pub(super) models: BTreeMap<ModelName, RegisteredModel>,
    pub(super) approvals: u32,
    pub(super) signatures: Policy,
    pub(super) owners: Vec<String>,
    pub(super) generations: BTreeMap<Digest, u32>,
}

/// An entry and the keys that signed it.
struct SignedEntry<'e> {
    entry: &'e Entry,
    keys: &'e [String],
}

impl SignedEntry<'_> {
    /// A version that this entry adds, without its files.
    fn new_record(&self, manifest: Digest) -> Record {
        Record {
            manifest,
            blobs: Vec::new(),
            signatures: Vec::new(),
            run: None,
            seq: self.entry.seq,
            time: self.entry.time,
            actor: self.entry.actor.clone(),
            retired: None,
            retired_by: None,
            tags: BTreeMap::new(),
            keys: self.keys.to_vec(),
            verdicts: BTreeMap::new(),
            needed: 0,
            vouched: BTreeMap::new(),
            evidence: self.entry.evidence.clone(),
        }
    }
}

impl ProposedState<'_> {
    /// Makes every change of an entry signed by `keys`, or returns why the entry is
    /// void.
    pub(super) fn apply(&mut self, entry: &Entry, keys: &[String]) -> Result<()> {
        if self.signatures == Policy::Require && keys.is_empty() {
            return Err(Error::denied(
                "the namespace asks for signed changes, and this one is not signed",
            ));
        }

        let signed = SignedEntry { entry, keys };
        entry.ops.iter().try_for_each(|op| self.change(op, &signed))
    }

    fn change(&mut self, op: &Op, signed: &SignedEntry<'_>) -> Result<()> {
        match op {
            Op::Version {
                model,
                version,
                manifest,
                blobs,
                signatures,
                run,
            } => {
                let record = Record {
                    blobs: blobs.clone(),
                    signatures: signatures.clone(),
                    run: *run,
                    ..signed.new_record(*manifest)
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
            Op::Retire { model, version } => self.retire(model, *version, signed.entry),
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
            } => self.judge(model, *version, *approve, signed),
            Op::Policy {
                approvals,
                signatures,
                owners,
            } => self.set_policy(*approvals, *signatures, owners, signed.keys),
            Op::Tombstone { blobs } => self.delete_blobs(blobs),
        }
    }

    fn model(&mut self, name: &ModelName) -> Result<&mut RegisteredModel> {
        self.models
            .get_mut(name)
            .ok_or_else(|| Error::not_found(format!("there is no model '{name}' in the registry")))
    }

    fn add(&mut self, name: &ModelName, version: Version, record: Record) -> Result<()> {
        self.check_run(name, record.run.as_ref())?;

        if self.signatures == Policy::Require && record.signatures.is_empty() {
            return Err(Error::denied(
                "the namespace asks for signed versions, and this one is not signed",
            ));
        }

        if !self.models.contains_key(name) {
            self.check_new_model(name)?;
        }

        self.check_generations(&record.blobs)?;

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

    /// Refuses a second version of one training run.
    fn check_run(&self, name: &ModelName, run: Option<&Digest>) -> Result<()> {
        let published = run.and_then(|run| self.models.get(name)?.of_run(run));
        match published {
            Some((before, _)) => Err(Error::precondition(format!(
                "the run already published version {before}"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses a new model beyond the limit, or one whose name equals another's
    /// but for case.
    fn check_new_model(&self, name: &ModelName) -> Result<()> {
        if self.base.models.len() >= MODELS_MAX {
            return Err(Error::overloaded(format!(
                "the namespace has {MODELS_MAX} models, the limit"
            )));
        }

        // A file system that ignores case could not hold both.
        let same = |other: &&ModelName| other.as_str().eq_ignore_ascii_case(name.as_str());
        match self.base.models.keys().find(same) {
            Some(other) => Err(Error::precondition(format!(
                "'{name}' differs from the model '{other}' by case alone"
            ))),
            None => Ok(()),
        }
    }

    /// Refuses blobs that were deleted after they were uploaded.
    fn check_generations(&self, blobs: &[Blob]) -> Result<()> {
        for blob in blobs {
            let now = self.generations.get(&blob.digest).copied().unwrap_or(0);
            if blob.generation != now {
                return Err(Error::precondition(format!(
                    "blob {} was deleted meanwhile; upload it again",
                    blob.digest
                )));
            }
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
