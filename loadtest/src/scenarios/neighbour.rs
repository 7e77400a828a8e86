//! P8: a flood of requests to one model beside a trickle to another one. The p99 of the
//! trickle is held against its p99 alone, measured in turn. Where the server has every core,
//! the lanes of the flooded model leave one of them free; else all share one core.

use super::bench::{Bench, outcome};
use super::side::{Side, alternate, median, paired_ratio};
use super::steady::bound_us;
use crate::load::Report;
use crate::process;
use crate::report::{Bar, Finding, Outcome, Plot, Series, Standing};
use crate::requests::Protocol;
use crate::schedule::Arrivals;
use crate::servers::{Server, on_cores};
use crate::{Result, span};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Child, Stdio};
use std::rc::Rc;
use std::time::Duration;

const FLOODED: [&str; 2] = ["m4", "m3"];
/// A light model and a heavy one.
const VICTIMS: [&str; 2] = ["m1", "m5"];
const FLOOD_IN_FLIGHT: usize = 64;
const FLOOD_NICE: &str = "10";
/// Requests a second of the trickle, Poisson.
const TRICKLE: f64 = 40.0;
/// A p99 needs many requests: times the usual length.
const TRICKLE_TIMES: f64 = 5.0;
/// How long the flood flows before the trickle starts, and after its end.
const LEAD: Duration = Duration::from_millis(500);
const TAIL: Duration = Duration::from_secs(1);
/// The percentile that is held.
const PERCENT: f64 = 99.0;
/// How late the generator may be: over the p99 alone, which it would make longer, and over
/// the limit beside the flood.
const ALONE_SHARE: f64 = 0.5;
const LATE_SHARE: f64 = 0.1;
/// Percentiles that are drawn.
const DRAWN: [f64; 5] = [50.0, 75.0, 90.0, 99.0, 99.9];

/// Which cores the server has, and what the trickle is held to.
#[derive(Clone)]
struct Placement {
    title: &'static str,
    /// In place of all.
    server: Option<Vec<usize>>,
    flood: Option<Vec<usize>>,
    lanes: usize,
    bar: f64,
}

/// A flood beside a trickle.
#[derive(Clone, Copy)]
struct Pair<'m> {
    flooded: &'m str,
    victim: &'m str,
}

pub(super) fn run(bench: &Bench<'_>) -> Result<Outcome> {
    let mut found = outcome();
    // The first model that the user names is flooded.
    let asked = bench.models(&[]);
    let (flooded, victims) = match asked.split_first() {
        Some((first, rest)) => (vec![first.clone()], rest.to_vec()),
        None => (bench.models(&FLOODED), bench.models(&VICTIMS)),
    };
    if victims.is_empty() {
        return Err("--models needs the model to flood, and one for the trickle".into());
    }
    for placement in placements(&process::allowed_cores()?) {
        for flooded in &flooded {
            for victim in &victims {
                let pair = Pair { flooded, victim };
                measure(bench, &placement, pair, &mut found)?;
            }
        }
    }
    Ok(found)
}

/// With a core that the flooded model leaves free, where there are two; and on one core.
fn placements(cores: &[usize]) -> Vec<Placement> {
    let mut all = Vec::new();
    if cores.len() > 1 {
        all.push(Placement {
            title: "a core to spare",
            server: None,
            flood: None,
            lanes: cores.len() - 1,
            bar: 1.5,
        });
    }
    let (first, rest) = cores.split_at(cores.len().min(1));
    all.push(Placement {
        title: "one core for all",
        server: Some(first.to_vec()),
        flood: (!rest.is_empty()).then(|| rest.to_vec()),
        lanes: 1,
        bar: 2.5,
    });
    all
}

fn measure(
    bench: &Bench<'_>,
    placement: &Placement,
    pair: Pair<'_>,
    found: &mut Outcome,
) -> Result<()> {
    let Pair { flooded, victim } = pair;
    let lanes = format!("model.{flooded}.lanes={}", placement.lanes);
    let mut ortus = bench.ortus(&[flooded, victim], &[&lanes])?;
    ortus.cores.clone_from(&placement.server);
    let server = Server::ortus(&ortus)?;
    let requests = Rc::new(bench.requests(Protocol::Grpc, victim, 1)?);
    let side = bench.side("trickle", &server, &requests);

    let length = span(bench.run.seconds * TRICKLE_TIMES);
    let mut rates = Vec::new();
    let all = alternate(2, bench.run.rounds, |is_beside| {
        if is_beside == 0 {
            return trickle(bench, &side, length);
        }
        let flood = Flood::start(bench, &server, flooded, placement, length)?;
        std::thread::sleep(LEAD);
        let report = trickle(bench, &side, length)?;
        rates.push(flood.rate()?);
        Ok(report)
    })?;
    let case = format!("{victim} beside {flooded}, {}", placement.title);
    found
        .findings
        .push(judge(&case, placement, &all, median(rates)));
    found.plots.push(Plot {
        title: case,
        x: "one request of so many is slower",
        y: "latency, ms",
        is_log: true,
        series: vec![drawn("alone", &all[0]), drawn("beside the flood", &all[1])],
        level: None,
    });
    Ok(())
}

fn trickle(bench: &Bench<'_>, side: &Side, length: Duration) -> Result<Report> {
    bench.open(side, Arrivals::poisson(TRICKLE), length)
}

fn judge(case: &str, placement: &Placement, all: &[Vec<Report>], flood_rate: f64) -> Finding {
    let p99s = |reports: &[Report]| -> Vec<f64> {
        reports
            .iter()
            .map(|r| r.tally.latency_us(PERCENT))
            .collect()
    };
    let lateness = |reports: &[Report]| {
        let each = reports.iter().map(|r| r.tally.lateness_us(PERCENT));
        median(each.collect())
    };
    let (alone_p99s, beside_p99s) = (p99s(&all[0]), p99s(&all[1]));
    let refused: u64 = all[1].iter().map(|r| r.tally.refused()).sum();
    let detail = json!({
        "alone_p99_us": median(alone_p99s.clone()), "beside_p99_us": median(beside_p99s.clone()),
        "alone_lateness_us": lateness(&all[0]), "beside_lateness_us": lateness(&all[1]),
        "flood_rate": flood_rate, "refused": refused,
    });
    // A trickle that is refused is not served.
    let ratio = match refused {
        0 => paired_ratio(&beside_p99s, &alone_p99s),
        _ => f64::NAN,
    };
    let bar = Some(Bar::AtMost(placement.bar));
    let name = "p99 beside the flood over alone";
    let finding = Finding::new(case.to_owned(), name, ratio, bar, detail);
    let is_met = finding.standing() == Standing::Met;
    let alone = Late {
        us: lateness(&all[0]),
        limit_us: ALONE_SHARE * median(alone_p99s.clone()),
    };
    let beside = Late {
        us: lateness(&all[1]),
        limit_us: LATE_SHARE * bound_us(0.0).max(placement.bar * median(alone_p99s)),
    };
    // Beside the flood, a late generator makes only a missed bar doubtful.
    let doubted = finding.doubted(alone.doubt());
    doubted.doubted(beside.doubt().filter(|_| !is_met))
}

/// How late the generator was at the percentile that is held, and how late it may be. A
/// trickle has too few requests for a rarer percentile.
struct Late {
    us: f64,
    limit_us: f64,
}

impl Late {
    fn doubt(&self) -> Option<String> {
        let why = || format!("the generator was late itself, by {:.0} µs at p99", self.us);
        (self.us > self.limit_us).then(why)
    }
}

/// The latencies of a side by how rare they are: medians of its rounds.
fn drawn(name: &str, reports: &[Report]) -> Series {
    let point = |percent: f64| {
        let each = reports.iter().map(|r| r.tally.latency_us(percent) / 1e3);
        (100.0 / (100.0 - percent), median(each.collect()))
    };
    Series {
        name: name.to_owned(),
        points: DRAWN.map(point).to_vec(),
    }
}

/// A generator in a process of its own; killed on drop.
struct Flood(Child);

impl Flood {
    /// Keeps requests in flight until some time after a trickle of so long.
    fn start(
        bench: &Bench<'_>,
        server: &Server,
        model: &str,
        placement: &Placement,
        length: Duration,
    ) -> Result<Self> {
        let folder = bench.model(model)?;
        let length = length + LEAD + TAIL;
        // The trickle's generator and the server go before it.
        let mut command = on_cores(Path::new("nice"), placement.flood.as_deref());
        command
            .args(["-n", FLOOD_NICE])
            .arg(std::env::current_exe()?);
        command.args(["load", "--grpc", &server.grpc, "--model", model]);
        command.arg("--sample").arg(folder.join("sample.json"));
        command.arg("--golden").arg(folder.join("golden.json"));
        command.args(["--check-every", &bench.run.check_every.to_string()]);
        command.args(["--closed", &FLOOD_IN_FLIGHT.to_string(), "--fresh"]);
        command.args(["--connections", "4"]);
        command.args(["--seconds", &length.as_secs_f64().to_string()]);
        Ok(Self(command.stdout(Stdio::piped()).spawn()?))
    }

    /// Waits for its end; returns the right answers a second.
    fn rate(mut self) -> Result<f64> {
        let mut stdout = self.0.stdout.take().ok_or("no output")?;
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stdout, &mut text)?;
        if !self.0.wait()?.success() {
            return Err(format!("the flood failed: {text}").into());
        }
        let report: Value = serde_json::from_str(&text)?;
        report["rate"]
            .as_f64()
            .ok_or_else(|| "the flood has no rate".into())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_generator_is_doubted() {
        let late = |us| Late {
            us,
            limit_us: 250.0,
        };
        assert_eq!(late(250.0).doubt(), None);
        assert!(late(251.0).doubt().is_some());
    }

    #[test]
    fn one_core_is_shared_and_of_more_one_is_spared() {
        let titles = |cores: &[usize]| -> Vec<(&str, usize)> {
            let all = placements(cores);
            all.into_iter().map(|p| (p.title, p.lanes)).collect()
        };
        assert_eq!(titles(&[3]), [("one core for all", 1)]);
        assert_eq!(
            titles(&[3, 5, 6]),
            [("a core to spare", 2), ("one core for all", 1)]
        );
        let shared = placements(&[3, 5, 6]).remove(1);
        assert_eq!(shared.server, Some(vec![3]));
        assert_eq!(shared.flood, Some(vec![5, 6]));
    }
}
