//! Metrics of the server as a whole: connections, memory of requests, and the registry it follows.

use super::catalogue::Catalogue;
use crate::core::error::Result;
use prometheus::{Gauge, IntCounter, IntGauge};

/// The families of the data listeners.
pub(crate) struct ListenerFamilies {
    /// Open connections.
    pub connections: IntGauge,
    /// Connections refused because of the limit.
    pub connections_refused: IntCounter,
    /// Bytes of requests in progress.
    pub bytes_in_flight: IntGauge,
}

impl ListenerFamilies {
    /// Registers the families.
    pub(super) fn new(r: &Catalogue) -> Result<Self> {
        Ok(Self {
            connections: r.gauge(
                "ortus_connections",
                "Open connections on the data listeners.",
            )?,
            connections_refused: r.counter(
                "ortus_connections_refused_total",
                "Connections refused because limits.connections_max was reached.",
            )?,
            bytes_in_flight: r.gauge("ortus_bytes_in_flight", "Bytes of requests in progress.")?,
        })
    }
}

/// The families of a model directory.
pub(crate) struct DirectoryFamilies {
    /// Folders that cannot be looked into.
    pub trouble: IntGauge,
    /// Folders and files that are not served.
    pub unserved: IntGauge,
}

impl DirectoryFamilies {
    /// Registers the families.
    pub(super) fn new(r: &Catalogue) -> Result<Self> {
        Ok(Self {
            trouble: r.gauge(
                "ortus_model_directory_trouble",
                "Folders of the model directory that cannot be looked into; their loaded versions keep serving.",
            )?,
            unserved: r.gauge(
                "ortus_model_directory_unserved",
                "Folders and files in the model directory that are not served; the repository index gives the reasons.",
            )?,
        })
    }
}

/// The families of a followed registry.
pub(crate) struct RegistryFamilies {
    /// Number of the last log entry that was applied.
    pub entry: IntGauge,
    /// 1 while the log is refused.
    pub refused: IntGauge,
    /// Seconds since the registry was last read.
    pub staleness_seconds: Gauge,
}

impl RegistryFamilies {
    /// Registers the families.
    pub(super) fn new(r: &Catalogue) -> Result<Self> {
        Ok(Self {
            entry: r.gauge(
                "ortus_registry_entry",
                "Number of the last registry log entry that this server applied.",
            )?,
            refused: r.gauge(
                "ortus_registry_refused",
                "1 while the server refuses the registry log: forked, rolled back, or dated in the future.",
            )?,
            staleness_seconds: r.float_gauge(
                "ortus_registry_staleness_seconds",
                "Time since the registry was last read successfully.",
            )?,
        })
    }
}
