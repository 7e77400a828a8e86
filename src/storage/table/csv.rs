//! CSV: a column is numeric if every cell is a number or empty, else text.

use super::{Column, Table, check};
use crate::core::error::{Error, Result};

/// What stands for no value.
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

/// Adds a cell; a word makes words of all that came before.
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
        _ => unreachable!("CSV has numbers and words"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn table(text: &str) -> Result<Table> {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        Table::read(file.path())
    }

    #[test]
    fn columns_are_numbers_unless_a_cell_is_not() {
        let table = table("a, b,c\n1,x,1\n,y,2\n3.5,,z\n").expect("a table");
        assert_eq!(
            (table.rows, table.names().collect::<Vec<_>>()),
            (3, vec!["a", "b", "c"])
        );
        let Some(Column::F64(a)) = table.column("a") else {
            panic!("numbers")
        };
        assert!(a[0] == 1.0 && a[1].is_nan() && a[2] == 3.5);
        let words =
            |all: &[&str]| Some(Column::Words(all.iter().map(|w| (*w).to_owned()).collect()));
        assert_eq!(table.column("b"), words(&["x", "y", ""]).as_ref());
        assert_eq!(table.column("c"), words(&["1", "2", "z"]).as_ref());
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let refused = |text: &str, part: &str| {
            let error = table(text).expect_err("must be refused");
            assert!(
                error.message.contains(part),
                "{error} does not say {part:?}"
            );
        };

        refused("a,b\n", "no rows");
        refused("a,a\n1,2\n", "two of one name");
        refused("a,\n1,2\n", "without a name");
        refused("a,b\n1,2\n3\n", "not CSV");
        refused("PAR1 and then nothing of the kind", "not Parquet");
    }
}
