//! Finds the sizes of batches in which a row gets the same answer, bit for bit, whatever the size and the
//! other rows. ONNX Runtime chooses other kernels for other sizes, which round differently: a mean
//! over the middle axis, for instance, differs between one row and several.
//!
//! Only sizes that were tested are used: other batches are filled up to the next one.

use super::{SCALES, SampleInputs, ValueRange, run_together};
use crate::core::error::{Error, Result};
use crate::core::tensor::Tensor;
use crate::core::tensor::batch::split;
use crate::onnx::runtime::Session;
use std::time::{Duration, Instant};

/// Different rows of the test.
const ROWS: usize = 8;
/// The fewest rows of a batch that are tried.
const LEAST: [usize; 4] = [1, 2, 4, 8];
/// Sizes that are tested in each octave beyond these.
const STEPS: usize = 4;

/// Sizes of batches in which each row gets the same answer, bit for bit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvariantSizes {
    /// Ascending, at least one.
    sizes: Vec<usize>,
}

impl InvariantSizes {
    /// Makes them of ascending sizes.
    #[cfg(test)]
    pub(crate) fn of(sizes: &[usize]) -> Self {
        Self {
            sizes: sizes.to_vec(),
        }
    }

    /// The sizes, ascending.
    pub(crate) fn all(&self) -> &[usize] {
        &self.sizes
    }

    /// The most rows of a batch.
    pub(crate) fn largest(&self) -> usize {
        self.sizes.last().copied().unwrap_or(1)
    }

    /// The size up to which a batch of so many rows is filled; none if it has more rows than all sizes,
    /// or none.
    pub(crate) fn filled(&self, rows: usize) -> Option<usize> {
        let at = self.sizes.partition_point(|size| *size < rows);
        self.sizes.get(at).copied().filter(|_| rows > 0)
    }
}

/// The outputs of one row, for each output of the model.
type RowOutputs = Vec<Tensor>;

/// Tests sizes up to `rows_max`, ascending, as far as the time allows. Errors: the model refuses
/// generated inputs, or its outputs cannot be split by row.
pub(crate) fn invariant_sizes(
    sample: &SampleInputs,
    session: &mut dyn Session,
    rows_max: usize,
    budget: Duration,
) -> Result<InvariantSizes> {
    let until = Instant::now() + budget;
    let rows = test_rows(sample)?;
    let mut choices = Vec::new();
    for least in LEAST.into_iter().filter(|least| *least <= rows_max) {
        choices.push(SizeChoice::start(session, &rows, least)?);
    }

    for size in tested_sizes(rows_max) {
        let start = Instant::now();
        for order in [forward(size), backward(size)] {
            let answers = answers(session, &rows, &order)?;
            for choice in &mut choices {
                choice.compare(size, &order, &answers);
            }
        }
        // The next size takes at most twice as long.
        let end = Instant::now();
        if end + 2 * (end - start) > until {
            break;
        }
    }

    let sizes = choices.into_iter().map(SizeChoice::into_sizes);
    // The first of equal length fills least.
    let best = sizes.rev().max_by_key(Vec::len);
    let best = best.filter(|sizes| !sizes.is_empty());
    let sizes = best.ok_or_else(|| Error::invalid("the same run gives other bits each time"))?;
    Ok(InvariantSizes { sizes })
}

/// Batches of at least so many rows, compared with the answers in a batch of just so many.
struct SizeChoice {
    least: usize,
    answers: Vec<RowOutputs>,
    /// Sizes so far, and whether all answers agreed.
    sizes: Vec<(usize, bool)>,
}

impl SizeChoice {
    fn start(session: &mut dyn Session, rows: &[Vec<Tensor>], least: usize) -> Result<Self> {
        let mut kept = Vec::with_capacity(ROWS);
        for first in (0..ROWS).step_by(least) {
            let order: Vec<usize> = (first..first + least).collect();
            kept.extend(answers(session, rows, &order)?);
        }
        Ok(Self {
            least,
            answers: kept,
            sizes: Vec::new(),
        })
    }

    fn compare(&mut self, size: usize, order: &[usize], answers: &[RowOutputs]) {
        if size < self.least {
            return;
        }
        let pairs = order.iter().zip(answers);
        let mut pairs = pairs.map(|(row, answer)| (&self.answers[*row], answer));
        // Tensors are equal where their bytes are.
        let agrees = pairs.all(|(kept, answer)| kept == answer);
        match self.sizes.last_mut().filter(|(last, _)| *last == size) {
            Some((_, agreed)) => *agreed &= agrees,
            None => self.sizes.push((size, agrees)),
        }
    }

    fn into_sizes(self) -> Vec<usize> {
        let agreed = self.sizes.into_iter().filter(|(_, agreed)| *agreed);
        agreed.map(|(size, _)| size).collect()
    }
}

/// Rows of different values, each as a batch of one.
fn test_rows(sample: &SampleInputs) -> Result<Vec<Vec<Tensor>>> {
    let row = |at: usize| {
        let values = ValueRange {
            scale: SCALES[at % SCALES.len()],
            ..sample.small(at as u64 + 50)
        };
        sample.inputs(1, values)
    };
    (0..ROWS).map(row).collect()
}

/// All sizes up to eight, then four in each octave, and the largest.
fn tested_sizes(rows_max: usize) -> Vec<usize> {
    let mut sizes: Vec<usize> = (1..=2 * STEPS).collect();
    let mut octave = 2 * STEPS;
    while octave < rows_max {
        sizes.extend((1..=STEPS).map(|step| octave + step * octave / STEPS));
        octave *= 2;
    }
    sizes.retain(|size| *size < rows_max);
    sizes.push(rows_max);
    sizes
}

/// Which row is at each place of a batch.
fn forward(size: usize) -> Vec<usize> {
    (0..size).map(|place| (place * 3 + size) % ROWS).collect()
}

fn backward(size: usize) -> Vec<usize> {
    (0..size).rev().map(|place| place % ROWS).collect()
}

/// Runs rows in one batch, and cuts the outputs into those of each row.
fn answers(
    session: &mut dyn Session,
    rows: &[Vec<Tensor>],
    order: &[usize],
) -> Result<Vec<RowOutputs>> {
    let mut answers = vec![Vec::new(); order.len()];
    for output in run_together(session, rows, order)? {
        let parts = split(&output, &vec![1; order.len()])?;
        for (answer, part) in answers.iter_mut().zip(parts) {
            answer.push(part);
        }
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::graph::Graph;
    use crate::onnx::runtime::SessionSource;
    use crate::onnx::runtime::onnx::tests::open;
    use crate::testing::graphs::{self, perceptron};
    use crate::testing::ragged::{MaskUse, transformer};

    fn found(source: &SessionSource, rows_max: usize, budget: Duration) -> InvariantSizes {
        let graph = Graph::read(source.bytes.clone()).expect("a graph");
        let mut session = open(source);
        let sample = SampleInputs::find(&graph.signature, session.as_mut()).expect("runs");
        invariant_sizes(&sample, session.as_mut(), rows_max, budget).expect("sizes")
    }

    fn source(bytes: Vec<u8>) -> SessionSource {
        SessionSource {
            bytes: bytes.into(),
            external_dir: None,
        }
    }

    fn layers() -> SessionSource {
        source(perceptron(&[16, 64, 64, 1]))
    }

    fn pooled() -> SessionSource {
        source(graphs::pooled(32, 16))
    }

    const ENOUGH: Duration = Duration::from_secs(60);

    #[test]
    fn a_model_that_rounds_one_row_otherwise_gets_batches_of_two_or_more() {
        let expected = [2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24];
        assert_eq!(found(&pooled(), 24, ENOUGH).all(), expected);
        assert_eq!(found(&pooled(), 1, ENOUGH).all(), [1]);
    }

    #[test]
    fn a_perceptron_rounds_each_size_alike() {
        let sizes = found(&layers(), 100, ENOUGH);
        let expected = [
            1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 100,
        ];
        assert_eq!(sizes.all(), expected);
        assert_eq!(sizes.largest(), 100);
        let filled = [0, 1, 9, 64, 65, 97, 100, 101].map(|rows| sizes.filled(rows).unwrap_or(0));
        assert_eq!(filled, [0, 1, 10, 64, 80, 100, 100, 0]);
    }

    #[test]
    fn rows_are_generated_for_a_model_whose_integers_must_be_small() {
        let source = source(transformer(MaskUse::Heeded, &["pooled"]));
        assert!(found(&source, 4, ENOUGH).largest() > 1);
    }

    #[test]
    fn what_there_is_no_time_for_is_not_used() {
        assert_eq!(found(&layers(), 64, Duration::ZERO).all(), [1]);
    }
}
