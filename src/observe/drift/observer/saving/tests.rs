//! Tests of `saving`.

use super::*;

const FEW: SavedUpTo = SavedUpTo {
    answered: 1,
    sampled: 1,
    windows: 0,
};

#[test]
fn a_version_is_written_each_minute_if_it_changed_and_soon_if_that_is_urgent() {
    let start = Instant::now();
    let check = |counts, is_urgent, (seconds, is_end), expected| {
        let mut mark = SaveMark::new(start);
        if is_urgent {
            mark.hurry();
        }
        let now = start + Duration::from_secs(seconds);
        assert_eq!(
            mark.is_due(counts, now, is_end),
            expected,
            "{counts:?} {is_urgent} {seconds} {is_end}"
        );
    };
    let none = SavedUpTo::default();
    check(none, false, (60, false), false);
    check(none, false, (60, true), false);
    check(FEW, false, (59, false), false);
    check(FEW, false, (60, false), true);
    check(FEW, false, (1, true), true);
    check(none, true, (1, false), true);
    // An object that nobody renews would be deleted.
    check(none, false, (86_399, false), false);
    check(none, false, (86_400, false), true);
}
