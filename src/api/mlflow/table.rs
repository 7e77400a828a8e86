//! The bodies of `/invocations`: tables in JSON and CSV, and tensors. Columns that the model does not take are ignored,
//! as in MLflow. Pure.

#[cfg(test)]
mod tests;

use crate::api::tables::cells::TableCell;
use crate::api::tables::csv::CsvRecords;
use crate::api::tables::{TableReader, TableSchema, UnknownColumns};
use crate::api::tfs::json as tfs_json;
use crate::core::count::counted;
use crate::core::error::{Error, Kind, Result, short};
use crate::core::model::columns::TABLE_COLUMNS_MAX;
use crate::core::tensor::NamedTensors;
use crate::core::tensor::json::document::{ArrayValues, Json, read_body};
use crate::core::tensor::json::elements::is_base64;
use std::borrow::Cow;

/// The members of a body, of which it has one.
const TABLES: [&str; 4] = [
    "dataframe_split",
    "dataframe_records",
    "instances",
    "inputs",
];

/// Reads the tensors of a body in JSON.
pub(crate) fn decode(body: &[u8], schema: TableSchema<'_>) -> Result<NamedTensors> {
    let read = read_body(body, |request| {
        let [split, records, instances, inputs] = request.fields("the request", TABLES)?;
        match (split, records, instances, inputs) {
            (Some(split), None, None, None) => decode_split(split, schema),
            (None, Some(records), None, None) => {
                decode_records(records, "dataframe_records", schema)
            }
            (None, None, Some(rows), None) => tfs_json::decode_rows(rows, schema),
            (None, None, None, Some(inputs)) => decode_inputs(inputs, schema),
            _ => Err(Error::invalid(format!(
                "the request must have exactly one of {}",
                TABLES.join(", ")
            ))),
        }
    });
    read.map_err(
        |error| match is_like_csv(body) && error.kind == Kind::InvalidArgument {
            true => Error::invalid(format!(
                "{}; send a table in CSV with Content-Type: text/csv",
                error.message
            )),
            false => error,
        },
    )
}

/// Tells whether a body looks like lines of cells, and not like JSON.
fn is_like_csv(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    let is_json = matches!(body.first(), None | Some(b'{' | b'['));
    !is_json && body.iter().any(|byte| matches!(byte, b',' | b'\n'))
}

/// Reads a list of objects.
fn decode_records(records: Json<'_>, what: &str, schema: TableSchema<'_>) -> Result<NamedTensors> {
    let mut reader = TableReader::new(schema, UnknownColumns::Ignored)?;
    for row in records.array(what)? {
        reader.push_object(row)?;
    }
    reader.finish()
}

/// Reads a table as pandas splits it: names of columns, and rows of values.
fn decode_split(split: Json<'_>, schema: TableSchema<'_>) -> Result<NamedTensors> {
    let what = "dataframe_split";
    let [names, data] = split.fields(what, ["columns", "data"])?;
    let data = data.ok_or_else(|| Error::invalid("dataframe_split has no data"))?;
    let mut reader = TableReader::new(schema, UnknownColumns::Ignored)?;
    let places = match names {
        Some(names) => {
            let names = names.array("columns")?;
            reader.places(names.map(|name| match name.string("a column") {
                // Pandas numbers columns without names.
                Err(_) if name.is_scalar() => Ok(Cow::Borrowed(name.text())),
                name => name,
            }))?
        }
        None if schema.columns.are_nameless() => (0..schema.columns.len()).map(Some).collect(),
        None => return Err(Error::invalid("dataframe_split has no columns")),
    };

    for values in data.array("data")? {
        let mut row = reader.row();
        let mut given = 0;
        for value in values.array(&row.name())? {
            let place = places.get(given).ok_or_else(|| {
                let name = row.name();
                Error::invalid(format!("{name} has more than {} values", places.len()))
            })?;
            if let Some(at) = *place {
                row.put(&reader, at, TableCell::Json(value))?;
            }
            given += 1;
        }
        if given < places.len() {
            return Err(Error::invalid(format!(
                "{} has {} for {}",
                row.name(),
                counted(given, "value"),
                counted(places.len(), "column")
            )));
        }
        reader.push(row)?;
    }
    reader.finish()
}

/// Reads `inputs`: a list of objects, an object with a list of cells for each column, or whole tensors.
fn decode_inputs(inputs: Json<'_>, schema: TableSchema<'_>) -> Result<NamedTensors> {
    let first = inputs.array("inputs").ok().and_then(|mut rows| rows.next());
    if first.is_some_and(|row| row.is_object() && !is_base64(row)) {
        return decode_records(inputs, "inputs", schema);
    }
    if is_lists_of_cells(inputs, schema)? {
        return decode_lists(inputs, schema);
    }
    tfs_json::decode_columns(inputs, schema.signature)
}

/// Tells whether an object has flat lists, of which one can only be the cells of a column.
fn is_lists_of_cells(inputs: Json<'_>, schema: TableSchema<'_>) -> Result<bool> {
    if !inputs.is_object() {
        return Ok(false);
    }
    let mut needs_columns = false;
    for member in inputs.object("inputs")? {
        let (name, value) = member?;
        let Ok(mut cells) = value.array("") else {
            return Ok(false);
        };
        if cells
            .next()
            .is_some_and(|cell| cell.text().starts_with('['))
        {
            return Ok(false);
        }
        needs_columns = needs_columns || schema.is_cell(&name);
    }
    Ok(needs_columns)
}

/// The cells of a column, from the first row to the last.
struct ColumnCells<'j> {
    place: usize,
    cells: ArrayValues<'j>,
}

/// Reads an object with a list of cells for each column.
fn decode_lists(inputs: Json<'_>, schema: TableSchema<'_>) -> Result<NamedTensors> {
    let mut reader = TableReader::new(schema, UnknownColumns::Ignored)?;
    // One more than the limit, to see that it is passed.
    let members = inputs.object("inputs")?.take(TABLE_COLUMNS_MAX + 1);
    let members = members.collect::<Result<Vec<_>>>()?;
    let names = members.iter().map(|(name, _)| Ok(Cow::Borrowed(&**name)));
    let places = reader.places(names)?;
    let mut lists = Vec::with_capacity(places.len());
    for (place, (name, value)) in places.into_iter().zip(&members) {
        if let Some(place) = place {
            let cells = value.array(name)?;
            lists.push(ColumnCells { place, cells });
        }
    }

    loop {
        let mut row = reader.row();
        let mut given = 0;
        let mut ended = None;
        for list in &mut lists {
            match list.cells.next() {
                Some(value) => {
                    given += 1;
                    row.put(&reader, list.place, TableCell::Json(value))?;
                }
                None => ended = Some(list.place),
            }
        }
        match ended {
            None => reader.push(row)?,
            Some(_) if given == 0 => return reader.finish(),
            Some(place) => {
                let (row, column) = (row.name(), schema.columns.name(place));
                return Err(Error::invalid(format!(
                    "{row} has no value of column '{}', but of others; lists of columns must have equal lengths",
                    short(&column)
                )));
            }
        }
    }
}

/// Reads CSV with a header.
pub(crate) fn decode_csv(body: &[u8], schema: TableSchema<'_>) -> Result<NamedTensors> {
    let mut records = CsvRecords::of(body)?;
    let mut reader = TableReader::new(schema, UnknownColumns::Ignored)?;
    if !records.next_record() {
        return reader.finish();
    }
    let mut first = String::new();
    let names = std::iter::from_fn(|| records.next_cell().transpose());
    let names = names.enumerate().map(|(at, name)| {
        let name = trimmed(name?);
        match at {
            0 => first = name.clone().into_owned(),
            _ => first.clear(),
        }
        Ok(name)
    });
    let places = reader
        .places(names)
        .map_err(|error| delimited(error, &first))?;

    let mut cells: Vec<Cow<'_, str>> = Vec::with_capacity(places.len());
    while records.next_record() {
        let mut row = reader.row();
        cells.clear();
        while let Some(cell) = records.next_cell()? {
            if cells.len() == places.len() {
                return Err(odd_record(&row.name(), "more", places.len()));
            }
            cells.push(cell);
        }
        if cells.len() < places.len() {
            return Err(odd_record(&row.name(), "fewer", places.len()));
        }
        for (place, cell) in places.iter().zip(&cells) {
            if let Some(at) = *place {
                row.put(&reader, at, TableCell::Text(cell))?;
            }
        }
        reader.push(row)?;
    }
    reader.finish()
}

fn trimmed(name: Cow<'_, str>) -> Cow<'_, str> {
    match name {
        Cow::Borrowed(name) => Cow::Borrowed(name.trim()),
        Cow::Owned(name) => Cow::Owned(name.trim().to_owned()),
    }
}

/// Characters that stand between cells where it is not a comma.
const DELIMITERS: [(char, &str); 3] = [(';', "semicolons"), ('\t', "tabs"), ('|', "vertical bars")];

/// Adds to the error of a header that it has one cell because its cells do not stand between commas.
fn delimited(error: Error, only_name: &str) -> Error {
    let other = DELIMITERS.iter().find(|(c, _)| only_name.contains(*c));
    let Some((_, what)) = other else {
        return error;
    };
    Error::invalid(format!(
        "{}; the header has {what} and no comma: send the cells between commas",
        error.message
    ))
}

fn odd_record(row: &str, how: &str, columns: usize) -> Error {
    Error::invalid(format!(
        "the body is not CSV: {row} has {how} than {columns} cells, which the header has"
    ))
}
