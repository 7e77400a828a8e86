//! Tests batchability: whether the first axis of a model really is a batch
//! axis, so that requests may be merged into one run. The same generated rows,
//! alone and among others, must give the same answers.
//!
//! Runs untested models, which may crash:
//! `first_run` calls it inside a sandbox.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::hash::SplitMix;
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::batch::{Stack, split};
use crate::core::tensor::compare::agree;
use crate::core::tensor::{DType, Strings, Tensor, View};
use crate::onnx::golden::Golden;
use crate::onnx::runtime::Session;
use half::{bf16, f16};
use std::time::{Duration, Instant};

/// Sizes tried for dynamic axes other than the first, until the model runs.
const SIZES: [usize; 5] = [4, 1, 16, 64, 224];
/// Rows of the test.
const ROWS: usize = 7;

/// Generated inputs of a model, row by row.
pub(crate) struct SampleInputs {
    signature: Signature,
    size: usize,
}

impl SampleInputs {
    /// Finds a size of the dynamic axes that the model accepts.
    pub(crate) fn find(signature: &Signature, session: &mut dyn Session) -> Result<Self> {
        let mut refused = Error::precondition("the model has no input");
        for size in SIZES {
            let sample = Self {
                signature: signature.clone(),
                size,
            };
            match sample.run(session, 1) {
                Ok(_) => return Ok(sample),
                Err(error) => refused = error,
            }
        }

        Err(refused)
    }

    /// Runs once on `rows` generated rows.
    pub(crate) fn run(&self, session: &mut dyn Session, rows: usize) -> Result<Vec<Tensor>> {
        run(session, &self.inputs(rows, 1)?)
    }

    /// Times one run on `rows` generated rows, without generating them.
    pub(crate) fn time(&self, session: &mut dyn Session, rows: usize) -> Result<Duration> {
        let inputs = self.inputs(rows, 1)?;
        let start = Instant::now();
        run(session, &inputs)?;
        Ok(start.elapsed())
    }

    /// Creates golden rows from the answers of the model; `None` if a second run gives
    /// other answers, or if they are too large.
    pub(crate) fn golden(&self, session: &mut dyn Session, rows: usize) -> Result<Option<Golden>> {
        let inputs = self.inputs(rows, 1)?;
        let (once, again) = (run(session, &inputs)?, run(session, &inputs)?);
        let same = once.len() == again.len() && once.iter().zip(&again).all(|(a, b)| agree(a, b));
        Ok(if same {
            Golden::made(&self.signature, inputs, once)
        } else {
            None
        })
    }

    fn inputs(&self, rows: usize, seed: u64) -> Result<Vec<Tensor>> {
        let made = self.signature.inputs.iter().enumerate();
        made.map(|(i, spec)| {
            sample_tensor(
                spec,
                rows,
                self.size,
                seed.wrapping_mul(31).wrapping_add(i as u64),
            )
        })
        .collect()
    }
}

fn run(session: &mut dyn Session, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let views: Vec<View<'_>> = inputs.iter().map(Tensor::view).collect();
    session.run(&views)
}

/// Tests whether requests may be merged into one run; the error says why not.
pub(crate) fn check(
    signature: &Signature,
    sample: &SampleInputs,
    session: &mut dyn Session,
) -> Result<()> {
    if !signature.has_dynamic_first_axis() {
        return Err(Error::invalid(
            "not every input and output has a dynamic first axis",
        ));
    }

    let rows: Vec<Vec<Tensor>> = (0..ROWS)
        .map(|row| sample.inputs(1, row as u64 + 2))
        .collect::<Result<_>>()?;
    let alone = run_alone(sample, session, &rows)?;

    let forward: Vec<usize> = (0..ROWS).collect();
    let backward: Vec<usize> = (1..ROWS).rev().collect();
    for order in [forward, backward] {
        let outputs = run_together(session, &rows, &order)?;
        compare(signature, &outputs, &order, &alone)?;
    }

    Ok(())
}

/// Runs each row in a batch of its own.
fn run_alone(
    sample: &SampleInputs,
    session: &mut dyn Session,
    rows: &[Vec<Tensor>],
) -> Result<Vec<Vec<Tensor>>> {
    let mut alone = Vec::with_capacity(ROWS);
    for row in rows {
        let outputs = run(session, row)?;
        for (output, spec) in outputs.iter().zip(&sample.signature.outputs) {
            if output.rows() != Some(1) {
                return Err(not_by_row(spec));
            }
        }
        alone.push(outputs);
    }

    Ok(alone)
}

/// Compares the answers of a batch with the answers of its rows alone.
fn compare(
    signature: &Signature,
    outputs: &[Tensor],
    order: &[usize],
    alone: &[Vec<Tensor>],
) -> Result<()> {
    for (at, (output, spec)) in outputs.iter().zip(&signature.outputs).enumerate() {
        let parts = split(output, &vec![1; order.len()]).map_err(|_| not_by_row(spec))?;
        for (part, row) in parts.iter().zip(order) {
            if !agree(part, &alone[*row][at]) {
                return Err(Error::invalid(format!(
                    "output '{}' of a row depends on the other rows of the batch",
                    spec.name
                )));
            }
        }
    }

    Ok(())
}

fn not_by_row(spec: &TensorSpec) -> Error {
    Error::invalid(format!(
        "output '{}' does not have one row for each input row",
        spec.name
    ))
}

/// Runs rows in one batch, in the given order.
fn run_together(
    session: &mut dyn Session,
    rows: &[Vec<Tensor>],
    order: &[usize],
) -> Result<Vec<Tensor>> {
    let mut stacks: Vec<Stack> = rows[0].iter().map(|_| Stack::default()).collect();
    for (i, stack) in stacks.iter_mut().enumerate() {
        stack.fill(order.iter().map(|row| &rows[*row][i]));
    }
    let views: Vec<View<'_>> = stacks.iter().map(Stack::view).collect();
    session.run(&views)
}

fn sample_tensor(spec: &TensorSpec, rows: usize, size: usize, seed: u64) -> Result<Tensor> {
    let dims = spec.shape.as_deref().unwrap_or(&[Dim::Dynamic]);
    let shape: Vec<usize> = dims
        .iter()
        .enumerate()
        .map(|(axis, dim)| match dim {
            Dim::Fixed(n) => *n,
            Dim::Dynamic if axis == 0 => rows,
            Dim::Dynamic => size,
        })
        .collect();
    let count = crate::core::tensor::elements(&shape).filter(|n| *n <= 1 << 26);

    let count = count.ok_or_else(|| {
        Error::precondition(format!(
            "input '{}' is too large for generated inputs; fix its dynamic axes",
            spec.name
        ))
    })?;

    // The same inputs in every run: golden rows and verdicts must not change.
    let mut random = SplitMix(seed);

    let bytes = match spec.dtype {
        DType::String => {
            let words =
                (0..count).map(|_| ["low", "high", "other"][small_integer(&mut random) as usize]);
            return Tensor::strings(shape, Strings::from_parts(words)?);
        }
        DType::Bool => fill(count, || [(small_integer(&mut random) % 2) as u8]),
        DType::U8 | DType::I8 => fill(count, || [small_integer(&mut random) as u8]),
        DType::U16 | DType::I16 => {
            fill(count, || (small_integer(&mut random) as u16).to_le_bytes())
        }
        DType::U32 | DType::I32 => {
            fill(count, || (small_integer(&mut random) as u32).to_le_bytes())
        }
        DType::U64 | DType::I64 => fill(count, || small_integer(&mut random).to_le_bytes()),
        DType::F16 => fill(count, || f16::from_f32(unit(&mut random)).to_le_bytes()),
        DType::BF16 => fill(count, || bf16::from_f32(unit(&mut random)).to_le_bytes()),
        DType::F32 => fill(count, || unit(&mut random).to_le_bytes()),
        DType::F64 => fill(count, || f64::from(unit(&mut random)).to_le_bytes()),
    };

    Tensor::fixed(spec.dtype, shape, bytes.into())
}

fn fill<const N: usize>(count: usize, mut element: impl FnMut() -> [u8; N]) -> Vec<u8> {
    (0..count).flat_map(|_| element()).collect()
}

/// A small non-negative integer: a valid index for most models.
fn small_integer(random: &mut SplitMix) -> u64 {
    random.next_u64() % 3
}

/// A number in [−1, 1).
fn unit(random: &mut SplitMix) -> f32 {
    (random.next_u64() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
}
