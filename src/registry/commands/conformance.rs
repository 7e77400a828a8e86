//! Conformance suite: tests what a registry needs of every store. It runs against
//! memory, a directory and a real S3 server.

mod changes;
mod objects;
mod races;
mod sample;

use super::Operator;
use super::push::Push;
use crate::core::model::{Alias, ModelName, Version};
use crate::registry::log::{Author, Log};
use crate::storage::store::Store;
use crate::testing::graphs;
use std::io::Write as _;

pub use sample::many_models;

/// The size of a run of the suite.
#[derive(Clone, Copy)]
pub struct SuiteSize {
    /// Concurrent writers.
    pub writers: usize,
    /// Commits of each writer.
    pub commits: usize,
    /// Bytes of the largest blob; over 8 MiB it goes in parts.
    pub blob_bytes: usize,
}

/// Runs the whole suite against the store at `url` with the credentials in
/// `env`; panics where it fails.
pub fn run(url: &str, env: &[(&str, String)], scale: SuiteSize) {
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
        objects::creating_refuses_what_exists(&store).await;
        objects::large_blobs_are_read_back_and_a_damaged_one_is_named(&log("blobs"), scale).await;
        changes::pushing_again_changes_nothing(&log("push")).await;
        changes::champions_change_in_one_entry_and_one_that_was_rolled_back_is_no_rollback_target(
            &log("champions"),
        )
        .await;
        changes::a_changed_signature_needs_explicit_permission(&log("signature")).await;
        races::racing_writers_each_commit_once(&log("race"), scale).await;
        races::namespaces_do_not_see_each_other(&log("one"), &log("two")).await;
        races::garbage_collection_during_pushes_deletes_no_blob_in_use(&log("sweep"), scale).await;
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

/// Writes a small model to a file; `mark` makes its bytes distinct.
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
