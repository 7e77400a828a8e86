//! The first phase: reads the rows, and finds the run key that they and the
//! specification give.

use super::{Job, earlier};
use crate::command::{self, Code};
use crate::context::{RunOutcome, Watcher};
use crate::data::{self, Rows};
use crate::judge::measure::LossMeasure;
use crate::spec::{Algorithm, Spec};
use ortus::core::error::{Error, Result};
use ortus::core::hash::Digest;
use serde_json::json;

/// The rows of a run, with the key of the run.
pub(super) struct Dataset {
    pub run: Digest,
    pub code: Vec<Code>,
    pub rows: Rows,
}

impl Dataset {
    /// Reads the rows that the specification names.
    pub(super) async fn read(job: &Job<'_>, watcher: &mut dyn Watcher) -> Result<Self> {
        watcher.step("reading the data");
        let rows = data::read(job.spec, &job.trainer.reach()).await?;
        let code = command::code(job.spec)?;
        let run = key(job.spec, &code, &rows.manifest.digest());
        Ok(Self { run, code, rows })
    }

    /// Writes the run key beside the triggers that it runs for. Returns the
    /// outcome of an earlier run for the same triggers that published a version.
    pub(super) async fn pin(&self, job: &Job<'_>) -> Result<Option<RunOutcome>> {
        let Some(pinned) = job.trainer.pinned else {
            return Ok(None);
        };
        // An earlier trainer may have finished this run with files that have changed since.
        if let Some(run) = pinned.run.filter(|run| *run != self.run)
            && let Some(outcome) = earlier::outcome(job, &run).await?
        {
            return Ok(Some(outcome));
        }

        pinned.note(&self.run).await?;
        Ok(None)
    }

    /// Checks the rows against the specification, and notes what a person should know.
    pub(super) fn check(&mut self, job: &Job<'_>) -> Result<()> {
        let notes = data::check::check(job.spec, &self.rows, job.trainer.now)?;
        self.rows.notes.extend(notes);
        self.rows.manifest.time = span(&self.rows);
        Ok(())
    }
}

/// Returns the key of a run: what its result depends on.
pub(crate) fn key(spec: &Spec, code: &[Code], data: &Digest) -> Digest {
    let parts = json!([
        "run",
        1,
        env!("CARGO_PKG_VERSION"),
        spec.canonical(),
        code,
        data.to_string()
    ]);

    ortus::core::hash::Digest::of(parts.to_string().as_bytes())
}

/// Returns the measure that gates use. Refuses one that does not fit the task, and
/// slices that are no feature, before the fit.
pub(crate) fn gate_measure(spec: &Spec, rows: &Rows) -> Result<LossMeasure> {
    if let Some(name) = spec
        .gates
        .slices
        .iter()
        .find(|name| rows.frame.column(name).is_none())
    {
        let name = ortus::core::error::short(name);
        return Err(Error::invalid(format!(
            "'slices' in [gates] names '{name}', which is not a feature"
        )));
    }

    LossMeasure::parse(
        spec.gates.measure.as_deref(),
        rows.target.classes().is_some(),
        &spec.fit,
    )
}

/// Returns the name of the algorithm in records.
pub(super) fn algorithm(spec: &Spec) -> &'static str {
    match spec.fit.algorithm {
        Algorithm::Trees => "trees",
        Algorithm::Linear => "linear",
        Algorithm::Mlp => "mlp",
        Algorithm::Command => "command",
    }
}

/// Returns the first and last time of the rows.
pub(crate) fn span(
    rows: &Rows,
) -> Option<(chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::Utc>)> {
    let times = rows.time.as_ref()?;
    let at = |t: Option<&i64>| chrono::DateTime::from_timestamp_micros(*t?);
    Some((at(times.iter().min())?, at(times.iter().max())?))
}
