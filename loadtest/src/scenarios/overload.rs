//! P6: more load than the server can take, with deadlines: how much of its work is
//! still useful, how fast it refuses, and how fast it is itself again.

use super::apart::{self, Apart};
use super::bench::{Bench, LONG_RUN_US, LONG_TIMES, outcome};
use super::side::Side;
use super::steady::{doubt, over_time};
use crate::Result;
use crate::load::Report;
use crate::report::{Bar, Finding, Outcome, Plot, Series};
use crate::requests::Protocol;
use crate::schedule::{Arrivals, Step};
use serde_json::json;
use std::rc::Rc;
use std::time::Duration;

const FACTORS: [f64; 5] = [1.2, 1.5, 2.0, 5.0, 10.0];
/// Load before and after the overload.
const CALM_SHARE: f64 = 0.5;
/// How long after the overload latencies must be as before.
const RECOVERY: f64 = 2.0;
const DEADLINE_MS: f64 = 20.0;
const DEADLINE_RUNS: f64 = 10.0;
const REFUSAL_MS: f64 = 5.0;
const RECOVERED: f64 = 1.2;
/// A p99 of fewer answers is theirs only.
const SAMPLES_MIN: f64 = 1_000.0;

/// No server can answer within it, so that it refuses every request.
const HOPELESS: Duration = Duration::from_micros(1);
const REFUSED_IN_FLIGHT: usize = 64;

/// What the server can do: its saturated rate, and the CPU time of a refusal over
/// that of an answer; and for how long that is seen.
#[derive(Clone, Copy)]
struct Limits {
    saturated: f64,
    refusal_cost: f64,
    /// How long it is measured.
    seconds: f64,
}

/// The three parts of a run, in seconds.
#[derive(Clone, Copy)]
struct Parts {
    calm: f64,
    overload: f64,
    after: f64,
}

pub(super) fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    for model in bench.models(&["m5", "conv50", "m4"]) {
        let run_us = bench.single_run_us(&model)?;
        let deadline_us = (DEADLINE_MS * 1e3).max(DEADLINE_RUNS * run_us);
        let seconds = match run_us >= LONG_RUN_US {
            true => bench.run.seconds * LONG_TIMES,
            false => bench.run.seconds,
        };
        let deadline = Duration::from_secs_f64(deadline_us / 1e6);
        let Apart { server, .. } = &Apart::serve(bench, &[&model], &[])?;
        let requests = Rc::new(bench.requests(Protocol::Grpc, &model, 1)?);
        let mut side = bench.side("ortus", server, &requests);
        let saturated = bench.saturated(&side)?;
        side.target.deadline = Some(HOPELESS);
        let refusals = bench.closed(&side, REFUSED_IN_FLIGHT, 4)?;
        let refusal_cost = refusal_cost(&refusals, saturated.cpu_us);
        let limits = Limits {
            saturated: saturated.rate,
            refusal_cost,
            seconds,
        };
        side.target.deadline = Some(deadline);
        let (mut reached, mut possible) = (Vec::new(), Vec::new());
        for factor in FACTORS {
            let (goodput, ceiling) = overloaded(bench, &side, limits, factor, &mut found)?;
            reached.push((factor, goodput));
            possible.push((factor, ceiling));
        }
        let series = |name: &str, points| Series {
            name: name.to_owned(),
            points,
        };
        found.plots.push(Plot {
            title: format!("{model}: answers within the deadline"),
            x: "offered over saturated rate",
            y: "share of the saturated rate",
            is_log: true,
            series: vec![series("reached", reached), series("possible", possible)],
            level: None,
        });
    }
    Ok(found)
}

/// One overload; returns goodput over the saturated rate, and what was possible.
fn overloaded(
    bench: &Bench<'_>,
    side: &Side,
    limits: Limits,
    factor: f64,
    found: &mut Outcome,
) -> Result<(f64, f64)> {
    let parts = Parts {
        calm: limits.seconds,
        overload: limits.seconds,
        after: RECOVERY + limits.seconds,
    };
    let step = |share: f64, seconds| Step {
        rate: share * limits.saturated,
        seconds,
    };
    let arrivals = Arrivals::Poisson(vec![
        step(CALM_SHARE, parts.calm),
        step(factor, parts.overload),
        step(CALM_SHARE, parts.after),
    ]);
    let length = crate::span(parts.calm + parts.overload + parts.after);
    let bound_us = REFUSAL_MS * 1e3 * 2.0;
    let report = apart::open(bench, side, &arrivals, length, bound_us)?;
    let figures = Figures::of(&report, parts, limits, factor);
    let void = doubt(&report, bound_us);
    let case = format!("{} {factor} x", model_of(side));
    let detail = json!({
        "goodput_per_s": figures.goodput * limits.saturated, "saturated_rate": limits.saturated,
        "possible": figures.ceiling, "refused": report.tally.refused(),
        "refusal_over_answer_cpu": limits.refusal_cost,
    });
    let share = if factor <= 2.0 { 0.95 } else { 0.90 };
    let bar = (factor <= 5.0).then_some(Bar::AtLeast(share));
    let name = "goodput over the possible";
    let finding = Finding::new(
        case.clone(),
        name,
        figures.goodput / figures.ceiling,
        bar,
        detail,
    );
    found.findings.push(finding.doubted(void.clone()));

    let refusal_ms = report.tally.refusal_us(99.0) / 1e3;
    let bar = Some(Bar::AtMost(REFUSAL_MS));
    let finding = Finding::new(case.clone(), "refusal p99, ms", refusal_ms, bar, json!({}));
    found.findings.push(finding.doubted(void.clone()));

    let detail = json!({"before_ms": figures.before * 1e3, "after_ms": figures.after * 1e3});
    let has_samples = CALM_SHARE * limits.saturated * parts.calm >= SAMPLES_MIN;
    let bar = has_samples.then_some(Bar::AtMost(RECOVERED));
    let name = "p99 2 s after over before";
    let finding = Finding::new(
        case.clone(),
        name,
        figures.after / figures.before,
        bar,
        detail,
    );
    found.findings.push(finding.doubted(void));
    if factor == FACTORS[2] {
        found.plots.push(over_time(case, &report));
    }
    Ok((figures.goodput, figures.ceiling))
}

/// What a run with an overload in the middle says.
struct Figures {
    /// Answers within the deadline during the overload, over the saturated rate.
    goodput: f64,
    /// The most that was possible: `(1 − rk)/(1 − r)`.
    ceiling: f64,
    before: f64,
    after: f64,
}

impl Figures {
    fn of(report: &Report, parts: Parts, limits: Limits, factor: f64) -> Self {
        let deadline = report
            .tally
            .deadline()
            .unwrap_or(Duration::MAX)
            .as_secs_f64();
        let (start, end) = (parts.calm, parts.calm + parts.overload);
        let is_useful = |(due, latency): &&(f32, f32)| {
            (start..end).contains(&f64::from(*due)) && f64::from(*latency) <= deadline
        };
        let useful = report.tally.samples.iter().filter(is_useful).count() as f64;
        let p99 = |from, to| {
            report
                .tally
                .latency_between(from, to, 99.0)
                .unwrap_or(f64::NAN)
        };
        Self {
            goodput: useful / parts.overload / limits.saturated,
            ceiling: ceiling(factor, limits.refusal_cost),
            before: p99(0.0, start),
            after: p99(end + RECOVERY, end + parts.after),
        }
    }
}

/// The CPU time of a refusal over that of an answer, from a run of refusals.
fn refusal_cost(report: &Report, answer_us: f64) -> f64 {
    let used_us = report
        .server_cpu
        .map_or(f64::NAN, |c| c.as_secs_f64() * 1e6);
    let refused = report.tally.refused().max(1) as f64;
    (used_us / refused / answer_us).clamp(0.0, 0.99)
}

/// The share of its saturated rate that a server can answer at `k` times that rate,
/// when a refusal costs `r` of an answer.
fn ceiling(k: f64, r: f64) -> f64 {
    ((1.0 - r * k) / (1.0 - r)).clamp(0.01, 1.0)
}

fn model_of(side: &Side) -> &str {
    &side.target.requests.model
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ceiling_is_what_refusals_leave() {
        assert_eq!(ceiling(2.0, 0.0), 1.0);
        assert!((ceiling(2.0, 0.09) - 0.901).abs() < 1e-3);
        assert_eq!(ceiling(10.0, 0.5), 0.01);
    }
}
