//! The contract of a model: value ranges and codes of its inputs and outputs. Counts NaN, infinite,
//! too small, too large, unseen and empty values on every row, on the thread that serves the request.
//! Each thread has counters of its own, so that none waits for another.

mod limits;
mod numbers;
#[cfg(test)]
mod tests;

use super::baseline::{Baseline, BaselineColumn};
use super::cells::KnownWords;
use super::layout::{ColumnPlace, RowPart, Side};
use crate::core::model::Signature;
use crate::core::tensor::{DType, Data, Tensor};
pub(crate) use limits::Widened;
use limits::limits;
use numbers::NumberCounts;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

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

    /// Returns the values that are missing: NaN and empty strings.
    pub(crate) fn missing(&self) -> u64 {
        self.nan + self.empty
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.nan += other.nan;
        self.infinite += other.infinite;
        self.below += other.below;
        self.above += other.above;
        self.unseen += other.unseen;
        self.empty += other.empty;
    }
}

/// A way to violate the contract that has alarms of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreachKind {
    /// NaN or an empty string.
    Missing,
    /// Infinite.
    Infinite,
    /// Below the range of the baseline.
    Below,
    /// Above the range of the baseline.
    Above,
    /// A category or code that the baseline does not have.
    Unseen,
}

impl BreachKind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Missing,
        Self::Infinite,
        Self::Below,
        Self::Above,
        Self::Unseen,
    ];

    /// Returns its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Infinite => "infinite",
            Self::Below => "below",
            Self::Above => "above",
            Self::Unseen => "unseen",
        }
    }

    /// Returns how many values violate the contract in this way.
    pub(crate) fn of(self, breaches: &Breaches) -> u64 {
        match self {
            Self::Missing => breaches.missing(),
            Self::Infinite => breaches.infinite,
            Self::Below => breaches.below,
            Self::Above => breaches.above,
            Self::Unseen => breaches.unseen,
        }
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

impl HeldContract {
    fn of(&self, at: usize) -> Breaches {
        match &self.kind {
            ContractCounts::Numbers(numbers) => numbers.of(at),
            ContractCounts::Words(words) => {
                words.get(at).map_or_else(Breaches::default, |(_, b)| *b)
            }
        }
    }
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
                    _ => {
                        let is_wide = single.is_empty();
                        ContractCounts::Numbers(Box::new(NumberCounts::new(of.len(), is_wide)))
                    }
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
            .for_each(|baseline| contracts.begin(places, baseline, Widened::No));
        contracts
    }

    /// Starts to check rows against a baseline.
    pub(crate) fn begin(&self, places: &[ColumnPlace], baseline: &Baseline, widened: Widened) {
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
                            let limits =
                                of(place).map(|column| limits(column, place.dtype, widened));
                            numbers.bound(i, limits.unwrap_or_default());
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

    /// Returns the columns, in the order of [`Contracts::counts`].
    pub(crate) fn columns(&self) -> Vec<(Side, String)> {
        let of = |(side, names): &(Side, Vec<String>)| {
            let side = *side;
            names.clone().into_iter().map(move |name| (side, name))
        };
        self.names.iter().flat_map(of).collect()
    }

    /// Returns the rows so far, and the violations of each column.
    pub(crate) fn counts(&self) -> (u64, Vec<Breaches>) {
        let mut all: Vec<Breaches> = Vec::new();
        let mut rows = 0;
        for part in &self.parts {
            let part = part.lock();
            rows += part.rows;
            let mut at = 0;
            for (held, (_, names)) in part.tensors.iter().zip(&self.names) {
                all.resize(all.len().max(at + names.len()), Breaches::default());
                for i in 0..names.len() {
                    all[at + i].add(held.of(i));
                }
                at += names.len();
            }
        }
        (rows, all)
    }

    /// Returns the rows so far, and the violations of each column by its name.
    pub(crate) fn totals(&self) -> (u64, BTreeMap<(Side, String), Breaches>) {
        let (rows, counts) = self.counts();
        let mut all: BTreeMap<(Side, String), Breaches> = BTreeMap::new();
        for (column, counted) in self.columns().into_iter().zip(counts) {
            all.entry(column).or_default().add(counted);
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
