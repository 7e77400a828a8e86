//! Sums of gradients over the bins of every feature. Rows are added in fixed blocks
//! and blocks in their order, so that the sums are the same to the last bit on any
//! number of threads.

#[cfg(test)]
mod tests;

use super::super::bins::Binned;
use super::super::prefetch::{AHEAD, fetch_soon};
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// The gradient and Hessian of a row, or their sums.
pub(super) type Pair = [f64; 2];
/// The sums of a feature by byte, while rows are added up.
type ByteSums = [Pair; 256];

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
#[derive(Default)]
struct Tile {
    rows: usize,
    /// The rows a group has room for.
    room: usize,
    /// Group by group, the bins of each row.
    bins: Vec<[u8; GROUP]>,
    pairs: Vec<[f32; 2]>,
}

impl Tile {
    /// Makes room for rows of so many features. What was in it is not cleared.
    fn reserve(&mut self, room: usize, width: usize) {
        self.room = room;
        let bins = room * width.div_ceil(GROUP);
        self.bins.resize(bins.max(self.bins.len()), [0; GROUP]);
        self.pairs.resize(room.max(self.pairs.len()), [0.0; 2]);
    }

    /// Copies rows from a place in a list of rows.
    fn copy(&mut self, from: &RowsToAdd<'_>, features: &Range<usize>, start: usize) {
        let rows = from.rows;
        self.rows = self.room.min(rows.len() - start);
        for (at, row) in rows[start..][..self.rows].iter().enumerate() {
            if let Some(soon) = rows.get(start + at + AHEAD) {
                from.data.prefetch(*soon);
                fetch_soon(from.gradients, *soon as usize);
            }
            self.pairs[at] = from.gradients[*row as usize];
            let bins = &from.data.row(*row as usize)[features.clone()];
            let (groups, rest) = bins.as_chunks::<GROUP>();
            let mut places = self.bins[at..].iter_mut().step_by(self.room);
            for (bins, place) in groups.iter().zip(&mut places) {
                *place = *bins;
            }
            if let Some(place) = places.next().filter(|_| !rest.is_empty()) {
                *place = [0; GROUP];
                place[..rest.len()].copy_from_slice(rest);
            }
        }
    }

    /// Adds the rows to the sums of a group. Bins that fill up the last group are 0.
    fn add_up(&self, group: usize, sums: &mut [ByteSums; GROUP]) {
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

/// What a thread adds rows up in, kept for the next leaf: a leaf of few rows takes less time than clean memory for it.
#[derive(Default)]
struct Scratch {
    tile: Tile,
    /// All 0 between uses.
    sums: Vec<ByteSums>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Some rows of a data set.
struct RowsToAdd<'r> {
    data: &'r Binned,
    rows: &'r [u32],
    gradients: &'r [[f32; 2]],
}

impl RowsToAdd<'_> {
    /// Returns the sums of some features, a few features at a time: the sums of all would not fit the fastest cache.
    fn add_up(&self, features: Range<usize>) -> Vec<Pair> {
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { tile, sums } = scratch;
            tile.reserve(self.rows.len().min(TILE_ROWS), features.len());
            let whole = features.len().next_multiple_of(GROUP);
            sums.resize(whole.max(sums.len()), [[0.0; 2]; 256]);
            let (groups, _) = sums[..whole].as_chunks_mut::<GROUP>();
            for start in (0..self.rows.len()).step_by(TILE_ROWS) {
                tile.copy(self, &features, start);
                for (at, sums) in groups.iter_mut().enumerate() {
                    tile.add_up(at, sums);
                }
            }
            self.take(features, &mut sums[..whole])
        })
    }

    /// Takes the sums of the bins that there are, and leaves 0.
    fn take(&self, features: Range<usize>, sums: &mut [ByteSums]) -> Vec<Pair> {
        let bins = &self.data.bins;
        let mut taken = Vec::with_capacity(bins.places(features.clone()).len());
        let (sums, filled_up) = sums.split_at_mut(features.len());
        for (feature, sums) in features.zip(sums) {
            let sum = |byte: &u8| std::mem::take(&mut sums[usize::from(*byte)]);
            taken.extend(bins.of_feature(feature).iter().map(sum));
        }
        filled_up.iter_mut().for_each(|sums| sums[0] = [0.0; 2]);

        taken
    }
}

/// The sums of all features: of one after the other the bins that there are.
#[derive(Clone, Default)]
pub(super) struct Histogram(pub Vec<Pair>);

impl Histogram {
    /// Adds up some rows.
    pub(super) fn of(data: &Binned, rows: &[u32], gradients: &[[f32; 2]]) -> Self {
        let to_add = |rows| RowsToAdd {
            data,
            rows,
            gradients,
        };
        let blocks = (rows.len() / BLOCK_ROWS).clamp(1, BLOCKS_MAX);
        if blocks == 1 {
            return Self::of_few(&to_add(rows));
        }
        let size = rows.len().div_ceil(blocks);
        let sums: Vec<Vec<Pair>> = rows
            .par_chunks(size)
            .map(|rows| to_add(rows).add_up(0..data.cuts.len()))
            .collect();
        let mut sums = sums.into_iter();

        let mut whole = sums.next().unwrap_or_default();
        let rest: Vec<Vec<Pair>> = sums.collect();
        const PART: usize = 256;
        let parts = whole.par_chunks_mut(PART).enumerate();
        parts.for_each(|(at, part)| {
            for other in &rest {
                add(part, &other[at * PART..]);
            }
        });

        Self(whole)
    }

    /// Adds up few rows: each thread takes some of the features.
    fn of_few(rows: &RowsToAdd<'_>) -> Self {
        let features = rows.data.cuts.len();
        let threads = rayon::current_num_threads();
        if rows.rows.len() < SHARED_ROWS || threads == 1 {
            return Self(rows.add_up(0..features));
        }
        let share = features.div_ceil(threads).next_multiple_of(GROUP);
        let shares = (0..features).into_par_iter().step_by(share.max(1));
        let sums: Vec<Vec<Pair>> = shares
            .map(|from| rows.add_up(from..features.min(from + share)))
            .collect();
        Self(sums.concat())
    }

    /// Subtracts the histogram of some of the rows.
    pub(super) fn without(mut self, part: &Self) -> Self {
        for (sum, less) in self.0.iter_mut().zip(&part.0) {
            *sum = [sum[0] - less[0], sum[1] - less[1]];
        }

        self
    }
}

fn add(sums: &mut [Pair], more: &[Pair]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum = [sum[0] + more[0], sum[1] + more[1]];
    }
}
