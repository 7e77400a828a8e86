//! Columns as bytes: a number becomes the bin of its range, a category its code.
//! Trees are grown on bins, which turn sums over values into sums over bins. They are kept twice, row by row and feature by
//! feature, which together take half of the memory of FP32 numbers.

#[cfg(test)]
mod tests;

use super::super::features::{self, ABSENT, Feature};
use super::super::frame::{Frame, FrameValues};
use super::large_bytes::LargeBytes;
use super::prefetch::fetch_soon;
use rayon::prelude::*;
use std::ops::Range;

/// The most bins of a number.
pub(crate) const PARTS_MAX: usize = 255;
/// The most rows from which bin edges are found.
const SAMPLE_MAX: usize = 200_000;

/// The bins of a feature.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cut {
    /// The bin of a number is that of the first edge that is not below it.
    Number(Vec<f32>),
    Category,
}

/// Binned rows, one byte for each feature.
pub(crate) struct Binned {
    pub rows: usize,
    pub cuts: Vec<Cut>,
    /// The bins that some row has.
    pub bins: UsedBins,
    /// Row by row, for sums over all features of some rows.
    by_row: LargeBytes,
    /// Feature by feature, for the sides of a split.
    by_feature: LargeBytes,
}

/// The bins of each feature that some row has, in order: one feature after the other.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UsedBins {
    bytes: Vec<u8>,
    /// Where each feature begins, and the end of the last.
    starts: Vec<usize>,
}

impl UsedBins {
    /// Finds the bins of features.
    fn of(by_feature: &[u8], rows: usize) -> Self {
        let used: Vec<Vec<u8>> = by_feature
            .par_chunks(rows.max(1))
            .map(|bytes| {
                let mut is_used = [false; 256];
                bytes.iter().for_each(|b| is_used[usize::from(*b)] = true);
                let used = (0..=u8::MAX).filter(|b| is_used[usize::from(*b)]);
                used.collect()
            })
            .collect();
        Self::new(&used)
    }

    /// Takes the bins of each feature, in order.
    pub(crate) fn new(used: &[Vec<u8>]) -> Self {
        let mut starts = vec![0];
        starts.extend(used.iter().scan(0, |end, bytes| {
            *end += bytes.len();
            Some(*end)
        }));
        Self {
            bytes: used.concat(),
            starts,
        }
    }

    /// Returns the bins of a feature.
    pub(crate) fn of_feature(&self, feature: usize) -> &[u8] {
        &self.bytes[self.places(feature..feature + 1)]
    }

    /// Returns the places of the bins of some features, among those of all.
    pub(crate) fn places(&self, features: Range<usize>) -> Range<usize> {
        self.starts[features.start]..self.starts[features.end]
    }
}

impl Cut {
    /// Finds the bins of a feature from some rows.
    pub(crate) fn find(frame: &Frame, at: usize, rows: &[u32]) -> Self {
        let FrameValues::Numbers(all) = &frame.columns[at].values else {
            return Self::Category;
        };
        // Rows are sampled evenly, whatever their order.
        let step = rows.len().div_ceil(SAMPLE_MAX).max(1);
        let mut values: Vec<f32> = rows
            .iter()
            .step_by(step)
            .map(|r| all[*r as usize])
            .filter(|v| v.is_finite())
            .collect();
        values.sort_unstable_by(f32::total_cmp);

        Self::Number(edges(&values))
    }

    /// Returns the bin of a number.
    pub(crate) fn bin_of(&self, value: f32) -> u8 {
        match self {
            Self::Number(_) if value.is_nan() => ABSENT,
            Self::Number(edges) => edges.partition_point(|edge| *edge < value) as u8,
            Self::Category => ABSENT,
        }
    }
}

/// Finds edges between sorted values, so that bins hold about as many rows each. A
/// frequent value has its own bin.
fn edges(values: &[f32]) -> Vec<f32> {
    let mut distinct: Vec<(f32, usize)> = Vec::new();
    for value in values {
        // −0 is 0.
        match distinct.last_mut() {
            Some((last, count)) if *last == *value => *count += 1,
            _ => distinct.push((*value, 1)),
        }
    }

    let mut edges = Vec::new();
    let (mut held, mut left, mut parts) = (0, values.len(), PARTS_MAX);
    for (at, (value, count)) in distinct.iter().enumerate() {
        let Some((next, next_count)) = distinct.get(at + 1) else {
            break;
        };
        held += count;
        let share = left as f64 / parts as f64;
        let few = distinct.len() <= PARTS_MAX;
        // A frequent value that follows starts its own bin.
        if few
            || held as f64 >= share
            || (*next_count as f64 >= share && held as f64 >= share / 2.0)
        {
            edges.push(between(*value, *next));
            left -= held;
            held = 0;
            parts -= 1;
            if parts <= 1 {
                break;
            }
        }
    }

    edges
}

/// Returns an edge between two values: halfway, or `low` if there is no number between.
fn between(low: f32, high: f32) -> f32 {
    let middle = low / 2.0 + high / 2.0;
    if middle >= low && middle < high {
        middle
    } else {
        low
    }
}

impl Binned {
    /// Bins some rows.
    pub(crate) fn of(frame: &Frame, features: &[Feature], cuts: Vec<Cut>, rows: &[u32]) -> Self {
        let mut by_feature = LargeBytes::zeros(rows.len() * cuts.len());
        by_feature
            .par_chunks_mut(rows.len().max(1))
            .zip(&frame.columns)
            .zip(features)
            .zip(&cuts)
            .for_each(|(((bytes, column), feature), cut)| match &column.values {
                FrameValues::Numbers(all) => bytes
                    .iter_mut()
                    .zip(rows)
                    .for_each(|(byte, row)| *byte = cut.bin_of(all[*row as usize])),
                FrameValues::Words(words) => {
                    let codes = feature.codes(&words.list);
                    bytes.iter_mut().zip(rows).for_each(|(byte, row)| {
                        *byte = features::code(&codes, words.codes[*row as usize])
                    });
                }
            });
        Self::by_feature(cuts, rows.len(), by_feature)
    }

    /// Takes bins feature by feature.
    pub(super) fn by_feature(cuts: Vec<Cut>, rows: usize, by_feature: LargeBytes) -> Self {
        const BLOCK: usize = 8_192;
        let width = cuts.len();
        let mut by_row = LargeBytes::zeros(rows * width);
        by_row
            .par_chunks_mut(BLOCK * width.max(1))
            .enumerate()
            .for_each(|(block, bytes)| {
                let count = bytes.len() / width;
                for feature in 0..width {
                    let bins = &by_feature[feature * rows + block * BLOCK..][..count];
                    let places = bytes[feature..].iter_mut().step_by(width);
                    places.zip(bins).for_each(|(place, bin)| *place = *bin);
                }
            });
        Self {
            rows,
            bins: UsedBins::of(&by_feature, rows),
            cuts,
            by_row,
            by_feature,
        }
    }

    /// Returns the bins of a feature, row by row.
    pub(crate) fn feature(&self, feature: usize) -> &[u8] {
        &self.by_feature[feature * self.rows..][..self.rows]
    }

    /// Asks the processor for the bins of a row that is needed soon. The rows of a leaf lie apart in memory, and
    /// waiting for each takes longer than adding it up.
    #[inline]
    pub(crate) fn prefetch(&self, row: u32) {
        let width = self.cuts.len();
        let from = row as usize * width;
        fetch_soon(&self.by_row, from);
        fetch_soon(&self.by_row, from + width.saturating_sub(1));
    }

    /// Returns the bins of a row.
    pub(crate) fn row(&self, row: usize) -> &[u8] {
        let width = self.cuts.len();
        &self.by_row[row * width..][..width]
    }
}
