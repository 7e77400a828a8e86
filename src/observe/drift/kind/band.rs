//! The band that the parts of a baseline span: for each edge between cells, the least and the
//! greatest share of rows up to it, over groups of rows. A window of an unsteady or cyclic column is
//! compared with this band rather than with the whole baseline.

use std::ops::Range;

/// Fewest rows of a block.
const BLOCK_ROWS_MIN: usize = 4;
/// Most blocks.
const BLOCKS_MAX: usize = 16_384;
/// Groups of blocks of about the same level.
const LEVELS: usize = 24;

/// Groups of rows, each a list of ranges of row numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Groups(Vec<Vec<Range<usize>>>);

impl Groups {
    /// Divides rows into consecutive blocks of a size, and the blocks into groups by their mean rank:
    /// what the column shows while it is at about one level, whenever that is.
    pub(super) fn by_level(scores: &[f32], size: usize) -> Self {
        let rows = scores.len();
        let size = size.max(BLOCK_ROWS_MIN).max(rows / BLOCKS_MAX);
        let mut blocks: Vec<(f32, Range<usize>)> = (0..rows / size)
            .map(|at| {
                let range = at * size..(at + 1) * size;
                (scores[range.clone()].iter().sum::<f32>(), range)
            })
            .collect();
        blocks.sort_by(|a, b| a.0.total_cmp(&b.0));
        let groups = LEVELS.min(blocks.len());
        let group = |at: usize| {
            let (from, to) = (at * blocks.len() / groups, (at + 1) * blocks.len() / groups);
            blocks[from..to]
                .iter()
                .map(|(_, range)| range.clone())
                .collect()
        };
        Self((0..groups).map(group).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns, for each of some statistics, its least and greatest value over the groups. `cells`
    /// are the cells of the values that are there, in the order of rows, and `statistics` makes the
    /// statistics of the counts of a group.
    pub(crate) fn span(
        &self,
        cells: &[usize],
        count: usize,
        statistics: impl Fn(&[u64]) -> Vec<f64>,
    ) -> Vec<(f64, f64)> {
        let mut band: Vec<(f64, f64)> = Vec::new();
        for group in &self.0 {
            let mut counts = vec![0; count];
            for range in group {
                cells[range.clone()]
                    .iter()
                    .for_each(|cell| counts[*cell] += 1);
            }
            let found = statistics(&counts);
            band.resize(found.len(), (f64::INFINITY, f64::NEG_INFINITY));
            for (ends, value) in band.iter_mut().zip(found) {
                *ends = (ends.0.min(value), ends.1.max(value));
            }
        }
        band
    }
}

/// Returns the share of rows up to each edge between cells.
pub(crate) fn shares_up_to(counts: &[u64]) -> Vec<f64> {
    let whole = counts.iter().sum::<u64>().max(1) as f64;
    let mut sum = 0;
    let steps = counts.iter().take(counts.len().saturating_sub(1));
    steps
        .map(|n| {
            sum += n;
            sum as f64 / whole
        })
        .collect()
}
