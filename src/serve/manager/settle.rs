//! Loads and unloads the versions of one model until the plan has nothing left to do.

use super::actual::{Actual, Made};
use super::declared;
use super::drain::Draining;
use super::load;
use super::memory::{self, MemoryBefore};
use super::plan::{self, Action, KnownVersion};
use super::revision::REFUSED_BEFORE;
use super::{Loop, ServingState, Settings};
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::observe::metrics::Metrics;
use crate::onnx::first_run::Passed;
use crate::registry::catalog::{FolderSight, ModelEntry, VersionEntry};
use crate::registry::directory::Loaded;
use crate::registry::pbtxt::ModelConfig;
use crate::registry::version_policy::VersionPolicy;
use crate::serve::settings::InPlace;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

impl Loop {
    /// Loads and unloads until the plan has nothing left to do for one model.
    pub(super) fn settle(&mut self, name: &ModelName, entry: Option<&ModelEntry>) {
        let mut settings = (self.parts.settings)(name, entry.and_then(|e| e.config.as_ref()));
        let labels = entry.into_iter().flat_map(|entry| entry.labels.clone());
        settings.model.labels.extend(labels);
        let pointers = entry.and_then(|e| e.pointers.as_ref());
        self.try_again(name, pointers);
        self.note_declared(name, &settings.declared, entry);
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
                Action::Nothing => {
                    self.publish_labels(name, &settings);
                    if pointers.is_none() {
                        self.note_unwanted(name, entry, &settings.model.version_policy);
                    }
                    return;
                }
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
    ) -> Result<Made> {
        self.begin(name, version, &settings.declared);
        let start = Instant::now();
        let before = MemoryBefore::now();
        let loaded = self.parts.source.read(name, version, found)?;
        let weights = memory::weights(&loaded);
        let refuses = self.in_place(name) == InPlace::Refuse;
        if refuses
            && self
                .parts
                .source
                .was_refused(name, version, loaded.digests())
        {
            return Err(Error::precondition(REFUSED_BEFORE));
        }
        settings.declared.check(&loaded.graph.signature)?;
        let passed = self.first_run(&loaded, settings)?;

        let loading = load::Loading {
            name,
            version,
            settings,
            parts: &self.parts,
            watchdog: &self.watchdog,
            tests: &self.tests,
            passed,
        };

        let digests = loaded.digests();
        let (servable, drained) = loading.load(loaded)?;
        // Opening a session leaves free memory behind, as much as the weights.
        self.parts.engine.trim();
        let memory_bytes = before.estimate(weights);
        servable
            .metrics
            .memory_bytes
            .set(i64::try_from(memory_bytes).unwrap_or(i64::MAX));
        let took = start.elapsed();
        servable.metrics.load_seconds.set(took.as_secs_f64());
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (provider, lanes, digest) = (servable.provider, servable.lanes, servable.digest);
        tracing::info!(
            model = name.as_str(),
            version = version.number(),
            %digest,
            took_ms,
            provider,
            lanes,
            memory_bytes,
            "version ready"
        );

        Ok(Made {
            servable,
            drained,
            digests,
            files: found.files.clone(),
            declared: settings.declared.clone(),
        })
    }

    /// Makes the first run of a version, in the sandbox, where that is on.
    fn first_run(&self, loaded: &Loaded, settings: &Settings) -> Result<Option<Passed>> {
        let Some(prober) = &self.parts.probe else {
            return Ok(None);
        };
        let options = settings.model.session_options();
        let passed = prober.check_one_row(&load::subject(loaded, settings, &options))?;
        let companion = loaded.companion.as_deref();
        if let Some(companion) = companion.filter(|_| self.parts.monitor.is_some()) {
            prober.check_companion(companion)?;
        }
        Ok(Some(passed))
    }

    /// Shows that a version is being loaded. One whose new bytes are loaded serves meanwhile.
    fn begin(&mut self, name: &ModelName, version: Version, declared: &ModelConfig) {
        let versions = self.models.get_mut(name);
        let Some(actual) = versions.and_then(|versions| versions.get_mut(&version)) else {
            return;
        };
        if actual.servable.is_some() {
            if let Some(revision) = &mut actual.revision {
                revision.declared = Some(declared.clone());
            }
            return;
        }

        actual.state = ServingState::Loading;
        actual.declare(declared);
        self.publish_status();
    }

    fn loaded(&mut self, name: &ModelName, version: Version, result: Result<Made>) {
        let versions = self.models.get_mut(name);
        let Some(actual) = versions.and_then(|versions| versions.get_mut(&version)) else {
            return;
        };
        match result {
            Ok(made) => {
                declared::say_notices(name, version, &made.declared);
                self.parts.source.accept(name, version, made.digests);
                if let Some(drained) = actual.put(made) {
                    // The bytes that served under this number until now.
                    self.draining.push(Draining {
                        name: name.clone(),
                        version,
                        since: Instant::now(),
                        drained,
                    });
                }
            }
            Err(error) => {
                let is_news = actual.told.as_ref() != Some(&error.message);
                actual.told = Some(error.message.clone());
                log_refusal(name, version, &error, is_news);
                count_failure(&self.parts.metrics, name);
                actual.refuse(error, Instant::now());
            }
        }
    }

    /// Notes the versions that are there and that the policy does not want, so that nothing waits
    /// for them.
    fn note_unwanted(
        &mut self,
        name: &ModelName,
        entry: Option<&ModelEntry>,
        policy: &VersionPolicy,
    ) {
        let Some(versions) = self.models.get_mut(name) else {
            return;
        };
        let known = known(versions, entry, Instant::now());
        let expected = plan::expected(&known, policy);
        let is_void = plan::is_void(&known, policy);
        note_void(&mut self.void, name, policy, is_void);
        let why = match is_void {
            true => format!("not wanted by {policy}, and none of these versions is there"),
            false => format!("not wanted by {policy}"),
        };
        for (version, actual) in versions.iter_mut() {
            if is_void && actual.servable.is_some() {
                actual.warning = Some(format!("{why}; it keeps serving"));
            }
            let idle = matches!(
                actual.state,
                ServingState::Settling | ServingState::Unloaded
            );
            if !idle || actual.servable.is_some() {
                continue;
            }
            if expected.contains(version) {
                actual.state = ServingState::Settling;
                actual.warning = None;
            } else {
                actual.state = ServingState::Unloaded;
                actual.warning = Some(why.clone());
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
}

/// Notes whether a policy names no version that is there, and logs it once.
fn note_void(
    void: &mut BTreeSet<ModelName>,
    name: &ModelName,
    policy: &VersionPolicy,
    is_void: bool,
) {
    if !is_void {
        void.remove(name);
    } else if void.insert(name.clone()) {
        let (model, policy) = (name.as_str(), policy.to_string());
        tracing::warn!(
            model,
            policy,
            "the version policy names no version that is there; what is loaded keeps serving"
        );
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
            listed: found.is_some_and(|f| f.sight != FolderSight::Missing),
            present: found.is_some_and(|f| is_present(f, actual)),
            missing: found.is_some_and(|f| f.sight == FolderSight::Missing),
            serving: actual.servable.is_some(),
            refused: actual.is_refused(now),
            revised: found.is_some_and(|f| is_revised(f, actual, now)),
        };
        all.insert(*version, known);
    }

    all
}

/// Tells whether new bytes, or a new configuration, of a version that serves are to be loaded now.
fn is_revised(found: &VersionEntry, actual: &Actual, now: Instant) -> bool {
    let revision = actual.revision.as_ref().filter(|r| r.files == found.files);
    let can_load = found.sight == FolderSight::Seen && found.settled && actual.servable.is_some();
    let is_edited = actual.reload && actual.waiting.is_some();
    can_load && (is_edited || revision.is_some_and(|revision| revision.is_due(now)))
}

/// Tells whether a version serves or can be loaded. What cannot be looked into is not taken for gone.
fn is_present(found: &VersionEntry, actual: &Actual) -> bool {
    match found.sight {
        FolderSight::Seen => found.settled || actual.servable.is_some(),
        FolderSight::Unreadable(_) => actual.servable.is_some(),
        FolderSight::Missing => false,
    }
}

/// Logs a refusal. One that is repeated by a retry is of interest only for debugging.
fn log_refusal(name: &ModelName, version: Version, error: &Error, is_news: bool) {
    let (model, version) = (name.as_str(), version.number());
    let cause = std::error::Error::source(error).map(ToString::to_string);
    let cause = cause.filter(|cause| !error.message.contains(cause));
    if is_news {
        tracing::error!(model, version, %error, cause, "version refused");
    } else {
        tracing::debug!(model, version, %error, cause, "version refused again");
    }
}

pub(super) fn count_failure(metrics: &Metrics, name: &ModelName) {
    metrics
        .load_failures
        .with_label_values(&[name.as_str()])
        .inc();
}
