//! What the scheduler promises to those who are served last.
//!
//! - Priorities are strict. Below the capacity, a request of the lowest one waits no longer than lanes are
//!   busy without a pause. Above it, it is refused after `queue_timeout`, or at its deadline.
//! - Within a priority nobody starves: a request without a deadline is due after `queue_timeout`, so it
//!   is served by then, whatever requests with deadlines arrive, as long as those arrive in a queue that
//!   has room.
//! - A shape class that is seldom asked for waits no longer than a common one.

use super::arrivals::{Arrival, Shape, arrivals};
use super::machine::{MS, Machine, Nanos, TrueCost};
use super::run::{Ended, QUEUE_TIMEOUT, Setup, Simulation};
use super::{latencies, mean, ms, p99};

const ROWS_MAX: usize = 16;
const COST: TrueCost = TrueCost::Linear {
    fixed: 2_000_000,
    row: 1_000_000,
};

fn simulation() -> Simulation {
    Simulation::new(Setup {
        machine: Machine::steady(COST),
        lanes: 1,
        rows_max: ROWS_MAX,
        queue_rows_max: 100_000,
        beside: 0.0,
    })
}

/// Poisson arrivals at a load.
fn at_load(load: f64, count: usize, seed: u64) -> Vec<Arrival> {
    arrivals(Shape::Poisson, load * COST.capacity(ROWS_MAX), count, seed)
}

/// How those ended of whom `is_meant` holds.
fn part(
    trace: &[Arrival],
    ended: &[Ended],
    is_meant: impl Fn(&Arrival) -> bool,
) -> (Vec<Arrival>, Vec<Ended>) {
    let pairs = trace.iter().copied().zip(ended.iter().copied());
    pairs.filter(|(arrival, _)| is_meant(arrival)).unzip()
}

fn print(name: &str, trace: &[Arrival], ended: &[Ended]) -> Vec<Nanos> {
    let sorted = latencies(trace, ended);
    eprintln!(
        "{name:<58} {:>8} {:>8} {:>9.1} {:>9.1} {:>9.1}",
        trace.len(),
        sorted.len(),
        ms(mean(&sorted)),
        ms(p99(&sorted)),
        ms(sorted.last().copied().unwrap_or(0) as f64),
    );
    sorted
}

fn header() {
    eprintln!(
        "\n{:<58} {:>8} {:>8} {:>9} {:>9} {:>9}",
        "requests", "asked", "answered", "mean ms", "p99 ms", "most ms"
    );
}

#[test]
fn the_lowest_priority_waits_no_longer_than_the_lanes_are_busy() {
    header();
    for load in [0.5, 0.8, 0.95] {
        let mut trace = at_load(load, 4_000, 7);
        for (number, arrival) in trace.iter_mut().enumerate() {
            arrival.priority = if number % 10 == 3 { 9 } else { 0 };
        }
        let mut simulation = simulation();
        let ended = simulation.replay(&trace);
        let (low, low_ended) = part(&trace, &ended, |arrival| arrival.priority == 9);
        let name = format!("one of ten at the lowest priority, load {load}");
        let waits = print(&name, &low, &low_ended);
        assert_eq!(waits.len(), low.len(), "all are answered");
        assert!(waits.last() <= Some(&simulation.busy_longest));
    }
}

#[test]
fn a_low_priority_that_never_has_its_turn_is_refused_in_time() {
    header();
    let mut trace = at_load(2.0, 12_000, 7);
    for (number, arrival) in trace.iter_mut().enumerate() {
        let is_low = number % 10 == 3;
        arrival.priority = u8::from(is_low);
        arrival.timeout = (!is_low).then_some(60 * MS);
    }
    let ended = simulation().replay(&trace);
    let (low, low_ended) = part(&trace, &ended, |arrival| arrival.priority == 1);
    print("one of ten at a low priority, load 2", &low, &low_ended);
    for (arrival, end) in low.iter().zip(&low_ended) {
        let until = arrival.at + QUEUE_TIMEOUT;
        match end {
            Ended::Ran(at) => assert!(*at <= until + COST.of(ROWS_MAX)),
            Ended::Expired(at) => assert_eq!(*at, until),
            Ended::Refused => panic!("the queue has room"),
        }
    }
}

#[test]
fn a_request_without_a_deadline_is_served_among_too_many_with_one() {
    header();
    let mut trace = at_load(3.0, 12_000, 7);
    for (number, arrival) in trace.iter_mut().enumerate() {
        let is_patient = number % 50 == 3;
        arrival.timeout = (!is_patient).then_some(60 * MS);
    }
    let ended = simulation().replay(&trace);
    let (patient, patient_ended) = part(&trace, &ended, |arrival| arrival.timeout.is_none());
    let name = "one of fifty without a deadline, load 3";
    let waits = print(name, &patient, &patient_ended);
    assert_eq!(waits.len(), patient.len(), "all are answered");
    assert!(waits.last() <= Some(&(QUEUE_TIMEOUT + COST.of(ROWS_MAX))));
}

#[test]
fn a_seldom_shape_class_waits_no_longer_than_a_common_one() {
    header();
    let mut trace = at_load(0.6, 4_000, 7);
    for (number, arrival) in trace.iter_mut().enumerate() {
        arrival.class = if number % 25 == 3 { 1 + number % 4 } else { 0 };
    }
    let ended = simulation().replay(&trace);
    let of = |is_seldom: bool| {
        let (asked, ended) = part(&trace, &ended, |arrival| (arrival.class > 0) == is_seldom);
        let name = if is_seldom { "four seldom" } else { "a common" };
        print(&format!("{name} shape class, load 0.6"), &asked, &ended)
    };
    let (seldom, common) = (of(true), of(false));
    assert!(seldom.last() <= Some(&(common[common.len() - 1] + COST.of(ROWS_MAX))));
    assert!(mean(&seldom) <= 1.2 * mean(&common));
}
