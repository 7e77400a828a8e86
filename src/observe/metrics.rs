//! The typed catalogue of metrics. Call sites hold handles and cannot misspell a name. Labels are
//! bounded: series of a model and a version appear when it is loaded and are removed with it.

pub(crate) mod aliases;
pub(crate) mod capture;
pub(crate) mod catalogue;
pub(crate) mod deploy;
pub(crate) mod feedback;
pub(crate) mod monitor;
pub(crate) mod servable;
pub(crate) mod server;
pub(crate) mod statistics;

use crate::core::error::{Kind, Result};
use crate::core::model::{ModelName, Version};
use crate::core::request::Protocol;
use catalogue::Catalogue;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::Metric;
use prometheus::{Encoder, IntCounter, IntCounterVec, TextEncoder};
use servable::{REQUEST_SECONDS, REQUESTS, ServableMetrics, ServingFamilies};
use server::{DirectoryFamilies, ListenerFamilies, RegistryFamilies};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every family, registered once at start and passed to the parts that count.
pub(crate) struct Metrics {
    catalogue: Catalogue,
    serving: Arc<ServingFamilies>,
    /// Connections, and memory of requests.
    pub listeners: ListenerFamilies,
    /// Versions that failed to load, by model.
    pub load_failures: IntCounterVec,
    /// Spans that are not sent to the collector.
    pub spans_dropped: IntCounter,
    /// The registry that is followed.
    pub registry: RegistryFamilies,
    /// Of a model directory.
    pub directory: DirectoryFamilies,
    /// Captured predictions.
    pub capture: capture::CaptureFamilies,
    /// Labels, and performance measured with them.
    pub feedback: feedback::LabelFamilies,
    /// Drift and contracts.
    pub monitor: monitor::MonitorFamilies,
}

impl Metrics {
    /// Registers every family.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let r = Catalogue::default();
        let metrics = Self {
            serving: Arc::new(ServingFamilies::new(&r)?),
            listeners: ListenerFamilies::new(&r)?,
            load_failures: r.counters(
                "ortus_model_load_failures_total",
                "Versions that failed to load.",
                &["model"],
            )?,
            spans_dropped: r.counter(
                "ortus_spans_dropped_total",
                "Spans dropped because the collector is too slow.",
            )?,
            registry: RegistryFamilies::new(&r)?,
            directory: DirectoryFamilies::new(&r)?,
            capture: capture::CaptureFamilies::new(&r)?,
            feedback: feedback::LabelFamilies::new(&r)?,
            monitor: monitor::MonitorFamilies::new(&r)?,
            catalogue: r,
        };

        metrics
            .catalogue
            .adopt(Box::new(ProcessCollector::for_self()))?;
        Ok(Arc::new(metrics))
    }

    /// Returns the durations of a model's predictions: for each version the buckets of its
    /// histogram, as upper bounds in seconds and the number of requests up to them.
    pub(crate) fn times(&self, model: &str) -> BTreeMap<String, Vec<(f64, u64)>> {
        let mut times: BTreeMap<String, Vec<(f64, u64)>> = BTreeMap::new();
        self.each_of_model(REQUEST_SECONDS, model, |version, metric| {
            let buckets = metric.get_histogram().get_bucket();
            let sums = times.entry(version.to_owned()).or_default();
            sums.resize(buckets.len(), (0.0, 0));
            for (sum, bucket) in sums.iter_mut().zip(buckets) {
                *sum = (bucket.upper_bound(), sum.1 + bucket.cumulative_count());
            }
        });
        times
    }

    /// Returns the requests of each version of a model, and how many of them failed.
    pub(crate) fn requests(&self, model: &str) -> BTreeMap<String, (u64, u64)> {
        let mut requests: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        self.each_of_model(REQUESTS, model, |version, metric| {
            let (all, failed) = requests.entry(version.to_owned()).or_default();
            let count = metric.get_counter().get_value() as u64;
            *all += count;
            if label(metric, "outcome") != Some("ok") {
                *failed += count;
            }
        });
        requests
    }

    /// Shows each series of a model in a family, with its version.
    fn each_of_model(&self, family: &str, model: &str, mut show: impl FnMut(&str, &Metric)) {
        let families = self.catalogue.gather();
        let family = families.iter().find(|f| f.name() == family);
        let of_model = |metric: &&Metric| label(metric, "model") == Some(model);
        let series = family.into_iter().flat_map(|f| f.get_metric());
        for metric in series.filter(of_model) {
            show(label(metric, "version").unwrap_or_default(), metric);
        }
    }

    /// Returns every family that Ortus declares, by name.
    pub(crate) fn families(&self) -> Vec<catalogue::Family> {
        self.catalogue.families()
    }

    /// Writes all series in the Prometheus text format.
    pub(crate) fn render(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(16 << 10);
        if let Err(error) = TextEncoder::new().encode(&self.catalogue.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be encoded");
        }

        text
    }

    /// Counts a refused request.
    pub(crate) fn reject(&self, protocol: Protocol, reason: Kind) {
        self.serving.reject(protocol, reason);
    }

    /// Counts a request that was copied to a shadow version.
    pub(crate) fn shadowed(&self, model: &ModelName, version: Version, outcome: &str) {
        self.serving.shadowed(model, version, outcome);
    }

    /// Returns the series of one version. They are removed when the last holder of the same
    /// version is dropped.
    pub(crate) fn servable(&self, model: &ModelName, version: Version) -> Arc<ServableMetrics> {
        self.serving.of(model, version)
    }
}

/// Returns the value of a label.
fn label<'m>(metric: &'m Metric, name: &str) -> Option<&'m str> {
    let found = metric.get_label().iter().find(|l| l.name() == name);
    found.map(|l| l.value())
}
