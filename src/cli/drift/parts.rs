//! Prints the parts of slices: those in alarm, and how many are as in the baseline.

use super::typical;
use crate::cli::print::{TextTable, line};
use crate::observe::report::drift::VersionDrift;
use crate::observe::report::status;
use crate::observe::report::story::named;

/// Slices that are named.
const NAMED_MAX: usize = 4;

/// Prints the parts.
pub(super) fn show(report: &VersionDrift) {
    if report.parts.is_empty() {
        return;
    }
    let mut slices: Vec<&str> = report.parts.iter().map(|p| p.of.slice.as_str()).collect();
    slices.dedup();
    let raised = report.parts.iter().filter(|part| part.alarms > 0).count();
    line(&format!(
        "Slices by {}: {raised} of {} parts in alarm",
        named(&slices, NAMED_MAX),
        report.parts.len()
    ));
    if raised == 0 {
        return;
    }

    let mut table = TextTable::new(&[
        "slice",
        "part",
        "rows",
        "column",
        "baseline",
        "now",
        "distance",
        "lower bound",
        "threshold",
        "status",
    ]);
    for part in report.parts.iter().filter(|part| part.alarms > 0) {
        for column in &part.columns {
            let Some(test) = status::main_test(column) else {
                continue;
            };
            table.row(&[
                &part.of.slice,
                &part.of.part,
                &part.rows.to_string(),
                &column.name,
                &typical(column.then.as_ref()),
                &typical(column.now.as_ref()),
                &format!("{} {:.4}", test.metric.name(), test.value),
                &format!("{:.4}", test.lower),
                &format!("{:.4}", test.threshold),
                &format!("ALARM {}", status::text(column, report)),
            ]);
        }
    }
    table.print();
}
