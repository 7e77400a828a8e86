//! P16: how long a server takes from its start to ready, beside opening each model
//! and running it once, and the memory that it then holds.

use super::bench::{Bench, RawGrid, outcome};
use super::side::{alternate, median};
use crate::Result;
use crate::report::{Bar, Finding, Outcome};
use crate::servers::{Ortus, Server};
use serde_json::json;
use std::time::Instant;

const TIMES: f64 = 1.2;
const BEYOND_MS: f64 = 100.0;
const ALL: [&str; 5] = ["m0", "m2", "m3", "m5", "conv50"];

pub(super) fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    let models = bench.models(&ALL);
    let all: Vec<&str> = models.iter().map(String::as_str).collect();
    let mut sets: Vec<Vec<&str>> = all.iter().map(|m| vec![*m]).collect();
    if all.len() > 1 {
        sets.push(all);
    }
    for set in sets {
        let cache = bench.fresh_folder()?;
        let mut ortus = bench.ortus(&set, &[])?;
        // The second start knows what the first learned.
        for (when, is_first) in [("first start", true), ("later start", false)] {
            let rounds = if is_first {
                bench.run.rounds.min(2)
            } else {
                bench.run.rounds
            };
            let all = alternate(2, rounds, |side| match side {
                0 => {
                    let fresh = bench.fresh_folder()?;
                    let folder = if is_first { fresh.path() } else { cache.path() };
                    ortus.cache = Some(folder.to_path_buf());
                    start(&ortus)
                }
                _ => Ok((bare_ms(bench, &set)?, 0.0)),
            })?;
            let ready_ms = median(all[0].iter().map(|f| f.0).collect());
            let bare_ms = median(all[1].iter().map(|f| f.0).collect());
            let resident_mb = median(all[0].iter().map(|f| f.1).collect());
            let detail =
                json!({"ready_ms": ready_ms, "bare_ms": bare_ms, "resident_mb": resident_mb});
            let bar = Some(Bar::AtMost(1.0));
            let share = ready_ms / (TIMES * bare_ms + BEYOND_MS);
            let case = format!("{}, {when}", set.join(" "));
            let name = "ready over 1.2 x bare + 100 ms";
            found
                .findings
                .push(Finding::new(case, name, share, bar, detail));
        }
    }
    Ok(found)
}

/// Milliseconds to ready, and resident MB then.
fn start(ortus: &Ortus) -> Result<(f64, f64)> {
    let begin = Instant::now();
    let server = Server::ortus(ortus)?;
    let ready_ms = begin.elapsed().as_secs_f64() * 1e3;
    Ok((ready_ms, server.resident_mb()?))
}

/// Opening each model and running one row once.
fn bare_ms(bench: &Bench<'_>, models: &[&str]) -> Result<f64> {
    let mut sum = 0.0;
    for model in models {
        let figure = bench.raw(model, &RawGrid::one(1, 0.0))?[0];
        sum += figure.open_ms + figure.first_run_ms;
    }
    Ok(sum)
}
