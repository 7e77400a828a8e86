//! The path from a prediction to the monitor: a bounded queue that never blocks, and one thread that
//! empties it, closes windows and adapts the sampling share to its CPU limit. Predictions that do
//! not fit are dropped and counted.

pub(crate) mod answered;
mod shown;
#[cfg(test)]
mod tests;

use super::contract::Contracts;
use super::layout::Side;
use super::settings::MonitorSettings;
use super::share::{Work, next_share, turn};
use super::sketch::Sketch;
use super::watch::{VersionWatch, WatchSubject};
use crate::core::error::{Error, Result};
use crate::core::hash::mix;
use crate::core::model::optional::CheckedInputs;
use crate::core::model::{ModelName, Version};
use crate::core::tensor::Tensor;
use crate::observe::metrics::Metrics;
use crate::observe::metrics::monitor::MonitorMetrics;
use crate::observe::quality::answer::answers;
use crate::observe::quality::companion::Companion;
use crate::observe::report::alarm::DriftAlarm;
use crate::observe::report::drift::{FleetDrift, FleetState, VersionDrift};
use crate::observe::report::model::VersionReport;
use answered::Answered;
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use prometheus::IntCounter;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
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
/// Interval at which the sampling share is adapted.
const ADAPT: Duration = Duration::from_millis(200);

/// Monitors servables. Dropping it ends its thread.
pub(crate) struct Monitor {
    shared: Arc<MonitorShared>,
}

struct MonitorShared {
    watches: Mutex<HashMap<u64, Observed>>,
    offers: Sender<Offer>,
    waiting_bytes: AtomicUsize,
    next: AtomicU64,
    /// Requests are sampled if their number is at most this.
    sampled_up_to: AtomicU64,
    ended: AtomicBool,
    /// How many servers the fleet has, and their merged windows.
    fleet: Mutex<(u64, Option<FleetState>)>,
    options: MonitorOptions,
    metrics: Arc<Metrics>,
    taps: Vec<Tap>,
}

/// A version's monitor and its metrics.
struct Observed {
    watch: VersionWatch,
    series: MonitorMetrics,
    companion: Option<Companion>,
}

/// An answered request in the queue.
struct Offer {
    watch: u64,
    prediction: Uuid,
    inputs: CheckedInputs,
    outputs: Vec<Tensor>,
    bytes: usize,
}

/// A servable's handle to its monitor. Dropping it ends the monitoring.
pub(crate) struct Observer {
    shared: Arc<MonitorShared>,
    watch: u64,
    contracts: Arc<Contracts>,
    dropped: IntCounter,
}

/// Receives sampled requests on the monitor's thread; must not block.
pub(crate) type Tap = Box<dyn Fn(&Answered<'_>) + Send + Sync>;

/// Receives every alarm that starts; must not block.
pub(crate) type AlarmSink = Box<dyn Fn(DriftAlarm) + Send>;

impl Monitor {
    /// Starts the thread.
    pub(crate) fn start(
        options: MonitorOptions,
        metrics: Arc<Metrics>,
        sink: AlarmSink,
        taps: Vec<Tap>,
    ) -> Result<Arc<Self>> {
        let (offers, inbox) = bounded(QUEUE_MAX);
        let shared = Arc::new(MonitorShared {
            watches: Mutex::default(),
            offers,
            waiting_bytes: AtomicUsize::new(0),
            next: AtomicU64::new(0),
            sampled_up_to: AtomicU64::new(u64::MAX),
            ended: AtomicBool::new(false),
            fleet: Mutex::new((1, None)),
            options,
            metrics,
            taps,
        });

        shared.metrics.monitor.sample_share.set(1.0);
        let own = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("monitor".to_owned())
            .spawn(move || run(&own, &inbox, &sink))
            .map_err(|e| Error::internal("start the monitor").with_source(e))?;
        Ok(Arc::new(Self { shared }))
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
        let watch = VersionWatch::new(subject, threads, Instant::now())?;
        let contracts = Arc::clone(&watch.contracts);
        let series = self.shared.metrics.monitor.of(&model, version);
        let dropped = series.dropped.clone();
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        self.shared.watches.lock().insert(
            id,
            Observed {
                watch,
                series,
                companion,
            },
        );

        Ok(Observer {
            shared: Arc::clone(&self.shared),
            watch: id,
            contracts,
            dropped,
        })
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

    /// Returns the versions that are monitored.
    pub(crate) fn subjects(&self) -> Vec<Arc<WatchSubject>> {
        self.shared
            .watches
            .lock()
            .values()
            .map(|o| Arc::clone(&o.watch.subject))
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
        report.sample_share = Some(self.shared.share());
        report.dropped_requests = Some(observed.series.dropped.get());

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

impl Observer {
    /// Checks the inputs of a request against the contract. Returns a copy to offer if the prediction
    /// is sampled.
    pub(crate) fn asked(&self, prediction: Uuid, inputs: &CheckedInputs) -> Option<CheckedInputs> {
        self.contracts.count(Side::Input, &inputs.required);
        self.shared
            .is_wanted(number(prediction))
            .then(|| inputs.clone())
    }

    /// Checks the outputs of a prediction against the contract.
    pub(crate) fn answered(&self, outputs: &[Tensor]) {
        self.contracts.count(Side::Output, outputs);
    }

    /// Queues a sampled prediction, or drops it if the queue is full; never waits. The tensors share
    /// their bytes with the response.
    pub(crate) fn offer(&self, prediction: Uuid, inputs: CheckedInputs, outputs: Vec<Tensor>) {
        let bytes: usize = inputs.tensors().chain(&outputs).map(Tensor::bytes).sum();
        let before = self
            .shared
            .waiting_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        let offer = Offer {
            watch: self.watch,
            prediction,
            inputs,
            outputs,
            bytes,
        };

        let fits = before + bytes <= self.shared.options.settings.queue_bytes_max;
        if !fits || self.shared.offers.try_send(offer).is_err() {
            self.shared
                .waiting_bytes
                .fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.inc();
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // Its metrics are removed with it.
        self.shared.watches.lock().remove(&self.watch);
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

    /// Adapts the sampling share to the share of the server's CPU time that monitoring used. None
    /// stands for an idle server.
    fn adapt(&self, taken: Option<f64>) {
        // From an idle server, the cost of the next request is not known.
        let Some(taken) = taken else { return };
        let share = next_share(self.share(), taken, self.options.settings.cpu_share);
        let up_to = if share >= 1.0 {
            u64::MAX
        } else {
            (share * u64::MAX as f64) as u64
        };

        self.sampled_up_to.store(up_to, Ordering::Relaxed);
        self.metrics.monitor.sample_share.set(share);
    }
}

fn run(shared: &MonitorShared, inbox: &Receiver<Offer>, sink: &AlarmSink) {
    let (mut before, mut adapted, mut ticked) = (Work::now(), Instant::now(), Instant::now());
    while !shared.ended.load(Ordering::Acquire) {
        std::thread::sleep(PAUSE);
        // The share must be adapted even if requests arrive faster than they are counted.
        let until = Instant::now() + ADAPT;
        while !inbox.is_empty() && Instant::now() < until {
            let mut watches = shared.watches.lock();
            turn(inbox, until, |offer| {
                shared
                    .waiting_bytes
                    .fetch_sub(offer.bytes, Ordering::Relaxed);
                if let Some(observed) = watches.get_mut(&offer.watch) {
                    count_prediction(shared, observed, &offer);
                }
            });
        }
        if adapted.elapsed() >= ADAPT {
            let now = Work::now();
            shared.adapt(now.since(&before));
            (before, adapted) = (now, Instant::now());
        }
        if ticked.elapsed() >= TICK {
            close_windows(shared, sink);
            ticked = Instant::now();
        }
    }
}

/// Counts a request and passes it to the taps.
fn count_prediction(shared: &MonitorShared, observed: &mut Observed, offer: &Offer) {
    let Observed {
        watch, companion, ..
    } = observed;
    let Offer {
        prediction,
        inputs,
        outputs,
        ..
    } = offer;
    let CheckedInputs {
        required: inputs,
        optional,
    } = inputs;

    let answers = watch
        .subject
        .task
        .as_ref()
        .map(|task| answers(task, outputs))
        .unwrap_or_default();
    if shared.is_sampled(number(*prediction)) {
        watch.observe(inputs, outputs, &shared.options.settings);
        watch.estimate(&answers);
        if let Some(companion) = companion {
            let (errors, failure) = companion.expect(inputs, outputs);
            watch.expect(&errors);
            if let Some(error) = failure {
                let (model, version) =
                    (watch.subject.model.as_str(), watch.subject.version.number());
                tracing::warn!(model, version, %error, "the companion model fails; these rows are not in the estimate");
            }
        }
    }

    if !shared.taps.is_empty() {
        let parts: Vec<Vec<String>> = watch.slicers.iter_mut().map(|s| s.parts(inputs)).collect();
        let subject = &watch.subject;
        let answered = Answered {
            subject,
            prediction: *prediction,
            inputs,
            optional,
            outputs,
            answers: &answers,
            parts: &parts,
        };
        shared.taps.iter().for_each(|tap| tap(&answered));
    }
}

/// Closes windows, sends alarms and sets metrics.
fn close_windows(shared: &MonitorShared, sink: &AlarmSink) {
    let seconds = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |d| d.as_secs());
    let settings = &shared.settings();
    let mut begun = Vec::new();
    for observed in shared.watches.lock().values_mut() {
        let alarms = observed
            .watch
            .advance(Instant::now(), seconds / 3600, settings);
        observed.series.begun.inc_by(alarms.len() as u64);
        let report = observed.watch.report(settings);
        begun.extend(
            alarms
                .into_iter()
                .map(|(place, test)| DriftAlarm::of(&report, place, test)),
        );
        if let Some(estimate) = &observed.watch.estimated {
            observed.series.estimate(&estimate.measures);
        }
        let columns = shown::columns(&report, shared.options.settings.columns_shown);
        let alarms = report.alarms;
        observed
            .series
            .set((report.rows, report.sampled_rows), alarms, &columns);
        observed.watch.store_window(seconds, alarms);
    }

    for alarm in begun {
        let DriftAlarm {
            model,
            version,
            column,
            test,
            ..
        } = &alarm;
        let (metric, value, lower) = (test.metric.name(), test.value, test.lower);
        tracing::warn!(
            model,
            version,
            column,
            metric,
            value,
            lower,
            threshold = test.threshold,
            rows = test.rows,
            "drift alarm"
        );
        sink(alarm);
    }
}
