//! Tests of `books`.

use super::*;
use crate::core::hash::Digest;
use crate::core::model::ModelName;

#[test]
fn the_bytes_of_a_version_that_answered_last_replace_the_others() {
    let model = ModelName::parse("m").expect("legal");
    let of = |bytes: &str, version| (model.clone(), version, Digest::of(bytes.as_bytes()));
    let key = |bytes: &str| of(bytes, if bytes == "next version" { 2 } else { 1 });
    let mut books = Books::default();
    let answer = |books: &mut Books, bytes: &str, version: u64| {
        books.open(of(bytes, version), &[], 10);
        books.answered(&of(bytes, version));
    };

    // Labels of an earlier server are the only ones of their version for now.
    books.open(key("old"), &[], 10);
    assert!(!books.is_replaced(&key("old")));
    answer(&mut books, "old", 1);
    answer(&mut books, "next version", 2);
    assert!(!books.is_replaced(&key("old")));
    answer(&mut books, "new", 1);
    assert!(books.is_replaced(&key("old")) && !books.is_replaced(&key("new")));

    // A late label of the old bytes changes nothing.
    books.open(key("old"), &[], 10);
    assert!(books.is_replaced(&key("old")) && !books.is_replaced(&key("next version")));
    answer(&mut books, "old", 1);
    assert!(!books.is_replaced(&key("old")) && books.is_replaced(&key("new")));
}

#[test]
fn two_versions_with_the_same_bytes_have_rows_of_their_own() {
    let model = ModelName::parse("m").expect("legal");
    let key = |version| (model.clone(), version, Digest([1; 32]));
    let mut books = Books::default();
    for version in [1, 2] {
        books.open(key(version), &[], 10);
        books.answered(&key(version));
    }
    let versions: Vec<u64> = books.iter().map(|(_, open)| open.book.version).collect();
    assert_eq!(versions, [1, 2]);
    assert!(!books.is_replaced(&key(1)) && !books.is_replaced(&key(2)));
}

#[test]
fn slices_are_known_once_a_row_is_although_predicted_rows_came_first() {
    let model = ModelName::parse("m").expect("legal");
    let key = (model, 1, Digest([1; 32]));
    let mut books = Books::default();
    books.open(key.clone(), &[], 10).book.predicted(5, 1);
    let slices = ["colour".to_owned()];
    assert_eq!(books.open(key, &slices, 10).book.slices, slices);
}
