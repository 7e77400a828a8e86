//! Fills the columns with the tensors of a request.

use super::{CapturedColumn, CapturedTensors, ColumnForm, Keep, OWN, Sheet, column};
use crate::core::request::id::FleetKey;
use crate::core::tensor::{DType, Data, Tensor, elements};
use crate::storage::table::{Column, Table};
use bytes::Bytes;
use half::{bf16, f16};

/// Hexadecimal digits of a hash.
const HASH_DIGITS: usize = 32;

impl Sheet {
    /// Adds the tensors of a request to columns that [`Sheet::empty`] made. The caller fills the
    /// first columns, which every file has.
    pub(in crate::observe::capture) fn add(
        &self,
        table: &mut Table,
        tensors: &CapturedTensors<'_>,
        key: &FleetKey,
    ) {
        let columns = table.columns.iter_mut().skip(OWN.len());
        let mut columns = columns.map(|(_, column)| column);

        for (spread, tensor) in self.with(tensors) {
            match (&spread.form, tensor) {
                (ColumnForm::Whole(kept), _) if kept.keep == Keep::Nothing => {}
                (ColumnForm::Columns(row, kept), Some(tensor)) => {
                    let width = elements(row).unwrap_or(0);
                    add_elements(&mut columns, kept, &RowTensors { tensor, width }, key);
                }
                (ColumnForm::Whole(_), Some(tensor)) => {
                    add_whole(&mut columns, tensor, tensors.rows, key);
                }
                (_, None) => add_nothing(&mut columns, tensors.rows),
            }
        }
    }
}

/// A tensor with so many elements in each row.
struct RowTensors<'t> {
    tensor: &'t Tensor,
    width: usize,
}

/// Adds every element of a row to a column of its own, or its hash.
fn add_elements<'c>(
    columns: &mut impl Iterator<Item = &'c mut Column>,
    kept: &[CapturedColumn],
    rows: &RowTensors<'_>,
    key: &FleetKey,
) {
    for (at, kept) in kept.iter().enumerate() {
        match kept.keep {
            Keep::Nothing => {}
            Keep::Value => rows.push(at, next(columns)),
            Keep::Hash => rows.push_hashes(at, next(columns), key),
        }
    }
}

/// Adds a whole tensor and its shape, or its hash and its shape, to the first row of a request.
fn add_whole<'c>(
    columns: &mut impl Iterator<Item = &'c mut Column>,
    tensor: &Tensor,
    rows: usize,
    key: &FleetKey,
) {
    match next(columns) {
        Column::Bytes(all) => {
            all.push(tensor.to_raw());
            all.extend((1..rows).map(|_| Bytes::new()));
        }
        Column::Words(all) => {
            all.push(hash(key, &tensor.to_raw()));
            all.extend((1..rows).map(|_| String::new()));
        }
        _ => {}
    }

    if let Column::Words(all) = next(columns) {
        let shape: Vec<String> = tensor.shape().iter().map(ToString::to_string).collect();
        all.push(shape.join(","));
        all.extend((1..rows).map(|_| String::new()));
    }
}

/// Adds empty cells for an optional input that the request left out.
fn add_nothing<'c>(columns: &mut impl Iterator<Item = &'c mut Column>, rows: usize) {
    for _ in ["values", "shape"] {
        match next(columns) {
            Column::Bytes(all) => all.extend((0..rows).map(|_| Bytes::new())),
            Column::Words(all) => all.extend((0..rows).map(|_| String::new())),
            _ => {}
        }
    }
}

fn next<'c>(columns: &mut impl Iterator<Item = &'c mut Column>) -> &'c mut Column {
    columns.next().expect("the sheet made these columns")
}

impl RowTensors<'_> {
    /// Adds the hashes of the elements at one place.
    fn push_hashes(&self, at: usize, hashes: &mut Column, key: &FleetKey) {
        let Column::Words(words) = hashes else {
            return;
        };

        let mut plain = column(self.tensor.dtype());
        self.push(at, &mut plain);
        words.extend((0..plain.len()).map(|row| hash(key, plain.word(row).as_bytes())));
    }

    /// Adds the elements at one place.
    fn push(&self, at: usize, column: &mut Column) {
        let dtype = self.tensor.dtype();
        let bytes = match (self.tensor.data(), &mut *column) {
            (Data::Strings(strings), Column::Words(words)) => {
                let strings = strings.words().skip(at).step_by(self.width);
                words.extend(strings.map(str::to_owned));
                return;
            }
            (Data::Strings(_), _) => return,
            (Data::Fixed(bytes), _) => bytes,
        };

        let size = dtype.element_bytes().unwrap_or(1);
        let elements = bytes
            .chunks_exact(size * self.width)
            .map(|row| &row[at * size..(at + 1) * size]);
        let integers = elements.clone().map(|b| integer(dtype, b));
        match column {
            Column::F32(all) => all.extend(elements.map(|b| float(dtype, b))),
            Column::F64(all) => all.extend(integers.map(|n| f64::from_bits(n.cast_unsigned()))),
            Column::Bool(all) => all.extend(elements.map(|b| b[0] != 0)),
            Column::I32(all) => all.extend(integers.map(|n| n as i32)),
            Column::I64(all) => all.extend(integers),
            Column::U64(all) => all.extend(integers.map(i64::cast_unsigned)),
            Column::Time(_) | Column::Words(_) | Column::Bytes(_) => {}
        }
    }
}

/// Reads an element of at most 8 bytes as an integer, with its sign if it has one.
fn integer(dtype: DType, bytes: &[u8]) -> i64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    let n = i64::from_le_bytes(word);

    match dtype {
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => {
            // Shifting to the top and back extends the sign.
            let unused = 64 - 8 * bytes.len() as u32;
            n << unused >> unused
        }
        _ => n,
    }
}

/// Reads a floating-point element of 2 or 4 bytes.
fn float(dtype: DType, bytes: &[u8]) -> f32 {
    match dtype {
        DType::F16 => f16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        DType::BF16 => bf16::from_le_bytes([bytes[0], bytes[1]]).to_f32(),
        _ => f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
    }
}

/// Hashes a value with the fleet's key. Equal values have equal hashes; without the key, a value
/// cannot be found by hashing guesses.
fn hash(key: &FleetKey, value: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    let tag = ring::hmac::sign(&key, value);
    tag.as_ref()
        .iter()
        .take(HASH_DIGITS / 2)
        .map(|b| format!("{b:02x}"))
        .collect()
}
