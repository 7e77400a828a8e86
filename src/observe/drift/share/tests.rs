//! Tests of `share`.

use super::*;

/// A period in which counting took a part of one core.
fn spent(own: f64, all: f64, elapsed: f64) -> Spent {
    Spent {
        own: Duration::from_secs_f64(own),
        all: Duration::from_secs_f64(all),
        elapsed: Duration::from_secs_f64(elapsed),
    }
}

#[test]
fn the_sampling_share_falls_to_the_limit_and_rises_again() {
    // Each sampled request costs the same, so the cost is proportional to the share.
    let settle = |mut share: f64, cost: f64| {
        for _ in 0..100 {
            share = next_share(share, &spent(share * cost * 0.2, 0.2, 0.2), 0.05);
        }
        share
    };

    assert_eq!(settle(1.0, 0.01), 1.0);
    let busy = settle(1.0, 0.5);
    assert!((0.08..=0.101).contains(&busy), "{busy}");
    assert_eq!(settle(busy, 0.01), 1.0);
    assert_eq!(settle(1.0, 1e6), SHARE_MIN, "it never stops looking");
}

#[test]
fn the_share_falls_at_once_and_is_one_again_after_ten_quiet_seconds() {
    let mut share = next_share(1.0, &spent(0.1, 0.2, 0.2), 0.01);
    assert!((0.019..=0.021).contains(&share), "{share}");

    share = SHARE_MIN;
    // A quiet server is judged once a second, although it used hardly any CPU time.
    let quiet = spent(0.0, 0.002, 1.0);
    assert!(quiet.is_enough());
    for _ in 0..10 {
        share = next_share(share, &quiet, 0.01);
    }
    assert_eq!(share, 1.0);
}

#[test]
fn a_server_with_little_work_counts_all_of_it() {
    // 300 requests a second at 10 µs: more than a hundredth of the server's own work, but of no core.
    let mut share = 0.02;
    for _ in 0..10 {
        share = next_share(share, &spent(0.003 * share, 0.05, 1.0), 0.01);
    }
    assert_eq!(share, 1.0);
}

#[test]
fn a_period_ends_with_enough_work_or_after_a_second() {
    let enough = |all, elapsed| spent(0.0, all, elapsed).is_enough();
    assert!(!enough(0.049, 0.999) && !enough(5.0, 0.199));
    assert!(enough(0.05, 0.2) && enough(0.0, 1.0));
}

#[test]
fn clocks_of_cpu_time_advance_with_work() {
    let (period, before) = (WorkPeriod::begin(), thread_time());
    let mut sum = 0_u64;
    while thread_time() == before || period.spent().all.is_zero() {
        sum = std::hint::black_box(sum.wrapping_add(1));
    }
    assert!(period.spent().elapsed > Duration::ZERO);
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
