//! Counts of a numeric tensor that violate its contract, for each element of a row.

use super::Breaches;
use super::limits::{Codes, ValueLimits};
use crate::core::tensor::{DType, Data, Tensor};
use half::{bf16, f16};
use std::sync::Arc;

/// Values of one column that are compared with its range at once.
const BLOCK: usize = 512;

/// The counts.
#[derive(Clone)]
pub(super) struct NumberCounts {
    /// The range of the baseline; without one, all finite numbers.
    least: Vec<f32>,
    greatest: Vec<f32>,
    /// Whether there is a range of the baseline.
    bounded: Vec<bool>,
    /// The elements that must be codes.
    codes: Vec<(usize, Arc<Codes>)>,
    breaches: Vec<Breaches>,
    /// Whether all elements of a row are one column: a row counts once for each kind.
    is_wide: bool,
}

impl NumberCounts {
    pub(super) fn new(width: usize, is_wide: bool) -> Self {
        Self {
            least: vec![f32::MIN; width],
            greatest: vec![f32::MAX; width],
            bounded: vec![false; width],
            codes: Vec::new(),
            breaches: vec![Breaches::default(); width],
            is_wide,
        }
    }

    /// Sets the limits of an element.
    pub(super) fn bound(&mut self, at: usize, limits: ValueLimits) {
        let range = limits.range;
        let (least, greatest) = range.map_or((f32::MIN, f32::MAX), |(a, b)| {
            ((a as f32).max(f32::MIN), (b as f32).min(f32::MAX))
        });
        (self.least[at], self.greatest[at], self.bounded[at]) = (least, greatest, range.is_some());
        self.codes.retain(|(element, _)| *element != at);
        self.codes.extend(limits.codes.map(|codes| (at, codes)));
    }

    pub(super) fn of(&self, at: usize) -> Breaches {
        self.breaches[at]
    }

    /// Counts a tensor. Skips one whose rows have another number of elements.
    pub(super) fn count(&mut self, tensor: &Tensor) {
        let Data::Fixed(bytes) = tensor.data() else {
            return;
        };
        let rows = tensor.rows().unwrap_or(1);
        match tensor.dtype() {
            DType::F32 => self.values(bytes.as_chunks().0, rows, |b| f32::from_le_bytes(b).into()),
            DType::F64 => self.values(bytes.as_chunks().0, rows, f64::from_le_bytes),
            DType::F16 => self.values(bytes.as_chunks().0, rows, |b| f16::from_le_bytes(b).into()),
            DType::BF16 => {
                self.values(bytes.as_chunks().0, rows, |b| bf16::from_le_bytes(b).into())
            }
            DType::I64 => self.values(bytes.as_chunks().0, rows, |b| i64::from_le_bytes(b) as f64),
            DType::U64 => self.values(bytes.as_chunks().0, rows, |b| u64::from_le_bytes(b) as f64),
            DType::I32 => self.values(bytes.as_chunks().0, rows, |b| i32::from_le_bytes(b).into()),
            DType::U32 => self.values(bytes.as_chunks().0, rows, |b| u32::from_le_bytes(b).into()),
            DType::I16 => self.values(bytes.as_chunks().0, rows, |b| i16::from_le_bytes(b).into()),
            DType::U16 => self.values(bytes.as_chunks().0, rows, |b| u16::from_le_bytes(b).into()),
            DType::I8 => self.values(bytes.as_chunks().0, rows, |b| i8::from_le_bytes(b).into()),
            DType::U8 | DType::Bool => {
                self.values(bytes.as_chunks().0, rows, |[b]: [u8; 1]| b.into());
            }
            DType::String => {}
        }
    }

    fn values<const N: usize>(
        &mut self,
        values: &[[u8; N]],
        rows: usize,
        read: impl Fn([u8; N]) -> f64,
    ) {
        let single = |value: [u8; N]| read(value) as f32;
        let width = self.breaches.len();
        if width == 0 || !values.len().is_multiple_of(width) {
            return;
        }
        if self.is_wide {
            return self.wide(values, rows, &single);
        }
        if width == 1 {
            self.column(values, &single);
        } else {
            self.rows(values, &single);
        }
        self.count_codes(values, &read);
    }

    fn rows<const N: usize>(&mut self, values: &[[u8; N]], read: &impl Fn([u8; N]) -> f32) {
        let width = self.breaches.len();
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
                self.count_row(row, read);
            }
        }
    }

    /// Counts the only column: as above, for many rows at once.
    fn column<const N: usize>(&mut self, values: &[[u8; N]], read: &impl Fn([u8; N]) -> f32) {
        for block in values.chunks(BLOCK) {
            if self.holding(block, read) != block.len() {
                block
                    .chunks_exact(1)
                    .for_each(|row| self.count_row(row, read));
            }
        }
    }

    /// Counts rows of which every element belongs to the one column.
    fn wide<const N: usize>(
        &mut self,
        values: &[[u8; N]],
        rows: usize,
        read: &impl Fn([u8; N]) -> f32,
    ) {
        let width = values.len().checked_div(rows).unwrap_or(0).max(1);
        for row in values.chunks_exact(width) {
            let is_whole = row
                .chunks(BLOCK)
                .all(|block| self.holding(block, read) == block.len());
            if !is_whole {
                let breaches = &mut self.breaches[0];
                breaches.nan += u64::from(row.iter().any(|v| read(*v).is_nan()));
                breaches.infinite += u64::from(row.iter().any(|v| read(*v).is_infinite()));
            }
        }
    }

    /// Returns how many values are within the range of the first column.
    fn holding<const N: usize>(&self, block: &[[u8; N]], read: &impl Fn([u8; N]) -> f32) -> usize {
        let (least, greatest) = (self.least[0], self.greatest[0]);
        let within = |value: &[u8; N]| {
            let v = read(*value);
            u32::from(v >= least) & u32::from(v <= greatest)
        };
        block.iter().map(within).sum::<u32>() as usize
    }

    /// Counts the violations of a row.
    fn count_row<const N: usize>(&mut self, row: &[[u8; N]], read: &impl Fn([u8; N]) -> f32) {
        for (i, (value, breaches)) in row.iter().zip(&mut self.breaches).enumerate() {
            let v = read(*value);
            breaches.nan += u64::from(v.is_nan());
            breaches.infinite += u64::from(v.is_infinite());
            if self.bounded[i] && v.is_finite() {
                breaches.below += u64::from(v < self.least[i]);
                breaches.above += u64::from(v > self.greatest[i]);
            }
        }
    }

    /// Counts values within the range that are no codes.
    fn count_codes<const N: usize>(&mut self, values: &[[u8; N]], read: &impl Fn([u8; N]) -> f64) {
        let width = self.breaches.len();
        for (at, codes) in &self.codes {
            let (least, greatest) = (f64::from(self.least[*at]), f64::from(self.greatest[*at]));
            let unseen = values[*at..]
                .iter()
                .step_by(width)
                .map(|value| read(*value))
                .filter(|v| *v >= least && *v <= greatest && !codes.has(*v))
                .count();
            self.breaches[*at].unseen += unseen as u64;
        }
    }
}
