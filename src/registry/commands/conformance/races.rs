//! Several writers at once: commits, namespaces, garbage collection during pushes.

use super::{SuiteSize, name, operator, push, version};
use crate::core::hash::Digest;
use crate::registry::commands::gc::GcRules;
use crate::registry::entry::Op;
use crate::registry::fold::NamespaceState;
use crate::registry::log::{Author, Log};
use std::time::Duration;

pub(super) async fn racing_writers_each_commit_once(log: &Log, scale: SuiteSize) {
    let writers = (0..scale.writers).map(|writer| {
        let log = log.clone();
        tokio::spawn(async move {
            let author = Author {
                actor: format!("writer {writer}"),
                reason: String::new(),
            };
            let mut state = NamespaceState::default();
            for commit in 0..scale.commits {
                let decide = |state: &NamespaceState| {
                    let last = state
                        .models
                        .get("m")
                        .and_then(|m| m.versions.last_key_value());
                    let next = last.map_or(1, |(v, _)| v.number() + 1);
                    let manifest = Digest::of(format!("{writer}/{commit}").as_bytes());
                    let op = Op::Version {
                        model: name("m"),
                        version: version(next),
                        manifest,
                        blobs: Vec::new(),
                        signatures: Vec::new(),
                        run: None,
                    };
                    Ok(vec![op].into())
                };
                state = log
                    .commit(state, &author, None, &decide)
                    .await
                    .expect("committed")
                    .state;
            }
        })
    });

    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer");
    }
    let all = scale.writers * scale.commits;
    let mut whole = NamespaceState::default();
    log.catch_up(&mut whole).await.expect("the chain holds");
    let model = &whole.models["m"];
    assert_eq!(
        (whole.seq, model.versions.len(), whole.void.len()),
        (all as u64, all, 0)
    );
    let distinct: std::collections::BTreeSet<_> =
        model.versions.values().map(|r| r.manifest).collect();
    assert_eq!(distinct.len(), all, "an update was lost or doubled");
    assert_eq!(
        log.load().await.expect("loads"),
        whole,
        "a checkpoint does not match the state computed from the log"
    );
}

pub(super) async fn namespaces_do_not_see_each_other(one: &Log, two: &Log) {
    push(&operator(one, "ann"), "m", 1.0, None).await;
    assert!(two.load().await.expect("loads").models.is_empty());
    assert!(Log::new(one.store.clone(), "../one").is_err());
    // Both namespaces have the same bytes, and only the first still uses them.
    // Garbage collection in the second must not touch the first.
    push(&operator(two, "ann"), "m", 1.0, None).await;
    operator(two, "ann")
        .retire(&name("m"), "1")
        .await
        .expect("retired");
    let young = GcRules {
        grace: Duration::from_secs(3600),
        ..NOW
    };

    let swept = operator(two, "ann").gc(young).await.expect("swept");
    assert_eq!((swept.blobs, swept.young), (0, 2));
    let retained = GcRules {
        retain: Duration::from_secs(3600),
        ..NOW
    };

    assert_eq!(
        operator(two, "ann")
            .gc(retained)
            .await
            .expect("swept")
            .blobs,
        0
    );

    let dry = operator(two, "ann")
        .gc(GcRules {
            dry_run: true,
            ..NOW
        })
        .await
        .expect("looked");
    let swept = operator(two, "ann").gc(NOW).await.expect("swept");

    assert_eq!(
        (dry.blobs, dry.bytes, swept.blobs, swept.bytes),
        (2, swept.bytes, 2, dry.bytes)
    );
    operator(one, "ann")
        .verify(&|_| {})
        .await
        .expect("untouched");
    operator(two, "ann")
        .verify(&|_| {})
        .await
        .expect("complete without the deleted blobs");
    // Deleted content can be pushed again.
    assert_eq!(push(&operator(two, "ann"), "m", 1.0, None).await, (2, true));

    operator(two, "ann").verify(&|_| {}).await.expect("whole");
}

/// No grace and no retention.
const NOW: GcRules = GcRules {
    grace: Duration::ZERO,
    retain: Duration::ZERO,
    dry_run: false,
};

pub(super) async fn garbage_collection_during_pushes_deletes_no_blob_in_use(
    log: &Log,
    scale: SuiteSize,
) {
    let rounds = scale.commits.min(25);
    let sweeper = {
        let log = log.clone();
        tokio::spawn(async move {
            for _ in 0..rounds * 3 {
                operator(&log, "gc").gc(NOW).await.expect("swept");
            }
        })
    };

    let pusher = operator(log, "ann");
    for round in 0..rounds {
        // The same three files again and again, each retired before the next.
        let (version, new) = push(&pusher, "m", (round % 3) as f32, None).await;
        assert!(new, "a retired version was mistaken for one in use");
        pusher
            .verify(&|_| {})
            .await
            .expect("the version has its bytes");
        pusher
            .retire(&name("m"), &version.to_string())
            .await
            .expect("retired");
    }

    sweeper.await.expect("the sweeper");
    let state = log.load().await.expect("loads");
    assert!(state.void.is_empty(), "{:?}", state.void);
}
