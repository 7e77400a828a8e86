//! Merges one period: adds up the counts of all servers, tests the sum and writes the result.

use super::servers::ToldColumns;
use super::sum::{add, name_of, name_of_subject};
use super::told::FleetLog;
use super::{BYTES_MAX, MergedWatch, Merger, STATE};
use crate::core::error::Result;
use crate::observe::drift::observer::{Monitor, log_incident};
use crate::observe::drift::sketch::{FORMAT, Sketch, Sketches};
use crate::observe::drift::watch::{VersionWatch, WatchSubject};
use crate::observe::report::drift::{FleetState, VersionDrift};
use crate::observe::report::incident::Incident;
use chrono::{DateTime, Utc};
use futures_util::stream::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

/// The longest window, in periods.
const LONGEST: u64 = 512;
/// Periods before the longest window that a new merger reads too: a verdict depends on the windows
/// before it.
const REPLAYED: u64 = 128;

/// The incidents of the last merge.
const LOGS: &str = "windows/incidents.json";

/// The counts of one period, over all servers.
struct Sum {
    counts: Sketches,
    servers: usize,
}

/// The incidents of the last merge, with which another server goes on.
#[derive(Serialize, Deserialize)]
struct FleetLogs {
    slot: u64,
    versions: BTreeMap<String, FleetLog>,
}

impl Merger {
    /// Adds up a period, tests it, sends what changed with it and writes the result. It is sent first: a
    /// store that takes no result must not keep it back.
    pub(super) async fn merge(&mut self, monitor: &Monitor, slot: u64) -> Result<()> {
        let sum = self.add_up(slot).await?;
        self.replay(monitor, slot).await?;
        self.merged = Some(slot);

        let changed = self.test(monitor, slot, &sum.counts.versions);
        let covered = self.columns_told(monitor, slot).await;
        let sent = self.choose(&changed, &covered, slot);
        for incident in sent {
            let incident = Incident {
                servers: Some(sum.servers),
                ..incident
            };
            log_incident(&incident);
            (self.member.sink)(incident);
        }

        self.write_merge(slot, &sum).await
    }

    /// Chooses what is sent: not what the servers have told already.
    fn choose(&mut self, changed: &[Incident], covered: &ToldColumns, slot: u64) -> Vec<Incident> {
        let now = self.end_of(slot);
        let none = BTreeSet::new();
        let mut sent = Vec::new();
        for (name, merged) in &mut self.watches {
            let columns = covered.get(name).unwrap_or(&none);
            sent.extend(merged.log.choose(changed, columns, now));
        }
        sent
    }

    /// Adds up the counts of all servers.
    async fn add_up(&self, slot: u64) -> Result<Sum> {
        let folder = format!("windows/told/{slot}");
        let listed: Vec<_> = self.member.records.list(&folder).try_collect().await?;

        let mut versions: BTreeMap<String, Sketch> = BTreeMap::new();
        let mut servers = 0;
        for (key, _) in listed {
            let Some(counts) = self.read(&key).await? else {
                continue;
            };
            servers += 1;
            for sketch in counts.versions {
                add(&mut versions, sketch);
            }
        }

        Ok(Sum {
            counts: Sketches {
                format: FORMAT,
                versions: versions.into_values().collect(),
            },
            servers,
        })
    }

    /// Brings the tests up to date with the periods that other servers merged. The first time, and
    /// after a long pause, it starts where the longest window starts.
    async fn replay(&mut self, monitor: &Monitor, slot: u64) -> Result<()> {
        let from = match self.merged {
            Some(last) if last + LONGEST > slot => last + 1,
            _ => {
                self.watches.clear();
                let from = (slot - slot % LONGEST).saturating_sub(REPLAYED);
                (self.first, self.started) = (from, Instant::now());
                from
            }
        };

        for past in from..slot {
            if let Some(merged) = self.read(&merged_key(past)).await? {
                // The server that merged the period has sent its incidents.
                drop(self.test(monitor, past, &merged.versions));
            }
        }

        if from < slot {
            self.adopt_logs().await?;
        }
        Ok(())
    }

    /// Goes on with the incidents of the server that merged last: with their ids, and with what it sent.
    async fn adopt_logs(&mut self) -> Result<()> {
        let body = self.member.records.get(LOGS, BYTES_MAX).await?;
        let logs = body.and_then(|body| serde_json::from_slice::<FleetLogs>(&body).ok());
        let is_newer = |logs: &FleetLogs| self.merged.is_none_or(|own| own < logs.slot);
        let Some(logs) = logs.filter(is_newer) else {
            for merged in self.watches.values_mut() {
                merged.log.assume_told();
            }
            return Ok(());
        };
        for (name, log) in logs.versions {
            if let Some(merged) = self.watches.get_mut(&name) {
                merged.log = log;
            }
        }
        Ok(())
    }

    /// Adds a merged period to the tests of the versions that this server serves. Returns the
    /// incidents that open, change or close.
    fn test(&mut self, monitor: &Monitor, slot: u64, versions: &[Sketch]) -> Vec<Incident> {
        let served: HashMap<String, Arc<WatchSubject>> = monitor
            .subjects()
            .into_iter()
            .map(|subject| (name_of_subject(&subject), subject))
            .collect();
        self.watches.retain(|name, _| served.contains_key(name));

        let mut changed = Vec::new();
        for sketch in versions {
            let Some(subject) = served.get(&name_of(sketch)) else {
                continue;
            };
            let Some(merged) = self.watch(subject, name_of(sketch)) else {
                continue;
            };
            merged.watch.merge(sketch);
            // The number of the period decides which windows end, whichever server merges it.
            merged.watch.count_from(slot);
            changed.extend(self.close(&name_of(sketch), slot));
        }

        changed
    }

    /// Returns the tests of a version; none if they cannot be started.
    fn watch(&mut self, subject: &WatchSubject, name: String) -> Option<&mut MergedWatch> {
        match self.watches.entry(name) {
            Entry::Occupied(known) => Some(known.into_mut()),
            Entry::Vacant(free) => {
                let watch = VersionWatch::new(subject.clone(), 1, self.started).ok()?;
                let log = FleetLog::default();
                Some(free.insert(MergedWatch { watch, log }))
            }
        }
    }

    /// Closes the windows of a version that have ended. Returns the incidents that open, change or
    /// close.
    fn close(&mut self, name: &str, slot: u64) -> Vec<Incident> {
        let settings = &self.member.settings;
        // Periods are counted on a clock of their own: a replay takes no time.
        let (length, first) = (self.member.slot, self.first);
        let passed = u32::try_from(slot.saturating_sub(first)).unwrap_or(u32::MAX);
        let now = self.started + length * (passed + 1);
        let time = self.end_of(slot);
        let Some(merged) = self.watches.get_mut(name) else {
            return Vec::new();
        };

        drop(merged.watch.close(now, settings));
        let report = merged.watch.report(settings);
        merged.log.incidents.step(&report, time)
    }

    /// Returns when a period ended.
    fn end_of(&self, slot: u64) -> DateTime<Utc> {
        let ended = slot
            .saturating_add(1)
            .saturating_mul(self.member.slot.as_secs());
        let ended = i64::try_from(ended).ok();
        ended
            .and_then(|seconds| DateTime::from_timestamp(seconds, 0))
            .unwrap_or_default()
    }

    /// Writes the merged counts, the state that every server shows, and what was sent.
    async fn write_merge(&self, slot: u64, sum: &Sum) -> Result<()> {
        let records = &self.member.records;
        let body = serde_json::to_vec(&sum.counts).expect("plain data is JSON");
        records.create(&merged_key(slot), body.into()).await?;

        let state = FleetState {
            slot,
            slot_seconds: self.member.slot.as_secs(),
            servers: (sum.servers as u64).max(1),
            merger: self.member.server.clone(),
            versions: self
                .watches
                .values()
                .map(|merged| VersionDrift {
                    incidents: merged.log.incidents.listed(),
                    ..merged.watch.report(&self.member.settings)
                })
                .collect(),
        };
        let body = serde_json::to_vec(&state).expect("plain data is JSON");
        records.overwrite(STATE, body.into()).await?;

        let logs = FleetLogs {
            slot,
            versions: self
                .watches
                .iter()
                .map(|(name, merged)| (name.clone(), merged.log.clone()))
                .collect(),
        };
        let body = serde_json::to_vec(&logs).expect("plain data is JSON");
        records.overwrite(LOGS, body.into()).await
    }
}

fn merged_key(slot: u64) -> String {
    format!("windows/merged/{slot}.json")
}
