//! The contract of a model: value ranges of its inputs and outputs. Counts NaN, infinite, too small,
//! too large, unseen and empty values on every row, on the thread that serves the request. Each
//! thread has counters of its own, so that none waits for another.

#[cfg(test)]
mod tests;

use super::baseline::{Baseline, BaselineColumn, ValueDistribution};
use super::cells::KnownWords;
use super::layout::{ColumnPlace, RowPart, Side};
use crate::core::model::Signature;
use crate::core::tensor::{DType, Data, Tensor};
use half::{bf16, f16};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Values of one column that are compared with its range at once.
const BLOCK: usize = 512;

/// Values of a column that violate the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Breaches {
    /// NaN.
    pub nan: u64,
    /// Infinite.
    pub infinite: u64,
    /// Below the range of the baseline.
    pub below: u64,
    /// Above the range of the baseline.
    pub above: u64,
    /// Categories that the baseline does not have.
    pub unseen: u64,
    /// Empty strings.
    pub empty: u64,
}

impl Breaches {
    /// Returns the counts with their names in reports and metrics.
    pub(crate) fn counts(&self) -> [(&'static str, u64); 6] {
        [
            ("nan", self.nan),
            ("infinite", self.infinite),
            ("below", self.below),
            ("above", self.above),
            ("unseen", self.unseen),
            ("empty", self.empty),
        ]
    }

    fn add(&mut self, other: Self) {
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.below += other.below;
        self.above += other.above;
        self.unseen += other.unseen;
        self.empty += other.empty;
    }
}

/// The contract of one version.
pub(crate) struct Contracts {
    parts: Vec<Mutex<BreachCounts>>,
    /// The columns of each tensor: one for each element of a row, or one for a wide tensor.
    names: Vec<(Side, Vec<String>)>,
}

/// The counts of one thread.
#[derive(Clone)]
struct BreachCounts {
    rows: u64,
    tensors: Vec<HeldContract>,
}

/// The contract of a tensor.
#[derive(Clone)]
struct HeldContract {
    side: Side,
    tensor: usize,
    kind: ContractCounts,
}

#[derive(Clone)]
enum ContractCounts {
    Numbers(Box<NumberCounts>),
    Words(Vec<(Option<KnownWords>, Breaches)>),
}

impl Contracts {
    /// Starts at zero, with counters for `parts` threads.
    pub(crate) fn new(
        signature: &Signature,
        places: &[ColumnPlace],
        baseline: Option<&Baseline>,
        parts: usize,
    ) -> Self {
        let (mut names, mut tensors) = (Vec::new(), Vec::new());
        for (side, specs) in [
            (Side::Input, &signature.inputs),
            (Side::Output, &signature.outputs),
        ] {
            for (tensor, spec) in specs.iter().enumerate() {
                let single = single_columns(places, side, tensor);
                let of: Vec<String> = match single.as_slice() {
                    [] => vec![spec.name.clone()],
                    single => single.iter().map(|p| p.name.clone()).collect(),
                };
                let kind = match spec.dtype {
                    DType::String => {
                        ContractCounts::Words(vec![(None, Breaches::default()); of.len()])
                    }
                    _ => ContractCounts::Numbers(Box::new(NumberCounts::new(of.len()))),
                };
                names.push((side, of));
                tensors.push(HeldContract { side, tensor, kind });
            }
        }

        let counts = BreachCounts { rows: 0, tensors };
        let contracts = Self {
            parts: (0..parts.max(1))
                .map(|_| Mutex::new(counts.clone()))
                .collect(),
            names,
        };

        baseline
            .into_iter()
            .for_each(|baseline| contracts.begin(places, baseline));
        contracts
    }

    /// Starts to check rows against a baseline.
    pub(crate) fn begin(&self, places: &[ColumnPlace], baseline: &Baseline) {
        for part in &self.parts {
            for held in &mut part.lock().tensors {
                let single = single_columns(places, held.side, held.tensor);
                let columns = if held.side == Side::Input {
                    &baseline.inputs
                } else {
                    &baseline.outputs
                };
                let of = |place: &&ColumnPlace| columns.iter().find(|c| c.name == place.name);
                match &mut held.kind {
                    ContractCounts::Numbers(numbers) => {
                        for (i, place) in single.iter().enumerate() {
                            let range = of(place).and_then(|column| range(column, place.dtype));
                            numbers.bound(i, range);
                        }
                    }
                    ContractCounts::Words(words) => {
                        for (place, (known, _)) in single.iter().zip(words) {
                            *known = of(place).and_then(BaselineColumn::words);
                        }
                    }
                }
            }
        }
    }

    /// Counts the violations in the inputs or outputs of a request, in the order of the signature.
    pub(crate) fn count(&self, side: Side, tensors: &[Tensor]) {
        let mut part = self.parts[thread_index() % self.parts.len()].lock();
        if side == Side::Input {
            part.rows += tensors.first().and_then(Tensor::rows).unwrap_or(1) as u64;
        }
        for held in part.tensors.iter_mut().filter(|h| h.side == side) {
            let Some(tensor) = tensors.get(held.tensor) else {
                continue;
            };
            match &mut held.kind {
                ContractCounts::Numbers(numbers) => numbers.count(tensor),
                ContractCounts::Words(words) => count_words(words, tensor),
            }
        }
    }

    /// Returns the rows so far, and the violations of each column.
    pub(crate) fn totals(&self) -> (u64, BTreeMap<(Side, String), Breaches>) {
        let mut all: BTreeMap<(Side, String), Breaches> = BTreeMap::new();
        let mut rows = 0;
        for part in &self.parts {
            let part = part.lock();
            rows += part.rows;
            for (held, (side, names)) in part.tensors.iter().zip(&self.names) {
                for (i, name) in names.iter().enumerate() {
                    let counted = match &held.kind {
                        ContractCounts::Numbers(numbers) => numbers.of(i),
                        ContractCounts::Words(words) => {
                            words.get(i).map_or_else(Breaches::default, |(_, b)| *b)
                        }
                    };
                    all.entry((*side, name.clone())).or_default().add(counted);
                }
            }
        }

        (rows, all)
    }
}

/// Returns the number of this thread.
fn thread_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: Cell<usize> = const { Cell::new(usize::MAX) });
    OWN.with(|own| {
        if own.get() == usize::MAX {
            own.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        own.get()
    })
}

fn single_columns(places: &[ColumnPlace], side: Side, tensor: usize) -> Vec<&ColumnPlace> {
    let of = places
        .iter()
        .filter(|p| p.side == side && p.tensor == tensor);
    of.filter(|p| matches!(p.part, RowPart::Element(_)))
        .collect()
}

/// Returns the least and the greatest number of a baseline.
fn range(column: &BaselineColumn, dtype: DType) -> Option<(f64, f64)> {
    let ValueDistribution::Numbers(numbers) = &column.values else {
        return None;
    };
    // The first edge is the next number below the least.
    let single = matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
    let first = *numbers.edges.first()?;
    let least = if single {
        f64::from((first as f32).next_up())
    } else {
        first.next_up()
    };

    Some((least, *numbers.edges.last()?))
}

fn count_words(words: &mut [(Option<KnownWords>, Breaches)], tensor: &Tensor) {
    let Data::Strings(strings) = tensor.data() else {
        return;
    };
    let width = words.len();
    for (at, word) in strings.words().enumerate() {
        let (known, breaches) = &mut words[at % width];
        if word.is_empty() {
            breaches.empty += 1;
        } else if known
            .as_ref()
            .is_some_and(|known| known.cell(word) == known.unseen())
        {
            breaches.unseen += 1;
        }
    }
}

/// Counts of a numeric tensor, for each element of a row.
#[derive(Clone)]
struct NumberCounts {
    /// The range of the baseline; without one, all finite numbers.
    least: Vec<f32>,
    greatest: Vec<f32>,
    /// Whether there is a range of the baseline.
    bounded: Vec<bool>,
    breaches: Vec<Breaches>,
}

impl NumberCounts {
    fn new(width: usize) -> Self {
        Self {
            least: vec![f32::MIN; width],
            greatest: vec![f32::MAX; width],
            bounded: vec![false; width],
            breaches: vec![Breaches::default(); width],
        }
    }

    fn bound(&mut self, at: usize, range: Option<(f64, f64)>) {
        let (least, greatest) = range.map_or((f32::MIN, f32::MAX), |(a, b)| (a as f32, b as f32));
        (self.least[at], self.greatest[at], self.bounded[at]) = (least, greatest, range.is_some());
    }

    fn of(&self, at: usize) -> Breaches {
        self.breaches[at]
    }

    /// Counts a tensor. Skips one whose rows have another number of elements.
    fn count(&mut self, tensor: &Tensor) {
        let Data::Fixed(bytes) = tensor.data() else {
            return;
        };
        match tensor.dtype() {
            DType::F32 => self.floats(bytes.as_chunks().0, f32::from_le_bytes),
            DType::F64 => self.floats(bytes.as_chunks().0, |b| f64::from_le_bytes(b) as f32),
            DType::F16 => self.floats(bytes.as_chunks().0, |b| f16::from_le_bytes(b).to_f32()),
            DType::BF16 => self.floats(bytes.as_chunks().0, |b| bf16::from_le_bytes(b).to_f32()),
            DType::I64 => self.floats(bytes.as_chunks().0, |b| i64::from_le_bytes(b) as f32),
            DType::I32 => self.floats(bytes.as_chunks().0, |b| i32::from_le_bytes(b) as f32),
            _ => {}
        }
    }

    fn floats<const N: usize>(&mut self, values: &[[u8; N]], read: impl Fn([u8; N]) -> f32) {
        let width = self.breaches.len();
        if width == 0 || !values.len().is_multiple_of(width) {
            return;
        }
        if width == 1 {
            return self.column(values, &read);
        }
        for row in values.chunks_exact(width) {
            // Most rows hold the contract: one pass over all values finds that out, because NaN and
            // infinities fail the comparison, and writes nothing.
            let ends = self.least.iter().zip(&self.greatest);
            let within = |(value, (least, greatest)): (&[u8; N], (&f32, &f32))| {
                let v = read(*value);
                u32::from(v >= *least) & u32::from(v <= *greatest)
            };
            let holding: u32 = row.iter().zip(ends).map(within).sum();
            if holding as usize != width {
                self.count_row(row, &read);
            }
        }
    }

    /// Counts the only column, which has every element of a wide tensor: as above, for many values at once.
    fn column<const N: usize>(&mut self, values: &[[u8; N]], read: &impl Fn([u8; N]) -> f32) {
        let (least, greatest) = (self.least[0], self.greatest[0]);
        for block in values.chunks(BLOCK) {
            let within = |value: &[u8; N]| {
                let v = read(*value);
                u32::from(v >= least) & u32::from(v <= greatest)
            };
            let holding: u32 = block.iter().map(within).sum();
            if holding as usize != block.len() {
                block
                    .chunks_exact(1)
                    .for_each(|row| self.count_row(row, read));
            }
        }
    }

    /// Counts the violations of a row.
    fn count_row<const N: usize>(&mut self, row: &[[u8; N]], read: &impl Fn([u8; N]) -> f32) {
        for (i, (value, breaches)) in row.iter().zip(&mut self.breaches).enumerate() {
            let v = read(*value);
            breaches.nan += u64::from(v.is_nan());
            breaches.infinite += u64::from(v.is_infinite());
            if self.bounded[i] {
                breaches.below += u64::from(v < self.least[i]);
                breaches.above += u64::from(v > self.greatest[i]);
            }
        }
    }
}
