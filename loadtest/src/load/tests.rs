//! The generator against live servers that misbehave: one that stands still,
//! and one that answers wrongly now and then.

use super::*;
use std::io::{Read, Write};
use std::net::TcpListener;

/// A server of one connection at a time that answers `body(n)` to request `n`,
/// after standing still for `pause(n)`.
fn serve(
    body: impl Fn(usize) -> String + Send + Clone + 'static,
    pause: impl Fn(usize) -> Duration + Send + Clone + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, body, pause) = (stream.unwrap(), body.clone(), pause.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                let mut n = 0;
                // Requests are small enough to come in one read.
                while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                    std::thread::sleep(pause(n));
                    let text = body(n);
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

const ANSWER: &str = r#"{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[1.5]}]}"#;

fn measure(address: String, pace: Pace) -> Report {
    let body = r#"{"inputs":[]}"#.to_owned();
    let target = Target::Http {
        address,
        model: "m".to_owned(),
        body,
    };
    let golden = Some(Golden::parse(ANSWER.as_bytes()).unwrap());
    run(
        Plan {
            target,
            golden,
            pace,
            length: Duration::from_secs(1),
            connections: 1,
        },
        None,
    )
    .unwrap()
}

#[test]
fn a_server_that_stands_still_once_is_seen_in_every_request_it_delayed() {
    let stall = |n: usize| {
        if n == 50 {
            Duration::from_millis(200)
        } else {
            Duration::ZERO
        }
    };
    let stalled = measure(
        serve(|_| ANSWER.to_owned(), stall),
        Pace::Open {
            rate: 200.0,
            seed: 1,
        },
    );
    // About 40 of 200 requests were due while it stood still, and fewer as it
    // caught up: a tenth waited for at least half of it.
    assert!(
        stalled.tally.latency_us(90.0) > 50_000.0,
        "{}",
        stalled.json(None)
    );
    assert!(stalled.verdict(Some(1_000_000.0)).is_ok());
    assert!(
        stalled
            .verdict(Some(100_000.0))
            .unwrap_err()
            .to_string()
            .contains("over the bound")
    );
}

#[test]
fn one_wrong_answer_in_a_hundred_fails_the_run() {
    let body = |n: usize| {
        if n % 100 == 99 {
            ANSWER.replace("1.5", "1.6")
        } else {
            ANSWER.to_owned()
        }
    };
    let wrong = measure(
        serve(body, |_| Duration::ZERO),
        Pace::Closed { in_flight: 1 },
    );
    assert!(
        wrong.tally.faults().0 > 0 && wrong.tally.right() > 90,
        "{}",
        wrong.json(None)
    );
    assert!(
        wrong
            .verdict(None)
            .unwrap_err()
            .to_string()
            .contains("faults")
    );
}
