//! The registered metric families with type, labels and meaning, from which the reference,
//! dashboards and rules are generated.

use crate::core::error::{Error, Result};
use parking_lot::Mutex;
use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    proto::MetricFamily,
};

/// A family.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Family {
    pub name: String,
    pub kind: Kind,
    pub labels: Vec<String>,
    pub help: String,
}

/// How its values behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A family's kind is its type's.
pub(super) trait Kinded: Collector + Clone + 'static {
    const KIND: Kind;
}

macro_rules! kinded {
    ($($kind:ident: $($type:ty),*;)*) => {
        $($(impl Kinded for $type {
            const KIND: Kind = Kind::$kind;
        })*)*
    };
}
kinded! {
    Counter: IntCounter, IntCounterVec;
    Gauge: Gauge, GaugeVec, IntGauge, IntGaugeVec;
    Histogram: HistogramVec;
}

/// Every family that was registered.
#[derive(Default)]
pub(super) struct Catalogue {
    registry: Registry,
    families: Mutex<Vec<Family>>,
}

impl Catalogue {
    /// Adds a family.
    pub(super) fn put<C: Kinded>(&self, made: prometheus::Result<C>) -> Result<C> {
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

    /// Adds what another library defines.
    pub(super) fn adopt(&self, collector: Box<dyn Collector>) -> Result<()> {
        self.registry
            .register(collector)
            .map_err(|e| Error::internal("register the process metrics").with_source(e))
    }

    /// The values of the moment.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// The families, by their names.
    pub(super) fn families(&self) -> Vec<Family> {
        let mut families = self.families.lock().clone();
        families.sort_by(|a, b| a.name.cmp(&b.name));
        families
    }
}
