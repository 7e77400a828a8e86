//! P5: the server as it is, and with the settings of `ortus tune`, beside every setting of a
//! grid: ONNX Runtime alone over batch sizes, lanes and threads, and the server itself over
//! lanes, threads and batch limits.

mod candidates;

use super::bench::{Bench, LONG_RUN_US, RawFigure, RawGrid, outcome};
use super::side::{Side, alternate, median, paired_ratio};
use crate::load::{Pace, Plan};
use crate::report::{Bar, Finding, Outcome, Plot, Series};
use crate::requests::{Protocol, RequestSet};
use crate::servers::Server;
use crate::{Result, cores, span};
use candidates::{Candidate, Share, candidates, shares};
use serde_json::{Value, json};
use std::rc::Rc;

const MODELS: [&str; 7] = ["m0", "m1", "m2", "m3", "m4", "m5", "m6"];
const ROWS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
const IN_FLIGHT: usize = 64;
const CONNECTIONS: usize = 4;
const SHARE: f64 = 0.95;
/// What two runs of the same server may differ.
const NOT_SLOWER: f64 = 0.97;
/// A row of such a model takes so many times what its bytes take on the wire.
const HEAVY_TIMES: f64 = 4.0;
/// Points of the raw grid that are measured again.
const FINALISTS: usize = 3;
/// Times the usual length: a point of the raw grid, a finalist, a candidate, and `ortus tune`.
const GRID_TIMES: f64 = 0.25;
const FINALIST_TIMES: f64 = 0.5;
const CANDIDATE_TIMES: f64 = 0.5;
const TUNE_TIMES: f64 = 10.0;

pub(super) fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    for model in bench.models(&MODELS) {
        measure(bench, &model, &mut found)?;
    }
    Ok(found)
}

/// What is measured in turn: servers, and what they are held against.
struct Field {
    /// Different settings; the defaults, tuned, unbatched and best ones are among them.
    settings: Vec<Candidate>,
    sides: Vec<Side>,
    floor: Side,
    raw: RawFigure,
    _servers: Vec<Server>,
}

fn measure(bench: &Bench<'_>, model: &str, found: &mut Outcome) -> Result<()> {
    let grid = raw_grid(bench, model)?;
    let raw = best_point(bench, model, &grid)?;
    let default = Candidate::default_of(cores());
    let tuned = tuned(bench, model)?;
    let off = Candidate {
        rows_max: Some(1),
        ..default
    };
    let requests = Rc::new(bench.requests(Protocol::Grpc, model, 1)?);
    let best = best_candidate(bench, &requests)?;

    let wire = Server::floor(Protocol::Grpc)?;
    let echoed = Rc::new(requests.echoed());
    let floor = bench.side("floor", &wire, &echoed);
    let mut field = Field {
        settings: Vec::new(),
        sides: Vec::new(),
        floor,
        raw,
        _servers: vec![wire],
    };
    for candidate in [default, tuned, off, best] {
        field.add(bench, candidate, &requests)?;
    }
    let rates = field.measure(bench, model)?;

    let held = Held {
        model,
        field: &field,
        rates: &rates,
        best: field.place(best),
        off: field.place(off),
        is_long: grid[0].wall_us >= LONG_RUN_US,
    };
    found.findings.extend(held.findings("tuned", tuned));
    found.findings.extend(held.findings("defaults", default));
    let level = median(rates[field.place(tuned)].clone());
    found.plots.push(drawn(model, &grid, level));
    Ok(())
}

/// ONNX Runtime alone at each point; the first has one row, lane and thread.
fn raw_grid(bench: &Bench<'_>, model: &str) -> Result<Vec<RawFigure>> {
    let mut all = Vec::new();
    for Share { lanes, intra } in shares(cores()) {
        let grid = RawGrid {
            rows: ROWS.to_vec(),
            lanes: vec![lanes],
            intra: vec![intra],
            seconds: bench.run.seconds * GRID_TIMES,
            cores: None,
        };
        all.extend(bench.raw(model, &grid)?);
    }
    Ok(all)
}

/// The best point of the raw grid: the fastest ones are measured again, for longer.
fn best_point(bench: &Bench<'_>, model: &str, grid: &[RawFigure]) -> Result<RawFigure> {
    let fastest_last = |a: &RawFigure, b: &RawFigure| a.rows_per_s.total_cmp(&b.rows_per_s);
    let mut sorted = grid.to_vec();
    sorted.sort_by(fastest_last);
    let mut again = Vec::new();
    for point in sorted.into_iter().rev().take(FINALISTS) {
        let grid = RawGrid::at(point, bench.run.seconds * FINALIST_TIMES);
        again.extend(bench.raw(model, &grid)?);
    }
    let best = again.into_iter().max_by(fastest_last);
    best.ok_or_else(|| "the raw grid is empty".into())
}

/// What `ortus tune` recommends.
fn tuned(bench: &Bench<'_>, model: &str) -> Result<Candidate> {
    let folder = bench.model(model)?;
    let time = format!("{:.0}ms", bench.run.seconds * TUNE_TIMES * 1e3);
    let mut command = bench.command("tune");
    command.arg(&folder).args(["--json", "--time", &time]);
    command.arg("--file").arg(folder.join("sample.json"));
    let output = command.output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(format!("ortus tune failed on {model}: {why}").into());
    }
    let said: Value = serde_json::from_slice(&output.stdout)?;
    let count = |key: &str| -> Result<usize> {
        let number = said["best"][key].as_u64();
        Ok(usize::try_from(number.ok_or("ortus tune named no best")?)?)
    };
    Ok(Candidate {
        share: Share {
            lanes: count("lanes")?,
            intra: count("intra_op_threads")?,
        },
        rows_max: None,
    })
}

/// The setting of the server's grid with the most answers a second.
fn best_candidate(bench: &Bench<'_>, requests: &Rc<RequestSet>) -> Result<Candidate> {
    let mut best = (Candidate::default_of(cores()), 0.0);
    for candidate in candidates(cores()) {
        let server = start(bench, candidate, &requests.model)?;
        let side = bench.side("candidate", &server, requests);
        let rate = rate(bench, &side, CANDIDATE_TIMES)?;
        if rate > best.1 {
            best = (candidate, rate);
        }
    }
    Ok(best.0)
}

fn start(bench: &Bench<'_>, candidate: Candidate, model: &str) -> Result<Server> {
    let settings = candidate.settings(model);
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    bench.serve(&[model], &settings)
}

/// Right answers a second in a closed loop, over so many times the usual length.
fn rate(bench: &Bench<'_>, side: &Side, times: f64) -> Result<f64> {
    let length = span(bench.run.seconds * times);
    let plan = Plan {
        target: side.target.clone(),
        pace: Pace::Closed {
            in_flight: IN_FLIGHT,
        },
        length,
        warm_up: length / 4,
        connections: CONNECTIONS,
        cancel: None,
    };
    Ok(bench.measure(side.name, side, plan)?.rate())
}

impl Field {
    /// Starts a server with these settings, unless one has them.
    fn add(
        &mut self,
        bench: &Bench<'_>,
        candidate: Candidate,
        requests: &Rc<RequestSet>,
    ) -> Result<()> {
        if self.settings.contains(&candidate) {
            return Ok(());
        }
        let server = start(bench, candidate, &requests.model)?;
        let side = bench.side("ortus", &server, requests);
        // It learns how long its batches take.
        rate(bench, &side, CANDIDATE_TIMES)?;
        self.settings.push(candidate);
        self.sides.push(side);
        self._servers.push(server);
        Ok(())
    }

    fn place(&self, candidate: Candidate) -> usize {
        let found = self.settings.iter().position(|s| *s == candidate);
        found.unwrap_or_default()
    }

    /// Rates of the servers, then of the wire, then rows a second of the raw loop.
    fn measure(&self, bench: &Bench<'_>, model: &str) -> Result<Vec<Vec<f64>>> {
        let servers = self.sides.len();
        alternate(servers + 2, bench.run.rounds, |at| match at {
            at if at < servers => rate(bench, &self.sides[at], 1.0),
            at if at == servers => rate(bench, &self.floor, 1.0),
            _ => {
                let grid = RawGrid::at(self.raw, bench.run.seconds);
                Ok(bench.raw(model, &grid)?[0].rows_per_s)
            }
        })
    }
}

/// The rates of a model, and what they are held against.
struct Held<'f> {
    model: &'f str,
    field: &'f Field,
    rates: &'f [Vec<f64>],
    best: usize,
    off: usize,
    is_long: bool,
}

/// One figure that rates are held against.
struct Against<'r> {
    name: &'static str,
    rates: &'r [f64],
    bar: Option<Bar>,
}

impl Held<'_> {
    fn findings(&self, what: &str, candidate: Candidate) -> Vec<Finding> {
        let ours = &self.rates[self.field.place(candidate)];
        let best = self.field.settings[self.best];
        let raw = self.field.raw;
        let servers = self.field.sides.len();
        let (wire, raw_rates) = (&self.rates[servers], &self.rates[servers + 1]);
        let both: Vec<f64> = wire
            .iter()
            .zip(raw_rates)
            .map(|(a, b)| in_turn(*a, *b))
            .collect();
        let is_heavy = median(wire.clone()) >= HEAVY_TIMES * median(raw_rates.clone());
        let at_least = |is_held: bool, limit| is_held.then_some(Bar::AtLeast(limit));
        let against = [
            Against {
                name: "rate over the best settings'",
                rates: &self.rates[self.best],
                bar: at_least(true, SHARE),
            },
            Against {
                name: "rate over that without batching",
                rates: &self.rates[self.off],
                bar: at_least(true, NOT_SLOWER),
            },
            Against {
                name: "rows/s over best raw grid and wire",
                rates: &both,
                bar: at_least(is_heavy, SHARE),
            },
            Against {
                name: "rows/s over best raw grid",
                rates: raw_rates,
                bar: at_least(self.is_long, SHARE),
            },
        ];
        let case = format!("{}, {what}: {}", self.model, candidate.text());
        let detail = json!({
            "rate": median(ours.clone()), "best_settings": best.text(),
            "best_rate": median(self.rates[self.best].clone()),
            "unbatched_rate": median(self.rates[self.off].clone()),
            "wire_rate": median(wire.clone()), "raw_rows_per_s": median(raw_rates.clone()),
            "raw_rows": raw.rows, "raw_lanes": raw.lanes, "raw_intra": raw.intra,
        });
        let finding = |against: Against<'_>| {
            let ratio = paired_ratio(ours, against.rates);
            let case = case.clone();
            Finding::new(case, against.name, ratio, against.bar, detail.clone())
        };
        against.map(finding).into()
    }
}

/// The rate of work that takes a turn of each on the same cores.
fn in_turn(one: f64, other: f64) -> f64 {
    1.0 / (1.0 / one + 1.0 / other)
}

/// Rows a second of the raw grid by batch, a line for each share of the cores.
fn drawn(model: &str, grid: &[RawFigure], level: f64) -> Plot {
    let line = |share: Share| {
        let inside = grid
            .iter()
            .filter(|f| (f.lanes, f.intra) == (share.lanes, share.intra));
        Series {
            name: share.text(),
            points: inside.map(|f| (f.rows as f64, f.rows_per_s)).collect(),
        }
    };
    Plot {
        title: format!("{model}: raw grid, and the tuned server across"),
        x: "rows of a batch",
        y: "rows per second",
        is_log: true,
        series: shares(cores()).into_iter().map(line).collect(),
        level: Some(level),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_in_turn_takes_the_sum_of_the_times() {
        assert!((in_turn(100.0, 25.0) - 20.0).abs() < 1e-12);
    }
}
