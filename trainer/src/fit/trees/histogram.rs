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

/// The histograms of all features.
#[derive(Clone)]
pub(super) struct Histogram(pub Vec<FeatureHistogram>);

impl Histogram {
    /// Adds up some rows.
    pub(super) fn of(data: &Binned, rows: &[u32], gradients: &[[f32; 2]]) -> Self {
        let blocks = (rows.len() / BLOCK_ROWS).clamp(1, BLOCKS_MAX);
        if blocks == 1 {
            return Self::of_block(data, rows, gradients);
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

    fn of_block(data: &Binned, rows: &[u32], gradients: &[[f32; 2]]) -> Self {
        let mut sums = Self(vec![[[0.0; 2]; 256]; data.cuts.len()]);
        for (at, row) in rows.iter().enumerate() {
            if let Some(soon) = rows.get(at + AHEAD) {
                data.prefetch(*soon);
                fetch_soon(gradients, *soon as usize);
            }
            let [g, h] = gradients[*row as usize];
            let pair = [f64::from(g), f64::from(h)];
            for (byte, parts) in data.row(*row as usize).iter().zip(&mut sums.0) {
                let sum = &mut parts[*byte as usize];
                *sum = [sum[0] + pair[0], sum[1] + pair[1]];
            }
        }

        sums
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
