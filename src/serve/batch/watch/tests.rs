//! Tests of `watch`.

use super::*;

const NS: Duration = Duration::from_nanos(1);

#[test]
fn a_run_is_terminated_at_its_limit_and_hung_a_grace_later() {
    let zero = Instant::now();
    let watch = RunWatch::new(zero, None);
    let deadline = zero + Duration::from_secs(3);
    let limit = deadline + RUN_GRACE;

    assert_eq!(watch.check(limit), Finding::Nothing, "no run");
    watch.begin(Some(deadline), std::iter::empty());
    assert_eq!(watch.check(limit - NS), Finding::Nothing);
    assert_eq!(watch.check(limit), Finding::Terminated);
    assert_eq!(watch.check(limit), Finding::Nothing, "terminated once");
    assert_eq!(watch.check(limit + HANG_GRACE - NS), Finding::Nothing);
    assert!(!watch.is_hung());
    assert_eq!(watch.check(limit + HANG_GRACE), Finding::Hung);
    assert!(watch.is_hung());
    assert_eq!(watch.check(limit + HANG_GRACE * 2), Finding::Nothing);
    assert_eq!(watch.end(), RunEnd::Hung);
    assert!(!watch.is_hung());
}

#[test]
fn a_run_that_ends_is_neither_terminated_nor_hung_and_the_next_starts_afresh() {
    let zero = Instant::now();
    let watch = RunWatch::new(zero, None);
    let limit = zero + RUN_GRACE;

    watch.begin(Some(zero), std::iter::empty());
    assert_eq!(watch.end(), RunEnd::InTime);
    assert_eq!(watch.check(limit), Finding::Nothing);

    watch.begin(Some(zero), std::iter::empty());
    assert_eq!(watch.check(limit), Finding::Terminated);
    assert_eq!(watch.end(), RunEnd::Terminated);
    assert_eq!(watch.check(limit + HANG_GRACE), Finding::Nothing);

    watch.begin(Some(limit), std::iter::empty());
    assert_eq!(watch.check(limit), Finding::Nothing);
    assert_eq!(watch.end(), RunEnd::InTime);
}

#[test]
fn a_run_ends_soon_after_its_last_client_gave_up() {
    let zero = Instant::now();
    let watch = RunWatch::new(zero, None);
    let later = zero + RUN_GRACE * 100;

    watch.begin(None, [3, 4].into_iter());
    assert_eq!(watch.check(later), Finding::Nothing, "no limit");
    watch.leave(4, later);
    watch.leave(9, later);
    assert_eq!(watch.check(later + RUN_GRACE), Finding::Nothing, "3 waits");
    watch.leave(3, later);
    assert_eq!(watch.check(later + RUN_GRACE - NS), Finding::Nothing);
    assert_eq!(watch.check(later + RUN_GRACE), Finding::Terminated);
    assert_eq!(watch.end(), RunEnd::Terminated);

    // Whoever gives up after the end, or has another run, changes nothing.
    watch.begin(None, [5].into_iter());
    watch.leave(3, later);
    assert_eq!(watch.end(), RunEnd::InTime);
    watch.begin(None, [6].into_iter());
    watch.leave(5, later);
    assert_eq!(watch.check(later + RUN_GRACE * 2), Finding::Nothing);
    // A limit is never put off.
    watch.begin(Some(later), [7].into_iter());
    watch.leave(7, later + RUN_GRACE);
    assert_eq!(watch.check(later + RUN_GRACE), Finding::Terminated);
}
