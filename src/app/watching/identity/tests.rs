//! Tests of `identity`.

use super::*;

#[test]
fn an_identity_is_that_of_one_living_process_and_is_taken_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = |role| take_in(folder.path(), role).expect("an identity");
    let (first, second, other) = (take("a"), take("a"), take("b"));
    assert_ne!(first.name, second.name);
    assert_ne!(first.name, other.name);

    let (name, next) = (first.name.clone(), second.name.clone());
    drop(first);
    let again = take("a");
    assert_eq!(again.name, name);
    drop((again, second));
    assert_eq!(
        (take("a").name, take("b").name == other.name),
        (name, false)
    );
    assert_ne!(next, other.name);
}

#[test]
fn a_damaged_name_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a-0"), "../x").expect("written");
    let taken = take_in(folder.path(), "a").expect("an identity");
    assert!(!taken.name.contains('/'), "{}", taken.name);
    let name = taken.name.clone();
    drop(taken);
    assert_eq!(take_in(folder.path(), "a").expect("an identity").name, name);
}
