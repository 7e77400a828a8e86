//! P16: how long a server takes from its start to ready, and from a new version in
//! its directory to answers of it, beside opening each model and running it once.

use super::bench::{Bench, RawGrid, link, outcome};
use super::side::{alternate, median};
use crate::Result;
use crate::report::{Bar, Finding, Outcome};
use crate::servers::{Ortus, Server};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const TIMES: f64 = 1.2;
const BEYOND_MS: f64 = 100.0;
const ALL: [&str; 5] = ["m0", "m2", "m3", "m5", "conv50"];

pub(super) fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    let models = bench.models(&ALL);
    let all: Vec<&str> = models.iter().map(String::as_str).collect();
    for model in &all {
        found.findings.push(swap(bench, model)?);
    }
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

/// How the server looks for new versions; its default waits for a second.
const LOOK: [&str; 2] = ["models.poll=50ms", "models.settle=50ms"];
/// What looking adds: until the change is seen, and until it has settled.
const LOOK_MS: f64 = 100.0 + 50.0;
const ASK_EVERY: Duration = Duration::from_millis(5);
const SWAP_MAX: Duration = Duration::from_secs(300);

/// From the rename of a version's folder until the server answers with it.
fn swap(bench: &Bench<'_>, model: &str) -> Result<Finding> {
    let (mut swaps, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..bench.run.rounds.min(2) {
        bare.push(bare_ms(bench, &[model])?);
        let ortus = bench.ortus(&[model], &LOOK)?;
        let server = Server::ortus(&ortus)?;
        let prepared = bench.fresh_folder()?;
        let (version, next) = (
            prepared.path().join("2"),
            ortus.models.join(model).join("2"),
        );
        link(&ortus.models.join(model).join("1"), &version)?;
        let begin = Instant::now();
        std::fs::rename(&version, &next)?;
        while !is_ready(&server, model)? {
            if begin.elapsed() > SWAP_MAX {
                return Err(format!("{model}: version 2 is not ready after {SWAP_MAX:?}").into());
            }
            std::thread::sleep(ASK_EVERY);
        }
        swaps.push(begin.elapsed().as_secs_f64() * 1e3);
        drop(server);
        std::fs::remove_dir_all(&next)?;
    }
    let (swap_ms, bare_ms) = (median(swaps), median(bare));
    let detail = json!({"swap_ms": swap_ms, "bare_ms": bare_ms, "look_ms": LOOK_MS});
    let share = swap_ms / (TIMES * bare_ms + BEYOND_MS + LOOK_MS);
    let (case, name) = (
        format!("{model}, new version"),
        "ready over 1.2 x bare + 100 ms",
    );
    let bar = Some(Bar::AtMost(1.0));
    Ok(Finding::new(case, name, share, bar, detail))
}

/// Whether version 2 answers.
fn is_ready(server: &Server, model: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(&server.http)?;
    let head = format!(
        "GET /v2/models/{model}/versions/2/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.starts_with("HTTP/1.1 200"))
}
