//! Generated values of one input: the same in every run, for golden rows and verdicts must not
//! change.

use crate::core::error::{Error, Result};
use crate::core::hash::SplitMix;
use crate::core::model::{Dim, TensorSpec};
use crate::core::tensor::{DType, Strings, Tensor};
use half::{bf16, f16};

/// What is known of the values of one element of a row.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum KnownValues {
    /// Numbers between these.
    Numbers { low: f64, high: f64 },
    /// Some of these texts.
    Words(Vec<String>),
}

/// A value that is not usual, for all tensors of its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ExtremeValue {
    Float(f64),
    Integer(i64),
}

impl ExtremeValue {
    /// Tells whether the place of such a value in a tensor may change what a model makes of it.
    pub(super) fn is_no_number(self) -> bool {
        matches!(self, Self::Float(number) if !number.is_finite())
    }
}

/// Which values are generated.
#[derive(Clone, Copy)]
pub(super) struct ValueRange<'k> {
    pub seed: u64,
    /// The largest absolute value of a floating-point number.
    pub scale: f32,
    /// Integers are below it.
    pub integers: u64,
    /// Whether texts have several words, of different lengths, and numbers end with zeros, as
    /// padded sequences do.
    pub is_ragged: bool,
    /// What is known of each element of a row; empty if nothing is.
    pub known: &'k [Option<KnownValues>],
}

impl ValueRange<'_> {
    /// Values that most models accept.
    pub(super) fn small(seed: u64) -> Self {
        Self {
            seed,
            scale: 1.0,
            integers: 3,
            is_ragged: false,
            known: &[],
        }
    }
}

/// A tensor of generated values.
pub(super) fn sample_tensor(
    spec: &TensorSpec,
    rows: usize,
    size: usize,
    values: ValueRange<'_>,
) -> Result<Tensor> {
    let dims = spec.shape.as_deref().unwrap_or(&[Dim::Dynamic]);
    let shape: Vec<usize> = dims
        .iter()
        .enumerate()
        .map(|(axis, dim)| match dim {
            Dim::Fixed(n) => *n,
            Dim::Dynamic if axis == 0 => rows,
            Dim::Dynamic => size,
        })
        .collect();
    let count = crate::core::tensor::elements(&shape).filter(|n| *n <= 1 << 26);

    let count = count.ok_or_else(|| {
        Error::precondition(format!(
            "input '{}' is too large for generated inputs; fix its dynamic axes",
            spec.name
        ))
    })?;

    let mut random = SplitMix(values.seed);
    let per_row = count.checked_div(rows).unwrap_or(0);
    if spec.dtype == DType::String {
        let texts: Vec<String> = (0..count)
            .map(|at| text(&mut random, values, at.checked_rem(per_row).unwrap_or(0)))
            .collect();
        let strings = Strings::from_parts(texts.iter().map(String::as_str))?;
        return Tensor::strings(shape, strings);
    }

    let mut bytes = numbers(spec.dtype, count, &mut random, values);
    if values.is_ragged {
        let width = spec.dtype.element_bytes().unwrap_or(1);
        end_with_zeros(&mut bytes, rows, width, &mut random);
    }
    Tensor::fixed(spec.dtype, shape, bytes.into())
}

/// The same tensors with one number in every place of floating point, or of integers.
pub(super) fn filled(tensors: Vec<Tensor>, number: ExtremeValue) -> Result<Vec<Tensor>> {
    let fill = |tensor: Tensor| {
        let is_integer =
            !is_float(tensor.dtype()) && !matches!(tensor.dtype(), DType::String | DType::Bool);
        let number = match number {
            ExtremeValue::Float(number) if is_float(tensor.dtype()) => number,
            ExtremeValue::Integer(number) if is_integer => number as f64,
            _ => return Ok(tensor),
        };
        let count = crate::core::tensor::elements(tensor.shape()).unwrap_or(0);
        let mut bytes = Vec::new();
        for _ in 0..count {
            write_number(&mut bytes, tensor.dtype(), number);
        }
        Tensor::fixed(tensor.dtype(), tensor.shape().to_vec(), bytes.into())
    };
    tensors.into_iter().map(fill).collect()
}

/// The bytes of generated numbers.
fn numbers(dtype: DType, count: usize, random: &mut SplitMix, values: ValueRange<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for at in 0..count {
        let known = at
            .checked_rem(values.known.len())
            .and_then(|at| values.known[at].as_ref());
        match known {
            Some(KnownValues::Numbers { low, high }) => {
                let share = f64::from(unit(random) + 1.0) / 2.0;
                write_number(&mut bytes, dtype, low + (high - low) * share);
            }
            _ if is_float(dtype) => {
                // Numbers over 65,504 have no form in FP16.
                let limit = if dtype == DType::F16 { 1e3 } else { f32::MAX };
                let scale = values.scale.min(limit);
                write_number(&mut bytes, dtype, f64::from(unit(random) * scale));
            }
            _ => {
                let bits = u32::try_from(8 * dtype.element_bytes().unwrap_or(1)).unwrap_or(8);
                let below = if dtype == DType::Bool {
                    2
                } else {
                    values.integers
                };
                let is_signed = matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
                let bits_used = if is_signed { bits - 1 } else { bits };
                let limit = 1_u64.checked_shl(bits_used).unwrap_or(u64::MAX);
                let number = random.next_u64() % below.min(limit);
                let width = bits as usize / 8;
                bytes.extend(&number.to_le_bytes()[..width]);
            }
        }
    }
    bytes
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
}

/// Writes a number as its datatype; integers without their fraction.
fn write_number(bytes: &mut Vec<u8>, dtype: DType, number: f64) {
    match dtype {
        DType::F16 => bytes.extend(f16::from_f64(number).to_le_bytes()),
        DType::BF16 => bytes.extend(bf16::from_f64(number).to_le_bytes()),
        DType::F32 => bytes.extend((number as f32).to_le_bytes()),
        DType::F64 => bytes.extend(number.to_le_bytes()),
        DType::U8 => bytes.push(number as u8),
        DType::I8 => bytes.extend((number as i8).to_le_bytes()),
        DType::U16 => bytes.extend((number as u16).to_le_bytes()),
        DType::I16 => bytes.extend((number as i16).to_le_bytes()),
        DType::U32 => bytes.extend((number as u32).to_le_bytes()),
        DType::I32 => bytes.extend((number as i32).to_le_bytes()),
        DType::U64 => bytes.extend((number as u64).to_le_bytes()),
        DType::I64 => bytes.extend((number as i64).to_le_bytes()),
        DType::Bool | DType::String => bytes.push(u8::from(number > 0.5)),
    }
}

/// Ends each row with zeros, a number of them of its own, as padded sequences end. The first
/// element stays.
fn end_with_zeros(bytes: &mut [u8], rows: usize, width: usize, random: &mut SplitMix) {
    let row_bytes = bytes.len().checked_div(rows).unwrap_or(0);
    let elements = row_bytes.checked_div(width).unwrap_or(0);
    if elements < 2 {
        return;
    }
    for row in bytes.chunks_exact_mut(row_bytes) {
        let kept = 1 + random.next_u64() % elements as u64;
        let kept = usize::try_from(kept).unwrap_or(elements);
        row[kept * width..].fill(0);
    }
}

/// A text of one word, or of up to four words.
fn text(random: &mut SplitMix, values: ValueRange<'_>, at: usize) -> String {
    const WORDS: [&str; 6] = ["low", "high", "other", "a", "The", "considerably"];
    if let Some(Some(KnownValues::Words(words))) = values.known.get(at)
        && !words.is_empty()
    {
        let word = random.next_u64() % words.len() as u64;
        return words[usize::try_from(word).unwrap_or(0)].clone();
    }

    let mut word = |known: usize| WORDS[(random.next_u64() % known as u64) as usize];
    if !values.is_ragged {
        return word(3).to_owned();
    }
    let count = random_length(values.seed);
    let words: Vec<&str> = (0..count).map(|_| word(WORDS.len())).collect();
    words.join(" ")
}

/// A number of words, which is the same in all texts of a row.
fn random_length(seed: u64) -> u64 {
    SplitMix(seed ^ 0x5bd1).next_u64() % 5
}

/// A number in [−1, 1).
fn unit(random: &mut SplitMix) -> f32 {
    (random.next_u64() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
}
