//! Tests of `actual`.

use super::*;
use std::time::Duration;

fn refused(error: Error, times: u32, now: Instant) -> Actual {
    let mut actual = Actual::new(Fingerprint(Vec::new()));
    for _ in 0..times {
        actual.refuse(Error::new(error.kind, error.message.clone()), now);
    }
    actual
}

#[test]
fn temporary_failures_are_tried_again_at_increasing_intervals_and_others_are_not() {
    let now = Instant::now();
    let after = |seconds| now + Duration::from_secs(seconds);
    for (times, waits) in [(1, 1), (2, 2), (3, 4), (7, 64), (20, 64)] {
        let actual = refused(Error::unavailable("silent"), times, now);
        assert!(
            actual.is_refused(after(waits - 1)) && !actual.is_refused(after(waits)),
            "{times}"
        );
    }

    for wrong in [Error::precondition("damaged"), Error::invalid("not ONNX")] {
        assert!(refused(wrong, 1, now).is_refused(after(1_000_000)));
    }
    assert!(!refused(Error::denied("not trusted yet"), 1, now).is_refused(after(1)));
    assert!(
        !refused(Error::denied("x"), 0, now).is_refused(now),
        "nothing was refused"
    );
}
