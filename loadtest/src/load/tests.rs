//! The generator against live servers that misbehave: one that stands still, one
//! that answers wrongly now and then, and two that answer from memory.

use super::*;
use crate::golden::Golden;
use crate::requests::{Habits, Input, Protocol, RequestSet};
use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpListener;

/// Answers request number `n` of a connection.
type Handler = dyn Fn(usize, &[u8]) -> String + Send + Sync;

/// A server of one request at a time on each connection.
fn serve(handler: impl Fn(usize, &[u8]) -> String + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let handler: std::sync::Arc<Handler> = std::sync::Arc::new(handler);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, handler) = (stream.unwrap(), handler.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                let mut n = 0;
                // Requests are small enough to come in one read.
                while let Ok(read @ 1..) = stream.read(&mut buffer) {
                    let text = handler(n, &buffer[..read]);
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
                    if stream.write_all((head + &text).as_bytes()).is_err() {
                        return;
                    }
                    n += 1;
                }
            });
        }
    });
    address
}

fn answer(value: f64) -> String {
    json!({"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [value]}]})
        .to_string()
}

fn input(x: f64, y: f64) -> Input {
    Input {
        sample: json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [x]}]}),
        golden: Some(Golden::parse(answer(y).as_bytes()).unwrap()),
    }
}

fn plan(address: String, pace: Pace, habits: Habits) -> Plan {
    let inputs = vec![input(0.123_456, 1.5), input(0.234_567, 2.5)];
    let requests = RequestSet::new(Protocol::Json, "m", inputs, habits).unwrap();
    Plan {
        target: Target {
            address: address.into(),
            requests: Rc::new(requests),
            deadline: None,
        },
        pace,
        length: Duration::from_secs(1),
        warm_up: Duration::ZERO,
        connections: 1,
        cancel: None,
    }
}

/// Every answer is checked.
const PLAIN: Habits = Habits {
    is_fresh: false,
    check_every: 1,
};
const FRESH: Habits = Habits {
    is_fresh: true,
    check_every: 8,
};
const ONE: Pace = Pace::Closed { in_flight: 1 };

/// What a right server answers.
fn right(request: &[u8]) -> String {
    let is_second = String::from_utf8_lossy(request).contains("0.234567");
    answer(if is_second { 2.5 } else { 1.5 })
}

#[test]
fn a_server_that_stands_still_once_is_seen_in_every_request_it_delayed() {
    let address = serve(|n, request| {
        if n == 50 {
            std::thread::sleep(Duration::from_millis(200));
        }
        right(request)
    });
    let pace = Pace::Open {
        arrivals: Arrivals::poisson(200.0),
        seed: 1,
    };
    let stalled = run(&plan(address, pace, PLAIN), None).unwrap();
    // About 40 of 200 requests were due while it stood still, and fewer as it
    // caught up: a tenth waited for at least half of it.
    let json = stalled.json(None);
    assert!(stalled.tally.latency_us(90.0) > 50_000.0, "{json}");
    assert!(stalled.tally.latency_us(99.0) > 150_000.0, "{json}");
    assert_eq!(stalled.tally.faults().0, 0, "{json}");
    assert!(stalled.verdict(Some(100_000.0)).is_err(), "{json}");
}

#[test]
fn one_wrong_answer_in_a_hundred_fails_the_run() {
    for habits in [PLAIN, FRESH] {
        let address = serve(|n, request| {
            let is_wrong = n % 100 == 99;
            let text = right(request);
            if is_wrong {
                text.replace(".5", ".6")
            } else {
                text
            }
        });
        let wrong = run(&plan(address, ONE, habits), None).unwrap();
        let json = wrong.json(None);
        assert!(wrong.tally.wrong > 0 && wrong.tally.right > 90, "{json}");
        let fault = wrong.verdict(None).unwrap_err().to_string();
        assert!(fault.contains("faults"), "{fault}");
    }
}

#[test]
fn a_server_that_repeats_its_first_answer_is_caught() {
    let address = serve(|_, _| answer(1.5));
    let wrong = run(&plan(address, ONE, FRESH), None).unwrap();
    assert!(wrong.tally.wrong > 0, "{}", wrong.json(None));
}

#[test]
fn a_server_that_keeps_answers_gains_nothing_from_fresh_requests() {
    let kept = std::sync::Arc::new(AtomicU64::new(0));
    let hits = kept.clone();
    let known = std::sync::Mutex::new(HashSet::new());
    let address = serve(move |_, request| {
        if !known.lock().unwrap().insert(request.to_vec()) {
            hits.fetch_add(1, Ordering::Relaxed);
        }
        right(request)
    });
    let report = run(&plan(address, ONE, FRESH), None).unwrap();
    let asked = report.tally.right;
    let share = kept.load(Ordering::Relaxed) as f64 / asked as f64;
    // Only the checked requests repeat.
    assert!(share < 0.2, "{share} of {asked} came from memory");
}

#[test]
fn cancelled_requests_are_counted_apart() {
    let address = serve(|_, request| {
        std::thread::sleep(Duration::from_millis(20));
        right(request)
    });
    let mut plan = plan(address, Pace::Closed { in_flight: 2 }, PLAIN);
    plan.cancel = Some(Cancel {
        share: 0.5,
        after: Duration::from_millis(1),
    });
    let report = run(&plan, None).unwrap();
    let json = report.json(None);
    assert!(
        report.tally.cancelled > 0 && report.tally.right > 0,
        "{json}"
    );
    assert!(report.verdict(None).is_ok(), "{json}");
}

#[test]
fn chosen_requests_are_the_share_asked_for() {
    let chosen = |share| (0..100_000).filter(|n| is_chosen(*n, share)).count();
    assert_eq!((chosen(0.0), chosen(1.0)), (0, 100_000));
    assert!(chosen(0.25).abs_diff(25_000) < 500);
}
