//! Follows a registry: the newest state, what of it is to be served, and the
//! files, verified, in a cache of its own. Goes on with what it has where the
//! store is silent, and refuses a log that was forked or rolled back.

mod cache;
mod pointers;
#[cfg(test)]
mod tests;
mod trust;

use super::catalog::{Catalog, FileStamp, Fingerprint, ModelEntry, VersionEntry};
use super::directory::Loaded;
use super::fold::{Model, State};
use super::log::Log;
use super::manifest::{
    BASELINE_BYTES_MAX, COMPANION_BYTES_MAX, Declared, File, GOLDEN_BYTES_MAX, Role,
};
use super::servers::{self, Addresses, Presence};
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

/// What is followed, and how.
pub(crate) struct Options {
    /// The models to serve; empty for all.
    pub models: BTreeSet<ModelName>,
    /// The folder of verified copies.
    pub cache: PathBuf,
    /// How long a version that is only `previous` is kept.
    pub previous_warm: Duration,
    /// What is asked of signatures, and the file of the keys that count.
    pub signatures: Policy,
    pub trust: Option<PathBuf>,
    /// Approvals by those keys that a champion needs here, whatever the namespace asks for.
    pub approvals: u32,
    /// Where this server is reached, once that is known; told to the fleet.
    pub addresses: Arc<OnceLock<Addresses>>,
}

impl Options {
    /// Whether only what was folded from the first entry is believed.
    fn is_strict(&self) -> bool {
        self.signatures == Policy::Require || self.approvals > 0
    }

    /// What a server that was not strict applied; only its entry is looked for.
    fn seen(&self, cache: &Cache) -> Option<State> {
        if self.is_strict() {
            cache.state(false)
        } else {
            None
        }
    }
}

/// How following stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The last entry applied.
    pub seq: u64,
    /// Why nothing new is taken, if so.
    pub refused: Option<String>,
    /// Whether that is because the store is silent, and not because of what it has.
    pub silent: bool,
}

/// What one look at the log came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Entries were applied.
    New,
    /// There is nothing new.
    Same,
    /// The store did not answer, or what it has is refused.
    Failed,
}

/// A follower of one namespace.
pub(crate) struct Follower {
    log: Log,
    state: State,
    options: Options,
    cache: Cache,
    runtime: tokio::runtime::Runtime,
    /// When the store last answered.
    contact: Instant,
    looks: u64,
    /// Why nothing new is taken, if so; and whether that is only silence.
    refused: Option<String>,
    silent: bool,
    /// Versions that were wanted before; the manager lets go of them.
    listed: BTreeMap<ModelName, BTreeSet<Version>>,
    /// This server's name in the fleet, and what it last told and when.
    server: String,
    told: Option<(Standing, Instant)>,
    /// Since when each model's previous champion has been that.
    previous: BTreeMap<ModelName, (Version, Instant)>,
    /// Champions that are not served as such, and said so; and those that were
    /// admitted, which stay so.
    unapproved: BTreeSet<(ModelName, Version)>,
    admitted: BTreeSet<(ModelName, Version)>,
    /// The trust file as it last could be read, and why it cannot be, if so.
    trust: Trust,
    untrusted: Option<String>,
}

/// How long one look may take; a store that stalls is one that is silent.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// How long taking leave of the fleet may take.
const LEAVE_MAX: Duration = Duration::from_secs(1);
/// Every so many looks at nothing new, the last entry is looked at instead: it
/// must still be there, as it was.
const RECHECK: u64 = 8;

impl Follower {
    /// Takes up what was last applied, then what the store has. Without the
    /// store it goes on from the cache; without either it fails.
    pub(crate) fn open(log: Log, options: Options, now: Instant) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Error::internal("build the follower's runtime").with_source(e))?;
        let cache = Cache::open(&options.cache, &log)?;
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
            refused: None,
            silent: false,
            listed: BTreeMap::new(),
            server: servers::name(),
            told: None,
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
                // What any server of this machine applied must still be there.
                for state in seen.iter().chain([&self.state]).filter(|s| s.seq > 0) {
                    same_entry(&log, state).await?;
                }
                // A checkpoint is not signed: who asks for signatures folds every entry.
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
                    // A long way to go is no failure while it gets shorter.
                    Err(_) if self.state.seq > before => {}
                    Err(_) => break Err(stalled()),
                }
            }
        })?;
        self.applied();
        Ok(())
    }

    /// Looks for new entries: one request where there are none. Now and then a
    /// look that nobody asked for is spent on the last entry instead.
    pub(crate) fn look(&mut self, now: Instant, asked: bool) -> Look {
        self.looks += u64::from(!asked);
        let recheck = (!asked && self.looks.is_multiple_of(RECHECK)) || self.refused.is_some();
        let log = self.log.clone();
        // Kept beside the work: what was applied before it failed or ran out of
        // time holds, and the next look goes on from there.
        let mut next = None;
        let looked = self.runtime.block_on(async {
            let look = async {
                if recheck && self.state.seq > 0 {
                    same_entry(&log, &self.state).await?;
                    if self.refused.is_none() {
                        return Ok(());
                    }
                }
                // Mostly there is nothing: one request, and no state is copied.
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
                    tracing::info!(seq = self.state.seq, "the registry is followed again");
                }
                if is_new { Look::New } else { Look::Same }
            }
            // A long way to go is no failure while it gets shorter.
            Err(error) if is_new && error.kind == Kind::Unavailable => {
                self.contact = now;
                Look::New
            }
            Err(error) => {
                self.fail(&error);
                Look::Failed
            }
        }
    }

    fn fail(&mut self, error: &Error) {
        self.silent = error.kind != Kind::FailedPrecondition;
        // Said once, and again only when it changes.
        if self.refused.as_deref() != Some(&error.message) {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::error!(%error, cause, seq = self.state.seq, "the registry cannot be followed; what serves goes on");
        }
        self.refused = Some(error.message.clone());
    }

    fn applied(&mut self) {
        if let Err(error) = self.cache.keep(&self.state, self.options.is_strict()) {
            tracing::error!(%error, "the state cannot be kept; a restart without the store would know less");
        }
        for (seq, why) in self.state.void.range(self.state.seq..) {
            tracing::warn!(seq, why, "an entry is void");
        }
    }

    /// Notes which champions the new state makes previous ones.
    fn note_champions(&mut self, new: &State, now: Instant) {
        for (name, model) in &new.models {
            let before = self.state.models.get(name).and_then(Model::champion);
            if model.champion() != before
                && let Some(previous) = model.previous()
            {
                self.previous.insert(name.clone(), (previous, now));
            }
        }
    }

    /// How following stands.
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            seq: self.state.seq,
            refused: self.refused.clone(),
            silent: self.silent,
        }
    }

    /// Tells the fleet how this server stands: at once where that changed, else
    /// now and then. A store that does not take it is no failure, and one whose
    /// log is refused is not written to.
    pub(crate) fn tell(&mut self, now: Instant) {
        let standing = self.standing();
        if standing.refused.is_some() {
            return;
        }
        let fresh = |(told, at): &(Standing, Instant)| {
            *told == standing && now.saturating_duration_since(*at) < servers::HEARTBEAT
        };
        let Some(addresses) = self
            .options
            .addresses
            .get()
            .filter(|_| !self.told.as_ref().is_some_and(fresh))
        else {
            return;
        };
        let presence = Presence {
            server: self.server.clone(),
            addresses: addresses.clone(),
            entry: standing.seq,
            time: super::log::now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        self.told = Some((standing, now));
        let announced = self.runtime.block_on(async {
            let announce = async {
                // A folder that was taken away must not be made again by this.
                same_entry(&self.log, &self.state).await?;
                self.log.announce(&presence).await
            };
            tokio::time::timeout(LOOK_MAX, announce).await
        });
        if !matches!(announced, Ok(Ok(()))) {
            tracing::debug!("the fleet was not told");
        }
    }

    /// How long the store has been silent.
    pub(crate) fn staleness(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.contact)
    }

    /// What is to be served, and what was before.
    pub(crate) fn scan(&mut self, now: Instant) -> Catalog {
        let mut catalog = Catalog::default();
        self.read_trust();
        let mut now_admitted = BTreeSet::new();
        let approvers = Approvers::of(
            &self.state,
            self.options.approvals,
            &self.trust,
            &self.admitted,
        );
        for (name, model) in &self.state.models {
            if !self.options.models.is_empty() && !self.options.models.contains(name) {
                continue;
            }
            let warm = self.previous.get(name).filter(|(_, since)| {
                now.saturating_duration_since(*since) < self.options.previous_warm
            });
            let (pointers, refused) =
                pointers((name, model), warm.map(|(version, _)| *version), &approvers);
            now_admitted.extend(pointers.champion.map(|v| (name.clone(), v)));
            if let Some(version) = refused.filter(|v| self.unapproved.insert((name.clone(), *v))) {
                let version = version.number();
                tracing::error!(
                    model = name.as_str(),
                    version,
                    "not champion here: trusted keys did not approve it"
                );
            }
            let listed = self.listed.entry(name.clone()).or_default();
            listed.extend(&pointers.wanted);
            // A retired one too: it leaves once everything wanted serves.
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
        // A version that leaves the place is held to the approvals anew.
        self.admitted = now_admitted;
        catalog
    }

    /// Brings a version into memory: from the cache where it is whole there,
    /// else from the store. Refuses bytes that are not the manifest's, and a
    /// graph that does not declare what the manifest says.
    pub(crate) fn read(&self, name: &ModelName, version: Version) -> Result<Loaded> {
        let record = self.state.record(name, version)?;
        self.check_signature(name, version, record)?;
        let folder = self.runtime.block_on(self.cache.fetch(&self.log, record))?;
        let bytes = std::fs::read(folder.model_path())
            .map(Bytes::from)
            .map_err(|e| Error::unavailable("read a cached model").with_source(e))?;
        // The graph shares the bytes: a model may take 2 GiB.
        let graph = Graph::read(bytes.clone())?;
        if Declared::of(&graph.signature) != folder.manifest.signature {
            return Err(Error::precondition(
                "the graph does not declare what its manifest says",
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
            path: folder.model_path(),
            graph,
            digest: record.manifest,
            external_dir,
            golden: beside(Role::Golden, GOLDEN_BYTES_MAX)?,
            baseline: beside(Role::Baseline, BASELINE_BYTES_MAX)?,
            companion: beside(Role::Companion, COMPANION_BYTES_MAX)?,
            features: folder.manifest.features.clone(),
        })
    }

    #[cfg(test)]
    fn cache_folder(&self, manifest: &Digest) -> PathBuf {
        self.cache.folder(manifest)
    }

    /// Lets go of cached files that nothing wants any more.
    pub(crate) fn tidy(&self, serving: &BTreeSet<Digest>) {
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

impl Drop for Follower {
    fn drop(&mut self) {
        if self.told.is_some() {
            let _ = self.runtime.block_on(async {
                tokio::time::timeout(LEAVE_MAX, self.log.leave(&self.server)).await
            });
        }
    }
}

fn stalled() -> Error {
    Error::unavailable("the store does not answer in time")
}

/// Fails unless the last entry applied is still there as it was.
async fn same_entry(log: &Log, state: &State) -> Result<()> {
    let found = log.entry_hash(state.seq).await?;
    if found == state.hash {
        return Ok(());
    }
    let how = if found.is_some() {
        "is another than the one applied"
    } else {
        "is gone"
    };
    Err(Error::precondition(format!(
        "entry {} of the log {how}: the log was forked or rolled back; restore it, or start anew with an empty cache",
        state.seq
    )))
}

fn version_entry(manifest: Digest) -> VersionEntry {
    let stamp = FileStamp {
        file: manifest.hex().into(),
        file_bytes: 0,
        modified_ns: 0,
        inode: 0,
    };
    let files = Fingerprint(vec![stamp]);
    VersionEntry {
        files,
        model_path: PathBuf::new(),
        settled: true,
        manifest: Some(manifest),
    }
}
