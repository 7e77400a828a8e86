//! Rows of a table as the inputs of a model, and what the model answers for them.

use crate::core::error::{Error, Result};
use crate::core::model::{Dim, Signature, TensorSpec};
use crate::core::tensor::{DType, Strings, Tensor, View};
use crate::onnx::runtime::Session;
use crate::storage::table::{Cell, Column, Table};
use half::{bf16, f16};
use std::ops::Range;

/// Rows in one run.
const RUN_ROWS: usize = 256;

/// A table whose columns fill the inputs of a model.
pub(crate) struct ModelRows<'r> {
    pub table: &'r Table,
    /// The columns that the model takes, in its order.
    pub features: &'r [String],
    pub signature: &'r Signature,
}

impl ModelRows<'_> {
    /// Returns the most rows of a run.
    pub(crate) fn run_rows(&self) -> usize {
        if self.signature.has_dynamic_first_axis() {
            RUN_ROWS
        } else {
            1
        }
    }

    /// Runs the model on some rows. Returns inputs and outputs.
    pub(crate) fn run(
        &self,
        session: &mut dyn Session,
        rows: Range<usize>,
    ) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
        let inputs = self.tensors((rows.start, rows.len()))?;
        let views: Vec<View<'_>> = inputs.iter().map(Tensor::view).collect();
        let outputs = session
            .run(&views)
            .map_err(|e| e.context(format_args!("run rows {} to {}", rows.start, rows.end)))?;
        Ok((inputs, outputs))
    }

    /// Builds the input tensors of some rows.
    fn tensors(&self, (at, rows): (usize, usize)) -> Result<Vec<Tensor>> {
        let mut names = self.features.iter();
        let one = |spec: &TensorSpec| {
            let width = width(spec)?;
            let columns: Vec<&Column> = names
                .by_ref()
                .take(width)
                .filter_map(|name| self.table.column(name))
                .collect();
            let mut shape: Vec<usize> = vec![rows];
            let fixed = spec.shape.iter().flatten().skip(1);
            shape.extend(fixed.filter_map(|d| {
                if let Dim::Fixed(n) = d {
                    Some(*n)
                } else {
                    None
                }
            }));
            let cells = || (at..at + rows).flat_map(|row| columns.iter().map(move |c| (c, row)));
            if spec.dtype == DType::String {
                let words = cells().map(|(column, row)| column.word(row));
                return Tensor::strings(shape, Strings::from_parts(words)?);
            }
            let mut bytes = Vec::with_capacity(rows * width * 8);
            for (column, row) in cells() {
                put(&mut bytes, spec.dtype, cell(column, row))
                    .map_err(|e| e.context(format_args!("input '{}'", spec.name)))
                    .map_err(|e| e.context(format_args!("row {row}")))?;
            }
            Tensor::fixed(spec.dtype, shape, bytes.into())
        };

        self.signature.inputs.iter().map(one).collect()
    }
}

/// Returns a value as a model takes it: a time as seconds since 1970.
fn cell(column: &Column, row: usize) -> Cell<'_> {
    match (column, column.cell(row)) {
        (Column::Time(_), Some(Cell::Whole(micros))) => Cell::Number(micros as f64 / 1e6),
        (_, cell) => cell.unwrap_or(Cell::Number(f64::NAN)),
    }
}

/// Returns the number of columns of an input.
pub fn width(spec: &TensorSpec) -> Result<usize> {
    let vague = || {
        Error::invalid(format!(
            "input '{}' cannot be filled from a table: its rows must have a fixed width",
            spec.name
        ))
    };

    let dims = spec.shape.as_ref().ok_or_else(vague)?;
    let sizes: Option<Vec<usize>> = dims
        .iter()
        .skip(1)
        .map(|d| {
            if let Dim::Fixed(n) = d {
                Some(*n)
            } else {
                None
            }
        })
        .collect();
    sizes
        .and_then(|sizes| crate::core::tensor::elements(&sizes))
        .filter(|n| *n > 0)
        .ok_or_else(vague)
}

fn put(bytes: &mut Vec<u8>, dtype: DType, cell: Cell<'_>) -> Result<()> {
    let (value, whole) = match cell {
        Cell::Number(value) => (value, value as i64),
        Cell::Whole(whole) => (whole as f64, whole),
        Cell::Unsigned(v) if dtype == DType::U64 => {
            bytes.extend(v.to_le_bytes());
            return Ok(());
        }
        Cell::Unsigned(v) => (v as f64, i64::try_from(v).unwrap_or(i64::MAX)),
        Cell::Word(_) | Cell::Bytes(_) => {
            return Err(Error::invalid("must be numbers, but the table has text"));
        }
    };

    match dtype {
        DType::F32 => bytes.extend((value as f32).to_le_bytes()),
        DType::F64 => bytes.extend(value.to_le_bytes()),
        DType::F16 => bytes.extend(f16::from_f64(value).to_le_bytes()),
        DType::BF16 => bytes.extend(bf16::from_f64(value).to_le_bytes()),
        _ => {
            let width = dtype.element_bytes().unwrap_or(8);
            let fits = (whole as f64).to_bits() == (value + 0.0).to_bits()
                && (width == 8 || fits(whole, dtype));
            if !fits {
                return Err(Error::invalid(format!(
                    "must be of type {dtype}, got {value}"
                )));
            }
            bytes.extend(&whole.to_le_bytes()[..width]);
        }
    }

    Ok(())
}

fn fits(whole: i64, dtype: DType) -> bool {
    match dtype {
        DType::Bool => matches!(whole, 0 | 1),
        DType::U8 => u8::try_from(whole).is_ok(),
        DType::I8 => i8::try_from(whole).is_ok(),
        DType::U16 => u16::try_from(whole).is_ok(),
        DType::I16 => i16::try_from(whole).is_ok(),
        DType::U32 => u32::try_from(whole).is_ok(),
        DType::I32 => i32::try_from(whole).is_ok(),
        _ => true,
    }
}
