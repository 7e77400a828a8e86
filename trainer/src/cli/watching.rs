//! The commands `watch` and `trigger`: runs that triggers start, and requests for
//! a run. Decides nothing; `crate::watch` does.

use super::NOT_PASSED;
use super::experiments::log_to_mlflow;
use super::next::{promote_command, registry_argument};
use super::setup::{Setup, records_of};
use super::show::{ProgressDisplay, show_triggered};
use crate::context::RunOutcome;
use crate::spec::Spec;
use crate::trigger;
use crate::watch::{self, Checked, Watch};
use chrono::Utc;
use clap::Args;
use crossbeam_channel::Receiver;
use ortus::cli::print::{line, note};
use ortus::cli::registry::arguments::{By, RegistryArguments};
use ortus::cli::registry::{nudge, open};
use ortus::core::error::{Error, Result};
use ortus::core::model::ModelName;
use serde_json::json;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The longest pause after a failed check.
const PAUSE_MAX: Duration = Duration::from_secs(600);
#[derive(Args)]
pub(crate) struct WatchArguments {
    /// The training specifications; `[triggers]` of each says when it runs.
    #[arg(required = true)]
    specs: Vec<PathBuf>,
    /// Check once, run what is due, and exit; exits 3 if a gate did not pass.
    #[arg(long)]
    once: bool,
    /// Receive alarms as a webhook at this address; port 0 takes a free port.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// The server program that must be able to load models [default: `ortus` beside this program].
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

/// Watches until the process is stopped.
pub(super) async fn watch(arguments: &WatchArguments) -> Result<ExitCode> {
    let holder = ortus::registry::servers::name();
    let mut watches: Vec<Watch> = arguments
        .specs
        .iter()
        .map(|path| Watch::new(path, &holder))
        .collect();
    // A specification that is wrong at the start is an error; later errors are logged, and it is read again.
    let specs: Vec<Spec> = watches.iter().map(Watch::spec).collect::<Result<_>>()?;

    let models: BTreeSet<String> = specs.iter().map(|spec| spec.model.name.clone()).collect();
    if models.len() < specs.len() {
        return Err(Error::invalid(
            "two of the specifications name the same model; watch one of them",
        ));
    }

    let setup = Setup::new(
        arguments.ortus.as_deref(),
        &arguments.common,
        &arguments.by,
        threads(&specs),
    )
    .await?;

    // The sender stays alive until the end, also without a listener.
    let (alarmed, alarms) = crossbeam_channel::bounded(1);
    if let Some(address) = arguments.listen {
        let bound = crate::listen::start(address, setup.seen.clone(), models, alarmed.clone())?;
        note(&format!("ortus-trainer: receives alarms at http://{bound}"));
    }
    specs.iter().for_each(tell_triggers);
    let mut pace = Pace { alarms, failed: 0 };
    loop {
        let round = check_all(&mut watches, &setup, arguments).await;
        if arguments.once {
            return round.exit_code();
        }
        // A model that fails does not delay the others.
        pace.wait(round.poll, round.failed == watches.len());
    }
}

/// Says what starts a run of a model.
fn tell_triggers(spec: &Spec) {
    let starters = trigger::starters(&spec.triggers);
    let said = if starters.is_empty() {
        "only `ortus-trainer trigger` starts a run: [triggers] in the specification sets nothing"
            .to_owned()
    } else {
        format!("a run is started by {}", starters.join("; "))
    };
    note(&format!("ortus-trainer: {}: {said}", spec.model.name));
}

/// Returns the most threads that a specification asks for; 0 means all.
fn threads(specs: &[Spec]) -> usize {
    let threads = specs.iter().map(|spec| spec.fit.threads);
    if threads.clone().any(|threads| threads == 0) {
        0
    } else {
        threads.max().unwrap_or(0)
    }
}

/// The result of one check of all specifications.
struct CheckRound {
    /// Whether every run passed.
    has_passed: bool,
    failed: usize,
    last_error: Option<Error>,
    /// The time until the next check.
    poll: Duration,
}

impl CheckRound {
    fn exit_code(self) -> Result<ExitCode> {
        match self.last_error {
            Some(error) => Err(error),
            None if self.has_passed => Ok(ExitCode::SUCCESS),
            None => Ok(ExitCode::from(NOT_PASSED)),
        }
    }
}

/// Checks each specification once, and reports errors on standard error.
async fn check_all(watches: &mut [Watch], setup: &Setup, arguments: &WatchArguments) -> CheckRound {
    let mut round = CheckRound {
        has_passed: true,
        failed: 0,
        last_error: None,
        poll: PAUSE_MAX,
    };

    for watch in watches {
        match check_once(watch, setup, arguments).await {
            Ok(passed) => round.has_passed &= passed,
            Err(error) => {
                note(&format!("ortus-trainer: {error}"));
                round.failed += 1;
                round.last_error = Some(error);
            }
        }
        let poll = watch.spec().map_or(PAUSE_MAX, |spec| spec.triggers.poll);
        round.poll = round.poll.min(poll);
    }
    round
}

/// The pause between checks.
struct Pace {
    alarms: Receiver<()>,
    failed: u32,
}

impl Pace {
    /// Waits for the next check, or an alarm; longer after each failed check.
    fn wait(&mut self, poll: Duration, is_failed: bool) {
        self.failed = if is_failed {
            (self.failed + 1).min(16)
        } else {
            0
        };

        let pause = poll
            .saturating_mul(1 << self.failed)
            .min(PAUSE_MAX.max(poll));
        let _ = self.alarms.recv_timeout(pause);
    }
}

/// Checks once; returns whether the run, if there was one, passed.
async fn check_once(watch: &mut Watch, setup: &Setup, arguments: &WatchArguments) -> Result<bool> {
    let mut shown = ProgressDisplay::new(arguments.common.json);
    let looked = watch.check(&setup.trainer(Utc::now()), &mut shown).await;
    shown.bar.finish_and_clear();
    let (skipped, ran) = match looked? {
        Checked::Idle => return Ok(true),
        Checked::Waits(why) => {
            if arguments.once {
                note(&format!("ortus-trainer: a due run is delayed: {why}"));
            }
            return Ok(true);
        }
        Checked::Busy(who) => {
            if arguments.once {
                note(&format!("ortus-trainer: another trainer runs it: {who}"));
            }
            return Ok(true);
        }
        Checked::Did(skipped, ran) => (skipped, ran),
    };

    skipped
        .iter()
        .for_each(|ran| show_triggered(ran, arguments.common.json));
    let Some((ran, ended)) = ran.map(|ran| *ran) else {
        return Ok(true);
    };
    show_triggered(&ran, arguments.common.json);
    log_to_mlflow(arguments.mlflow.as_deref(), &ran).await;
    let outcome = ended?;
    if outcome.is_new() {
        nudge(&setup.operator, &arguments.by).await;
        if !arguments.common.json {
            tell_promotion(&outcome, &ran.model, setup, arguments).await?;
        }
    }
    Ok(outcome.has_passed())
}

/// Prints the command that makes a version champion, if it waits for a person.
async fn tell_promotion(
    outcome: &RunOutcome,
    model: &str,
    setup: &Setup,
    arguments: &WatchArguments,
) -> Result<()> {
    let champion = setup.trainer(Utc::now());
    let champion = champion.champion_of(&ModelName::parse(model)?).await?;
    let registry = registry_argument(&arguments.common);
    if let Some(promote) = promote_command(outcome, champion, model, &registry) {
        line(&format!("next: {promote}"));
    }
    Ok(())
}

/// Requests a run of a model from the trainer that watches it.
pub(super) async fn ask(model: &str, common: &RegistryArguments, by: &By) -> Result<()> {
    let operator = open(common, Some(by), true).await?;
    let model = ModelName::parse(model)?;
    let reason = if operator.author.reason.is_empty() {
        "no reason given"
    } else {
        &operator.author.reason
    };

    let ask = watch::ask(
        &records_of(&operator),
        &model,
        &operator.author.actor,
        reason,
    )
    .await?;

    line(&if common.json {
        json!(ask).to_string()
    } else {
        format!("requested a run, id {}", ask.id)
    });

    Ok(())
}
