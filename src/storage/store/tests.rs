//! Addresses, and the self-test of a store that ignores conditions.

use super::faulty::Faulty;
use super::*;

#[tokio::test]
async fn a_store_that_ignores_conditions_is_refused() {
    let mut careless = Faulty::default();
    careless.ignores_conditions = true;
    let error = Store::of(Arc::new(careless))
        .self_test("probe/x")
        .await
        .expect_err("it overwrites");
    assert!(error.message.contains("overwrites"), "{error}");

    assert!(
        Store::of(Arc::new(Faulty::default()))
            .self_test("probe/x")
            .await
            .is_ok()
    );
}

#[test]
fn store_addresses_are_opened_or_refused_with_the_accepted_forms() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new");
    let path = path.to_str().expect("text");
    let refused = |url: &str, part: &str| {
        let error = Store::open(url, false)
            .err()
            .unwrap_or_else(|| panic!("{url} is taken"));
        assert!(error.message.contains(part), "{url}: {error}");
    };

    refused("", "empty");
    refused("ftp://host/x", "s3://bucket/path");
    refused(&format!("file://{path}"), "find the registry's folder");
    let error = Store::open_for("data source", "ftp://host/x", false).err();
    assert!(
        error.is_some_and(|e| e
            .message
            .starts_with("the data source does not support ftp://")),
        "the error says what the address is for"
    );
    assert!(Store::open(path, true).is_ok_and(|s| s.to_string() == format!("file://{path}")));
    assert!(Store::open(&format!("file://{path}"), false).is_ok());
    let file = tempfile::NamedTempFile::new().expect("a file");
    refused(file.path().to_str().expect("text"), "is not a folder");
}

#[test]
fn interrupted_writes_are_found_by_their_names_and_deleted_if_they_are_old() {
    let folder = tempfile::tempdir().expect("a folder");
    let below = folder.path().join("ns/n/blobs/sha256/ab");
    std::fs::create_dir_all(&below).expect("made");
    for name in ["abcd", "abcd#1", "abcd#12", "abcd#x", "ab#"] {
        std::fs::write(below.join(name), "12345").expect("written");
    }
    let store = Store::open(folder.path().to_str().expect("text"), false).expect("a store");
    let mut seen = Vec::new();
    let mut keep = |meta: &Meta| {
        seen.push(meta.bytes);
        false
    };

    store.torn("ns/n", &mut keep).expect("listed");
    assert_eq!(seen, [5, 5]);
    store
        .torn("ns/other", &mut |_| panic!("there is no such folder"))
        .expect("nothing");
    store
        .torn("ns", &mut |meta| meta.modified > Utc::now())
        .expect("listed");
    assert!(below.join("abcd#1").exists(), "none is from the future");

    store
        .torn("ns", &mut |meta| meta.modified <= Utc::now())
        .expect("removed");
    let mut left: Vec<_> = std::fs::read_dir(&below)
        .expect("listed")
        .map(|e| e.expect("an entry").file_name())
        .collect();
    left.sort();

    assert_eq!(left, ["ab#", "abcd", "abcd#x"]);
}
