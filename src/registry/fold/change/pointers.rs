//! What points at a version: the champion, other aliases and traffic weights.
//! Owns their rules, and that a version that something points at is not retired.

use super::super::NAMES_MAX;
use super::ProposedState;
use super::approval::check_approved;
use crate::core::error::{Error, Result};
use crate::core::model::{Alias, ModelName, Version};
use crate::registry::entry::Entry;
use crate::registry::sign::Policy;
use std::collections::BTreeMap;

impl ProposedState<'_> {
    pub(super) fn promote(
        &mut self,
        name: &ModelName,
        version: Version,
        from: Option<Version>,
    ) -> Result<()> {
        let (needed, signatures) = (self.approvals, self.signatures);
        let model = self.model(name)?;
        let record = model.live_record(version)?;
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

    pub(super) fn roll_back(
        &mut self,
        name: &ModelName,
        version: Version,
        from: Version,
    ) -> Result<()> {
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

    pub(super) fn alias(
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
        let record = version.map(|v| model.live_record(v)).transpose()?;
        if let Some(record) = record.filter(|_| model.traffic.contains_key(&alias.to_string())) {
            // The version would receive traffic.
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

        // A traffic weight must not name an alias that no longer exists.
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

    pub(super) fn split(
        &mut self,
        name: &ModelName,
        weights: &BTreeMap<String, u32>,
    ) -> Result<()> {
        let (needed, signatures) = (self.approvals, self.signatures);
        let model = self.model(name)?;
        for target in weights.keys() {
            let found = model
                .find(target)
                .ok_or_else(|| Error::not_found(format!("'{target}' is no version or alias")))?;
            let record = model.live_record(found)?;
            // The champion was approved under the policy at the time of its
            // promotion.
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

    pub(super) fn retire(
        &mut self,
        name: &ModelName,
        version: Version,
        entry: &Entry,
    ) -> Result<()> {
        let model = self.model(name)?;
        model.live_record(version)?;
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
}

/// The error of a rollback without a previous champion.
pub(crate) fn nothing_before(name: &ModelName, from: Version) -> Error {
    Error::precondition(format!(
        "'{name}' has no champion before version {from} to roll back to"
    ))
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
