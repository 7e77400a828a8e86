//! The columns of a capture file, and how tensors are written to them and read back: one column for
//! each element of narrow rows, or the whole tensor in the first row. Drops and hashes the columns
//! that the settings name.

use super::settings::CaptureSettings;
use crate::core::error::short;
use crate::core::error::{Error, Result};
use crate::core::model::{Dim, TensorSpec};
use crate::core::request::id::Key;
use crate::core::tensor::{DType, Data, Strings, Tensor};
use crate::observe::drift::layout::{Part, Place, Side, WIDE};
use crate::observe::drift::watch::Subject;
use crate::storage::table::{Cell, Column, Table};
use bytes::Bytes;
use half::{bf16, f16};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Columns that every file has.
pub const OWN: [&str; 3] = ["prediction_id", "row", "time"];
/// Digits of a hash.
const HASH_DIGITS: usize = 32;

/// The columns of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sheet {
    /// The tensors, inputs first.
    pub tensors: Vec<Spread>,
}

/// How one tensor lies in columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Name of the tensor.
    pub name: String,
    /// Whether it was asked, or answered.
    pub input: bool,
    /// Datatype, in the words of the Open Inference Protocol.
    pub datatype: String,
    /// How the tensor lies in columns.
    pub form: Form,
}

/// The forms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// A column for each place of a row; the shape of a row.
    Columns(Vec<usize>, Vec<Kept>),
    /// All of it beside the request's first row, as the wire has it, and its shape
    /// in a column of the same name with `.shape`.
    Whole(Kept),
}

/// One column, and what of the values it keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Name of the column.
    pub column: String,
    /// What is kept of its values.
    pub keep: Keep,
}

/// What is kept of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The value itself.
    Value,
    /// A keyed hash of the value.
    Hash,
    /// Nothing.
    Nothing,
}

/// Decides what is kept of a column, by the rules `column` and `model/column` of the settings.
fn keep_of(settings: &CaptureSettings, model: &str, column: &str) -> Keep {
    let is_named = |rules: &[String]| rules.iter().any(|rule| names(rule, model, column));

    match (is_named(&settings.drop), is_named(&settings.hash)) {
        (true, _) => Keep::Nothing,
        (_, true) => Keep::Hash,
        _ => Keep::Value,
    }
}

/// Tells whether a rule names a column of a model.
fn names(rule: &str, model: &str, column: &str) -> bool {
    rule == column || rule.split_once('/') == Some((model, column))
}

impl Sheet {
    /// Lays out the columns of a version. Refuses a rule for this model that names
    /// none of them: what should have been left out would be kept.
    pub(crate) fn new(subject: &Subject, settings: &CaptureSettings) -> Result<Self> {
        let places = subject.places()?;
        let model = subject.model.as_str();
        let leads = subject.signature.has_dynamic_first_axis();
        let mut taken: BTreeSet<String> = OWN.map(str::to_owned).into();
        let mut tensors = Vec::new();
        let sides = [
            (true, &subject.signature.inputs),
            (false, &subject.signature.outputs),
        ];
        for (input, specs) in sides {
            for (at, spec) in specs.iter().enumerate() {
                let side = if input { Side::Input } else { Side::Output };
                let own: Vec<&Place> = places
                    .iter()
                    .filter(|p| p.side == side && p.tensor == at)
                    .collect();
                let row = row_of(spec).filter(|_| leads);
                let width = row
                    .as_deref()
                    .and_then(crate::core::tensor::elements)
                    .unwrap_or(0);
                let narrow = width > 0
                    && own.len() == width
                    && own.iter().all(|p| matches!(p.part, Part::Element(_)))
                    && (width <= WIDE || !subject.features.is_empty());
                let mut kept = |name: &str| {
                    let keep = keep_of(settings, model, name);
                    let side = if input { "input" } else { "output" };
                    let free = if taken.contains(name) {
                        format!("{side}.{name}")
                    } else {
                        name.to_owned()
                    };
                    taken.insert(free.clone());
                    Kept { column: free, keep }
                };
                let form = match row.filter(|_| narrow) {
                    Some(row) => Form::Columns(row, own.iter().map(|p| kept(&p.name)).collect()),
                    None => {
                        let mut whole = kept(&spec.name);
                        // What is kept whole holds every column of it, under whatever name a rule has for one.
                        let features = if input {
                            subject.features.as_slice()
                        } else {
                            &[]
                        };
                        let names = own
                            .iter()
                            .map(|p| p.name.as_str())
                            .chain(features.iter().map(String::as_str));
                        if names
                            .map(|name| keep_of(settings, model, name))
                            .any(|keep| keep != Keep::Value)
                        {
                            whole.keep = Keep::Nothing;
                        }
                        Form::Whole(whole)
                    }
                };
                tensors.push(Spread {
                    name: spec.name.clone(),
                    input,
                    datatype: spec.dtype.name().to_owned(),
                    form,
                });
            }
        }

        let sheet = Self { tensors };
        let named = |column: &str| {
            subject.features.iter().any(|f| f == column) || places.iter().any(|p| p.name == column)
        };
        let has = |column: &str| {
            named(column)
                || sheet
                    .kept()
                    .any(|k| k.column.trim_start_matches("input.") == column)
        };

        for rule in settings.drop.iter().chain(&settings.hash) {
            if let Some((_, column)) = rule.split_once('/').filter(|(m, c)| *m == model && !has(c))
            {
                let column = short(column);
                return Err(Error::precondition(format!(
                    "capture.drop and capture.hash must name columns of the model, and it has no '{column}'"
                )));
            }
        }

        Ok(sheet)
    }

    fn kept(&self) -> impl Iterator<Item = &Kept> {
        self.tensors.iter().flat_map(|t| match &t.form {
            Form::Columns(_, kept) => kept.as_slice(),
            Form::Whole(kept) => std::slice::from_ref(kept),
        })
    }

    /// The columns, without rows.
    pub(super) fn empty(&self) -> Table {
        let mut columns: Vec<(String, Column)> = vec![
            (OWN[0].to_owned(), Column::Words(Vec::new())),
            (OWN[1].to_owned(), Column::I32(Vec::new())),
            (OWN[2].to_owned(), Column::Time(Vec::new())),
        ];

        for Spread { datatype, form, .. } in &self.tensors {
            let dtype = DType::from_name(datatype).unwrap_or(DType::F64);
            match form {
                Form::Columns(_, kept) => {
                    for kept in kept.iter().filter(|k| k.keep != Keep::Nothing) {
                        let column = if kept.keep == Keep::Hash {
                            Column::Words(Vec::new())
                        } else {
                            column(dtype)
                        };
                        columns.push((kept.column.clone(), column));
                    }
                }
                Form::Whole(kept) if kept.keep == Keep::Nothing => {}
                Form::Whole(kept) => {
                    let bytes = kept.keep == Keep::Value;
                    let column = if bytes {
                        Column::Bytes(Vec::new())
                    } else {
                        Column::Words(Vec::new())
                    };
                    columns.push((kept.column.clone(), column));
                    columns.push((format!("{}.shape", kept.column), Column::Words(Vec::new())));
                }
            }
        }

        Table { columns, rows: 0 }
    }

    /// Whether a request has as many rows in each tensor that goes into columns.
    pub(super) fn takes(&self, (inputs, outputs): (&[Tensor], &[Tensor]), rows: usize) -> bool {
        let even = |(spread, tensor): (&Spread, &Tensor)| match &spread.form {
            Form::Columns(row, _) => {
                tensor.rows() == Some(rows) && tensor.shape().get(1..) == Some(row.as_slice())
            }
            Form::Whole(_) => true,
        };

        let all = inputs.len() + outputs.len() == self.tensors.len();
        rows > 0
            && all
            && self
                .tensors
                .iter()
                .zip(inputs.iter().chain(outputs))
                .all(even)
    }

    /// Adds the tensors of a request, in the signature's order, to columns that
    /// [`Sheet::empty`] made; the own ones are the caller's.
    pub(super) fn add(
        &self,
        table: &mut Table,
        (inputs, outputs): (&[Tensor], &[Tensor]),
        rows: usize,
        key: &Key,
    ) {
        let mut columns = table
            .columns
            .iter_mut()
            .skip(OWN.len())
            .map(|(_, column)| column);
        let mut next = || columns.next().expect("the sheet made these columns");

        let tensors = inputs.iter().chain(outputs);
        for (spread, tensor) in self.tensors.iter().zip(tensors) {
            match &spread.form {
                Form::Columns(row, kept) => {
                    let width = crate::core::tensor::elements(row).unwrap_or(0);
                    for (at, kept) in kept.iter().enumerate() {
                        match kept.keep {
                            Keep::Nothing => {}
                            Keep::Value => push(next(), tensor, (at, width)),
                            Keep::Hash => {
                                let Column::Words(words) = next() else {
                                    continue;
                                };
                                let mut plain = column(tensor.dtype());
                                push(&mut plain, tensor, (at, width));
                                words.extend(
                                    (0..plain.len())
                                        .map(|row| hash(key, plain.word(row).as_bytes())),
                                );
                            }
                        }
                    }
                }
                Form::Whole(kept) if kept.keep == Keep::Nothing => {}
                Form::Whole(_) => {
                    let shape: Vec<String> =
                        tensor.shape().iter().map(ToString::to_string).collect();
                    match next() {
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
                    if let Column::Words(all) = next() {
                        all.push(shape.join(","));
                        all.extend((1..rows).map(|_| String::new()));
                    }
                }
            }
        }
    }

    /// Brings back the tensors of one side of a request from its rows. Refuses
    /// what was left out or hashed.
    pub(crate) fn tensors(
        &self,
        table: &Table,
        rows: std::ops::Range<usize>,
        input: bool,
    ) -> Result<Vec<(String, Tensor)>> {
        let of_side = self.tensors.iter().filter(|t| t.input == input);
        of_side
            .map(|spread| Ok((spread.name.clone(), spread.tensor(table, rows.clone())?)))
            .collect()
    }
}

impl Spread {
    fn tensor(&self, table: &Table, rows: std::ops::Range<usize>) -> Result<Tensor> {
        let dtype = DType::from_name(&self.datatype);
        let dtype = dtype.ok_or_else(|| {
            Error::precondition(format!("datatype '{}' is unknown", short(&self.datatype)))
        })?;
        let column = |kept: &Kept| {
            if kept.keep != Keep::Value {
                let how = if kept.keep == Keep::Hash {
                    "hashed"
                } else {
                    "dropped"
                };
                let column = short(&kept.column);
                return Err(Error::precondition(format!(
                    "the column '{column}' was {how} when it was captured"
                )));
            }
            let gone = || {
                Error::precondition(format!(
                    "the file lacks the column '{}'",
                    short(&kept.column)
                ))
            };
            table.column(&kept.column).ok_or_else(gone)
        };

        match &self.form {
            Form::Columns(row, kept) => {
                let columns: Vec<&Column> = kept.iter().map(column).collect::<Result<_>>()?;
                let shape: Vec<usize> = std::iter::once(rows.len())
                    .chain(row.iter().copied())
                    .collect();
                let cells = || {
                    rows.clone()
                        .flat_map(|row| columns.iter().map(move |c| c.cell(row)))
                };
                if dtype == DType::String {
                    let words = cells().map(|cell| {
                        if let Some(Cell::Word(word)) = cell {
                            word
                        } else {
                            ""
                        }
                    });
                    return Tensor::strings(shape, Strings::from_parts(words)?);
                }
                let mut bytes = Vec::new();
                cells()
                    .flatten()
                    .for_each(|cell| put(&mut bytes, dtype, cell));
                Tensor::fixed(dtype, shape, bytes.into())
            }
            Form::Whole(kept) => {
                let damaged = || {
                    Error::precondition(format!("the column '{}' is damaged", short(&kept.column)))
                };
                let Some(Cell::Bytes(raw)) = column(kept)?.cell(rows.start) else {
                    return Err(damaged());
                };
                let shape = table
                    .column(&format!("{}.shape", kept.column))
                    .map(|c| c.word(rows.start));
                let dims = shape
                    .iter()
                    .flat_map(|s| s.split(','))
                    .filter(|d| !d.is_empty());
                let dims: Vec<usize> = dims
                    .map(|d| d.parse().map_err(|_| damaged()))
                    .collect::<Result<_>>()?;
                Tensor::from_raw(dtype, dims, raw.clone())
            }
        }
    }
}

/// The shape of a row, where it is fixed.
fn row_of(spec: &TensorSpec) -> Option<Vec<usize>> {
    let dims = spec
        .shape
        .as_ref()
        .filter(|dims| dims.first() == Some(&Dim::Dynamic))?;
    dims.iter()
        .skip(1)
        .map(|d| {
            if let Dim::Fixed(n) = d {
                Some(*n)
            } else {
                None
            }
        })
        .collect()
}

/// The column that holds a datatype exactly.
fn column(dtype: DType) -> Column {
    match dtype {
        DType::F16 | DType::BF16 | DType::F32 => Column::F32(Vec::new()),
        DType::F64 => Column::F64(Vec::new()),
        DType::Bool => Column::Bool(Vec::new()),
        DType::I8 | DType::I16 | DType::I32 | DType::U8 | DType::U16 => Column::I32(Vec::new()),
        DType::U32 | DType::I64 => Column::I64(Vec::new()),
        DType::U64 => Column::U64(Vec::new()),
        DType::String => Column::Words(Vec::new()),
    }
}

/// Adds every row's element at one place.
fn push(column: &mut Column, tensor: &Tensor, (at, width): (usize, usize)) {
    let bytes = match (tensor.data(), &mut *column) {
        (Data::Strings(strings), Column::Words(words)) => {
            words.extend(strings.iter().skip(at).step_by(width).map(str::to_owned));
            return;
        }
        (Data::Strings(_), _) => return,
        (Data::Fixed(bytes), _) => bytes,
    };

    let size = tensor.dtype().element_bytes().unwrap_or(1);
    let each = bytes
        .chunks_exact(size * width)
        .map(|row| &row[at * size..(at + 1) * size]);
    let whole = |b: &[u8]| {
        let mut word = [0; 8];
        word[..b.len()].copy_from_slice(b);
        // The sign goes up to the top.
        let unused = 64 - 8 * b.len() as u32;
        let signed = matches!(
            tensor.dtype(),
            DType::I8 | DType::I16 | DType::I32 | DType::I64
        );
        let n = i64::from_le_bytes(word);
        if signed { n << unused >> unused } else { n }
    };

    match column {
        Column::F32(all) => all.extend(each.map(|b| match tensor.dtype() {
            DType::F16 => f16::from_le_bytes([b[0], b[1]]).to_f32(),
            DType::BF16 => bf16::from_le_bytes([b[0], b[1]]).to_f32(),
            _ => f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
        })),
        Column::F64(all) => all.extend(each.map(|b| f64::from_bits(whole(b).cast_unsigned()))),
        Column::Bool(all) => all.extend(each.map(|b| b[0] != 0)),
        Column::I32(all) => all.extend(each.map(|b| whole(b) as i32)),
        Column::I64(all) => all.extend(each.map(whole)),
        Column::U64(all) => all.extend(each.map(|b| whole(b).cast_unsigned())),
        Column::Time(_) | Column::Words(_) | Column::Bytes(_) => {}
    }
}

/// Writes an element as the wire has it.
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

/// The same value is the same hash under one fleet's key, and tells nothing to
/// whoever does not have that.
fn hash(key: &Key, value: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    let tag = ring::hmac::sign(&key, value);
    tag.as_ref()
        .iter()
        .take(HASH_DIGITS / 2)
        .map(|b| format!("{b:02x}"))
        .collect()
}
