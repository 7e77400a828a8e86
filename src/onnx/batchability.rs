//! Decides batchability: whether the first axis of a model really is a batch
//! axis, so that requests may be merged into one run. The graph proves that rows do not
//! influence each other, or that they do. Where it proves nothing, the same generated rows, alone and
//! among others, must give the same answers: rows of very different values are tried, in small batches.
//!
//! Runs untested models, which may crash:
//! `first_run` calls it inside a sandbox.

pub(crate) mod invariance;
mod padding;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use padding::{PaddingSubject, check_padding};
pub(crate) use values::KnownValues;

use crate::core::error::{Error, Result};
use crate::core::model::answered::AnsweredShapes;
use crate::core::model::{Signature, TensorSpec};
use crate::core::tensor::batch::{Stack, split};
use crate::core::tensor::compare::{agree, agree_at_scale, agree_in_columns};
use crate::core::tensor::{Tensor, View};
use crate::onnx::golden::Golden;
use crate::onnx::rows::RowVerdict;
use crate::onnx::runtime::Session;
use std::time::{Duration, Instant};
use values::ExtremeValue::{self, Float, Integer};
use values::{ValueRange, filled, sample_tensor};

/// Sizes tried for dynamic axes other than the first, until the model runs.
const SIZES: [usize; 5] = [4, 1, 16, 64, 224];
/// Integers of generated inputs are below the first of these, or below another one if the model accepts no
/// size: token types, for instance, are often 0 and 1.
const SMALL_INTEGERS: [u64; 3] = [3, 2, 1];
/// Rows of the test.
const ROWS: usize = 7;
/// Tests of a model whose graph proves nothing, each with other values.
const ROUNDS: usize = 6;
/// Sizes of numbers, one for each row, where the graph proves nothing.
const SCALES: [f32; ROWS] = [1.0, 1e-6, 1e3, 1e-2, 1e6, 1e-4, 30.0];
/// What replaces the numbers of a row where the graph proves nothing: no numbers, numbers beyond
/// those of integers, and integers that are no place in a vocabulary. None: an ordinary row, which must
/// not change beside them.
const EXTREMES: [[Option<ExtremeValue>; ROWS]; 2] = [
    [
        None,
        Some(Float(f64::NAN)),
        Some(Float(5e9)),
        None,
        Some(Float(f64::INFINITY)),
        Some(Float(-5e9)),
        None,
    ],
    [
        None,
        Some(Integer(-1)),
        Some(Integer(200)),
        None,
        Some(Integer(-40_000)),
        Some(Integer(300_000_001)),
        None,
    ],
];
/// Integers below these are tried, until the model accepts them: up to the largest vocabularies.
const INTEGERS: [u64; 10] = [250_000, 120_000, 50_000, 30_000, 1_000, 100, 10, 3, 2, 1];
/// The most known rows that are tried.
const KNOWN_ROWS_MAX: usize = 32;

/// What is known of the values that a model is asked, beside its signature.
#[derive(Default)]
pub(crate) struct KnownInputs {
    /// Rows that the model answers, such as golden rows: each is one tensor for each input.
    pub rows: Vec<Vec<Tensor>>,
    /// For each input, what is known of each element of a row; empty if nothing is.
    pub values: Vec<Vec<Option<KnownValues>>>,
}

impl KnownInputs {
    fn of(&self, input: usize) -> &[Option<KnownValues>] {
        self.values.get(input).map_or(&[], Vec::as_slice)
    }
}

/// Generated inputs of a model, row by row.
pub(crate) struct SampleInputs {
    signature: Signature,
    size: usize,
    integers: u64,
    /// The shapes of the answer to one row, where it was found.
    answered: Vec<Vec<usize>>,
}

impl SampleInputs {
    /// Finds a size of the dynamic axes and of integers that the model accepts.
    pub(crate) fn find(signature: &Signature, session: &mut dyn Session) -> Result<Self> {
        let mut refused = None;
        let integers = match signature.inputs.iter().any(|spec| spec.dtype.is_integer()) {
            true => &SMALL_INTEGERS[..],
            false => &SMALL_INTEGERS[..1],
        };
        for integers in integers {
            let mut last = None;
            for size in SIZES {
                let mut sample = Self::of_size(signature, size, Some(*integers));
                let ran = sample.run(session, 1);
                if let Ok(outputs) = &ran {
                    sample.answered = shapes(outputs);
                }
                match ran.and_then(|_| sample.run_largest(session)) {
                    Ok(()) => return Ok(sample),
                    Err(error) => last = Some(error),
                }
            }
            // The first integers are the usual ones.
            refused = refused.or(last);
        }

        Err(refused.unwrap_or_else(|| Error::precondition("the model has no input")))
    }

    /// Takes the sizes that [`SampleInputs::find`] found.
    pub(crate) fn of_size(signature: &Signature, size: usize, integers: Option<u64>) -> Self {
        Self {
            signature: signature.clone(),
            size,
            integers: integers.unwrap_or(SMALL_INTEGERS[0]),
            answered: Vec::new(),
        }
    }

    /// Returns the shapes of answers; makes a run of two rows where they are doubtful.
    pub(crate) fn answered(&self, session: &mut dyn Session) -> AnsweredShapes {
        let two = self.signature.is_doubtful(&self.answered);
        let two = two.then(|| self.run(session, 2).ok()).flatten();
        AnsweredShapes {
            one: self.answered.clone(),
            two: two.map(|outputs| shapes(&outputs)),
        }
    }

    /// Runs one row of the largest integers that are generated. Others of its rows may have been accepted by luck.
    fn run_largest(&self, session: &mut dyn Session) -> Result<()> {
        if !self
            .signature
            .inputs
            .iter()
            .any(|spec| spec.dtype.is_integer())
        {
            return Ok(());
        }
        let largest = i64::try_from(self.integers.saturating_sub(1)).unwrap_or(i64::MAX);
        let inputs = filled(self.generate(1)?, ExtremeValue::Integer(largest))?;
        run(session, &inputs).map(drop)
    }

    /// Integers are below it.
    pub(crate) fn integers(&self) -> u64 {
        self.integers
    }

    /// Values that the model accepts.
    fn small(&self, seed: u64) -> ValueRange<'static> {
        ValueRange {
            integers: self.integers,
            ..ValueRange::small(seed)
        }
    }

    /// The size of dynamic axes but the first.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Runs once on `rows` generated rows.
    pub(crate) fn run(&self, session: &mut dyn Session, rows: usize) -> Result<Vec<Tensor>> {
        run(session, &self.generate(rows)?)
    }

    /// Generates `rows` rows.
    pub(crate) fn generate(&self, rows: usize) -> Result<Vec<Tensor>> {
        self.inputs(rows, self.small(1))
    }

    /// Times one run on `rows` generated rows, without generating them.
    pub(crate) fn time(&self, session: &mut dyn Session, rows: usize) -> Result<Duration> {
        let inputs = self.generate(rows)?;
        let start = Instant::now();
        run(session, &inputs)?;
        Ok(start.elapsed())
    }

    /// Creates golden rows from the answers of the model; `None` if a second run gives
    /// other answers, or if they are too large.
    pub(crate) fn golden(&self, session: &mut dyn Session, rows: usize) -> Result<Option<Golden>> {
        let inputs = self.generate(rows)?;
        let (once, again) = (run(session, &inputs)?, run(session, &inputs)?);
        let same = once.len() == again.len() && once.iter().zip(&again).all(|(a, b)| agree(a, b));
        Ok(if same {
            Golden::made(&self.signature, inputs, once)
        } else {
            None
        })
    }

    fn inputs(&self, rows: usize, values: ValueRange<'_>) -> Result<Vec<Tensor>> {
        self.inputs_like(rows, values, &KnownInputs::default())
    }

    /// … with the values that are known.
    fn inputs_like(
        &self,
        rows: usize,
        values: ValueRange<'_>,
        known: &KnownInputs,
    ) -> Result<Vec<Tensor>> {
        let made = self.signature.inputs.iter().enumerate();
        made.map(|(i, spec)| {
            let values = ValueRange {
                seed: values.seed.wrapping_mul(31).wrapping_add(i as u64),
                known: known.of(i),
                ..values
            };
            sample_tensor(spec, rows, self.size, values)
        })
        .collect()
    }
}

fn shapes(tensors: &[Tensor]) -> Vec<Vec<usize>> {
    tensors.iter().map(|t| t.shape().to_vec()).collect()
}

fn run(session: &mut dyn Session, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
    let views: Vec<View<'_>> = inputs.iter().map(Tensor::view).collect();
    session.run(&views)
}

/// What a model is checked with.
pub(crate) struct BatchSubject<'b> {
    pub signature: &'b Signature,
    /// What the graph proves.
    pub verdict: &'b RowVerdict,
    pub sample: &'b SampleInputs,
    pub known: &'b KnownInputs,
}

/// Decides whether requests may be merged into one run; the error says why not.
pub(crate) fn check(subject: &BatchSubject<'_>, session: &mut dyn Session) -> Result<()> {
    if let Some(reason) = subject.signature.why_unsplit() {
        return Err(Error::invalid(reason));
    }

    match subject.verdict {
        RowVerdict::Dependent(finding) => Err(Error::invalid(format!(
            "the rows of a batch influence each other: {finding}"
        ))),
        RowVerdict::Independent => Ok(()),
        RowVerdict::Unknown(finding) => subject.check_values(session).map_err(|error| {
            Error::invalid(format!(
                "{}; the graph proves nothing: {finding}",
                error.message
            ))
        }),
    }
}

impl BatchSubject<'_> {
    /// Tests rows of small values.
    fn check_small(&self, session: &mut dyn Session) -> Result<()> {
        let rows: Vec<Vec<Tensor>> = (0..ROWS)
            .map(|row| self.sample.inputs(1, self.sample.small(row as u64 + 2)))
            .collect::<Result<_>>()?;
        let alone = self.run_alone(session, &rows)?;
        self.check_together(session, &rows, &alone)
    }

    /// Tests everything that is tried where the graph proves nothing.
    fn check_values(&self, session: &mut dyn Session) -> Result<()> {
        self.check_small(session)?;
        self.check_known_rows(session)?;
        for extremes in EXTREMES {
            self.check_extremes(session, extremes)?;
        }
        (0..ROUNDS).try_for_each(|round| self.check_wide(session, round))
    }

    /// Tests rows that the model is known to answer, those of one shape together.
    fn check_known_rows(&self, session: &mut dyn Session) -> Result<()> {
        let mut rest: Vec<&Vec<Tensor>> = self.known.rows.iter().take(KNOWN_ROWS_MAX).collect();
        while let Some(first) = rest.first() {
            let shape = shapes(first);
            let (alike, others): (Vec<_>, Vec<_>) =
                rest.iter().partition(|row| shapes(row) == shape);
            let rows: Vec<Vec<Tensor>> = alike.into_iter().cloned().collect();
            let alone = self.run_alone(session, &rows)?;
            self.check_together(session, &rows, &alone)?;
            rest = others;
        }

        Ok(())
    }

    /// Tests rows of very different values, as large as the model accepts. Every second round takes
    /// the values that are known.
    fn check_wide(&self, session: &mut dyn Session, round: usize) -> Result<()> {
        let nothing = KnownInputs::default();
        let known = if round % 2 == 1 { self.known } else { &nothing };
        let mut refused = Error::invalid("no integers were tried");
        for integers in INTEGERS {
            let values = |row: usize| ValueRange {
                seed: (100 + round * ROWS + row) as u64,
                scale: SCALES[(row + round) % ROWS],
                integers,
                is_ragged: round < ROUNDS / 2,
                known: &[],
            };
            let rows: Vec<Vec<Tensor>> = (0..ROWS)
                .map(|row| self.sample.inputs_like(1, values(row), known))
                .collect::<Result<_>>()?;
            match self.run_alone(session, &rows) {
                Ok(alone) => {
                    return self.check_together(session, &rows, &alone);
                }
                Err(error) => refused = error,
            }
        }

        Err(refused.context("the model refuses generated inputs"))
    }

    /// Tests ordinary rows beside extreme values, which a model may refuse.
    fn check_extremes(
        &self,
        session: &mut dyn Session,
        extremes: [Option<ExtremeValue>; ROWS],
    ) -> Result<()> {
        let mut rows = Vec::with_capacity(ROWS);
        for (seed, extreme) in (2..).zip(extremes) {
            let ordinary = self.sample.inputs(1, self.sample.small(seed))?;
            rows.push(match extreme {
                Some(number) => filled(ordinary, number)?,
                None => ordinary,
            });
        }
        let Ok(mut alone) = self.run_alone(session, &rows) else {
            return Ok(());
        };
        for (outputs, extreme) in alone.iter_mut().zip(extremes) {
            // What a model makes of them may depend on their place.
            if extreme.is_some_and(ExtremeValue::is_no_number) {
                outputs.clear();
            }
        }
        self.check_together(session, &rows, &alone)
    }

    /// Compares batches of rows, forwards and backwards, with the rows alone. A row without an
    /// answer alone is not compared.
    fn check_together(
        &self,
        session: &mut dyn Session,
        rows: &[Vec<Tensor>],
        alone: &[Vec<Tensor>],
    ) -> Result<()> {
        let forward: Vec<usize> = (0..rows.len()).collect();
        let backward: Vec<usize> = (1..rows.len()).rev().collect();
        for order in [forward, backward] {
            if order.is_empty() {
                continue;
            }
            let outputs = run_together(session, rows, &order)?;
            self.compare(&outputs, &order, alone)?;
        }

        Ok(())
    }

    /// Runs each row in a batch of its own.
    fn run_alone(
        &self,
        session: &mut dyn Session,
        rows: &[Vec<Tensor>],
    ) -> Result<Vec<Vec<Tensor>>> {
        let mut alone = Vec::with_capacity(rows.len());
        for row in rows {
            let outputs = run(session, row)?;
            for (output, spec) in outputs.iter().zip(&self.signature.outputs) {
                if output.rows() != Some(1) {
                    return Err(not_by_row(spec));
                }
            }
            alone.push(outputs);
        }

        Ok(alone)
    }

    /// Compares the answers of a batch with the answers of its rows alone.
    fn compare(&self, outputs: &[Tensor], order: &[usize], alone: &[Vec<Tensor>]) -> Result<()> {
        for (at, (output, spec)) in outputs.iter().zip(&self.signature.outputs).enumerate() {
            let parts = split(output, &vec![1; order.len()]).map_err(|_| not_by_row(spec))?;
            let columns = columns(alone.iter().filter_map(|outputs| outputs.get(at)));
            // At the scale of the row, and of each place in it.
            let agrees = |part: &Tensor, alone: &Tensor| {
                agree_at_scale(part, alone) && agree_in_columns(part, alone, &columns)
            };
            for (part, row) in parts.iter().zip(order) {
                let alone = alone[*row].get(at);
                if alone.is_some_and(|alone| !agrees(part, alone)) {
                    return Err(Error::invalid(format!(
                        "output '{}' of a row depends on the other rows of the batch",
                        spec.name
                    )));
                }
            }
        }

        Ok(())
    }
}

/// The largest finite number at each place of the rows of an output.
fn columns<'t>(rows: impl Iterator<Item = &'t Tensor>) -> Vec<f64> {
    let mut columns: Vec<f64> = Vec::new();
    for row in rows {
        let numbers = row.floats().unwrap_or_default();
        columns.resize(columns.len().max(numbers.len()), 0.0);
        for (column, number) in columns.iter_mut().zip(numbers) {
            if number.is_finite() {
                *column = column.max(number.abs());
            }
        }
    }
    columns
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
