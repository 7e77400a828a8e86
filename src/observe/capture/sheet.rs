//! The columns of a capture file: one column for each element of narrow rows, or the whole tensor in
//! the request's first row. Columns that the settings name are dropped or hashed. `arrange` decides
//! the columns of a version, `write` fills them, `read` makes tensors of them again.

mod arrange;
mod read;
mod write;

use crate::core::model::optional::OptionalTensor;
use crate::core::tensor::{DType, Tensor};
use crate::storage::table::{Column, Table};
use serde::{Deserialize, Serialize};

/// Columns that every file has.
pub const OWN: [&str; 3] = ["prediction_id", "row", "time"];

/// The columns of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sheet {
    /// The tensors: required inputs, outputs, optional inputs.
    pub tensors: Vec<Spread>,
}

/// One tensor and its columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Name of the tensor.
    pub name: String,
    /// Whether it is an input or an output.
    pub input: bool,
    /// Datatype, in the words of the Open Inference Protocol.
    pub datatype: String,
    /// Whether it is an input that a request may leave out. It is stored whole, and its cells are
    /// empty where it was left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// How the tensor lies in columns.
    pub form: ColumnForm,
}

/// How a tensor lies in columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnForm {
    /// The shape of a row, and a column for each of its elements.
    Columns(Vec<usize>, Vec<CapturedColumn>),
    /// The whole tensor as raw bytes, in the request's first row. Its shape is in a column of the
    /// same name with `.shape`.
    Whole(CapturedColumn),
}

/// One column, and what it stores of the values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CapturedColumn {
    /// Name of the column.
    pub column: String,
    /// What is stored of its values.
    pub keep: Keep,
}

/// What is stored of a value.
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

/// The tensors of one request, in the order of the signature.
pub(super) struct CapturedTensors<'t> {
    pub inputs: &'t [Tensor],
    /// The optional inputs that were given.
    pub optional: &'t [OptionalTensor],
    pub outputs: &'t [Tensor],
    /// Rows of the request.
    pub rows: usize,
}

impl Sheet {
    /// Returns a table with the columns and without rows.
    pub(super) fn empty(&self) -> Table {
        let mut columns: Vec<(String, Column)> = vec![
            (OWN[0].to_owned(), Column::Words(Vec::new())),
            (OWN[1].to_owned(), Column::I32(Vec::new())),
            (OWN[2].to_owned(), Column::Time(Vec::new())),
        ];
        columns.extend(self.tensors.iter().flat_map(Spread::columns));

        Table { columns, rows: 0 }
    }

    /// Tells whether a request fits the sheet: each tensor that is stored by element has as many
    /// rows as the request, of the expected shape.
    pub(super) fn fits(&self, tensors: &CapturedTensors<'_>) -> bool {
        let required = self.tensors.iter().filter(|spread| !spread.optional);
        let count = tensors.inputs.len() + tensors.outputs.len();
        let has_column = |given: &OptionalTensor| {
            let mut optional = self.tensors.iter().filter(|spread| spread.optional);
            optional.any(|spread| spread.name == given.name)
        };

        tensors.rows > 0
            && count == required.count()
            // A request without all that it gave would get another answer at its replay.
            && tensors.optional.iter().all(has_column)
            && self
                .with(tensors)
                .all(|(spread, tensor)| tensor.is_none_or(|t| spread.fits(t, tensors.rows)))
    }

    /// Pairs the tensors of a request with their columns; none is an optional input that was left
    /// out.
    fn with<'t>(
        &self,
        tensors: &CapturedTensors<'t>,
    ) -> impl Iterator<Item = (&Spread, Option<&'t Tensor>)> {
        let optional = tensors.optional;
        let mut required = tensors.inputs.iter().chain(tensors.outputs);

        self.tensors.iter().map(move |spread| {
            let tensor = if spread.optional {
                let given = optional.iter().find(|given| given.name == spread.name);
                given.map(|given| &given.tensor)
            } else {
                required.next()
            };
            (spread, tensor)
        })
    }

    /// Iterates over the columns of all tensors.
    fn kept(&self) -> impl Iterator<Item = &CapturedColumn> {
        self.tensors.iter().flat_map(|t| match &t.form {
            ColumnForm::Columns(_, kept) => kept.as_slice(),
            ColumnForm::Whole(kept) => std::slice::from_ref(kept),
        })
    }
}

impl Spread {
    /// Returns the tensor's columns, without rows.
    fn columns(&self) -> Vec<(String, Column)> {
        let dtype = DType::from_name(&self.datatype).unwrap_or(DType::F64);
        match &self.form {
            ColumnForm::Columns(_, kept) => kept
                .iter()
                .filter_map(|kept| Some((kept.column.clone(), kept.keep.column(column(dtype))?)))
                .collect(),
            ColumnForm::Whole(kept) => match kept.keep.column(Column::Bytes(Vec::new())) {
                None => Vec::new(),
                Some(column) => vec![
                    (kept.column.clone(), column),
                    (format!("{}.shape", kept.column), Column::Words(Vec::new())),
                ],
            },
        }
    }

    /// Tells whether a tensor of a request with so many rows can be stored.
    fn fits(&self, tensor: &Tensor, rows: usize) -> bool {
        match &self.form {
            ColumnForm::Columns(row, _) => {
                tensor.rows() == Some(rows) && tensor.shape().get(1..) == Some(row.as_slice())
            }
            ColumnForm::Whole(_) => true,
        }
    }
}

impl Keep {
    /// Returns the column that stores this of values, given the column of the values themselves.
    fn column(self, of_values: Column) -> Option<Column> {
        match self {
            Self::Value => Some(of_values),
            Self::Hash => Some(Column::Words(Vec::new())),
            Self::Nothing => None,
        }
    }
}

/// Returns an empty column that holds values of a datatype exactly.
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
