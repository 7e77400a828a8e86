//! `load`: one run against one server, of a sample file.

use crate::clients::Target;
use crate::golden::Golden;
use crate::load::{self, Cancel, Pace, Plan};
use crate::requests::{Habits, Input, Protocol, RequestSet};
use crate::schedule::Arrivals;
use crate::{Result, span};
use clap::Args;
use std::path::{Path, PathBuf};
use std::rc::Rc;

#[derive(Args)]
pub(crate) struct Load {
    /// The server's gRPC listener.
    #[arg(
        long,
        value_name = "ADDR:PORT",
        conflicts_with = "http",
        required_unless_present = "http"
    )]
    grpc: Option<String>,
    /// The server's HTTP listener; requests are JSON unless --binary is given.
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<String>,
    /// Send and ask for binary tensors.
    #[arg(long, requires = "http")]
    binary: bool,
    /// Model; given again with --sample, models are mixed in equal shares.
    #[arg(long, required = true)]
    model: Vec<String>,
    /// An inference request as the Open Inference Protocol's JSON, for each model.
    #[arg(long, value_name = "FILE", required = true)]
    sample: Vec<PathBuf>,
    /// The expected answer, as the same protocol's JSON, for each model.
    #[arg(long, value_name = "FILE")]
    golden: Vec<PathBuf>,
    /// Compare every N-th answer with the expected one.
    #[arg(long, value_name = "N", default_value_t = 1)]
    check_every: u64,
    /// Give each request that is not checked a first value of its own.
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    pace: PaceArguments,
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Load before the clock starts, in a closed loop.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0)]
    warm_up: f64,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// The seed of the Poisson schedule.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The deadline that the server is told, in milliseconds.
    #[arg(long, value_name = "MS")]
    deadline: Option<f64>,
    /// Give up this share of the requests, so many milliseconds after they were sent.
    #[arg(long, value_name = "SHARE:MS")]
    cancel: Option<String>,
    /// The p99 latency that the run is held to, in microseconds.
    #[arg(long, value_name = "US")]
    bound: Option<f64>,
    /// The server's process, to report its CPU time per request.
    #[arg(long)]
    pid: Option<u32>,
}

/// When requests are sent.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct PaceArguments {
    /// Keep this many requests in flight.
    #[arg(long, value_name = "N")]
    closed: Option<usize>,
    /// Send this many requests a second, Poisson.
    #[arg(long, value_name = "RATE", visible_alias = "poisson")]
    open: Option<f64>,
    /// Send this many requests a second, evenly.
    #[arg(long, value_name = "RATE")]
    constant: Option<f64>,
    /// Poisson with bursts: rates a second, and the seconds from burst to burst and of each.
    #[arg(long, value_name = "BASE:PEAK:EVERY:LENGTH")]
    burst: Option<String>,
    /// Replay a recorded trace: a line for each request, its offset in seconds.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

impl PaceArguments {
    fn pace(&self, seed: u64) -> Result<Pace> {
        let arrivals = match self {
            Self {
                closed: Some(in_flight),
                ..
            } => {
                return Ok(Pace::Closed {
                    in_flight: *in_flight,
                });
            }
            Self {
                open: Some(rate), ..
            } => Arrivals::poisson(*rate),
            Self {
                constant: Some(rate),
                ..
            } => Arrivals::Constant(*rate),
            Self {
                burst: Some(text), ..
            } => Arrivals::burst(text)?,
            Self {
                trace: Some(file), ..
            } => Arrivals::trace(file)?,
            _ => return Err("--closed, --open, --constant, --burst or --trace is needed".into()),
        };
        Ok(Pace::Open { arrivals, seed })
    }
}

/// Sends the load; prints a line of JSON and fails where the figures do not stand.
pub(crate) fn load(arguments: &Load) -> Result<()> {
    let (address, protocol) = match (&arguments.grpc, &arguments.http) {
        (Some(address), _) => (address, Protocol::Grpc),
        (_, Some(address)) if arguments.binary => (address, Protocol::Binary),
        (_, Some(address)) => (address, Protocol::Json),
        (None, None) => return Err("--grpc or --http is needed".into()),
    };
    let plan = Plan {
        target: Target {
            address: address.as_str().into(),
            requests: Rc::new(arguments.requests(protocol)?),
            deadline: arguments.deadline.map(|ms| span(ms / 1e3)),
        },
        pace: arguments.pace.pace(arguments.seed)?,
        length: span(arguments.seconds),
        warm_up: span(arguments.warm_up),
        connections: arguments.connections,
        cancel: arguments.cancel.as_deref().map(cancel).transpose()?,
    };
    let report = load::run(&plan, arguments.pid)?;
    println!("{}", report.json(arguments.bound));
    report.verdict(arguments.bound)
}

impl Load {
    fn requests(&self, protocol: Protocol) -> Result<RequestSet> {
        let has_golden = !self.golden.is_empty();
        if self.sample.len() != self.model.len()
            || has_golden && self.golden.len() != self.model.len()
        {
            return Err("each --model needs a --sample, and either all or none a --golden".into());
        }
        let habits = Habits {
            is_fresh: self.fresh,
            check_every: self.check_every,
        };
        let mut mix: Option<RequestSet> = None;
        for (at, model) in self.model.iter().enumerate() {
            let golden = self.golden.get(at).map(PathBuf::as_path);
            let inputs = vec![read_input(&self.sample[at], golden)?];
            let set = RequestSet::new(protocol, model, inputs, habits)?;
            mix = Some(match mix {
                Some(mix) => mix.mixed_with(set)?,
                None => set,
            });
        }
        mix.ok_or_else(|| "--model is needed".into())
    }
}

/// Reads a sample, and the expected answer where there is one.
pub(crate) fn read_input(sample: &Path, golden: Option<&Path>) -> Result<Input> {
    let text = std::fs::read(sample).map_err(|e| format!("{}: {e}", sample.display()))?;
    Ok(Input {
        sample: serde_json::from_slice(&text)?,
        golden: golden.map(Golden::read).transpose()?,
    })
}

fn cancel(text: &str) -> Result<Cancel> {
    let numbers: Vec<f64> = text.split(':').filter_map(|n| n.parse().ok()).collect();
    match numbers[..] {
        [share, after_ms] if (0.0..=1.0).contains(&share) => Ok(Cancel {
            share,
            after: span(after_ms / 1e3),
        }),
        _ => Err(format!("--cancel is SHARE:MS with a share of 0 to 1, not {text:?}").into()),
    }
}
