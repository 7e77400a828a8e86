//! Objects and blobs: creates are exclusive, damage is found and repaired.

use super::SuiteSize;
use crate::core::hash::Digest;
use crate::registry::blob::measure;
use crate::registry::entry::Blob;
use crate::registry::log::Log;
use crate::storage::store::{Created, Store};
use bytes::Bytes;
use futures_util::stream::TryStreamExt;
use std::io::Write as _;

pub(super) async fn creating_refuses_what_exists(store: &Store) {
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

pub(super) async fn large_blobs_are_read_back_and_a_damaged_one_is_named(
    log: &Log,
    scale: SuiteSize,
) {
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
    assert!(back == bytes, "the bytes read differ from those written");
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
    // A file whose bytes do not match the expected digest never becomes an object.
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
