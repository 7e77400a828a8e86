//! Tests of `clock`.

use super::*;

fn table(column: Column) -> Table {
    Table {
        rows: column.len(),
        columns: vec![("at".to_owned(), column)],
    }
}

fn times(column: Column) -> Result<Vec<i64>> {
    RowClock::Column("at".to_owned()).times(&table(column))
}

#[test]
fn times_are_read_as_people_and_programs_write_them() {
    for word in [
        "2026-03-01T14:30:00Z",
        "2026-03-01T15:30:00+01:00",
        "2026-03-01 15:30:00+01:00",
        "2026-03-01 14:30:00",
        "2026-03-01 14:30:00.25",
        "2026-03-01T14:30:00.123456",
        "2026-03-01 14:30",
        " 2026/03/01 14:30 ",
    ] {
        let found = times(Column::Words(vec![word.to_owned()]));
        assert_eq!(found.expect(word), [1_772_375_400], "{word}");
    }
    let day = times(Column::Words(vec!["2026-03-01".to_owned()]));
    assert_eq!(day.expect("a day"), [1_772_323_200]);
}

#[test]
fn numbers_are_seconds_or_smaller_units_since_1970() {
    let second = 1_772_375_400_i64;
    for unit in [1, 1_000, 1_000_000, 1_000_000_000] {
        assert_eq!(
            times(Column::I64(vec![second * unit])).expect("a time"),
            [second]
        );
    }
    let float = times(Column::F64(vec![second as f64 + 0.5]));
    assert_eq!(float.expect("a time"), [second]);
    let micros = times(Column::Time(vec![second * 1_000_000 + 1, -1]));
    assert_eq!(micros.expect("times"), [second, -1]);
}

#[test]
fn what_is_no_time_is_refused_with_its_row() {
    for word in ["", "yesterday", "03/01/2026", "2026-13-01"] {
        let column = Column::Words(vec!["2026-03-01".to_owned(), word.to_owned()]);
        let error = times(column).expect_err(word).to_string();
        assert!(error.contains("row 1 of 'at' is no time"), "{error}");
    }
    let error = times(Column::F64(vec![f64::NAN]))
        .expect_err("NaN")
        .to_string();
    assert!(error.contains("row 0 of 'at' is no time"), "{error}");
    let error = RowClock::Column("when".to_owned()).times(&table(Column::I64(vec![1])));
    let error = error.expect_err("no such column").to_string();
    assert!(
        error.contains("no column 'when'; its columns are at"),
        "{error}"
    );
}

#[test]
fn rows_without_times_come_evenly() {
    let rows = table(Column::I64(vec![0; 5]));
    assert_eq!(
        RowClock::PerMinute(120.0, 100).times(&rows).expect("times"),
        [100, 100, 101, 101, 102]
    );
    assert_eq!(
        RowClock::PerMinute(0.5, 0).times(&rows).expect("times"),
        [0, 120, 240, 360, 480]
    );
}
