//! Tests of `book`.

use super::*;

fn row(value: f64, truth: f64, part: &str) -> Row {
    Row {
        answer: RowAnswer::Value(value),
        truth: Truth::Value(truth),
        parts: vec![part.to_owned()],
        time_us: 0,
    }
}

fn key(n: u128) -> (Uuid, u32) {
    (Uuid::from_u128(n), 0)
}

#[test]
fn a_row_is_counted_once_and_corrections_replace_it() {
    let mut book = Book::new(1, vec!["colour".to_owned()], 10);
    book.predicted(5, 4);
    assert_eq!(book.label(5, key(1), row(1.0, 2.0, "red")), RowOutcome::New);
    assert_eq!(
        book.label(5, key(1), row(1.0, 2.0, "red")),
        RowOutcome::Same
    );
    assert_eq!(
        book.label(
            5,
            key(1),
            Row {
                time_us: 2,
                ..row(1.0, 4.0, "red")
            }
        ),
        RowOutcome::Corrected
    );

    assert_eq!(
        book.label(
            5,
            key(1),
            Row {
                time_us: 1,
                ..row(1.0, 9.0, "red")
            }
        ),
        RowOutcome::Same,
        "an older one"
    );

    assert_eq!(
        book.label(6, key(2), row(1.0, 1.0, "blue")),
        RowOutcome::New
    );
    let hour = book.summary(5, 6);
    assert_eq!(
        (hour.labelled_rows, hour.maturity, hour.measures["mae"]),
        (1, Some(0.25), 3.0)
    );
    assert_eq!(book.summary(0, 100).measures["mae"], 1.5);
    assert_eq!(
        (
            book.summary(6, 7).maturity,
            book.row(6, key(2)).map(|r| r.truth)
        ),
        (None, Some(Truth::Value(1.0)))
    );
    let parts = book.parts();
    assert_eq!(
        (
            parts.len(),
            parts[0].part.as_str(),
            parts[1].measures["mae"]
        ),
        (2, "blue", 3.0)
    );

    assert_eq!(book.cohorts(24, 10).len(), 1);
    assert_eq!(book.cohorts(1, 1)[0].from, "1970-01-01T06:00Z");
}

#[test]
fn when_full_the_oldest_hour_is_dropped_first() {
    let mut book = Book::new(1, Vec::new(), 3);
    for n in 0..5 {
        book.label(
            u64::try_from(n).expect("small"),
            key(n as u128),
            row(0.0, 0.0, ""),
        );
    }

    assert_eq!(
        (
            book.rows(),
            book.summary(0, 10).labelled_rows,
            book.summary(0, 2).labelled_rows
        ),
        (3, 3, 0)
    );

    // A full hour keeps its newest rows; a row that is older than all of them is dropped.
    for n in 10..20 {
        book.label(9, key(n), row(0.0, 0.0, ""));
    }
    assert_eq!((book.rows(), book.summary(9, 10).labelled_rows), (3, 3));
    assert_eq!(
        book.label(1, key(7), row(0.0, 0.0, "")),
        RowOutcome::Dropped
    );
    assert_eq!(book.rows(), 3);
    (0..3_000).for_each(|hour| book.predicted(hour, 1));
    assert!(book.cohorts(1, usize::MAX).len() <= HOURS_MAX);
}

#[test]
fn the_maturity_counts_every_predicted_row_of_every_run_and_labels_whose_rows_were_dropped() {
    let mut book = Book::new(1, Vec::new(), 2);
    book.predicted(5, 4);
    book.predicted_elsewhere(5, Uuid::from_u128(1), 4);
    // The count of a run replaces its last one.
    book.predicted_elsewhere(5, Uuid::from_u128(1), 6);
    for n in 0..5 {
        book.label(5, key(n), row(1.0, 1.0, ""));
    }
    let hour = book.summary(5, 6);
    assert_eq!((hour.labelled_rows, hour.predicted_rows), (2, 10));
    assert_eq!(hour.maturity, Some(0.5));

    // An hour whose predictions were not counted changes nothing.
    book.label(7, key(9), row(1.0, 1.0, ""));
    assert_eq!(book.summary(5, 8).maturity, Some(0.5));
    assert_eq!(book.summary(7, 8).maturity, None);
}

#[test]
fn rows_are_listed_in_the_order_of_their_labels() {
    let mut book = Book::new(1, Vec::new(), 10);
    for (hour, n, time_us) in [(5, 1, 30), (6, 2, 10), (4, 3, 20)] {
        let row = Row {
            time_us,
            ..row(n as f64, 0.0, "")
        };
        book.label(hour, key(n), row);
    }
    let order: Vec<i64> = book.rows_by_time().iter().map(|row| row.time_us).collect();
    assert_eq!(order, [10, 20, 30]);
}
