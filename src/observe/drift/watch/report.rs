//! The drift report of one version: its counts, the tests of each column and the estimated
//! performance.

use super::VersionWatch;
use crate::observe::drift::alarm::significance;
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::quality::companion;
use crate::observe::quality::estimate::{self, Estimate};
use crate::observe::report::drift::{ColumnDrift, Hints, VersionDrift};
use crate::observe::report::performance::{EstimatedPerformance, named};

impl VersionWatch {
    /// Returns the drift report of this server's own windows.
    pub(crate) fn report(&self, settings: &MonitorSettings) -> VersionDrift {
        let (rows, mut breaches) = self.contracts.totals();
        let mut columns: Vec<ColumnDrift> = Vec::new();
        for column in &self.columns {
            let (side, name) = (column.place.side, column.place.name.clone());
            let contract = breaches.remove(&(side, name.clone())).unwrap_or_default();
            columns.push(ColumnDrift {
                name,
                side,
                importance: column.importance(),
                contract,
                hints: column.hints,
                tests: column.test_results().cloned().collect(),
            });
        }

        // Columns without tests are still checked against the contract.
        columns.extend(
            breaches
                .into_iter()
                .map(|((side, name), breaches)| ColumnDrift {
                    name,
                    side,
                    importance: None,
                    contract: breaches,
                    hints: Hints::default(),
                    tests: Vec::new(),
                }),
        );

        VersionDrift {
            model: self.subject.model.to_string(),
            version: self.subject.version.number(),
            digest: self.subject.digest.to_string(),
            baseline: self.source,
            baseline_rows: self.baseline_rows,
            rows,
            sampled_rows: self.sampled_rows,
            windows: self.closed,
            alpha: significance(settings, self.columns.len()),
            estimated: self.estimated.as_ref().map(estimated),
            alarms: columns
                .iter()
                .flat_map(|c| &c.tests)
                .filter(|t| t.alarm)
                .count(),
            columns,
            sample_share: None,
            dropped_requests: None,
            fleet: None,
        }
    }
}

/// Returns an estimate with its assumption.
fn estimated(estimate: &Estimate) -> EstimatedPerformance {
    let assumption = if estimate.calibrated.is_some() {
        estimate::ASSUMPTION
    } else {
        companion::ASSUMPTION
    };

    EstimatedPerformance {
        rows: estimate.rows,
        measures: named(&estimate.measures),
        margin: estimate.margin,
        calibrated: estimate.calibrated,
        assumption: assumption.to_owned(),
    }
}
