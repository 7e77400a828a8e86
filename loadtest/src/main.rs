//! `ortus-loadtest`: the load generator and the two yardsticks, a bare tonic
//! echo and a raw ONNX Runtime loop. Owns the command line and nothing else.

mod compare;
mod cpu;
mod echo;
mod golden;
mod load;
mod raw;
mod sample;
mod schedule;
mod server;
mod start;
mod tally;
mod wire;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What went wrong, in words: a tool for developers needs no kinds.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Parser)]
#[command(
    name = "ortus-loadtest",
    about = "Measure a server of the Open Inference Protocol"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Send requests and report latency, errors and the server's CPU time.
    Run(Run),
    /// Answer ModelInfer with its own input bytes.
    Echo {
        #[arg(long, value_name = "ADDR:PORT")]
        grpc: String,
        #[arg(long, default_value_t = 1)]
        threads: usize,
    },
    /// Run a model of one FP32 input in a loop, without a server.
    Raw {
        #[arg(long, value_name = "FILE")]
        model: PathBuf,
        #[arg(long, default_value_t = 1)]
        rows: usize,
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
        /// The ONNX Runtime library [default: $ORT_DYLIB_PATH].
        #[arg(long, value_name = "FILE")]
        library: Option<PathBuf>,
    },
    /// Compare Ortus with the echo plus the raw loop, alternating.
    Compare(compare::Compare),
    /// Measure the time from a server's start to ready, and its memory then.
    Start(start::Start),
}

#[derive(Args)]
struct Run {
    #[arg(
        long,
        value_name = "ADDR:PORT",
        conflicts_with = "http",
        required_unless_present = "http"
    )]
    grpc: Option<String>,
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<String>,
    #[arg(long)]
    model: String,
    /// An inference request as the Open Inference Protocol's JSON.
    #[arg(long, value_name = "FILE")]
    sample: PathBuf,
    /// The expected answer, as the same protocol's JSON.
    #[arg(long, value_name = "FILE")]
    golden: Option<PathBuf>,
    /// Keep this many requests in flight.
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "open",
        required_unless_present = "open"
    )]
    closed: Option<usize>,
    /// Send this many requests a second, Poisson.
    #[arg(long, value_name = "RATE")]
    open: Option<f64>,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// The seed of the Poisson schedule.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The p99 latency that the run is held to, in microseconds.
    #[arg(long, value_name = "US")]
    bound: Option<f64>,
    /// The server's process, to report its CPU time per request.
    #[arg(long)]
    pid: Option<u32>,
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Run(arguments) => run(arguments),
        Verb::Echo { grpc, threads } => echo::serve(&grpc, threads),
        Verb::Raw {
            model,
            rows,
            seconds,
            library,
        } => raw::measure(&raw::Loop {
            model,
            rows,
            length: span(seconds),
            library,
        })
        .map(|json| println!("{json}")),
        Verb::Compare(arguments) => compare::run(&arguments),
        Verb::Start(arguments) => start::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ortus-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Run) -> Result<()> {
    let text = std::fs::read_to_string(&arguments.sample)?;
    let golden = arguments
        .golden
        .as_deref()
        .map(golden::Golden::read)
        .transpose()?;
    let pace = match (arguments.closed, arguments.open) {
        (Some(in_flight), _) => load::Pace::Closed { in_flight },
        (None, Some(rate)) => load::Pace::Open {
            rate,
            seed: arguments.seed,
        },
        (None, None) => return Err("--closed or --open is needed".into()),
    };
    let target = match (arguments.grpc, arguments.http) {
        (Some(address), _) => wire::Target::Grpc {
            address,
            request: sample::request(&arguments.model, &text)?,
        },
        (None, Some(address)) => wire::Target::Http {
            address,
            model: arguments.model,
            body: text,
        },
        (None, None) => return Err("--grpc or --http is needed".into()),
    };
    let plan = load::Plan {
        target,
        golden,
        pace,
        length: span(arguments.seconds),
        connections: arguments.connections,
    };
    let report = load::run(plan, arguments.pid)?;
    println!("{}", report.json(arguments.bound));
    report.verdict(arguments.bound)
}

/// Seconds of the command line; nonsense becomes none at all.
fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
