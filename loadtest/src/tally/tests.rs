//! The tally in virtual time: stalls, late generators, faults and refusals.

use super::*;
use crate::schedule::Arrivals;

/// One server, 100 µs a request, that stands still for 200 ms every 10 s.
fn simulate(stall: Duration, lateness: Duration) -> Tally {
    let mut tally = Tally::new(None).unwrap();
    let (mut free, mut stalls) = (Duration::ZERO, 0);
    let due = Arrivals::poisson(1000.0).times(1);
    for due in due.take_while(|t| *t < Duration::from_secs(60)) {
        let sent = due + lateness;
        let mut start = sent.max(free);
        if start.as_secs() / 10 > stalls {
            stalls = start.as_secs() / 10;
            start += stall;
        }
        free = start + Duration::from_micros(100);
        let done = free;
        tally.record(&Times { due, sent, done }, Verdict::Right);
    }
    tally
}

const STALL: Duration = Duration::from_millis(200);

#[test]
fn stall_of_200_ms_shows_at_p99() {
    let stalled = simulate(STALL, Duration::ZERO);
    assert!(stalled.latency_us(99.0) > 80_000.0, "{}", stalled.json());
    assert!(simulate(Duration::ZERO, Duration::ZERO).latency_us(99.0) < 2_000.0);
}

#[test]
fn latency_of_a_part_of_the_run_is_its_own() {
    let stalled = simulate(STALL, Duration::ZERO);
    assert!(stalled.latency_between(10.0, 10.1, 50.0).unwrap() > 0.05);
    assert!(stalled.latency_between(5.0, 6.0, 99.0).unwrap() < 0.01);
    assert!(stalled.latency_between(100.0, 101.0, 99.0).is_none());
}

#[test]
fn late_generator_voids_the_run() {
    let late = simulate(Duration::ZERO, Duration::from_millis(1));
    assert!(!simulate(Duration::ZERO, Duration::ZERO).is_void(None));
    assert!(late.is_void(None) && late.is_void(Some(9_000.0)));
    assert!(!late.is_void(Some(11_000.0)));
}

fn after(done_ms: u64) -> Times {
    Times {
        due: Duration::ZERO,
        sent: Duration::ZERO,
        done: Duration::from_millis(done_ms),
    }
}

#[test]
fn faults_are_counted_apart_and_the_first_is_kept() {
    let mut tally = Tally::new(None).unwrap();
    tally.record(&after(1000), Verdict::Wrong("first".to_owned()));
    tally.record(&after(1000), Verdict::Failed("second".to_owned()));
    assert_eq!(tally.faults(), (2, Some("first")));
    assert_eq!(tally.right, 0);
}

#[test]
fn answers_after_the_deadline_are_right_but_not_good() {
    let mut tally = Tally::new(Some(Duration::from_millis(20))).unwrap();
    tally.record(&after(20), Verdict::Right);
    tally.record(&after(21), Verdict::Right);
    tally.record(&after(2), Verdict::Overloaded);
    tally.record(&after(25), Verdict::Expired);
    tally.record(&after(25), Verdict::Cancelled);
    assert_eq!((tally.right, tally.good, tally.refused()), (2, 1, 2));
    assert_eq!(tally.requests(), 5);
    assert!((tally.overdue_us(99.0) - 5_000.0).abs() < 10.0);
    assert_eq!(tally.faults().0, 0);
}
