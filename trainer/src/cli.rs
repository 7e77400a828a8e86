//! `ortus-trainer`: parses, calls the trainer, prints.

mod experiments;
mod watching;

use crate::context::{Trainer, Watcher};
use crate::data::Reach;
use crate::demo::DemoArguments;
use crate::fit::trees::Round;
use crate::history::{Became, History, Ran};
use crate::pipeline;
use crate::record::text_of;
use crate::recorded_run::{Cause, attempt};
use crate::spec::Spec;
use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use ortus::cli::print::{Table, line, note};
use ortus::cli::registry::arguments::{By, Common};
use ortus::cli::registry::{config, open};
use ortus::cli::{block_on, monitor, run_as};
use ortus::core::error::{Error, Result};
use ortus::core::model::ModelName;
use ortus::onnx::runtime::onnx::OnnxRuntime;
use ortus::registry::commands::Operator;
use ortus::storage::layout::Records;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use watching::{BackfillArguments, WatchArguments};

/// The exit status if a gate failed or was inconclusive.
const NOT_PASSED: u8 = 3;

/// Train models for Ortus: read the data, fit, export to ONNX, check, compare with the champion, publish.
#[derive(Parser)]
#[command(name = "ortus-trainer", version, about, disable_help_subcommand = true)]
struct OrtusTrainer {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
pub(super) enum Command {
    /// Write a first train.toml from the columns of the data.
    Init {
        /// A file or folder of Parquet, CSV or JSON lines files.
        data: PathBuf,
        /// The column to predict.
        #[arg(long, value_name = "COLUMN")]
        target: String,
        /// The file to write.
        #[arg(short, long, value_name = "FILE", default_value = "train.toml")]
        output: PathBuf,
    },
    /// Show what a run would do and which data it would read, without running it.
    Plan {
        /// The training specification (train.toml).
        spec: PathBuf,
        #[command(flatten)]
        common: Common,
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
        common: Common,
    },
    /// Request a run from the trainer that watches the model.
    Trigger {
        /// The name of the model.
        model: String,
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        by: By,
    },
    /// Train as of past times, with only the data known then. The versions get no alias.
    Backfill(BackfillArguments),
    /// Search the settings of `[sweep]`, and publish the best if it passes all gates.
    Sweep(RunArguments),
    /// Compare two runs: settings, metrics and gates.
    Compare {
        /// The name of the model.
        model: String,
        /// The key of a run, or its first characters.
        one: String,
        /// The key of the other run, or its first characters.
        other: String,
        #[command(flatten)]
        common: Common,
    },
    /// List the runs of a model.
    Runs {
        /// The name of the model.
        model: String,
        #[command(flatten)]
        common: Common,
    },
    /// Show the result of a run and the reasons for it.
    Explain {
        /// The name of the model.
        model: String,
        /// The key of the run, or its first characters.
        run: String,
        /// Write the evidence page of the run to this file.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Show the whole loop: input drift, an alarm, retraining, and recovery.
    Demo(DemoArguments),
    /// Run as `ortus`, for the demonstration.
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
    common: Common,
    #[command(flatten)]
    by: By,
}

/// Runs the command line; 0: did it, 1: refused or failed, 2: misuse, 3: a gate did not pass.
pub fn main(arguments: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    run_as("ortus-trainer", arguments, |parsed: OrtusTrainer| {
        run(parsed.command)
    })
}

/// Runs a command.
pub(super) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Init {
            data,
            target,
            output,
        } => {
            if output.exists() {
                return Err(Error::invalid(format!(
                    "{} exists already; choose another file with --output",
                    output.display()
                )));
            }
            // Paths are relative to the file that names them.
            let is_here = output
                .parent()
                .is_none_or(|folder| folder.as_os_str().is_empty());
            let unreadable =
                |e| Error::invalid(format!("{} cannot be read", data.display())).with_source(e);
            let data = if is_here {
                data.clone()
            } else {
                data.canonicalize().map_err(unreadable)?
            };
            let text = block_on(crate::init::init(&data, &target))?;
            monitor::write(&output, text.as_bytes())?;
            // What was written is read as any other: it must be right.
            Spec::read(&output)?;
            line(&output.display().to_string());
        }
        Command::Demo(arguments) => return crate::demo::run(&arguments),
        Command::Ortus { arguments } => {
            let program = OsString::from(crate::demo::SERVER);
            return Ok(ortus::cli::main(std::iter::once(program).chain(arguments)));
        }
        Command::Plan { spec, common } => block_on(plan(&spec, &common))?,
        Command::Run(arguments) => return block_on(once(&arguments)),
        Command::Runs { model, common } => block_on(runs(&model, &common))?,
        Command::Explain {
            model,
            run,
            html,
            common,
        } => block_on(explain(&model, &run, html.as_deref(), &common))?,
        Command::Watch(arguments) => return block_on(watching::watch(&arguments)),
        Command::Sweep(arguments) => return block_on(experiments::sweep(&arguments)),
        Command::Compare {
            model,
            one,
            other,
            common,
        } => {
            block_on(experiments::compare(&model, (&one, &other), &common))?;
        }
        Command::Status { spec, common } => block_on(watching::status(&spec, &common))?,
        Command::Trigger { model, common, by } => block_on(watching::ask(&model, &common, &by))?,
        Command::Backfill(arguments) => return block_on(watching::backfill(&arguments)),
        Command::Guard => crate::command::guard::run()?,
        Command::ProbeModel => ortus::app::probe_model()?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn plan(path: &Path, common: &Common) -> Result<()> {
    let spec = Spec::read(path)?;
    let mut reach = Reach::files();
    if spec.has_seen() {
        reach.records = Some(seen_by(common, &open(common, None, false).await?)?);
    }
    let planned = pipeline::plan(&spec, &reach).await?;
    if common.json {
        line(&planned.to_string());
        return Ok(());
    }
    let say = |pointer: &str| match planned.pointer(pointer) {
        Some(serde_json::Value::String(word)) => word.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    };
    line(&format!("run {}", say("/run")));
    line(&format!(
        "{} rows of {}, {}",
        say("/data/rows"),
        say("/model"),
        say("/data_digest")
    ));
    for source in planned["data"]["sources"].as_array().into_iter().flatten() {
        let files = source["files"].as_array().map_or(0, Vec::len);
        line(&format!(
            "  source {}: {files} files",
            source["name"].as_str().unwrap_or_default()
        ));
    }
    line(&format!(
        "predicts '{}' ({}) by {}",
        say("/target"),
        say("/task"),
        say("/algorithm")
    ));
    line(&format!(
        "split by {}: learns from {}, stops by {}, is judged by {} rows; {} are left out",
        say("/split/by"),
        say("/split/train"),
        say("/split/stop"),
        say("/split/test"),
        say("/split/left_out")
    ));
    for text in planned["notes"].as_array().into_iter().flatten() {
        line(&format!("note: {}", text.as_str().unwrap_or_default()));
    }
    Ok(())
}

/// Shows steps, and a bar of rounds with the loss.
struct Shown {
    bar: ProgressBar,
    is_quiet: bool,
}

impl Shown {
    fn new(is_quiet: bool) -> Self {
        let style =
            ProgressStyle::with_template("{bar:40} {pos}/{len} rounds {msg}").expect("a template");
        Self {
            bar: ProgressBar::new(0).with_style(style),
            is_quiet,
        }
    }
}

impl Watcher for Shown {
    fn step(&mut self, what: &str) {
        if !self.is_quiet {
            self.bar.suspend(|| note(&format!("ortus-trainer: {what}")));
        }
    }

    fn round(&mut self, round: Round) {
        self.bar.set_length(round.of as u64);
        self.bar.set_position(round.number as u64);
        self.bar.set_message(
            round
                .loss
                .map_or_else(String::new, |loss| format!("loss {loss:.5}")),
        );
    }
}

async fn once(arguments: &RunArguments) -> Result<ExitCode> {
    let spec = Spec::read(&arguments.spec)?;
    let setup = Setup::new(
        arguments.ortus.as_deref(),
        &arguments.common,
        &arguments.by,
        spec.fit.threads,
    )
    .await?;
    let mut shown = Shown::new(arguments.common.json);
    let trainer = setup.trainer(chrono::Utc::now());
    let history = history_of(&setup.operator, &spec.model.name)?;
    let (ran, ended, kept) = attempt(&trainer, &spec, Cause::manual(), &history, &mut shown).await;
    shown.bar.finish_and_clear();
    if let Err(error) = kept {
        note(&format!("ortus-trainer: the run is not kept: {error}"));
    }
    experiments::tell(arguments.mlflow.as_deref(), &ran).await;
    let outcome = ended?;
    if outcome.new {
        ortus::cli::registry::nudge(&setup.operator, &arguments.by).await;
    }
    if arguments.common.json {
        line(&serde_json::json!(ran).to_string());
    } else {
        show(&ran);
    }
    Ok(if outcome.version.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_PASSED)
    })
}

/// What every run needs.
struct Setup {
    /// With what makes the first run of a model.
    operator: Operator,
    engine: OnnxRuntime,
    /// Where servers keep what they record.
    seen: Records,
}

impl Setup {
    async fn new(ortus: Option<&Path>, common: &Common, by: &By, threads: usize) -> Result<Self> {
        crate::scratch::begin();
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build_global();
        threads.map_err(|e| Error::internal("start threads").with_source(e))?;
        let mut operator = open(common, Some(by), true).await?;
        let mut prober = ortus::app::prober_of(&config(common)?, &note)?;
        prober.program = program(ortus)?;
        if operator.author.reason.is_empty() {
            operator.author.reason = "trained by ortus-trainer".to_owned();
        }
        let engine = OnnxRuntime::load(&prober.library)?;
        operator.prober = Some(prober);
        let seen = seen_by(common, &operator)?;
        Ok(Self {
            operator,
            engine,
            seen,
        })
    }

    fn trainer(&self, now: chrono::DateTime<chrono::Utc>) -> Trainer<'_> {
        Trainer {
            operator: &self.operator,
            engine: &self.engine,
            now,
            as_of: None,
            seen: &self.seen,
            pinned: None,
            trigger: None,
            lease: None,
        }
    }
}

/// The server's program: the one named, or the one beside this.
fn program(named: Option<&Path>) -> Result<PathBuf> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => {
            let own = std::env::current_exe()
                .map_err(|e| Error::internal("find this program").with_source(e))?;
            own.with_file_name("ortus")
        }
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::invalid(format!(
        "the server program {} does not exist; pass its path with --ortus",
        path.display()
    )))
}

fn show(ran: &Ran) {
    let record = &ran.record;
    let version = record
        .version
        .value()
        .map_or_else(String::new, |v| format!(" version {v}"));
    line(&format!(
        "{}: {}{version} after {:.1} s",
        ran.model,
        word(ran.became),
        ran.seconds
    ));
    if !ran.key().is_empty() {
        line(&format!("run {}", ran.key()));
    }
    for why in [&record.error, &record.said, &record.reason] {
        if let Some(why) = why.value() {
            line(why);
        }
    }
    if record.waiting.value() == Some(&true) {
        line("the version waits for approvals before its alias can move");
    }

    if !record.gates().is_empty() {
        let mut table = Table::new(&["gate", "verdict", "why"]);
        for gate in record.gates() {
            let verdict = gate.verdict.word().replace('_', " ");
            table.row(&[&gate.name, &verdict, &gate.reason]);
        }
        table.print();
    }
    let shown: Vec<String> = record
        .metrics()
        .map(|(name, value)| format!("{name} {value:.5}"))
        .collect();
    if !shown.is_empty() {
        line(&shown.join("  "));
    }
    for text in record.notes() {
        line(&format!("note: {text}"));
    }
}

fn word(became: Became) -> &'static str {
    match became {
        Became::Published => "published",
        Became::Equal => "the same run made",
        Became::Failed => "a gate failed",
        Became::Inconclusive => "a gate could not tell",
        Became::Broken => "ended with an error",
        Became::Skipped => "skipped",
        Became::Tried => "tried",
    }
}

async fn history(model: &str, common: &Common) -> Result<History> {
    history_of(&open(common, None, false).await?, model)
}

/// Where servers keep what they record: labels, captured predictions, alarms.
fn seen_by(common: &Common, operator: &Operator) -> Result<Records> {
    match &config(common)?.records.store {
        Some(url) => Records::open(url, operator.log.namespace()),
        None => Ok(records_of(operator)),
    }
}

fn records_of(operator: &Operator) -> Records {
    Records::of(operator.log.store.clone(), operator.log.namespace())
}

fn history_of(operator: &Operator, model: &str) -> Result<History> {
    Ok(History::new(records_of(operator), ModelName::parse(model)?))
}

async fn runs(model: &str, common: &Common) -> Result<()> {
    let all = history(model, common).await?.all().await?;
    if common.json {
        line(&serde_json::json!(all).to_string());
        return Ok(());
    }
    let mut table = Table::new(&["began", "run", "became", "version", "seconds", "why"]);
    for ran in &all {
        let key = ran.key().strip_prefix("sha256:").unwrap_or("-");
        let version = text_of(&ran.record.version);
        let began = ran.began.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let short = &key[..key.len().min(12)];
        table.row(&[
            &began,
            short,
            word(ran.became),
            &version,
            &format!("{:.1}", ran.seconds),
            &ran.trigger,
        ]);
    }
    table.print();
    Ok(())
}

async fn explain(model: &str, run: &str, html: Option<&Path>, common: &Common) -> Result<()> {
    let history = history(model, common).await?;
    let ran = history.find(run).await?;
    if let Some(file) = html {
        return monitor::write(file, &history.page(ran.key()).await?);
    }
    if common.json {
        line(&serde_json::json!(ran).to_string());
        return Ok(());
    }
    show(&ran);
    let data = ran.record.data.value().into_iter();
    for source in data.flat_map(|data| &data.sources) {
        for file in &source.files {
            line(&format!(
                "data: {} {} ({})",
                source.name, file.path, file.digest
            ));
        }
    }
    Ok(())
}
