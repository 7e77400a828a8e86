//! Cells of a histogram, fixed by the baseline. Numbers fall between edges; a value that many rows
//! share has a cell of its own. Texts fall into the known ones or into "unseen". Pure.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

/// Cells of a numeric column, without those for single frequent values.
pub(crate) const CELLS: usize = 16;
/// Categories with a cell of their own; the others of the baseline share one cell.
pub(crate) const WORDS_MAX: usize = 64;

/// The edges of a numeric column, increasing. Cell `i` is `(edge i−1, edge i]`; the first cell lies
/// below the range of the baseline, the last above it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Edges(Vec<f64>);

impl Edges {
    /// Accepts edges that are finite and increase. No edges make one cell.
    pub(crate) fn new(edges: Vec<f64>) -> Option<Self> {
        let increase = edges.windows(2).all(|pair| pair[0] < pair[1]);
        (increase && edges.iter().all(|e| e.is_finite())).then_some(Self(edges))
    }

    /// Divides sorted, finite values into cells with equal numbers of rows. A value with more rows
    /// than a cell gets a cell of its own, whose lower edge is the next smaller number (`below`).
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

    /// Returns the edges.
    pub(crate) fn all(&self) -> &[f64] {
        &self.0
    }

    /// Returns how many cells there are.
    pub(crate) fn cells(&self) -> usize {
        self.0.len() + 1
    }

    /// Returns the cell of a value that is not NaN.
    pub(crate) fn cell(&self, value: f64) -> usize {
        self.0.partition_point(|edge| *edge < value)
    }
}

/// Bytes of a category that are compared; longer ones are cut off.
pub(crate) const WORD_BYTES: usize = 256;

/// Cuts a category off at [`WORD_BYTES`].
pub(crate) fn cut(word: &str) -> &str {
    if word.len() <= WORD_BYTES {
        word
    } else {
        &word[..word.floor_char_boundary(WORD_BYTES)]
    }
}

/// The categories of a column. Each of the first `counted` has a cell; then come one cell for the
/// others of the baseline and one for unseen categories.
#[derive(Clone, Debug)]
pub(crate) struct KnownWords {
    counted: usize,
    /// The cell of every listed category.
    known: Arc<HashMap<Box<str>, usize>>,
    /// Whether the baseline has categories that are not listed.
    open: bool,
}

impl KnownWords {
    /// Lists the categories with a cell, the others, and whether there are more.
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

    /// Returns how many cells there are.
    pub(crate) fn cells(&self) -> usize {
        self.counted + 2
    }

    /// Returns the cell of a category.
    pub(crate) fn cell(&self, word: &str) -> usize {
        let word = cut(word);
        let unlisted = if self.open {
            self.counted
        } else {
            self.unseen()
        };

        self.known.get(word).copied().unwrap_or(unlisted)
    }

    /// Returns the cell of unseen categories.
    pub(crate) fn unseen(&self) -> usize {
        self.counted + 1
    }
}
