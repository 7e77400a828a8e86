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
    watch.begin(deadline);
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

    watch.begin(zero);
    assert_eq!(watch.end(), RunEnd::InTime);
    assert_eq!(watch.check(limit), Finding::Nothing);

    watch.begin(zero);
    assert_eq!(watch.check(limit), Finding::Terminated);
    assert_eq!(watch.end(), RunEnd::Terminated);
    assert_eq!(watch.check(limit + HANG_GRACE), Finding::Nothing);

    watch.begin(limit);
    assert_eq!(watch.check(limit), Finding::Nothing);
    assert_eq!(watch.end(), RunEnd::InTime);
}
