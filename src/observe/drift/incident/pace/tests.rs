//! Tests of `pace`: what is near depends on how long windows take.

use super::*;

/// The pace after looks at so many windows, so many minutes apart.
fn pace(looks: &[(u64, i64)]) -> WindowPace {
    let mut pace = WindowPace::default();
    let mut now = DateTime::UNIX_EPOCH;
    for (windows, minutes) in looks {
        now += TimeDelta::minutes(*minutes);
        pace.see(*windows, now);
    }
    pace
}

#[test]
fn alarms_within_eight_windows_belong_together() {
    let check = |looks: &[(u64, i64)], join: TimeDelta, reopen: TimeDelta| {
        let pace = pace(looks);
        assert_eq!((pace.join(), pace.reopen()), (join, reopen), "{looks:?}");
    };
    check(&[], JOIN, REOPEN);
    check(&[(5, 0)], JOIN, REOPEN);
    // Windows of a minute: what was near in wall time still is.
    check(&[(5, 0), (65, 60)], JOIN, REOPEN);
    check(
        &[(5, 0), (6, 75)],
        TimeDelta::hours(10),
        TimeDelta::hours(80),
    );
    // No new window tells nothing new.
    check(
        &[(5, 0), (6, 75), (6, 600)],
        TimeDelta::hours(10),
        TimeDelta::hours(80),
    );
    check(&[(5, 0), (6, 1_440 * 7)], JOIN_MAX, REOPEN_MAX);
    // A version that starts anew, and a clock that was set back.
    check(&[(500, 0), (3, 75)], JOIN, REOPEN);
    check(&[(5, 0), (6, -75)], JOIN, REOPEN);
}
