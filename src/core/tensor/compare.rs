//! Compares two answers: exactly for integers and strings, within a tolerance for
//! floating point. Pure.

use super::{DType, Data, Tensor};
use half::{bf16, f16};

/// How far apart two numbers may be: `absolute + relative × the larger`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Allowed difference as a share of the larger value.
    pub relative: f64,
    /// Allowed difference in the values' own unit.
    pub absolute: f64,
}

impl Tolerance {
    /// The difference that another order of summation may make in an answer of this
    /// datatype.
    pub fn for_datatype(dtype: DType) -> Self {
        let relative = match dtype {
            DType::F64 => 1e-9,
            DType::F16 => 1e-2,
            DType::BF16 => 4e-2,
            _ => 1e-4,
        };

        Self {
            relative,
            absolute: relative / 10.0,
        }
    }

    /// The same on other hardware: by default GPUs multiply single precision with a
    /// fraction of 10 bits (TF32).
    pub(crate) fn for_provider(self, provider: &str) -> Self {
        let factor = if provider == "cpu" { 1.0 } else { 50.0 };
        Self {
            relative: self.relative * factor,
            absolute: self.absolute * factor,
        }
    }

    /// Equal numbers, two NaNs and equal infinities are always close.
    fn takes(self, x: f64, y: f64) -> bool {
        let near = || (x - y).abs() <= self.absolute + self.relative * x.abs().max(y.abs());
        x == y || (x.is_nan() && y.is_nan()) || (x.is_finite() && y.is_finite() && near())
    }
}

/// Tells whether two answers are the same but for the order of sums.
pub(crate) fn agree(a: &Tensor, b: &Tensor) -> bool {
    difference(a, b, Tolerance::for_datatype(a.dtype())).is_none()
}

/// As [`agree`], with a tolerance that is a share of the largest number of the two answers. Another
/// order of summation changes a sum by a share of its largest terms, and an absolute tolerance
/// would hide answers that are small as a whole.
pub(crate) fn agree_at_scale(a: &Tensor, b: &Tensor) -> bool {
    let of = |tensor: &Tensor| tensor.floats().map_or(0.0, |floats| largest(&floats));
    let largest = of(a).max(of(b));
    let tolerance = Tolerance {
        relative: 0.0,
        absolute: Tolerance::for_datatype(a.dtype()).relative * largest,
    };
    difference(a, b, tolerance).is_none()
}

/// Share of a column's largest number up to which the order of sums may change an answer.
const COLUMN_SHARE: f64 = 1e-2;
/// Share of a row's largest number that rounding alone may reach in any column.
const ROUNDING_SHARE: f64 = 1e-6;

/// Tells whether the numbers of two rows also agree at the scale of each place in a row, which
/// `columns` has. A small number beside a large one is compared too.
pub(crate) fn agree_in_columns(a: &Tensor, b: &Tensor, columns: &[f64]) -> bool {
    let (Some(x), Some(y)) = (a.floats(), b.floats()) else {
        return true;
    };
    let rounding = ROUNDING_SHARE * largest(&x).max(largest(&y));
    let places = x.iter().zip(&y).zip(columns);
    let far = |((x, y), column): ((&f64, &f64), &f64)| {
        x.is_finite() && y.is_finite() && (x - y).abs() > rounding.max(COLUMN_SHARE * column)
    };
    // Half precision rounds more than any of this.
    matches!(a.dtype(), DType::F16 | DType::BF16) || !places.into_iter().any(far)
}

/// The largest finite number, without its sign; 0 if there is none.
pub(crate) fn largest(numbers: &[f64]) -> f64 {
    let finite = numbers.iter().filter(|n| n.is_finite());
    finite.fold(0.0, |largest, n| n.abs().max(largest))
}

/// Describes the first difference of two answers; `None` if they agree.
pub fn difference(a: &Tensor, b: &Tensor, tolerance: Tolerance) -> Option<String> {
    if a.dtype() != b.dtype() || a.shape() != b.shape() {
        let of = |t: &Tensor| format!("{} {:?}", t.dtype(), t.shape());
        return Some(format!("{} and not {}", of(a), of(b)));
    }

    let (Data::Fixed(x), Data::Fixed(y)) = (a.data(), b.data()) else {
        return (a.data() != b.data()).then(|| "other text".to_owned());
    };
    match a.dtype() {
        DType::F32 => floats(x, y, tolerance, f32::from_le_bytes),
        DType::F64 => floats(x, y, tolerance, f64::from_le_bytes),
        DType::F16 => floats(x, y, tolerance, f16::from_le_bytes),
        DType::BF16 => floats(x, y, tolerance, bf16::from_le_bytes),
        dtype => {
            let width = dtype.element_bytes()?;
            let at = x
                .chunks_exact(width)
                .zip(y.chunks_exact(width))
                .position(|(x, y)| x != y)?;
            Some(format!("another value at element {at}"))
        }
    }
}

fn floats<const N: usize, T: Copy + Into<f64> + std::fmt::Display>(
    x: &[u8],
    y: &[u8],
    tolerance: Tolerance,
    read: impl Fn([u8; N]) -> T,
) -> Option<String> {
    let pairs = x
        .as_chunks::<N>()
        .0
        .iter()
        .zip(y.as_chunks::<N>().0)
        .map(|(x, y)| (read(*x), read(*y)));
    let (at, (x, y)) = pairs
        .enumerate()
        .find(|(_, (x, y))| !tolerance.takes((*x).into(), (*y).into()))?;
    Some(format!("{x} and not {y} at element {at}"))
}
