//! What a model may expect of its inputs, counted on every row: NaN, infinite,
//! below and above what the baseline saw. One pass over the bytes of a tensor.

use crate::tensor::{DType, Data, Tensor};
use half::{bf16, f16};

/// Counts of one tensor, place by place of a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Contract {
    /// What the baseline saw; infinite where there is none.
    least: Vec<f32>,
    greatest: Vec<f32>,
    pub counts: Vec<Breaches>,
    // One tensor's share, before it is added.
    nan: Vec<u32>,
    infinite: Vec<u32>,
    below: Vec<u32>,
    above: Vec<u32>,
}

/// How often a place broke the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Breaches {
    pub nan: u64,
    pub infinite: u64,
    pub below: u64,
    pub above: u64,
}

/// Rows counted before the small counters are added to the large ones.
const ROWS: usize = 1 << 16;

impl Contract {
    /// Counts places whose values lie in `ranges`, where those are known.
    pub(crate) fn new(ranges: &[Option<(f64, f64)>]) -> Self {
        let n = ranges.len();
        let end = |pick: fn((f64, f64)) -> f64, none: f32| {
            ranges.iter().map(|r| r.map_or(none, |r| pick(r) as f32)).collect()
        };
        Self {
            least: end(|r| r.0, f32::NEG_INFINITY),
            greatest: end(|r| r.1, f32::INFINITY),
            counts: vec![Breaches::default(); n],
            nan: vec![0; n],
            infinite: vec![0; n],
            below: vec![0; n],
            above: vec![0; n],
        }
    }

    /// Counts a tensor whose rows have as many places; others are passed over.
    pub(crate) fn count(&mut self, tensor: &Tensor) {
        let Data::Fixed(bytes) = tensor.data() else { return };
        match tensor.dtype() {
            DType::F32 => self.floats(bytes.as_chunks().0, f32::from_le_bytes),
            DType::F64 => self.floats(bytes.as_chunks().0, |b| f64::from_le_bytes(b) as f32),
            DType::F16 => self.floats(bytes.as_chunks().0, |b| f16::from_le_bytes(b).to_f32()),
            DType::BF16 => self.floats(bytes.as_chunks().0, |b| bf16::from_le_bytes(b).to_f32()),
            DType::I64 => self.floats(bytes.as_chunks().0, |b| i64::from_le_bytes(b) as f32),
            DType::I32 => self.floats(bytes.as_chunks().0, |b| i32::from_le_bytes(b) as f32),
            _ => {}
        }
    }

    fn floats<const N: usize>(&mut self, values: &[[u8; N]], read: impl Fn([u8; N]) -> f32) {
        let width = self.counts.len();
        if width == 0 || !values.len().is_multiple_of(width) {
            return;
        }
        for part in values.chunks(ROWS * width) {
            // Nothing in the loop depends on what a value is: it runs on many at once.
            for row in part.chunks_exact(width) {
                let ends = self.least.iter().zip(&self.greatest);
                let odd = self.nan.iter_mut().zip(&mut self.infinite);
                let beyond = self.below.iter_mut().zip(&mut self.above);
                for (((value, (least, greatest)), (nan, infinite)), (below, above)) in
                    row.iter().zip(ends).zip(odd).zip(beyond)
                {
                    let v = read(*value);
                    *nan += u32::from(v.is_nan());
                    *infinite += u32::from(v.is_infinite());
                    *below += u32::from(v < *least);
                    *above += u32::from(v > *greatest);
                }
            }
            self.add();
        }
    }

    fn add(&mut self) {
        for (i, total) in self.counts.iter_mut().enumerate() {
            let take = |n: &mut u32| u64::from(std::mem::take(n));
            total.nan += take(&mut self.nan[i]);
            total.infinite += take(&mut self.infinite[i]);
            total.below += take(&mut self.below[i]);
            total.above += take(&mut self.above[i]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_breach_of_every_row_is_counted_at_its_place() {
        let mut contract = Contract::new(&[Some((0.0, 1.0)), None]);
        let rows = [0.5, f32::NAN, -1.0, f32::INFINITY, 2.0, f32::NEG_INFINITY, f32::INFINITY, 7.0];
        contract.count(&Tensor::from_f32(vec![4, 2], &rows).expect("fits"));
        assert_eq!(contract.counts[0], Breaches { nan: 0, infinite: 1, below: 1, above: 2 });
        assert_eq!(contract.counts[1], Breaches { nan: 1, infinite: 2, below: 0, above: 0 });
        // Another width is another model's; nothing is counted at the wrong place.
        let before = contract.counts.clone();
        contract.count(&Tensor::from_f32(vec![1, 3], &[9.0; 3]).expect("fits"));
        assert_eq!(contract.counts, before);
    }

    #[test]
    fn ends_that_single_precision_rounds_stay_within() {
        // The greatest value seen was this very number.
        let greatest = f64::from(0.1_f32);
        let mut contract = Contract::new(&[Some((greatest, greatest))]);
        contract.count(&Tensor::from_f32(vec![1, 1], &[0.1]).expect("fits"));
        assert_eq!(contract.counts[0], Breaches::default());
    }
}
