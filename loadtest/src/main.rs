//! `ortus-loadtest`: the load generator, the floors that a server is held against,
//! and the scenarios. Owns the command line and nothing else.

mod clients;
mod floors;
mod golden;
mod load;
mod models;
mod process;
mod report;
mod requests;
mod sample;
mod scenarios;
mod schedule;
mod servers;
mod single;
mod tally;

use clap::{Args, Parser, Subcommand};
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
    /// Run scenarios against Ortus and the floors, and write a report.
    Run(Box<scenarios::Run>),
    /// Send requests to one server and report latency, errors and its CPU time.
    Load(Box<single::Load>),
    /// Answer each request with its own bytes: the floor of the wire.
    Echo(Echo),
    /// Run a model of one FP32 input in a loop, without a server: the floor of the model.
    Raw(floors::raw::Grid),
    /// Write the models of the scenarios into a model directory.
    Models(models::Write),
}

#[derive(Args)]
#[group(required = true)]
struct Echo {
    /// On `h2`, for gRPC.
    #[arg(long, value_name = "ADDR:PORT", group = "wire")]
    grpc: Option<String>,
    /// On `hyper`, for HTTP/1.1.
    #[arg(long, value_name = "ADDR:PORT", group = "wire")]
    http: Option<String>,
    /// On `tonic`, which decodes and encodes the messages.
    #[arg(long, value_name = "ADDR:PORT", group = "wire")]
    tonic: Option<String>,
    /// Threads, each with a runtime of its own [default: one per core].
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Run(arguments) => scenarios::run(&arguments),
        Verb::Load(arguments) => single::load(&arguments),
        Verb::Echo(arguments) => echo(arguments),
        Verb::Raw(grid) => floors::raw::measure(&grid),
        Verb::Models(arguments) => models::write(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ortus-loadtest: {error}");
            ExitCode::FAILURE
        }
    }
}

fn echo(arguments: Echo) -> Result<()> {
    let threads = arguments.threads.unwrap_or_else(cores);
    match (arguments.grpc, arguments.http, arguments.tonic) {
        (Some(address), _, _) => floors::h2_echo::serve(&address, threads),
        (_, Some(address), _) => floors::http_echo::serve(&address, threads),
        (_, _, Some(address)) => floors::tonic_echo::serve(&address, threads),
        _ => Err("--grpc, --http or --tonic is needed".into()),
    }
}

/// The cores that this process may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Seconds of the command line; nonsense becomes none at all.
fn span(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
