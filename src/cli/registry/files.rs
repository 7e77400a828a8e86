//! `ortus push`, `pull`, `export` and `import`: the commands that move files of versions, with
//! their progress bar.

use super::access::{config, open_to_change, open_to_read, print};
use super::arguments::change::{ImportArguments, PushArguments};
use super::arguments::{RegistryArguments, split_target};
use super::change::WAITING;
use super::notify::nudge;
use crate::cli::print::note;
use crate::core::error::{Error, Result};
use crate::core::model::{Alias, ModelName, Version};
use crate::observe::drift::baseline::Baseline;
use crate::observe::drift::notes;
use crate::observe::drift::settings::MonitorSettings;
use crate::registry::commands::push::Push;
use crate::registry::manifest::Role;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Publishes a new version and prints its number.
pub(super) async fn push(arguments: &PushArguments) -> Result<ExitCode> {
    let (common, by) = (&arguments.common, &arguments.by);
    let name = ModelName::parse(&arguments.name)?;
    let push = push_of(arguments)?;

    let mut operator = open_to_change(common, by).await?;
    if !arguments.no_probe {
        operator.prober = Some(crate::app::engine::prober_of(&config(common)?, &note)?);
    }

    let bar = bar();
    let pushed = operator.push(&name, &push, &|bytes| bar.inc(bytes)).await;
    bar.finish_and_clear();
    let pushed = pushed?;
    nudge(&operator, by).await;

    // Scripts read the version as a bare integer.
    let version = pushed.version.to_string();
    print(&serde_json::json!(pushed), &version, common)?;
    if let Some(text) = arguments.baseline.as_deref().and_then(coarse_baseline) {
        note(&format!("ortus: the baseline of version {version}: {text}"));
    }
    if pushed.waiting {
        note(&format!(
            "ortus: version {version} is pushed and waits for approvals before it can become champion"
        ));
        return Ok(ExitCode::from(WAITING));
    }

    Ok(ExitCode::SUCCESS)
}

/// Says which differences a baseline is too small to show.
fn coarse_baseline(file: &Path) -> Option<String> {
    let baseline = Baseline::read(&std::fs::read(file).ok()?).ok()?;
    notes::coarse(&baseline, &MonitorSettings::default())
}

/// Reads what is pushed from the arguments. They override what MLflow recorded.
fn push_of(arguments: &PushArguments) -> Result<Push> {
    let mut push = match &arguments.from_mlflow {
        Some(folder) => Push::of_mlflow(folder)?,
        None => Push {
            path: arguments.path.clone().unwrap_or_default(),
            ..Push::default()
        },
    };

    push.lineage
        .extend(optional_object(arguments.lineage.as_deref())?);
    if !arguments.features.is_empty() {
        push.features.clone_from(&arguments.features);
    }

    Ok(Push {
        alias: arguments.alias.as_deref().map(Alias::parse).transpose()?,
        extra: extra_files(arguments),
        licence: arguments.licence.clone().unwrap_or_default(),
        tags: arguments
            .tag
            .iter()
            .map(|text| tag(text))
            .collect::<Result<_>>()?,
        parent: arguments
            .parent
            .as_deref()
            .map(Version::parse)
            .transpose()?,
        evaluation: optional_object(arguments.metrics.as_deref())?,
        allow_signature_change: arguments.allow_signature_change,
        ..push
    })
}

/// Lists the files that are pushed with the model.
fn extra_files(arguments: &PushArguments) -> Vec<(Role, PathBuf)> {
    let given = [
        (Role::Baseline, &arguments.baseline),
        (Role::Card, &arguments.card),
        (Role::Golden, &arguments.golden),
        (Role::Companion, &arguments.companion),
        (Role::Explanation, &arguments.explanation),
    ];

    given
        .into_iter()
        .filter_map(|(role, path)| Some((role, path.clone()?)))
        .collect()
}

/// Reads KEY=VALUE.
fn tag(text: &str) -> Result<(String, String)> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| Error::invalid(format!("--tag must be KEY=VALUE; got \"{text}\"")))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// Downloads the files of a version.
pub(super) async fn pull(
    target: &str,
    output: &Path,
    common: &RegistryArguments,
) -> Result<ExitCode> {
    let (name, which) = split_target(target)?;
    let operator = open_to_read(common).await?;

    let bar = bar();
    let version = operator
        .pull(&name, which.as_deref(), output, &|bytes| bar.inc(bytes))
        .await;
    bar.finish_and_clear();

    print_folder(&name, version?, output, common)
}

/// Exports a version as an OCI image layout.
pub(super) async fn export(
    target: &str,
    output: &Path,
    common: &RegistryArguments,
) -> Result<ExitCode> {
    let (name, which) = split_target(target)?;
    let operator = open_to_read(common).await?;
    let version = operator
        .export(&name, which.as_deref(), output, &|_| {})
        .await?;

    print_folder(&name, version, output, common)
}

/// Prints the folder that a version was written to.
fn print_folder(
    name: &ModelName,
    version: Version,
    folder: &Path,
    common: &RegistryArguments,
) -> Result<ExitCode> {
    let version = version.number();
    let json = serde_json::json!({"name": name.as_str(), "version": version, "path": folder});
    let text = format!("{name}:{version} is in {}", folder.display());
    print(&json, &text, common)
}

/// Imports an exported version, or the versions of a model directory.
pub(super) async fn import(arguments: &ImportArguments) -> Result<ExitCode> {
    let (common, by) = (&arguments.common, &arguments.by);
    let name = arguments
        .name
        .as_deref()
        .map(ModelName::parse)
        .transpose()?;
    let operator = open_to_change(common, by).await?;

    let bar = bar();
    let pushed = operator
        .import(&arguments.path, name.as_ref(), &|bytes| bar.inc(bytes))
        .await;
    bar.finish_and_clear();
    let pushed = pushed?;
    nudge(&operator, by).await;

    let lines: Vec<String> = pushed
        .iter()
        .map(|version| format!("{}:{}", version.name, version.version))
        .collect();
    print(&serde_json::json!(pushed), &lines.join("\n"), common)
}

/// Reads a JSON object from a file, if one is given.
fn optional_object(path: Option<&Path>) -> Result<Map<String, Value>> {
    path.map_or_else(|| Ok(Map::new()), object)
}

/// Reads a JSON object from a file.
fn object(path: &Path) -> Result<Map<String, Value>> {
    let refuse = |why: String| Error::invalid(format!("{} {why}", path.display()));
    let text = std::fs::read(path).map_err(|e| refuse("cannot be read".into()).with_source(e))?;
    serde_json::from_slice(&text).map_err(|e| refuse(format!("is not a JSON object: {e}")))
}

/// Shows progress in bytes, on a terminal only.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(
        ProgressStyle::with_template("{bytes} {binary_bytes_per_sec} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}
