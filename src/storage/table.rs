//! Tables of typed columns, from text (CSV and its kin) and Parquet files: whole in memory, up to a
//! limit of rows and cells. Knows no model.

pub mod columnar;
pub mod text;
mod whole;

use crate::core::error::{Error, Result};
use bytes::Bytes;
use std::path::Path;
use text::format::TextFormat;

/// The most rows of a table; a longer one is refused.
pub(crate) const ROWS_MAX: usize = 2_000_000;
/// The most cells.
pub(crate) const CELLS_MAX: usize = 200_000_000;

/// A table.
#[derive(Debug, Default, PartialEq)]
pub struct Table {
    /// Columns with their names, in order.
    pub columns: Vec<(String, Column)>,
    /// Rows of every column.
    pub rows: usize,
}

/// The values of a column, one for each row.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Booleans.
    Bool(Vec<bool>),
    /// Signed integers of four bytes.
    I32(Vec<i32>),
    /// Signed integers of eight bytes.
    I64(Vec<i64>),
    /// Unsigned integers of eight bytes.
    U64(Vec<u64>),
    /// Single precision.
    F32(Vec<f32>),
    /// Double precision; NaN for a missing value.
    F64(Vec<f64>),
    /// Microseconds since 1970, UTC.
    Time(Vec<i64>),
    /// Text; empty for a missing value.
    Words(Vec<String>),
    /// Byte strings.
    Bytes(Vec<Bytes>),
}

/// One value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'c> {
    Number(f64),
    Whole(i64),
    /// A value of an unsigned column of 64 bits.
    Unsigned(u64),
    Word(&'c str),
    Bytes(&'c Bytes),
}

impl Column {
    /// Returns the value of a row.
    pub(crate) fn cell(&self, row: usize) -> Option<Cell<'_>> {
        match self {
            Self::Bool(values) => values.get(row).map(|v| Cell::Whole((*v).into())),
            Self::I32(values) => values.get(row).map(|v| Cell::Whole((*v).into())),
            Self::I64(values) | Self::Time(values) => values.get(row).map(|v| Cell::Whole(*v)),
            Self::U64(values) => values.get(row).map(|v| Cell::Unsigned(*v)),
            Self::F32(values) => values.get(row).map(|v| Cell::Number((*v).into())),
            Self::F64(values) => values.get(row).map(|v| Cell::Number(*v)),
            Self::Words(words) => words.get(row).map(|w| Cell::Word(w)),
            Self::Bytes(values) => values.get(row).map(Cell::Bytes),
        }
    }

    /// Returns a value as text; a missing one is empty.
    pub fn word(&self, row: usize) -> String {
        match self.cell(row) {
            Some(Cell::Whole(v)) if matches!(self, Self::Bool(_)) => (v != 0).to_string(),
            Some(Cell::Number(v)) => v.to_string(),
            Some(Cell::Whole(v)) => v.to_string(),
            Some(Cell::Unsigned(v)) => v.to_string(),
            Some(Cell::Word(word)) => word.to_owned(),
            Some(Cell::Bytes(_)) | None => String::new(),
        }
    }

    /// Appends the values of another column; false if its type differs.
    fn append(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => a.extend_from_slice(b),
            (Self::I32(a), Self::I32(b)) => a.extend_from_slice(b),
            (Self::I64(a), Self::I64(b)) | (Self::Time(a), Self::Time(b)) => a.extend_from_slice(b),
            (Self::U64(a), Self::U64(b)) => a.extend_from_slice(b),
            (Self::F32(a), Self::F32(b)) => a.extend_from_slice(b),
            (Self::F64(a), Self::F64(b)) => a.extend_from_slice(b),
            (Self::Words(a), Self::Words(b)) => a.extend_from_slice(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.extend_from_slice(b),
            _ => return false,
        }

        true
    }

    fn take(&self, rows: &[usize]) -> Self {
        fn of<T: Clone>(all: &[T], rows: &[usize]) -> Vec<T> {
            rows.iter().map(|row| all[*row].clone()).collect()
        }
        match self {
            Self::Bool(v) => Self::Bool(of(v, rows)),
            Self::I32(v) => Self::I32(of(v, rows)),
            Self::I64(v) => Self::I64(of(v, rows)),
            Self::U64(v) => Self::U64(of(v, rows)),
            Self::F32(v) => Self::F32(of(v, rows)),
            Self::F64(v) => Self::F64(of(v, rows)),
            Self::Time(v) => Self::Time(of(v, rows)),
            Self::Words(v) => Self::Words(of(v, rows)),
            Self::Bytes(v) => Self::Bytes(of(v, rows)),
        }
    }

    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bool(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::I64(v) | Self::Time(v) => v.len(),
            Self::U64(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::Words(v) => v.len(),
            Self::Bytes(v) => v.len(),
        }
    }
}

impl Table {
    /// Appends the rows of another table; false, and nothing changed, if the columns differ.
    pub fn append(&mut self, other: &Self) -> bool {
        let same = |(a, b): (&(String, Column), &(String, Column))| {
            a.0 == b.0 && std::mem::discriminant(&a.1) == std::mem::discriminant(&b.1)
        };
        if self.columns.len() != other.columns.len()
            || !self.columns.iter().zip(&other.columns).all(same)
        {
            return false;
        }

        self.rows += other.rows;
        self.columns
            .iter_mut()
            .zip(&other.columns)
            .all(|((_, a), (_, b))| a.append(b))
    }

    /// Returns the rows at these positions, in their order.
    pub fn take(&self, rows: &[usize]) -> Self {
        let columns = self
            .columns
            .iter()
            .map(|(name, column)| (name.clone(), column.take(rows)));
        Self {
            columns: columns.collect(),
            rows: rows.len(),
        }
    }

    /// Reads a file: Parquet if it begins with its magic bytes, else text with a header, as
    /// [`text`] reads it.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        Self::read_format(path, &TextFormat::default())
    }

    /// Reads a file, whose text is written as `format` says.
    pub(crate) fn read_format(path: &Path, format: &TextFormat) -> Result<Self> {
        let unreadable = |e: std::io::Error| {
            Error::invalid(format!("{} cannot be read", path.display())).with_source(e)
        };
        let mut file = std::fs::File::open(path).map_err(unreadable)?;
        let mut magic = [0; 4];
        let begins = std::io::Read::read(&mut file, &mut magic).map_err(unreadable)?;
        let table = if begins == magic.len() && magic == *columnar::MAGIC {
            let read = columnar::read_file(file).map(|(table, _)| table);
            read.map_err(|e| e.context(path.display()))
        } else {
            whole::read(text::TextSource::file(path), format)
        };

        let table = table?;
        let mut names: Vec<&str> = table
            .columns
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        names.sort_unstable();

        if names.iter().any(|n| n.is_empty()) || names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(
                Error::invalid("has a column without a name, or two of one name")
                    .context(path.display()),
            );
        }

        if table.rows == 0 {
            return Err(Error::invalid("has no rows").context(path.display()));
        }
        Ok(table)
    }

    /// Finds a column by its name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, column)| column)
    }

    /// Returns some rows, in the order in which they are listed.
    pub(crate) fn rows_at(&self, rows: &[usize]) -> Self {
        let of = |(name, column): &(String, Column)| (name.clone(), column.take(rows));
        Self {
            columns: self.columns.iter().map(of).collect(),
            rows: rows.len(),
        }
    }

    /// The names of the columns.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }
}

/// Refuses a table over the limits.
fn check(rows: usize, columns: usize) -> Result<()> {
    if rows > ROWS_MAX || rows.saturating_mul(columns) > CELLS_MAX {
        return Err(Error::too_large(format!(
            "has over {ROWS_MAX} rows or {CELLS_MAX} cells; take a sample"
        )));
    }

    Ok(())
}
