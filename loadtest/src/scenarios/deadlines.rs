//! P10 and P11: answers to requests whose deadline passed while they waited, and
//! requests that were given up before a lane took them.

use super::apart::{self, Apart};
use super::bench::{Bench, outcome};
use super::steady::doubt;
use crate::Result;
use crate::cores;
use crate::load::{Cancel, Pace, Plan};
use crate::report::{Bar, Finding, Outcome};
use crate::requests::Protocol;
use crate::schedule::Arrivals;
use crate::servers::Server;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

const OVERLOAD: f64 = 2.0;
const OVERDUE_MS: f64 = 5.0;
/// Deadlines, in runs of one row: some expire in the queue, some are hopeless at arrival.
const DEADLINE_RUNS: [f64; 3] = [2.0, 10.0, 50.0];

pub(super) fn expiry(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    for model in bench.models(&["m5"]) {
        let single_us = bench.single_run_us(&model)?;
        let Apart { server, .. } = &Apart::serve(bench, &[&model], &[])?;
        let requests = Rc::new(bench.requests(Protocol::Grpc, &model, 1)?);
        let mut side = bench.side("ortus", server, &requests);
        let saturated = bench.saturated(&side)?.rate;
        for runs in DEADLINE_RUNS {
            let deadline = Duration::from_secs_f64(single_us * runs / 1e6);
            side.target.deadline = Some(deadline);
            let arrivals = Arrivals::poisson(OVERLOAD * saturated);
            let length = crate::span(bench.run.seconds * 2.0);
            let report = apart::open(bench, &side, &arrivals, length, OVERDUE_MS * 1e4)?;
            let overdue_ms = report.tally.overdue_us(99.0) / 1e3;
            let detail = json!({
                "expired": report.tally.expired, "passed": report.tally.overdue(),
                "overloaded": report.tally.overloaded, "answered": report.tally.right, "deadline_ms": deadline.as_secs_f64() * 1e3,
            });
            let case = format!("{model} grpc {OVERLOAD} x, deadline of {runs} runs");
            let bar = (report.tally.overdue() >= PASSED_MIN).then_some(Bar::AtMost(OVERDUE_MS));
            let name = "reply after deadline p99, ms";
            let finding = Finding::new(case, name, overdue_ms, bar, detail);
            found
                .findings
                .push(finding.doubted(doubt(&report, OVERDUE_MS * 1e4)));
        }
    }
    Ok(found)
}

/// A p99 of fewer deadlines that passed says nothing: most requests are refused when they arrive.
const PASSED_MIN: u64 = 100;
/// Requests sent at once, and when they are all given up.
const GIVEN_UP: usize = 48;
const GIVEN_UP_AFTER: Duration = Duration::from_millis(10);
/// The server is idle once its count of batches has not changed for so long.
const QUIET: Duration = Duration::from_millis(500);
const QUIET_MAX: Duration = Duration::from_secs(30);

pub(super) fn cancellation(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    // A run must take far longer than a request waits, and have one row: each lane is in one then.
    for model in bench.models(&["conv50"]) {
        let server = bench.serve(&[&model], &["models.defaults.batch_rows_max=1"])?;
        let requests = Rc::new(bench.requests(Protocol::Grpc, &model, 1)?);
        let side = bench.side("ortus", &server, &requests);
        let mut beyond = 0.0_f64;
        for _ in 0..bench.run.rounds.max(1) {
            settled(&server)?;
            let before = settled(&server)?;
            let report = bench.measure(
                "requests that are given up",
                &side,
                Plan {
                    target: side.target.clone(),
                    pace: Pace::Open {
                        arrivals: Arrivals::Trace(vec![Duration::from_millis(1); GIVEN_UP]),
                        seed: 1,
                    },
                    length: Duration::from_secs(1),
                    warm_up: Duration::ZERO,
                    connections: 4,
                    cancel: Some(Cancel {
                        share: 1.0,
                        after: GIVEN_UP_AFTER,
                    }),
                },
            )?;
            // One request of each connection is answered before.
            let answered = report.tally.right as f64 + 4.0;
            let run = settled(&server)? - before - answered;
            beyond = beyond.max(run - cores() as f64);
        }
        let detail = json!({"given_up": GIVEN_UP, "after_ms": GIVEN_UP_AFTER.as_secs_f64() * 1e3});
        let case = format!("{model} grpc, {GIVEN_UP} given up");
        let name = "rows run beyond the lanes";
        let bar = Some(Bar::AtMost(0.0));
        found
            .findings
            .push(Finding::new(case, name, beyond.max(0.0), bar, detail));
    }
    Ok(found)
}

/// The rows that a server has run, once it runs no more.
fn settled(server: &Server) -> Result<f64> {
    let begin = Instant::now();
    let (mut rows, mut since) = (rows_run(server)?, Instant::now());
    while since.elapsed() < QUIET {
        if begin.elapsed() > QUIET_MAX {
            return Err("the server does not get idle".into());
        }
        std::thread::sleep(QUIET / 10);
        let now = rows_run(server)?;
        if now != rows {
            (rows, since) = (now, Instant::now());
        }
    }
    Ok(rows)
}

fn rows_run(server: &Server) -> Result<f64> {
    let mut stream = TcpStream::connect(&server.ops)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(sum_of(&text, "ortus_batch_rows_sum"))
}

/// The sum over all label values of a metric.
fn sum_of(text: &str, name: &str) -> f64 {
    let lines = text.lines().filter_map(|l| l.strip_prefix(name));
    let values = lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_labels() {
        let text = "# x\nrows_sum{model=\"a\"} 3\nrows_sum{model=\"b\"} 4.5\nrows_count{} 9\n";
        assert_eq!(sum_of(text, "rows_sum"), 7.5);
        assert_eq!(sum_of(text, "none"), 0.0);
    }
}
