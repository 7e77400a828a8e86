//! The tensors of a padded batch: gathers them at the length of the batch, and cuts the outputs of each request
//! to its own length.

use super::taken::TakenJob;
use crate::core::error::{Error, Result};
use crate::core::model::padding::PaddingPlan;
use crate::core::tensor::Tensor;
use crate::core::tensor::batch::Stack;
use crate::core::tensor::padding::Lengthening;
use crate::observe::metrics::servable::ServableMetrics;
use crate::serve::batch::padder::{PaddedSample, Padder};
use std::sync::Arc;

/// Tells whether requests must be padded to run together. One alone runs at its own length.
fn is_padded(jobs: &[TakenJob]) -> bool {
    let mut lengths = jobs.iter().filter_map(|taken| taken.length());
    jobs.len() > 1 && lengths.any(|length| length.is_padded())
}

/// How the requests of a batch are padded; none if they have one length. The error makes a batch that was
/// queued before padding ended run again in halves, in the end each request alone.
pub(super) fn plan<'p>(
    padder: &'p Padder,
    jobs: &[TakenJob],
) -> Result<Option<&'p Arc<PaddingPlan>>> {
    if !is_padded(jobs) {
        return Ok(None);
    }
    let ended = || Error::internal("padding has ended");
    padder.plan().map(Some).ok_or_else(ended)
}

/// Copies input `at` of every request into one buffer, padded to the length of the batch.
pub(super) fn gather(stack: &mut Stack, plan: &PaddingPlan, jobs: &[TakenJob], at: usize) {
    let parts = jobs.iter().map(|taken| &taken.job.inputs.required[at]);
    let length = jobs.iter().find_map(|taken| taken.length());
    match plan.axis(at).zip(plan.fill(at)).zip(length) {
        Some(((axis, fill), length)) => stack.fill_lengthened(
            parts,
            Lengthening {
                axis,
                length: length.bucket,
                fill,
            },
        ),
        None => stack.fill(parts),
    }
}

/// Cuts the outputs of each request to its own length.
pub(super) fn cut(
    plan: &PaddingPlan,
    parts: Vec<Vec<Tensor>>,
    jobs: &[TakenJob],
) -> Result<Vec<Vec<Tensor>>> {
    let parts = parts.into_iter().zip(jobs);
    let cut = parts.map(|(outputs, taken)| match taken.length() {
        Some(length) => plan.cut_all(outputs, length),
        None => Ok(outputs),
    });
    cut.collect()
}

/// How a request of a batch was padded; none if it was not.
pub(super) fn sampled(plan: Option<&Arc<PaddingPlan>>, taken: &TakenJob) -> Option<PaddedSample> {
    let length = taken.length().filter(|length| length.is_padded())?;
    Some(PaddedSample {
        plan: Arc::clone(plan?),
        length,
    })
}

/// Counts the tokens of the requests of a run.
pub(super) fn count(metrics: &ServableMetrics, jobs: &[TakenJob]) {
    let is_padded = is_padded(jobs);
    let (mut real, mut padded) = (0, 0);
    for taken in jobs {
        let Some(length) = taken.length() else {
            continue;
        };
        real += taken.job.rows * length.own;
        if is_padded {
            padded += taken.job.rows * (length.bucket - length.own);
        }
    }
    if real > 0 {
        metrics.count_tokens(real, padded);
    }
}
