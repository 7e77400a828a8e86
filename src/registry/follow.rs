//! Follows a registry for a server: reads new entries, decides which versions are
//! served, and keeps verified copies of their files in a cache. If the store does
//! not answer, serving continues from the cache. A log that was forked or rolled
//! back is refused.

mod cache;
mod pointers;
mod presence;
#[cfg(test)]
mod tests;
mod trust;

use super::catalog::{Catalog, FileStamp, Fingerprint, FolderSight, ModelEntry, VersionEntry};
use super::directory::Loaded;
use super::fold::{NamespaceState, RegisteredModel};
use super::log::Log;
use super::manifest::{
    BASELINE_BYTES_MAX, COMPANION_BYTES_MAX, EXPLANATION_BYTES_MAX, File, GOLDEN_BYTES_MAX, Role,
};
use super::model_file::ModelFile;
use super::servers::{self, Addresses};
use super::settings::Registry;
use super::sign::{Policy, Trust};
use crate::core::error::{Error, Kind, Result};
use crate::core::hash::Digest;
use crate::core::model::{ModelName, Version};
use crate::onnx::graph::Graph;
use bytes::Bytes;
use cache::Cache;
use pointers::{Approvers, pointers};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Options of a follower.
pub(crate) struct FollowOptions {
    pub settings: Registry,
    /// The folder of verified copies.
    pub cache: PathBuf,
    /// Addresses of this server, once they are known; published to the fleet.
    pub addresses: Arc<OnceLock<Addresses>>,
}

impl FollowOptions {
    /// Whether only a state that was folded from the first entry is accepted.
    fn is_strict(&self) -> bool {
        self.settings.signatures == Policy::Require || self.settings.approvals > 0
    }

    /// The state that a server without strict options applied; only used to check that its last
    /// entry is still in the log.
    fn seen(&self, cache: &Cache) -> Option<NamespaceState> {
        if self.is_strict() {
            cache.state(false)
        } else {
            None
        }
    }
}

/// State of a follower.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The last entry applied.
    pub seq: u64,
    /// Why new entries are refused, if so.
    pub refused: Option<String>,
    /// Whether the reason is that the store does not answer, rather than the
    /// content of the store.
    pub silent: bool,
}

/// Result of one look at the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogLook {
    /// Entries were applied.
    New,
    /// There are no new entries.
    Same,
    /// The store did not answer, or its log is refused.
    Failed,
}

/// A follower of one namespace.
pub(crate) struct Follower {
    log: Log,
    state: NamespaceState,
    options: FollowOptions,
    cache: Cache,
    runtime: tokio::runtime::Runtime,
    /// When the store last answered.
    contact: Instant,
    looks: u64,
    /// The models to serve; empty for all.
    models: BTreeSet<ModelName>,
    /// Why new entries are refused, and whether only the store does not answer.
    refused: Option<String>,
    silent: bool,
    /// Versions that were wanted before; the manager unloads them.
    listed: BTreeMap<ModelName, BTreeSet<Version>>,
    /// This server's name in the fleet, and what it last published and when.
    server: String,
    published: Option<(Standing, Instant)>,
    /// When each model's previous champion was replaced.
    previous: BTreeMap<ModelName, (Version, Instant)>,
    /// Champions that were logged as not approved; and those that were admitted,
    /// which stay admitted.
    unapproved: BTreeSet<(ModelName, Version)>,
    admitted: BTreeSet<(ModelName, Version)>,
    /// The trust file as last read, and why it is unreadable now, if it is.
    trust: Trust,
    untrusted: Option<String>,
}

/// Time limit of one look; a slow store counts as one that does not answer.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// Every so many looks, the last entry is read again: it must be unchanged.
const RECHECK: u64 = 8;

impl Follower {
    /// Starts from the cached state and applies the entries of the store. Without
    /// the store it continues from the cache; without either it fails.
    pub(crate) fn open(log: Log, options: FollowOptions, now: Instant) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::internal("build the follower's runtime").with_source(e))?;
        let cache = Cache::open(&options.cache, &log)?;
        let models = options
            .settings
            .models
            .iter()
            .map(|name| ModelName::parse(name))
            .collect::<Result<_>>()?;

        let kept = cache.state(options.is_strict());
        let known = kept.is_some();
        let mut follower = Self {
            log,
            state: kept.unwrap_or_default(),
            options,
            cache,
            runtime,
            contact: now,
            looks: 0,
            models,
            refused: None,
            silent: false,
            listed: BTreeMap::new(),
            server: servers::name(),
            published: None,
            previous: BTreeMap::new(),
            unapproved: BTreeSet::new(),
            admitted: BTreeSet::new(),
            trust: Trust::default(),
            untrusted: None,
        };

        match follower.first_look() {
            Ok(()) => {}
            Err(error) if known => follower.fail(&error),
            Err(error) => return Err(error),
        }

        Ok(follower)
    }

    fn first_look(&mut self) -> Result<()> {
        let log = self.log.clone();
        let seen = self.options.seen(&self.cache);
        self.runtime.block_on(async {
            let started = async {
                // The last entry that any server of this machine applied must be unchanged.
                for state in seen.iter().chain([&self.state]).filter(|s| s.seq > 0) {
                    same_entry(&log, state).await?;
                }
                // A checkpoint is not signed: with strict options every entry is folded.
                if self.state.seq == 0 && !self.options.is_strict() {
                    self.state = log.load().await?;
                }
                Ok(())
            };
            tokio::time::timeout(LOOK_MAX * 6, started)
                .await
                .unwrap_or_else(|_| Err(stalled()))?;
            loop {
                let before = self.state.seq;
                let looked = tokio::time::timeout(LOOK_MAX, log.catch_up(&mut self.state)).await;
                match looked {
                    Ok(done) => break done,
                    // Reading a long log is not a timeout while it makes progress.
                    Err(_) if self.state.seq > before => {}
                    Err(_) => break Err(stalled()),
                }
            }
        })?;

        self.applied();
        Ok(())
    }

    /// Looks for new entries: one request if there are none. At intervals a look
    /// without a notification (`notified` is false) checks the last entry instead.
    pub(crate) fn poll(&mut self, now: Instant, notified: bool) -> LogLook {
        self.looks += u64::from(!notified);
        let recheck = (!notified && self.looks.is_multiple_of(RECHECK)) || self.refused.is_some();
        let log = self.log.clone();
        // The state is kept outside the future, so that entries applied before a
        // failure or a timeout are not lost; the next look continues from there.
        let mut next = None;
        let looked = self.runtime.block_on(async {
            let look = async {
                if recheck && self.state.seq > 0 {
                    same_entry(&log, &self.state).await?;
                    if self.refused.is_none() {
                        return Ok(());
                    }
                }
                // Usually there is nothing new: one request, and no copy of the state.
                if !log.has_next(&self.state).await? {
                    return Ok(());
                }
                log.catch_up(next.insert(self.state.clone())).await
            };
            tokio::time::timeout(LOOK_MAX, look).await
        });

        let new = next.filter(|state| state.seq > self.state.seq);
        let is_new = new.is_some();
        if let Some(state) = new {
            self.note_champions(&state, now);
            self.state = state;
            self.applied();
        }

        match looked.unwrap_or_else(|_| Err(stalled())) {
            Ok(()) => {
                self.contact = now;
                self.silent = false;
                if self.refused.take().is_some() {
                    tracing::info!(seq = self.state.seq, "registry is followed again");
                }
                if is_new { LogLook::New } else { LogLook::Same }
            }
            // Reading a long log is not a timeout while it makes progress.
            Err(error) if is_new && error.kind == Kind::Unavailable => {
                self.contact = now;
                LogLook::New
            }
            Err(error) => {
                self.fail(&error);
                LogLook::Failed
            }
        }
    }

    fn fail(&mut self, error: &Error) {
        self.silent = error.kind != Kind::FailedPrecondition;
        // Logged once, and again only when the reason changes.
        if self.refused.as_deref() != Some(&error.message) {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(%error, cause, seq = self.state.seq, "registry cannot be followed; serving continues with the last state");
        }

        self.refused = Some(error.message.clone());
    }

    fn applied(&mut self) {
        if let Err(error) = self.cache.keep(&self.state, self.options.is_strict()) {
            tracing::error!(%error, "state cannot be cached; a restart without the store would start from an older one");
        }
        for (seq, why) in self.state.void.range(self.state.seq..) {
            tracing::warn!(
                seq,
                why,
                "entry is void: its conditions did not hold, so it changes nothing"
            );
        }
    }

    /// Records which champions the new state replaces.
    fn note_champions(&mut self, new: &NamespaceState, now: Instant) {
        for (name, model) in &new.models {
            let before = self
                .state
                .models
                .get(name)
                .and_then(RegisteredModel::champion);
            if model.champion() != before
                && let Some(previous) = model.previous()
            {
                self.previous.insert(name.clone(), (previous, now));
            }
        }
    }

    /// Returns the state of the follower.
    pub(crate) fn status(&self) -> Standing {
        Standing {
            seq: self.state.seq,
            refused: self.refused.clone(),
            silent: self.silent,
        }
    }

    /// Returns the time since the store last answered.
    pub(crate) fn staleness(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.contact)
    }

    /// Returns the versions to serve, and those that were served before.
    pub(crate) fn scan(&mut self, now: Instant) -> Catalog {
        let mut catalog = Catalog::default();
        self.read_trust();
        let mut now_admitted = BTreeSet::new();
        let approvers = Approvers::of(
            &self.state,
            self.options.settings.approvals,
            &self.trust,
            &self.admitted,
        );

        for (name, model) in &self.state.models {
            if !self.models.is_empty() && !self.models.contains(name) {
                continue;
            }
            let warm = self.previous.get(name).filter(|(_, since)| {
                now.saturating_duration_since(*since) < self.options.settings.previous_warm
            });
            let (pointers, refused) =
                pointers(name, model, warm.map(|(version, _)| *version), &approvers);
            now_admitted.extend(pointers.champion.map(|v| (name.clone(), v)));
            if let Some(version) = refused.filter(|v| self.unapproved.insert((name.clone(), *v))) {
                let version = version.number();
                tracing::error!(
                    model = name.as_str(),
                    version,
                    "version is not champion on this server: trusted keys did not approve it"
                );
            }
            let listed = self.listed.entry(name.clone()).or_default();
            listed.extend(&pointers.wanted);
            // Retired versions too: one is unloaded only once all wanted versions
            // are served.
            listed.retain(|v| model.versions.contains_key(v));
            let versions = listed
                .iter()
                .filter_map(|v| Some((*v, version_entry(model.versions.get(v)?.manifest))));
            let versions = versions.collect();
            catalog.models.insert(
                name.clone(),
                ModelEntry {
                    versions,
                    pointers: Some(pointers),
                    ..ModelEntry::default()
                },
            );
        }

        // A version that becomes champion again needs its approvals again.
        self.admitted = now_admitted;
        catalog
    }

    /// Reads a version into memory: from the cache if it is whole there, else from
    /// the store. Refuses bytes that differ from the manifest's digests, and a
    /// graph whose signature differs from the manifest's.
    pub(crate) fn read(&self, name: &ModelName, version: Version) -> Result<Loaded> {
        let record = self.state.record(name, version)?;
        self.check_signature(name, version, record)?;
        let folder = self.runtime.block_on(self.cache.fetch(&self.log, record))?;
        let bytes = std::fs::read(folder.model_path())
            .map(Bytes::from)
            .map_err(|e| Error::unavailable("read a cached model").with_source(e))?;
        // The graph shares the bytes: a model may take 2 GiB.
        let graph = Graph::read(bytes.clone())?;

        if !folder.manifest.signature.is_of(&graph.signature) {
            return Err(Error::precondition(
                "the signature of the graph differs from the one in its manifest",
            ));
        }

        let external_dir = (!graph.external.is_empty()).then(|| folder.path.clone());
        let beside = |role, bytes_max| {
            let file = folder.manifest.files.iter().find(|f| f.role == role);
            if let Some(large) = file.filter(|f| f.bytes > bytes_max) {
                return Err(Error::precondition(format!(
                    "'{}' is over {bytes_max} bytes",
                    large.path
                )));
            }
            let read = |file: &File| std::fs::read(folder.path.join(&file.path)).map(Into::into);
            file.map(read)
                .transpose()
                .map_err(|e| Error::unavailable("read a cached file").with_source(e))
        };

        Ok(Loaded {
            bytes,
            graph,
            digest: record.manifest,
            used: record.manifest,
            file: ModelFile::Disk(folder.model_path(), folder.manifest.model_file()?.digest),
            external_dir,
            copy: None,
            golden: beside(Role::Golden, GOLDEN_BYTES_MAX)?,
            baseline: beside(Role::Baseline, BASELINE_BYTES_MAX)?,
            companion: beside(Role::Companion, COMPANION_BYTES_MAX)?,
            explanation: beside(Role::Explanation, EXPLANATION_BYTES_MAX).transpose(),
            features: folder.manifest.features.clone(),
        })
    }

    #[cfg(test)]
    fn cache_folder(&self, manifest: &Digest) -> PathBuf {
        self.cache.folder(manifest)
    }

    /// Deletes cached files of versions that are no longer needed.
    pub(crate) fn clean_cache(&self, serving: &BTreeSet<Digest>) {
        let models = self.state.models.values();
        let pointed = models.flat_map(|m| {
            let split = m.traffic.keys().filter_map(|to| m.find(to));
            m.all_aliases()
                .into_values()
                .chain(split)
                .filter_map(|v| m.versions.get(&v))
        });

        let keep: BTreeSet<Digest> = pointed
            .map(|r| r.manifest)
            .chain(serving.iter().copied())
            .collect();
        self.cache.tidy(&keep);
    }
}

fn stalled() -> Error {
    Error::unavailable("the store does not answer in time")
}

/// Fails unless the last entry applied is unchanged in the store.
async fn same_entry(log: &Log, state: &NamespaceState) -> Result<()> {
    let found = log.entry_hash(state.seq).await?;
    if found == state.hash {
        return Ok(());
    }
    let how = if found.is_some() {
        "differs from the one that was applied"
    } else {
        "is gone"
    };

    Err(Error::precondition(format!(
        "entry {} of the log {how}: the log was forked or rolled back; restore it, or start again with an empty cache",
        state.seq
    )))
}

fn version_entry(manifest: Digest) -> VersionEntry {
    let stamp = FileStamp {
        file: manifest.hex().into(),
        file_bytes: 0,
        modified_ns: 0,
        inode: 0,
        changed_ns: 0,
    };

    let files = Fingerprint(vec![stamp]);
    VersionEntry {
        files,
        model_path: PathBuf::new(),
        settled: true,
        sight: FolderSight::Seen,
        manifest: Some(manifest),
    }
}
