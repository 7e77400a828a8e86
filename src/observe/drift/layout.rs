//! Which columns a model has, and where they lie in its tensors: one for each element of a row,
//! named by the feature names or as `input[3]`. Wide rows such as images and embeddings are reduced
//! to summaries instead.

#[cfg(test)]
mod tests;

use crate::core::hash::SplitMix;
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::{DType, Data, Tensor};
use half::{bf16, f16};
use std::collections::BTreeSet;

/// Rows wider than this are reduced to summaries, unless their columns are named.
pub(crate) const WIDE: usize = 256;
/// Most columns of a model that are monitored one by one.
pub(crate) const PLACES_MAX: usize = 2_048;
/// Parts that a wide row is divided into, and directions that it is projected on.
const PARTS: usize = 8;

/// Whether a column belongs to the inputs or to the outputs.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// A column of the inputs.
    Input,
    /// A column of the outputs.
    Output,
}

impl Side {
    /// Returns its name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
        }
    }
}

/// What a column takes from a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RowPart {
    /// One element.
    Element(usize),
    /// The root of the sum of squares (Euclidean norm).
    Norm,
    Mean,
    /// The mean of one of eight equal parts.
    Block(usize),
    /// A random projection: the sum with fixed random signs, divided by the root of the width.
    Projection(usize),
    /// How far the row's numbers together are from the baseline's; computed apart.
    Together,
}

/// One column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColumnPlace {
    pub name: String,
    pub side: Side,
    /// Index of the tensor in the signature.
    pub tensor: usize,
    pub part: RowPart,
    pub dtype: DType,
}

/// Lists the columns of a model: those of the inputs, then those of the outputs. Columns without a
/// name are left out.
pub(crate) fn column_places(signature: &Signature, features: &[String]) -> Vec<ColumnPlace> {
    let named = |specs: &[TensorSpec]| {
        specs.iter().map(|s| width(s).unwrap_or(0)).sum::<usize>() == features.len()
    };
    let is_named = !features.is_empty() && features.len() <= PLACES_MAX && named(&signature.inputs);
    let mut names = features.iter();
    let mut all = Vec::new();
    for (side, specs) in [
        (Side::Input, &signature.inputs),
        (Side::Output, &signature.outputs),
    ] {
        for (tensor, spec) in specs.iter().enumerate() {
            let width = width(spec);
            let place = |name: String, part| ColumnPlace {
                name,
                side,
                tensor,
                part,
                dtype: spec.dtype,
            };
            let narrow = width.filter(|w| (is_named && side == Side::Input) || *w <= WIDE);
            match narrow.filter(|w| all.len() + w <= PLACES_MAX) {
                Some(width) => {
                    for i in 0..width {
                        let own = if width == 1 {
                            spec.name.clone()
                        } else {
                            format!("{}[{i}]", spec.name)
                        };
                        let given = if is_named && side == Side::Input {
                            names.next().cloned()
                        } else {
                            None
                        };
                        all.push(place(given.unwrap_or(own), RowPart::Element(i)));
                    }
                }
                None if spec.dtype == DType::String => {}
                None => all.extend(
                    summaries().map(|(word, part)| place(format!("{}.{word}", spec.name), part)),
                ),
            }
        }
    }

    // Two columns with one name would be confused.
    let mut seen = BTreeSet::new();
    all.retain(|p| seen.insert(p.name.clone()));
    all
}

fn summaries() -> impl Iterator<Item = (String, RowPart)> {
    let blocks = (0..PARTS).map(|i| (format!("block[{i}]"), RowPart::Block(i)));
    let projections = (0..PARTS).map(|i| (format!("projection[{i}]"), RowPart::Projection(i)));
    [
        ("norm".to_owned(), RowPart::Norm),
        ("mean".to_owned(), RowPart::Mean),
    ]
    .into_iter()
    .chain(blocks)
    .chain(projections)
}

/// Returns the number of elements of a row; none if the model does not fix it.
fn width(spec: &TensorSpec) -> Option<usize> {
    let dims = spec.shape.as_ref()?;
    let fixed = |d: &Dim| {
        if let Dim::Fixed(n) = d {
            Some(*n)
        } else {
            None
        }
    };

    let sizes: Option<Vec<usize>> = dims.iter().skip(1).map(fixed).collect();
    sizes.and_then(|sizes| crate::core::tensor::elements(&sizes))
}

/// A value of a column.
pub(crate) enum ColumnValue<'t> {
    Number(f64),
    /// An integer, which may stand for a category.
    Whole(i64),
    Word(&'t str),
}

impl ColumnValue<'_> {
    /// Returns it as a number; NaN for a word.
    pub(crate) fn number(&self) -> f64 {
        match self {
            Self::Number(v) => *v,
            Self::Whole(v) => *v as f64,
            Self::Word(_) => f64::NAN,
        }
    }
}

/// Finds a column of a side by its name.
pub(crate) fn find_place<'p>(
    places: &'p [ColumnPlace],
    side: Side,
    name: &str,
) -> Option<&'p ColumnPlace> {
    places
        .iter()
        .find(|place| place.side == side && place.name == name)
}

/// Calls `each` with every row's value of a column.
pub(crate) fn each_value<'t>(
    place: &ColumnPlace,
    tensor: &'t Tensor,
    mut each: impl FnMut(ColumnValue<'t>),
) {
    let rows = tensor.rows().unwrap_or(1);
    let width = crate::core::tensor::elements(tensor.shape())
        .unwrap_or(0)
        .checked_div(rows)
        .unwrap_or(0);
    match (tensor.data(), place.part) {
        _ if width == 0 => {}
        (Data::Strings(strings), RowPart::Element(at)) => {
            strings
                .words()
                .skip(at)
                .step_by(width)
                .for_each(|word| each(ColumnValue::Word(word)));
        }
        (Data::Strings(_), _) | (_, RowPart::Together) => {}
        (Data::Fixed(bytes), part) => {
            let size = bytes.len() / (rows * width);
            bytes.chunks_exact(size * width).for_each(|row| match part {
                RowPart::Element(at) if at < width => {
                    each(element(place.dtype, &row[at * size..(at + 1) * size]))
                }
                RowPart::Element(_) => {}
                part => each(ColumnValue::Number(summary(part, place.dtype, row, size))),
            });
        }
    }
}

fn number(dtype: DType, bytes: &[u8]) -> f64 {
    element(dtype, bytes).number()
}

fn element<'t>(dtype: DType, bytes: &[u8]) -> ColumnValue<'t> {
    fn word<const N: usize>(bytes: &[u8]) -> [u8; N] {
        bytes.try_into().expect("chunks have the element's width")
    }
    match dtype {
        DType::F32 => ColumnValue::Number(f32::from_le_bytes(word(bytes)).into()),
        DType::F64 => ColumnValue::Number(f64::from_le_bytes(word(bytes))),
        DType::F16 => ColumnValue::Number(f16::from_le_bytes(word(bytes)).into()),
        DType::BF16 => ColumnValue::Number(bf16::from_le_bytes(word(bytes)).into()),
        DType::Bool | DType::U8 => ColumnValue::Whole(bytes[0].into()),
        DType::I8 => ColumnValue::Whole(i8::from_le_bytes(word(bytes)).into()),
        DType::U16 => ColumnValue::Whole(u16::from_le_bytes(word(bytes)).into()),
        DType::I16 => ColumnValue::Whole(i16::from_le_bytes(word(bytes)).into()),
        DType::U32 => ColumnValue::Whole(u32::from_le_bytes(word(bytes)).into()),
        DType::I32 => ColumnValue::Whole(i32::from_le_bytes(word(bytes)).into()),
        DType::I64 => ColumnValue::Whole(i64::from_le_bytes(word(bytes))),
        // Integers beyond i64 are not categories.
        DType::U64 => {
            let n = u64::from_le_bytes(word(bytes));
            i64::try_from(n).map_or(ColumnValue::Number(n as f64), ColumnValue::Whole)
        }
        DType::String => unreachable!("strings are not fixed-width"),
    }
}

fn summary(part: RowPart, dtype: DType, row: &[u8], size: usize) -> f64 {
    let values = row.chunks_exact(size).map(|bytes| number(dtype, bytes));
    let width = row.len() / size;
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, n) = values.fold((0.0, 0_u32), |(sum, n), v| (sum + v, n + 1));
        sum / f64::from(n.max(1))
    };
    match part {
        RowPart::Norm => values.map(|v| v * v).sum::<f64>().sqrt(),
        RowPart::Block(i) => {
            let (from, to) = (i * width / PARTS, (i + 1) * width / PARTS);
            mean(&mut values.skip(from).take(to - from))
        }
        RowPart::Projection(i) => {
            let sum: f64 = values
                .enumerate()
                .map(|(at, v)| if sign(i, at) { v } else { -v })
                .sum();
            sum / (width as f64).sqrt()
        }
        RowPart::Mean | RowPart::Element(_) | RowPart::Together => mean(&mut values.into_iter()),
    }
}

/// Returns a fixed random sign for each direction and element: one step of SplitMix64.
fn sign(direction: usize, at: usize) -> bool {
    let place = (direction as u64) << 48 | at as u64;
    SplitMix(place).next_u64() & 1 == 1
}
