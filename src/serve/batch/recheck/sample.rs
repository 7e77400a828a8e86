//! One request of a batch, with what is needed to run it again: its inputs and the outputs of the
//! batch, which share their bytes with the answers.

use super::PATIENCE;
use crate::core::error::Result;
use crate::core::hash::{Digest, Hasher};
use crate::core::tensor::Tensor;
use crate::core::tensor::batch::{Stack, split};
use crate::serve::batch::padder::PaddedSample;
use crate::serve::batch::queue::Class;
use std::time::{Duration, Instant};

/// Most bytes of a sample: the inputs of the request, and the outputs of the batch.
const BYTES_MAX: usize = 64 << 20;

/// Least time limit of a run of a sample. A run alone takes less time than its batch did, so a
/// multiple of that is enough for slow models.
const TIMEOUT_MIN: Duration = Duration::from_secs(5);

/// A request of a batch that is to be run again.
pub(crate) struct Sample {
    pub inputs: Vec<Tensor>,
    /// How the request was padded in its batch, if it was.
    pub padded: Option<PaddedSample>,
    /// Outputs of the whole batch.
    pub batch: Vec<Tensor>,
    /// Rows of the batch before the request's.
    pub before: usize,
    /// Rows of the request.
    pub rows: usize,
    /// Rows of the batch.
    pub total: usize,
    /// The shape class, where lanes keep the shape of their runs: it is run again in the same shape.
    pub kept: Option<Class>,
    /// When the batch ended.
    pub ended: Instant,
    /// Duration of the batch.
    pub run: Duration,
}

impl Sample {
    /// Tells whether it is small enough to be kept.
    pub(in crate::serve::batch) fn is_small(&self) -> bool {
        let tensors = self.inputs.iter().chain(&self.batch);
        tensors.map(Tensor::bytes).sum::<usize>() <= BYTES_MAX
    }

    /// Tells whether it has waited so long for an idle lane that requests wait for it.
    pub(in crate::serve::batch) fn is_overdue(&self, now: Instant) -> bool {
        now >= self.ended + PATIENCE
    }

    /// Returns the time limit of a run.
    pub(in crate::serve::batch) fn timeout(&self) -> Duration {
        TIMEOUT_MIN.max(self.run.saturating_mul(2))
    }

    /// Returns the answer that the request got in its batch.
    pub(super) fn batched(&self) -> Result<Vec<Tensor>> {
        let part = self.part(&self.batch)?;
        match &self.padded {
            Some(padded) => padded.cut(part),
            None => Ok(part),
        }
    }

    /// Cuts the request's part out of the outputs of its batch, or of a run of as many rows.
    pub(super) fn part(&self, outputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let cuts = [self.before, self.rows, self.total - self.before - self.rows];
        let part = |output| Ok(split(output, &cuts)?.swap_remove(1));
        outputs.iter().map(part).collect()
    }

    /// Fills a batch of the same size with copies of the request's rows, at their own length, and puts the
    /// request where it was.
    pub(super) fn copies(&self) -> Result<Vec<Stack>> {
        let shift = self.rows - self.before % self.rows;
        let fill = |input: &Tensor| {
            let rows = split(input, &vec![1; self.rows])?;
            let mut stack = Stack::default();
            stack.fill((0..self.total).map(|at| &rows[(at + shift) % self.rows]));
            Ok(stack)
        };
        self.inputs.iter().map(fill).collect()
    }

    /// Fills a batch of so many rows: the request, and copies of its last row.
    pub(super) fn filled(&self, rows: usize) -> Result<Vec<Stack>> {
        let fill = |input: &Tensor| {
            let mut stack = Stack::default();
            stack.fill_up(std::iter::once(input), rows)?;
            Ok(stack)
        };
        self.inputs.iter().map(fill).collect()
    }

    /// Computes the digest of the request's inputs, to find it again in captured predictions.
    pub(super) fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        for input in &self.inputs {
            hasher.update(&input.to_raw());
        }
        hasher.finish()
    }
}
