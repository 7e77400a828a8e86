//! A table of a file, column by column: numbers where every cell is one, or is
//! empty, and words where not. Whole in memory, up to a limit of rows.

use crate::error::{Error, Result};
use std::path::Path;

/// The most rows that are read; a longer table is refused.
pub(crate) const ROWS_MAX: usize = 2_000_000;
/// The most cells.
const CELLS_MAX: usize = 200_000_000;

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<(String, Values)>,
    pub rows: usize,
}

/// The values of a column.
#[derive(Debug, PartialEq)]
pub(crate) enum Values {
    /// NaN where a cell was empty.
    Numbers(Vec<f64>),
    Words(Vec<String>),
}

impl Values {
    /// A cell as text.
    pub(crate) fn word(&self, row: usize) -> String {
        match self {
            Self::Numbers(values) => values.get(row).map(ToString::to_string).unwrap_or_default(),
            Self::Words(words) => words.get(row).cloned().unwrap_or_default(),
        }
    }
}

/// What stands for no value.
fn is_missing(cell: &str) -> bool {
    matches!(cell, "" | "NA" | "N/A" | "NaN" | "nan" | "null" | "NULL" | "None")
}

impl Table {
    /// Reads a file: CSV with a header.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let unreadable =
            |e: std::io::Error| Error::invalid(format!("{} cannot be read", path.display())).with_source(e);
        let file = std::fs::File::open(path).map_err(unreadable)?;
        Self::of_csv(file).map_err(|e| Error::invalid(e.message).context(path.display()))
    }

    fn of_csv(file: impl std::io::Read) -> Result<Self> {
        let malformed = |e: csv::Error| Error::invalid(format!("is not CSV: {e}"));
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
        let names: Vec<String> = reader.headers().map_err(malformed)?.iter().map(str::to_owned).collect();
        let mut sorted = names.clone();
        sorted.sort();
        if names.iter().any(String::is_empty) || sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid("has a column without a name, or two of one name"));
        }
        let mut columns: Vec<Values> = names.iter().map(|_| Values::Numbers(Vec::new())).collect();
        let mut rows = 0;
        for record in reader.records() {
            let record = record.map_err(malformed)?;
            rows += 1;
            if rows > ROWS_MAX || rows * names.len() > CELLS_MAX {
                return Err(Error::too_large(format!("has over {ROWS_MAX} rows or {CELLS_MAX} cells; take a sample")));
            }
            for (column, cell) in columns.iter_mut().zip(&record) {
                add(column, cell);
            }
        }
        match rows {
            0 => Err(Error::invalid("has no rows")),
            _ => Ok(Self { columns: names.into_iter().zip(columns).collect(), rows }),
        }
    }

    /// A column by its name.
    pub(crate) fn column(&self, name: &str) -> Option<&Values> {
        self.columns.iter().find(|(n, _)| n == name).map(|(_, values)| values)
    }

    /// The names of the columns.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }
}

/// Adds a cell; a word makes words of all that came before.
fn add(column: &mut Values, cell: &str) {
    match column {
        Values::Numbers(values) => match cell.parse::<f64>() {
            Ok(value) => values.push(value),
            Err(_) if is_missing(cell) => values.push(f64::NAN),
            Err(_) => {
                let text = |v: &f64| if v.is_nan() { String::new() } else { v.to_string() };
                let mut words: Vec<String> = values.iter().map(text).collect();
                words.push(cell.to_owned());
                *column = Values::Words(words);
            }
        },
        Values::Words(words) => words.push(if is_missing(cell) { String::new() } else { cell.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_numbers_unless_a_cell_is_not() {
        let table = Table::of_csv("a, b,c\n1,x,1\n,y,2\n3.5,,z\n".as_bytes()).expect("a table");
        assert_eq!((table.rows, table.names().collect::<Vec<_>>()), (3, vec!["a", "b", "c"]));
        let Some(Values::Numbers(a)) = table.column("a") else { panic!("numbers") };
        assert!(a[0] == 1.0 && a[1].is_nan() && a[2] == 3.5);
        let words = |all: &[&str]| Some(Values::Words(all.iter().map(|w| (*w).to_owned()).collect()));
        assert_eq!(table.column("b"), words(&["x", "y", ""]).as_ref());
        assert_eq!(table.column("c"), words(&["1", "2", "z"]).as_ref());
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let refused = |text: &str, part: &str| {
            let error = Table::of_csv(text.as_bytes()).expect_err("must be refused");
            assert!(error.message.contains(part), "{error} does not say {part:?}");
        };
        refused("a,b\n", "no rows");
        refused("a,a\n1,2\n", "two of one name");
        refused("a,\n1,2\n", "without a name");
        refused("a,b\n1,2\n3\n", "not CSV");
    }
}
