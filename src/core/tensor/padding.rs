//! Lengthens a tensor along one axis with a value, and cuts it again. Pure.

use super::{DType, Data, Tensor};
use crate::core::error::{Error, Result};
use half::{bf16, f16};

/// The value of padded places, as one element of a datatype.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadValue(Vec<u8>);

impl PadValue {
    /// Writes a value as one element. Refuses text, and a number that the datatype does not have.
    pub fn new(dtype: DType, value: f64) -> Result<Self> {
        let bytes = element(dtype, value);
        bytes.map(Self).ok_or_else(|| {
            Error::precondition(match dtype {
                DType::String => "is text, which cannot be padded; pad only numbers".to_owned(),
                _ => format!(
                    "is {dtype}, which has no {value}; pad it with a number of its datatype"
                ),
            })
        })
    }
}

/// The largest integer up to which a number stands for itself alone.
const INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

/// The bytes of one element; none if the datatype does not have the value.
fn element(dtype: DType, value: f64) -> Option<Vec<u8>> {
    macro_rules! integer {
        ($type:ty) => {{
            let is_whole = value.fract() == 0.0 && value.abs() <= INTEGER_MAX;
            let number = is_whole.then_some(value as i64)?;
            <$type>::try_from(number).ok()?.to_le_bytes().to_vec()
        }};
    }

    Some(match dtype {
        DType::String => return None,
        DType::Bool if value == 0.0 || value == 1.0 => vec![u8::from(value == 1.0)],
        DType::Bool => return None,
        DType::U8 => integer!(u8),
        DType::U16 => integer!(u16),
        DType::U32 => integer!(u32),
        DType::U64 => integer!(u64),
        DType::I8 => integer!(i8),
        DType::I16 => integer!(i16),
        DType::I32 => integer!(i32),
        DType::I64 => integer!(i64),
        DType::F16 => finite(f16::from_f64(value), f16::is_finite)?
            .to_le_bytes()
            .to_vec(),
        DType::BF16 => finite(bf16::from_f64(value), bf16::is_finite)?
            .to_le_bytes()
            .to_vec(),
        DType::F32 => finite(value as f32, f32::is_finite)?.to_le_bytes().to_vec(),
        DType::F64 => value.to_le_bytes().to_vec(),
    })
}

fn finite<T: Copy>(number: T, is_finite: impl Fn(T) -> bool) -> Option<T> {
    is_finite(number).then_some(number)
}

/// How a tensor is lengthened along an axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lengthening<'f> {
    pub axis: usize,
    pub length: usize,
    pub fill: &'f PadValue,
}

impl Lengthening<'_> {
    /// The shape of a tensor afterwards.
    pub(crate) fn shape(&self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        shape[self.axis] = self.length;
        shape
    }

    /// The bytes of a tensor afterwards; `None` for text.
    pub(crate) fn bytes(&self, tensor: &Tensor) -> usize {
        let elements: usize = self.shape(tensor.shape()).iter().product();
        elements * self.fill.0.len()
    }

    /// Writes a tensor of fixed-width elements to the start of `buffer`, lengthened. Returns the rest.
    pub(crate) fn write<'b>(&self, tensor: &Tensor, buffer: &'b mut [u8]) -> &'b mut [u8] {
        let (mut here, rest) = buffer.split_at_mut(self.bytes(tensor));
        let Data::Fixed(bytes) = tensor.data() else {
            return rest;
        };
        let outer: usize = tensor.shape()[..self.axis].iter().product();
        let inner: usize = tensor.shape()[self.axis + 1..].iter().product();
        let step = inner * self.fill.0.len();
        let own_bytes = tensor.shape()[self.axis] * step;

        for at in 0..outer {
            let (padded, after) = here.split_at_mut(self.length * step);
            let (real, added) = padded.split_at_mut(own_bytes);
            real.copy_from_slice(&bytes[at * own_bytes..][..own_bytes]);
            for element in added.chunks_exact_mut(self.fill.0.len()) {
                element.copy_from_slice(&self.fill.0);
            }
            here = after;
        }
        rest
    }
}

/// Lengthens a tensor of fixed-width elements.
pub(crate) fn lengthened(tensor: &Tensor, how: Lengthening<'_>) -> Result<Tensor> {
    let mut bytes = vec![0; how.bytes(tensor)];
    how.write(tensor, &mut bytes);
    Tensor::fixed(tensor.dtype(), how.shape(tensor.shape()), bytes.into())
}

/// Keeps the first `length` places of an axis. Does not copy where they lie together.
pub(crate) fn cut(tensor: Tensor, axis: usize, length: usize) -> Result<Tensor> {
    let now = tensor.shape()[axis];
    if length >= now {
        return Ok(tensor);
    }
    let mut shape = tensor.shape().to_vec();
    shape[axis] = length;
    let outer: usize = shape[..axis].iter().product();

    match tensor.data() {
        Data::Fixed(bytes) => {
            let part = bytes.len().checked_div(outer).unwrap_or(0);
            let kept = part / now * length;
            let cut = match outer {
                1 => bytes.slice(..kept),
                _ => {
                    let parts = bytes.chunks_exact(part.max(1));
                    parts.flat_map(|part| &part[..kept]).copied().collect()
                }
            };
            Tensor::fixed(tensor.dtype(), shape, cut)
        }
        Data::Strings(strings) => {
            let part = strings.len().checked_div(outer).unwrap_or(0);
            let kept = part / now * length;
            let all = strings.iter().enumerate();
            let cut = all.filter(|(at, _)| at.checked_rem(part).unwrap_or(0) < kept);
            let texts = cut.map(|(_, text)| text);
            Tensor::strings(shape, super::Strings::from_parts(texts)?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize]) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|n| n as f32).collect();
        Tensor::from_f32(shape.to_vec(), &values).expect("fits")
    }

    #[test]
    fn what_is_lengthened_along_any_axis_is_the_same_after_the_cut() {
        let fill = PadValue::new(DType::F32, -1.0).expect("a number");
        for shape in [&[3, 2][..], &[1, 2], &[2, 2, 3], &[2, 3, 2], &[1, 1, 2]] {
            for axis in 1..shape.len() {
                let tensor = tensor(shape);
                let length = shape[axis] + 3;
                let how = Lengthening {
                    axis,
                    length,
                    fill: &fill,
                };
                let long = lengthened(&tensor, how).expect("fits");
                assert_eq!(long.shape()[axis], length);
                let added = long.floats().expect("numbers");
                let added = added.iter().filter(|n| **n == -1.0).count();
                assert_eq!(added, long.bytes() / 4 - tensor.bytes() / 4);
                assert_eq!(cut(long, axis, shape[axis]).expect("shorter"), tensor);
            }
        }
    }

    #[test]
    fn rows_are_padded_at_their_ends() {
        let fill = PadValue::new(DType::F32, 9.0).expect("a number");
        let how = Lengthening {
            axis: 1,
            length: 3,
            fill: &fill,
        };
        let long = lengthened(&tensor(&[2, 2]), how).expect("fits");
        assert_eq!(
            long.floats().expect("numbers"),
            [0.0, 1.0, 9.0, 2.0, 3.0, 9.0]
        );
    }

    #[test]
    fn texts_are_cut() {
        let texts = super::super::Strings::from_parts(["a", "b", "c", "d"]).expect("texts");
        let tensor = Tensor::strings(vec![2, 2], texts).expect("fits");
        let cut = cut(tensor, 1, 1).expect("shorter");
        let expected = super::super::Strings::from_parts(["a", "c"]).expect("texts");
        assert_eq!(cut.data(), &Data::Strings(expected));
    }

    #[test]
    fn a_value_must_be_one_of_the_datatype() {
        for (dtype, value) in [
            (DType::Bool, 1.0),
            (DType::I64, -9_007_199_254_740_992.0),
            (DType::U8, 255.0),
            (DType::F16, 65_504.0),
            (DType::F32, 0.5),
        ] {
            assert!(PadValue::new(dtype, value).is_ok(), "{dtype} {value}");
        }
        for (dtype, value) in [
            (DType::Bool, 2.0),
            (DType::I64, 0.5),
            (DType::I64, 1e16),
            (DType::U8, 256.0),
            (DType::U8, -1.0),
            (DType::F16, 1e6),
            (DType::F32, 1e300),
            (DType::String, 0.0),
        ] {
            assert!(PadValue::new(dtype, value).is_err(), "{dtype} {value}");
        }
        assert_eq!(
            PadValue::new(DType::I64, 3.0).expect("3").0,
            3_i64.to_le_bytes()
        );
    }
}
