//! P14: very many requests of random shapes, gRPC and JSON at the same time. The resident
//! memory is read after each slice of the load, and its growth per million requests is found
//! by regression.

mod growth;

use super::bench::{Bench, outcome};
use crate::load::{Pace, Plan};
use crate::models::ragged;
use crate::report::{Bar, Finding, Outcome, Plot, Series};
use crate::requests::{Protocol, RequestSet};
use crate::servers::Server;
use crate::{Error, Result, span};
use growth::{Growth, Reading};
use serde_json::json;
use std::rc::Rc;
use std::time::Duration;

/// The model of 1 to so many rows, and the model of any length.
const ROWED: &str = "m0";
const ROWS: usize = 64;
const RAGGED: &str = "m5";
const FLOWS: [Flow; 2] = [
    Flow {
        protocol: Protocol::Grpc,
        in_flight: 16,
    },
    Flow {
        protocol: Protocol::Json,
        in_flight: 8,
    },
];
/// Requests before the counted ones, as a share of these, and slices of the load at least:
/// what the server keeps by time and rows (windows and baselines of the monitor) fills before
/// the count begins.
const WARM_UP_SHARE: f64 = 0.25;
const WARM_UP_SLICES: usize = 90;
/// Readings that a regression needs at least.
const READINGS_MIN: usize = 12;

/// One closed loop of the load.
#[derive(Clone, Copy)]
struct Flow {
    protocol: Protocol,
    in_flight: usize,
}

pub(super) fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    let server = bench.serve(&[ROWED, RAGGED], &[])?;
    let counted = bench.run.requests as f64;
    let (mut sent, mut all, mut kept) = (0.0, Vec::new(), Vec::new());
    let mut warm_up = 0.0;
    while sent < warm_up + counted || kept.len() < READINGS_MIN {
        sent += slice(bench, &server)? as f64;
        let reading = Reading {
            requests_m: sent / 1e6,
            resident_mb: server.resident_mb()?,
        };
        all.push((reading.requests_m, reading.resident_mb));
        if all.len() <= WARM_UP_SLICES || sent < counted * WARM_UP_SHARE {
            warm_up = sent;
        } else {
            kept.push(reading);
        }
    }

    let growth = Growth::of(&kept);
    let detail = json!({
        "requests": sent, "of_them_warm_up": warm_up, "readings": kept.len(),
        "low": growth.low, "slope": growth.slope, "high": growth.high,
        "first_mb": all.first().map(|p| p.1), "last_mb": all.last().map(|p| p.1),
    });
    let case = format!("{ROWED} and {RAGGED}, grpc and json");
    let name = "MB per million requests, low end";
    let bar = Some(Bar::AtMost(0.0));
    let finding = Finding::new(case.clone(), name, growth.low, bar, detail);
    found.findings.push(finding);
    let name = "MB per million requests";
    let finding = Finding::new(case.clone(), name, growth.slope, None, json!({}));
    found.findings.push(finding);
    found.plots.push(Plot {
        title: case,
        x: "million requests",
        y: "resident MB",
        is_log: false,
        series: vec![Series {
            name: "ortus".to_owned(),
            points: all,
        }],
        level: None,
    });
    Ok(found)
}

/// Load over all protocols at once, for the usual length; returns the requests answered.
fn slice(bench: &Bench<'_>, server: &Server) -> Result<u64> {
    std::thread::scope(|scope| {
        let start = |flow| scope.spawn(move || send(bench, server, flow));
        let threads = FLOWS.map(start);
        let mut sum = 0;
        for thread in threads {
            sum += thread
                .join()
                .map_err(|_| Error::from("a flow panicked"))??;
        }
        Ok(sum)
    })
}

fn send(bench: &Bench<'_>, server: &Server, flow: Flow) -> Result<u64> {
    let requests = Rc::new(mix(bench, flow.protocol)?);
    let side = bench.side("ortus", server, &requests);
    let plan = Plan {
        target: side.target.clone(),
        pace: Pace::Closed {
            in_flight: flow.in_flight,
        },
        length: span(bench.run.seconds),
        warm_up: Duration::ZERO,
        connections: 4,
        cancel: None,
    };
    let what = format!("soak over {}", flow.protocol.name());
    Ok(bench.measure(&what, &side, plan)?.tally.requests())
}

/// A request of each shape; the numbers of requests choose among them at random.
fn mix(bench: &Bench<'_>, protocol: Protocol) -> Result<RequestSet> {
    let ragged = ragged::read(&bench.model(RAGGED)?)?;
    let mut all = RequestSet::new(protocol, RAGGED, ragged, bench.habits())?;
    for rows in 1..=ROWS {
        let mut inputs = bench.inputs(ROWED, rows)?;
        inputs.truncate(1);
        let set = RequestSet::new(protocol, ROWED, inputs, bench.habits())?;
        all = all.mixed_with(set)?;
    }
    Ok(all)
}
