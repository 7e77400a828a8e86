//! The commands `watch`, `status`, `trigger` and `backfill`: runs that triggers
//! start, requests for a run, and runs as of past times.

use super::experiments::tell;
use super::setup::{Setup, history_of, records_of, seen_by};
use super::show::{Shown, show, word};
use super::{NOT_PASSED, RunArguments};
use crate::history::RecordedRun;
use crate::recorded_run::{Cause, attempt};
use crate::spec::{Policy, Spec};
use crate::trigger;
use crate::watch::{self, Checked, Watch};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use crossbeam_channel::Receiver;
use ortus::cli::print::{line, note};
use ortus::cli::registry::arguments::{By, Common, instant};
use ortus::cli::registry::{nudge, open};
use ortus::core::error::{Error, Result};
use ortus::core::model::ModelName;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// The longest pause after a failed check.
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// The most times of a backfill.
const TIMES_MAX: usize = 10_000;

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
    common: Common,
    #[command(flatten)]
    by: By,
}

#[derive(Args)]
pub(crate) struct BackfillArguments {
    #[command(flatten)]
    run: RunArguments,
    /// The first time, as a date or in RFC 3339.
    #[arg(long, value_name = "TIME")]
    from: String,
    /// The last time [default: now].
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// A cron pattern of the times [default: `triggers.cron`].
    #[arg(long, value_name = "PATTERN")]
    cron: Option<String>,
    /// Move aliases as `[publish]` says; without this option the versions get no alias.
    #[arg(long)]
    publish: bool,
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

    // The most threads that a specification asks for; 0 means all.
    let threads = specs.iter().map(|spec| spec.fit.threads);
    let threads = if threads.clone().any(|threads| threads == 0) {
        0
    } else {
        threads.max().unwrap_or(0)
    };

    let setup = Setup::new(
        arguments.ortus.as_deref(),
        &arguments.common,
        &arguments.by,
        threads,
    )
    .await?;

    let (told, hears) = crossbeam_channel::bounded(1);
    if let Some(address) = arguments.listen {
        let bound = crate::listen::start(address, setup.seen.clone(), models, told.clone())?;
        note(&format!("ortus-trainer: receives alarms at http://{bound}"));
    }
    let mut pace = Pace { hears, failed: 0 };
    loop {
        let mut poll = PAUSE_MAX;
        let (mut failed, mut passed) = (0, true);
        let mut broken = None;
        for watch in &mut watches {
            match look(watch, &setup, arguments).await {
                Ok(ok) => passed &= ok,
                Err(error) => {
                    failed += 1;
                    note(&format!("ortus-trainer: {error}"));
                    broken = Some(error);
                }
            }
            poll = poll.min(watch.spec().map_or(PAUSE_MAX, |spec| spec.triggers.poll));
        }
        if let Some(error) = broken.filter(|_| arguments.once) {
            return Err(error);
        }
        if arguments.once {
            return Ok(if passed {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(NOT_PASSED)
            });
        }
        // A model that fails does not delay the others.
        pace.wait(poll, failed == watches.len());
    }
}

/// The pause between checks.
struct Pace {
    hears: Receiver<()>,
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
        let _ = self.hears.recv_timeout(pause);
    }
}

/// Checks once; returns whether the run, if there was one, passed.
async fn look(watch: &mut Watch, setup: &Setup, arguments: &WatchArguments) -> Result<bool> {
    let mut shown = Shown::new(arguments.common.json);
    let looked = watch.look(&setup.trainer(Utc::now()), &mut shown).await;
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

    skipped.iter().for_each(|ran| say(ran, &arguments.common));
    let Some((ran, ended)) = ran.map(|ran| *ran) else {
        return Ok(true);
    };
    say(&ran, &arguments.common);
    tell(arguments.mlflow.as_deref(), &ran).await;
    let outcome = ended?;
    if outcome.new {
        nudge(&setup.operator, &arguments.by).await;
    }
    Ok(outcome.version.is_some())
}

fn say(ran: &RecordedRun, common: &Common) {
    if common.json {
        line(&serde_json::json!(ran).to_string());
        return;
    }
    line(&format!("{}: {}", ran.model, ran.trigger));
    show(ran);
}

/// Shows the last run, due triggers, and what delays them.
pub(super) async fn status(path: &Path, common: &Common) -> Result<()> {
    let operator = open(common, None, false).await?;
    let mut watch = Watch::new(path, "");
    let spec = watch.spec()?;
    let state = watch
        .state(&operator, &seen_by(common, &operator)?, &spec)
        .await?;
    let model = ModelName::parse(&spec.model.name)?;
    let busy = watch::busy(&records_of(&operator), &model, spec.triggers.lease).await?;
    let refused = trigger::refused(&spec.triggers, &state.past, state.found.now);
    let next = spec
        .triggers
        .cron
        .as_deref()
        .map(|cron| trigger::next(cron, state.found.now))
        .transpose()?;
    let last = state.past.last.as_ref();

    if common.json {
        let due = state
            .due
            .iter()
            .map(|e| serde_json::json!({"event": e.key, "why": e.why, "moot": e.moot}));
        let status = serde_json::json!({
            "model": spec.model.name,
            "champion": state.found.champion,
            "training": busy,
            "last": last.map(|l| serde_json::json!({"began": l.began, "ended": l.ended, "became": l.status, "rows": l.rows, "newest": l.newest})),
            "due": due.collect::<Vec<_>>(),
            "new_rows": state.found.new_rows,
            "waits": refused,
            "next": next,
            "runs_in_a_day": state.past.runs,
            "seconds_in_a_day": state.past.spent.as_secs_f64(),
        });
        line(&status.to_string());
        return Ok(());
    }

    let time = |t: DateTime<Utc>| t.format("%Y-%m-%d %H:%M:%S UTC").to_string();
    line(&format!(
        "{}: champion {}",
        spec.model.name,
        state
            .found
            .champion
            .map_or("none".into(), |v| v.to_string())
    ));

    match last {
        Some(last) => line(&format!(
            "last run {}: {}",
            time(last.began),
            word(last.status)
        )),
        None => line("no run yet"),
    }

    if let Some(who) = busy {
        line(&format!("running now: {who}"));
    }
    if let Some(rows) = state.found.new_rows {
        line(&format!("{rows} new rows"));
    }
    for event in &state.due {
        let moot = event
            .moot
            .as_ref()
            .map_or_else(String::new, |why| format!(" (will be skipped: {why})"));
        line(&format!("due: {}{moot}", event.why));
    }

    if let Some(why) = refused {
        line(&format!("triggers start no run now: {why}"));
    }
    if let Some(next) = next {
        line(&format!("next cron time: {}", time(next)));
    }
    Ok(())
}

/// Requests a run of a model from the trainer that watches it.
pub(super) async fn ask(model: &str, common: &Common, by: &By) -> Result<()> {
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
        serde_json::json!(ask).to_string()
    } else {
        format!("requested a run, id {}", ask.id)
    });

    Ok(())
}

/// Trains as of each of several times.
pub(super) async fn backfill(arguments: &BackfillArguments) -> Result<ExitCode> {
    let run = &arguments.run;
    let mut spec = Spec::read(&run.spec)?;
    if !arguments.publish {
        spec.publish.policy = Policy::Manual;
    }
    if spec.schema.time.is_none() && !spec.has_seen() {
        return Err(Error::invalid(
            "'time' in [schema] is missing; a backfill needs the time of each row",
        ));
    }

    let cron = arguments.cron.as_deref().or(spec.triggers.cron.as_deref());
    let cron = cron.ok_or_else(|| {
        Error::invalid("no cron pattern; pass --cron, or set 'cron' in [triggers]")
    })?;
    let to = arguments
        .to
        .as_deref()
        .map(instant)
        .transpose()?
        .unwrap_or_else(Utc::now)
        .min(Utc::now());
    // `instant` reads a date as the end of the day; a range starts at the beginning.
    let from = instant(&arguments.from)?;

    let from = if arguments.from.len() == "2026-01-01".len() {
        from - TimeDelta::days(1)
    } else {
        from
    };

    let mut times = Vec::new();
    let mut after = from - TimeDelta::milliseconds(1);
    while let Ok(next) = trigger::next(cron, after) {
        if next > to {
            break;
        }
        if times.len() >= TIMES_MAX {
            return Err(Error::invalid(format!(
                "the backfill has over {TIMES_MAX} times; shorten the range"
            )));
        }
        times.push(next);
        after = next;
    }

    if times.is_empty() {
        return Err(Error::invalid(
            "the pattern has no time between --from and --to",
        ));
    }

    let setup = Setup::new(run.ortus.as_deref(), &run.common, &run.by, spec.fit.threads).await?;
    let history = history_of(&setup.operator, &spec.model.name)?;
    let (mut passed, mut broken) = (true, None);
    for time in times {
        let mut trainer = setup.trainer(time);
        trainer.as_of = Some(time);
        let mut shown = Shown::new(run.common.json);
        let cause = Cause {
            trigger: format!("backfill, as of {}", time.format("%Y-%m-%d %H:%M UTC")),
            events: Vec::new(),
            apart: true,
        };
        let (ran, ended, kept) = attempt(&trainer, &spec, cause, &history, &mut shown).await;
        shown.bar.finish_and_clear();
        if let Err(error) = kept {
            note(&format!(
                "ortus-trainer: the record of the run cannot be stored: {error}"
            ));
        }
        say(&ran, &run.common);
        tell(run.mlflow.as_deref(), &ran).await;
        match ended {
            Ok(outcome) => passed &= outcome.version.is_some(),
            Err(error) => broken = Some(error),
        }
    }

    match broken {
        Some(error) => Err(error),
        None if passed => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::from(NOT_PASSED)),
    }
}
