//! Tests of `backtest`: a table of rows in virtual time.

use super::*;
use crate::observe::drift::watch::tests::{Random, baseline, settings, subject, usual};
use crate::observe::profile::tests::Sum;
use crate::storage::table::Column;

/// A table of the usual rows, of which those from `changed` on are moved.
fn table(rows: usize, changed: usize, by: f32) -> Table {
    let mut random = Random(5);
    let (mut first, mut second, mut words) = (vec![], vec![], vec![]);
    for row in 0..rows {
        let (x, word) = usual(&mut random);
        first.push(x[0] + if row >= changed { by } else { 0.0 });
        second.push(x[1]);
        words.push(word.to_owned());
    }
    Table {
        columns: vec![
            ("a".to_owned(), Column::F32(first)),
            ("b".to_owned(), Column::F32(second)),
            ("word".to_owned(), Column::Words(words)),
        ],
        rows,
    }
}

fn run(table: &Table, times: &[i64], subject: WatchSubject) -> VersionDrift {
    let features = ["a", "b", "word"].map(str::to_owned);
    let rows = TimedRows {
        table,
        features: &features,
        times,
    };
    backtest(&rows, subject, &settings(), &mut Sum)
        .expect("fits")
        .report
}

/// One row each ten seconds, from a second on.
fn steady(rows: usize, from: i64) -> Vec<i64> {
    (0..rows as i64).map(|row| from + row * 10).collect()
}

#[test]
fn an_incident_has_the_times_of_the_rows() {
    let day = 1_772_323_200;
    let table = table(10_000, 6_000, 1.0);
    let report = run(&table, &steady(10_000, day), subject(Some(baseline())));
    assert_eq!((report.rows, report.sampled_rows), (10_000, 10_000));
    assert_eq!(report.incidents.len(), 1, "{:?}", report.incidents);
    let incident = &report.incidents[0];
    let began = day + 60_000;
    let opened = incident.opened.timestamp();
    assert!(
        (began..began + 7_200).contains(&opened),
        "{}",
        incident.opened
    );
    assert!(
        incident.summary.starts_with("x[0] is "),
        "{}",
        incident.summary
    );
    assert_eq!(incident.closed, None);
}

#[test]
fn rows_as_in_the_baseline_open_no_incident() {
    let report = run(
        &table(10_000, 10_000, 0.0),
        &steady(10_000, 0),
        subject(Some(baseline())),
    );
    assert!(report.incidents.is_empty(), "{:?}", report.incidents);
    assert!(report.windows > 100);
}

#[test]
fn a_pause_of_a_year_between_two_rows_is_passed() {
    let mut times = steady(2_000, 0);
    times
        .iter_mut()
        .skip(1_000)
        .for_each(|time| *time += 365 * 86_400);
    let report = run(&table(2_000, 1_000, 3.0), &times, subject(Some(baseline())));
    let opened = report.incidents[0].opened.timestamp();
    assert!(opened > 365 * 86_400, "{opened}");
}

#[test]
fn an_incident_that_ends_is_closed() {
    let mut rows = table(12_000, 12_000, 0.0);
    if let Column::F32(values) = &mut rows.columns[0].1 {
        values[2_000..4_000]
            .iter_mut()
            .for_each(|value| *value += 2.0);
    }
    let report = run(&rows, &steady(12_000, 0), subject(Some(baseline())));
    assert_eq!(report.incidents.len(), 1);
    let closed = report.incidents[0].closed.expect("closed").timestamp();
    assert!((40_000..120_000).contains(&closed), "{closed}");
}

#[test]
fn without_a_baseline_the_first_rows_are_the_baseline() {
    let report = run(
        &table(20_000, 12_000, 1.0),
        &steady(20_000, 0),
        subject(None),
    );
    assert_eq!(report.baseline_rows, 5_000);
    assert!(report.incidents[0].summary.starts_with("x[0] is "));
}

#[test]
fn no_rows_are_no_verdict() {
    let report = run(&table(0, 0, 0.0), &[], subject(Some(baseline())));
    assert_eq!(
        (report.rows, report.windows, report.incidents.len()),
        (0, 0, 0)
    );
}
