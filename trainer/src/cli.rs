//! `ortus-trainer`: parses, calls the trainer, prints.

mod backfill;
mod contributions;
mod experiments;
mod next;
mod plan;
mod runs;
mod setup;
mod show;
mod status;
mod watching;

use crate::demo::DemoArguments;
use backfill::BackfillArguments;
use clap::{Args, Parser, Subcommand};
use ortus::cli::registry::arguments::{By, RegistryArguments};
use ortus::cli::{block_on, run_as};
use ortus::core::error::Result;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use watching::WatchArguments;

/// The exit status if a gate failed or was inconclusive.
const NOT_PASSED: u8 = 3;

/// Train models for Ortus: read the data, fit, export to ONNX, check, compare with the champion, publish.
#[derive(Parser)]
#[command(name = "ortus-trainer", version, about)]
struct OrtusTrainer {
    #[command(subcommand)]
    command: TrainerCommand,
}

#[derive(Subcommand)]
pub(super) enum TrainerCommand {
    /// Inspect all rows, show what was understood of them, and write a first train.toml.
    Init(plan::InitArguments),
    /// Show what a run would do and which data it would read, without running it.
    Plan {
        /// The training specification (train.toml).
        spec: PathBuf,
        #[command(flatten)]
        common: RegistryArguments,
    },
    /// Train once, and publish the model if it passes all gates. Exits 0 if a version was published
    /// or the same run published one before, 3 if a gate failed or was inconclusive, 1 on an error.
    Run(RunArguments),
    /// Train whenever a trigger of a specification fires, until the process is stopped.
    Watch(WatchArguments),
    /// Show the last run, the triggers that are due, and what delays them.
    Status {
        /// The training specification (train.toml).
        spec: PathBuf,
        #[command(flatten)]
        common: RegistryArguments,
    },
    /// Request a run from the trainer that watches the model.
    Trigger {
        /// The name of the model.
        model: String,
        #[command(flatten)]
        common: RegistryArguments,
        #[command(flatten)]
        by: By,
    },
    /// Train as of past times, with only the data known then. The versions get no alias.
    Backfill(BackfillArguments),
    /// Search the settings of `[sweep]`, and publish the best if it passes all gates.
    Sweep {
        #[command(flatten)]
        run: RunArguments,
        /// Write a page of the trials to this file: settings, losses and learning curves.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Compare two runs: settings, metrics and gates.
    Compare {
        /// The name of the model.
        model: String,
        /// A run: its key, the first characters of it, or the version that it published.
        one: String,
        /// The other run, in the same way.
        other: String,
        /// Write a page of both to this file: settings, metrics and learning curves.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        #[command(flatten)]
        common: RegistryArguments,
    },
    /// List the runs of a model.
    Runs {
        /// The name of the model.
        model: String,
        /// Write a page of the runs to this file: metrics over time and by setting, learning curves.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        #[command(flatten)]
        common: RegistryArguments,
    },
    /// Show the result of a run and the reasons for it; with rows, what each feature contributes to their predictions.
    Explain(ExplainRunArguments),
    /// Show the whole loop: input drift, an alarm, retraining, and recovery.
    Demo(DemoArguments),
    /// Run as `ortus` (for the demonstration).
    #[command(hide = true)]
    Ortus {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    #[command(name = "probe-model", hide = true)]
    ProbeModel,
    #[command(hide = true)]
    Guard,
}

#[derive(Args)]
pub(super) struct RunArguments {
    /// The training specification (train.toml).
    spec: PathBuf,
    /// The server program that must be able to load the model [default: `ortus` beside this program].
    #[arg(long, value_name = "PATH")]
    ortus: Option<PathBuf>,
    /// Log runs to MLflow: a folder such as mlruns, or the address of a tracking server.
    #[arg(long, value_name = "URI")]
    mlflow: Option<String>,
    #[command(flatten)]
    common: RegistryArguments,
    #[command(flatten)]
    by: By,
}

#[derive(Args)]
pub(super) struct ExplainRunArguments {
    /// The name of the model.
    model: String,
    /// The run: its key, the first characters of it, or the version that it published; none with --row or --rows.
    run: Option<String>,
    /// Write the evidence page of the run to this file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["row", "rows"])]
    html: Option<PathBuf>,
    /// Explain the prediction of this row: a JSON object with a value for each input, null for a missing one.
    #[arg(long, value_name = "JSON", conflicts_with = "rows")]
    row: Option<String>,
    /// Explain the predictions of a file with such an object on each line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    rows: Option<PathBuf>,
    /// The most lines of the file that are read.
    #[arg(long, value_name = "N", default_value_t = 10, requires = "rows")]
    limit: usize,
    /// The most contributions that are shown of a row.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// The version that predicts, by number or alias [default: the champion].
    #[arg(long, value_name = "VERSION", conflicts_with = "run")]
    version: Option<String>,
    #[command(flatten)]
    common: RegistryArguments,
}

impl ExplainRunArguments {
    fn has_rows(&self) -> bool {
        self.row.is_some() || self.rows.is_some()
    }
}

/// Runs the command line; exits 0 on success, 1 on an error, 2 on misuse, 3 if a gate did not pass.
pub(crate) fn main(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    run_as("ortus-trainer", arguments, |parsed: OrtusTrainer| {
        run(parsed.command)
    })
}

/// Runs a command.
pub(super) fn run(command: TrainerCommand) -> Result<ExitCode> {
    match command {
        TrainerCommand::Init(arguments) => block_on(plan::init(&arguments))?,
        TrainerCommand::Demo(arguments) => return crate::demo::run(&arguments),
        TrainerCommand::Ortus { arguments } => {
            let program = OsString::from(crate::demo::SERVER);
            return Ok(ortus::cli::main(std::iter::once(program).chain(arguments)));
        }
        TrainerCommand::Plan { spec, common } => block_on(plan::plan(&spec, &common))?,
        TrainerCommand::Run(arguments) => return block_on(runs::once(&arguments)),
        TrainerCommand::Runs {
            model,
            html,
            common,
        } => block_on(runs::runs(&model, html.as_deref(), &common))?,
        TrainerCommand::Explain(arguments) => match arguments.has_rows() {
            true => block_on(contributions::explain(&arguments))?,
            false => block_on(runs::explain(&arguments))?,
        },
        TrainerCommand::Watch(arguments) => return block_on(watching::watch(&arguments)),
        TrainerCommand::Sweep { run, html } => {
            return block_on(experiments::sweep(&run, html.as_deref()));
        }
        TrainerCommand::Compare {
            model,
            one,
            other,
            html,
            common,
        } => {
            let keys = [one.as_str(), other.as_str()];
            block_on(experiments::compare(&model, keys, html.as_deref(), &common))?;
        }
        TrainerCommand::Status { spec, common } => block_on(status::status(&spec, &common))?,
        TrainerCommand::Trigger { model, common, by } => {
            block_on(watching::ask(&model, &common, &by))?
        }
        TrainerCommand::Backfill(arguments) => return block_on(backfill::backfill(&arguments)),
        TrainerCommand::Guard => crate::command::guard::run()?,
        TrainerCommand::ProbeModel => ortus::app::engine::probe_model()?,
    }

    Ok(ExitCode::SUCCESS)
}
