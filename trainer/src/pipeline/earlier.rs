//! Finds what earlier runs did with the same rows: the version that a run with the same key published,
//! and the last run of the same specification.

use super::Job;
use crate::checkpoint::Checkpoints;
use crate::context::RunOutcome;
use crate::history::{RecordedRun, RunHistory, RunStatus};
use crate::record::RunRecord;
use ortus::core::error::Result;
use ortus::core::hash::Digest;
use serde::Deserialize;

/// Returns the outcome of the run that published a version, if there is one.
pub(super) async fn outcome(job: &Job<'_>, run: &Digest) -> Result<Option<RunOutcome>> {
    let (trainer, name) = (job.trainer, &job.name);
    let state = trainer.operator.state().await?;
    let Some((version, _)) = state.models.get(name).and_then(|m| m.of_run(run)) else {
        return Ok(None);
    };
    // A trainer that was killed after it published has left its checkpoints.
    let _ = Checkpoints::of(trainer.records(), name, run).clear().await;

    // The manifest of the version holds the record.
    let lineage = trainer
        .operator
        .lineage(name, Some(&version.number().to_string()))
        .await?;
    let record = lineage.first().map(|step| &step["lineage"]);

    // The version exists, whatever its manifest says of the run.
    let mut record: RunRecord = record
        .and_then(|record| RunRecord::deserialize(record).ok())
        .unwrap_or_default();
    record.run = run.to_string().into();

    record.version = version.number().into();

    Ok(Some(RunOutcome {
        version: Some(version.number()),
        status: RunStatus::Equal,
        record,
        example: None,
    }))
}

/// Returns the outcome of a run that triggers started, if the rows are those of an earlier run of the
/// same specification: it would fit the same model again.
pub(super) async fn same_rows(job: &Job<'_>, rows: &Digest) -> Result<Option<RunOutcome>> {
    if job.trainer.pinned.is_none() {
        return Ok(None);
    }
    let (rows, spec) = (rows.to_string(), job.spec.canonical());
    let history = RunHistory::new(job.trainer.records(), job.name.clone());
    let is_same = |ran: &&RecordedRun| {
        let record = &ran.record;
        record.rows_digest.value() == Some(&rows) && record.spec.value() == Some(&spec)
    };
    let all = history.all().await?;
    let Some(earlier) = all.iter().rev().find(is_same) else {
        return Ok(None);
    };

    let reason = format!(
        "its rows are those of the run of {}; there is nothing new to learn from",
        earlier.began.format("%Y-%m-%d %H:%M:%S UTC")
    );
    // What triggers read of the last run stays as it was.
    let record = RunRecord {
        data: earlier.record.data.clone(),
        reason: reason.into(),
        rows_digest: rows.into(),
        spec: spec.into(),
        split: earlier.record.split.clone(),
        trigger: job.trainer.trigger.map(str::to_owned).into(),
        ..RunRecord::default()
    };
    Ok(Some(RunOutcome {
        version: None,
        status: RunStatus::Unchanged,
        record,
        example: None,
    }))
}
