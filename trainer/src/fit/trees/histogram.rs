//! Sums of gradients over the bins of every feature. Rows are added in fixed blocks
//! and blocks in their order, so that the sums are the same to the last bit on any
//! number of threads.

#[cfg(test)]
mod tests;

use super::super::bins::Binned;
use super::super::prefetch::{AHEAD, fetch_soon};
use rayon::prelude::*;

/// The gradient and Hessian of a row, or their sums.
pub(super) type Pair = [f64; 2];
/// The histogram of a feature, bin by bin.
pub(super) type FeatureHistogram = [Pair; 256];

/// Rows of a block; fewer are added by one thread.
const BLOCK_ROWS: usize = 16_384;
/// The most blocks: each has a histogram of its own.
const BLOCKS_MAX: usize = 16;

/// Features that are summed up together. Their histograms take half of a first-level cache of 32 KiB.
const GROUP: usize = 4;
/// Fewer rows are added up by one thread.
const SHARED_ROWS: usize = 2_048;
/// Rows that are copied before they are summed up. A power of two would map the bins of all groups to a few sets of
/// the cache.
const TILE_ROWS: usize = 1_008;

/// The bins of some features and the gradients of some rows, side by side.
struct Tile {
    /// The first feature, and how many there are.
    first: usize,
    width: usize,
    rows: usize,
    /// The rows a group has room for.
    room: usize,
    /// Group by group, the bins of each row.
    bins: Vec<[u8; GROUP]>,
    pairs: Vec<[f32; 2]>,
}

impl Tile {
    fn of(room: usize, first: usize, width: usize) -> Self {
        Self {
            first,
            width,
            rows: 0,
            room,
            bins: vec![[0; GROUP]; room * width.div_ceil(GROUP)],
            pairs: vec![[0.0; 2]; room],
        }
    }

    /// Copies rows from a place in a list of rows.
    fn copy(&mut self, data: &Binned, rows: &[u32], start: usize, gradients: &[[f32; 2]]) {
        self.rows = self.room.min(rows.len() - start);
        for (at, row) in rows[start..][..self.rows].iter().enumerate() {
            if let Some(soon) = rows.get(start + at + AHEAD) {
                data.prefetch(*soon);
                fetch_soon(gradients, *soon as usize);
            }
            self.pairs[at] = gradients[*row as usize];
            let bins = &data.row(*row as usize)[self.first..][..self.width];
            let (groups, rest) = bins.as_chunks::<GROUP>();
            let mut places = self.bins[at..].iter_mut().step_by(self.room);
            for (bins, place) in groups.iter().zip(&mut places) {
                *place = *bins;
            }
            if let Some(place) = places.next().filter(|_| !rest.is_empty()) {
                place[..rest.len()].copy_from_slice(rest);
            }
        }
    }

    /// Adds the rows to the histograms of a group. Bins that fill up the last group are 0.
    fn add_up(&self, group: usize, sums: &mut [FeatureHistogram; GROUP]) {
        let bins = &self.bins[group * self.room..][..self.rows];
        for (bins, [g, h]) in bins.iter().zip(&self.pairs) {
            let pair = [f64::from(*g), f64::from(*h)];
            for (sums, bin) in sums.iter_mut().zip(bins) {
                let sum = &mut sums[usize::from(*bin)];
                *sum = [sum[0] + pair[0], sum[1] + pair[1]];
            }
        }
    }
}

/// Adds rows to the histograms of some features from the first on, a few features at a time: the histograms of all would
/// not fit the fastest cache.
fn add_rows(
    data: &Binned,
    rows: &[u32],
    gradients: &[[f32; 2]],
    (first, sums): (usize, &mut [FeatureHistogram]),
) {
    let width = sums.len().min(data.cuts.len() - first);
    let mut tile = Tile::of(rows.len().min(TILE_ROWS), first, width);
    let (groups, _) = sums.as_chunks_mut::<GROUP>();
    for start in (0..rows.len()).step_by(TILE_ROWS) {
        tile.copy(data, rows, start, gradients);
        for (at, sums) in groups.iter_mut().enumerate() {
            tile.add_up(at, sums);
        }
    }
}

/// The histograms of all features.
#[derive(Clone)]
pub(super) struct Histogram(pub Vec<FeatureHistogram>);

impl Histogram {
    /// Adds up some rows.
    pub(super) fn of(data: &Binned, rows: &[u32], gradients: &[[f32; 2]]) -> Self {
        let blocks = (rows.len() / BLOCK_ROWS).clamp(1, BLOCKS_MAX);
        if blocks == 1 {
            return Self::of_few(data, rows, gradients);
        }
        let size = rows.len().div_ceil(blocks);
        let sums: Vec<Self> = rows
            .par_chunks(size)
            .map(|rows| Self::of_block(data, rows, gradients))
            .collect();
        let mut sums = sums.into_iter();

        let Some(mut whole) = sums.next() else {
            return Self(Vec::new());
        };
        let rest: Vec<Self> = sums.collect();
        whole.0.par_iter_mut().enumerate().for_each(|(at, parts)| {
            for other in &rest {
                add(parts, &other.0[at]);
            }
        });

        whole
    }

    /// Adds up rows of a block on one thread.
    fn of_block(data: &Binned, rows: &[u32], gradients: &[[f32; 2]]) -> Self {
        let mut sums = Self::zeros(data);
        add_rows(data, rows, gradients, (0, &mut sums));
        sums.truncate(data.cuts.len());
        Self(sums)
    }

    /// Adds up few rows: each thread takes some of the features.
    fn of_few(data: &Binned, rows: &[u32], gradients: &[[f32; 2]]) -> Self {
        let mut sums = Self::zeros(data);
        let groups = sums.len() / GROUP;
        let share = if rows.len() < SHARED_ROWS {
            groups
        } else {
            groups.div_ceil(rayon::current_num_threads())
        };
        let share = GROUP * share.max(1);
        sums.par_chunks_mut(share)
            .enumerate()
            .for_each(|(at, sums)| add_rows(data, rows, gradients, (at * share, sums)));
        sums.truncate(data.cuts.len());
        Self(sums)
    }

    /// Returns empty histograms for whole groups of features.
    fn zeros(data: &Binned) -> Vec<FeatureHistogram> {
        vec![[[0.0; 2]; 256]; data.cuts.len().next_multiple_of(GROUP)]
    }

    /// Subtracts the histogram of some of the rows.
    pub(super) fn without(mut self, part: &Self) -> Self {
        for (all, part) in self.0.iter_mut().zip(&part.0) {
            for (sum, less) in all.iter_mut().zip(part) {
                *sum = [sum[0] - less[0], sum[1] - less[1]];
            }
        }

        self
    }
}

fn add(sums: &mut FeatureHistogram, more: &FeatureHistogram) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = [sum[0] + more[0], sum[1] + more[1]];
    }
}
