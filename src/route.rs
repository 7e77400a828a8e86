//! Which servable a request means. A table is immutable; the manager publishes
//! a new one with one atomic store, and requests never wait for it.

use crate::error::{Error, Result};
use crate::model::{ModelName, Version};
use crate::request::{Selector, Target};
use crate::servable::Servable;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What is known of one model.
#[derive(Clone, Default)]
pub(crate) struct ModelRoutes {
    /// The versions that serve.
    pub versions: BTreeMap<Version, Arc<Servable>>,
    /// Labels and the versions they mean.
    pub labels: BTreeMap<String, Version>,
}

/// Every model that is known, serving or not.
#[derive(Clone, Default)]
pub(crate) struct Table {
    /// By name.
    pub models: HashMap<ModelName, ModelRoutes>,
}

impl Table {
    /// Finds the servable a target means.
    pub(crate) fn resolve(&self, target: &Target) -> Result<Arc<Servable>> {
        let name = &target.model;
        let unknown = || Error::not_found(format!("model '{name}' is not known here"));
        let model = self.models.get(name).ok_or_else(unknown)?;
        let (_, latest) = model
            .versions
            .last_key_value()
            .ok_or_else(|| Error::unavailable(format!("model '{name}' has no version ready")))?;
        let version = match &target.selector {
            Selector::Latest => return Ok(Arc::clone(latest)),
            Selector::Exact(version) => *version,
            Selector::Label(label) => *model.labels.get(label).ok_or_else(|| {
                Error::invalid(format!("model '{name}' has no label '{}'", crate::model::short(label)))
            })?,
        };
        model.versions.get(&version).cloned().ok_or_else(|| {
            Error::not_found(format!(
                "model '{name}' does not serve version {version}; the latest is {}",
                latest.version
            ))
        })
    }
}

/// The published table.
#[derive(Default)]
pub(crate) struct Routes(ArcSwap<Table>);

impl Routes {
    /// Finds the servable a target means in the table of this moment.
    pub(crate) fn resolve(&self, target: &Target) -> Result<Arc<Servable>> {
        self.0.load().resolve(target)
    }

    /// Takes the table of this moment.
    pub(crate) fn table(&self) -> Arc<Table> {
        self.0.load_full()
    }

    /// Replaces the table: one atomic store.
    pub(crate) fn publish(&self, table: Table) {
        self.0.store(Arc::new(table));
    }
}
