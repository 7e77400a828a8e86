//! Decides batchability: whether the first axis of a model really is a batch
//! axis, so that requests may be merged into one run. The graph must not show that
//! rows influence each other, and the same generated rows, alone and among others, must
//! give the same answers. Where the graph proves nothing, rows of very different
//! values are tried.
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
use crate::onnx::rows::RowVerdict;
use crate::onnx::runtime::Session;
use half::{bf16, f16};
use std::time::{Duration, Instant};

/// Sizes tried for dynamic axes other than the first, until the model runs.
const SIZES: [usize; 5] = [4, 1, 16, 64, 224];
/// Rows of the test.
const ROWS: usize = 7;
/// Tests of a model whose graph proves nothing, each with other values.
const ROUNDS: usize = 6;
/// Sizes of numbers, one for each row, where the graph proves nothing.
const SCALES: [f32; ROWS] = [1.0, 1e-6, 1e3, 1e-2, 1e6, 1e-4, 30.0];
/// Integers below these are tried, until the model accepts them.
const INTEGERS: [u64; 5] = [30_000, 1_000, 100, 10, 3];

/// Which values are generated.
#[derive(Clone, Copy)]
struct ValueRange {
    seed: u64,
    /// The largest absolute value of a floating-point number.
    scale: f32,
    /// Integers are below it.
    integers: u64,
    /// Whether texts have several words, of different lengths.
    words: bool,
}

impl ValueRange {
    /// Values that most models accept.
    fn small(seed: u64) -> Self {
        Self {
            seed,
            scale: 1.0,
            integers: 3,
            words: false,
        }
    }
}

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
        run(session, &self.inputs(rows, ValueRange::small(1))?)
    }

    /// Times one run on `rows` generated rows, without generating them.
    pub(crate) fn time(&self, session: &mut dyn Session, rows: usize) -> Result<Duration> {
        let inputs = self.inputs(rows, ValueRange::small(1))?;
        let start = Instant::now();
        run(session, &inputs)?;
        Ok(start.elapsed())
    }

    /// Creates golden rows from the answers of the model; `None` if a second run gives
    /// other answers, or if they are too large.
    pub(crate) fn golden(&self, session: &mut dyn Session, rows: usize) -> Result<Option<Golden>> {
        let inputs = self.inputs(rows, ValueRange::small(1))?;
        let (once, again) = (run(session, &inputs)?, run(session, &inputs)?);
        let same = once.len() == again.len() && once.iter().zip(&again).all(|(a, b)| agree(a, b));
        Ok(if same {
            Golden::made(&self.signature, inputs, once)
        } else {
            None
        })
    }

    fn inputs(&self, rows: usize, values: ValueRange) -> Result<Vec<Tensor>> {
        let made = self.signature.inputs.iter().enumerate();
        made.map(|(i, spec)| {
            let seed = values.seed.wrapping_mul(31).wrapping_add(i as u64);
            sample_tensor(spec, rows, self.size, ValueRange { seed, ..values })
        })
        .collect()
    }
}

fn run(session: &mut dyn Session, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let views: Vec<View<'_>> = inputs.iter().map(Tensor::view).collect();
    session.run(&views)
}

/// Decides whether requests may be merged into one run; the error says why not.
pub(crate) fn check(
    signature: &Signature,
    verdict: &RowVerdict,
    sample: &SampleInputs,
    session: &mut dyn Session,
) -> Result<()> {
    if !signature.has_dynamic_first_axis() {
        return Err(Error::invalid(
            "not every input and output has a dynamic first axis",
        ));
    }

    match verdict {
        RowVerdict::Dependent(finding) => Err(Error::invalid(format!(
            "the rows of a batch influence each other: {finding}"
        ))),
        RowVerdict::Independent => check_small(signature, sample, session),
        RowVerdict::Unknown(_) => {
            check_small(signature, sample, session)?;
            (0..ROUNDS).try_for_each(|round| check_wide(signature, sample, session, round))
        }
    }
}

/// Tests rows of small values.
fn check_small(
    signature: &Signature,
    sample: &SampleInputs,
    session: &mut dyn Session,
) -> Result<()> {
    let rows: Vec<Vec<Tensor>> = (0..ROWS)
        .map(|row| sample.inputs(1, ValueRange::small(row as u64 + 2)))
        .collect::<Result<_>>()?;
    let alone = run_alone(sample, session, &rows)?;
    check_together(signature, session, &rows, &alone)
}

/// Tests rows of very different values, as large as the model accepts.
fn check_wide(
    signature: &Signature,
    sample: &SampleInputs,
    session: &mut dyn Session,
    round: usize,
) -> Result<()> {
    let mut refused = Error::invalid("the model refuses generated inputs");
    for integers in INTEGERS {
        let values = |row: usize| ValueRange {
            seed: (100 + round * ROWS + row) as u64,
            scale: SCALES[(row + round) % ROWS],
            integers,
            words: true,
        };
        let rows: Vec<Vec<Tensor>> = (0..ROWS)
            .map(|row| sample.inputs(1, values(row)))
            .collect::<Result<_>>()?;
        match run_alone(sample, session, &rows) {
            Ok(alone) => return check_together(signature, session, &rows, &alone),
            Err(error) => refused = error,
        }
    }

    Err(refused)
}

/// Compares batches of rows, forwards and backwards, with the rows alone.
fn check_together(
    signature: &Signature,
    session: &mut dyn Session,
    rows: &[Vec<Tensor>],
    alone: &[Vec<Tensor>],
) -> Result<()> {
    let forward: Vec<usize> = (0..ROWS).collect();
    let backward: Vec<usize> = (1..ROWS).rev().collect();
    for order in [forward, backward] {
        let outputs = run_together(session, rows, &order)?;
        compare(signature, &outputs, &order, alone)?;
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

fn sample_tensor(
    spec: &TensorSpec,
    rows: usize,
    size: usize,
    values: ValueRange,
) -> Result<Tensor> {
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
    let mut random = SplitMix(values.seed);
    let bytes = match spec.dtype {
        DType::String => {
            let texts: Vec<String> = (0..count).map(|_| text(&mut random, values)).collect();
            return Tensor::strings(
                shape,
                Strings::from_parts(texts.iter().map(String::as_str))?,
            );
        }
        dtype => numbers(dtype, count, &mut random, values),
    };

    Tensor::fixed(spec.dtype, shape, bytes.into())
}

/// The bytes of generated numbers.
fn numbers(dtype: DType, count: usize, random: &mut SplitMix, values: ValueRange) -> Vec<u8> {
    let mut integer = |bits: u32| random.next_u64() % values.integers.min(1 << bits);
    match dtype {
        DType::String | DType::Bool => fill(count, || [(integer(16) % 2) as u8]),
        DType::U8 | DType::I8 => fill(count, || [integer(7) as u8]),
        DType::U16 | DType::I16 => fill(count, || (integer(15) as u16).to_le_bytes()),
        DType::U32 | DType::I32 => fill(count, || (integer(31) as u32).to_le_bytes()),
        DType::U64 | DType::I64 => fill(count, || integer(63).to_le_bytes()),
        // Numbers over 65,504 have no form in FP16.
        DType::F16 => {
            let scale = values.scale.min(1e3);
            fill(count, || f16::from_f32(unit(random) * scale).to_le_bytes())
        }
        DType::BF16 => fill(count, || {
            bf16::from_f32(unit(random) * values.scale).to_le_bytes()
        }),
        DType::F32 => fill(count, || (unit(random) * values.scale).to_le_bytes()),
        DType::F64 => fill(count, || {
            f64::from(unit(random) * values.scale).to_le_bytes()
        }),
    }
}

fn fill<const N: usize>(count: usize, mut element: impl FnMut() -> [u8; N]) -> Vec<u8> {
    (0..count).flat_map(|_| element()).collect()
}

/// A text of one word, or of up to four words.
fn text(random: &mut SplitMix, values: ValueRange) -> String {
    const WORDS: [&str; 6] = ["low", "high", "other", "a", "The", "considerably"];
    let mut word = |known: usize| WORDS[(random.next_u64() % known as u64) as usize];
    if !values.words {
        return word(3).to_owned();
    }
    let count = 1 + random_length(values.seed);
    let words: Vec<&str> = (0..count).map(|_| word(WORDS.len())).collect();
    words.join(" ")
}

/// A number of words, which is the same in all texts of a row.
fn random_length(seed: u64) -> u64 {
    SplitMix(seed ^ 0x5bd1).next_u64() % 4
}

/// A number in [−1, 1).
fn unit(random: &mut SplitMix) -> f32 {
    (random.next_u64() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
}
