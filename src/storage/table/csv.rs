//! CSV: a column is numeric if every cell is a number or empty, else text.

#[cfg(test)]
mod tests;

use super::{Column, Table, check};
use crate::core::error::{Error, Result};

/// Tells whether a cell means a missing value.
fn is_missing(cell: &str) -> bool {
    matches!(
        cell,
        "" | "NA" | "N/A" | "NaN" | "nan" | "null" | "NULL" | "None"
    )
}

/// Reads a table with a header.
pub(super) fn read(file: impl std::io::Read) -> Result<Table> {
    let malformed = |e: csv::Error| Error::invalid(format!("is not CSV: {e}"));
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(file);
    let names: Vec<String> = reader
        .headers()
        .map_err(malformed)?
        .iter()
        .map(str::to_owned)
        .collect();
    let mut columns: Vec<Column> = names.iter().map(|_| Column::F64(Vec::new())).collect();

    let mut rows = 0;
    for record in reader.records() {
        let record = record.map_err(malformed)?;
        rows += 1;
        check(rows, names.len())?;
        for (column, cell) in columns.iter_mut().zip(&record) {
            add(column, cell);
        }
    }

    Ok(Table {
        columns: names.into_iter().zip(columns).collect(),
        rows,
    })
}

/// Adds a cell. A cell that is not a number turns the whole column into text.
fn add(column: &mut Column, cell: &str) {
    match column {
        Column::F64(values) => match cell.parse::<f64>() {
            Ok(value) => values.push(value),
            Err(_) if is_missing(cell) => values.push(f64::NAN),
            Err(_) => {
                let text = |v: &f64| {
                    if v.is_nan() {
                        String::new()
                    } else {
                        v.to_string()
                    }
                };
                let mut words: Vec<String> = values.iter().map(text).collect();
                words.push(cell.to_owned());
                *column = Column::Words(words);
            }
        },
        Column::Words(words) => words.push(if is_missing(cell) {
            String::new()
        } else {
            cell.to_owned()
        }),
        _ => unreachable!("a CSV column holds numbers or text"),
    }
}
