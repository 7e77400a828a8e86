//! Tests of `log` with a store that hangs, and with one that is full.

use super::*;
use crate::core::error::Kind;
use crate::observe::quality::answer::Label;
use crate::storage::store::Store;
use crate::storage::store::faulty::{Fault, Faulty};
use std::sync::Arc;
use uuid::Uuid;

fn lines() -> Vec<LabelLine> {
    vec![LabelLine {
        format: line::FORMAT,
        prediction_id: Uuid::now_v7(),
        row: 0,
        label: Label::Number(1.0),
        time: Utc::now(),
        joined: None,
    }]
}

#[test]
fn a_store_that_hangs_keeps_later_labels_waiting_for_a_while_only() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let store = Arc::<Faulty>::default();
    let records = Records::of(Store::of(Arc::<Faulty>::clone(&store) as _), "n");
    let limit = Duration::from_millis(1);
    let log = LabelLog::start_within(limit, records, runtime.handle());
    store.plan(&[Fault::StalledCreate]);

    // However slow this machine is, the first write hangs and a later one is done within the limit.
    let mut refused = Vec::new();
    while let Err(error) = runtime.block_on(log.append(lines())) {
        refused.push(error);
    }
    assert!(store.is_through() && !refused.is_empty());
    for error in refused {
        assert_eq!(error.kind, Kind::DeadlineExceeded, "{error}");
    }
}

#[test]
fn labels_that_a_full_store_does_not_take_are_refused() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let store = Arc::<Faulty>::default();
    let records = Records::of(Store::of(Arc::<Faulty>::clone(&store) as _), "n");
    let log = LabelLog::start(records, runtime.handle());
    store.plan(&[Fault::LostRequest]);
    runtime
        .block_on(log.append(lines()))
        .expect_err("not stored");
    runtime.block_on(log.append(lines())).expect("stored");
}
