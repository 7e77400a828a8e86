//! The typed catalogue of metrics. Call sites hold handles and cannot misspell a name. Labels are
//! bounded: series of a model and a version appear when it is loaded and are removed with it.

pub(crate) mod capture;
pub(crate) mod catalogue;
pub(crate) mod deploy;
pub(crate) mod feedback;
pub(crate) mod monitor;
pub(crate) mod statistics;

use crate::core::error::{Kind, Result};
use crate::core::model::{ModelName, Version};
use crate::core::request::Protocol;
use catalogue::{Catalogue, Kinded};
use parking_lot::Mutex;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, TextEncoder,
};
use statistics::Statistics;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Every family, made once at start and passed to the rooms that need it.
pub(crate) struct Metrics {
    catalogue: Catalogue,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    queue_seconds: HistogramVec,
    compute_seconds: HistogramVec,
    batch_rows: HistogramVec,
    queue_rows: IntGaugeVec,
    runs_terminated: IntCounterVec,
    lanes_hung: IntGaugeVec,
    in_flight: IntGaugeVec,
    rejected: IntCounterVec,
    model_ready: IntGaugeVec,
    load_seconds: GaugeVec,
    /// Loads that were refused, by model.
    pub load_failures: IntCounterVec,
    input_bytes: IntCounterVec,
    output_bytes: IntCounterVec,
    /// Open connections.
    pub connections: IntGauge,
    /// Connections closed at accept because of the limit.
    pub connections_refused: IntCounter,
    /// Spans that no collector will see.
    pub spans_dropped: IntCounter,
    /// Bytes of requests being read or served.
    pub bytes_in_flight: IntGauge,
    shadow: IntCounterVec,
    /// What is kept of predictions.
    pub capture: capture::Families,
    /// What labels say.
    pub feedback: feedback::Families,
    /// What the monitor sees.
    pub monitor: monitor::Families,
    /// The last entry of the registry that was applied.
    pub registry_entry: IntGauge,
    /// 1 while what the registry has is refused.
    pub registry_refused: IntGauge,
    /// How long the registry's store has been silent, in seconds.
    pub registry_staleness: Gauge,
    /// Servables per (model, version) that still hold series.
    holders: Mutex<HashMap<(ModelName, Version), usize>>,
}

/// 10 µs to 80 s, four steps to the decade or finer at the low end.
const SECONDS: [f64; 24] = [
    1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 3.5e-4, 5e-4, 7.5e-4, 1e-3, 2e-3, 3.5e-3, 5e-3, 7.5e-3, 1e-2,
    2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0, 80.0,
];
const ROWS: [f64; 11] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];
const SERVED: &[&str] = &["model", "version"];

fn put<C: Kinded>(catalogue: &Catalogue, made: prometheus::Result<C>) -> Result<C> {
    catalogue.put(made)
}

impl Metrics {
    /// Makes the catalogue.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let r = Catalogue::default();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            put(&r, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            put(&r, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let histogram = |name: &str, help: &str, buckets: &[f64], labels: &[&str]| {
            put(
                &r,
                HistogramVec::new(
                    HistogramOpts::new(name, help).buckets(buckets.to_vec()),
                    labels,
                ),
            )
        };

        let timed = &["model", "version", "protocol"];
        let built = Self {
            requests: counter(
                "ortus_requests_total",
                "Predictions by outcome: ok, or the kind of error.",
                &["model", "version", "protocol", "outcome"],
            )?,
            request_seconds: histogram(
                "ortus_request_duration_seconds",
                "Duration of a prediction, from the request headers to the response.",
                &SECONDS,
                timed,
            )?,
            queue_seconds: histogram(
                "ortus_queue_duration_seconds",
                "Time that a request waits in the queue for a lane.",
                &SECONDS,
                SERVED,
            )?,
            compute_seconds: histogram(
                "ortus_compute_duration_seconds",
                "Duration of a batch in ONNX Runtime.",
                &SECONDS,
                SERVED,
            )?,
            batch_rows: histogram("ortus_batch_rows", "Rows in a batch.", &ROWS, SERVED)?,
            queue_rows: gauge("ortus_queue_rows", "Rows in the queue.", SERVED)?,
            runs_terminated: counter(
                "ortus_runs_terminated_total",
                "Runs terminated because they took longer than the latest deadline of their batch plus 1 s.",
                SERVED,
            )?,
            lanes_hung: gauge(
                "ortus_lanes_hung",
                "Lanes whose run has not ended 5 s after it was terminated.",
                SERVED,
            )?,
            in_flight: gauge(
                "ortus_requests_in_flight",
                "Predictions in progress.",
                SERVED,
            )?,
            rejected: counter(
                "ortus_rejected_total",
                "Requests refused, by reason.",
                &["protocol", "reason"],
            )?,
            model_ready: gauge(
                "ortus_model_ready",
                "1 while the version is ready to serve.",
                SERVED,
            )?,
            load_seconds: put(
                &r,
                GaugeVec::new(
                    Opts::new(
                        "ortus_model_load_seconds",
                        "Duration of the last load of the version.",
                    ),
                    SERVED,
                ),
            )?,
            load_failures: counter(
                "ortus_model_load_failures_total",
                "Versions that failed to load.",
                &["model"],
            )?,
            input_bytes: counter("ortus_input_bytes_total", "Bytes of input tensors.", SERVED)?,
            output_bytes: counter(
                "ortus_output_bytes_total",
                "Bytes of output tensors.",
                SERVED,
            )?,
            connections: put(
                &r,
                IntGauge::new(
                    "ortus_connections",
                    "Open connections on the data listeners.",
                ),
            )?,
            spans_dropped: put(
                &r,
                IntCounter::new(
                    "ortus_spans_dropped_total",
                    "Spans dropped because the collector is too slow.",
                ),
            )?,
            connections_refused: put(
                &r,
                IntCounter::new(
                    "ortus_connections_refused_total",
                    "Connections refused because limits.connections_max was reached.",
                ),
            )?,
            bytes_in_flight: put(
                &r,
                IntGauge::new("ortus_bytes_in_flight", "Bytes of requests in progress."),
            )?,
            shadow: counter(
                "ortus_shadow_total",
                "Requests copied to a shadow version, by outcome: same, different, failed or dropped.",
                &["model", "version", "outcome"],
            )?,
            registry_entry: put(
                &r,
                IntGauge::new(
                    "ortus_registry_entry",
                    "Number of the last registry log entry that this server applied.",
                ),
            )?,
            registry_refused: put(
                &r,
                IntGauge::new(
                    "ortus_registry_refused",
                    "1 while the server refuses the registry log: forked, rolled back, or dated in the future.",
                ),
            )?,
            registry_staleness: put(
                &r,
                Gauge::new(
                    "ortus_registry_staleness_seconds",
                    "Time since the registry was last read successfully.",
                ),
            )?,
            capture: capture::Families::new(&r)?,
            feedback: feedback::Families::new(&r)?,
            monitor: monitor::Families::new(&r)?,
            holders: Mutex::default(),
            catalogue: r,
        };

        built.catalogue.adopt(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        Ok(Arc::new(built))
    }

    /// How long a model's predictions took: for each version the rows of its
    /// histogram, as upper bounds in seconds and the requests up to them.
    pub(crate) fn times(&self, model: &str) -> BTreeMap<String, Vec<(f64, u64)>> {
        let mut times: BTreeMap<String, Vec<(f64, u64)>> = BTreeMap::new();
        let families = self.catalogue.gather();
        let family = families
            .iter()
            .find(|f| f.name() == "ortus_request_duration_seconds");
        for metric in family.into_iter().flat_map(|f| f.get_metric()) {
            let label = |name: &str| {
                metric
                    .get_label()
                    .iter()
                    .find(|l| l.name() == name)
                    .map(|l| l.value())
            };
            if label("model") != Some(model) {
                continue;
            }
            let buckets = metric.get_histogram().get_bucket();
            let sums = times
                .entry(label("version").unwrap_or_default().to_owned())
                .or_default();
            sums.resize(buckets.len(), (0.0, 0));
            for (sum, bucket) in sums.iter_mut().zip(buckets) {
                *sum = (bucket.upper_bound(), sum.1 + bucket.cumulative_count());
            }
        }

        times
    }

    /// Every family of its own, by name.
    pub(crate) fn families(&self) -> Vec<catalogue::Family> {
        self.catalogue.families()
    }

    /// Writes the exposition text.
    pub(crate) fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 << 10);
        if let Err(error) = TextEncoder::new().encode(&self.catalogue.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be encoded");
        }
        text
    }

    /// Counts a refusal.
    pub(crate) fn reject(&self, protocol: Protocol, reason: Kind) {
        self.rejected
            .with_label_values(&[protocol.label(), reason.label()])
            .inc();
    }

    /// Counts what a copy to a shadow came to.
    pub(crate) fn shadowed(&self, model: &ModelName, version: Version, outcome: &str) {
        self.shadow
            .with_label_values(&[model.as_str(), &version.to_string(), outcome])
            .inc();
    }

    /// Hands out the series of one version. They retire when the last holder
    /// of the same version is dropped.
    pub(crate) fn servable(
        self: &Arc<Self>,
        model: &ModelName,
        version: Version,
    ) -> Arc<ServableMetrics> {
        *self
            .holders
            .lock()
            .entry((model.clone(), version))
            .or_default() += 1;
        let v = version.to_string();

        let labels = &[model.as_str(), v.as_str()];
        Arc::new(ServableMetrics {
            queue_rows: self.queue_rows.with_label_values(labels),
            runs_terminated: self.runs_terminated.with_label_values(labels),
            lanes_hung: self.lanes_hung.with_label_values(labels),
            in_flight: self.in_flight.with_label_values(labels),
            ready: self.model_ready.with_label_values(labels),
            input_bytes: self.input_bytes.with_label_values(labels),
            output_bytes: self.output_bytes.with_label_values(labels),
            load_seconds: self.load_seconds.with_label_values(labels),
            queue_seconds: self.queue_seconds.with_label_values(labels),
            compute_seconds: self.compute_seconds.with_label_values(labels),
            batch_rows: self.batch_rows.with_label_values(labels),
            outcomes: Default::default(),
            totals: Default::default(),
            stats: Statistics::default(),
            catalogue: Arc::clone(self),
            model: model.clone(),
            version,
        })
    }

    fn retire(&self, model: &ModelName, version: Version) {
        let mut holders = self.holders.lock();
        let key = (model.clone(), version);
        let left = holders.get_mut(&key).map_or(0, |n| {
            *n -= 1;
            *n
        });
        if left > 0 {
            return;
        }
        holders.remove(&key);
        let v = version.to_string();
        let labels = &[model.as_str(), v.as_str()];
        // A series that was never touched is not there to be removed.
        let _ = self.queue_rows.remove_label_values(labels);
        let _ = self.runs_terminated.remove_label_values(labels);
        let _ = self.lanes_hung.remove_label_values(labels);
        let _ = self.in_flight.remove_label_values(labels);
        let _ = self.model_ready.remove_label_values(labels);
        let _ = self.input_bytes.remove_label_values(labels);
        let _ = self.output_bytes.remove_label_values(labels);
        let _ = self.load_seconds.remove_label_values(labels);
        let _ = self.queue_seconds.remove_label_values(labels);
        let _ = self.compute_seconds.remove_label_values(labels);
        let _ = self.batch_rows.remove_label_values(labels);
        for outcome in ["same", "different", "failed", "dropped"] {
            let _ = self
                .shadow
                .remove_label_values(&[labels[0], labels[1], outcome]);
        }

        for protocol in Protocol::ALL {
            let _ =
                self.request_seconds
                    .remove_label_values(&[labels[0], labels[1], protocol.label()]);
            for outcome in std::iter::once("ok").chain(Kind::ALL.map(Kind::label)) {
                let _ = self.requests.remove_label_values(&[
                    labels[0],
                    labels[1],
                    protocol.label(),
                    outcome,
                ]);
            }
        }
    }
}

const OUTCOMES: usize = Kind::ALL.len() + 1;

/// The series of one version, looked up once.
pub(crate) struct ServableMetrics {
    /// Rows waiting.
    pub queue_rows: IntGauge,
    /// Runs terminated because they passed their time limit.
    pub runs_terminated: IntCounter,
    /// Lanes whose run does not end although it was terminated.
    pub lanes_hung: IntGauge,
    /// Predictions being served.
    pub in_flight: IntGauge,
    /// 1 while it serves.
    pub ready: IntGauge,
    /// Bytes of tensors that came in.
    pub input_bytes: IntCounter,
    /// Bytes of tensors that went out.
    pub output_bytes: IntCounter,
    /// What loading took.
    pub load_seconds: Gauge,
    queue_seconds: Histogram,
    compute_seconds: Histogram,
    batch_rows: Histogram,
    outcomes: [[OnceLock<IntCounter>; OUTCOMES]; Protocol::ALL.len()],
    totals: [OnceLock<Histogram>; Protocol::ALL.len()],
    /// The same in the form that Triton's statistics call wants.
    pub stats: Statistics,
    catalogue: Arc<Metrics>,
    model: ModelName,
    version: Version,
}

impl ServableMetrics {
    /// Counts a finished prediction.
    pub(crate) fn finished(
        &self,
        protocol: Protocol,
        outcome: Result<Duration, Kind>,
        total: Duration,
    ) {
        let p = protocol as usize;
        let (slot, label) = match outcome {
            Ok(_) => (0, "ok"),
            Err(kind) => (1 + kind as usize, kind.label()),
        };
        let v = || self.version.to_string();
        self.outcomes[p][slot]
            .get_or_init(|| {
                self.catalogue.requests.with_label_values(&[
                    self.model.as_str(),
                    &v(),
                    protocol.label(),
                    label,
                ])
            })
            .inc();
        self.totals[p]
            .get_or_init(|| {
                self.catalogue.request_seconds.with_label_values(&[
                    self.model.as_str(),
                    &v(),
                    protocol.label(),
                ])
            })
            .observe(total.as_secs_f64());
        match outcome {
            Ok(queue) => {
                self.queue_seconds.observe(queue.as_secs_f64());
                self.stats.queue.add(queue);
                self.stats.success.add(total);
            }
            Err(kind) => {
                self.catalogue.reject(protocol, kind);
                self.stats.fail.add(total);
            }
        }
    }

    /// Counts a batch that ran.
    pub(crate) fn ran(&self, rows: usize, gather: Duration, run: Duration) {
        self.compute_seconds.observe(run.as_secs_f64());
        self.batch_rows.observe(rows as f64);
        self.stats.ran(rows as u64, gather, run);
    }
}

impl Drop for ServableMetrics {
    fn drop(&mut self) {
        self.catalogue.retire(&self.model, self.version);
    }
}
