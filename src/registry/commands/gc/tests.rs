//! Garbage collection measures ages by the store's clock, not by the writers'.

use super::*;
use crate::registry::commands::conformance::{name, operator, push, version};
use crate::registry::entry::{Entry, FORMAT};
use crate::registry::log::Log;
use crate::storage::store::Store;

/// Retires version 1 by a writer whose clock is off by so many days.
async fn retire_by_a_clock_off_by(log: &Log, days: i64) {
    let state = log.load().await.expect("loads");
    let entry = Entry {
        format: FORMAT,
        seq: state.seq + 1,
        prev: state.hash,
        nonce: uuid::Uuid::nil(),
        time: crate::registry::log::now() + TimeDelta::days(days),
        writer: "test".to_owned(),
        actor: "ann".to_owned(),
        reason: String::new(),
        ops: vec![Op::Retire {
            model: name("m"),
            version: version(1),
        }],
        evidence: Vec::new(),
    };

    log.store
        .create(&log.entry_key(entry.seq), entry.write(None))
        .await
        .expect("written");
}

#[tokio::test]
async fn a_wrong_clock_of_a_writer_does_not_change_when_blobs_are_deleted() {
    for days in [-365, 0, 365] {
        let log =
            Log::new(Store::open("memory://", true).expect("a store"), "n").expect("a namespace");
        let ann = operator(&log, "ann");
        push(&ann, "m", 1.0, None).await;
        push(&ann, "m", 2.0, None).await;
        retire_by_a_clock_off_by(&log, days).await;
        let sweep = async |retain| {
            let rules = GcRules {
                grace: Duration::ZERO,
                retain: Duration::from_secs(retain),
                dry_run: false,
            };
            ann.gc(rules).await.expect("swept").blobs
        };
        assert_eq!(
            sweep(30 * 86_400).await,
            0,
            "retired today, whatever {days} days off says"
        );
        assert_eq!(sweep(0).await, 2, "the model and the manifest of version 1");
        ann.verify(&|_| {}).await.expect("whole");
        assert_eq!(log.load().await.expect("loads").void.len(), 0);
    }
}
