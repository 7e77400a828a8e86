//! Tests whether padding changes answers: generated rows of several lengths, each at its own length, and
//! padded alone and beside rows of other lengths, must give the same answers within the tolerance of
//! the test of batchability.

#[cfg(test)]
mod tests;

use super::values::{ExtremeValue, ValueRange, filled, sample_tensor};
use super::{INTEGERS, columns, not_by_row, run, run_together};
use crate::core::error::{Error, Result};
use crate::core::model::padding::{PaddingPlan, RequestLength};
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::Tensor;
use crate::core::tensor::batch::split;
use crate::core::tensor::compare::{agree_at_scale, agree_in_columns};
use crate::core::tensor::padding::{Lengthening, PadValue, lengthened};
use crate::onnx::runtime::Session;

/// Sizes of floating-point numbers, one for each round. In later rounds masks hide some of the
/// request's own tokens too, and integers are as large as the model accepts.
const SCALES: [f32; 2] = [1.0, 30.0];
/// Integers below it are used in the first round.
const SMALL_INTEGERS: u64 = 3;

/// A model whose padding is tested.
pub(crate) struct PaddingSubject<'p> {
    pub signature: &'p Signature,
    pub plan: &'p PaddingPlan,
    /// The size of dynamic axes that are not padded.
    pub size: usize,
}

/// The rows of one test.
struct PaddingRound<'r> {
    /// The length that rows are padded to.
    bucket: usize,
    scale: f32,
    /// For each input, integers are below it.
    integers: &'r [u64],
    /// Whether masks hide some of the row's own tokens.
    is_ragged: bool,
}

/// Tests whether padding changes answers; the error says how.
pub(crate) fn check_padding(subject: &PaddingSubject<'_>, session: &mut dyn Session) -> Result<()> {
    let lengths = &subject.plan.declared().lengths;
    let integers = subject.find_integers(session, lengths[0])?;
    let small: Vec<u64> = integers
        .iter()
        .map(|most| SMALL_INTEGERS.min(*most))
        .collect();

    let mut tested = vec![0, lengths.len() / 2, lengths.len() - 1];
    tested.dedup();
    for at in tested {
        let least = at.checked_sub(1).map_or(1, |before| lengths[before] + 1);
        for (round, scale) in SCALES.into_iter().enumerate() {
            let round = PaddingRound {
                bucket: lengths[at],
                scale,
                integers: if round == 0 { &small } else { &integers },
                is_ragged: round > 0,
            };
            subject.check_round(session, &round, least)?;
        }
    }
    Ok(())
}

impl PaddingSubject<'_> {
    /// Finds for each input the largest integers that the model accepts, while the others are 0.
    fn find_integers(&self, session: &mut dyn Session, length: usize) -> Result<Vec<u64>> {
        let zeros = vec![1; self.signature.inputs.len()];
        let round = PaddingRound {
            bucket: length,
            scale: 1.0,
            integers: &zeros,
            is_ragged: false,
        };
        let inputs = self.row(&round, length, 1)?;
        run(session, &inputs)
            .map_err(|error| error.context("the model refuses generated inputs"))?;

        let mut found = zeros.clone();
        for (at, spec) in self.signature.inputs.iter().enumerate() {
            if !spec.dtype.is_integer() || at == self.plan.mask() {
                continue;
            }
            for most in INTEGERS {
                let mut tried = inputs.clone();
                let largest = i64::try_from(most - 1).unwrap_or(i64::MAX);
                let full = filled(vec![tried[at].clone()], ExtremeValue::Integer(largest))?;
                tried.splice(at..=at, full);
                if run(session, &tried).is_ok() {
                    found[at] = most;
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Generates a row of one length.
    fn row(&self, round: &PaddingRound<'_>, length: usize, seed: u64) -> Result<Vec<Tensor>> {
        let inputs = self.signature.inputs.iter().enumerate();
        let made = inputs.map(|(at, spec)| {
            if at == self.plan.mask() {
                return self.mask(round, length);
            }
            let values = ValueRange {
                scale: round.scale,
                integers: round.integers[at],
                ..ValueRange::small(seed.wrapping_mul(31).wrapping_add(at as u64))
            };
            sample_tensor(&self.of_length(spec, at, length), 1, self.size, values)
        });
        made.collect()
    }

    /// An input's declaration, with the padded axis of one length.
    fn of_length(&self, spec: &TensorSpec, at: usize, length: usize) -> TensorSpec {
        let mut spec = spec.clone();
        if let (Some(axis), Some(shape)) = (self.plan.axis(at), spec.shape.as_mut()) {
            shape[axis] = Dim::Fixed(length);
        }
        spec
    }

    /// A mask that shows all of a row, or its first half.
    fn mask(&self, round: &PaddingRound<'_>, length: usize) -> Result<Tensor> {
        let at = self.plan.mask();
        let spec = &self.signature.inputs[at];
        let axis = self.plan.axis(at).unwrap_or(1);
        let shown = match round.is_ragged {
            true => length.div_ceil(2),
            false => length,
        };
        let empty = self.of_length(spec, at, 0);
        let empty = sample_tensor(&empty, 1, self.size, ValueRange::small(0))?;
        let mut mask = empty;
        for (length, value) in [(shown, 1.0), (length, 0.0)] {
            let fill = PadValue::new(spec.dtype, value)?;
            let fill = &fill;
            mask = lengthened(&mask, Lengthening { axis, length, fill })?;
        }
        Ok(mask)
    }

    /// Pads a row.
    fn padded(&self, row: &[Tensor], bucket: usize) -> Result<Vec<Tensor>> {
        let inputs = row.iter().enumerate();
        let padded = inputs.map(|(at, tensor)| {
            let how = self.plan.axis(at).zip(self.plan.fill(at));
            let how = how.map(|(axis, fill)| Lengthening {
                axis,
                length: bucket,
                fill,
            });
            how.map_or_else(|| Ok(tensor.clone()), |how| lengthened(tensor, how))
        });
        padded.collect()
    }

    /// Tests rows that one bucket holds, the shortest of `least` tokens.
    fn check_round(
        &self,
        session: &mut dyn Session,
        round: &PaddingRound<'_>,
        least: usize,
    ) -> Result<()> {
        let bucket = round.bucket;
        let mut lengths = vec![least, least.midpoint(bucket), bucket];
        lengths.dedup();
        let rows: Vec<Vec<Tensor>> = lengths
            .iter()
            .zip(2..)
            .map(|(length, seed)| self.row(round, *length, seed))
            .collect::<Result<_>>()?;
        let alone: Vec<Vec<Tensor>> = rows
            .iter()
            .map(|row| run(session, row))
            .collect::<Result<_>>()?;
        let padded: Vec<Vec<Tensor>> = rows
            .iter()
            .map(|row| self.padded(row, bucket))
            .collect::<Result<_>>()?;

        let forward: Vec<usize> = (0..rows.len()).collect();
        let backward: Vec<usize> = forward.iter().rev().copied().collect();
        for order in [vec![0], forward, backward] {
            let outputs = run_together(session, &padded, &order)?;
            for (place, row) in order.iter().enumerate() {
                let part = Part {
                    rows: order.len(),
                    place,
                    length: RequestLength {
                        own: lengths[*row],
                        bucket,
                    },
                };
                self.compare(&outputs, &part, &alone, *row)?;
            }
        }
        Ok(())
    }

    /// Compares a row of a padded batch with its answer at its own length.
    fn compare(
        &self,
        outputs: &[Tensor],
        part: &Part,
        alone: &[Vec<Tensor>],
        row: usize,
    ) -> Result<()> {
        for (at, (output, spec)) in outputs.iter().zip(&self.signature.outputs).enumerate() {
            let mut rows = split(output, &vec![1; part.rows]).map_err(|_| not_by_row(spec))?;
            let cut = self
                .plan
                .cut(at, rows.swap_remove(part.place), part.length)?;
            let Some(alone_row) = alone[row].get(at) else {
                continue;
            };
            let columns = columns(alone.iter().filter_map(|outputs| outputs.get(at)));
            let RequestLength { own, bucket } = part.length;
            if !agree_at_scale(&cut, alone_row) || !agree_in_columns(&cut, alone_row, &columns) {
                return Err(Error::invalid(format!(
                    "output '{}' of a row of length {own} changes when it is padded to {bucket}: the model does not leave out what its mask hides",
                    spec.name
                )));
            }
        }
        Ok(())
    }
}

/// The place of a row in a padded batch.
struct Part {
    rows: usize,
    place: usize,
    length: RequestLength,
}
