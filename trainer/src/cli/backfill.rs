//! The command `backfill`: runs as of past times, with only the data known then.

use super::experiments::{log_to_mlflow, note_if_not_stored};
use super::setup::{Setup, history_of};
use super::show::{ProgressDisplay, show_triggered};
use super::{NOT_PASSED, RunArguments};
use crate::context::{RunOutcome, Trainer};
use crate::history::RunHistory;
use crate::recorded_run::{Cause, attempt};
use crate::spec::{Policy, Spec};
use crate::trigger;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use ortus::cli::registry::arguments::instant;
use ortus::core::error::{Error, Result};
use std::process::ExitCode;

/// The most times of a backfill.
const TIMES_MAX: usize = 10_000;

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

    let times = times(arguments, &spec)?;
    let setup = Setup::of_run(run, &spec).await?;
    let history = history_of(&setup.operator, &spec.model.name)?;
    let (mut has_passed, mut last_error) = (true, None);
    for time in times {
        match run_as_of(time, run, &spec, &setup, &history).await {
            Ok(outcome) => has_passed &= outcome.has_passed(),
            Err(error) => last_error = Some(error),
        }
    }

    match last_error {
        Some(error) => Err(error),
        None if has_passed => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::from(NOT_PASSED)),
    }
}

/// Returns the times of the cron pattern between `--from` and `--to`.
fn times(arguments: &BackfillArguments, spec: &Spec) -> Result<Vec<DateTime<Utc>>> {
    let cron = arguments.cron.as_deref().or(spec.triggers.cron.as_deref());
    let cron = cron.ok_or_else(|| {
        Error::invalid("no cron pattern; pass --cron, or set 'cron' in [triggers]")
    })?;
    let to = arguments.to.as_deref().map(instant).transpose()?;
    let to = to.unwrap_or_else(Utc::now).min(Utc::now());
    // `instant` reads a date as the end of the day; a range starts at the beginning.
    let mut from = instant(&arguments.from)?;
    if arguments.from.len() == "2026-01-01".len() {
        from -= TimeDelta::days(1);
    }

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
    Ok(times)
}

/// Runs the pipeline with only the data known at a time, and shows the result.
async fn run_as_of(
    time: DateTime<Utc>,
    arguments: &RunArguments,
    spec: &Spec,
    setup: &Setup,
    history: &RunHistory,
) -> Result<RunOutcome> {
    let trainer = Trainer {
        as_of: Some(time),
        ..setup.trainer(time)
    };
    let cause = Cause {
        trigger: format!("backfill, as of {}", time.format("%Y-%m-%d %H:%M UTC")),
        events: Vec::new(),
        apart: true,
    };
    let mut shown = ProgressDisplay::new(arguments.common.json);
    let (ran, ended, kept) = attempt(&trainer, spec, cause, history, &mut shown).await;

    shown.bar.finish_and_clear();
    note_if_not_stored(kept);
    show_triggered(&ran, arguments.common.json);
    log_to_mlflow(arguments.mlflow.as_deref(), &ran).await;
    ended
}
