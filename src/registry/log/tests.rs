//! Commits on a store that loses responses, refuses without a reason, or returns
//! old data; and entries and checkpoints that are malformed or forged.

use super::*;
use crate::core::hash::Digest;
use crate::core::model::{Alias, ModelName, Version};
use crate::registry::commands::conformance::{self, SuiteSize};
use crate::registry::entry::Op;
use crate::registry::sign;
use crate::storage::store::faulty::{Fault, Faulty};
use std::sync::Arc;

#[test]
fn the_conformance_suite_passes_in_memory() {
    conformance::run(
        "memory://",
        &[],
        SuiteSize {
            writers: 8,
            commits: 100,
            blob_bytes: 20 << 20,
        },
    );
}

#[test]
fn the_conformance_suite_passes_in_a_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    conformance::run(
        folder.path().to_str().expect("text"),
        &[],
        SuiteSize {
            writers: 8,
            commits: 100,
            blob_bytes: 20 << 20,
        },
    );
}

fn author() -> Author {
    Author {
        actor: "ann".to_owned(),
        reason: String::new(),
    }
}

fn add(state: &NamespaceState) -> Result<Change> {
    let model = ModelName::parse("m")?;
    let last = state
        .models
        .get(&model)
        .and_then(|m| m.versions.last_key_value());
    let next = last.map_or(1, |(v, _)| v.number() + 1);

    let version = Version::new(next).expect("legal");
    let manifest = Digest::of(&next.to_le_bytes());
    Ok(vec![Op::Version {
        model,
        version,
        manifest,
        blobs: Vec::new(),
        signatures: Vec::new(),
        run: None,
    }]
    .into())
}

fn faulty() -> (Arc<Faulty>, Log) {
    let store = Arc::new(Faulty::default());
    let log = Log::new(Store::of(Arc::clone(&store) as _), "n").expect("a namespace");
    (store, log)
}

/// Commits twice with these faults; returns the number of entries, or the error.
async fn commit_through(faults: &[Fault]) -> Result<u64, String> {
    let (store, log) = faulty();
    let first = log
        .commit(NamespaceState::default(), &author(), None, &add)
        .await
        .expect("no fault yet");
    store.plan(faults);

    let second = log.commit(first.state, &author(), None, &add).await;
    assert!(store.is_through(), "{faults:?}");
    let mut whole = NamespaceState::default();
    log.catch_up(&mut whole).await.expect("the chain holds");
    assert!(whole.void.is_empty());
    match second {
        Ok(committed) => {
            assert_eq!(
                (committed.seq, committed.state.seq),
                (Some(2), 2),
                "{faults:?}"
            );
            Ok(whole.seq)
        }
        Err(error) => Err(format!("{:?}: {error}", error.kind)),
    }
}

#[tokio::test]
async fn a_lost_response_is_resolved_by_reading_back() {
    use Fault::{Conflict, LostAnswer, LostRequest, Stale, Unreadable};
    assert_eq!(commit_through(&[LostAnswer]).await, Ok(2));
    assert_eq!(commit_through(&[Conflict]).await, Ok(2));
    assert_eq!(commit_through(&[LostRequest]).await, Ok(2));
    assert_eq!(
        commit_through(&[Conflict, LostRequest, LostAnswer]).await,
        Ok(2)
    );
    // The read of the next entry returns old data. No other writer committed, so
    // the commit succeeds.
    assert_eq!(commit_through(&[Stale]).await, Ok(2));
    // The response is lost and the number cannot be read back: the error says that
    // the result is unknown.
    let said = commit_through(&[LostAnswer, Unreadable])
        .await
        .expect_err("unknown");
    assert!(
        said.contains("it is unknown whether entry 2 was written"),
        "{said}"
    );
}

#[tokio::test]
async fn a_stale_read_of_another_writers_entry_is_caught_by_the_create() {
    let (store, log) = faulty();
    let first = log
        .commit(NamespaceState::default(), &author(), None, &add)
        .await
        .expect("committed")
        .state;
    log.commit(first.clone(), &author(), None, &add)
        .await
        .expect("another's");
    store.plan(&[Fault::Stale]);

    let third = log
        .commit(first, &author(), None, &add)
        .await
        .expect("committed");
    assert_eq!(third.seq, Some(3));
}

#[tokio::test]
async fn a_change_whose_conditions_no_longer_hold_is_refused_and_not_written() {
    let (_, log) = faulty();
    let state = log
        .commit(NamespaceState::default(), &author(), None, &add)
        .await
        .expect("committed")
        .state;
    let model = ModelName::parse("m").expect("legal");

    let wrong = |op: Op| {
        let (log, state) = (log.clone(), state.clone());
        async move {
            log.commit(state, &author(), None, &|_| Ok(vec![op.clone()].into()))
                .await
                .map(|c| c.seq)
        }
    };

    let one = Version::new(1).expect("legal");
    let seven = Version::new(7).expect("legal");
    assert!(
        wrong(Op::Promote {
            model: model.clone(),
            version: seven,
            from: None
        })
        .await
        .is_err()
    );

    assert!(
        wrong(Op::Promote {
            model: model.clone(),
            version: one,
            from: Some(seven)
        })
        .await
        .is_err()
    );

    assert!(
        wrong(Op::Rollback {
            model: model.clone(),
            version: one,
            from: one
        })
        .await
        .is_err()
    );

    let alias = Alias::parse("challenger").expect("legal");
    assert!(
        wrong(Op::Alias {
            model,
            alias,
            version: Some(seven),
            from: None
        })
        .await
        .is_err()
    );

    let long = Author {
        actor: "a\nb".to_owned(),
        reason: String::new(),
    };

    assert!(log.commit(state, &long, None, &add).await.is_err());
    assert_eq!(log.load().await.expect("loads").seq, 1);
}

#[tokio::test]
async fn a_fork_a_gap_and_a_future_format_are_refused() {
    let (_, log) = faulty();
    let mut state = log
        .commit(NamespaceState::default(), &author(), None, &add)
        .await
        .expect("committed")
        .state;
    let original = log
        .store
        .get(&log.entry_key(1), 1 << 20)
        .await
        .expect("read")
        .expect("there");
    let second = |text: String| {
        let log = log.clone();
        let mut state = state.clone();
        async move {
            log.store
                .overwrite(&log.entry_key(2), text.into_bytes().into())
                .await
                .expect("written");
            log.advance(&mut state).await.expect_err("refused").message
        }
    };

    let text = String::from_utf8(original.to_vec()).expect("text");
    let renumbered = text.replace("\"seq\":1", "\"seq\":2");
    assert!(
        second(text.clone())
            .await
            .contains("contains entry number 1")
    );

    assert!(
        second(renumbered.clone())
            .await
            .contains("forked or rolled back")
    );

    assert!(
        second(renumbered.replace("\"format\":1", "\"format\":2"))
            .await
            .contains("written by ortus")
    );

    assert!(
        second(renumbered.replace("\"actor\"", "\"author\""))
            .await
            .contains("unknown field")
    );

    assert!(
        second(renumbered[..renumbered.len() / 2].to_owned())
            .await
            .contains("malformed")
    );

    assert_eq!(state.seq, 1);
    log.store.delete(&log.entry_key(2)).await.expect("deleted");
    assert!(!log.advance(&mut state).await.expect("nothing new"));
}

#[tokio::test]
async fn a_damaged_forged_or_missing_checkpoint_is_skipped() {
    let (_, log) = faulty();
    let mut state = NamespaceState::default();
    for _ in 0..CHECKPOINT_EVERY + 3 {
        state = log
            .commit(state, &author(), None, &add)
            .await
            .expect("committed")
            .state;
    }

    assert_eq!(log.load().await.expect("loads"), state);
    let key = log.checkpoint_key(CHECKPOINT_EVERY);
    let good = log
        .store
        .get(&key, 1 << 20)
        .await
        .expect("read")
        .expect("a checkpoint");
    let forged = String::from_utf8_lossy(&good).replacen("\"seq\":64", "\"seq\":65", 1);

    for bad in [&good[..good.len() / 2], b"", forged.as_bytes()] {
        log.store
            .overwrite(&key, bad.to_vec().into())
            .await
            .expect("written");
        assert_eq!(log.load().await.expect("loads"), state);
    }

    log.store.overwrite(&key, good).await.expect("written");
    log.store
        .overwrite(&log.key("hint"), (&b"nonsense"[..]).into())
        .await
        .expect("written");
    assert_eq!(log.load().await.expect("loads"), state);
}

#[tokio::test]
async fn an_entry_that_another_key_signed_is_refused() {
    let (ann, eve) = (
        sign::PrivateKey::generate().expect("a key").0,
        sign::PrivateKey::generate().expect("a key").0,
    );
    let (_, log) = faulty();
    let state = log
        .commit(NamespaceState::default(), &author(), Some(&ann), &add)
        .await
        .expect("committed")
        .state;
    let read = log.entry(1).await.expect("read").expect("there");

    assert_eq!(read.signatures[0].key, ann.public());
    // Eve signs, and says that it was Ann.
    let mut entry = read.entry.clone();
    (entry.seq, entry.prev, entry.ops) = (2, state.hash, add(&state).expect("decided").ops);
    let forged = String::from_utf8(entry.write(Some(&eve)).to_vec())
        .expect("text")
        .replace(&eve.public(), &ann.public());
    log.store
        .create(&log.entry_key(2), forged.into())
        .await
        .expect("written");
    let error = log.load().await.expect_err("forged");

    assert!(
        error.message.contains("has an invalid signature"),
        "{error}"
    );
}

#[tokio::test]
async fn two_operators_who_roll_back_the_same_champion_roll_back_once() {
    use crate::registry::commands::conformance::{name, operator, push};
    let (_, log) = faulty();
    let (ann, bob) = (operator(&log, "ann"), operator(&log, "bob"));
    for mark in [1.0, 2.0, 3.0] {
        push(&ann, "m", mark, Some(Alias::champion())).await;
    }
    let model = name("m");
    // The store yields at each request, so both operators see version 3 first.
    let (one, two) = tokio::join!(ann.rollback(&model), bob.rollback(&model));
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    let champion = log.load().await.expect("loads").models["m"]
        .champion()
        .map(Version::number);
    assert_eq!(champion, Some(2));
}

#[tokio::test]
async fn a_collection_between_upload_and_commit_makes_the_push_upload_again() {
    use crate::registry::commands::conformance::{operator, push};
    use crate::registry::commands::gc::GcRules;
    use std::time::Duration;
    let (_, log) = faulty();
    let (ann, sweeper) = (operator(&log, "ann"), operator(&log, "gc"));
    let now = GcRules {
        grace: Duration::ZERO,
        retain: Duration::ZERO,
        dry_run: false,
    };

    let later = async |steps: u8| {
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
    };

    for round in 0..48_u8 {
        // Blobs that no version uses any more, and that the push is about to use
        // again.
        let (old, _) = push(&ann, "m", f32::from(round), None).await;
        ann.retire(
            &crate::registry::commands::conformance::name("m"),
            &old.to_string(),
        )
        .await
        .expect("retired");
        // Each round interleaves the push and the collection at another step.
        let (pushed, swept) = tokio::join!(
            async {
                later(round % 16).await;
                push(&ann, "m", f32::from(round), None).await
            },
            async {
                later(round / 16 * 4).await;
                sweeper.gc(now).await
            }
        );
        assert!(pushed.1 && swept.is_ok(), "{swept:?}");
        ann.verify(&|_| {})
            .await
            .expect("every version has its bytes");
    }

    let state = log.load().await.expect("loads");
    assert!(
        !state.generations.is_empty(),
        "no collection ran between upload and commit: the test shows nothing"
    );
    assert!(state.void.is_empty());
}
