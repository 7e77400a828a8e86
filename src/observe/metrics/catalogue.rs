//! The registered metric families with type, labels and meaning, from which the reference,
//! dashboards and rules are generated.

use crate::core::error::{Error, Result};
use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, proto::MetricFamily,
};

/// A metric family.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Family {
    pub name: String,
    pub kind: MetricKind,
    pub labels: Vec<String>,
    pub help: String,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

/// Tells the type of a metric from its Rust type.
trait Kinded: Collector + Clone + 'static {
    const KIND: MetricKind;
}

macro_rules! kinded {
    ($($kind:ident: $($type:ty),*;)*) => {
        $($(impl Kinded for $type {
            const KIND: MetricKind = MetricKind::$kind;
        })*)*
    };
}
kinded! {
    Counter: IntCounter, IntCounterVec;
    Gauge: Gauge, GaugeVec, IntGauge, IntGaugeVec;
    Histogram: HistogramVec;
}

/// The registered families.
#[derive(Default)]
pub(super) struct Catalogue {
    registry: Registry,
    families: Mutex<Vec<Family>>,
}

impl Catalogue {
    /// Registers a counter without labels.
    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter> {
        self.register(IntCounter::new(name, help))
    }

    /// Registers counters with labels.
    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec> {
        self.register(IntCounterVec::new(Opts::new(name, help), labels))
    }

    /// Registers a gauge of integers without labels.
    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge> {
        self.register(IntGauge::new(name, help))
    }

    /// Registers gauges of integers with labels.
    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec> {
        self.register(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    /// Registers a gauge of fractions without labels.
    pub(super) fn float_gauge(&self, name: &str, help: &str) -> Result<Gauge> {
        self.register(Gauge::new(name, help))
    }

    /// Registers gauges of fractions with labels.
    pub(super) fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec> {
        self.register(GaugeVec::new(Opts::new(name, help), labels))
    }

    /// Registers histograms with labels.
    pub(super) fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, labels))
    }

    fn register<C: Kinded>(&self, made: prometheus::Result<C>) -> Result<C> {
        let family = made.map_err(|e| Error::internal("define a metric").with_source(e))?;
        let failed = |e| Error::internal("register a metric").with_source(e);
        self.registry
            .register(Box::new(family.clone()))
            .map_err(failed)?;
        self.families
            .lock()
            .extend(family.desc().into_iter().map(|desc| Family {
                name: desc.fq_name.clone(),
                kind: C::KIND,
                labels: desc.variable_labels.clone(),
                help: desc.help.clone(),
            }));
        Ok(family)
    }

    /// Registers metrics that a library defines. They are not in the list of families.
    pub(super) fn adopt(&self, collector: Box<dyn Collector>) -> Result<()> {
        self.registry
            .register(collector)
            .map_err(|e| Error::internal("register the process metrics").with_source(e))
    }

    /// Returns the current values.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// Returns the families, by name.
    pub(super) fn families(&self) -> Vec<Family> {
        let mut families = self.families.lock().clone();
        families.sort_by(|a, b| a.name.cmp(&b.name));
        families
    }
}
