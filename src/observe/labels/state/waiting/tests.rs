//! Tests of `waiting`.

use super::*;

fn id(ms: u64) -> Uuid {
    Uuid::from_u64_pair(ms << 16 | 7 << 12, 2 << 62)
}

#[test]
fn each_label_that_cannot_be_joined_has_its_reason() {
    let mut looked = FoundAnswers::default();
    looked.lost.insert(id(600), LossReason::Store);
    looked.lost.insert(id(601), LossReason::Queue);
    let kept = KeptSince {
        since_ms: Some(500),
        unwritten_ms: 900,
    };
    let wanted = BTreeSet::from([100, 500, 600, 601, 899, 900].map(id));
    let check = |ms, expected: &str| {
        assert_eq!(reason_of(id(ms), &wanted, &looked, kept).code(), expected);
    };

    check(100, "older");
    check(500, "unknown");
    check(600, "store");
    check(601, "queue");
    check(899, "unknown");
    check(900, "search");
    check(700, "search");
    assert_eq!(
        WaitReason::Older.text(Some(1_764_192_000_000)),
        "wait for predictions that are older than the kept answers (since 2025-11-26T21:20:00Z)"
    );
}
