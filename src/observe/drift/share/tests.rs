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

#[test]
fn a_turn_ends_with_its_time_so_that_the_share_is_adapted_between_large_requests() {
    let (offers, inbox) = crossbeam_channel::unbounded();
    (0..TURN * 2).for_each(|n| offers.send(n).expect("open"));
    let counted = |until| {
        let mut counted = 0;
        turn(&inbox, until, |_| counted += 1);
        counted
    };
    let now = Instant::now();
    assert_eq!(counted(now), 1);
    assert_eq!(counted(now + Duration::from_secs(3_600)), TURN);
}
