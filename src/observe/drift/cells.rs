//! Cells of a histogram, fixed by the baseline. Numbers fall between edges; a value that many rows
//! share has a cell of its own. Texts fall into the known ones or into "unseen". Pure.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

/// Cells that a column of numbers is cut into, atoms apart.
pub(crate) const CELLS: usize = 16;
/// Words counted one by one; the others of the baseline count together.
pub(crate) const WORDS_MAX: usize = 64;

/// The edges of a column of numbers, increasing. Cell `i` is `(edge i−1, edge i]`;
/// the first is what lies below the baseline, the last what lies above it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Edges(Vec<f64>);

impl Edges {
    /// Takes edges that are finite and increase; none at all is one cell.
    pub(crate) fn new(edges: Vec<f64>) -> Option<Self> {
        let increase = edges.windows(2).all(|pair| pair[0] < pair[1]);
        (increase && edges.iter().all(|e| e.is_finite())).then_some(Self(edges))
    }

    /// Cuts sorted, finite values into cells of the same mass. A value with more
    /// than a cell's mass becomes a cell of its own, its lower edge the next
    /// number below it in the precision `below` knows.
    pub(crate) fn cut(sorted: &[f64], below: fn(f64) -> f64) -> Self {
        let (Some(least), Some(greatest)) = (sorted.first(), sorted.last()) else {
            return Self(Vec::new());
        };
        let mut edges = vec![below(*least), *greatest];
        let mass = (sorted.len() / CELLS).max(1);
        for cut in 1..CELLS {
            edges.push(sorted[(cut * sorted.len() / CELLS).min(sorted.len() - 1)]);
        }
        for run in sorted
            .chunk_by(|a, b| a == b)
            .filter(|run| run.len() >= mass)
        {
            edges.extend([below(run[0]), run[0]]);
        }

        edges.retain(|e| e.is_finite());
        edges.sort_unstable_by(f64::total_cmp);
        edges.dedup_by(|a, b| a == b);
        Self(edges)
    }

    /// The edges.
    pub(crate) fn all(&self) -> &[f64] {
        &self.0
    }

    /// How many cells there are.
    pub(crate) fn cells(&self) -> usize {
        self.0.len() + 1
    }

    /// The cell of a value that is not NaN.
    pub(crate) fn cell(&self, value: f64) -> usize {
        self.0.partition_point(|edge| *edge < value)
    }
}

/// Bytes of a word that are looked at: what is longer goes by its beginning.
pub(crate) const WORD_BYTES: usize = 256;

/// The part of a word that is looked at.
pub(crate) fn cut(word: &str) -> &str {
    if word.len() <= WORD_BYTES {
        word
    } else {
        &word[..word.floor_char_boundary(WORD_BYTES)]
    }
}

/// The words a column knows: each of the first so many has a cell, then come
/// the others of the baseline, and last what it never saw.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    counted: usize,
    /// Every word of the baseline; `None` where it had too many to list.
    known: Arc<HashMap<Box<str>, usize>>,
    /// Whether words beyond those listed were seen in the baseline.
    open: bool,
}

impl Words {
    /// Takes the counted words, the others, and whether there were still more.
    pub(crate) fn new<'w>(counted: &'w [String], others: &'w [String], open: bool) -> Self {
        let cell = counted.iter().enumerate();
        let known = cell.map(|(i, word)| (word.as_str().into(), i));
        let known = known.chain(
            others
                .iter()
                .map(|word| (word.as_str().into(), counted.len())),
        );

        Self {
            counted: counted.len(),
            known: Arc::new(known.collect()),
            open,
        }
    }

    /// How many cells there are.
    pub(crate) fn cells(&self) -> usize {
        self.counted + 2
    }

    /// The cell of a word.
    pub(crate) fn cell(&self, word: &str) -> usize {
        let word = cut(word);
        let unlisted = if self.open {
            self.counted
        } else {
            self.unseen()
        };

        self.known.get(word).copied().unwrap_or(unlisted)
    }

    /// The cell of words that the baseline never saw.
    pub(crate) fn unseen(&self) -> usize {
        self.counted + 1
    }
}
