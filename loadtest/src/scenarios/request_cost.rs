//! P1: what a request costs the server, beside a bare echo of the same bytes and a
//! bare run of the model; and for models that compute long, the rows per second
//! beside the best raw grid.

use super::bench::{Bench, LONG_RUN_US, LONG_TIMES, RawFigure, RawGrid, outcome};
use super::side::{Side, alternate, costs, median, paired_ratio, rates};
use crate::load::Report;
use crate::report::{Bar, Finding, Outcome, Plot, Series};
use crate::requests::Protocol;
use crate::servers::Server;
use crate::{Result, process};
use serde_json::json;
use std::rc::Rc;

const MODELS: [&str; 5] = ["m0", "m1", "m2", "m3", "conv50"];
/// Models whose run is small, and what Ortus may cost beside the wire and the model,
/// in microseconds.
const HELD: [&str; 3] = ["m1", "m2", "m3"];
const OWN_COST_US: f64 = 5.0;
const HTTP_RATIO: f64 = 1.5;
const RAW_SHARE: f64 = 0.98;
const LONG_IN_FLIGHT: usize = 32;

/// One point at which costs are measured.
#[derive(Clone, Copy)]
struct Cell<'m> {
    model: &'m str,
    protocol: Protocol,
    in_flight: usize,
    connections: usize,
}

impl Cell<'_> {
    fn text(&self) -> String {
        let connections = match self.protocol {
            Protocol::Grpc => self.connections.min(self.in_flight),
            // A connection has one request at a time.
            Protocol::Binary | Protocol::Json => self.in_flight,
        };
        format!(
            "{} {} {} in flight, {connections} connections",
            self.model,
            self.protocol.name(),
            self.in_flight
        )
    }
}

pub(super) fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    for model in bench.models(&MODELS) {
        let single = bench.raw(&model, &RawGrid::one(1, bench.run.seconds.min(1.0)));
        match single.as_ref().map(|f| f[0].wall_us) {
            Ok(wall_us) if wall_us >= LONG_RUN_US => long(bench, &model, &mut found)?,
            _ => short(bench, &model, single.ok().map(|f| f[0]), &mut found)?,
        }
    }
    Ok(found)
}

fn short(
    bench: &Bench<'_>,
    model: &str,
    raw: Option<RawFigure>,
    found: &mut Outcome,
) -> Result<()> {
    let server = bench.serve(&[model], &[])?;
    let is_first = model == MODELS[0];
    for protocol in bench.protocols(&[Protocol::Grpc, Protocol::Binary, Protocol::Json]) {
        let floor = Server::floor(protocol)?;
        let usual = if is_first {
            &[1, 8, 64, 512][..]
        } else {
            &[1, 8, 64]
        };
        let connections = match protocol {
            Protocol::Grpc => bench.connections(if is_first { &[1, 4] } else { &[4] }),
            Protocol::Binary | Protocol::Json => vec![1],
        };
        for connections in connections {
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            for in_flight in bench.in_flight(usual) {
                let cell = Cell {
                    model,
                    protocol,
                    in_flight,
                    connections,
                };
                let (finding, pair) = cost(bench, &server, &floor, cell, raw)?;
                ours.push((in_flight as f64, pair.0));
                theirs.push((in_flight as f64, pair.1));
                found.findings.extend(finding);
            }
            found.plots.push(Plot {
                title: format!(
                    "{model} over {}, {connections} connections",
                    protocol.name()
                ),
                x: "requests in flight",
                y: "server CPU µs per request",
                is_log: true,
                series: vec![named("ortus", ours), named("floor", theirs)],
                level: None,
            });
        }
    }
    found
        .findings
        .extend(memory_beside_peer(bench, model, &server)?);
    Ok(())
}

/// The peer's memory over ours after the load, where its process is named.
fn memory_beside_peer(bench: &Bench<'_>, model: &str, server: &Server) -> Result<Option<Finding>> {
    let Some(peer) = bench.run.compare_pid else {
        return Ok(None);
    };
    let peer_mb = process::memory_tree_mb(peer)?;
    let ortus_mb = process::memory_tree_mb(server.pid())?;
    let detail = json!({"peer_mb": peer_mb, "ortus_mb": ortus_mb});
    let name = "peer's memory over ours";
    let case = format!("{model} after the load");
    let finding = Finding::new(case, name, peer_mb / ortus_mb, None, detail);
    Ok(Some(finding))
}

fn named(name: &str, points: Vec<(f64, f64)>) -> Series {
    Series {
        name: name.to_owned(),
        points,
    }
}

/// Measures Ortus, the floor and the peer at one point; returns the findings, and
/// the medians of Ortus and of the floor.
fn cost(
    bench: &Bench<'_>,
    server: &Server,
    floor: &Server,
    cell: Cell<'_>,
    raw: Option<RawFigure>,
) -> Result<(Vec<Finding>, (f64, f64))> {
    let requests = Rc::new(bench.requests(cell.protocol, cell.model, 1)?);
    let echoed = Rc::new(requests.echoed());
    let mut sides = vec![
        bench.side("ortus", server, &requests),
        bench.side("floor", floor, &echoed),
    ];
    sides.extend(bench.peer(&requests));
    let all = alternate(sides.len(), bench.run.rounds, |side| {
        bench.closed(&sides[side], cell.in_flight, cell.connections)
    })?;

    let (ours, theirs) = (costs(&all[0]), costs(&all[1]));
    let medians = (median(ours.clone()), median(theirs.clone()));
    let raw_us = raw.map_or(f64::NAN, |r| r.cpu_us);
    let detail = json!({
        "ortus_us": medians.0, "floor_us": medians.1, "raw_us": raw_us,
        "ortus_rate": median(rates(&all[0])), "floor_rate": median(rates(&all[1])),
        "client_us": median(client_costs(&all[0])),
    });
    // Identity is the wire itself; what else a model costs belongs to the floor.
    let is_identity = cell.model == MODELS[0] || !raw_us.is_finite();
    let (name, model_us) = match is_identity {
        true => ("server CPU over floor", 0.0),
        false => ("server CPU over floor and raw", raw_us),
    };
    let floor: Vec<f64> = theirs.iter().map(|floor_us| floor_us + model_us).collect();
    let ratio = paired_ratio(&ours, &floor);
    let bar = ratio_bar(cell);
    let mut findings = vec![Finding::new(cell.text(), name, ratio, bar, detail.clone())];
    let has_own_bar = cell.model != MODELS[0] && cell.protocol == Protocol::Grpc;
    if has_own_bar && raw_us.is_finite() {
        let beyond = ours
            .iter()
            .zip(&theirs)
            .map(|(a, b)| a - b - raw_us)
            .collect();
        let is_held = HELD.contains(&cell.model) && (8..=64).contains(&cell.in_flight);
        let bar = is_held.then_some(Bar::AtMost(OWN_COST_US));
        let name = "CPU µs beyond floor and raw";
        findings.push(Finding::new(cell.text(), name, median(beyond), bar, detail));
    }
    if let Some(peer) = all.get(2) {
        findings.push(beside_peer(cell.text(), &all[0], peer));
    }
    Ok((findings, medians))
}

fn ratio_bar(cell: Cell<'_>) -> Option<Bar> {
    let is_identity = cell.model == MODELS[0];
    match (cell.protocol, cell.in_flight) {
        (Protocol::Grpc, 1) if is_identity => Some(Bar::AtMost(1.4)),
        (Protocol::Grpc, 8) if is_identity => Some(Bar::AtMost(1.8)),
        (Protocol::Grpc, 64) if is_identity => Some(Bar::AtMost(2.5)),
        (Protocol::Binary, _) => Some(Bar::AtMost(HTTP_RATIO)),
        _ => None,
    }
}

fn client_costs(reports: &[Report]) -> Vec<f64> {
    let cost = |r: &Report| r.client_cpu.as_secs_f64() * 1e6 / r.tally.right.max(1) as f64;
    reports.iter().map(cost).collect()
}

/// The peer's cost over ours, or our rate over its where its process is unknown.
pub(super) fn beside_peer(case: String, ours: &[Report], peer: &[Report]) -> Finding {
    let detail = json!({
        "peer_us": median(costs(peer)), "ortus_us": median(costs(ours)),
        "peer_rate": median(rates(peer)), "ortus_rate": median(rates(ours)),
    });
    let by_cost = paired_ratio(&costs(peer), &costs(ours));
    match by_cost.is_finite() {
        true => Finding::new(case, "peer's CPU over ours", by_cost, None, detail),
        false => {
            let by_rate = paired_ratio(&rates(ours), &rates(peer));
            Finding::new(case, "our rate over the peer's", by_rate, None, detail)
        }
    }
}

/// A model that computes long: rows a second with many in flight, and none lost.
fn long(bench: &Bench<'_>, model: &str, found: &mut Outcome) -> Result<()> {
    let best = bench.best_raw(model, &[1, 2, 4, 8])?;
    let server = bench.serve(&[model], &[])?;
    let requests = Rc::new(bench.requests(Protocol::Grpc, model, 1)?);
    let mut sides: Vec<Side> = vec![bench.side("ortus", &server, &requests)];
    sides.extend(bench.peer(&requests));
    let length = crate::span(bench.run.seconds * LONG_TIMES);
    let (mut overloaded, mut expired) = (0, 0);
    let all = alternate(sides.len() + 1, bench.run.rounds, |side| {
        let Some(side) = sides.get(side) else {
            let grid = RawGrid::at(best, length.as_secs_f64());
            return Ok(bench.raw(model, &grid)?[0].rows_per_s);
        };
        let report = bench.measure(
            side.name,
            side,
            crate::load::Plan {
                target: side.target.clone(),
                pace: crate::load::Pace::Closed {
                    in_flight: LONG_IN_FLIGHT,
                },
                length,
                warm_up: length / 4,
                connections: 4,
                cancel: None,
            },
        )?;
        if side.name == "ortus" {
            overloaded += report.tally.overloaded;
            expired += report.tally.expired;
        }
        Ok(report.rate())
    })?;

    let case = format!("{model} grpc {LONG_IN_FLIGHT} in flight");
    let raw = &all[sides.len()];
    let detail = json!({
        "ortus_rows_per_s": median(all[0].clone()), "raw_rows_per_s": median(raw.clone()),
        "raw_rows": best.rows, "raw_lanes": best.lanes, "raw_intra": best.intra,
    });
    let share = paired_ratio(&all[0], raw);
    let bar = Some(Bar::AtLeast(RAW_SHARE));
    let name = "rows/s over best raw grid";
    found
        .findings
        .push(Finding::new(case.clone(), name, share, bar, detail));
    let lost = (overloaded + expired) as f64;
    let detail = json!({"overloaded": overloaded, "expired": expired});
    let bar = Some(Bar::AtMost(0.0));
    let finding = Finding::new(case.clone(), "requests lost", lost, bar, detail);
    found.findings.push(finding);
    if sides.len() > 1 {
        let ratio = paired_ratio(&all[0], &all[1]);
        let detail = json!({"peer_rows_per_s": median(all[1].clone())});
        found.findings.push(Finding::new(
            case,
            "our rate over the peer's",
            ratio,
            None,
            detail,
        ));
    }
    found
        .findings
        .extend(memory_beside_peer(bench, model, &server)?);
    Ok(())
}
