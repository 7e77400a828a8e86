//! The drift report of one version: its counts, the tests of each column and the estimated
//! performance.

use super::{Source, Watch};
use crate::observe::drift::alarm::significance;
use crate::observe::drift::column::{Hints, Reading};
use crate::observe::drift::contract::Breaches;
use crate::observe::drift::layout::Side;
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::quality::companion;
use crate::observe::quality::estimate::{self, Estimate};
use serde::Serialize;

/// The drift report of a version.
#[derive(Serialize)]
pub(crate) struct Report<'w> {
    pub model: &'w str,
    pub version: u64,
    pub digest: String,
    pub baseline: Source,
    pub baseline_rows: u64,
    /// Rows seen, and those of them that counted in windows.
    pub rows: u64,
    pub sampled_rows: u64,
    /// Base windows closed.
    pub windows: u64,
    /// Significance level of each test.
    pub alpha: f64,
    pub alarms: usize,
    /// Of the last window, from its scores.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated: Option<Estimated<'w>>,
    pub columns: Vec<ColumnReport<'w>>,
}

/// Estimated performance and its assumption.
#[derive(Serialize)]
pub(crate) struct Estimated<'w> {
    #[serde(flatten)]
    pub estimate: &'w Estimate,
    pub assumption: &'static str,
}

/// A column of a report.
#[derive(Serialize)]
pub(crate) struct ColumnReport<'w> {
    pub name: String,
    pub side: Side,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<f64>,
    pub contract: Breaches,
    pub hints: Hints,
    pub tests: Vec<&'w Reading>,
}

impl Watch {
    /// Reports the current state.
    pub(crate) fn report(&self, settings: &MonitorSettings) -> Report<'_> {
        let (rows, mut breaches) = self.contracts.totals();
        let mut columns: Vec<ColumnReport<'_>> = Vec::new();
        for column in &self.columns {
            let (side, name) = (column.place.side, column.place.name.clone());
            let contract = breaches.remove(&(side, name.clone())).unwrap_or_default();
            columns.push(ColumnReport {
                name,
                side,
                importance: column.importance(),
                contract,
                hints: column.hints,
                tests: column.readings().collect(),
            });
        }
        // Those that no test looks at are still held to the contract.
        columns.extend(
            breaches
                .into_iter()
                .map(|((side, name), breaches)| ColumnReport {
                    name,
                    side,
                    importance: None,
                    contract: breaches,
                    hints: Hints::default(),
                    tests: Vec::new(),
                }),
        );
        Report {
            model: self.subject.model.as_str(),
            version: self.subject.version.number(),
            digest: self.subject.digest.to_string(),
            baseline: self.source,
            baseline_rows: self.baseline_rows,
            rows,
            sampled_rows: self.sampled_rows,
            windows: self.closed,
            alpha: significance(settings, self.columns.len()),
            estimated: self.estimated.as_ref().map(|estimate| {
                let of_scores = estimate.calibrated.is_some();
                let assumption = if of_scores {
                    estimate::ASSUMPTION
                } else {
                    companion::ASSUMPTION
                };
                Estimated {
                    estimate,
                    assumption,
                }
            }),
            alarms: columns
                .iter()
                .flat_map(|c| &c.tests)
                .filter(|t| t.alarm)
                .count(),
            columns,
        }
    }
}
