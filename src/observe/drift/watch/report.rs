//! The drift report of one version: its counts, the tests of each column and the estimated
//! performance.

#[cfg(test)]
mod tests;

use super::VersionWatch;
use super::parts::{PartColumn, WatchedPart};
use crate::core::count::counted;
use crate::observe::drift::alarm::significance;
use crate::observe::drift::column::WatchedColumn;
use crate::observe::drift::contract::Breaches;
use crate::observe::drift::kind::ColumnKind;
use crate::observe::drift::layout::Side;
use crate::observe::drift::settings::MonitorSettings;
use crate::observe::quality::companion;
use crate::observe::quality::estimate::{self, Estimate};
use crate::observe::report::column::BreachTest;
use crate::observe::report::drift::{ColumnDrift, Hints, PartDrift, VersionDrift};
use crate::observe::report::performance::{EstimatedPerformance, named};

impl VersionWatch {
    /// Returns the drift report of this server's own windows.
    pub(crate) fn report(&self, settings: &MonitorSettings) -> VersionDrift {
        let (rows, mut breaches) = self.contracts.totals();
        let alarms_of = |side: Side, name: &String| {
            let at = self.contract_columns.get(&(side, name.clone()));
            at.map(|at| self.breaches.of(*at)).unwrap_or_default()
        };
        let mut columns: Vec<ColumnDrift> = Vec::new();
        for column in &self.columns {
            let (side, name) = column.key();
            let contract = breaches.remove(&(side, name.clone())).unwrap_or_default();
            columns.push(ColumnDrift {
                contract,
                breaches: alarms_of(side, &name),
                ..self.column_report(column, settings)
            });
        }

        // Columns without tests are still checked against the contract.
        columns.extend(breaches.into_iter().map(|((side, name), breaches)| {
            let alarms = alarms_of(side, &name);
            self.untested((side, name), breaches, alarms)
        }));

        let parts = self.part_reports(settings);
        VersionDrift {
            model: self.subject.model.to_string(),
            version: self.subject.version.number(),
            digest: self.subject.digest.to_string(),
            baseline: self.source,
            baseline_rows: self.baseline_rows,
            gathered_rows: self.gathered(settings).map(|(rows, _)| rows),
            own_rows: self.gathered(settings).map(|(_, needed)| needed),
            rows,
            sampled_rows: self.sampled_rows,
            windows: self.closed,
            alpha: significance(settings, self.tested(), settings.window_min),
            estimated: self
                .estimated
                .as_ref()
                .map(|estimate| estimated(estimate, doubt(&columns, &parts))),
            alarms: columns.iter().map(ColumnDrift::alarms).sum::<usize>()
                + parts.iter().map(|part| part.alarms).sum::<usize>(),
            incidents: Vec::new(),
            differences: self.differences.clone(),
            columns,
            parts,
            sample_share: None,
            counted_share: None,
            dropped_requests: None,
            fleet: None,
        }
    }

    /// Reports the parts of slices.
    fn part_reports(&self, settings: &MonitorSettings) -> Vec<PartDrift> {
        let mut columns: Vec<Vec<&PartColumn>> = vec![Vec::new(); self.parts.parts.len()];
        for column in &self.parts.columns {
            columns[column.part].push(column);
        }
        let one = |(part, columns): (&WatchedPart, Vec<&PartColumn>)| {
            let alarms_of = |c: &&PartColumn| c.watched.test_results().filter(|t| t.alarm).count();
            let rows = columns.iter().map(|c| c.watched.recent_rows()).max();
            let mut shown: Vec<&PartColumn> = columns
                .iter()
                .copied()
                .filter(|column| alarms_of(column) > 0)
                .collect();
            if shown.is_empty() {
                let near = |c: &&&PartColumn| c.watched.nearest();
                shown.extend(columns.iter().max_by(|a, b| near(a).total_cmp(&near(b))));
            }
            PartDrift {
                of: part.of.clone(),
                baseline_rows: part.baseline_rows,
                rows: rows.unwrap_or(0),
                columns_total: columns.len(),
                alarms: columns.iter().map(alarms_of).sum(),
                columns: shown
                    .into_iter()
                    .map(|column| ColumnDrift {
                        name: column.name.clone(),
                        part: Some(part.of.clone()),
                        ..self.column_report(&column.watched, settings)
                    })
                    .collect(),
            }
        };
        self.parts.parts.iter().zip(columns).map(one).collect()
    }

    /// Reports a column that has no tests.
    fn untested(
        &self,
        (side, name): (Side, String),
        contract: Breaches,
        breaches: Vec<BreachTest>,
    ) -> ColumnDrift {
        ColumnDrift {
            part: None,
            importance: None,
            contract,
            kind: ColumnKind::default(),
            reason: String::new(),
            ignored: self.subject.rules.ignores(&name),
            smallest: None,
            then: None,
            now: None,
            changed: None,
            pair: None,
            breaches,
            hints: Hints::default(),
            tests: Vec::new(),
            name,
            side,
        }
    }

    /// Reports a column without its contract.
    fn column_report(&self, column: &WatchedColumn, settings: &MonitorSettings) -> ColumnDrift {
        let (kind, reason) = column.kind();
        let (then, now) = column.summaries();
        let (side, name) = column.key();
        ColumnDrift {
            part: None,
            importance: column.importance(),
            contract: Breaches::default(),
            kind,
            reason: reason.to_owned(),
            ignored: false,
            smallest: column.smallest(settings, self.tested()),
            then: Some(then),
            now,
            changed: column.changed(),
            pair: self.changed_pair(column),
            breaches: Vec::new(),
            hints: column.hints,
            tests: column.test_results().cloned().collect(),
            name,
            side,
        }
    }
}

/// Says why an estimate cannot be relied on; none if nothing speaks against it.
fn doubt(columns: &[ColumnDrift], parts: &[PartDrift]) -> Option<String> {
    let of_parts = parts.iter().flat_map(|part| &part.columns);
    let mut in_alarm: Vec<&ColumnDrift> = Vec::new();
    for column in columns.iter().chain(of_parts) {
        // What is told of the whole is not told of a part again.
        let is_new = in_alarm.iter().all(|known| known.name != column.name);
        if column.side == Side::Input && column.alarms() > 0 && is_new {
            in_alarm.push(column);
        }
    }
    let (first, more) = (in_alarm.first()?, in_alarm.len() - 1);
    let others = if more > 0 {
        format!(" and {} are", counted(more, "more input"))
    } else {
        " is".to_owned()
    };
    Some(format!(
        "{}{others} in alarm: the model is asked for rows unlike those that the estimate rests on",
        first.described()
    ))
}

/// Returns an estimate with its assumption.
fn estimated(estimate: &Estimate, doubt: Option<String>) -> EstimatedPerformance {
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
        doubt,
    }
}
