//! Reads the tensors of a request back from its columns.

use super::{CapturedColumn, ColumnForm, Keep, Sheet, Spread};
use crate::core::error::{Error, Result, short};
use crate::core::tensor::{DType, Strings, Tensor};
use crate::storage::table::{Cell, Column, Table};
use bytes::Bytes;
use half::{bf16, f16};
use std::ops::Range;

impl Sheet {
    /// Returns the inputs or the outputs of a request from its rows, without optional inputs that
    /// it left out. Refuses a tensor that was dropped or hashed, even in part.
    pub(crate) fn tensors(
        &self,
        table: &Table,
        rows: Range<usize>,
        input: bool,
    ) -> Result<Vec<(String, Tensor)>> {
        self.tensors
            .iter()
            .filter(|spread| spread.input == input && spread.is_given(table, rows.start))
            .map(|spread| Ok((spread.name.clone(), spread.tensor(table, rows.clone())?)))
            .collect()
    }
}

impl Spread {
    /// Tells whether a request gave the tensor. A tensor without bytes and without dimensions does
    /// not exist, so such cells stand for an optional input that was left out. One that was
    /// dropped may have been given.
    fn is_given(&self, table: &Table, row: usize) -> bool {
        let ColumnForm::Whole(kept) = &self.form else {
            return true;
        };
        let shape = table.column(&format!("{}.shape", kept.column));
        let Some(shape) = shape.filter(|_| self.optional) else {
            return true;
        };

        let is_empty = match table.column(&kept.column) {
            Some(Column::Bytes(all)) => all.get(row).is_none_or(Bytes::is_empty),
            Some(Column::Words(all)) => all.get(row).is_none_or(String::is_empty),
            _ => false,
        };
        !(is_empty && shape.word(row).is_empty())
    }

    fn tensor(&self, table: &Table, rows: Range<usize>) -> Result<Tensor> {
        let dtype = DType::from_name(&self.datatype).ok_or_else(|| {
            Error::precondition(format!("datatype '{}' is unknown", short(&self.datatype)))
        })?;

        match &self.form {
            ColumnForm::Columns(row, kept) => {
                let columns: Vec<&Column> = kept
                    .iter()
                    .map(|kept| kept.of(table))
                    .collect::<Result<_>>()?;
                let shape = std::iter::once(rows.len()).chain(row.iter().copied());
                from_elements(dtype, shape.collect(), &columns, rows)
            }
            ColumnForm::Whole(kept) => kept.whole(dtype, table, rows.start),
        }
    }
}

/// Builds a tensor from columns that hold one element of each row.
fn from_elements(
    dtype: DType,
    shape: Vec<usize>,
    columns: &[&Column],
    rows: Range<usize>,
) -> Result<Tensor> {
    let cells = rows.flat_map(|row| columns.iter().map(move |column| column.cell(row)));

    if dtype == DType::String {
        let words = cells.map(|cell| match cell {
            Some(Cell::Word(word)) => word,
            _ => "",
        });
        return Tensor::strings(shape, Strings::from_parts(words)?);
    }

    let mut bytes = Vec::new();
    for cell in cells.flatten() {
        put(&mut bytes, dtype, cell);
    }
    Tensor::fixed(dtype, shape, bytes.into())
}

impl CapturedColumn {
    /// Finds the column. Refuses one that does not hold the values themselves.
    fn of<'t>(&self, table: &'t Table) -> Result<&'t Column> {
        let how = match self.keep {
            Keep::Value => None,
            Keep::Hash => Some("hashed"),
            Keep::Nothing => Some("dropped"),
        };
        let name = short(&self.column);
        if let Some(how) = how {
            return Err(Error::precondition(format!(
                "the column '{name}' was {how} when it was captured"
            )));
        }

        table
            .column(&self.column)
            .ok_or_else(|| Error::precondition(format!("the file lacks the column '{name}'")))
    }

    /// Reads a tensor that is stored whole, from the first row of its request.
    fn whole(&self, dtype: DType, table: &Table, row: usize) -> Result<Tensor> {
        let damaged =
            || Error::precondition(format!("the column '{}' is damaged", short(&self.column)));
        let Some(Cell::Bytes(raw)) = self.of(table)?.cell(row) else {
            return Err(damaged());
        };

        let shape = table
            .column(&format!("{}.shape", self.column))
            .map(|column| column.word(row))
            .unwrap_or_default();
        let dims = shape
            .split(',')
            .filter(|dim| !dim.is_empty())
            .map(|dim| dim.parse().map_err(|_| damaged()))
            .collect::<Result<Vec<usize>>>()?;
        Tensor::from_raw(dtype, dims, raw.clone())
    }
}

/// Appends the bytes of an element, as they are in requests.
fn put(bytes: &mut Vec<u8>, dtype: DType, cell: Cell<'_>) {
    match (dtype, cell) {
        (DType::F32, Cell::Number(v)) => bytes.extend((v as f32).to_le_bytes()),
        (DType::F16, Cell::Number(v)) => bytes.extend(f16::from_f64(v).to_le_bytes()),
        (DType::BF16, Cell::Number(v)) => bytes.extend(bf16::from_f64(v).to_le_bytes()),
        (_, Cell::Number(v)) => bytes.extend(v.to_le_bytes()),
        (_, Cell::Whole(v)) => bytes.extend(&v.to_le_bytes()[..dtype.element_bytes().unwrap_or(8)]),
        (_, Cell::Unsigned(v)) => bytes.extend(v.to_le_bytes()),
        (_, Cell::Word(_) | Cell::Bytes(_)) => {}
    }
}
