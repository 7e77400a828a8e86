//! The path from a prediction to the monitor: a bounded queue that never blocks, and one thread that
//! empties it, closes windows and adapts the sampling share to its CPU limit. Predictions that do
//! not fit are dropped and counted.

pub(crate) mod answered;
mod counting;
pub(crate) mod keeper;
pub(crate) mod offer;
mod saving;
mod shown;
#[cfg(test)]
mod tests;

use super::baseline::Baseline;
use super::incident::{ColumnKey, IncidentLog};
use super::keeping::StateKeeper;
use super::known::KnownBaselines;
use super::notes;
use super::settings::MonitorSettings;
use super::share::{Spent, WorkPeriod, next_share};
use super::sketch::Sketch;
use super::traffic::{CountedRows, Traffic};
use super::watch::{VersionWatch, WatchSubject};
use crate::core::error::{Error, Result};
use crate::core::hash::mix;
use crate::core::model::{ModelName, Version};
use crate::observe::metrics::Metrics;
use crate::observe::metrics::monitor::MonitorMetrics;
use crate::observe::quality::companion::Companion;
use crate::observe::report::drift::{FleetDrift, FleetState, VersionDrift};
use crate::observe::report::incident::{Incident, IncidentPhase};
use crate::observe::report::model::VersionReport;
use answered::Answered;
use counting::take_turn;
use crossbeam_channel::{Receiver, Sender, bounded};
use keeper::Taps;
use offer::{LabelNeeds, LostOffers, Observer, Offer};
use parking_lot::Mutex;
use saving::SaveMark;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};
use uuid::Uuid;

/// How the monitor behaves.
#[derive(Clone, Debug)]
pub(crate) struct MonitorOptions {
    pub settings: MonitorSettings,
    /// Share of requests that taps receive even if fewer are sampled into windows.
    pub tapped_share: f64,
}

/// Most requests in the queue.
const QUEUE_MAX: usize = 16 << 10;
/// Most threads that have counters of their own.
const THREADS_MAX: usize = 32;
/// Interval at which the queue is emptied. A request does not wake the monitor.
const PAUSE: Duration = Duration::from_millis(20);
/// Interval at which windows are closed and metrics are set.
const TICK: Duration = Duration::from_secs(1);
/// Longest time for which the queue is emptied before the sampling share is adapted.
const ADAPT: Duration = Duration::from_millis(200);

/// Monitors servables. Dropping it ends its thread.
pub(crate) struct Monitor {
    shared: Arc<MonitorShared>,
    /// Where its state survives a restart, if anywhere.
    keeper: OnceLock<StateKeeper>,
}

struct MonitorShared {
    watches: Mutex<HashMap<u64, Observed>>,
    offers: Sender<Offer>,
    waiting_bytes: AtomicUsize,
    next: AtomicU64,
    /// Requests are sampled if their number is at most this.
    sampled_up_to: AtomicU64,
    /// Minutes since the start, by which the floors of rows are kept.
    minute: AtomicU32,
    lost: LostOffers,
    ended: AtomicBool,
    /// How many servers the fleet has, and their merged windows.
    fleet: Mutex<(u64, Option<FleetState>)>,
    options: MonitorOptions,
    metrics: Arc<Metrics>,
    taps: Taps,
    known: Mutex<KnownBaselines>,
}

/// A version's monitor and its metrics.
struct Observed {
    watch: VersionWatch,
    incidents: IncidentLog,
    series: MonitorMetrics,
    companion: Option<Companion>,
    traffic: Arc<Traffic>,
    counted: CountedRows,
    saving: SaveMark,
}

/// Receives sampled requests on the monitor's thread; must not block.
pub(crate) type Tap = Box<dyn Fn(&Answered<'_>) + Send + Sync>;

/// Receives every incident that opens, changes or closes; must not block.
pub(crate) type IncidentSink = Box<dyn Fn(Incident) + Send>;

impl Monitor {
    /// Starts the thread.
    pub(crate) fn start(
        options: MonitorOptions,
        metrics: Arc<Metrics>,
        sink: IncidentSink,
        taps: Taps,
    ) -> Result<Arc<Self>> {
        let (offers, inbox) = bounded(QUEUE_MAX);
        let shared = Arc::new(MonitorShared {
            watches: Mutex::default(),
            offers,
            waiting_bytes: AtomicUsize::new(0),
            next: AtomicU64::new(0),
            sampled_up_to: AtomicU64::new(u64::MAX),
            minute: AtomicU32::new(0),
            lost: LostOffers::new(),
            ended: AtomicBool::new(false),
            fleet: Mutex::new((1, None)),
            options,
            metrics,
            taps,
            known: Mutex::default(),
        });

        shared.metrics.monitor.sample_share.set(1.0);
        let own = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("monitor".to_owned())
            .spawn(move || run(&own, &inbox, &sink))
            .map_err(|e| Error::internal("start the monitor").with_source(e))?;
        Ok(Arc::new(Self {
            shared,
            keeper: OnceLock::new(),
        }))
    }

    /// Starts to monitor a version. Refuses a baseline of another model.
    pub(crate) fn watch(
        &self,
        subject: WatchSubject,
        companion: Option<Companion>,
    ) -> Result<Observer> {
        let (model, version) = (subject.model.clone(), subject.version);
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(THREADS_MAX);
        let (watch, incidents) = self.begin_or_go_on(subject, threads)?;
        self.know_baseline(&watch);
        let contracts = Arc::clone(&watch.contracts);
        let series = self.shared.metrics.monitor.of(&model, version);
        let dropped = series.dropped.clone();
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let (traffic, needs) = (Arc::<Traffic>::default(), self.shared.needs(&watch.subject));
        if let Some(keeper) = &self.shared.taps.keeper {
            keeper.watched(&watch.subject);
        }
        self.shared.watches.lock().insert(
            id,
            Observed {
                watch,
                incidents,
                series,
                companion,
                traffic: Arc::clone(&traffic),
                counted: CountedRows::default(),
                saving: SaveMark::new(Instant::now()),
            },
        );

        Ok(Observer {
            shared: Arc::clone(&self.shared),
            watch: id,
            contracts,
            traffic,
            dropped,
            needs,
        })
    }

    /// Tells whether every request that was answered is counted and passed to the taps.
    pub(crate) fn is_idle(&self) -> bool {
        self.shared.offers.is_empty() && self.shared.waiting_bytes.load(Ordering::Acquire) == 0
    }

    /// Returns the drift reports of a model's versions, or of one.
    pub(crate) fn report(&self, model: &ModelName, version: Option<Version>) -> Vec<VersionDrift> {
        let watches = self.shared.watches.lock();
        chosen(&watches, model, version)
            .into_iter()
            .map(|observed| self.document(observed))
            .collect()
    }

    /// Returns the same with the charts of the HTML page, since a time.
    pub(crate) fn charted(
        &self,
        model: &ModelName,
        version: Option<Version>,
        since: u64,
    ) -> Vec<VersionReport> {
        let watches = self.shared.watches.lock();
        chosen(&watches, model, version)
            .into_iter()
            .map(|observed| VersionReport {
                drift: self.document(observed),
                shown: observed.watch.charts(since),
            })
            .collect()
    }

    /// Returns the counts of every version since the last call.
    pub(crate) fn sketches(&self) -> Vec<Sketch> {
        self.shared
            .watches
            .lock()
            .values_mut()
            .filter_map(|o| o.watch.sketch())
            .collect()
    }

    /// Says which differences a baseline is too small to show.
    pub(crate) fn coarse(&self, baseline: &Baseline) -> Option<String> {
        notes::coarse(baseline, &self.shared.settings())
    }

    /// Returns the versions that are monitored.
    pub(crate) fn subjects(&self) -> Vec<Arc<WatchSubject>> {
        self.shared
            .watches
            .lock()
            .values()
            .map(|o| Arc::clone(&o.watch.subject))
            .collect()
    }

    /// Returns the columns of the open incidents of each version, all of which were sent.
    pub(crate) fn open_columns(&self) -> Vec<(Arc<WatchSubject>, BTreeSet<ColumnKey>)> {
        let watches = self.shared.watches.lock();
        let columns = |observed: &Observed| {
            let open = observed.incidents.open_with_columns();
            open.flat_map(|(_, columns)| columns.clone()).collect()
        };
        watches
            .values()
            .map(|observed| (Arc::clone(&observed.watch.subject), columns(observed)))
            .collect()
    }

    /// Sets the merged windows of the fleet, and its number of servers. They share the accepted false
    /// alarms.
    pub(crate) fn show_fleet(&self, merged: FleetState, servers: u64) {
        *self.shared.fleet.lock() = (servers.max(1), Some(merged));
    }

    /// Returns the report of a version, with the fleet's beside it.
    fn document(&self, observed: &Observed) -> VersionDrift {
        let mut report = observed.watch.report(&self.shared.settings());
        report.rows = observed.traffic.rows.load(Ordering::Relaxed);
        observed.watch.add_earlier(&mut report);
        report.sample_share = Some(self.shared.share());
        report.counted_share = observed.counted.share();
        report.dropped_requests = Some(observed.series.dropped.get());
        report.incidents = observed.incidents.listed();

        let fleet = self.shared.fleet.lock();
        let same = |merged: &&VersionDrift| {
            merged.model == report.model
                && merged.version == report.version
                && merged.digest == report.digest
        };

        let merged = fleet.1.iter().flat_map(|state| &state.versions).find(same);
        report.fleet = merged.map(|merged| FleetDrift {
            servers: fleet.0,
            merged: Box::new(merged.clone()),
        });
        report
    }
}

/// Finds the watches of a model's versions, or of one, oldest version first.
fn chosen<'w>(
    watches: &'w HashMap<u64, Observed>,
    model: &ModelName,
    version: Option<Version>,
) -> Vec<&'w Observed> {
    let is_chosen = |observed: &&Observed| {
        let subject = &observed.watch.subject;
        subject.model == *model && version.is_none_or(|v| subject.version == v)
    };
    let mut found: Vec<&Observed> = watches.values().filter(is_chosen).collect();
    found.sort_by_key(|observed| observed.watch.subject.version);
    found
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Release);
    }
}

/// Returns the number of a prediction, by which it is sampled or not: the same everywhere.
pub(crate) fn number(prediction: Uuid) -> u64 {
    let (high, low) = prediction.as_u64_pair();
    mix(high ^ low.rotate_left(32))
}

impl MonitorShared {
    /// Returns the settings, with this server's share of the accepted false alarms.
    fn settings(&self) -> MonitorSettings {
        let mut settings = self.options.settings.clone();
        settings.false_alarms_per_month /= self.fleet.lock().0 as f64;
        settings
    }

    /// Returns the share of requests that is sampled.
    fn share(&self) -> f64 {
        self.sampled_up_to.load(Ordering::Relaxed) as f64 / u64::MAX as f64
    }

    /// Tells whether a request is sampled into windows.
    fn is_sampled(&self, number: u64) -> bool {
        number <= self.sampled_up_to.load(Ordering::Relaxed)
    }

    /// Tells whether a request is needed for windows or for taps.
    fn is_wanted(&self, number: u64) -> bool {
        self.is_sampled(number) || (number as f64) < self.options.tapped_share * u64::MAX as f64
    }

    /// Returns the minutes since the start.
    fn minute(&self) -> u32 {
        self.minute.load(Ordering::Relaxed)
    }

    /// Returns what labels need of the predictions of a version.
    fn needs(&self, subject: &WatchSubject) -> LabelNeeds {
        match (&self.taps.keeper, &subject.task) {
            (Some(_), Some(_)) if subject.slices.is_empty() => LabelNeeds::Answers,
            (Some(_), Some(_)) => LabelNeeds::AnswersAndInputs,
            _ => LabelNeeds::Nothing,
        }
    }

    /// Adapts the sampling share to the CPU time that counting took.
    fn adapt(&self, spent: &Spent) {
        let share = next_share(self.share(), spent, self.options.settings.cpu_share);
        let up_to = if share >= 1.0 {
            u64::MAX
        } else {
            (share * u64::MAX as f64) as u64
        };

        self.sampled_up_to.store(up_to, Ordering::Relaxed);
        self.metrics.monitor.sample_share.set(share);
    }
}

fn run(shared: &MonitorShared, inbox: &Receiver<Offer>, sink: &IncidentSink) {
    let (mut period, started, mut ticked) = (WorkPeriod::begin(), Instant::now(), Instant::now());
    while !shared.ended.load(Ordering::Acquire) {
        std::thread::sleep(PAUSE);
        let minute = started.elapsed().as_secs() / 60;
        shared.minute.store(minute as u32, Ordering::Relaxed);
        // The share must be adapted even if requests arrive faster than they are counted.
        let until = Instant::now() + ADAPT;
        while !inbox.is_empty() && Instant::now() < until {
            period.own += take_turn(shared, inbox, until);
        }
        let spent = period.spent();
        if spent.is_enough() {
            shared.adapt(&spent);
            period = WorkPeriod::begin();
        }
        if ticked.elapsed() >= TICK {
            close_windows(shared, sink);
            if let (Some(keeper), Some(lost)) = (&shared.taps.keeper, shared.lost.take()) {
                keeper.lost(lost.0, lost.1, lost.2);
            }
            ticked = Instant::now();
        }
    }
}

/// Returns the milliseconds since 1970.
fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Closes windows, sends alarms and sets metrics.
fn close_windows(shared: &MonitorShared, sink: &IncidentSink) {
    let now = SystemTime::now();
    let seconds = unix_ms() / 1_000;
    let settings = &shared.settings();
    let time = chrono::DateTime::from(now);
    let mut changed = Vec::new();
    for observed in shared.watches.lock().values_mut() {
        let alarms = observed
            .watch
            .advance(Instant::now(), seconds / 3600, settings);
        observed.doubt_own_baseline(&mut shared.known.lock(), settings);
        observed.series.begun.inc_by(alarms.len() as u64);
        let report = observed.watch.report(settings);
        let events = observed.incidents.step(&report, time);
        if !events.is_empty() {
            observed.saving.hurry();
        }
        changed.extend(events);
        let open = observed.incidents.open();
        observed
            .series
            .incidents
            .set(i64::try_from(open).unwrap_or(i64::MAX));
        // An estimate that cannot be relied on has no series.
        let is_doubted = report.estimated.as_ref().is_some_and(|e| e.doubt.is_some());
        match &observed.watch.estimated {
            Some(estimate) if !is_doubted => observed.series.estimate(&estimate.measures),
            _ => observed.series.withhold_estimate(),
        }
        let columns = shown::columns(&report, shared.options.settings.columns_shown);
        let alarms = report.alarms;
        let rows = observed.traffic.rows.load(Ordering::Relaxed);
        observed
            .counted
            .note(Instant::now(), rows, report.sampled_rows);
        observed
            .series
            .set((rows, report.sampled_rows), alarms, &columns);
        observed.watch.store_window(seconds, alarms);
    }

    for incident in changed {
        log_incident(&incident);
        sink(incident);
    }
}

/// Writes a line to the log about an incident that opened, changed or closed.
pub(crate) fn log_incident(incident: &Incident) {
    let Incident {
        model,
        version,
        summary,
        columns_total: columns,
        incident: id,
        ..
    } = incident;
    match incident.phase {
        IncidentPhase::Opened => {
            tracing::warn!(model, version, id, columns, summary, "incident opened")
        }
        IncidentPhase::Updated => {
            tracing::warn!(model, version, id, columns, summary, "incident updated")
        }
        IncidentPhase::Closed => {
            tracing::info!(model, version, id, columns, summary, "incident closed")
        }
    }
}
