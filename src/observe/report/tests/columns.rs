//! Columns of reports with every optional member, or with none.

use crate::observe::drift::alarm::{Against, Metric};
use crate::observe::drift::contract::{BreachKind, Breaches};
use crate::observe::drift::kind::ColumnKind;
use crate::observe::drift::layout::Side;
use crate::observe::report::column::{
    BreachTest, CategoryShare, ColumnSummary, DriftTest, ShareChange, SlicePart,
};
use crate::observe::report::drift::{ColumnDrift, ColumnPair, Hints};

pub(super) fn test() -> DriftTest {
    DriftTest {
        metric: Metric::Ks,
        against: Against::LastWeek,
        span: 0,
        value: 0.5,
        lower: 0.25,
        certain: 0.2,
        threshold: 0.125,
        rows: 10,
        effective_rows: 8.0,
        baseline_rows: 20,
        alarm: true,
    }
}

pub(super) fn summary() -> ColumnSummary {
    ColumnSummary {
        rows: 10,
        missing: 0.5,
        mean: Some(1.0),
        median: Some(2.0),
        largest: Some(CategoryShare {
            value: "red".to_owned(),
            share: 0.5,
        }),
    }
}

pub(super) fn part() -> SlicePart {
    SlicePart {
        slice: "region".to_owned(),
        part: "north".to_owned(),
    }
}

pub(super) fn breach() -> BreachTest {
    BreachTest {
        kind: BreachKind::Above,
        share: 0.5,
        lower: 0.4,
        allowed: 0.01,
        breaches: 500,
        rows: 1_000,
        seconds: 60,
        alarm: true,
    }
}

/// A column with every optional member, or with none.
pub(super) fn column(is_full: bool) -> ColumnDrift {
    ColumnDrift {
        name: "age".to_owned(),
        side: Side::Input,
        part: is_full.then(part),
        importance: is_full.then_some(0.5),
        contract: Breaches::default(),
        kind: ColumnKind::Stationary,
        reason: "its distribution is the same throughout the baseline".to_owned(),
        ignored: false,
        smallest: is_full.then_some(0.1),
        then: is_full.then(summary),
        now: is_full.then(summary),
        changed: is_full.then(|| ShareChange {
            value: "red".to_owned(),
            then: 0.1,
            now: 0.5,
        }),
        pair: is_full.then(|| ColumnPair {
            columns: ("age".to_owned(), "income".to_owned()),
            then: 0.9,
            now: 0.0,
        }),
        breaches: vec![breach()],
        hints: Hints {
            constant: false,
            scale: is_full.then_some(10.0),
        },
        tests: vec![test()],
    }
}
