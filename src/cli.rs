//! The command line `ortus`. Parses arguments, calls the wing that does the work and prints the
//! result as a table or as JSON. Decides nothing itself.

mod alarms;
mod backtest;
mod batching;
mod demo;
mod drift;
mod explain;
mod metrics;
mod model_file;
pub mod monitor;
mod performance;
mod predict;
pub mod print;
pub mod registry;
mod replay;
mod report;
mod schema;
mod serve;
mod text_format;
mod tune;

use crate::app::end::end_process;
use crate::config::{Config, reference};
use crate::core::error::{Error, Result};
use crate::onnx::runtime::library;
use clap::{Args, CommandFactory, Parser, Subcommand};
use print::{TextTable, line, note};
use std::path::PathBuf;
use std::process::ExitCode;

/// Serves ONNX models over gRPC and HTTP.
#[derive(Parser)]
#[command(name = "ortus", version, about)]
struct Ortus {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve models from a directory or a registry until SIGTERM, SIGHUP or Ctrl-C.
    Serve(Box<serve::Serve>),
    /// Run a guided tour with the example models.
    Demo(Demo),
    /// List the models of a running server.
    Models(Models),
    /// Send one prediction to a running server.
    Predict(Predict),
    /// Show input drift of served models.
    Drift(drift::DriftArguments),
    /// Print a JSON Schema, or list the schemas.
    Schema {
        /// Name of the schema; without it, the names are listed.
        name: Option<String>,
    },
    /// List recorded drift and performance alarms.
    Alarms(alarms::AlarmsArguments),
    /// Write an HTML report of a served model: traffic, drift and performance.
    Report(report::ReportArguments),
    /// List Prometheus metrics; print alerting rules and Grafana dashboards.
    Metrics {
        #[command(subcommand)]
        verb: metrics::MetricsVerb,
    },
    /// Send captured predictions to a server again and compare the outputs.
    Replay(replay::ReplayArguments),
    /// Show measured and estimated performance of served models.
    Performance(performance::PerformanceArguments),
    /// Build a drift baseline from a dataset and a model.
    Profile(monitor::ProfileArguments),
    /// Show rows of the past to the monitor, and tell which incidents it would have reported.
    Backtest(backtest::BacktestArguments),
    #[command(flatten)]
    Registry(registry::RegistryVerb),
    /// Find or install the ONNX Runtime library.
    Runtime {
        #[command(subcommand)]
        verb: RuntimeVerb,
    },
    /// Check, print or explain the configuration.
    Config {
        #[command(subcommand)]
        verb: ConfigVerb,
    },
    /// Show whether requests of a model can be batched.
    Batching {
        #[command(subcommand)]
        verb: batching::BatchingVerb,
    },
    /// Show what the scheduler of a served model knows and does: durations, lanes, queue, last batches.
    Explain(explain::ExplainArguments),
    /// Measure lanes, threads and batch sizes of a model on this machine; print the settings to paste.
    Tune(tune::TuneArguments),
    /// Run a model for the first time, in a sandbox started by the server.
    #[command(hide = true)]
    ProbeModel,
    /// Print a shell completion script.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Args, Default)]
struct CommonArguments {
    /// Configuration file [default: ./ortus.toml if it exists].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set any configuration key, such as model.fraud.batch_rows_max=32.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Path of the ONNX Runtime library.
    #[arg(long, value_name = "FILE")]
    ort_lib: Option<PathBuf>,
    /// Do not download the ONNX Runtime library.
    #[arg(long)]
    offline: bool,
    /// Log level, such as info or ortus=debug,warn.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Log format: text or json.
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

#[derive(Args)]
struct Demo {
    /// Stop after the tour; exit with 0 only if every check passed.
    #[arg(long)]
    exit: bool,
    /// Directory of the example models.
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Do not download the ONNX Runtime library.
    #[arg(long)]
    offline: bool,
}

#[derive(Args)]
struct Models {
    /// HTTP address of the server.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8000")]
    server: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Predict {
    /// Name of the model.
    model: String,
    /// Address of the server [default: 127.0.0.1:8000, with --grpc 127.0.0.1:8001].
    #[arg(long, value_name = "ADDR:PORT")]
    server: Option<String>,
    /// Use gRPC instead of HTTP.
    #[arg(long)]
    grpc: bool,
    /// Inference request in the JSON of the Open Inference Protocol; - reads standard input.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "input",
        required_unless_present_any = ["input", "row"]
    )]
    file: Option<PathBuf>,
    /// Rows by the names of their columns: a JSON object, such as {"age": 35, "plan": "basic"}, or a list of objects. null is a
    /// missing value, and an ISO 8601 time stands for seconds since 1970 in FP64 inputs.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["input", "file", "grpc"])]
    row: Option<String>,
    /// Input tensor as name, datatype, shape and values, such as x:FP32:1,3:0.5,1,nan. Repeat it for
    /// each input; optional inputs, which have a default, may be left out. A string with commas is in double quotes.
    #[arg(long, value_name = "NAME:TYPE:SHAPE:VALUES")]
    input: Vec<String>,
    /// Version of the model [default: chosen by the server].
    #[arg(long, default_value = "", hide_default_value = true)]
    version: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum RuntimeVerb {
    /// Show where the library is searched for, and which one is used.
    Status(CommonArguments),
    /// Download the supported library version into the user's cache directory.
    Install,
}

#[derive(Subcommand)]
enum ConfigVerb {
    /// Check the configuration; print nothing if it is valid.
    Check(CommonArguments),
    /// Print the effective configuration as TOML.
    ///
    /// A file with this text sets every key, and so overrides each model's config.pbtxt.
    Show(CommonArguments),
    /// Explain a key or a section: meaning, accepted values, default and range.
    Explain {
        /// A key, such as server.http, or a section, such as server.
        key: String,
    },
    /// Print the reference of all keys in Markdown.
    Reference,
}

/// Runs a command line. Exits with 0 on success, 1 on an error and 2 on wrong arguments.
pub fn main(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    run_as("ortus", arguments, |parsed: Ortus| run(parsed.command))
}

/// Parses and runs a program's command line, and prints the error if it fails.
pub fn run_as<P: Parser>(
    program: &str,
    arguments: impl Iterator<Item = std::ffi::OsString>,
    run: impl FnOnce(P) -> Result<ExitCode>,
) -> ExitCode {
    let parsed = match P::try_parse_from(arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and version are printed to stdout and are not errors.
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(2)
            } else {
                ExitCode::SUCCESS
            };
        }
    };

    match run(parsed) {
        Ok(code) => code,
        Err(error) => {
            print_error(program, &error);
            ExitCode::FAILURE
        }
    }
}

fn print_error(program: &str, error: &Error) {
    let cause = std::error::Error::source(error)
        .map(|s| format!(" ({})", s.to_string().replace('\n', " ")));
    note(&format!("{program}: {error}{}", cause.unwrap_or_default()));
}

/// Ends the process after a server: models may still be loading or running.
fn end_server(result: Result<ExitCode>) -> ! {
    match result {
        Ok(code) => end_process(u8::from(code != ExitCode::SUCCESS)),
        Err(error) => {
            print_error("ortus", &error);
            end_process(1)
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Serve(arguments) => end_server(serve::serve(&arguments)),
        Command::Demo(arguments) => end_server(demo::run(&arguments)),
        Command::Models(arguments) => block_on(predict::models(&arguments))?,
        Command::Predict(arguments) => block_on(predict::predict(&arguments))?,
        Command::ProbeModel => crate::app::engine::probe_model()?,
        Command::Schema { name } => schema::schema(name.as_deref())?,
        Command::Alarms(arguments) => alarms::alarms(&arguments)?,
        Command::Report(arguments) => report::report(&arguments)?,
        Command::Batching { verb } => batching::batching(&verb)?,
        Command::Explain(arguments) => explain::explain(&arguments)?,
        Command::Tune(arguments) => tune::tune(&arguments)?,
        Command::Metrics { verb } => metrics::metrics(&verb)?,
        Command::Replay(arguments) => return replay::replay(&arguments).map(ExitCode::from),
        Command::Drift(arguments) => drift::drift(&arguments)?,
        Command::Performance(arguments) => performance::performance(&arguments)?,
        Command::Profile(arguments) => monitor::profile(&arguments)?,
        Command::Backtest(arguments) => backtest::run(&arguments)?,
        Command::Registry(verb) => return registry::run(verb),
        Command::Runtime {
            verb: RuntimeVerb::Install,
        } => {
            line(&format!("{}", library::install(&note)?.display()));
        }
        Command::Runtime {
            verb: RuntimeVerb::Status(common),
        } => return runtime_status(&common),
        Command::Config {
            verb: ConfigVerb::Check(common),
        } => {
            load(&common, Vec::new())?;
        }
        Command::Config {
            verb: ConfigVerb::Show(common),
        } => line(load(&common, Vec::new())?.to_toml().trim_end()),
        Command::Config {
            verb: ConfigVerb::Explain { key },
        } => line(reference::explain(&key)?.trim_end()),
        Command::Config {
            verb: ConfigVerb::Reference,
        } => line(reference::markdown().trim_end()),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Ortus::command(),
                "ortus",
                &mut std::io::stdout(),
            );
        }
    }

    Ok(ExitCode::SUCCESS)
}

fn text(value: impl Into<String>) -> toml::Value {
    toml::Value::String(value.into())
}

fn load(common: &CommonArguments, mut flags: Vec<(String, toml::Value)>) -> Result<Config> {
    let mut put =
        |key: &str, value: Option<toml::Value>| flags.extend(value.map(|v| (key.to_owned(), v)));
    put(
        "runtime.library",
        common
            .ort_lib
            .as_ref()
            .map(|p| text(p.display().to_string())),
    );

    put(
        "runtime.offline",
        common.offline.then_some(toml::Value::Boolean(true)),
    );
    put("log.level", common.log_level.clone().map(text));
    put("log.format", common.log_format.clone().map(text));
    for setting in &common.set {
        let (key, value) = setting.split_once('=').ok_or_else(|| {
            Error::invalid(format!(
                "--set must be KEY=VALUE, such as server.http=127.0.0.1:9000; got \"{setting}\""
            ))
        })?;
        let parsed = toml::from_str::<toml::Table>(&format!("v = {value}"))
            .ok()
            .and_then(|mut t| t.remove("v"));
        flags.push((key.to_owned(), parsed.unwrap_or_else(|| text(value))));
    }

    Config::load(common.config.as_deref(), std::env::vars(), flags)
}

fn runtime_status(common: &CommonArguments) -> Result<ExitCode> {
    let config = load(common, Vec::new())?;
    let mut table = TextTable::new(&["place", "file", "found"]);
    let mut found = false;
    for place in library::places(config.runtime.library.as_deref()) {
        let verdict = match (place.path.exists(), library::check(&place.path)) {
            (false, _) => "-".to_owned(),
            (true, Ok(minor)) => {
                let chosen = if found { "" } else { ", used" };
                found = true;
                format!("ONNX Runtime 1.{minor}{chosen}")
            }
            (true, Err(error)) => format!("refused: {error}"),
        };
        table.row(&[place.origin, &place.path.display().to_string(), &verdict]);
    }

    table.print();
    if !found {
        note("ortus: no ONNX Runtime found; run `ortus runtime install` to download it");
    }
    Ok(if found {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs a future to its end on a small runtime of its own.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::internal("build a runtime").with_source(e))?
        .block_on(work)
}
