//! Finds the version that an earlier run with the same key published.

use super::Job;
use crate::checkpoint::Checkpoints;
use crate::context::RunOutcome;
use crate::gate::Verdict;
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
        new: false,
        verdict: Verdict::Pass,
        record,
    }))
}
