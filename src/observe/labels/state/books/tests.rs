//! Tests of `books`.

use super::*;

#[test]
fn the_bytes_of_a_version_that_answered_last_replace_the_others() {
    let model = ModelName::parse("m").expect("legal");
    let key = |bytes: &str| (model.clone(), Digest::of(bytes.as_bytes()));
    let mut books = Books::default();
    let answer = |books: &mut Books, bytes: &str, version: u64| {
        books.open(key(bytes), version, &[], 10);
        books.answered(&key(bytes));
    };

    // Labels of an earlier server are the only ones of their version for now.
    books.open(key("old"), 1, &[], 10);
    assert!(!books.is_replaced(&key("old")));
    answer(&mut books, "old", 1);
    answer(&mut books, "next version", 2);
    assert!(!books.is_replaced(&key("old")));
    answer(&mut books, "new", 1);
    assert!(books.is_replaced(&key("old")) && !books.is_replaced(&key("new")));

    // A late label of the old bytes changes nothing.
    books.open(key("old"), 1, &[], 10);
    assert!(books.is_replaced(&key("old")) && !books.is_replaced(&key("next version")));
    answer(&mut books, "old", 1);
    assert!(!books.is_replaced(&key("old")) && books.is_replaced(&key("new")));
}
