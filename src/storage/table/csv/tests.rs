//! Tests of `csv`.

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
    let words = |all: &[&str]| Some(Column::Words(all.iter().map(|w| (*w).to_owned()).collect()));
    assert_eq!(table.column("b"), words(&["x", "y", ""]).as_ref());
    assert_eq!(table.column("c"), words(&["1", "2", "z"]).as_ref());
}

#[test]
fn an_invalid_table_is_refused() {
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
