//! What every store must do for a registry to be sound on it: one suite of
//! functions, run against memory, a directory and a real S3 server.

use super::Operator;
use super::gc::Rules;
use super::push::Push;
use crate::core::error::Kind;
use crate::core::hash::Digest;
use crate::core::model::{Alias, ModelName, Version};
use crate::registry::blob::measure;
use crate::registry::entry::{Blob, Entry, Op};
use crate::registry::fold::State;
use crate::registry::log::{Author, Log};
use crate::storage::store::{Created, Store};
use crate::testing::graphs;
use bytes::Bytes;
use futures_util::stream::TryStreamExt;
use std::io::Write as _;
use std::time::Duration;

/// How hard the suite tries.
#[derive(Clone, Copy)]
pub struct Scale {
    /// Writers that race.
    pub writers: usize,
    /// Commits of each.
    pub commits: usize,
    /// Bytes of the largest blob; over 8 MiB it goes in parts.
    pub blob_bytes: usize,
}

/// Runs the whole suite against the store at `url` with the credentials in
/// `env`; panics where it fails.
pub fn run(url: &str, env: &[(&str, String)], scale: Scale) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let mut env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        let store = Store::open_with(url, true, &mut env).expect("a store");
        let log = |namespace: &str| Log::new(store.clone(), namespace).expect("a namespace");
        creating_refuses_what_exists(&store).await;
        large_blobs_come_back_and_damage_is_named(&log("blobs"), scale).await;
        pushing_again_changes_nothing(&log("push")).await;
        champions_move_in_one_entry_and_never_come_back_by_rollback(&log("champions")).await;
        a_broken_signature_needs_leave(&log("signature")).await;
        racing_writers_each_commit_once(&log("race"), scale).await;
        namespaces_do_not_see_each_other(&log("one"), &log("two")).await;
        sweeping_beside_pushes_takes_no_versions_bytes(&log("sweep"), scale).await;
    });
}

pub(crate) fn name(name: &str) -> ModelName {
    ModelName::parse(name).expect("legal")
}

pub(crate) fn version(number: u64) -> Version {
    Version::new(number).expect("legal")
}

pub(crate) fn operator(log: &Log, actor: &str) -> Operator {
    Operator {
        log: log.clone(),
        author: Author {
            actor: actor.to_owned(),
            reason: "test".to_owned(),
        },
        prober: None,
        key: None,
    }
}

/// A file with a small model; `mark` makes its bytes its own.
pub(crate) fn model_file(mark: f32) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&graphs::demanding(mark)).expect("written");
    file
}

pub(crate) async fn push(
    operator: &Operator,
    model: &str,
    mark: f32,
    alias: Option<Alias>,
) -> (u64, bool) {
    let file = model_file(mark);
    let push = Push {
        path: file.path().to_owned(),
        alias,
        ..Push::default()
    };
    let pushed = operator
        .push(&name(model), &push, &|_| {})
        .await
        .expect("pushed");
    (pushed.version, pushed.new)
}

async fn creating_refuses_what_exists(store: &Store) {
    store
        .self_test("probe/1")
        .await
        .expect("creates are exclusive");
    assert_eq!(
        store
            .create("a/b", Bytes::from_static(b"one"))
            .await
            .expect("created"),
        Created::Yes
    );
    assert_eq!(
        store
            .create("a/b", Bytes::from_static(b"two"))
            .await
            .expect("answered"),
        Created::Exists
    );
    assert_eq!(
        store.get("a/b", 3).await.expect("read").as_deref(),
        Some(&b"one"[..])
    );
    assert!(store.get("a/b", 2).await.is_err(), "over its limit");
    assert_eq!(store.get("a/c", 9).await.expect("read"), None);
    assert_eq!(
        store.head("a/b").await.expect("seen").map(|m| m.bytes),
        Some(3)
    );
    let listed: Vec<_> = store.list("a").try_collect().await.expect("listed");
    assert_eq!(
        listed
            .iter()
            .map(|(key, _)| key.as_str())
            .collect::<Vec<_>>(),
        ["a/b"]
    );
    store.delete("a/b").await.expect("deleted");
    store.delete("a/b").await.expect("nothing left to delete");
    assert_eq!(store.head("a/b").await.expect("seen"), None);
}

async fn large_blobs_come_back_and_damage_is_named(log: &Log, scale: Scale) {
    let mut file = tempfile::tempfile().expect("a file");
    let bytes: Vec<u8> = (0..scale.blob_bytes)
        .map(|i| (i * 31 % 251) as u8)
        .collect();
    file.write_all(&bytes).expect("written");
    let (digest, length) = measure(&mut file).expect("measured");
    let blob = Blob {
        digest,
        bytes: length,
        generation: 0,
    };
    log.put_file(&mut file, blob, &|_| {})
        .await
        .expect("uploaded");
    log.put_file(&mut file, blob, &|_| {})
        .await
        .expect("there already");
    let mut back = Vec::new();
    log.copy_blob(&blob, &mut back, &|_| {})
        .await
        .expect("read");
    assert!(back == bytes, "other bytes came back");
    let mut damaged = bytes.clone();
    damaged[scale.blob_bytes / 2] ^= 1;
    for broken in [&damaged[..], &bytes[1..], &[]] {
        log.store
            .overwrite(&log.blob_key(&blob), broken.to_vec().into())
            .await
            .expect("damaged");
        let error = log
            .copy_blob(&blob, &mut std::io::sink(), &|_| {})
            .await
            .expect_err("damaged");
        assert!(error.message.contains(&digest.hex()), "{error}");
    }
    // Pushing again repairs it.
    log.put_file(&mut file, blob, &|_| {})
        .await
        .expect("uploaded again");
    log.copy_blob(&blob, &mut std::io::sink(), &|_| {})
        .await
        .expect("whole again");
    // A file that is not what was measured never appears.
    let other = Blob {
        digest: Digest::of(b"something else"),
        ..blob
    };
    log.put_file(&mut file, other, &|_| {})
        .await
        .expect_err("changed meanwhile");
    assert_eq!(
        log.store.head(&log.blob_key(&other)).await.expect("seen"),
        None
    );
}

async fn pushing_again_changes_nothing(log: &Log) {
    let operator = operator(log, "ann");
    assert_eq!(push(&operator, "m", 1.0, None).await, (1, true));
    assert_eq!(push(&operator, "m", 1.0, None).await, (1, false));
    assert_eq!(
        push(&operator, "m", 2.0, Some(Alias::champion())).await,
        (2, true)
    );
    assert_eq!(push(&operator, "m", 1.0, None).await, (1, false));
    let state = log.load().await.expect("loads");
    assert_eq!((state.seq, state.void.len()), (2, 0));
    let verified = operator.verify(&|_| {}).await.expect("whole");
    assert_eq!((verified.entries, verified.blobs), (2, 4));
    let file = model_file(1.0);
    let collision = Push {
        path: file.path().to_owned(),
        ..Push::default()
    };
    let error = operator
        .push(&name("M"), &collision, &|_| {})
        .await
        .expect_err("m is there");
    assert!(error.message.contains("by case alone"), "{error}");
}

async fn champions_move_in_one_entry_and_never_come_back_by_rollback(log: &Log) {
    let operator = operator(log, "ann");
    for mark in [1.0, 2.0, 3.0] {
        push(&operator, "m", mark, Some(Alias::champion())).await;
    }
    let standing = async || {
        let state = log.load().await.expect("loads");
        let model = &state.models["m"];
        (
            state.seq,
            model.champion().map(Version::number),
            model.previous().map(Version::number),
        )
    };
    assert_eq!(standing().await, (3, Some(3), Some(2)));
    operator.rollback(&name("m")).await.expect("rolled back");
    assert_eq!(standing().await, (4, Some(2), Some(1)));
    operator
        .rollback(&name("m"))
        .await
        .expect("rolled back further");
    assert_eq!(standing().await, (5, Some(1), None));
    assert!(
        operator.rollback(&name("m")).await.is_err(),
        "there is nothing before the first"
    );
    operator
        .promote(&name("m"), "3", false)
        .await
        .expect("promoted");
    assert_eq!(standing().await, (6, Some(3), Some(1)));
    let again = operator
        .promote(&name("m"), "champion", false)
        .await
        .expect("already so");
    assert_eq!((again.seq, standing().await.0), (None, 6));
    assert!(
        operator.retire(&name("m"), "3").await.is_err(),
        "the champion is in use"
    );
    operator.retire(&name("m"), "1").await.expect("retired");
    assert_eq!(standing().await, (7, Some(3), None));
    assert_eq!(
        operator
            .promote(&name("m"), "1", false)
            .await
            .expect_err("retired")
            .kind,
        Kind::FailedPrecondition
    );
    assert_eq!(
        operator
            .promote(&name("m"), "9", false)
            .await
            .expect_err("absent")
            .kind,
        Kind::NotFound
    );
    assert_eq!(
        operator
            .promote(&name("q"), "1", false)
            .await
            .expect_err("absent")
            .kind,
        Kind::NotFound
    );
    let history = operator.history(&name("m"), None).await.expect("a history");
    let champions: Vec<_> = history
        .iter()
        .map(|h| h.champion.unwrap_or_default())
        .collect();
    assert_eq!(champions, [1, 2, 3, 2, 1, 3, 3]);
}

async fn a_broken_signature_needs_leave(log: &Log) {
    let operator = operator(log, "ann");
    push(&operator, "m", 1.0, Some(Alias::champion())).await;
    let mut other = tempfile::NamedTempFile::new().expect("a file");
    other.write_all(&graphs::lookup()).expect("written");
    let mut push = Push {
        path: other.path().to_owned(),
        ..Push::default()
    };
    let error = operator
        .push(&name("m"), &push, &|_| {})
        .await
        .expect_err("input x changes its shape");
    assert!(
        error.message.contains("input 'x' was") || error.message.contains("output 'y'"),
        "{error}"
    );
    push.allow_signature_change = true;
    assert_eq!(
        operator
            .push(&name("m"), &push, &|_| {})
            .await
            .expect("allowed")
            .version,
        2
    );
    assert!(operator.promote(&name("m"), "2", false).await.is_err());
    operator
        .promote(&name("m"), "2", true)
        .await
        .expect("allowed");
}

async fn racing_writers_each_commit_once(log: &Log, scale: Scale) {
    let writers = (0..scale.writers).map(|writer| {
        let log = log.clone();
        tokio::spawn(async move {
            let author = Author {
                actor: format!("writer {writer}"),
                reason: String::new(),
            };
            let mut state = State::default();
            for commit in 0..scale.commits {
                let decide = |state: &State| {
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
    let mut whole = State::default();
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
        "a checkpoint is not what the log comes to"
    );
}

async fn namespaces_do_not_see_each_other(one: &Log, two: &Log) {
    push(&operator(one, "ann"), "m", 1.0, None).await;
    assert!(two.load().await.expect("loads").models.is_empty());
    assert!(Log::new(one.store.clone(), "../one").is_err());
    // The same bytes, used in one and not in the other: sweeping that touches only that.
    push(&operator(two, "ann"), "m", 1.0, None).await;
    operator(two, "ann")
        .retire(&name("m"), "1")
        .await
        .expect("retired");
    let young = Rules {
        grace: Duration::from_secs(3600),
        ..NOW
    };
    let swept = operator(two, "ann").gc(young).await.expect("swept");
    assert_eq!((swept.blobs, swept.young), (0, 2));
    let retained = Rules {
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
        .gc(Rules {
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
        .expect("whole without them");
    // What was swept can be pushed again.
    assert_eq!(push(&operator(two, "ann"), "m", 1.0, None).await, (2, true));
    operator(two, "ann").verify(&|_| {}).await.expect("whole");
}

/// No grace and no retention.
const NOW: Rules = Rules {
    grace: Duration::ZERO,
    retain: Duration::ZERO,
    dry_run: false,
};

async fn sweeping_beside_pushes_takes_no_versions_bytes(log: &Log, scale: Scale) {
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
        assert!(new, "a retired version was taken for one in use");
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

/// Writes a log of so many entries over so many models, each with its champion,
/// into a folder.
pub fn many_models(url: &str, models: usize, entries: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let log =
            Log::new(Store::open(url, true).expect("a store"), "default").expect("a namespace");
        let mut state = State::default();
        for at in 0..entries {
            let model = name(&format!("model-{}", at % models));
            let next = version((at / models + 1) as u64);
            let from = next.number().checked_sub(1).and_then(Version::new);
            let manifest = Digest::of(&at.to_le_bytes());
            let blobs = vec![Blob {
                digest: manifest,
                bytes: 1,
                generation: 0,
            }];
            let ops = vec![
                Op::Version {
                    model: model.clone(),
                    version: next,
                    manifest,
                    blobs,
                    signatures: Vec::new(),
                    run: None,
                },
                Op::Promote {
                    model,
                    version: next,
                    from,
                },
            ];
            // As a commit would, without its syncs: this only makes the log.
            let entry = Entry {
                format: 1,
                seq: state.seq + 1,
                prev: state.hash,
                nonce: uuid::Uuid::nil(),
                time: crate::registry::log::now(),
                writer: "bench".to_owned(),
                actor: "bench".to_owned(),
                reason: String::new(),
                ops,
                evidence: Vec::new(),
            };
            let bytes = entry.write(None);
            let path = std::path::Path::new(url).join(log.entry_key(entry.seq));
            if at == 0 {
                std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            }
            std::fs::write(path, &bytes).expect("written");
            let read = Entry::read(&bytes, entry.seq).expect("just written");
            state.apply(read).expect("the chain holds");
        }
        log.checkpoint_now(&state).await.expect("a checkpoint");
    });
}
