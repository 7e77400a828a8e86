//! The status of every version that the manager knows. Decides nothing.

use super::Loop;
use super::drain::Draining;
use crate::core::model::{ModelName, Version};
use crate::registry::catalog::{Catalog, Unserved};
use std::collections::HashMap;
use std::sync::Arc;

/// The state of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServingState {
    /// Its files are still being written.
    Settling,
    Loading,
    Ready,
    /// No longer in the route table; its last requests are finishing.
    Draining,
    Unloaded,
    /// Refused, for this reason.
    Failed(String),
}

/// One line of the status report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VersionStatus {
    pub name: ModelName,
    pub version: Option<Version>,
    pub state: ServingState,
    /// A problem of a version that serves.
    pub warning: Option<String>,
}

impl Loop {
    /// Publishes the status, including models that are not wanted, and drops routes of models that
    /// are gone.
    pub(super) fn report(&self, catalog: &Catalog) {
        let mut table = (*self.parts.predictor.routes().table()).clone();
        let before = table.models.len();
        table
            .models
            .retain(|name, _| self.models.contains_key(name) && self.is_wanted(name));
        for name in self.models.keys().filter(|name| self.is_wanted(name)) {
            table.models.entry(name.clone()).or_default();
        }

        let entry = self.parts.source.entry();
        let has_news = **self.unserved.load() != catalog.unserved;
        if table.models.len() != before || table.entry != entry || has_news {
            table.entry = entry;
            if has_news {
                table.unserved = Arc::new(reasons(&catalog.unserved));
            }
            self.parts.predictor.routes().publish(table);
        }
        let mut lines = self.lines();
        for (name, entry) in catalog
            .models
            .iter()
            .filter(|(name, _)| !self.models.contains_key(*name))
        {
            let versions = entry.versions.keys().map(|v| VersionStatus {
                name: name.clone(),
                version: Some(*v),
                state: ServingState::Unloaded,
                warning: None,
            });
            lines.extend(versions);
        }

        lines.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        self.status.store(Arc::new(lines));
        if has_news {
            self.unserved.store(Arc::new(catalog.unserved.clone()));
        }
    }

    pub(super) fn publish_status(&self) {
        self.status.store(Arc::new(self.lines()));
    }

    /// Publishes problems of loaded versions that arose or ended without a change of the source.
    pub(super) fn refresh_notices(&self) {
        let notice =
            |line: &VersionStatus| self.models.get(&line.name)?.get(&line.version?)?.notice();
        let before = self.status.load();
        let lines: Vec<VersionStatus> = before
            .iter()
            .map(|line| VersionStatus {
                warning: notice(line),
                ..line.clone()
            })
            .collect();
        if lines != **before {
            self.status.store(Arc::new(lines));
        }
    }

    fn lines(&self) -> Vec<VersionStatus> {
        let lines = self.models.iter().flat_map(|(name, versions)| {
            versions.iter().map(|(version, actual)| {
                let drains = |d: &Draining| d.name == *name && d.version == *version;
                let draining =
                    actual.state == ServingState::Unloaded && self.draining.iter().any(drains);
                VersionStatus {
                    name: name.clone(),
                    version: Some(*version),
                    state: if draining {
                        ServingState::Draining
                    } else {
                        actual.state.clone()
                    },
                    warning: actual.notice(),
                }
            })
        });

        lines.collect()
    }
}

/// Returns the first reason of each name in the directory.
fn reasons(unserved: &[Unserved]) -> HashMap<String, String> {
    let mut reasons = HashMap::new();
    for one in unserved {
        reasons
            .entry(one.model.clone())
            .or_insert_with(|| one.explanation());
    }
    reasons
}
