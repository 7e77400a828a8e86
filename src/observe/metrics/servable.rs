//! Metrics of served versions. The series of a version appear when it is loaded and are removed
//! when the last servable of it is dropped.

mod explanations;
mod padding;

use super::catalogue::Catalogue;
use super::statistics::Statistics;
use crate::core::error::{Kind, Result};
use crate::core::model::{ModelName, Version};
use crate::core::request::{Protocol, Timing};
use explanations::ExplanationFamily;
use padding::{PaddingFamilies, PaddingSeries};
use parking_lot::Mutex;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};
use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Buckets of durations, in seconds.
const SECONDS: [f64; 24] = [
    1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 3.5e-4, 5e-4, 7.5e-4, 1e-3, 2e-3, 3.5e-3, 5e-3, 7.5e-3, 1e-2,
    2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 20.0, 80.0,
];
/// Buckets of batch sizes, in rows.
const ROWS: [f64; 11] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0,
];
/// Labels of a served version.
const SERVED: &[&str] = &["model", "version"];

const OUTCOMES: usize = Kind::ALL.len() + 1;

/// The families of served versions.
pub(super) struct ServingFamilies {
    requests: RequestFamilies,
    queue_rows: IntGaugeVec,
    queue_seconds: HistogramVec,
    compute_seconds: HistogramVec,
    batch_rows: HistogramVec,
    batch_rechecks: IntCounterVec,
    batch_fill_rows: IntCounterVec,
    batch_shape_changes: IntCounterVec,
    batch_disagreements: IntCounterVec,
    padding: PaddingFamilies,
    explanation_seconds: ExplanationFamily,
    runs_terminated: IntCounterVec,
    lanes_hung: IntGaugeVec,
    ready: IntGaugeVec,
    load_seconds: GaugeVec,
    memory_bytes: IntGaugeVec,
    /// Servables of each version that still hold series.
    holders: Mutex<HashMap<(ModelName, Version), usize>>,
}

/// The families of requests.
struct RequestFamilies {
    total: IntCounterVec,
    seconds: HistogramVec,
    in_flight: IntGaugeVec,
    rejected: IntCounterVec,
    input_bytes: IntCounterVec,
    output_bytes: IntCounterVec,
    shadow: IntCounterVec,
}

impl RequestFamilies {
    fn new(r: &Catalogue) -> Result<Self> {
        Ok(Self {
            total: r.counters(
                REQUESTS,
                "Predictions by outcome: ok, or the kind of error.",
                &["model", "version", "protocol", "outcome"],
            )?,
            seconds: r.histograms(
                REQUEST_SECONDS,
                "Duration of a prediction, from the request headers to the response.",
                &SECONDS,
                &["model", "version", "protocol"],
            )?,
            in_flight: r.gauges(
                "ortus_requests_in_flight",
                "Predictions in progress.",
                SERVED,
            )?,
            rejected: r.counters(
                "ortus_rejected_total",
                "Requests refused, by reason.",
                &["protocol", "reason"],
            )?,
            input_bytes: r.counters(
                "ortus_input_bytes_total",
                "Bytes of input tensors.",
                SERVED,
            )?,
            output_bytes: r.counters(
                "ortus_output_bytes_total",
                "Bytes of output tensors.",
                SERVED,
            )?,
            shadow: r.counters(
                "ortus_shadow_total",
                "Requests copied to a shadow version, by outcome: same, different, failed or dropped.",
                &["model", "version", "outcome"],
            )?,
        })
    }

    /// Removes the series of a version.
    fn remove(&self, model: &str, version: &str) {
        let _ = self.in_flight.remove_label_values(&[model, version]);
        let _ = self.input_bytes.remove_label_values(&[model, version]);
        let _ = self.output_bytes.remove_label_values(&[model, version]);
        for outcome in ["same", "different", "failed", "dropped"] {
            let _ = self.shadow.remove_label_values(&[model, version, outcome]);
        }

        for protocol in Protocol::ALL.map(Protocol::label) {
            let _ = self
                .seconds
                .remove_label_values(&[model, version, protocol]);
            for outcome in std::iter::once("ok").chain(Kind::ALL.map(Kind::label)) {
                let _ = self
                    .total
                    .remove_label_values(&[model, version, protocol, outcome]);
            }
        }
    }
}

/// The family from which reports read outcomes.
pub(super) const REQUESTS: &str = "ortus_requests_total";
/// The family from which reports read durations.
pub(super) const REQUEST_SECONDS: &str = "ortus_request_duration_seconds";

impl ServingFamilies {
    /// Registers the families.
    pub(super) fn new(r: &Catalogue) -> Result<Self> {
        Ok(Self {
            requests: RequestFamilies::new(r)?,
            queue_rows: r.gauges("ortus_queue_rows", "Rows in the queue.", SERVED)?,
            queue_seconds: r.histograms(
                "ortus_queue_duration_seconds",
                "Time that a request waits in the queue for a lane.",
                &SECONDS,
                SERVED,
            )?,
            compute_seconds: r.histograms(
                "ortus_compute_duration_seconds",
                "Duration of a batch in ONNX Runtime.",
                &SECONDS,
                SERVED,
            )?,
            batch_rows: r.histograms("ortus_batch_rows", "Rows in a batch.", &ROWS, SERVED)?,
            batch_fill_rows: r.counters(
                "ortus_batch_fill_rows_total",
                "Copies of rows with which batches were filled up: to a size of `batch_invariant`, or to the rows that a lane keeps.",
                SERVED,
            )?,
            batch_shape_changes: r.counters(
                "ortus_batch_shape_changes_total",
                "Runs of other rows than the one before, of lanes that keep them because a change takes long.",
                SERVED,
            )?,
            batch_rechecks: r.counters(
                "ortus_batch_rechecks_total",
                "Requests of batches that were run again alone, to compare the answers.",
                SERVED,
            )?,
            batch_disagreements: r.counters(
                "ortus_batch_disagreements_total",
                "Rechecks whose answer alone differed from the answer in the batch. The first ends batching of the version, or its padding if the request was padded.",
                SERVED,
            )?,
            padding: PaddingFamilies::new(r)?,
            explanation_seconds: ExplanationFamily::new(r)?,
            runs_terminated: r.counters(
                "ortus_runs_terminated_total",
                "Runs terminated 1 s after their last client gave up, or after 1 s on an I/O thread.",
                SERVED,
            )?,
            lanes_hung: r.gauges(
                "ortus_lanes_hung",
                "Lanes whose run has not ended 5 s after it was terminated.",
                SERVED,
            )?,
            ready: r.gauges(
                "ortus_model_ready",
                "1 while the version is ready to serve.",
                SERVED,
            )?,
            load_seconds: r.float_gauges(
                "ortus_model_load_seconds",
                "Duration of the last load of the version.",
                SERVED,
            )?,
            memory_bytes: r.gauges(
                "ortus_model_memory_bytes",
                "Estimated memory of the version: growth of the server during its load, and at least its weights.",
                SERVED,
            )?,
            holders: Mutex::default(),
        })
    }

    /// Counts a refused request.
    pub(super) fn reject(&self, protocol: Protocol, reason: Kind) {
        self.requests
            .rejected
            .with_label_values(&[protocol.label(), reason.label()])
            .inc();
    }

    /// Counts a request that was copied to a shadow version.
    pub(super) fn shadowed(&self, model: &ModelName, version: Version, outcome: &str) {
        self.requests
            .shadow
            .with_label_values(&[model.as_str(), &version.to_string(), outcome])
            .inc();
    }

    /// Returns the series of one version. They are removed when the last holder of the same
    /// version is dropped.
    pub(super) fn of(
        self: &Arc<Self>,
        model: &ModelName,
        version: Version,
    ) -> Arc<ServableMetrics> {
        let key = (model.clone(), version);
        *self.holders.lock().entry(key).or_default() += 1;

        let v = version.to_string();
        let labels = &[model.as_str(), v.as_str()];
        let requests = &self.requests;
        Arc::new(ServableMetrics {
            queue_rows: self.queue_rows.with_label_values(labels),
            batch_rechecks: self.batch_rechecks.with_label_values(labels),
            batch_fill_rows: self.batch_fill_rows.with_label_values(labels),
            batch_shape_changes: self.batch_shape_changes.with_label_values(labels),
            batch_disagreements: self.batch_disagreements.with_label_values(labels),
            runs_terminated: self.runs_terminated.with_label_values(labels),
            lanes_hung: self.lanes_hung.with_label_values(labels),
            in_flight: requests.in_flight.with_label_values(labels),
            ready: self.ready.with_label_values(labels),
            input_bytes: requests.input_bytes.with_label_values(labels),
            output_bytes: requests.output_bytes.with_label_values(labels),
            load_seconds: self.load_seconds.with_label_values(labels),
            memory_bytes: self.memory_bytes.with_label_values(labels),
            queue_seconds: self.queue_seconds.with_label_values(labels),
            compute_seconds: self.compute_seconds.with_label_values(labels),
            batch_rows: self.batch_rows.with_label_values(labels),
            padding: OnceLock::new(),
            outcomes: Default::default(),
            totals: Default::default(),
            stats: Statistics::default(),
            families: Arc::clone(self),
            model: model.clone(),
            version,
        })
    }

    /// Gives up one hold on the series of a version, and removes them if it was the last.
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

        // Removing fails for a series that was never set, which is fine.
        let v = version.to_string();
        let labels = &[model.as_str(), v.as_str()];
        let _ = self.queue_rows.remove_label_values(labels);
        let _ = self.runs_terminated.remove_label_values(labels);
        let _ = self.lanes_hung.remove_label_values(labels);
        let _ = self.ready.remove_label_values(labels);
        let _ = self.load_seconds.remove_label_values(labels);
        let _ = self.memory_bytes.remove_label_values(labels);
        let _ = self.queue_seconds.remove_label_values(labels);
        let _ = self.compute_seconds.remove_label_values(labels);
        let _ = self.batch_rows.remove_label_values(labels);
        let _ = self.batch_rechecks.remove_label_values(labels);
        let _ = self.batch_fill_rows.remove_label_values(labels);
        let _ = self.batch_shape_changes.remove_label_values(labels);
        let _ = self.batch_disagreements.remove_label_values(labels);
        self.padding.remove(labels[0], labels[1]);
        self.explanation_seconds.remove(labels[0], labels[1]);
        self.requests.remove(labels[0], labels[1]);
    }
}

/// The series of one version, looked up once.
pub(crate) struct ServableMetrics {
    /// Rows in the queue.
    pub queue_rows: IntGauge,
    /// Requests that were run again alone.
    pub batch_rechecks: IntCounter,
    /// Rows with which batches were filled up.
    pub batch_fill_rows: IntCounter,
    /// Runs of other rows than the one before, where that takes long.
    pub batch_shape_changes: IntCounter,
    /// Requests whose answer alone differed from their answer in a batch.
    pub batch_disagreements: IntCounter,
    /// Runs terminated because they passed their time limit.
    pub runs_terminated: IntCounter,
    /// Lanes whose run does not end although it was terminated.
    pub lanes_hung: IntGauge,
    /// Predictions in progress.
    pub in_flight: IntGauge,
    /// 1 while the version is ready to serve.
    pub ready: IntGauge,
    /// Bytes of input tensors.
    pub input_bytes: IntCounter,
    /// Bytes of output tensors.
    pub output_bytes: IntCounter,
    /// Duration of the load.
    pub load_seconds: Gauge,
    /// Estimated memory.
    pub memory_bytes: IntGauge,
    queue_seconds: Histogram,
    compute_seconds: Histogram,
    batch_rows: Histogram,
    padding: OnceLock<PaddingSeries>,
    outcomes: [[OnceLock<IntCounter>; OUTCOMES]; Protocol::ALL.len()],
    totals: [OnceLock<Histogram>; Protocol::ALL.len()],
    /// The same in the form of Triton's statistics call.
    pub stats: Statistics,
    families: Arc<ServingFamilies>,
    model: ModelName,
    version: Version,
}

impl ServableMetrics {
    /// Counts an answered prediction: the time that it waited in the queue, and those of its batch.
    pub(crate) fn answered(&self, timing: &Timing) {
        self.queue_seconds.observe(timing.queue.as_secs_f64());
        self.stats.record_answer(timing);
    }

    /// Counts a finished prediction, or its error.
    pub(crate) fn finished(&self, protocol: Protocol, outcome: Result<(), Kind>, total: Duration) {
        self.outcome(protocol, outcome.err()).inc();
        self.total(protocol).observe(total.as_secs_f64());

        match outcome {
            Ok(()) => self.stats.success.add(total),
            Err(kind) => {
                self.families.reject(protocol, kind);
                self.stats.fail.add(total);
            }
        }
    }

    /// Returns how many predictions were refused or failed, by kind.
    pub(super) fn failures(&self) -> impl Iterator<Item = (Kind, u64)> + '_ {
        Kind::ALL.into_iter().map(|kind| {
            let slots = self.outcomes.iter().map(|slots| &slots[1 + kind as usize]);
            let counts = slots.filter_map(|slot| slot.get()).map(IntCounter::get);
            (kind, counts.sum())
        })
    }

    /// Returns the durations of predictions over a protocol, if there were any.
    pub(super) fn totals(&self, protocol: Protocol) -> Option<&Histogram> {
        self.totals[protocol as usize].get()
    }

    /// Returns the durations of batches in ONNX Runtime.
    pub(super) fn compute_seconds(&self) -> &Histogram {
        &self.compute_seconds
    }

    /// Returns the times in the queue.
    pub(super) fn queue_seconds(&self) -> &Histogram {
        &self.queue_seconds
    }

    /// Returns the counter of an outcome, which is looked up the first time.
    fn outcome(&self, protocol: Protocol, error: Option<Kind>) -> &IntCounter {
        let (slot, label) = match error {
            None => (0, "ok"),
            Some(kind) => (1 + kind as usize, kind.label()),
        };

        self.outcomes[protocol as usize][slot].get_or_init(|| {
            self.families.requests.total.with_label_values(&[
                self.model.as_str(),
                &self.version.to_string(),
                protocol.label(),
                label,
            ])
        })
    }

    /// Returns the histogram of durations, which is looked up the first time.
    fn total(&self, protocol: Protocol) -> &Histogram {
        self.totals[protocol as usize].get_or_init(|| {
            self.families.requests.seconds.with_label_values(&[
                self.model.as_str(),
                &self.version.to_string(),
                protocol.label(),
            ])
        })
    }

    /// Counts an explained prediction.
    pub(crate) fn explained(&self, took: Duration) {
        let family = &self.families.explanation_seconds;
        family.observe(self.model.as_str(), self.version, took);
    }

    /// Notes whether requests are padded, for a version whose padding is declared.
    pub(crate) fn set_padding(&self, is_on: bool) {
        self.padding().active.set(i64::from(is_on));
    }

    /// Counts the tokens of requests, and those that padding added.
    pub(crate) fn count_tokens(&self, real: usize, padded: usize) {
        let series = self.padding();
        series.real.inc_by(real as u64);
        series.padded.inc_by(padded as u64);
    }

    /// The tokens of requests, and those that padding added.
    pub(crate) fn padding_tokens(&self) -> (u64, u64) {
        let series = self.padding.get();
        series.map_or((0, 0), |series| (series.real.get(), series.padded.get()))
    }

    /// The series of padding, which are looked up the first time.
    fn padding(&self) -> &PaddingSeries {
        let version = self.version.to_string();
        let families = &self.families.padding;
        self.padding
            .get_or_init(|| families.of(self.model.as_str(), &version))
    }

    /// Counts a batch that ran: how long it was gathered, run and cut.
    pub(crate) fn ran(&self, rows: usize, phases: [Duration; 3]) {
        self.compute_seconds.observe(phases[1].as_secs_f64());
        self.batch_rows.observe(rows as f64);
        self.stats.record_run(rows as u64, phases);
    }
}

impl Drop for ServableMetrics {
    fn drop(&mut self) {
        self.families.retire(&self.model, self.version);
    }
}
