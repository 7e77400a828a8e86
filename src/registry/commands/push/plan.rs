//! The operations of a push on a given state. Pure.

use crate::core::hash::Digest;
use crate::core::model::{Alias, ModelName, Version};
use crate::registry::entry::{Blob, Op};
use crate::registry::fold::{NamespaceState, RegisteredModel};
use std::collections::BTreeMap;

/// How a version is recognised.
#[derive(Clone, Copy)]
pub(super) struct Identity {
    pub manifest: Digest,
    /// The key of the training run that made it.
    pub run: Option<Digest>,
}

/// A version that is to be published, and the alias that is to point at it.
pub(super) struct Publication<'p> {
    pub name: &'p ModelName,
    pub identity: Identity,
    pub blobs: &'p [Blob],
    pub alias: Option<&'p Alias>,
    /// Traffic weight of the alias, in percent.
    pub weight: Option<u32>,
}

impl Identity {
    /// Returns the version of the same run, else the newest version in use with
    /// the same manifest.
    pub(super) fn find(&self, model: &RegisteredModel) -> Option<Version> {
        if let Some((version, _)) = self.run.and_then(|run| model.of_run(&run)) {
            return Some(version);
        }
        let mut versions = model.versions.iter().rev();
        versions
            .find(|(_, r)| r.manifest == self.manifest && r.retired.is_none())
            .map(|(v, _)| *v)
    }
}

/// Returns what is left to do: add the version, point the alias, both or nothing.
pub(super) fn operations(state: &NamespaceState, new: &Publication<'_>) -> Vec<Op> {
    let none = RegisteredModel::default();
    let model = state.models.get(new.name).unwrap_or(&none);
    // The alias of a run's version moved when it was published; it may have moved on since.
    if new
        .identity
        .run
        .is_some_and(|run| model.of_run(&run).is_some())
    {
        return Vec::new();
    }

    let mut ops = Vec::new();
    let version = new.identity.find(model).or_else(|| {
        let version = next_version(model)?;
        ops.push(new.add(version));
        Some(version)
    });

    if let (Some(alias), Some(version)) = (new.alias, version) {
        ops.extend(new.point(state, model, alias, version));
    }
    ops
}

impl Publication<'_> {
    fn add(&self, version: Version) -> Op {
        Op::Version {
            model: self.name.clone(),
            version,
            manifest: self.identity.manifest,
            blobs: self.blobs.to_vec(),
            signatures: Vec::new(),
            run: self.identity.run,
        }
    }

    /// Points the alias at the version, with its weight. A version that would
    /// take traffic without the approvals that it needs has to wait.
    fn point(
        &self,
        state: &NamespaceState,
        model: &RegisteredModel,
        alias: &Alias,
        version: Version,
    ) -> Vec<Op> {
        if model.all_aliases().get(alias) == Some(&version) {
            return Vec::new();
        }

        let weights = self.weights(model, alias);
        let is_champion = *alias == Alias::champion();
        let gets_traffic =
            is_champion || weights.is_some() || model.traffic.contains_key(&alias.to_string());
        if gets_traffic && !is_approved(state, model, version) {
            return Vec::new();
        }

        if is_champion {
            return vec![Op::Promote {
                model: self.name.clone(),
                version,
                from: model.champion(),
            }];
        }

        let mut ops = vec![Op::Alias {
            model: self.name.clone(),
            alias: alias.clone(),
            version: Some(version),
            from: model.aliases.get(alias).copied(),
        }];

        if let Some(weights) = weights.filter(|weights| model.traffic != *weights) {
            ops.push(Op::Traffic {
                model: self.name.clone(),
                weights,
            });
        }

        ops
    }

    /// Returns the traffic split; none without a champion to split with.
    fn weights(&self, model: &RegisteredModel, alias: &Alias) -> Option<BTreeMap<String, u32>> {
        model.champion()?;
        let weight = self.weight?.min(100);
        Some(BTreeMap::from([
            (Alias::champion().to_string(), 100 - weight),
            (alias.to_string(), weight),
        ]))
    }
}

fn next_version(model: &RegisteredModel) -> Option<Version> {
    let last = model.versions.last_key_value();
    Version::new(last.map_or(1, |(last, _)| last.number() + 1))
}

fn is_approved(state: &NamespaceState, model: &RegisteredModel, version: Version) -> bool {
    match model.versions.get(&version) {
        Some(record) => state.check_approved(record).is_ok(),
        None => state.approvals == 0,
    }
}
