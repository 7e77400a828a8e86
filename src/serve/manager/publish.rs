//! Builds route tables from the loaded versions and the aliases that select them. The manager
//! reaches requests in no other way.

use super::pointers::Pointing;
use super::{Actual, Loop, ServingState, Settings};
use crate::core::model::{ModelName, Version};
use crate::registry::catalog::Pointers;
use crate::registry::version_policy::VersionPolicy;
use crate::serve::route::ModelRoutes;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Loop {
    /// Forgets the refusal of versions that are newly wanted, so that setting an alias to a refused
    /// version tries it again.
    pub(super) fn try_again(&mut self, name: &ModelName, pointers: Option<&Pointers>) {
        let Some(wanted) = pointers.map(|p| &p.wanted) else {
            return;
        };
        let before = self
            .wanted
            .insert(name.clone(), wanted.clone())
            .unwrap_or_default();
        let Some(versions) = self.models.get_mut(name) else {
            return;
        };

        for version in wanted.difference(&before) {
            if let Some(actual) = versions
                .get_mut(version)
                .filter(|a| matches!(a.state, ServingState::Failed(_)))
            {
                actual.state = ServingState::Settling;
                actual.told = None;
            }
        }
    }

    /// Moves aliases to the versions that the registry selects, if they serve, and keeps the
    /// versions that aliases need. A directory has no aliases: its version policy decides.
    pub(super) fn point(
        &mut self,
        name: &ModelName,
        pointers: Option<&Pointers>,
        settings: &mut Settings,
    ) {
        let Some(pointers) = pointers else {
            self.pointing.remove(name);
            return;
        };
        let known = self.models.get(name).into_iter().flatten();
        let serving = known
            .filter(|(_, actual)| actual.servable.is_some())
            .map(|(version, _)| *version)
            .collect();
        let before = self.pointing.get(name).cloned().unwrap_or_default();

        let next = before.follow(pointers, &serving);
        settings.model.version_policy = VersionPolicy::Specific(next.keep(pointers, &serving));
        if next != before {
            self.pointing.insert(name.clone(), next);
            self.publish(name, settings);
        }
    }

    /// Publishes the labels of a model, if they are others than those in use.
    pub(super) fn publish_labels(&self, name: &ModelName, settings: &Settings) {
        let table = self.parts.predictor.routes().table();
        let pointing = self.pointing.get(name).cloned().unwrap_or_default();
        let differ = |routes: &ModelRoutes| routes.labels != labels(settings, &pointing);
        if table.models.get(name).is_some_and(differ) {
            self.publish(name, settings);
        }
    }

    /// Publishes the servables of one model in a new route table.
    pub(super) fn publish(&self, name: &ModelName, settings: &Settings) {
        let mut table = (*self.parts.predictor.routes().table()).clone();
        let serving = |versions: &BTreeMap<Version, Actual>| {
            versions
                .iter()
                .filter_map(|(v, a)| Some((*v, Arc::clone(a.servable.as_ref()?))))
                .collect()
        };

        match self
            .models
            .get(name)
            .filter(|versions| !versions.is_empty() && self.is_wanted(name))
        {
            Some(versions) => {
                let pointing = self.pointing.get(name).cloned().unwrap_or_default();
                let routes = ModelRoutes {
                    versions: serving(versions),
                    labels: labels(settings, &pointing),
                    unqualified: pointing.unqualified,
                };
                table.models.insert(name.clone(), routes);
            }
            None => {
                table.models.remove(name);
            }
        }

        self.parts.predictor.routes().publish(table);
    }
}

/// The labels of the settings, and the aliases of the registry.
fn labels(settings: &Settings, pointing: &Pointing) -> BTreeMap<String, Version> {
    let configured = settings.model.labels.clone().into_iter();
    configured.chain(pointing.labels.clone()).collect()
}
