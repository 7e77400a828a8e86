//! The commands `run`, `runs` and `explain`: trains once, lists runs, and shows
//! the result of a run.

use super::experiments::{log_to_mlflow, note_if_not_stored, runs_page};
use super::setup::{Setup, history, history_of};
use super::show::{ProgressDisplay, show, word};
use super::{ExplainRunArguments, NOT_PASSED, RunArguments};
use crate::context::RunOutcome;
use crate::experiments::short_key;
use crate::record::text_of;
use crate::recorded_run::{Cause, attempt};
use crate::spec::Spec;
use crate::trigger;
use ortus::cli::monitor;
use ortus::cli::print::{TextTable, line, note};
use ortus::cli::registry::arguments::RegistryArguments;
use ortus::core::error::Result;
use ortus::core::model::{ModelName, Version};
use std::path::Path;
use std::process::ExitCode;

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
        }
    }

    Ok(if outcome.has_passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(NOT_PASSED)
    })
}

/// Prints the commands that serve the version, ask it and keep it up to date.
async fn show_next(
    setup: &Setup,
    spec: &Spec,
    arguments: &RunArguments,
    outcome: &RunOutcome,
) -> Result<()> {
    let name = &spec.model.name;
    let champion = setup
        .trainer(chrono::Utc::now())
        .champion_of(&ModelName::parse(name)?)
        .await?;
    let registry = registry_argument(&arguments.common);
    line("next:");
    if let Some(promote) = promote_command(outcome, champion, name, &registry) {
        line(&format!("  {promote}"));
    }
    line(&format!("  ortus serve{registry}"));
    if let Some(example) = &outcome.example {
        line(&format!("  ortus predict {name} {example}"));
    }
    let file = arguments.spec.display();
    line(&format!("  ortus-trainer watch {file}{registry}"));
    if trigger::starters(&spec.triggers).is_empty() {
        note(&format!(
            "ortus-trainer: before `watch`, switch on in [triggers] of {file} what starts a run, such as drift = true; it sets nothing, so only `ortus-trainer trigger {name}` starts one"
        ));
    }
    Ok(())
}

/// Returns the command that makes the version of a run champion, if it is not.
pub(super) fn promote_command(
    outcome: &RunOutcome,
    champion: Option<Version>,
    name: &str,
    registry: &str,
) -> Option<String> {
    let version = outcome.version?;
    let is_champion = champion.is_some_and(|champion| champion.number() == version);
    (!is_champion).then(|| format!("ortus promote {name} {version}{registry} --reason \"…\""))
}

/// Returns the argument that names the registry, if it was given.
pub(super) fn registry_argument(common: &RegistryArguments) -> String {
    let registry = common.registry.as_ref();
    registry.map_or_else(String::new, |url| format!(" --registry {url}"))
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
    let mut table = TextTable::new(&["began", "run", "status", "version", "seconds", "why"]);
    for ran in &all {
        let version = text_of(&ran.record.version);
        let began = ran.began.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let short = Some(short_key(ran)).filter(|key| !key.is_empty());
        table.row(&[
            &began,
            short.as_deref().unwrap_or("-"),
            word(ran),
            &version,
            &format!("{:.1}", ran.seconds),
            &ran.trigger,
        ]);
    }

    table.print();
    Ok(())
}

/// Shows the result of a run, or writes its evidence page to a file.
pub(super) async fn explain(arguments: &ExplainRunArguments) -> Result<()> {
    let common = &arguments.common;
    let history = history(&arguments.model, common).await?;
    let run = arguments.run.as_deref().unwrap_or_default();
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
