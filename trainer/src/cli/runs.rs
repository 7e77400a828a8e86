//! The commands `run`, `runs` and `explain`: trains once, lists runs, and shows
//! the result of a run.

use super::experiments::{log_to_mlflow, note_if_not_stored, runs_page};
use super::next::{show_evidence, show_next};
use super::setup::{Setup, history, history_of};
use super::show::{ProgressDisplay, show, word};
use super::{ExplainRunArguments, NOT_PASSED, RunArguments};
use crate::experiments::short_key;
use crate::gate::Verdict;
use crate::history::RecordedRun;
use crate::record::{RecordField, text_of};
use crate::recorded_run::{Cause, attempt};
use crate::spec::Spec;
use ortus::cli::monitor;
use ortus::cli::print::{TextTable, line};
use ortus::cli::registry::arguments::RegistryArguments;
use ortus::core::error::{Error, Result};
use std::path::Path;
use std::process::ExitCode;

/// The longest reason in the list of runs, in bytes.
const REASON_BYTES: usize = 100;

/// Trains once.
pub(super) async fn once(arguments: &RunArguments) -> Result<ExitCode> {
    let spec = Spec::read(&arguments.spec)?;
    let setup = Setup::of_run(arguments, &spec).await?;

    let mut shown = ProgressDisplay::new(arguments.common.json);
    let trainer = setup.trainer(chrono::Utc::now());
    let history = history_of(&setup.operator, &spec.model.name)?;
    let (ran, ended, kept) = attempt(&trainer, &spec, Cause::manual(), &history, &mut shown).await;
    shown.bar.finish_and_clear();
    note_if_not_stored(kept);
    log_to_mlflow(arguments.mlflow.as_deref(), &ran).await;
    let outcome = ended?;
    if outcome.is_new() {
        ortus::cli::registry::nudge(&setup.operator, &arguments.by).await;
    }
    if arguments.common.json {
        line(&serde_json::json!(ran).to_string());
    } else {
        show(&ran);
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

/// Lists the runs of a model, or writes a page of them.
pub(super) async fn runs(
    model: &str,
    html: Option<&Path>,
    common: &RegistryArguments,
) -> Result<()> {
    let all = history(model, common).await?.all().await?;
    if let Some(file) = html {
        return monitor::write(file, runs_page(model, &all).as_bytes());
    }
    if common.json {
        line(&serde_json::json!(all).to_string());
        return Ok(());
    }
    let mut table = TextTable::new(&[
        "began", "run", "trigger", "status", "version", "seconds", "reason",
    ]);
    for ran in &all {
        let version = text_of(&ran.record.version);
        let began = ran.began.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let short = Some(short_key(ran)).filter(|key| !key.is_empty());
        table.row(&[
            &began,
            short.as_deref().unwrap_or("-"),
            &ran.trigger,
            word(ran),
            &version,
            &format!("{:.1}", ran.seconds),
            &reason(ran),
        ]);
    }

    table.print();
    Ok(())
}

/// Returns why a run ended as it did, in a line: an error, or the first gate that it did not pass.
fn reason(ran: &RecordedRun) -> String {
    let record = &ran.record;
    let said = [&record.error, &record.reason, &record.held];
    let said = said.into_iter().find_map(RecordField::value);
    let gate = record
        .gates()
        .iter()
        .find(|gate| gate.verdict > Verdict::NotGated);
    match (said, gate) {
        (Some(text), _) => cut(text),
        (None, Some(gate)) => cut(&format!("{}: {}", gate.name, gate.reason)),
        (None, None) => "-".to_owned(),
    }
}

/// Cuts a text between words.
fn cut(text: &str) -> String {
    let text = text.lines().next().unwrap_or_default();
    if text.len() <= REASON_BYTES {
        return text.to_owned();
    }
    let head = &text[..text.floor_char_boundary(REASON_BYTES)];
    let end = head.rfind(' ').unwrap_or(head.len());
    format!("{} …", &head[..end])
}

/// Shows the result of a run, or writes its evidence page to a file.
pub(super) async fn explain(arguments: &ExplainRunArguments) -> Result<()> {
    let common = &arguments.common;
    let history = history(&arguments.model, common).await?;
    let run = arguments.run.as_deref().ok_or_else(|| {
        Error::invalid(format!(
            "name a run of `ortus-trainer runs {}`, or explain a prediction with --row JSON or --rows FILE",
            arguments.model
        ))
    })?;
    let ran = history.find(run).await?;
    if let Some(file) = &arguments.html {
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
