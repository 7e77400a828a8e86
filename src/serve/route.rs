//! Selects the servable of a request. A table is immutable; the manager publishes a new one with
//! one atomic store, and requests never wait for it.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::hash::{SPLITMIX_STEP, mix};
use crate::core::model::{ModelName, Version};
use crate::core::request::{Selector, Target};
use crate::serve::servable::Servable;
use arc_swap::ArcSwap;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The alias whose version receives copies of requests.
const SHADOW: &str = "shadow";
/// The alias of the version that serves requests without a version.
const CHAMPION: &str = "champion";

/// The routes of one model.
#[derive(Clone, Default)]
pub(crate) struct ModelRoutes {
    /// The versions that serve.
    pub versions: BTreeMap<Version, Arc<Servable>>,
    /// The versions of labels and aliases.
    pub labels: BTreeMap<String, Version>,
    /// Which version serves the requests that name none.
    pub unqualified: Unqualified,
}

/// Which version serves the requests that name none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Unqualified {
    /// The highest version that serves.
    #[default]
    Latest,
    /// The champion.
    Champion(Version),
    /// Several, by traffic weight in percent; the weights add up to 100.
    Split(Vec<(Version, u32)>),
    /// None: the model has no champion.
    NoChampion,
}

/// Every known model, serving or not.
#[derive(Clone, Default)]
pub(crate) struct RouteTable {
    /// By name.
    pub models: HashMap<ModelName, ModelRoutes>,
    /// The last registry entry that the table reflects; none for a directory.
    pub entry: Option<u64>,
    /// Why a name in a model directory is no model that serves.
    pub unserved: Arc<HashMap<String, String>>,
}

impl RouteTable {
    /// Finds the servable of a target.
    pub(crate) fn resolve(&self, target: &Target) -> Result<Arc<Servable>> {
        let name = &target.model;
        let unknown = || {
            Error::not_found(match self.unserved.get(name.as_str()) {
                Some(why) => format!("model '{name}' is not served: {why}"),
                // Clients of Triton look for this text.
                None => format!("Request for unknown model: '{name}' is not found"),
            })
        };
        let model = self.models.get(name).ok_or_else(unknown)?;

        let version = match &target.selector {
            Selector::Latest => model.choose(name, target.key)?,
            Selector::Exact(version) => *version,
            Selector::Label(label) => model.label(label).ok_or_else(|| {
                Error::invalid(format!(
                    "model '{name}' has no label '{}'",
                    crate::core::error::short(label)
                ))
            })?,
            Selector::Alias(alias) => model.label(&alias.to_string()).ok_or_else(|| {
                Error::not_found(format!(
                    "model '{name}' has no version '{alias}' that serves"
                ))
            })?,
        };

        let servable = model.versions.get(&version).cloned();
        servable.ok_or_else(|| model.not_serving(name, version))
    }
}

/// Most versions that an error lists.
const LISTED_MAX: usize = 8;

impl ModelRoutes {
    fn not_serving(&self, name: &ModelName, version: Version) -> Error {
        if self.versions.is_empty() {
            return Error::unavailable(format!("model '{name}' has no version ready"));
        }
        let newest = self.versions.keys().rev().take(LISTED_MAX);
        let newest: Vec<String> = newest.map(Version::to_string).collect();
        Error::not_found(format!(
            "model '{name}' does not serve version {version}; it serves {}",
            newest.join(", ")
        ))
    }

    fn label(&self, label: &str) -> Option<Version> {
        self.labels.get(label).copied()
    }

    fn choose(&self, name: &ModelName, key: Option<u64>) -> Result<Version> {
        match &self.unqualified {
            Unqualified::Latest => {
                let latest = self.versions.last_key_value().map(|(version, _)| *version);
                latest.ok_or_else(|| {
                    Error::unavailable(format!("model '{name}' has no version ready"))
                })
            }
            Unqualified::Champion(version) => Ok(*version),
            Unqualified::Split(parts) => Ok(pick(parts, key.unwrap_or_else(random))),
            Unqualified::NoChampion => {
                Err(Error::not_found(format!("model '{name}' has no champion")))
            }
        }
    }
}

impl ModelRoutes {
    /// Returns the aliases that point at a version.
    pub(crate) fn labels_of(&self, version: Version) -> Vec<String> {
        let of = self.labels.iter().filter(|(_, target)| **target == version);
        of.map(|(label, _)| label.clone()).collect()
    }

    /// Returns the version that others are compared with: the champion, or the latest.
    pub(crate) fn main(&self) -> Option<Version> {
        match &self.unqualified {
            Unqualified::Champion(version) => Some(*version),
            Unqualified::Split(_) | Unqualified::NoChampion => self.label(CHAMPION),
            Unqualified::Latest => self.versions.last_key_value().map(|(version, _)| *version),
        }
    }

    /// Returns a version's share of the requests that name none, in percent.
    pub(crate) fn traffic_of(&self, version: Version) -> u32 {
        match &self.unqualified {
            Unqualified::Split(parts) => {
                let own = parts.iter().filter(|(part, _)| *part == version);
                own.map(|(_, percent)| percent).sum()
            }
            Unqualified::NoChampion => 0,
            Unqualified::Champion(_) | Unqualified::Latest if self.main() == Some(version) => 100,
            Unqualified::Champion(_) | Unqualified::Latest => 0,
        }
    }
}

/// Picks the version whose range of traffic weights contains a number.
fn pick(parts: &[(Version, u32)], number: u64) -> Version {
    let mut left = number % 100;
    for (version, percent) in parts {
        match left.checked_sub(u64::from(*percent)) {
            Some(rest) => left = rest,
            None => return *version,
        }
    }

    // The weights add up to 100; the registry checks them.
    parts.last().expect("a split has parts").0
}

/// Draws a random number that clients cannot influence.
fn random() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    mix(COUNT.fetch_add(SPLITMIX_STEP, Ordering::Relaxed))
}

/// The published table.
#[derive(Default)]
pub(crate) struct Routes(ArcSwap<RouteTable>);

impl Routes {
    /// Finds the servable of a target in the current table.
    pub(crate) fn resolve(&self, target: &Target) -> Result<Arc<Servable>> {
        self.0.load().resolve(target)
    }

    /// Finds the shadow version of a servable, if it has one.
    pub(crate) fn shadow_of(&self, servable: &Servable) -> Option<Arc<Servable>> {
        let table = self.0.load();
        let model = table.models.get(&servable.name)?;
        let version = model
            .labels
            .get(SHADOW)
            .filter(|v| **v != servable.version)?;
        model.versions.get(version).cloned()
    }

    /// Returns the current table.
    pub(crate) fn table(&self) -> Arc<RouteTable> {
        self.0.load_full()
    }

    /// Replaces the table: one atomic store.
    pub(crate) fn publish(&self, table: RouteTable) {
        self.0.store(Arc::new(table));
    }
}
