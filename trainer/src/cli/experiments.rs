//! The commands `sweep` and `compare`, pages of runs, and logging of runs to MLflow.

use super::next::{show_evidence, show_next};
use super::setup::{Setup, history, history_of};
use super::show::{ProgressDisplay, show};
use super::{NOT_PASSED, RunArguments};
use crate::context::RunOutcome;
use crate::experiments::{
    Experiment, ExperimentsPage, RUNS_MAX, measure_of, render, settings, short_key,
};
use crate::history::{RecordedRun, RunHistory, RunStatus};
use crate::mlflow::{TrackedRun, Tracking};
use crate::record::MetricValues;
use crate::recorded_run::{Cause, attempt};
use crate::spec::Spec;
use crate::sweep::{self, SweepResult, Trial};
use chrono::TimeDelta;
use ortus::cli::monitor;
use ortus::cli::print::{TextTable, line, note};
use ortus::cli::registry::arguments::RegistryArguments;
use ortus::cli::registry::nudge;
use ortus::core::count::counted;
use ortus::core::error::{Error, Result};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::ExitCode;

/// Runs a sweep; the best trial is fitted to all training rows, and published by
/// the same gates as any run.
pub(super) async fn sweep(arguments: &RunArguments, html: Option<&Path>) -> Result<ExitCode> {
    let spec = Spec::read(&arguments.spec)?;
    let setup = Setup::of_run(arguments, &spec).await?;
    let history = history_of(&setup.operator, &spec.model.name)?;
    let mut shown = ProgressDisplay::new(arguments.common.json);

    let command = SweepCommand {
        arguments,
        setup: &setup,
        history: &history,
    };
    let swept = command.run_trials(&spec, &mut shown).await?;
    if let Some(file) = html {
        let all = history.all().await?;
        monitor::write(file, sweep_page(&spec.model.name, &swept, &all).as_bytes())?;
    }
    let best = swept
        .trials
        .first()
        .filter(|trial| trial.loss.is_some())
        .ok_or_else(|| Error::precondition("no trial could be fitted; see `ortus-trainer runs`"))?;
    if !arguments.common.json {
        list(&swept);
    }

    let (ran, ended) = command.run_best(best, &swept, &mut shown).await;
    if arguments.common.json {
        line(&in_json(&swept, &ran).to_string());
    } else {
        line(&ran.trigger);
        show(&ran);
    }

    let outcome = ended?;
    if outcome.is_new() {
        nudge(&setup.operator, &arguments.by).await;
    }
    if !arguments.common.json {
        if outcome.is_new() {
            show_next(&setup, &spec, arguments, &outcome).await?;
        } else if !outcome.has_passed() {
            show_evidence(&spec, arguments, &ran);
        }
    }
    Ok(if outcome.has_passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_PASSED)
    })
}

/// A sweep of the command line.
struct SweepCommand<'s> {
    arguments: &'s RunArguments,
    setup: &'s Setup,
    history: &'s RunHistory,
}

impl SweepCommand<'_> {
    /// Runs the trials, and logs those that were not run before to MLflow.
    async fn run_trials(&self, spec: &Spec, shown: &mut ProgressDisplay) -> Result<SweepResult> {
        let before = self.history.all().await?;
        let known: BTreeSet<&str> = before.iter().map(RecordedRun::key).collect();
        let trainer = self.setup.trainer(chrono::Utc::now());
        let swept = sweep::sweep(&trainer, spec, self.history, shown).await;
        shown.bar.finish_and_clear();
        let swept = swept?;

        for ran in self.history.all().await? {
            if ran.status == RunStatus::Tried && !known.contains(ran.key()) {
                log_to_mlflow(self.arguments.mlflow.as_deref(), &ran).await;
            }
        }
        Ok(swept)
    }

    /// Runs the pipeline with the settings of the best trial.
    async fn run_best(
        &self,
        best: &Trial,
        swept: &SweepResult,
        shown: &mut ProgressDisplay,
    ) -> (RecordedRun, Result<RunOutcome>) {
        let trigger = format!(
            "the best of {} tried, {} {:.6}: {}",
            swept.trials.len(),
            swept.measure,
            best.loss.unwrap_or(f64::NAN),
            sweep::settings_text(&best.set)
        );
        let cause = Cause {
            trigger,
            ..Cause::manual()
        };
        let trainer = self.setup.trainer(chrono::Utc::now());
        let (ran, ended, kept) = attempt(&trainer, &best.spec, cause, self.history, shown).await;

        shown.bar.finish_and_clear();
        note_if_not_stored(kept);
        log_to_mlflow(self.arguments.mlflow.as_deref(), &ran).await;
        (ran, ended)
    }
}

/// Reports on standard error that the record of a run is not stored.
pub(super) fn note_if_not_stored(kept: Result<()>) {
    if let Err(error) = kept {
        note(&format!(
            "ortus-trainer: the record of the run cannot be stored: {error}"
        ));
    }
}

fn in_json(swept: &SweepResult, best: &RecordedRun) -> Value {
    let trials = swept.trials.iter();
    let trials: Vec<Value> = trials
        .map(|trial| json!({"values": trial.set, "loss": trial.loss}))
        .collect();
    json!({"measure": swept.measure, "trials": trials, "cut": swept.cut, "best": best})
}

/// Returns the page of a sweep: its trials, the best first.
fn sweep_page(model: &str, swept: &SweepResult, all: &[RecordedRun]) -> String {
    let of = |trial: &Trial| all.iter().rev().find(|ran| ran.key() == trial.run);
    // Trials that differ only in settings that do not apply are one run.
    let mut seen = BTreeSet::new();
    let trials = swept.trials.iter().filter(|trial| seen.insert(&trial.run));
    let trials = trials.take(RUNS_MAX).filter_map(of);
    let mut said = vec![format!(
        "{} compared on rows that were held back of those that are learned from. The rows that judge the published model were not looked at.",
        counted(swept.trials.len(), "trial")
    )];
    said.extend(swept.cut.clone());
    render(&ExperimentsPage {
        title: format!("{model}: sweep"),
        said,
        measure: swept.measure,
        is_comparable: true,
        in_time: false,
        experiments: trials
            .map(|ran| Experiment::of(ran, swept.measure))
            .collect(),
    })
}

/// Returns the page of the newest runs of a model.
pub(super) fn runs_page(model: &str, all: &[RecordedRun]) -> String {
    let ran: Vec<RecordedRun> = all
        .iter()
        .filter(|ran| ran.status != RunStatus::Skipped)
        .cloned()
        .collect();
    let newest = &ran[ran.len().saturating_sub(RUNS_MAX)..];
    let mut said = vec![
        "Metrics of runs are of their test rows, and the loss of a trial is of rows that were held back: compare runs of the same rows.".to_owned(),
    ];
    if newest.len() < ran.len() {
        said.push(format!(
            "The newest {RUNS_MAX} of {}.",
            counted(ran.len(), "run")
        ));
    }
    let measure = measure_of(newest);
    render(&ExperimentsPage {
        title: format!("{model}: runs"),
        said,
        measure: &measure,
        is_comparable: true,
        in_time: true,
        experiments: newest
            .iter()
            .map(|ran| Experiment::of(ran, &measure))
            .collect(),
    })
}

fn list(swept: &SweepResult) {
    let mut table = TextTable::new(&[swept.measure, "set"]);
    for trial in &swept.trials {
        let loss = trial
            .loss
            .map_or_else(|| "failed".to_owned(), |loss| format!("{loss:.6}"));
        table.row(&[&loss, &sweep::settings_text(&trial.set)]);
    }

    table.print();
    if let Some(cut) = &swept.cut {
        line(cut);
    }
}

/// Logs a run to MLflow, if it is configured. A failure does not fail the run.
pub(super) async fn log_to_mlflow(address: Option<&str>, ran: &RecordedRun) {
    let Some(address) = address.filter(|_| ran.status != RunStatus::Skipped) else {
        return;
    };
    let logged = async { Tracking::open(address)?.log(&tracked(ran)).await };
    if let Err(error) = logged.await {
        note(&format!(
            "ortus-trainer: the run cannot be logged to MLflow: {error}"
        ));
    }
}

/// Converts a run to MLflow's terms.
fn tracked(ran: &RecordedRun) -> TrackedRun {
    let record = &ran.record;
    let ended = ran.began + TimeDelta::milliseconds((ran.seconds * 1e3) as i64);
    let own_metrics = record.own_metrics.value().into_iter();
    let mut metrics: BTreeMap<String, f64> = record
        .metrics()
        .chain(own_metrics.flat_map(MetricValues::iter))
        .filter(|(_, value)| value.is_finite())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    metrics.extend(record.loss.value().map(|loss| ("loss".to_owned(), *loss)));

    let version = record.version.value().map(u64::to_string);
    let verdict = record.verdict.value().map(|v| v.word().to_owned());
    let tags = [
        ("run", Some(ran.key().to_owned())),
        ("became", Some(ran.status.key().to_owned())),
        ("trigger", Some(ran.trigger.clone())),
        ("version", version),
        ("data_digest", record.data_digest.value().cloned()),
        ("verdict", verdict),
        ("error", record.error.value().cloned()),
    ];

    let tags = tags
        .into_iter()
        .filter_map(|(key, value)| Some((format!("ortus.{key}"), value?)));

    let short = short_key(ran);
    TrackedRun {
        experiment: ran.model.clone(),
        name: format!("{}-{short}", ran.model),
        began: ran.began.timestamp_millis(),
        ended: ended.timestamp_millis(),
        has_failed: ran.status == RunStatus::Broken || record.error.value().is_some(),
        params: settings(record),
        metrics,
        tags: tags.collect(),
    }
}

/// Compares two runs: settings that differ, metrics and gates.
pub(super) async fn compare(
    model: &str,
    [one, other]: [&str; 2],
    html: Option<&Path>,
    common: &RegistryArguments,
) -> Result<()> {
    let history = history(model, common).await?;
    let (one, other) = (history.find(one).await?, history.find(other).await?);
    let set = beside(&settings(&one.record), &settings(&other.record), |a, b| {
        a != b
    });
    let measured = beside(&metrics(&one), &metrics(&other), |_, _| true);
    let gates = beside(&verdicts(&one), &verdicts(&other), |_, _| true);
    let is_same = one.record.data_digest.value() == other.record.data_digest.value();
    if let Some(file) = html {
        let page = comparison_page(model, &[one, other], (is_same, &measured));
        return monitor::write(file, page.as_bytes());
    }
    if common.json {
        let all = json!({
            "runs": [one.key(), other.key()], "became": [one.status, other.status], "same_data": is_same,
            "settings": pairs(&set), "metrics": pairs(&measured), "gates": pairs(&gates),
        });
        line(&all.to_string());
        return Ok(());
    }

    line(data_text(is_same));
    let keys = [short_key(&one), short_key(&other)];
    for (what, all) in [("setting", &set), ("metric", &measured), ("gate", &gates)] {
        print_sides(what, &keys, all);
    }

    Ok(())
}

/// Says whether two runs used the same data.
fn data_text(is_same: bool) -> &'static str {
    if is_same {
        "the runs used the same data"
    } else {
        "the runs used different data: their metrics are of different rows"
    }
}

/// Returns the page of two runs.
fn comparison_page(
    model: &str,
    runs: &[RecordedRun; 2],
    (is_same, metrics): (bool, &Sides),
) -> String {
    let [one, other] = runs;
    let mut said = vec![format!("{}.", data_text(is_same))];
    for (name, (one, other)) in metrics {
        let of = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        said.push(format!("{name}: {} and {}", of(one), of(other)));
    }
    let measure = measure_of(runs);
    render(&ExperimentsPage {
        title: format!("{model}: {} and {}", short_key(one), short_key(other)),
        said,
        measure: &measure,
        is_comparable: is_same,
        in_time: false,
        experiments: runs
            .iter()
            .map(|ran| Experiment::of(ran, &measure))
            .collect(),
    })
}

/// Returns the two values of each name, as JSON.
fn pairs(all: &Sides) -> Value {
    all.iter()
        .map(|(name, (one, other))| (name.clone(), json!([one, other])))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Prints the two values of each name, if there are any.
fn print_sides(what: &str, [one, other]: &[String; 2], all: &Sides) {
    if all.is_empty() {
        return;
    }
    let mut table = TextTable::new(&[what, one, other]);
    for (name, (one, other)) in all {
        table.row(&[
            name,
            one.as_deref().unwrap_or("-"),
            other.as_deref().unwrap_or("-"),
        ]);
    }
    table.print();
}

/// Returns the metrics of a run, and the loss of a trial, as text.
fn metrics(ran: &RecordedRun) -> BTreeMap<String, String> {
    let loss = ran.record.loss.value();
    ran.record
        .metrics()
        .chain(loss.map(|loss| ("loss of a trial", *loss)))
        .map(|(name, value)| (name.to_owned(), format!("{value:.6}")))
        .collect()
}

/// Returns the verdicts of the gates of a run.
fn verdicts(ran: &RecordedRun) -> BTreeMap<String, String> {
    let word = |text: &str| text.replace('_', " ");
    ran.record
        .gates()
        .iter()
        .map(|gate| (word(&gate.name), word(gate.verdict.word())))
        .collect()
}

/// The values of two runs, by name.
type Sides = BTreeMap<String, (Option<String>, Option<String>)>;

/// Returns the values of two runs side by side, of the names that `shown` accepts.
fn beside(
    one: &BTreeMap<String, String>,
    other: &BTreeMap<String, String>,
    shown: fn(Option<&String>, Option<&String>) -> bool,
) -> Sides {
    let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let all = names
        .into_iter()
        .filter(|name| shown(one.get(*name), other.get(*name)));
    all.map(|name| {
        (
            name.clone(),
            (one.get(name).cloned(), other.get(name).cloned()),
        )
    })
    .collect()
}
