//! The scenarios: each measures Ortus beside its floors and holds figures to bars.

mod apart;
mod bench;
mod cold_start;
mod deadlines;
mod extensions;
mod memory;
mod monitoring;
mod neighbour;
mod offline;
mod overload;
mod payload;
mod request_cost;
mod side;
mod soak;
mod steady;
mod tuned;

use crate::Result;
use crate::report::{self, Outcome, Standing};
use crate::requests::Protocol;
use bench::Bench;
use clap::Args;
use std::path::PathBuf;

/// One scenario.
struct Scenario {
    id: &'static str,
    title: &'static str,
    run: fn(&Bench<'_>) -> Result<Outcome>,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "P1",
        title: "Cost of a request, beside the bare wire and the bare model",
        run: request_cost::run,
    },
    Scenario {
        id: "P2",
        title: "Poisson load within a p99 bound",
        run: steady::poisson,
    },
    Scenario {
        id: "P3",
        title: "Offline: 32 rows a request, beside the best raw grid",
        run: offline::run,
    },
    Scenario {
        id: "P5",
        title: "Tuned, beside every setting of a grid",
        run: tuned::run,
    },
    Scenario {
        id: "P6",
        title: "Overload with deadlines, and recovery",
        run: overload::run,
    },
    Scenario {
        id: "P7",
        title: "Bursts, beside an ideal queue",
        run: steady::bursts,
    },
    Scenario {
        id: "P8",
        title: "Noisy neighbour: a flood on one model, a trickle on another",
        run: neighbour::run,
    },
    Scenario {
        id: "P10",
        title: "Answers to requests whose deadline passed",
        run: deadlines::expiry,
    },
    Scenario {
        id: "P11",
        title: "Cancelled requests that were executed",
        run: deadlines::cancellation,
    },
    Scenario {
        id: "P12",
        title: "Cost of a byte",
        run: payload::sizes,
    },
    Scenario {
        id: "P13",
        title: "Idle connections",
        run: payload::connections,
    },
    Scenario {
        id: "P14",
        title: "Soak: memory over very many requests of random shapes",
        run: soak::run,
    },
    Scenario {
        id: "P15",
        title: "Cost of monitoring, capture and traces",
        run: monitoring::run,
    },
    Scenario {
        id: "P16",
        title: "Cold start",
        run: cold_start::run,
    },
    Scenario {
        id: "P17",
        title: "Memory, beside one session",
        run: memory::run,
    },
    Scenario {
        id: "P18",
        title: "Shared memory and classes",
        run: extensions::run,
    },
];

/// Arguments of `run`.
#[derive(Args)]
pub(crate) struct Run {
    /// Scenarios: P1, P2, P3, P5 to P8, P10 to P18, or all.
    #[arg(required = true, value_name = "SCENARIO")]
    names: Vec<String>,
    /// The ortus program [default: the one beside this program].
    #[arg(long, value_name = "BIN")]
    ortus: Option<PathBuf>,
    /// The ONNX Runtime library [default: $ORT_DYLIB_PATH].
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
    /// Where report.json and report.html are written.
    #[arg(long, value_name = "DIR", default_value = "loadtest-report")]
    out: PathBuf,
    /// A model directory [default: the models of the scenarios, written for the run].
    /// Each model folder needs sample.json, and golden.json to check answers.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Models to measure [default: the scenario's].
    #[arg(long, value_name = "MODEL,MODEL", value_delimiter = ',')]
    models: Vec<String>,
    /// Protocols to measure [default: the scenario's].
    #[arg(long, value_name = "PROTOCOL,PROTOCOL", value_delimiter = ',')]
    protocols: Vec<Protocol>,
    /// Requests in flight to measure [default: the scenario's].
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    in_flight: Vec<usize>,
    /// Connections to measure [default: the scenario's].
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    connections: Vec<usize>,
    /// The length of one measurement.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How often each side is measured; even, so that A B B A is whole.
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    /// Requests that P14 counts; a quarter of them, and 90 lengths at least, go before as
    /// warm-up.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    requests: u64,
    /// Compare every N-th answer with the expected one; the requests of the others are
    /// all different, so that no cache can answer them.
    #[arg(long, value_name = "N", default_value_t = 8)]
    check_every: u64,
    /// The seed of the schedules.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// A setting of Ortus.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
    /// The gRPC listener of another server of the Open Inference Protocol with the same
    /// models, measured in turn with Ortus (P1, P2 and P3).
    #[arg(long, value_name = "ADDR:PORT")]
    compare: Option<String>,
    /// The HTTP listener of that server.
    #[arg(long, value_name = "ADDR:PORT", requires = "compare")]
    compare_http: Option<String>,
    /// The process of that server, to measure its CPU time.
    #[arg(long, value_name = "PID", requires = "compare")]
    compare_pid: Option<u32>,
}

/// Runs scenarios one after the other; prints a table and writes the report. Fails
/// where a figure missed its bar or is void.
pub(crate) fn run(arguments: &Run) -> Result<()> {
    let chosen = choose(&arguments.names)?;
    let bench = Bench::new(arguments)?;
    let mut outcomes = Vec::new();
    for scenario in chosen {
        bench.announce(scenario.id);
        let outcome = (scenario.run)(&bench).map_err(|e| format!("{}: {e}", scenario.id))?;
        let outcome = Outcome {
            id: scenario.id,
            title: scenario.title,
            ..outcome
        };
        bench.print(&outcome.table());
        outcomes.push(outcome);
        // After each, so that a later failure loses nothing.
        report::write(&arguments.out, &bench.machine(), &outcomes)?;
    }
    let findings = || outcomes.iter().flat_map(|o| &o.findings);
    let count = |standing| findings().filter(|f| f.standing() == standing).count();
    let (missed, void) = (count(Standing::Missed), count(Standing::Void));
    let page = arguments.out.join("report.html");
    bench.print(&format!("\nreport: {}", page.display()));
    match missed + void {
        0 => Ok(()),
        _ => Err(format!("{missed} figures missed their bar, {void} are void").into()),
    }
}

fn choose(names: &[String]) -> Result<Vec<&'static Scenario>> {
    if names.iter().any(|n| n.eq_ignore_ascii_case("all")) {
        return Ok(SCENARIOS.iter().collect());
    }
    let ids = || {
        SCENARIOS
            .iter()
            .map(|s| s.id)
            .collect::<Vec<_>>()
            .join(", ")
    };
    let find = |name: &String| {
        let found = SCENARIOS.iter().find(|s| s.id.eq_ignore_ascii_case(name));
        found.ok_or_else(|| {
            format!("there is no scenario {name:?}; there are {}, or all", ids()).into()
        })
    };
    names.iter().map(find).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_found_by_name() {
        let ids = |names: &[&str]| -> Result<Vec<&str>> {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            Ok(choose(&names)?.into_iter().map(|s| s.id).collect())
        };
        assert_eq!(ids(&["p6", "P1"]).unwrap(), ["P6", "P1"]);
        assert_eq!(ids(&["all"]).unwrap().len(), SCENARIOS.len());
        assert!(ids(&["P99"]).unwrap_err().to_string().contains("P16"));
    }
}
