//! Tests of `whole`.

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
    refused("a,a\n1,2\n", "both named 'a'");
    refused("a,b\n1,2\n3\n", "line 3: the row has 1 fields");
    refused("PAR1 and then nothing of the kind", "not Parquet");
}

#[test]
fn missing_integers_booleans_and_times_keep_their_meaning() {
    let table = table(
        "whole,some,flag,half,at,since,id\n\
         1,1,true,TRUE,2026-01-01,2026-01-01,9007199254740993\n\
         2,NA,false,,2026-01-02,,\n",
    );
    let table = table.expect("a table");
    let column = |name: &str| table.column(name).expect("a column");
    assert_eq!(*column("whole"), Column::I64(vec![1, 2]));
    assert_eq!(*column("flag"), Column::Bool(vec![true, false]));
    assert_eq!(column("flag").word(1), "false");
    let day = 1_767_225_600_000_000;
    assert_eq!(*column("at"), Column::Time(vec![day, day + 86_400_000_000]));
    for name in ["some", "half"] {
        let Column::F64(values) = column(name) else {
            panic!("{name} is {:?}", column(name))
        };
        assert!(values[0] == 1.0 && values[1].is_nan(), "{name}");
    }
    // A time as seconds, as a number would be, and no rounded number.
    let Column::F64(since) = column("since") else {
        panic!("{:?}", column("since"))
    };
    assert!(since[0] == 1_767_225_600.0 && since[1].is_nan());
    let words = |all: &[&str]| Column::Words(all.iter().map(|w| (*w).to_owned()).collect());
    assert_eq!(*column("id"), words(&["9007199254740993", ""]));
}
