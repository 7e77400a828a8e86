//! Cells of a histogram, fixed by the baseline. Numbers fall between edges; a value that many rows
//! share has a cell of its own. Texts fall into the known ones or into "unseen". Pure.

#[cfg(test)]
mod tests;

use super::word_filter::WordFilter;
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
    /// than a cell gets a cell of its own. Edges lie between different values, so that the last
    /// digits of a value do not decide its cell.
    pub(crate) fn cut(sorted: &[f64]) -> Self {
        let (Some(least), Some(greatest)) = (sorted.first(), sorted.last()) else {
            return Self(Vec::new());
        };
        let span = greatest - least;
        let mut edges = vec![
            least - tolerance(*least, span),
            greatest + tolerance(*greatest, span),
        ];

        let mass = (sorted.len() / CELLS).max(1);
        let (mut at, mut frequent) = (0, Vec::new());
        for run in sorted.chunk_by(|a, b| a == b) {
            let (first, last) = (at, at + run.len() - 1);
            at += run.len();
            if run.len() >= mass {
                let value = run[0];
                let near = |gap: Option<f64>| {
                    tolerance(value, span).min(gap.map_or(f64::INFINITY, |gap| gap / 2.0))
                };
                let below = first.checked_sub(1).map(|i| value - sorted[i]);
                let above = sorted.get(last + 1).map(|next| next - value);
                edges.extend([value - near(below), value + near(above)]);
                frequent.push(value);
            }
        }

        edges.extend(edges_of_rest(sorted, &frequent));
        edges.retain(|e| e.is_finite());
        edges.sort_unstable_by(f64::total_cmp);
        edges.dedup();
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

/// How far apart two numbers may be and still count as the same value: some units in the last place
/// of single precision, or a billionth of the column's span.
const SAME: f64 = 1e-6;
const SAME_OF_SPAN: f64 = 1e-9;
/// The same beside 0 in a column that has no span; a number of single precision.
const SAME_AS_ZERO: f64 = 1e-30;

/// Returns how far a value may be off and still be the same.
pub(crate) fn tolerance(value: f64, span: f64) -> f64 {
    (value.abs() * SAME)
        .max(span * SAME_OF_SPAN)
        .max(SAME_AS_ZERO)
}

/// Fewest cells of the values that are not frequent, where there are enough of them.
const REST_CELLS_MIN: usize = 8;
/// Parts of the rows beyond further edges in the tails, which may be long.
const TAILS: [usize; 2] = [64, 256];

/// Divides the values without a cell of their own: into cells of equal mass, and finer in the tails.
fn edges_of_rest(sorted: &[f64], frequent: &[f64]) -> Vec<f64> {
    let is_frequent = |value: &f64| frequent.binary_search_by(|f| f.total_cmp(value)).is_ok();
    let rest: Vec<f64> = sorted.iter().copied().filter(|v| !is_frequent(v)).collect();
    if rest.is_empty() {
        return Vec::new();
    }
    let cells = (CELLS * rest.len())
        .div_ceil(sorted.len())
        .max(REST_CELLS_MIN);
    let cells = cells.min(rest.len());
    let mut cuts: Vec<usize> = (1..cells).map(|cut| cut * rest.len() / cells).collect();
    for part in TAILS.iter().filter(|part| rest.len() >= 16 * **part) {
        cuts.extend([rest.len() / part, rest.len() - 1 - rest.len() / part]);
    }

    let edge = |at: usize| {
        let value = rest[at];
        let next = *sorted.get(sorted.partition_point(|v| *v <= value))?;
        // Beside a value with a cell of its own there is an edge already.
        (!is_frequent(&next)).then(|| between(value, next))
    };
    cuts.into_iter().filter_map(edge).collect()
}

/// Returns an edge between a value and the next greater one. Neighbouring numbers have nothing in
/// between; the cell of the lower one ends with it.
fn between(value: f64, next: f64) -> f64 {
    let middle = f64::midpoint(value, next);
    if middle < next { middle } else { value }
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
    /// The categories that are not listed, if a filter knows them.
    filter: Option<Arc<WordFilter>>,
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
            filter: None,
        }
    }

    /// Tells unlisted categories from unseen ones by a filter.
    pub(crate) fn with_filter(self, filter: Option<WordFilter>) -> Self {
        Self {
            filter: filter.map(Arc::new),
            ..self
        }
    }

    /// Returns how many cells there are.
    pub(crate) fn cells(&self) -> usize {
        self.counted + 2
    }

    /// Returns the cell of a category.
    pub(crate) fn cell(&self, word: &str) -> usize {
        let word = cut(word);
        self.known.get(word).copied().unwrap_or_else(|| {
            let is_known = match &self.filter {
                Some(filter) => filter.may_have(word),
                None => self.open,
            };
            if is_known {
                self.counted
            } else {
                self.unseen()
            }
        })
    }

    /// Returns the cell of unseen categories.
    pub(crate) fn unseen(&self) -> usize {
        self.counted + 1
    }
}
