//! Ortus against its two yardsticks. Starts the servers, alternates them in the
//! order A B B A, and reports CPU time per request and its ratio.

use crate::golden::{self, Golden};
use crate::load::{self, Pace, Plan};
use crate::server::Server;
use crate::{Result, sample, span, wire};
use clap::Args;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Args)]
pub(crate) struct Compare {
    /// The ortus program.
    #[arg(long, value_name = "BIN")]
    ortus: PathBuf,
    /// The model directory to serve from.
    #[arg(long, value_name = "DIR")]
    models: PathBuf,
    #[arg(long)]
    model: String,
    #[arg(long, value_name = "FILE")]
    sample: PathBuf,
    #[arg(long, value_name = "FILE")]
    golden: Option<PathBuf>,
    /// The model file of the raw loop [default: DIR/MODEL/1/model.onnx].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[arg(
        long,
        value_name = "N,N",
        value_delimiter = ',',
        default_value = "1,8,64"
    )]
    in_flight: Vec<usize>,
    /// How often each server is measured; even, so that A B B A is whole.
    #[arg(long, default_value_t = 4)]
    rounds: usize,
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// The ONNX Runtime library [default: $ORT_DYLIB_PATH].
    #[arg(long, value_name = "FILE")]
    library: Option<PathBuf>,
}

impl Compare {
    fn serve(&self) -> Result<Server> {
        Server::ortus(&self.ortus, &self.models, self.library.as_deref())
    }
}

/// Measures all in-flight counts; prints a JSON line each, then a table.
pub(crate) fn run(arguments: &Compare) -> Result<()> {
    let text = std::fs::read_to_string(&arguments.sample)?;
    let rows = sample::rows(&sample::request(&arguments.model, &text)?);
    let (ortus, echo) = (arguments.serve()?, Server::echo()?);
    let mut lines = Vec::new();
    for &in_flight in &arguments.in_flight {
        let sides = Sides {
            arguments,
            text: &text,
            in_flight,
        };
        let (mut ours, mut theirs, mut raws, mut ratios) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for round in 0..arguments.rounds.max(1) {
            // A B, then B A.
            let (a, b) = if round % 2 == 0 {
                let a = sides.measure(&ortus, false)?;
                (a, sides.measure(&echo, true)?)
            } else {
                let b = sides.measure(&echo, true)?;
                (sides.measure(&ortus, false)?, b)
            };
            let raw = raw(arguments, rows)?;
            println!(
                "{}",
                json!({"round": round, "in_flight": in_flight, "ortus_us": a, "echo_us": b, "raw_us": raw})
            );
            ratios.push(a / (b + raw));
            ours.push(a);
            theirs.push(b);
            raws.push(raw);
        }
        let line = json!({
            "model": arguments.model, "rows": rows, "in_flight": in_flight, "ortus_us": median(ours),
            "echo_us": median(theirs), "raw_us": median(raws), "ratio": median(ratios),
        });
        println!("{line}");
        lines.push(line);
    }
    println!(
        "{:>20} {:>9} {:>9} {:>9} {:>9} {:>6}",
        "model", "in flight", "ortus µs", "echo µs", "raw µs", "ratio"
    );
    for line in lines {
        let number = |key: &str| line[key].as_f64().unwrap_or(f64::NAN);
        println!(
            "{:>20} {:>9} {:>9.1} {:>9.1} {:>9.1} {:>6.2}",
            arguments.model,
            number("in_flight"),
            number("ortus_us"),
            number("echo_us"),
            number("raw_us"),
            number("ratio")
        );
    }
    Ok(())
}

struct Sides<'a> {
    arguments: &'a Compare,
    text: &'a str,
    in_flight: usize,
}

impl Sides<'_> {
    /// The CPU time per request of one server; any fault voids the figure.
    fn measure(&self, server: &Server, is_echo: bool) -> Result<f64> {
        let request = sample::request(&self.arguments.model, self.text)?;
        // Both sides pay for a check, or neither does.
        let golden = match &self.arguments.golden {
            Some(_) if is_echo => Some(golden::echo_of(&request)),
            Some(path) => Some(Golden::read(path)?),
            None => None,
        };
        let plan = Plan {
            target: wire::Target::Grpc {
                address: server.address.clone(),
                request,
            },
            golden,
            pace: Pace::Closed {
                in_flight: self.in_flight,
            },
            length: span(self.arguments.seconds),
            connections: self.arguments.connections,
        };
        let report = load::run(plan, Some(server.pid()))?;
        match report.tally.faults() {
            (0, _) => report.cpu_us().ok_or_else(|| "no CPU time".into()),
            (faults, first) => {
                Err(format!("{faults} faults, first: {}", first.unwrap_or_default()).into())
            }
        }
    }
}

/// The raw loop's CPU time per run, in a process of its own.
fn raw(arguments: &Compare, rows: usize) -> Result<f64> {
    let file = match &arguments.file {
        Some(file) => file.clone(),
        None => arguments
            .models
            .join(&arguments.model)
            .join(Path::new("1/model.onnx")),
    };
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("raw")
        .arg("--model")
        .arg(file)
        .arg("--rows")
        .arg(rows.to_string());
    command
        .arg("--seconds")
        .arg(arguments.seconds.min(1.0).to_string());
    if let Some(library) = &arguments.library {
        command.arg("--library").arg(library);
    }
    let output = command.stderr(Stdio::inherit()).output()?;
    let json: Value = serde_json::from_slice(&output.stdout)?;
    json["cpu_us"]
        .as_f64()
        .ok_or_else(|| "the raw loop reported nothing".into())
}

/// The middle value, or the mean of the middle two.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        _ if values.is_empty() => f64::NAN,
        0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_or_the_mean_of_two() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(Vec::new()).is_nan());
    }
}
