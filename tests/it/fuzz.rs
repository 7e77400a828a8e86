//! The corpus of the fuzz targets keeps every rule: what was found once stays mended. `fuzz/README.md` says how
//! to search for more.

use crate::support::root;
use ortus::testing::fuzzed::{FuzzedConnections, config_text, json_body, message, table};
use std::fs;
use std::path::PathBuf;

/// Most files of all targets together: a larger corpus is to be minimised.
const FILES_MAX: usize = 200;

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = root().join("fuzz/corpus").join(target);
    let files = fs::read_dir(folder).expect("a folder");
    let mut files: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    files.sort();
    files
}

/// The longest file of which every beginning is fed.
const CUT_BYTES_MAX: usize = 4 << 10;

/// Feeds each file, and what is left of it when its end is cut off.
fn replay_cut(target: &str, feed: impl Fn(&[u8])) {
    replay(target, |bytes| {
        feed(bytes);
        let ends = 0..bytes.len().min(CUT_BYTES_MAX);
        ends.for_each(|end| feed(&bytes[..end]));
    });
}

fn replay(target: &str, feed: impl Fn(&[u8])) {
    let files = corpus(target);
    assert!(!files.is_empty(), "'{target}' has no corpus");
    for file in files {
        println!("{}", file.display());
        feed(&fs::read(&file).expect("readable"));
    }
}

#[test]
fn connections_of_the_corpus_neither_panic_nor_hang_nor_leave_calls() {
    let connections = FuzzedConnections::start();
    replay("connection", |bytes| connections.receive(bytes));
}

#[test]
fn messages_of_the_corpus_are_decoded_or_refused() {
    replay_cut("message", message);
}

#[test]
fn tables_of_the_corpus_are_read_or_refused() {
    replay_cut("table", table);
}

#[test]
fn texts_of_the_corpus_are_read_or_refused() {
    replay_cut("config_text", config_text);
}

#[test]
fn json_bodies_of_the_corpus_are_read_or_refused() {
    replay_cut("json_body", json_body);
}

#[test]
fn the_corpus_is_small() {
    let targets = ["connection", "message", "json_body", "table", "config_text"];
    let files: usize = targets.iter().map(|target| corpus(target).len()).sum();
    assert!(files < FILES_MAX, "{files} files");
}
