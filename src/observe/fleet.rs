//! Fleet monitoring: every server writes its window counts to the store. For each period, one
//! server, elected by a lease, adds them up and tests the sum, so that many servers with little
//! traffic detect what one with all of it would. The state of the tests is rebuilt from earlier
//! merges, so any server can take over.

mod merge;
mod servers;
mod sum;
#[cfg(test)]
mod tests;
mod told;

use crate::core::error::{Error, Result};
use crate::observe::drift::observer::Monitor;
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::drift::sketch::{FORMAT, Sketches};
use crate::observe::drift::watch::VersionWatch;
use crate::observe::metrics::monitor::FleetSeries;
use crate::observe::report::drift::FleetState;
use crate::observe::report::incident::Incident;
use crate::storage::layout::Records;
use crate::storage::store::{Created, in_time};
use futures_util::stream::TryStreamExt;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use told::FleetLog;

/// Hours for which counts and leases are kept.
const KEPT_HOURS: u64 = 24;
/// Hours for which merged counts are kept.
const MERGED_HOURS: u64 = 24 * 40;
/// Time limit for a turn, or the length of a period if that is longer.
const TURN_MAX: Duration = Duration::from_secs(30);
/// Periods between two deletions of old objects.
const SWEEP_EVERY: u64 = 60;
/// Most bytes of an object that is read.
const BYTES_MAX: u64 = 256 << 20;
/// Most bytes of a lease that is read.
const LEASE_BYTES_MAX: u64 = 1 << 10;
/// The result of the last merge, which every server shows.
const STATE: &str = "windows/state.json";

/// Receives every incident of the fleet; must not block.
pub(crate) type FleetSink = Box<dyn Fn(Incident) + Send + Sync>;

/// What a server needs to take part.
pub(crate) struct FleetMember {
    pub records: Records,
    /// The server's name among the others.
    pub server: String,
    /// Length of a period.
    pub slot: Duration,
    pub settings: MonitorSettings,
    pub sink: FleetSink,
    pub series: FleetSeries,
}

/// Starts to take part, on this runtime.
pub(crate) fn start(
    member: FleetMember,
    monitor: &Arc<Monitor>,
    runtime: &tokio::runtime::Handle,
) -> Result<()> {
    if member.slot.is_zero() {
        return Err(Error::invalid(
            "the period of fleet monitoring must be longer than 0",
        ));
    }

    runtime.spawn(take_part(member, Arc::downgrade(monitor)));
    Ok(())
}

/// Takes part until the monitor is dropped.
pub(crate) async fn take_part(member: FleetMember, monitor: Weak<Monitor>) {
    let mut merger = Merger::new(member);
    let mut is_failing = false;
    loop {
        let ended = merger.wait_for_period().await;
        let Some(monitor) = monitor.upgrade() else {
            return;
        };

        let limit = merger.member.slot.max(TURN_MAX);
        let turn = in_time(limit, merger.end_period(&monitor, ended)).await;
        if let Err(error) = &turn
            && !is_failing
        {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(%error, cause, "the windows of the fleet cannot be merged; each server tests its own");
        }
        is_failing = turn.is_err();
    }
}

/// One server's part in the fleet, and the tests of the periods that it merges.
pub(crate) struct Merger {
    member: FleetMember,
    watches: HashMap<String, MergedWatch>,
    /// The last period that this server merged.
    merged: Option<u64>,
    /// Whether the store has columns that this server said to be in an incident.
    has_open: bool,
    /// The first period of the tests, and the start of their clock.
    first: u64,
    started: Instant,
}

/// The tests of a version over all servers, and its incidents.
struct MergedWatch {
    watch: VersionWatch,
    log: FleetLog,
}

impl Merger {
    /// Starts with nothing merged.
    pub(crate) fn new(member: FleetMember) -> Self {
        Self {
            member,
            watches: HashMap::new(),
            merged: None,
            has_open: false,
            first: 0,
            started: Instant::now(),
        }
    }

    /// Waits until a period has ended, and returns its number.
    async fn wait_for_period(&self) -> u64 {
        let slot = self.member.slot.as_secs().max(1);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let next = now.as_secs() / slot + 1;

        // A tenth of a period later, so that servers whose clocks are behind have ended it too.
        let wait = Duration::from_secs(next * slot).saturating_sub(now) + self.member.slot / 10;
        tokio::time::sleep(wait).await;
        next - 1
    }

    /// Writes this server's counts of the period that ended, merges the period before it if no
    /// other server does, and shows the result of the last merge.
    pub(crate) async fn end_period(&mut self, monitor: &Monitor, ended: u64) -> Result<()> {
        self.write_counts(monitor, ended).await?;
        self.write_open(monitor, ended).await?;

        let due = ended.saturating_sub(1);
        if self.take_lease(due).await? {
            self.merge(monitor, due).await?;
            if due.is_multiple_of(SWEEP_EVERY) {
                self.delete_old(due).await?;
            }
        }

        self.show_state(monitor).await
    }

    /// Writes this server's counts of a period. An empty list is written too: it says that the
    /// server takes part.
    async fn write_counts(&self, monitor: &Monitor, slot: u64) -> Result<()> {
        let counts = Sketches {
            format: FORMAT,
            versions: monitor.sketches(),
        };
        let body = serde_json::to_vec(&counts).expect("plain data is JSON");

        let key = format!("windows/told/{slot}/{}.json", self.member.server);
        self.member.records.create(&key, body.into()).await?;
        Ok(())
    }

    /// Takes the lease of a period. Only one server ever gets it.
    async fn take_lease(&self, slot: u64) -> Result<bool> {
        let records = &self.member.records;
        let key = format!("windows/lease/{slot}");
        let own = bytes::Bytes::from(self.member.server.clone());
        if records.create(&key, own.clone()).await? == Created::Yes {
            return Ok(true);
        }

        // The lease may be this server's: the answer to an earlier attempt was lost.
        let is_merged = self.merged == Some(slot);
        Ok(!is_merged && records.get(&key, LEASE_BYTES_MAX).await? == Some(own))
    }

    /// Shows the result of the last merge, if there is one.
    async fn show_state(&self, monitor: &Monitor) -> Result<()> {
        let Some(body) = self.member.records.get(STATE, BYTES_MAX).await? else {
            return Ok(());
        };
        let Ok(state) = serde_json::from_slice::<FleetState>(&body) else {
            return Ok(());
        };

        let servers = state.servers;
        let alarms = state.versions.iter().map(|version| {
            (
                version.model.as_str(),
                version.version,
                version.alarms as u64,
            )
        });
        self.member.series.set(servers, alarms);
        monitor.show_fleet(state, servers);
        Ok(())
    }

    /// Reads counts; none if they are gone, damaged or of another format.
    async fn read(&self, key: &str) -> Result<Option<Sketches>> {
        let Some(body) = self.member.records.get(key, BYTES_MAX).await? else {
            return Ok(None);
        };

        match serde_json::from_slice::<Sketches>(&body) {
            Ok(sketches) => Ok(Some(sketches).filter(|sketches| sketches.format == FORMAT)),
            Err(error) => {
                tracing::warn!(key, %error, "the window counts of a server cannot be read and are skipped");
                Ok(None)
            }
        }
    }

    /// Deletes old counts, leases and merges.
    async fn delete_old(&self, slot: u64) -> Result<()> {
        let slots_of = |hours: u64| hours * 3600 / self.member.slot.as_secs().max(1);
        for (folder, hours) in [
            ("told", KEPT_HOURS),
            ("lease", KEPT_HOURS),
            ("merged", MERGED_HOURS),
        ] {
            let oldest = slot.saturating_sub(slots_of(hours));
            self.delete_before(folder, oldest).await?;
        }

        let oldest = slot.saturating_sub(slots_of(KEPT_HOURS));
        self.delete_servers_before(oldest).await
    }

    /// Deletes the objects of a folder that belong to periods before `oldest`.
    async fn delete_before(&self, folder: &str, oldest: u64) -> Result<()> {
        let records = &self.member.records;
        let folder = format!("windows/{folder}");
        let listed: Vec<_> = records.list(&folder).try_collect().await?;

        for (key, _) in listed {
            if slot_of(&key).is_some_and(|slot| slot < oldest) {
                records.delete(&key).await?;
            }
        }

        Ok(())
    }
}

/// Returns the period of a key such as `windows/lease/7` or `windows/merged/7.json`.
fn slot_of(key: &str) -> Option<u64> {
    let part = key.split('/').nth(2)?;
    part.trim_end_matches(".json").parse().ok()
}
