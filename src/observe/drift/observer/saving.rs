//! Keeps the state of the monitor: reads it when a version is loaded, and writes it about once a minute,
//! soon after an incident changed, and when the server stops. Writes on the background runtime; the
//! monitor's own thread only copies.

#[cfg(test)]
mod tests;

use super::{Monitor, Observed, unix_ms};
use crate::core::error::{Error, Result};
use crate::core::model::{ModelName, Version};
use crate::observe::drift::compare;
use crate::observe::drift::incident::IncidentLog;
use crate::observe::drift::keeping::StateKeeper;
use crate::observe::drift::known::{KnownBaselines, UnwrittenBaseline};
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::drift::watch::state::{BYTES_MAX, SavedWatch, SavingTime};
use crate::observe::drift::watch::{VersionWatch, WatchSubject};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// Time between two looks at what has changed.
const LOOK: Duration = Duration::from_secs(5);
/// Time between two writes of a version whose counts change.
const WRITE_EVERY: Duration = Duration::from_secs(60);
/// Time after which an object is written although nothing changed, so that it does not look abandoned.
const RENEW_EVERY: Duration = Duration::from_secs(86_400);
/// Looks between two deletions of old objects: about a day.
const SWEEP_EVERY: u64 = 86_400 / LOOK.as_secs();
/// How long the last write may take when the server stops.
const LAST_MAX: Duration = Duration::from_secs(5);

/// What was written of a version, and when.
pub(super) struct SaveMark {
    at: Instant,
    counts: SavedUpTo,
    is_urgent: bool,
    has_given_up: bool,
}

/// How far a version's counts were when it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SavedUpTo {
    answered: u64,
    sampled: u64,
    windows: u64,
}

impl SaveMark {
    /// Starts for a version of which nothing is to be written yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            at: now,
            counts: SavedUpTo::default(),
            is_urgent: false,
            has_given_up: false,
        }
    }

    /// Has the version written soon.
    pub(super) fn hurry(&mut self) {
        self.is_urgent = true;
    }

    fn is_due(&self, counts: SavedUpTo, now: Instant, is_end: bool) -> bool {
        let age = now.saturating_duration_since(self.at);
        let has_changed = self.is_urgent || counts != self.counts;
        let is_time = is_end || self.is_urgent || age >= WRITE_EVERY;
        (has_changed && is_time) || age >= RENEW_EVERY
    }
}

/// A version to be written.
struct DueState {
    watch: u64,
    key: String,
    /// None if it is too large.
    saved: Option<SavedWatch>,
}

impl Monitor {
    /// Keeps the state of the monitor from now on. Called once, before any version is watched.
    pub(crate) fn keep_state(
        self: &Arc<Self>,
        keeper: StateKeeper,
        runtime: &tokio::runtime::Handle,
    ) {
        if self.keeper.set(keeper).is_ok() {
            runtime.spawn(keep_saving(Arc::downgrade(self)));
        }
    }

    /// Starts to watch a version where an earlier process ended, if the store has its state.
    pub(super) fn begin_or_go_on(
        &self,
        subject: WatchSubject,
        threads: usize,
    ) -> Result<(VersionWatch, IncidentLog)> {
        let mut watch = VersionWatch::new(subject, threads, Instant::now())?;
        let Some(keeper) = self.keeper.get() else {
            return Ok((watch, IncidentLog::default()));
        };
        let kept = keeper.read(&watch.subject);
        let (model, version) = (watch.subject.model.clone(), watch.subject.version);
        for (other, baseline) in kept.baselines {
            self.shared.known.lock().learn(&model, other, baseline);
        }

        let restored = kept
            .state
            .map(|state| state.and_then(|saved| watch.restore(saved, saving_time())));
        let incidents = match restored {
            None => IncidentLog::default(),
            Some(Ok(incidents)) => incidents,
            Some(Err(reason)) => {
                let (model, version) = (model.as_str(), version.number());
                tracing::info!(
                    model,
                    version,
                    reason,
                    "the stored state of the monitor is not used; it starts afresh"
                );
                let subject = watch.subject.as_ref().clone();
                watch = VersionWatch::new(subject, threads, Instant::now())?;
                IncidentLog::default()
            }
        };
        Ok((watch, incidents))
    }

    /// Adds a version's baseline to the known ones.
    pub(super) fn know_baseline(&self, watch: &VersionWatch) {
        let training = || watch.subject.baseline.clone().map(Arc::new);
        if let Some(baseline) = watch.own_baseline().cloned().or_else(training) {
            let WatchSubject { model, version, .. } = watch.subject.as_ref();
            self.shared.known.lock().add(model, *version, baseline);
        }
    }

    /// Writes what has changed. At the end of the server, everything that has.
    async fn save(&self, keeper: &StateKeeper, is_end: bool) {
        let unwritten = self.take_unwritten();
        for (model, version, baseline) in unwritten {
            let written = keeper.write_baseline((&model, version), &baseline).await;
            keeper.note(written);
        }
        for (id, key) in self.kept_versions(keeper) {
            let Some(due) = self.take_due(id, key, is_end) else {
                continue;
            };
            self.write(keeper, due).await;
        }
    }

    /// Takes the baselines that are to be written, also those that were made since the last tick.
    fn take_unwritten(&self) -> Vec<UnwrittenBaseline> {
        let settings = self.shared.settings();
        let mut watches = self.shared.watches.lock();
        let mut known = self.shared.known.lock();
        let made = watches.values_mut();
        made.for_each(|observed| observed.doubt_own_baseline(&mut known, &settings));
        known.take_unwritten()
    }

    /// Writes what has changed since the last time, when the server stops; for 5 s at most.
    pub(crate) async fn save_last(&self) {
        if let Some(keeper) = self.keeper.get()
            && tokio::time::timeout(LAST_MAX, self.save(keeper, true))
                .await
                .is_err()
        {
            keeper.note(Err(Error::late("the store does not answer in time")));
        }
    }

    /// Returns the watch of each object: while a version is loaded again, the newer one.
    fn kept_versions(&self, keeper: &StateKeeper) -> Vec<(u64, String)> {
        let watches = self.shared.watches.lock();
        let mut newest: HashMap<String, u64> = HashMap::new();
        for (id, observed) in watches.iter() {
            let known = newest
                .entry(keeper.key(&observed.watch.subject))
                .or_insert(*id);
            *known = (*known).max(*id);
        }
        newest.into_iter().map(|(key, id)| (id, key)).collect()
    }

    /// Copies the state of a version, if it is to be written.
    fn take_due(&self, id: u64, key: String, is_end: bool) -> Option<DueState> {
        let mut watches = self.shared.watches.lock();
        let observed = watches.get_mut(&id)?;
        let time = saving_time();
        let counts = observed.counts();
        if !observed.saving.is_due(counts, time.now, is_end) {
            return None;
        }

        let saved = observed
            .watch
            .save(&observed.incidents, counts.answered, time);
        let mark = &mut observed.saving;
        (mark.at, mark.counts, mark.is_urgent) = (time.now, counts, false);
        Some(DueState {
            watch: id,
            key,
            saved,
        })
    }

    async fn write(&self, keeper: &StateKeeper, due: DueState) {
        let saved = due.saved;
        let encoded = tokio::task::spawn_blocking(move || saved.map(|s| s.write(BYTES_MAX))).await;
        let Ok(Some(Ok(bytes))) = encoded else {
            return self.give_up(due.watch);
        };
        let written = keeper.write(&due.key, bytes).await;
        if written.is_err()
            && let Some(observed) = self.shared.watches.lock().get_mut(&due.watch)
        {
            observed.saving.counts = SavedUpTo::default();
        }
        keeper.note(written);
    }

    /// Logs, once for a version, that its state is too large to be kept.
    fn give_up(&self, id: u64) {
        let mut watches = self.shared.watches.lock();
        let Some(observed) = watches.get_mut(&id) else {
            return;
        };
        if !std::mem::replace(&mut observed.saving.has_given_up, true) {
            let WatchSubject { model, version, .. } = observed.watch.subject.as_ref();
            let (model, version) = (model.as_str(), version.number());
            tracing::warn!(
                model,
                version,
                bytes_max = BYTES_MAX,
                "the state of the monitor is too large to be kept; it does not survive a restart"
            );
        }
    }
}

impl Observed {
    fn counts(&self) -> SavedUpTo {
        SavedUpTo {
            answered: self.traffic.rows.load(Ordering::Relaxed),
            sampled: self.watch.sampled_rows,
            windows: self.watch.windows(),
        }
    }

    /// Compares the baseline that the version made of its first rows, if it just did, with that of the
    /// model's newest other version.
    pub(super) fn doubt_own_baseline(
        &mut self,
        known: &mut KnownBaselines,
        settings: &MonitorSettings,
    ) {
        let Some(own) = self.watch.take_made_baseline() else {
            return;
        };
        let (model, version): (&ModelName, Version) =
            (&self.watch.subject.model, self.watch.subject.version);
        let mut told = compare::absurdities(&own);
        if let Some((other, baseline)) = known.previous(model, version) {
            told.extend(compare::differences(
                &own,
                (&baseline, other.number()),
                settings,
            ));
        }
        known.add(model, version, own);
        self.watch.differences = told;
        self.saving.hurry();
    }
}

fn saving_time() -> SavingTime {
    SavingTime {
        now: Instant::now(),
        wall_ms: unix_ms(),
    }
}

/// Writes what has changed until the monitor is dropped.
async fn keep_saving(monitor: Weak<Monitor>) {
    for look in 0_u64.. {
        tokio::time::sleep(LOOK).await;
        let Some(monitor) = monitor.upgrade() else {
            return;
        };
        let Some(keeper) = monitor.keeper.get() else {
            return;
        };
        monitor.save(keeper, false).await;
        if look.is_multiple_of(SWEEP_EVERY) {
            let now = chrono::DateTime::from_timestamp_millis(unix_ms() as i64);
            let swept = keeper.sweep(now.unwrap_or_default()).await;
            keeper.note(swept.map(drop));
        }
    }
}
