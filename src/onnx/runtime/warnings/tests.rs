//! Tests of `warnings`.

use super::*;

#[test]
fn a_cause_is_new_once_whatever_its_numbers() {
    let mut logged = HashSet::new();
    let said = |shape: &str| format!("Expected {{1}} does not match {{{shape}}} for output label");
    assert!(is_new(&mut logged, &said("3")));
    assert!(!is_new(&mut logged, &said("3")));
    assert!(!is_new(&mut logged, &said("4711")));
    assert!(is_new(&mut logged, "another"));
}

#[test]
fn the_causes_of_a_version_are_limited() {
    let mut logged = HashSet::new();
    let new = (0..CAUSES_MAX + 10).filter(|i| is_new(&mut logged, &"x".repeat(*i)));
    assert_eq!(new.count(), CAUSES_MAX);
}

#[test]
fn optional_inputs_are_no_cause_for_a_warning() {
    let said =
        "Initializer k appears in graph inputs and will not be treated as constant value/weight.";
    assert!(is_meant(said) && !is_meant("Expected {1} does not match {3} for output label"));
}
