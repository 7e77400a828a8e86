//! Which columns have metric series of their own, and their values.

use crate::observe::drift::alarm::{Against, SPANS};
use crate::observe::drift::watch::report::{ColumnReport, Report};
use crate::observe::metrics::monitor::Shown;

/// Selects at most `most` columns: those of the highest feature importance first.
pub(super) fn columns<'r>(report: &'r Report<'_>, most: usize) -> Vec<Shown<'r>> {
    let mut columns: Vec<&ColumnReport<'_>> = report.columns.iter().collect();
    columns.sort_by(|a, b| {
        b.importance
            .unwrap_or(0.0)
            .total_cmp(&a.importance.unwrap_or(0.0))
    });
    let show = |c: &&'r ColumnReport<'_>| {
        let breaches = c.contract;
        let newest = c
            .tests
            .iter()
            .filter(|t| t.against == Against::Training && t.span == SPANS[0]);
        let raised = |metric| c.tests.iter().any(|t| t.metric == metric && t.alarm);
        Shown {
            column: &c.name,
            breaches: [
                ("nan", breaches.nan),
                ("infinite", breaches.infinite),
                ("below", breaches.below),
                ("above", breaches.above),
                ("unseen", breaches.unseen),
                ("empty", breaches.empty),
            ],
            distances: newest
                .map(|t| (t.metric.word(), t.value, raised(t.metric)))
                .collect(),
        }
    };
    columns.iter().take(most).map(show).collect()
}
