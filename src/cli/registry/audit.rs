//! The commands for the registry as a whole: `ortus audit verify`, `ortus audit report` and
//! `ortus gc`.

use super::access::{open_to_change, open_to_read, print};
use super::arguments::change::GcArguments;
use super::arguments::{AuditReportArguments, RegistryArguments, beginning, instant};
use crate::cli::print::note;
use crate::core::count::counted;
use crate::core::error::Result;
use crate::core::model::ModelName;
use crate::registry::commands::gc::GcRules;
use crate::registry::commands::report;
use std::process::ExitCode;
use std::time::Duration;

/// Reads the whole registry and compares every object with its digest.
pub(super) async fn verify(common: &RegistryArguments) -> Result<ExitCode> {
    let verified = open_to_read(common).await?.verify(&|_| {}).await?;
    for entry in &verified.void {
        note(&format!("ortus: entry without effect: {entry}"));
    }

    let text = format!(
        "verified: {}, {} ({}), {}",
        counted(verified.entries, "entry"),
        counted(verified.blobs, "blob"),
        counted(verified.bytes, "byte"),
        counted(verified.checkpoints, "checkpoint")
    );
    print(&serde_json::json!(verified), &text, common)
}

/// Reports every promotion in a period.
pub(super) async fn report(arguments: &AuditReportArguments) -> Result<ExitCode> {
    let model = arguments
        .model
        .as_deref()
        .map(ModelName::parse)
        .transpose()?;
    let period = report::Period {
        since: arguments.since.as_deref().map(beginning).transpose()?,
        until: arguments.until.as_deref().map(instant).transpose()?,
    };

    let operator = open_to_read(&arguments.common).await?;
    let moves = operator.champion_changes(model.as_ref(), period).await?;

    let render = if arguments.html {
        report::html
    } else {
        report::markdown
    };
    let text = render(operator.log.namespace(), &moves);
    print(
        &serde_json::json!(moves),
        text.trim_end(),
        &arguments.common,
    )
}

/// Deletes blobs that no version uses.
pub(super) async fn gc(arguments: &GcArguments) -> Result<ExitCode> {
    let rules = GcRules {
        grace: hours(arguments.grace),
        retain: hours(arguments.retain.saturating_mul(24)),
        dry_run: arguments.dry_run,
    };
    let operator = open_to_change(&arguments.common, &arguments.by).await?;
    let swept = operator.gc(rules).await?;

    let done = if arguments.dry_run {
        "would be deleted"
    } else {
        "deleted"
    };
    let text = format!(
        "{}, {} {done}; {} too young",
        counted(swept.blobs, "blob"),
        counted(swept.bytes, "byte"),
        swept.young
    );
    print(&serde_json::json!(swept), &text, &arguments.common)
}

fn hours(hours: u32) -> Duration {
    Duration::from_secs(u64::from(hours) * 3600)
}
