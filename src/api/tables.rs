//! Rows of a table to the tensors of a model: cells by the names of their columns. Holds the limits of a table while
//! its rows are read. Pure; reads no requests.

pub(crate) mod cells;
pub(crate) mod csv;
#[cfg(test)]
mod tests;

use crate::core::count::counted;
use crate::core::error::{Error, Result, short};
use crate::core::model::Signature;
use crate::core::model::columns::{InputColumns, InputWidth, TABLE_COLUMNS_MAX};
use crate::core::tensor::json::document::Json;
use crate::core::tensor::{DType, NamedTensors, Strings, Tensor};
use cells::TableCell;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

/// What remembers where a string is takes these bytes.
const SPAN_BYTES: usize = 8;
/// The most unknown columns in an error.
const UNKNOWN_MAX: usize = 8;

/// What a table has to give, and how much it may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableSchema<'s> {
    pub signature: &'s Signature,
    pub columns: &'s InputColumns,
    pub limits: TableLimits,
}

/// How large the tensors of a table may get.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TableLimits {
    /// Most rows, where the model limits them.
    pub rows_max: Option<usize>,
    /// Most bytes of all tensors.
    pub bytes_max: usize,
    /// Most bytes of the copies of cells that all rows share.
    pub shared_bytes_max: usize,
}

/// What happens to columns that the model does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownColumns {
    Refused,
    /// Errors about missing columns name them.
    Ignored,
}

/// Collects the rows of a table.
pub(crate) struct TableReader<'s> {
    schema: TableSchema<'s>,
    unknown: UnknownColumns,
    /// The columns of each input, by its name.
    inputs: HashMap<&'s str, Range<usize>>,
    /// The optional inputs, where unknown columns are ignored.
    optional: HashSet<&'s str>,
    /// The elements of each input in the raw wire form, row by row.
    gathered: Vec<Vec<u8>>,
    /// The cells that rows need not give, in the same form; empty if there are none.
    shared: Vec<Option<Vec<u8>>>,
    rows: usize,
}

/// The cells of one row, by their columns.
pub(crate) struct TableRow<'a> {
    /// None for the cells that all rows share.
    number: Option<usize>,
    cells: Vec<Option<TableCell<'a>>>,
    unknown: UnknownNames,
}

/// Columns that the model does not take.
#[derive(Default)]
struct UnknownNames {
    names: Vec<String>,
    more: usize,
}

impl UnknownNames {
    fn note(&mut self, name: &str) {
        match self.names.len() {
            0..UNKNOWN_MAX => self.names.push(short(name).to_owned()),
            _ => self.more += 1,
        }
    }

    /// Adds them to the error of columns that are missing.
    fn named_in(&self, missing: Error) -> Error {
        if self.names.is_empty() {
            return missing;
        }
        let more = match self.more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let names = self.names.join("', '");
        Error::invalid(format!(
            "{}; it has unknown columns: '{names}'{more}",
            missing.message
        ))
    }
}

impl TableSchema<'_> {
    /// Tells whether a single value of this name can only be the cell of a column: an input of this name, if there is
    /// one, has further axes.
    pub(crate) fn is_cell(&self, name: &str) -> bool {
        let Some(at) = self.columns.find(name) else {
            return false;
        };
        // Most often the input of the column has its name, and the others need not be looked at.
        let inputs = &self.signature.inputs;
        let own = self.columns.inputs().partition_point(|i| i.first <= at);
        let own = own.checked_sub(1).and_then(|own| inputs.get(own));
        let input = own
            .filter(|spec| spec.name == name)
            .or_else(|| inputs.iter().find(|spec| spec.name == name));
        let rank = input.and_then(|spec| spec.shape.as_ref()).map(Vec::len);
        rank != Some(1)
    }

    fn missing(&self, what: &str, missing: &[usize], unknown: &UnknownNames) -> Error {
        match unknown.names.first() {
            // Says how to name them.
            Some(name) if self.columns.are_nameless() => self.columns.unknown(name),
            _ => unknown.named_in(self.columns.missing(what, missing)),
        }
    }
}

impl<'a> TableRow<'a> {
    /// Puts a cell into a column. Refuses a second one.
    pub(crate) fn put(
        &mut self,
        reader: &TableReader<'_>,
        at: usize,
        cell: TableCell<'a>,
    ) -> Result<()> {
        let place = self.cells.get_mut(at);
        let place = place.ok_or_else(|| Error::internal("a column is beyond the last one"))?;
        match place.replace(cell) {
            None => Ok(()),
            Some(_) => Err(Error::invalid(format!(
                "{} has the column '{}' twice",
                self.name(),
                reader.schema.columns.name(at)
            ))),
        }
    }

    /// Puts the values of a feature into the columns that [`TableReader::feature`] found for it. Refuses another number
    /// of values.
    pub(crate) fn put_feature(
        &mut self,
        reader: &TableReader<'_>,
        name: &str,
        places: Range<usize>,
        mut values: impl Iterator<Item = TableCell<'a>>,
    ) -> Result<()> {
        let count = places.len();
        let mut given = 0;
        for (at, value) in places.zip(&mut values) {
            self.put(reader, at, value)?;
            given += 1;
        }
        given += values.count();
        if given != count {
            return Err(Error::invalid(format!(
                "{}: feature '{}' has {}; the model takes {count}",
                self.name(),
                short(name),
                counted(given, "value"),
            )));
        }
        Ok(())
    }

    /// What errors call it.
    pub(crate) fn name(&self) -> String {
        match self.number {
            Some(number) => format!("row {number}"),
            None => "context".to_owned(),
        }
    }
}

impl<'s> TableReader<'s> {
    /// Starts without rows. Refuses a model that no table can fill.
    pub(crate) fn new(schema: TableSchema<'s>, unknown: UnknownColumns) -> Result<Self> {
        let TableSchema {
            signature, columns, ..
        } = schema;
        columns.check_fillable()?;
        let names = signature.inputs.iter().map(|spec| spec.name.as_str());
        let places = columns.inputs().iter();
        let places = places.map(|input| input.first..input.first + input.count);
        let optional = signature.optional.iter().map(|o| o.spec.name.as_str());
        Ok(Self {
            schema,
            unknown,
            inputs: names.zip(places).collect(),
            optional: optional
                .filter(|_| unknown == UnknownColumns::Ignored)
                .collect(),
            gathered: vec![Vec::new(); columns.inputs().len()],
            shared: Vec::new(),
            rows: 0,
        })
    }

    /// Refuses a table whose number of rows is known and too large.
    pub(crate) fn expect_rows(&self, rows: usize) -> Result<()> {
        match self.schema.limits.rows_max {
            Some(rows_max) if rows > rows_max => Err(Error::invalid(format!(
                "the request has {rows} rows; at most {rows_max} are served (4,096 times batch_rows_max, or max_batch_size)"
            ))),
            _ => Ok(()),
        }
    }

    /// An empty row.
    pub(crate) fn row<'a>(&self) -> TableRow<'a> {
        TableRow {
            number: Some(self.rows),
            cells: vec![None; self.schema.columns.len()],
            unknown: UnknownNames::default(),
        }
    }

    /// A row for [`TableReader::share`].
    pub(crate) fn shared_row<'a>(&self) -> TableRow<'a> {
        TableRow {
            number: None,
            ..self.row()
        }
    }

    /// Takes cells for each of `rows` rows that does not give them itself. Refuses copies beyond the limit.
    pub(crate) fn share(&mut self, row: TableRow<'_>, rows: usize) -> Result<()> {
        let mut shared = vec![None; row.cells.len()];
        let mut bytes = 0_usize;
        for input in self.schema.columns.inputs() {
            let places = input.first..input.first + input.count;
            for at in places {
                if let Some(cell) = row.cells[at] {
                    let mut raw = Vec::new();
                    let read = cells::append(&mut raw, input.dtype, cell);
                    read.map_err(|e| self.within_cell(&row, at, e))?;
                    bytes += raw.len() + span_bytes(input.dtype);
                    shared[at] = Some(raw);
                }
            }
        }

        let bytes_max = self.schema.limits.shared_bytes_max;
        if bytes.checked_mul(rows).is_none_or(|all| all > bytes_max) {
            return Err(Error::too_large(format!(
                "context has {bytes} bytes of tensors for each of {rows} examples; all copies may have {bytes_max} \
                 (limits.message_bytes_max); send fewer examples at once"
            )));
        }
        self.shared = shared;
        Ok(())
    }

    /// Reads a row that is an object: a cell for each column, by its name.
    pub(crate) fn push_object(&mut self, object: Json<'_>) -> Result<()> {
        let mut row = self.row();
        for (number, member) in object.object(&row.name())?.enumerate() {
            let (name, value) = member?;
            if number == TABLE_COLUMNS_MAX {
                return Err(Error::invalid(format!(
                    "{} has more than {TABLE_COLUMNS_MAX} columns, the most that it may have",
                    row.name()
                )));
            }
            let place = self.place(&name, &mut row.unknown);
            if let Some(at) = place.map_err(|e| e.context(row.name()))? {
                row.put(self, at, TableCell::Json(value))?;
            }
        }
        self.push(row)
    }

    /// Finds the columns of a feature: a column, or those of a whole input. None if the model does not take it.
    pub(crate) fn feature(&self, name: &str) -> Option<Range<usize>> {
        let column = || self.schema.columns.find(name).map(|at| at..at + 1);
        self.inputs.get(name).cloned().or_else(column)
    }

    /// Finds the column of the model for each column of a table: by its name, or by its place where no column of the
    /// model has a name. None for those that are ignored. Refuses a table that lacks one.
    pub(crate) fn places<'n>(
        &self,
        names: impl Iterator<Item = Result<Cow<'n, str>>>,
    ) -> Result<Vec<Option<usize>>> {
        let columns = self.schema.columns;
        let names = names.take(TABLE_COLUMNS_MAX + 1);
        let names = names.collect::<Result<Vec<_>>>()?;
        if names.len() > TABLE_COLUMNS_MAX {
            return Err(Error::invalid(format!(
                "the table has more than {TABLE_COLUMNS_MAX} columns, the most that it may have; send those of the model"
            )));
        }
        if columns.are_nameless() {
            // Pandas writes the index as a first column without a name.
            let index = names.first().filter(|name| name.is_empty());
            let index = usize::from(index.is_some() && names.len() > columns.len());
            if names.len() - index == columns.len() {
                let places = (0..columns.len()).map(Some);
                return Ok(std::iter::repeat_n(None, index).chain(places).collect());
            }
        }

        let mut unknown = UnknownNames::default();
        let mut is_given = vec![false; columns.len()];
        let mut places = Vec::with_capacity(names.len());
        for name in &names {
            let place = self.place(name, &mut unknown)?;
            if let Some(at) = place
                && std::mem::replace(&mut is_given[at], true)
            {
                return Err(Error::invalid(format!(
                    "the table has the column '{}' twice",
                    short(name)
                )));
            }
            places.push(place);
        }
        let missing: Vec<usize> = (0..is_given.len()).filter(|at| !is_given[*at]).collect();
        match missing.is_empty() {
            true => Ok(places),
            false => Err(self.schema.missing("the table", &missing, &unknown)),
        }
    }

    /// Finds a column by its name; none if it is ignored.
    fn place(&self, name: &str, unknown: &mut UnknownNames) -> Result<Option<usize>> {
        if let Some(at) = self.schema.columns.find(name) {
            return Ok(Some(at));
        }
        if self.unknown == UnknownColumns::Refused {
            return Err(self.schema.columns.unknown(name));
        }
        if self.optional.contains(name) {
            return Err(Error::invalid(format!(
                "input '{}' is optional, and a table cannot give it; send tensors",
                short(name)
            )));
        }
        unknown.note(name);
        Ok(None)
    }

    /// Adds a row. Refuses one without a cell for each column, and one beyond a limit.
    pub(crate) fn push(&mut self, row: TableRow<'_>) -> Result<()> {
        let limits = self.schema.limits;
        if limits
            .rows_max
            .is_some_and(|rows_max| self.rows >= rows_max)
        {
            return Err(Error::invalid(format!(
                "the request has more than {0} rows; at most {0} are served (4,096 times batch_rows_max, or max_batch_size)",
                self.rows
            )));
        }
        self.check_whole(&row)?;

        let mut bytes = 0;
        let inputs = self.schema.columns.inputs();
        for (at, input) in inputs.iter().enumerate() {
            for column in input.first..input.first + input.count {
                let raw = &mut self.gathered[at];
                match (row.cells[column], self.shared.get(column)) {
                    (Some(cell), _) => {
                        let added = cells::append(raw, input.dtype, cell);
                        added.map_err(|e| self.within_cell(&row, column, e))?;
                    }
                    (None, Some(Some(shared))) => raw.extend_from_slice(shared),
                    (None, _) => {}
                }
            }
            let spans = (self.rows + 1) * input.count * span_bytes(input.dtype);
            bytes += self.gathered[at].len() + spans;
        }
        self.rows += 1;
        match bytes > limits.bytes_max {
            true => Err(Error::too_large(format!(
                "the tensors of {} rows take {bytes} bytes; those of a table may take {} \
                 (limits.decompressed_bytes_max, limits.bytes_in_flight_max); send fewer rows at once",
                self.rows, limits.bytes_max
            ))),
            false => Ok(()),
        }
    }

    /// Refuses a row without a cell for each column.
    fn check_whole(&self, row: &TableRow<'_>) -> Result<()> {
        let is_given =
            |at: usize| row.cells[at].is_some() || self.shared.get(at).is_some_and(Option::is_some);
        if (0..row.cells.len()).all(is_given) {
            return Ok(());
        }
        let missing = (0..row.cells.len()).filter(|at| !is_given(*at));
        let missing: Vec<usize> = missing.collect();
        Err(self.schema.missing(&row.name(), &missing, &row.unknown))
    }

    fn within_cell(&self, row: &TableRow<'_>, at: usize, error: Error) -> Error {
        let column = self.schema.columns.name(at);
        error.context(format_args!("{}, column '{column}'", row.name()))
    }

    /// Builds the tensors. Refuses a table without rows.
    pub(crate) fn finish(self) -> Result<NamedTensors> {
        if self.rows == 0 {
            return Err(Error::invalid("the table has no rows"));
        }
        let inputs = self.schema.columns.inputs().iter().zip(self.gathered);
        let specs = self.schema.signature.inputs.iter();
        specs
            .zip(inputs)
            .map(|(spec, (input, raw))| {
                let rank = spec.shape.as_ref().map_or(1, Vec::len);
                let tensor = tensor(input, rank, self.rows, raw);
                Ok((spec.name.clone(), tensor?))
            })
            .collect()
    }
}

/// What an element takes beside its raw wire form.
fn span_bytes(dtype: DType) -> usize {
    match dtype {
        DType::String => SPAN_BYTES,
        _ => 0,
    }
}

fn tensor(input: &InputWidth, rank: usize, rows: usize, raw: Vec<u8>) -> Result<Tensor> {
    let mut shape = vec![rows];
    if rank > 1 {
        shape.extend(&input.inner);
    }
    match input.dtype {
        DType::String => Tensor::strings(shape, Strings::from_prefixed(raw.into())?),
        dtype => Tensor::fixed(dtype, shape, raw.into()),
    }
}
