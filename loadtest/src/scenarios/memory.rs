//! P17: the resident memory of a server with a model of 100 MB on two lanes, beside a process
//! with one ONNX Runtime session of it; and of a server with five models.

use super::bench::{Bench, RawGrid, outcome};
use super::side::{alternate, median};
use crate::Result;
use crate::report::{Bar, Finding, Outcome, Plot, Series};
use crate::requests::Protocol;
use crate::servers::Server;
use serde_json::json;
use std::rc::Rc;

/// Models of about 100 MB.
const LARGE: [&str; 2] = ["text90", "conv50"];
/// Identity, trees, MLP, and the two.
const FIVE: [&str; 5] = ["m0", "m2", "m3", "text90", "conv50"];
const LANES: usize = 2;
const ONE_SESSION: f64 = 1.15;
const FIVE_MB: f64 = 600.0;

pub(super) fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    for model in bench.models(&LARGE) {
        beside_session(bench, &model, &mut found)?;
    }
    if bench.run.models.is_empty() {
        together(bench, &mut found)?;
    }
    Ok(found)
}

/// What a process held, in MB.
#[derive(Clone, Copy)]
struct Held {
    ready_mb: f64,
    /// After both lanes ran the model.
    loaded_mb: f64,
}

fn beside_session(bench: &Bench<'_>, model: &str, found: &mut Outcome) -> Result<()> {
    let all = alternate(2, bench.run.rounds.min(2), |side| match side {
        0 => {
            let server = start(bench, &[model])?;
            let ready_mb = server.resident_mb()?;
            load(bench, &server, model)?;
            Ok(Held {
                ready_mb,
                loaded_mb: server.resident_mb()?,
            })
        }
        _ => {
            let figure = bench.raw(model, &RawGrid::one(1, bench.run.seconds.min(1.0)))?[0];
            Ok(Held {
                ready_mb: figure.resident_mb,
                loaded_mb: figure.resident_mb,
            })
        }
    })?;
    let of = |side: usize, mb: fn(&Held) -> f64| median(all[side].iter().map(mb).collect());
    let session_mb = of(1, |h| h.ready_mb);
    for (when, mb) in [
        ("ready", of(0, |h| h.ready_mb)),
        ("after load", of(0, |h| h.loaded_mb)),
    ] {
        let case = format!("{model}, {LANES} lanes, {when}");
        let detail = json!({"server_mb": mb, "session_mb": session_mb});
        let name = "resident over one raw session";
        let bar = Some(Bar::AtMost(ONE_SESSION));
        let finding = Finding::new(case, name, mb / session_mb, bar, detail);
        found.findings.push(finding);
    }
    Ok(())
}

fn start(bench: &Bench<'_>, models: &[&str]) -> Result<Server> {
    bench.serve(models, &[&format!("models.defaults.lanes={LANES}")])
}

/// As many requests in flight as there are lanes.
fn load(bench: &Bench<'_>, server: &Server, model: &str) -> Result<()> {
    let requests = Rc::new(bench.requests(Protocol::Grpc, model, 1)?);
    let side = bench.side("ortus", server, &requests);
    bench.closed(&side, LANES, LANES)?;
    Ok(())
}

fn together(bench: &Bench<'_>, found: &mut Outcome) -> Result<()> {
    let server = start(bench, &FIVE)?;
    let ready_mb = server.resident_mb()?;
    let mut points = vec![(0.0, ready_mb)];
    for model in FIVE {
        load(bench, &server, model)?;
        points.push((points.len() as f64, server.resident_mb()?));
    }
    let loaded_mb = points.last().map_or(f64::NAN, |p| p.1);
    let models = FIVE.join(" ");
    for (when, mb) in [("ready", ready_mb), ("after load", loaded_mb)] {
        let case = format!("{models}, {LANES} lanes, {when}");
        let bar = Some(Bar::AtMost(FIVE_MB));
        let finding = Finding::new(case, "resident MB", mb, bar, json!({}));
        found.findings.push(finding);
    }
    found.plots.push(Plot {
        title: format!("{models}, {LANES} lanes"),
        x: "models that had requests",
        y: "resident MB",
        is_log: false,
        series: vec![Series {
            name: "ortus".to_owned(),
            points,
        }],
        level: Some(FIVE_MB),
    });
    Ok(())
}
