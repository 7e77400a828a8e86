//! Tests of `columnar`.

use super::*;

fn check_column(column: Column) {
    let table = Table {
        rows: column.len(),
        columns: vec![("a".to_owned(), column)],
    };
    let notes = Notes::from([("model".to_owned(), "wine".to_owned())]);
    let bytes = write(&table, &notes).expect("written");
    let (read, notes) = read(bytes.into()).expect("read");
    assert_eq!(read, table);
    assert_eq!(notes.get("model").map(String::as_str), Some("wine"));
}

#[test]
fn every_kind_of_column_reads_back_as_it_was_written() {
    check_column(Column::Bool(vec![true, false, true]));
    check_column(Column::I32(vec![i32::MIN, 0, i32::MAX]));
    check_column(Column::I64(vec![i64::MIN, 0, i64::MAX]));
    check_column(Column::U64(vec![0, u64::MAX, 1 << 63]));
    check_column(Column::F32(vec![
        f32::NEG_INFINITY,
        -0.0,
        f32::MIN_POSITIVE,
    ]));

    check_column(Column::F64((0..10_000).map(f64::from).collect()));
    check_column(Column::Time(vec![0, 1_763_900_000_000_000]));
    check_column(Column::Words(vec![
        String::new(),
        "é".to_owned(),
        "x".repeat(100_000),
    ]));

    check_column(Column::Bytes(vec![
        Bytes::new(),
        Bytes::from_static(&[0, 255]),
    ]));
    check_column(Column::F32(Vec::new()));
}

#[test]
fn a_damaged_file_is_refused_and_never_a_panic() {
    let table = Table {
        rows: 100,
        columns: vec![("a".to_owned(), Column::I64((0..100).collect()))],
    };
    let whole = write(&table, &Notes::new()).expect("written");
    for cut in 0..whole.len() {
        assert!(
            read(Bytes::copy_from_slice(&whole[..cut])).is_err(),
            "cut at {cut}"
        );
    }
}
