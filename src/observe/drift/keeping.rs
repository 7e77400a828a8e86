//! Where the state of the monitor is kept: objects below `monitor/` of the records, one for each version
//! that a server watches, and the baselines of the newest versions of each model. Every object belongs
//! to one server, so no two servers write the same one. Decides neither when nor what.

#[cfg(test)]
mod tests;

use super::baseline::Baseline;
use super::known::KNOWN_MAX;
use super::watch::WatchSubject;
use super::watch::state::{BYTES_MAX, SavedWatch};
use crate::core::error::{Error, Kind, Result};
use crate::core::model::{ModelName, Version};
use crate::storage::layout::Records;
use crate::storage::store::in_time;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::TryStreamExt;
use parking_lot::Mutex;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Folder of all these objects.
const FOLDER: &str = "monitor";
/// How long the load of a version waits for the store.
const READ_MAX: Duration = Duration::from_secs(2);
/// How long no load waits for a store that did not answer in time.
const STALLED: Duration = Duration::from_secs(60);
/// Time limit for writing an object.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// Days without a write after which an object is deleted.
const AGE_MAX: TimeDelta = TimeDelta::days(40);

/// The identity of a server: the same after a restart, and held by one living process.
pub(crate) struct ServerIdentity {
    pub name: String,
    /// Holds the identity until it is dropped.
    _lock: Option<File>,
}

impl ServerIdentity {
    /// An identity that is held as long as the lock on its file, if it has one.
    pub(crate) fn new(name: String, lock: Option<File>) -> Self {
        Self { name, _lock: lock }
    }
}

/// Reads and writes the objects of one server.
pub(crate) struct StateKeeper {
    records: Records,
    identity: ServerIdentity,
    runtime: Handle,
    read_max: Duration,
    /// When the store did not answer in time.
    stalled: Mutex<Option<Instant>>,
    is_failing: AtomicBool,
}

/// What the store has for a version.
#[derive(Default)]
pub(crate) struct KeptState {
    /// The state, or why it cannot be used; none if there is none.
    pub state: Option<std::result::Result<SavedWatch, String>>,
    /// Baselines of versions of the model.
    pub baselines: Vec<(Version, Baseline)>,
}

impl StateKeeper {
    pub(crate) fn new(records: Records, identity: ServerIdentity, runtime: Handle) -> Self {
        Self {
            records,
            identity,
            runtime,
            read_max: READ_MAX,
            stalled: Mutex::new(None),
            is_failing: AtomicBool::new(false),
        }
    }

    /// Returns the key of a version's state.
    pub(crate) fn key(&self, subject: &WatchSubject) -> String {
        let (model, version) = (&subject.model, subject.version);
        let digest = &subject.digest.hex()[..16];
        let server = &self.identity.name;
        format!("{FOLDER}/state/{server}/model={model}/version={version}-{digest}.json")
    }

    fn baselines(&self, model: &ModelName) -> String {
        format!("{FOLDER}/baselines/model={model}/{}", self.identity.name)
    }

    /// Reads what the store has for a version. Blocks, for 2 s at most: with a store that is slower,
    /// the version starts afresh.
    pub(crate) fn read(&self, subject: &WatchSubject) -> KeptState {
        let now = Instant::now();
        let is_stalled = |at: &Instant| now.saturating_duration_since(*at) < STALLED;
        if self.stalled.lock().as_ref().is_some_and(is_stalled) {
            return KeptState::default();
        }
        let read = self.runtime.block_on(async {
            tokio::time::timeout(self.read_max, self.read_version(subject)).await
        });
        let error = match read {
            Ok(Ok(kept)) => return kept,
            Ok(Err(error)) => error,
            Err(_) => Error::late("the store does not answer in time"),
        };
        *self.stalled.lock() = Some(now);
        self.note(Err(error));
        KeptState::default()
    }

    async fn read_version(&self, subject: &WatchSubject) -> Result<KeptState> {
        let found = self.get(&self.key(subject)).await?;
        let state = found.map(|found| found.and_then(|bytes| SavedWatch::read(&bytes)));
        let baselines = match subject.baseline {
            Some(_) => Vec::new(),
            None => self.read_baselines(&subject.model).await?,
        };
        Ok(KeptState { state, baselines })
    }

    /// Reads an object; none if there is none. One that is too large is refused.
    async fn get(&self, key: &str) -> Result<Option<std::result::Result<Bytes, String>>> {
        match self.records.get(key, BYTES_MAX as u64).await {
            Ok(found) => Ok(found.map(Ok)),
            Err(error) if error.kind == Kind::FailedPrecondition => {
                Ok(Some(Err(error.to_string())))
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the baselines of the newest versions of a model. Damaged ones are left out.
    async fn read_baselines(&self, model: &ModelName) -> Result<Vec<(Version, Baseline)>> {
        let mut baselines = Vec::new();
        for (version, key) in self
            .list_baselines(model)
            .await?
            .into_iter()
            .take(KNOWN_MAX)
        {
            if let Some(Ok(bytes)) = self.get(&key).await?
                && let Ok(baseline) = Baseline::read(&bytes)
            {
                baselines.push((version, baseline));
            }
        }
        Ok(baselines)
    }

    /// Lists the baselines of a model, the newest version first.
    async fn list_baselines(&self, model: &ModelName) -> Result<Vec<(Version, String)>> {
        let listed: Vec<_> = self
            .records
            .list(&self.baselines(model))
            .try_collect()
            .await?;
        let mut found: Vec<(Version, String)> = listed
            .into_iter()
            .filter_map(|(key, _)| Some((version_of(&key)?, key)))
            .collect();
        found.sort_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// Writes an object of this server.
    pub(crate) async fn write(&self, key: &str, bytes: Vec<u8>) -> Result<()> {
        let put = self.records.overwrite(key, bytes.into());
        in_time(WRITE_MAX, put).await
    }

    /// Writes the baseline of a version, and deletes those of all but the newest versions.
    pub(crate) async fn write_baseline(
        &self,
        (model, version): (&ModelName, Version),
        baseline: &Baseline,
    ) -> Result<()> {
        let bytes = baseline.write();
        if bytes.len() > BYTES_MAX {
            return Ok(());
        }
        let key = format!("{}/version={version}.json", self.baselines(model));
        self.write(&key, bytes).await?;
        for (_, old) in self
            .list_baselines(model)
            .await?
            .into_iter()
            .skip(KNOWN_MAX)
        {
            self.records.delete(&old).await?;
        }
        Ok(())
    }

    /// Deletes the objects of all servers that nobody wrote for 40 days.
    pub(crate) async fn sweep(&self, now: DateTime<Utc>) -> Result<usize> {
        let listed: Vec<_> = self.records.list(FOLDER).try_collect().await?;
        let old = listed
            .into_iter()
            .filter(|(_, meta)| now - meta.modified > AGE_MAX);
        let mut removed = 0;
        for (key, _) in old {
            self.records.delete(&key).await?;
            removed += 1;
        }
        Ok(removed)
    }

    /// Logs the first of several failures in a row.
    pub(crate) fn note(&self, done: Result<()>) {
        let was_failing = self.is_failing.swap(done.is_err(), Ordering::Relaxed);
        if let Err(error) = done
            && !was_failing
        {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, cause, "the state of the monitor cannot be kept; windows and alarms do not survive a restart until it can");
        }
    }
}

/// Returns the version of a key such as `…/version=7.json`.
fn version_of(key: &str) -> Option<Version> {
    let name = key.rsplit('/').next()?;
    let number = name.strip_prefix("version=")?.strip_suffix(".json")?;
    Version::new(number.parse().ok()?)
}
