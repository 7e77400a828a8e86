//! Fleet monitoring: every server writes its window counts to the store. For each interval, one
//! server, elected by a lease, adds them up and tests the sum, so that many servers with little
//! traffic detect what one with all of it would. The state of the tests is rebuilt from earlier
//! merges, so any server can take over.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::observe::drift::observer::Monitor;
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::drift::sketch::{FORMAT, Sketch, Sketches};
use crate::observe::drift::watch::{Subject, Watch};
use crate::observe::metrics::monitor::FleetSeries;
use crate::observe::report::alarm::DriftAlarm;
use crate::observe::report::drift::FleetState;
use crate::storage::layout::Records;
use crate::storage::store::Created;
use futures_util::stream::TryStreamExt;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest window, in stretches.
const LONGEST: u64 = 512;
/// Stretches before it that are read too by who takes over: verdicts look back.
const REPLAYED: u64 = 128;
/// Hours that counts and leases are kept; what was merged is kept for longer.
const KEPT_HOURS: u64 = 24;
/// … and how long that is, in hours.
const MERGED_HOURS: u64 = 24 * 40;
/// Between two sweeps, in stretches.
const SWEEP_EVERY: u64 = 60;
/// The largest object.
const BYTES_MAX: u64 = 256 << 20;
/// What the last merge came to, for everybody to show.
const STATE: &str = "windows/state.json";

/// Told of every alarm of the fleet; must not block.
pub(crate) type Sink = Box<dyn Fn(DriftAlarm) + Send + Sync>;

/// What a server needs to take part.
pub(crate) struct Member {
    pub records: Records,
    /// The server's name among the others.
    pub server: String,
    /// How long a stretch is.
    pub slot: Duration,
    pub settings: MonitorSettings,
    pub sink: Sink,
    pub series: FleetSeries,
}

/// Takes part for as long as the monitor lives.
pub(crate) async fn take_part(member: Member, monitor: Weak<Monitor>) {
    let mut merger = Merger::new(member);
    let mut is_told = false;
    loop {
        let slot = merger.member.slot.as_secs().max(1);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        // A little into the next stretch, so that a clock behind ours is in it too.
        let next = (now.as_secs() / slot + 1) * slot;
        tokio::time::sleep(Duration::from_secs(next).saturating_sub(now) + merger.member.slot / 10)
            .await;
        let Some(monitor) = monitor.upgrade() else {
            return;
        };
        match merger.turn(&monitor, next / slot - 1).await {
            Ok(()) => is_told = false,
            Err(_) if is_told => {}
            Err(error) => {
                is_told = true;
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "the windows of the fleet cannot be merged; each server tests its own");
            }
        }
    }
}

/// A server's part, and the tests where it merges.
pub(crate) struct Merger {
    member: Member,
    watches: HashMap<String, Watch>,
    /// The stretch merged last, here.
    merged: Option<u64>,
}

impl Merger {
    /// Starts with nothing merged.
    pub(crate) fn new(member: Member) -> Self {
        Self {
            member,
            watches: HashMap::new(),
            merged: None,
        }
    }

    /// Tells what was counted in the stretch that ended, merges the one before
    /// if nobody does, and shows what the fleet came to.
    pub(crate) async fn turn(&mut self, monitor: &Monitor, ended: u64) -> Result<()> {
        let records = self.member.records.clone();
        // Also where there is nothing to tell: who is there has a part of the promise.
        let told = Sketches {
            format: FORMAT,
            versions: monitor.sketches(),
        };

        let body = serde_json::to_vec(&told).expect("plain data is JSON");
        records
            .create(
                &format!("windows/told/{ended}/{}.json", self.member.server),
                body.into(),
            )
            .await?;
        let due = ended.saturating_sub(1);

        if self.leads(due).await? {
            self.merge(monitor, due).await?;
            if due.is_multiple_of(SWEEP_EVERY) {
                self.sweep(due).await?;
            }
        }

        if let Some(state) = records.get(STATE, BYTES_MAX).await?
            && let Ok(state) = serde_json::from_slice::<FleetState>(&state)
        {
            let servers = state.servers;
            let alarms = state
                .versions
                .iter()
                .map(|r| (r.model.as_str(), r.version, r.alarms as u64));
            self.member.series.set(servers, alarms);
            monitor.show_fleet(state, servers);
        }

        Ok(())
    }

    /// Takes the lease of a stretch: one server gets it, ever.
    async fn leads(&self, slot: u64) -> Result<bool> {
        let key = format!("windows/lease/{slot}");
        let own = bytes::Bytes::from(self.member.server.clone());
        match self.member.records.create(&key, own.clone()).await? {
            Created::Yes => Ok(true),
            // An answer that was lost may have been a yes.
            Created::Exists => Ok(self.merged != Some(slot)
                && self.member.records.get(&key, 1 << 10).await? == Some(own)),
        }
    }

    async fn merge(&mut self, monitor: &Monitor, slot: u64) -> Result<()> {
        let listed: Vec<_> = self
            .member
            .records
            .list(&format!("windows/told/{slot}"))
            .try_collect()
            .await?;
        let mut versions: BTreeMap<String, Sketch> = BTreeMap::new();

        let mut servers = 0;
        for (key, _) in listed {
            let Some(told) = self.read(&key).await? else {
                continue;
            };
            servers += 1;
            told.versions
                .into_iter()
                .for_each(|sketch| add(&mut versions, sketch));
        }

        // Who merges again after others did reads what they merged; who does for the
        // first time, or after long, begins where the longest window does.
        let from = match self.merged {
            Some(last) if last + LONGEST > slot => last + 1,
            _ => {
                self.watches.clear();
                (slot - slot % LONGEST).saturating_sub(REPLAYED)
            }
        };

        for before in from..slot {
            if let Some(past) = self.read(&merged_key(before)).await? {
                // Whoever merged it told of its alarms.
                drop(self.test(monitor, before, &past.versions));
            }
        }

        self.merged = Some(slot);
        let merged = Sketches {
            format: FORMAT,
            versions: versions.into_values().collect(),
        };
        let alarms = self.test(monitor, slot, &merged.versions);
        let body = serde_json::to_vec(&merged).expect("plain data is JSON");
        self.member
            .records
            .create(&merged_key(slot), body.into())
            .await?;
        let state = FleetState {
            slot,
            slot_seconds: self.member.slot.as_secs(),
            servers: (servers as u64).max(1),
            merger: self.member.server.clone(),
            versions: self
                .watches
                .values()
                .map(|w| w.report(&self.member.settings))
                .collect(),
        };

        let body = serde_json::to_vec(&state).expect("plain data is JSON");
        self.member.records.overwrite(STATE, body.into()).await?;
        for alarm in alarms {
            let DriftAlarm {
                model,
                version,
                column,
                test,
                ..
            } = &alarm;
            tracing::warn!(
                model,
                version,
                column,
                metric = test.metric.word(),
                value = test.value,
                servers,
                "fleet drift alarm"
            );
            (self.member.sink)(DriftAlarm {
                servers: Some(servers),
                ..alarm
            });
        }

        Ok(())
    }

    /// Adds a merged stretch to the tests of the versions that serve here.
    fn test(&mut self, monitor: &Monitor, slot: u64, versions: &[Sketch]) -> Vec<DriftAlarm> {
        let subjects = monitor.subjects();
        let name_of =
            |s: &Arc<Subject>| name(s.model.as_str(), s.version.number(), &s.digest.to_string());
        let subjects: HashMap<String, Arc<Subject>> =
            subjects.into_iter().map(|s| (name_of(&s), s)).collect();
        self.watches.retain(|of, _| subjects.contains_key(of));

        let mut begun = Vec::new();
        for sketch in versions {
            let Some(subject) = subjects.get(&of(sketch)) else {
                continue;
            };
            let watch = match self.watches.entry(of(sketch)) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(free) => {
                    match Watch::new(subject.as_ref().clone(), 1, Instant::now()) {
                        Ok(watch) => free.insert(watch),
                        Err(_) => continue,
                    }
                }
            };
            watch.absorb(sketch);
            // Which windows end here follows from the stretch, whoever merges it.
            watch.count_from(slot);
            let alarms = watch.close(Instant::now(), &self.member.settings);
            let report = watch.report(&self.member.settings);
            begun.extend(
                alarms
                    .into_iter()
                    .map(|(place, test)| DriftAlarm::of(&report, place, test)),
            );
        }

        begun
    }

    async fn read(&self, key: &str) -> Result<Option<Sketches>> {
        let Some(bytes) = self.member.records.get(key, BYTES_MAX).await? else {
            return Ok(None);
        };
        let read: Result<Sketches, _> = serde_json::from_slice(&bytes);
        match read {
            Ok(sketches) if sketches.format == FORMAT => Ok(Some(sketches)),
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!(key, %error, "the windows of a server cannot be read and are skipped");
                Ok(None)
            }
        }
    }

    /// Lets go of what nobody reads any more.
    async fn sweep(&self, slot: u64) -> Result<()> {
        let slots = |hours: u64| hours * 3600 / self.member.slot.as_secs().max(1);
        for (folder, kept) in [
            ("told", KEPT_HOURS),
            ("lease", KEPT_HOURS),
            ("merged", MERGED_HOURS),
        ] {
            let oldest = slot.saturating_sub(slots(kept));
            let listed: Vec<_> = self
                .member
                .records
                .list(&format!("windows/{folder}"))
                .try_collect()
                .await?;
            for (key, _) in listed {
                let of = key
                    .split('/')
                    .nth(2)
                    .and_then(|part| part.trim_end_matches(".json").parse::<u64>().ok());
                if of.is_some_and(|slot| slot < oldest) {
                    self.member.records.delete(&key).await?;
                }
            }
        }

        Ok(())
    }
}

fn merged_key(slot: u64) -> String {
    format!("windows/merged/{slot}.json")
}

/// What counts are of: two models may have the same bytes.
fn of(sketch: &Sketch) -> String {
    name(&sketch.model, sketch.version, &sketch.digest)
}

fn name(model: &str, version: u64, digest: &str) -> String {
    format!("{model}:{version} {digest}")
}

/// Adds a server's counts to those of others; passes over columns that differ.
fn add(versions: &mut BTreeMap<String, Sketch>, sketch: Sketch) {
    let Some(sum) = versions.get_mut(&of(&sketch)) else {
        versions.insert(of(&sketch), sketch);
        return;
    };
    sum.rows += sketch.rows;
    for (into, from) in sum.columns.iter_mut().zip(&sketch.columns) {
        if into.name != from.name || into.counts.len() != from.counts.len() {
            continue;
        }
        into.counts
            .iter_mut()
            .zip(&from.counts)
            .for_each(|(a, b)| *a = a.saturating_add(*b));
        into.missing = into.missing.saturating_add(from.missing);
        into.ends = match (into.ends, from.ends) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
    }
}

/// Starts to take part, on this runtime.
pub(crate) fn start(
    member: Member,
    monitor: &Arc<Monitor>,
    runtime: &tokio::runtime::Handle,
) -> Result<()> {
    if member.slot.is_zero() {
        return Err(Error::invalid(
            "a stretch of the fleet's windows has no length",
        ));
    }

    runtime.spawn(take_part(member, Arc::downgrade(monitor)));
    Ok(())
}
