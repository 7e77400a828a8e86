//! Judges a request that is run again, and decides what follows. A difference alone proves nothing:
//! other sizes of a batch are computed by other kernels, which round differently, and some models
//! draw random numbers. Further runs of the same request tell these causes from other rows.

use super::Sample;
use super::compare::{Limits, ValueDifference, bits_apart, difference};
use crate::core::error::Result;
use crate::core::tensor::batch::{Stack, split};
use crate::core::tensor::{Tensor, View};
use crate::onnx::batchability::invariance::InvariantSizes;

/// Runs of the same request that show whether the model always gives the same answer.
pub(super) const REPEATS: usize = 8;

/// Rechecks in which at most one integer, boolean or string may differ because of the size of the
/// batch. Two almost equal scores are rare; a model that depends on the size does so each time.
const TIES_EVERY: u64 = 10_000;

/// What a recheck found.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::serve::batch) enum RecheckVerdict {
    /// The answers agree.
    Same,
    /// They differ a little, and a batch of copies of the request gives the answer of the batch:
    /// the number of rows is the cause. `tie` is a difference that is not in floating point.
    BatchSize { tie: Option<ValueDifference> },
    /// The request alone does not get the same answer each time.
    NotDeterministic,
    /// Other rows of the batch changed the answer.
    Different(ValueDifference),
}

/// Runs a request again, once if the answers agree and up to ten times if they do not. An error of
/// a run is returned: nothing follows from it.
pub(in crate::serve::batch) fn judge(
    sample: &Sample,
    provider: &str,
    mut run: impl FnMut(&[View<'_>]) -> Result<Vec<Tensor>>,
) -> Result<RecheckVerdict> {
    let limits = Limits::new(provider, &sample.batch);
    let batched = sample.batched()?;
    let views: Vec<View<'_>> = sample.inputs.iter().map(Tensor::view).collect();

    let alone = run(&views)?;
    let Some(found) = difference(&alone, &batched, &limits) else {
        return Ok(RecheckVerdict::Same);
    };

    let copies = sample.copies()?;
    let copies: Vec<View<'_>> = copies.iter().map(Stack::view).collect();
    let copied = sample.part(&run(&copies)?)?;
    let is_size = difference(&copied, &batched, &limits).is_none();
    let far = difference(&alone, &batched, &limits.of_size());
    match far {
        None if is_size => return Ok(RecheckVerdict::BatchSize { tie: None }),
        Some(tie) if is_size && tie.is_tie => {
            return Ok(RecheckVerdict::BatchSize { tie: Some(tie) });
        }
        _ => {}
    }

    for _ in 0..REPEATS {
        if difference(&run(&views)?, &alone, &limits).is_some() {
            return Ok(RecheckVerdict::NotDeterministic);
        }
    }
    Ok(RecheckVerdict::Different(found))
}

/// … of a version whose answers do not depend on the size of the batch: every other bit is a difference.
pub(in crate::serve::batch) fn judge_bits(
    sample: &Sample,
    sizes: &InvariantSizes,
    mut run: impl FnMut(&[View<'_>]) -> Result<Vec<Tensor>>,
) -> Result<RecheckVerdict> {
    let rows = sizes.filled(sample.rows).unwrap_or(sample.rows);
    let filled = sample.filled(rows)?;
    let mut alone = || alone(sample, rows, &filled, &mut run);

    let once = alone()?;
    let Some(found) = bits_apart(&once, &sample.part(&sample.batch)?) else {
        return Ok(RecheckVerdict::Same);
    };
    for _ in 0..REPEATS {
        if alone()? != once {
            return Ok(RecheckVerdict::NotDeterministic);
        }
    }
    Ok(RecheckVerdict::Different(found))
}

/// … of a version whose lanes keep the shape of their runs: in the shape of its batch, so that only other rows
/// can be the cause of a difference.
pub(in crate::serve::batch) fn judge_filled(
    sample: &Sample,
    provider: &str,
    mut run: impl FnMut(&[View<'_>]) -> Result<Vec<Tensor>>,
) -> Result<RecheckVerdict> {
    let limits = Limits::new(provider, &sample.batch);
    let filled = sample.filled(sample.total)?;
    let mut alone = || alone(sample, sample.total, &filled, &mut run);

    let once = alone()?;
    let Some(found) = difference(&once, &sample.batched()?, &limits) else {
        return Ok(RecheckVerdict::Same);
    };
    for _ in 0..REPEATS {
        if difference(&alone()?, &once, &limits).is_some() {
            return Ok(RecheckVerdict::NotDeterministic);
        }
    }
    Ok(RecheckVerdict::Different(found))
}

/// Runs the request in a batch of so many rows that has no other, and cuts its answer out.
fn alone(
    sample: &Sample,
    rows: usize,
    filled: &[Stack],
    run: &mut impl FnMut(&[View<'_>]) -> Result<Vec<Tensor>>,
) -> Result<Vec<Tensor>> {
    let views: Vec<View<'_>> = filled.iter().map(Stack::view).collect();
    let cut =
        |output: &Tensor| Ok(split(output, &[sample.rows, rows - sample.rows])?.swap_remove(0));
    run(&views)?.iter().map(cut).collect()
}

/// What follows from a verdict.
#[derive(Debug, PartialEq)]
pub(super) enum Consequence {
    GoOn,
    EndRechecks,
    EndBatching(ValueDifference),
}

/// The ties of a version.
#[derive(Debug, Default)]
pub(super) struct Ties {
    /// The number of the recheck that found the last one.
    last: Option<u64>,
}

impl Ties {
    /// Decides what follows from the verdict of recheck number `count`.
    pub(super) fn weigh(&mut self, verdict: RecheckVerdict, count: u64) -> Consequence {
        match verdict {
            RecheckVerdict::Same | RecheckVerdict::BatchSize { tie: None } => Consequence::GoOn,
            RecheckVerdict::NotDeterministic => Consequence::EndRechecks,
            RecheckVerdict::Different(found) => Consequence::EndBatching(found),
            RecheckVerdict::BatchSize { tie: Some(tie) } => {
                let before = self.last.replace(count);
                match before.is_some_and(|before| count < before + TIES_EVERY) {
                    true => Consequence::EndBatching(tie),
                    false => Consequence::GoOn,
                }
            }
        }
    }
}
