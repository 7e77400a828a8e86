//! Metrics of the monitor: rows, contract violations, distances and alarms. Only some columns have
//! series of their own; the operator API reports all of them.

#[cfg(test)]
mod tests;

use super::catalogue::Catalogue;
use crate::core::error::Result;
use crate::core::model::{ModelName, Version};
use parking_lot::Mutex;
use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The families of monitoring.
#[derive(Clone)]
pub(crate) struct MonitorFamilies {
    rows: IntCounterVec,
    sampled: IntCounterVec,
    dropped: IntCounterVec,
    breaches: IntCounterVec,
    drift: GaugeVec,
    drift_alarm: IntGaugeVec,
    alarms: IntGaugeVec,
    incidents: IntGaugeVec,
    begun: IntCounterVec,
    estimated: GaugeVec,
    fleet_alarms: IntGaugeVec,
    fleet_servers: IntGauge,
    /// The share of requests that is sampled.
    pub sample_share: Gauge,
    /// Monitors of each version that use its series: two while new bytes replace it.
    holders: Arc<Mutex<HashMap<[String; 2], usize>>>,
}

const SERVED: &[&str] = &["model", "version"];

impl MonitorFamilies {
    /// Registers the families.
    pub(super) fn new(r: &Catalogue) -> Result<Self> {
        let of_column = &["model", "version", "column", "metric"];
        Ok(Self {
            rows: r.counters(
                "ortus_monitor_rows_total",
                "Rows of requests that were answered.",
                SERVED,
            )?,
            sampled: r.counters(
                "ortus_monitor_sampled_rows_total",
                "Rows that were sampled into windows.",
                SERVED,
            )?,
            dropped: r.counters(
                "ortus_monitor_dropped_total",
                "Answered requests that were neither counted nor kept for labels because the queue of the monitor was full.",
                SERVED,
            )?,
            breaches: r.counters(
                "ortus_contract_breaches_total",
                "Contract violations of input values, by kind: nan, infinite, below or above the range of the baseline, unseen or empty.",
                &["model", "version", "column", "kind"],
            )?,
            drift: r.float_gauges("ortus_drift", "Distance between the last window and the baseline, by drift metric.", of_column)?,
            drift_alarm: r.gauges("ortus_drift_alarm", "1 while a drift test of the column is in alarm.", of_column)?,
            alarms: r.gauges("ortus_drift_alarms", "Drift and contract tests in alarm, over all columns.", SERVED)?,
            incidents: r.gauges("ortus_incidents", "Open incidents: alarms of one cause are one incident.", SERVED)?,
            begun: r.counters(
                "ortus_drift_alarms_total",
                "Drift and contract alarms that started, over all columns.",
                SERVED,
            )?,
            fleet_alarms: r.gauges("ortus_fleet_drift_alarms", "Drift tests in alarm on the merged windows of the fleet.", SERVED)?,
            fleet_servers: r.gauge("ortus_fleet_servers", "Servers whose windows are in the last merged window of the fleet.")?,
            estimated: r.float_gauges("ortus_estimated_performance", "Performance estimated without labels from the scores of the last window, by metric; absent while an input is in alarm.", &["model", "version", "metric"])?,
            sample_share: r.float_gauge("ortus_monitor_sample_ratio", "Share of requests that is sampled into windows.")?,
            holders: Arc::default(),
        })
    }

    /// Returns the series of the fleet.
    pub(crate) fn fleet(&self) -> FleetSeries {
        FleetSeries {
            servers: self.fleet_servers.clone(),
            alarms: self.fleet_alarms.clone(),
        }
    }

    /// Returns the series of one version. They are removed when the last monitor of the same
    /// version is dropped.
    pub(crate) fn of(&self, model: &ModelName, version: Version) -> MonitorMetrics {
        let labels = [model.to_string(), version.to_string()];
        *self.holders.lock().entry(labels.clone()).or_default() += 1;
        let served = [labels[0].as_str(), labels[1].as_str()];
        MonitorMetrics {
            rows: self.rows.with_label_values(&served),
            sampled: self.sampled.with_label_values(&served),
            dropped: self.dropped.with_label_values(&served),
            alarms: self.alarms.with_label_values(&served),
            incidents: self.incidents.with_label_values(&served),
            begun: self.begun.with_label_values(&served),
            known_rows: (0, 0),
            counted: BTreeMap::new(),
            measured: BTreeSet::new(),
            estimated: BTreeSet::new(),
            families: self.clone(),
            labels,
        }
    }
}

/// The series of the fleet.
pub(crate) struct FleetSeries {
    servers: IntGauge,
    alarms: IntGaugeVec,
}

impl FleetSeries {
    /// Sets the number of servers, and of the tests in alarm for each version. The series of other
    /// versions are removed.
    pub(crate) fn set<'v>(
        &self,
        servers: u64,
        versions: impl Iterator<Item = (&'v str, u64, u64)>,
    ) {
        self.servers.set(i64::try_from(servers).unwrap_or(i64::MAX));
        self.alarms.reset();
        for (model, version, alarms) in versions {
            let version = version.to_string();
            self.alarms
                .with_label_values(&[model, &version])
                .set(i64::try_from(alarms).unwrap_or(i64::MAX));
        }
    }
}

/// The metrics of one column.
pub(crate) struct ColumnFigures<'c> {
    pub column: &'c str,
    /// Violations so far, by kind.
    pub breaches: [(&'static str, u64); 6],
    /// Distance, and whether its test is in alarm, by metric.
    pub distances: Vec<(&'static str, f64, bool)>,
}

/// The series of one version.
pub(crate) struct MonitorMetrics {
    rows: IntCounter,
    sampled: IntCounter,
    /// Requests that were not monitored.
    pub dropped: IntCounter,
    alarms: IntGauge,
    /// Incidents that are open.
    pub incidents: IntGauge,
    /// Alarms that started.
    pub begun: IntCounter,
    /// Rows and sampled rows that are in the metrics already.
    known_rows: (u64, u64),
    /// Violations that are in the metrics already, by column and kind.
    counted: BTreeMap<(String, &'static str), u64>,
    measured: BTreeSet<(String, &'static str)>,
    estimated: BTreeSet<&'static str>,
    families: MonitorFamilies,
    labels: [String; 2],
}

impl MonitorMetrics {
    /// Sets the rows, the sampled rows, the alarms and the columns.
    pub(crate) fn set(
        &mut self,
        (rows, sampled): (u64, u64),
        alarms: usize,
        columns: &[ColumnFigures<'_>],
    ) {
        let (known, known_sampled) = std::mem::replace(&mut self.known_rows, (rows, sampled));
        self.rows.inc_by(rows.saturating_sub(known));
        self.sampled.inc_by(sampled.saturating_sub(known_sampled));
        self.alarms.set(i64::try_from(alarms).unwrap_or(i64::MAX));
        let [model, version] = [self.labels[0].as_str(), self.labels[1].as_str()];
        for shown in columns {
            for (kind, total) in shown.breaches {
                let known = self
                    .counted
                    .entry((shown.column.to_owned(), kind))
                    .or_insert(0);
                // A series that is always 0 would only use space.
                if total > *known {
                    let labels = [model, version, shown.column, kind];
                    self.families
                        .breaches
                        .with_label_values(&labels)
                        .inc_by(total - *known);
                    *known = total;
                }
            }
            for (metric, value, alarm) in &shown.distances {
                let labels = [model, version, shown.column, metric];
                self.families.drift.with_label_values(&labels).set(*value);
                self.families
                    .drift_alarm
                    .with_label_values(&labels)
                    .set(i64::from(*alarm));
                self.measured.insert((shown.column.to_owned(), metric));
            }
        }
    }
}

impl MonitorMetrics {
    /// Sets the estimated performance.
    pub(crate) fn estimate(&mut self, measures: &BTreeMap<&'static str, f64>) {
        let [model, version] = [self.labels[0].as_str(), self.labels[1].as_str()];
        for (metric, value) in measures {
            self.families
                .estimated
                .with_label_values(&[model, version, metric])
                .set(*value);
            self.estimated.insert(metric);
        }
    }

    /// Removes the series of the estimated performance.
    pub(crate) fn withhold_estimate(&mut self) {
        let [model, version] = [self.labels[0].as_str(), self.labels[1].as_str()];
        for metric in std::mem::take(&mut self.estimated) {
            let labels = [model, version, metric];
            let _ = self.families.estimated.remove_label_values(&labels);
        }
    }
}

impl MonitorFamilies {
    /// Gives up one hold on the series of a version. Tells whether it was the last.
    fn release(&self, labels: &[String; 2]) -> bool {
        let mut holders = self.holders.lock();
        let left = holders.get_mut(labels).map_or(0, |n| {
            *n -= 1;
            *n
        });
        if left == 0 {
            holders.remove(labels);
        }
        left == 0
    }
}

impl Drop for MonitorMetrics {
    fn drop(&mut self) {
        let [model, version] = [self.labels[0].as_str(), self.labels[1].as_str()];
        // Removing fails for a series that was never set, which is fine. Another monitor of the
        // version sets again what it has of these.
        for metric in &self.estimated {
            let _ = self
                .families
                .estimated
                .remove_label_values(&[model, version, metric]);
        }

        for (column, kind) in self.counted.keys() {
            let _ = self
                .families
                .breaches
                .remove_label_values(&[model, version, column, kind]);
        }

        for (column, metric) in &self.measured {
            let _ = self
                .families
                .drift
                .remove_label_values(&[model, version, column, metric]);
            let _ = self
                .families
                .drift_alarm
                .remove_label_values(&[model, version, column, metric]);
        }

        if !self.families.release(&self.labels) {
            return;
        }
        for family in [
            &self.families.rows,
            &self.families.sampled,
            &self.families.dropped,
            &self.families.begun,
        ] {
            let _ = family.remove_label_values(&[model, version]);
        }
        let _ = self.families.alarms.remove_label_values(&[model, version]);
        let served = [model, version];
        let _ = self.families.incidents.remove_label_values(&served);
    }
}
