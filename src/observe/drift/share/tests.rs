//! Tests of `share`.

use super::*;

#[test]
fn the_sampling_share_falls_to_the_limit_and_rises_again() {
    // Each sampled request costs the same, so the CPU share is proportional to the sampling share.
    let settle = |mut share: f64, cost: f64| {
        for _ in 0..100 {
            share = next_share(share, share * cost, 0.05);
        }
        share
    };

    assert_eq!(settle(1.0, 0.01), 1.0);
    let busy = settle(1.0, 0.5);
    assert!((0.05..=0.101).contains(&busy), "{busy}");
    assert_eq!(settle(busy, 0.01), 1.0);
    assert_eq!(settle(1.0, 1e6), SHARE_MIN, "it never stops looking");
}
