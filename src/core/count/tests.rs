//! Tests of `count`.

use super::*;

#[test]
fn a_noun_is_in_the_plural_unless_there_is_one() {
    let text = |n: u64| [counted(n, "row"), counted(n, "entry"), counted(n, "day")].join(", ");
    assert_eq!(text(0), "0 rows, 0 entries, 0 days");
    assert_eq!(text(1), "1 row, 1 entry, 1 day");
    assert_eq!(text(2), "2 rows, 2 entries, 2 days");
    assert_eq!(counted(3_u8, "class"), "3 classes");
    assert_eq!(counted(3_u8, "batch"), "3 batches");
    assert_eq!(counted(1_usize, "training row"), "1 training row");
}

#[test]
fn a_verb_goes_with_its_number() {
    let verb = |n: u32| agreed(n, "serves", "serve");
    assert_eq!([verb(0), verb(1), verb(2)], ["serve", "serves", "serve"]);
}
