//! P3: requests of many rows, beside the raw loop at its best point of batch size,
//! lanes and threads: on all cores, which the generator shares, and with a core apart for the generator.

use super::apart::Apart;
use super::bench::{Bench, LONG_RUN_US, RawGrid, outcome};
use super::side::{alternate, median, paired_ratio};
use crate::Result;
use crate::report::{Bar, Finding, Outcome};
use crate::requests::Protocol;
use crate::servers::Server;
use serde_json::json;
use std::rc::Rc;

const MODELS: [&str; 4] = ["m2", "m3", "m4", "m5"];
const ROWS: usize = 32;

pub(super) fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    for model in bench.models(&MODELS) {
        let server = bench.serve(&[&model], &[])?;
        let place = Place {
            server: &server,
            cores: None,
            text: "",
        };
        beside_raw(bench, &model, place, &mut found)?;
        drop(server);
        let apart = Apart::serve(bench, &[&model], &[])?;
        if let Some(cores) = &apart.cores {
            let place = Place {
                server: &apart.server,
                cores: Some(cores),
                text: ", generator apart",
            };
            beside_raw(bench, &model, place, &mut found)?;
        }
    }
    Ok(found)
}

/// Where server and raw loop run.
#[derive(Clone, Copy)]
struct Place<'s> {
    server: &'s Server,
    /// Not on all cores, but on these.
    cores: Option<&'s [usize]>,
    text: &'static str,
}

fn beside_raw(bench: &Bench<'_>, model: &str, place: Place<'_>, found: &mut Outcome) -> Result<()> {
    let best = bench.best_raw_on(model, &[1, 8, 32, 64], place.cores)?;
    let grid = RawGrid {
        cores: place.cores.map(<[usize]>::to_vec),
        ..RawGrid::at(best, bench.run.seconds)
    };
    let requests = Rc::new(bench.requests(Protocol::Grpc, model, ROWS)?);
    let mut sides = vec![bench.side("ortus", place.server, &requests)];
    sides.extend(bench.peer(&requests).filter(|_| place.cores.is_none()));
    for in_flight in bench.in_flight(&[8]) {
        let all = alternate(sides.len() + 1, bench.run.rounds, |side| {
            match sides.get(side) {
                Some(side) => Ok(bench.closed(side, in_flight, 4)?.rate() * ROWS as f64),
                None => Ok(bench.raw(model, &grid)?[0].rows_per_s),
            }
        })?;
        let raw = &all[sides.len()];
        let batch_us = best.wall_us * ROWS as f64 / best.rows.max(1) as f64;
        let bar = match model {
            "m3" => Some(Bar::AtLeast(0.90)),
            _ if batch_us >= LONG_RUN_US => Some(Bar::AtLeast(0.95)),
            _ => None,
        };
        let detail = json!({
            "ortus_rows_per_s": median(all[0].clone()), "raw_rows_per_s": median(raw.clone()),
            "raw_rows": best.rows, "raw_lanes": best.lanes, "raw_intra": best.intra,
        });
        let case = format!(
            "{model} grpc {ROWS} rows, {in_flight} in flight{}",
            place.text
        );
        let share = paired_ratio(&all[0], raw);
        let name = "rows/s over best raw grid";
        found
            .findings
            .push(Finding::new(case.clone(), name, share, bar, detail));
        if sides.len() > 1 {
            let ratio = paired_ratio(&all[0], &all[1]);
            let detail = json!({"peer_rows_per_s": median(all[1].clone())});
            let name = "our rate over the peer's";
            found
                .findings
                .push(Finding::new(case, name, ratio, None, detail));
        }
    }
    Ok(())
}
