//! Turns data into a version that servers follow. Each phase is a type that the
//! next one takes: `Dataset → Split → Fitted → Proven → Judged → Published`. The
//! same data and specification are one run, and a run has at most one version. What triggers start
//! is not published if the rows are those of an earlier run; and nothing that answers as the champion
//! does.

mod dataset;
mod earlier;
mod explained;
mod fitted;
mod judged;
mod plan;
mod proven;
mod published;
mod split;
#[cfg(test)]
mod tests;

use crate::context::{RunOutcome, Trainer, Watcher};
use crate::spec::Spec;
use dataset::Dataset;
pub(crate) use dataset::{gate_measure, key};
use fitted::Fitted;
use judged::Judged;
use ortus::core::error::{Error, Result};
use ortus::core::model::ModelName;
pub(crate) use plan::{RunPlan, plan};
use proven::Proven;
use published::Published;
use split::Split;

/// The most comparisons of a run, if the champion keeps changing.
const CHAMPIONS_MAX: usize = 5;

/// What every phase needs: the trainer, the specification and the model's name.
struct Job<'j> {
    trainer: &'j Trainer<'j>,
    spec: &'j Spec,
    name: ModelName,
}

/// Trains a model, judges it, and publishes it if it passes.
pub(crate) async fn run(
    trainer: &Trainer<'_>,
    spec: &Spec,
    watcher: &mut dyn Watcher,
) -> Result<RunOutcome> {
    let name = ModelName::parse(&spec.model.name)?;
    let job = Job {
        trainer,
        spec,
        name,
    };

    let mut dataset = Dataset::read(&job, watcher).await?;
    if let Some(outcome) = earlier::outcome(&job, &dataset.run).await? {
        return Ok(outcome);
    }
    if let Some(outcome) = dataset.pin(&job).await? {
        return Ok(outcome);
    }
    let rows = dataset.rows.manifest.rows_digest();
    if let Some(outcome) = earlier::same_rows(&job, &rows).await? {
        return Ok(outcome);
    }
    dataset.check(&job)?;

    let split = Split::of(&job, dataset)?;
    let fitted = Fitted::fit(&job, split, watcher).await?;
    let mut proven = Proven::prove(&job, fitted, watcher)?;

    for _ in 0..CHAMPIONS_MAX {
        if let Some(outcome) = earlier::outcome(&job, proven.run()).await? {
            return Ok(outcome);
        }
        let judged = Judged::judge(&job, &proven, watcher).await?;
        if !judged.has_passed() {
            return Ok(judged.rejected(&proven).await);
        }
        if let Some(champion) = judged.twin() {
            return Ok(judged.unchanged(&proven, champion).await);
        }
        if let Some(published) = Published::publish(&job, &mut proven, &judged, watcher).await? {
            return Ok(published.outcome(&mut proven, judged));
        }
    }

    Err(Error::unavailable(
        "the champion changed during each of several comparisons; run again",
    ))
}
