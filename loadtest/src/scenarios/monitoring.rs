//! P15: what monitoring, capture and traces cost: two servers of the same models,
//! one with all of it and one without, measured in turn.

use super::bench::{Bench, outcome};
use super::side::{Side, alternate, costs, median, paired_ratio};
use crate::Result;
use crate::report::{Bar, Finding, Outcome};
use crate::requests::Protocol;
use crate::servers::Server;
use serde_json::json;
use std::rc::Rc;

const ON: [&str; 3] = [
    "monitor.enabled=true",
    "capture.share=0.1",
    "traces.share=0.01",
];
const OFF: [&str; 1] = ["monitor.enabled=false"];
/// Tries to start two servers that run the model alike, both in place or both on lanes.
const TRIES: usize = 8;
const ALIKE: std::ops::Range<f64> = 0.7..1.4;

pub(super) fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    for model in bench.models(&["m1", "m3"]) {
        let captured = bench.fresh_folder()?;
        let url = format!("capture.url=\"file://{}\"", captured.path().display());
        let on: Vec<&str> = ON.iter().copied().chain([url.as_str()]).collect();
        let requests = Rc::new(bench.requests(Protocol::Grpc, &model, 1)?);
        let pair = alike(bench, &model, &on, &requests)?;
        for in_flight in bench.in_flight(&[8, 64]) {
            let all = alternate(2, bench.run.rounds, |side| {
                bench.closed(&pair.sides[side], in_flight, 4)
            })?;
            let (with, without) = (costs(&all[0]), costs(&all[1]));
            let ratio = paired_ratio(&with, &without);
            let detail = json!({"on_us": median(with), "off_us": median(without)});
            let bar = Bar::AtMost(if model == "m1" { 1.15 } else { 1.05 });
            let case = format!("{model} grpc {in_flight} in flight");
            let name = "CPU with over without";
            found
                .findings
                .push(Finding::new(case, name, ratio, Some(bar), detail));
        }
    }
    Ok(found)
}

/// Two servers, kept as long as they are measured.
struct Pair {
    sides: [Side; 2],
    _servers: [Server; 2],
}

fn alike(
    bench: &Bench<'_>,
    model: &str,
    on: &[&str],
    requests: &Rc<crate::requests::RequestSet>,
) -> Result<Pair> {
    for _ in 0..TRIES {
        let servers = [bench.serve(&[model], on)?, bench.serve(&[model], &OFF)?];
        let sides = [
            bench.side("with", &servers[0], requests),
            bench.side("without", &servers[1], requests),
        ];
        let with = bench.closed(&sides[0], 8, 4)?.cpu_us();
        let without = bench.closed(&sides[1], 8, 4)?.cpu_us();
        let ratio = with.zip(without).map_or(f64::NAN, |(a, b)| a / b);
        if ALIKE.contains(&ratio) {
            return Ok(Pair {
                sides,
                _servers: servers,
            });
        }
    }
    Err(format!("no two of {TRIES} pairs of servers ran {model} alike").into())
}
