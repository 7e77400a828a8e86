//! Which columns have metric series of their own, and their values.

use crate::observe::drift::alarm::{Against, SPANS};
use crate::observe::metrics::monitor::ColumnFigures;
use crate::observe::report::drift::{ColumnDrift, VersionDrift};

/// Selects at most `most` columns: those of the highest feature importance first.
pub(super) fn columns<'r>(report: &'r VersionDrift, most: usize) -> Vec<ColumnFigures<'r>> {
    let mut columns: Vec<&'r ColumnDrift> = report.columns.iter().collect();
    columns.sort_by(|a, b| {
        b.importance
            .unwrap_or(0.0)
            .total_cmp(&a.importance.unwrap_or(0.0))
    });

    let show = |c: &'r ColumnDrift| {
        let newest = c
            .tests
            .iter()
            .filter(|t| t.against != Against::LastWeek && t.span == SPANS[0]);
        let raised = |metric| c.tests.iter().any(|t| t.metric == metric && t.alarm);
        ColumnFigures {
            column: &c.name,
            breaches: c.contract.counts(),
            distances: newest
                .map(|t| (t.metric.name(), t.value, raised(t.metric)))
                .collect(),
        }
    };

    columns.into_iter().take(most).map(show).collect()
}
