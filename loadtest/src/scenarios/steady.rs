//! P2 and P7: Poisson load. The largest share of the saturated rate at which the
//! p99 holds its bound, and bursts beside an ideal queue.

use super::apart::{self, Apart};
use super::bench::{Bench, outcome};
use super::side::Side;
use crate::Result;
use crate::load::Report;
use crate::report::{Bar, Finding, Outcome, Plot, Series};
use crate::requests::Protocol;
use crate::schedule::{Arrivals, Step};
use serde_json::json;
use std::rc::Rc;
use std::time::Duration;

const MODELS: [&str; 5] = ["m0", "m1", "m3", "m4", "m5"];
/// A p99 is bounded by ten milliseconds, or by so many runs of one row.
const BOUND_MS: f64 = 10.0;
const BOUND_RUNS: f64 = 5.0;
/// Models whose run is small beside the wire, and what they are held to.
const SMALL: [&str; 3] = ["m0", "m1", "m2"];
/// Shares of the saturated rate that are tried, in order.
const SHARES: [f64; 9] = [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0];
/// An open loop runs so many times the usual length.
const OPEN_TIMES: f64 = 2.0;

/// The p99 that a model is held to, in microseconds.
pub(super) fn bound_us(single_run_us: f64) -> f64 {
    (BOUND_MS * 1e3).max(BOUND_RUNS * single_run_us)
}

/// Why an open loop's figures cannot be trusted.
pub(super) fn doubt(report: &Report, bound_us: f64) -> Option<String> {
    let late_ms = report.tally.lateness_us(99.9) / 1e3;
    let late = || format!("the generator was late itself, by {late_ms:.1} ms at p99.9");
    report.is_void(Some(bound_us)).then(late)
}

pub(super) fn poisson(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    for model in bench.models(&MODELS) {
        let bound_us = bound_us(bench.single_run_us(&model)?);
        let Apart { server, .. } = &Apart::serve(bench, &[&model], &[])?;
        for protocol in bench.protocols(&[Protocol::Grpc]) {
            let requests = Rc::new(bench.requests(protocol, &model, 1)?);
            let mut sides = vec![bench.side("ortus", server, &requests)];
            sides.extend(bench.peer(&requests));
            for side in &sides {
                let case = format!("{model} {} {}", protocol.name(), side.name);
                search(bench, side, &case, bound_us, &mut found)?;
            }
        }
    }
    Ok(found)
}

/// Raises the rate while the p99 holds.
fn search(
    bench: &Bench<'_>,
    side: &Side,
    case: &str,
    bound_us: f64,
    found: &mut Outcome,
) -> Result<()> {
    let saturated = bench.saturated(side)?.rate;
    let (mut held, mut points, mut void) = (0.0, Vec::new(), None);
    let mut misses = 0;
    for share in SHARES {
        let arrivals = Arrivals::poisson(share * saturated);
        let length = crate::span(bench.run.seconds * OPEN_TIMES);
        let report = apart::open(bench, side, &arrivals, length, bound_us)?;
        let p99_us = report.tally.latency_us(99.0);
        points.push((share, p99_us / 1e3));
        let is_held = p99_us <= bound_us && report.tally.refused() == 0;
        if is_held {
            held = share;
            misses = 0;
        } else {
            misses += 1;
        }
        // A late generator makes only a missed bound doubtful.
        let doubtful = doubt(&report, bound_us).filter(|_| !is_held);
        void = if is_held { None } else { void.or(doubtful) };
        // One miss may be the machine's.
        if misses == 2 {
            break;
        }
    }
    let is_small = SMALL.iter().any(|m| case.starts_with(m));
    let bar = Bar::AtLeast(if is_small { 0.75 } else { 0.85 });
    let bar = (side.name == "ortus").then_some(bar);
    let detail = json!({"saturated_rate": saturated, "p99_bound_us": bound_us});
    let name = "share of saturated rate";
    let finding = Finding::new(case.to_owned(), name, held, bar, detail);
    let is_met = bar.is_some_and(|_| finding.standing() == crate::report::Standing::Met);
    found
        .findings
        .push(finding.doubted(void.filter(|_| !is_met)));
    found.plots.push(Plot {
        title: case.to_owned(),
        x: "share of the saturated rate",
        y: "p99, ms",
        is_log: false,
        series: vec![Series {
            name: "p99".to_owned(),
            points,
        }],
        level: Some(bound_us / 1e3),
    });
    Ok(())
}

const BURST_BASE: f64 = 0.3;
const BURST_TIMES: f64 = 10.0;
const BURST: Duration = Duration::from_millis(100);
const BURST_EVERY: Duration = Duration::from_secs(2);
const BURST_BAR: f64 = 1.15;

pub(super) fn bursts(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    for model in bench.models(&["m4", "m5"]) {
        let Apart { server, .. } = &Apart::serve(bench, &[&model], &[])?;
        let requests = Rc::new(bench.requests(Protocol::Grpc, &model, 1)?);
        let side = bench.side("ortus", server, &requests);
        let saturated = bench.saturated(&side)?.rate;
        let alone = bench.closed(&side, 1, 1)?.tally.latency_us(50.0) / 1e6;
        let quiet = Step {
            rate: BURST_BASE * saturated,
            seconds: (BURST_EVERY - BURST).as_secs_f64(),
        };
        let burst = Step {
            rate: BURST_BASE * BURST_TIMES * saturated,
            seconds: BURST.as_secs_f64(),
        };
        let arrivals = Arrivals::Poisson(vec![quiet, burst]);
        let length = crate::span(bench.run.seconds * 4.0).max(BURST_EVERY * 2);
        let due = arrivals.clone().times(bench.run.seed);
        let due: Vec<f64> = due
            .take_while(|d| *d < length)
            .map(|d| d.as_secs_f64())
            .collect();
        let ideal_s = percentile(ideal_queue(&due, saturated, alone), 99.0);
        let report = apart::open(bench, &side, &arrivals, length, ideal_s * 1e6)?;
        let p99_us = report.tally.latency_us(99.0);
        let detail = json!({
            "p99_us": p99_us, "ideal_p99_us": ideal_s * 1e6, "saturated_rate": saturated,
            "alone_p50_us": alone * 1e6, "refused": report.tally.refused(),
        });
        let bar = Some(Bar::AtMost(BURST_BAR));
        let ratio = p99_us / 1e6 / ideal_s;
        let case = format!("{model} grpc, {BURST_TIMES} times the rate for {BURST:?}");
        let finding = Finding::new(case.clone(), "p99 over ideal queue", ratio, bar, detail);
        found
            .findings
            .push(finding.doubted(doubt(&report, ideal_s * 1e6)));
        found.plots.push(over_time(case, &report));
    }
    Ok(found)
}

/// Latencies of a queue that serves at `rate` without a pause, in order of arrival,
/// where a request alone takes `alone` seconds.
fn ideal_queue(due: &[f64], rate: f64, alone: f64) -> Vec<f64> {
    let mut free = 0.0_f64;
    let latency = |due: &f64| {
        free = free.max(*due) + 1.0 / rate;
        (free - due).max(alone)
    };
    due.iter().map(latency).collect()
}

fn percentile(mut values: Vec<f64>, percent: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values
        .get(at.saturating_sub(1))
        .copied()
        .unwrap_or(f64::NAN)
}

/// Parts of a run that are drawn.
const PARTS: u32 = 120;

/// The p99 of the requests due in each part of a run.
pub(super) fn over_time(title: String, report: &Report) -> Plot {
    let step = report.took.as_secs_f64() / f64::from(PARTS);
    let point = |at| {
        let from = f64::from(at) * step;
        let latency = report.tally.latency_between(from, from + step, 99.0)?;
        Some((from, latency * 1e3))
    };
    Plot {
        title,
        x: "seconds",
        y: "p99 of answers, ms",
        is_log: false,
        series: vec![Series {
            name: "p99".to_owned(),
            points: (0..PARTS).filter_map(point).collect(),
        }],
        level: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ideal_queue_drains_at_its_rate() {
        let due = [0.0, 0.0, 0.0, 10.0];
        assert_eq!(ideal_queue(&due, 1.0, 0.5), [1.0, 2.0, 3.0, 1.0]);
        assert_eq!(ideal_queue(&due[3..], 100.0, 0.5), [0.5]);
        assert_eq!(percentile(vec![3.0, 1.0, 2.0], 50.0), 2.0);
    }

    #[test]
    fn bound_is_ten_milliseconds_or_five_runs() {
        assert_eq!(bound_us(100.0), 10_000.0);
        assert_eq!(bound_us(10_000.0), 50_000.0);
    }
}
