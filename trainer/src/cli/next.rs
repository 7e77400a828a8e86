//! What to do after a run: the commands that serve its version, or that show why it has none.

use super::RunArguments;
use super::setup::Setup;
use crate::context::RunOutcome;
use crate::experiments::short_key;
use crate::history::RecordedRun;
use crate::spec::Spec;
use crate::trigger;
use ortus::cli::print::{line, note};
use ortus::cli::registry::arguments::RegistryArguments;
use ortus::core::error::Result;
use ortus::core::model::{ModelName, Version};

/// Prints the command that shows why a run did not pass.
pub(super) fn show_evidence(spec: &Spec, arguments: &RunArguments, ran: &RecordedRun) {
    let registry = registry_argument(&arguments.common);
    let (name, run) = (&spec.model.name, short_key(ran));
    line("next, to see the rows and slices behind the gates:");
    line(&format!(
        "  ortus-trainer explain {name} {run} --html run.html{registry}"
    ));
}

/// Prints the commands that serve the version, ask it and keep it up to date.
pub(super) async fn show_next(
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
