//! `ortus push`, `pull` and `list`: the commands that move files of versions, with their
//! progress bar, and the table of models.

use super::arguments::{Common, PushArguments, split_target};
use super::{WAITING, config, nudge, open, parse, print};
use crate::cli::print::{Table, line, note};
use crate::core::error::{Error, Result};
use crate::core::model::{Alias, Version};
use crate::registry::commands::push::Push;
use crate::registry::manifest::Role;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};
use std::path::Path;
use std::process::ExitCode;

pub(super) async fn push(arguments: &PushArguments) -> Result<ExitCode> {
    let name = parse(&arguments.name)?;
    let mut extra = Vec::new();
    let given = [
        (Role::Baseline, &arguments.baseline),
        (Role::Card, &arguments.card),
        (Role::Golden, &arguments.golden),
        (Role::Companion, &arguments.companion),
    ];

    for (role, path) in given {
        extra.extend(path.clone().map(|path| (role, path)));
    }
    let tags = arguments.tag.iter().map(|tag| {
        let (key, value) = tag
            .split_once('=')
            .ok_or_else(|| Error::invalid(format!("--tag must be KEY=VALUE; got \"{tag}\"")))?;
        Ok((key.to_owned(), value.to_owned()))
    });

    let mut push = match (&arguments.from_mlflow, &arguments.path) {
        (Some(folder), _) => Push::of_mlflow(folder)?,
        (None, path) => Push {
            path: path.clone().unwrap_or_default(),
            ..Push::default()
        },
    };

    // Arguments override what MLflow recorded.
    push.lineage.extend(
        arguments
            .lineage
            .as_deref()
            .map(object)
            .transpose()?
            .unwrap_or_default(),
    );

    if !arguments.features.is_empty() {
        push.features.clone_from(&arguments.features);
    }
    let push = Push {
        alias: arguments.alias.as_deref().map(Alias::parse).transpose()?,
        extra,
        licence: arguments.licence.clone().unwrap_or_default(),
        tags: tags.collect::<Result<_>>()?,
        parent: arguments
            .parent
            .as_deref()
            .map(Version::parse)
            .transpose()?,
        evaluation: arguments
            .metrics
            .as_deref()
            .map(object)
            .transpose()?
            .unwrap_or_default(),
        allow_signature_change: arguments.allow_signature_change,
        ..push
    };

    let mut operator = open(&arguments.common, Some(&arguments.by), true).await?;
    if !arguments.no_probe {
        operator.prober = Some(crate::app::prober_of(&config(&arguments.common)?, &note)?);
    }
    let bar = bar();
    let pushed = operator.push(&name, &push, &|bytes| bar.inc(bytes)).await;
    bar.finish_and_clear();
    let pushed = pushed?;
    nudge(&operator, &arguments.by).await;
    // Scripts read the version as a bare integer.
    line(&if arguments.common.json {
        serde_json::json!(pushed).to_string()
    } else {
        pushed.version.to_string()
    });

    if pushed.waiting {
        note(&format!(
            "ortus: version {} is pushed and waits for approvals before it can become champion",
            pushed.version
        ));
        return Ok(ExitCode::from(WAITING));
    }

    Ok(ExitCode::SUCCESS)
}

pub(super) async fn pull(target: &str, output: &Path, common: &Common) -> Result<ExitCode> {
    let (name, which) = split_target(target)?;
    let operator = open(common, None, false).await?;
    let bar = bar();
    let version = operator
        .pull(&name, which.as_deref(), output, &|bytes| bar.inc(bytes))
        .await;
    bar.finish_and_clear();
    let version = version?.number();
    let text = format!("{name}:{version} is in {}", output.display());
    print(
        &serde_json::json!({"name": name.as_str(), "version": version, "path": output}),
        &text,
        common,
    )
}

pub(super) async fn list(tag: Option<&str>, common: &Common) -> Result<ExitCode> {
    let listed = open(common, None, false).await?.list(tag).await?;
    if common.json {
        return print(&serde_json::json!(listed), "", common);
    }
    let mut table = Table::new(&[
        "model", "versions", "champion", "aliases", "traffic", "tags",
    ]);
    for model in &listed {
        let pairs = |map: Vec<(&String, String)>| {
            map.into_iter()
                .map(|(k, v)| format!("{k}={v}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        let others = model
            .aliases
            .iter()
            .filter(|(alias, _)| *alias != "champion");
        table.row(&[
            &model.name,
            &model.versions.to_string(),
            &model
                .aliases
                .get("champion")
                .map_or_else(|| "-".to_owned(), u64::to_string),
            &pairs(others.map(|(a, v)| (a, v.to_string())).collect()),
            &pairs(
                model
                    .traffic
                    .iter()
                    .map(|(t, p)| (t, p.to_string()))
                    .collect(),
            ),
            &pairs(model.tags.iter().map(|(k, v)| (k, v.clone())).collect()),
        ]);
    }

    table.print();
    Ok(ExitCode::SUCCESS)
}

/// Reads a JSON object from a file.
fn object(path: &Path) -> Result<Map<String, Value>> {
    let refuse = |why: String| Error::invalid(format!("{} {why}", path.display()));
    let text = std::fs::read(path).map_err(|e| refuse("cannot be read".into()).with_source(e))?;
    serde_json::from_slice(&text).map_err(|e| refuse(format!("is not a JSON object: {e}")))
}

/// Shows progress in bytes, on a terminal only.
pub(super) fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(
        ProgressStyle::with_template("{bytes} {binary_bytes_per_sec} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}
