//! The baselines of the versions of each model that this server knows: of those that it watches, has
//! watched, or whose baseline it kept. The newest few of a model. Owns no store.

use super::baseline::Baseline;
use crate::core::model::{ModelName, Version};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Baselines that are kept of a model.
pub(crate) const KNOWN_MAX: usize = 3;
/// Most models of which any are kept.
const MODELS_MAX: usize = 1_000;

/// A version's baseline that the store does not have yet.
pub(crate) type UnwrittenBaseline = (ModelName, Version, Arc<Baseline>);

/// The baselines of models.
#[derive(Default)]
pub(crate) struct KnownBaselines {
    of: BTreeMap<ModelName, BTreeMap<Version, Arc<Baseline>>>,
    unwritten: Vec<UnwrittenBaseline>,
}

impl KnownBaselines {
    /// Adds the baseline of a version that is watched. It is to be written.
    pub(crate) fn add(&mut self, model: &ModelName, version: Version, baseline: Arc<Baseline>) {
        if self.insert(model, version, Arc::clone(&baseline)) {
            self.unwritten
                .retain(|(m, v, _)| (m, *v) != (model, version));
            self.unwritten.push((model.clone(), version, baseline));
        }
    }

    /// Adds a baseline that the store has. One that is known stays.
    pub(crate) fn learn(&mut self, model: &ModelName, version: Version, baseline: Baseline) {
        let known = self.of.get(model);
        if known.is_none_or(|known| !known.contains_key(&version)) {
            self.insert(model, version, Arc::new(baseline));
        }
    }

    fn insert(&mut self, model: &ModelName, version: Version, baseline: Arc<Baseline>) -> bool {
        if self.of.len() >= MODELS_MAX && !self.of.contains_key(model) {
            return false;
        }
        let of = self.of.entry(model.clone()).or_default();
        of.insert(version, baseline);
        while of.len() > KNOWN_MAX {
            of.pop_first();
        }
        of.contains_key(&version)
    }

    /// Returns the newest other version of a model, with its baseline.
    pub(crate) fn previous(
        &self,
        model: &ModelName,
        version: Version,
    ) -> Option<(Version, Arc<Baseline>)> {
        let mut newest = self.of.get(model)?.iter().rev();
        let (number, baseline) = newest.find(|(other, _)| **other != version)?;
        Some((*number, Arc::clone(baseline)))
    }

    /// Takes the baselines that are to be written.
    pub(crate) fn take_unwritten(&mut self) -> Vec<UnwrittenBaseline> {
        std::mem::take(&mut self.unwritten)
    }
}
