//! Loads and unloads the versions of one model until the plan has nothing left to do.

use super::actual::Actual;
use super::drain::Draining;
use super::load;
use super::plan::{self, Action, KnownVersion};
use super::{Loop, ServingState, Settings};
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::observe::metrics::Metrics;
use crate::registry::catalog::{ModelEntry, VersionEntry};
use crate::serve::servable::{Drained, Servable};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

const CHANGED_IN_PLACE: &str = "its files changed after it was loaded; the loaded version keeps serving; put new files under a new version";

impl Loop {
    /// Notes which versions of a model the source has.
    pub(super) fn note_entry(&mut self, name: &ModelName, entry: Option<&ModelEntry>) {
        let versions = self.models.entry(name.clone()).or_default();
        versions.retain(|version, actual| {
            actual.servable.is_some() || entry.is_some_and(|e| e.versions.contains_key(version))
        });

        for (version, found) in entry.into_iter().flat_map(|e| &e.versions) {
            let actual = versions
                .entry(*version)
                .or_insert_with(|| Actual::new(found.files.clone()));
            if actual.files == found.files {
                actual.warning = None;
            } else if actual.servable.is_none() {
                *actual = Actual::new(found.files.clone());
            } else if actual.warning.is_none() {
                actual.warning = Some(CHANGED_IN_PLACE.to_owned());
                tracing::error!(
                    model = name.as_str(),
                    version = version.number(),
                    warning = CHANGED_IN_PLACE,
                    "version refused"
                );
                count_failure(&self.parts.metrics, name);
            }
        }
    }

    /// Loads and unloads until the plan has nothing left to do for one model.
    pub(super) fn settle(&mut self, name: &ModelName, entry: Option<&ModelEntry>) {
        let mut settings = (self.parts.settings)(name, entry.and_then(|e| e.config.as_ref()));
        let pointers = entry.and_then(|e| e.pointers.as_ref());
        self.try_again(name, pointers);
        self.note_declared(name, &settings.declared);
        self.point(name, pointers, &mut settings);
        let problem = entry.and_then(|e| e.problem.clone());
        loop {
            let Some(versions) = self.models.get(name) else {
                return;
            };
            let now = Instant::now();
            match plan::next(&known(versions, entry, now), &settings.model.version_policy) {
                Action::Load(version) => {
                    let Some(found) = entry.and_then(|e| e.versions.get(&version)) else {
                        return;
                    };
                    let result = match &problem {
                        Some(problem) => Err(Error::precondition(problem.clone())),
                        None => self.load(name, version, found, &settings),
                    };
                    self.loaded(name, version, result);
                }
                Action::Unload(version) => self.unload(name, version),
                Action::Nothing => return,
            }
            self.point(name, pointers, &mut settings);
            self.publish(name, &settings);
        }
    }

    fn load(
        &mut self,
        name: &ModelName,
        version: Version,
        found: &VersionEntry,
        settings: &Settings,
    ) -> Result<(Arc<Servable>, Drained)> {
        self.set_state(name, version, ServingState::Loading);
        self.declare(name, version, &settings.declared);
        self.publish_status();
        let start = Instant::now();
        let loaded = self.parts.source.read(name, version, found)?;
        settings.declared.check(&loaded.graph.signature)?;
        if let Some(prober) = &self.parts.probe {
            let options = settings.model.session_options();
            prober.check(&load::subject(&loaded, settings, &options))?;
            if let Some(companion) = loaded
                .companion
                .as_deref()
                .filter(|_| self.parts.monitor.is_some())
            {
                prober.check_companion(companion)?;
            }
        }

        let loading = load::Loading {
            name,
            version,
            settings,
            parts: &self.parts,
            watchdog: &self.watchdog,
        };

        let made = loading.load(loaded)?;
        let took = start.elapsed();
        made.0.metrics.load_seconds.set(took.as_secs_f64());
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (provider, lanes) = (made.0.provider, made.0.lanes);
        tracing::info!(
            model = name.as_str(),
            version = version.number(),
            took_ms,
            provider,
            lanes,
            "version ready"
        );

        Ok(made)
    }

    fn loaded(
        &mut self,
        name: &ModelName,
        version: Version,
        result: Result<(Arc<Servable>, Drained)>,
    ) {
        let Some(actual) = self.models.get_mut(name).and_then(|v| v.get_mut(&version)) else {
            return;
        };
        match result {
            Ok((servable, drained)) => {
                actual.servable = Some(servable);
                actual.drained = Some(drained);
                actual.state = ServingState::Ready;
                actual.retry = None;
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(model = name.as_str(), version = version.number(), %error, cause, "version refused");
                count_failure(&self.parts.metrics, name);
                actual.refuse(error, Instant::now());
            }
        }
    }

    fn unload(&mut self, name: &ModelName, version: Version) {
        let Some(actual) = self.models.get_mut(name).and_then(|v| v.get_mut(&version)) else {
            return;
        };
        actual.state = ServingState::Unloaded;
        if let Some(servable) = actual.servable.take() {
            servable.metrics.ready.set(0);
        }
        if let Some(drained) = actual.drained.take() {
            self.draining.push(Draining {
                name: name.clone(),
                version,
                since: Instant::now(),
                drained,
            });
        }

        tracing::info!(
            model = name.as_str(),
            version = version.number(),
            "version out of service, draining"
        );
    }

    fn set_state(&mut self, name: &ModelName, version: Version, state: ServingState) {
        if let Some(actual) = self.models.get_mut(name).and_then(|v| v.get_mut(&version)) {
            actual.state = state;
        }
    }
}

/// Returns what the plan needs to know about each version of a model.
fn known(
    versions: &BTreeMap<Version, Actual>,
    entry: Option<&ModelEntry>,
    now: Instant,
) -> BTreeMap<Version, KnownVersion> {
    let mut all = BTreeMap::new();
    for (version, actual) in versions {
        let found = entry.and_then(|e| e.versions.get(version));
        let known = KnownVersion {
            present: found.is_some_and(|f| f.settled || actual.servable.is_some()),
            serving: actual.servable.is_some(),
            refused: actual.is_refused(now),
        };
        all.insert(*version, known);
    }

    all
}

fn count_failure(metrics: &Metrics, name: &ModelName) {
    metrics
        .load_failures
        .with_label_values(&[name.as_str()])
        .inc();
}
