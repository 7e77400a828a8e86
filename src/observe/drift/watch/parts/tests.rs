//! Tests of `parts`: what changes in one part of the rows is found though the whole hides it.

use super::*;
use crate::observe::drift::facts::RowFacts;
use crate::observe::drift::incident::IncidentLog;
use crate::observe::drift::reference::ReferenceRows;
use crate::observe::drift::series::ColumnSeries;
use crate::observe::drift::slice::choice::SliceChoice;
use crate::observe::drift::watch::tests::{Random, Stream, settings, subject, usual};
use chrono::DateTime;
use std::collections::BTreeMap;

/// A baseline of the usual rows, sliced by the word.
pub(crate) fn sliced() -> Baseline {
    let mut random = Random(1);
    let rows: Vec<_> = (0..20_000).map(|_| usual(&mut random)).collect();
    let of = |one: &dyn Fn(&[f32; 2]) -> f32| {
        ColumnSeries::Numbers(rows.iter().map(|(x, _)| f64::from(one(x))).collect())
    };
    let places = subject(None).find_columns().expect("columns");
    let series = [
        of(&|x| x[0]),
        of(&|x| x[1]),
        ColumnSeries::Words(rows.iter().map(|(_, word)| (*word).to_owned()).collect()),
        of(&|x| x[0] + x[1]),
    ];
    let reference = ReferenceRows {
        places: &places,
        series: &series,
        importances: &BTreeMap::new(),
        facts: &RowFacts::default(),
        lost: &[],
        threads: 1,
    };
    reference.baseline(20_000, &SliceChoice::Fitting)
}

/// Rows whose first number is higher where the word is red.
fn higher_where_red(random: &mut Random) -> ([f32; 2], &'static str) {
    let (mut x, word) = usual(random);
    if word == "red" {
        // A third of the rows: the whole moves by less than what matters.
        x[0] += 0.3;
    }
    (x, word)
}

#[test]
fn a_change_of_one_part_is_told_of_that_part() {
    let mut stream = Stream::new(Some(sliced()));
    assert!(stream.send(100, &usual).is_empty());
    let begun = stream.send(300, &higher_where_red);
    assert!(
        begun
            .iter()
            .any(|alarm| alarm.starts_with("x[0] where word is red ")),
        "{begun:?}"
    );
    assert!(
        !begun
            .iter()
            .any(|alarm| alarm.contains("blue") || alarm.contains("green")),
        "{begun:?}"
    );

    let report = stream.watch.report(&settings());
    let part = |word: &str| {
        let is_part = |part: &&crate::observe::report::drift::PartDrift| part.of.part == word;
        report.parts.iter().find(is_part).expect("a part")
    };
    let (red, blue) = (part("red"), part("blue"));
    assert!(red.alarms > 0 && blue.alarms == 0);
    assert!((6_000..7_500).contains(&red.baseline_rows) && red.rows > 1_000);
    assert_eq!((blue.columns.len(), blue.columns_total), (1, 3));

    let events = IncidentLog::default().step(&report, DateTime::UNIX_EPOCH);
    assert_eq!(events.len(), 1);
    let summary = &events[0].summary;
    assert!(
        summary.starts_with("x[0] where word is red is higher than it was"),
        "{summary}"
    );
}

#[test]
fn a_change_of_all_rows_is_told_once() {
    let mut stream = Stream::new(Some(sliced()));
    stream.send(300, &|random| {
        let (x, word) = usual(random);
        ([x[0] + 0.5, x[1]], word)
    });
    let report = stream.watch.report(&settings());
    assert!(report.parts.iter().all(|part| part.alarms > 0));
    let events = IncidentLog::default().step(&report, DateTime::UNIX_EPOCH);
    assert_eq!(events.len(), 1);
    let summary = &events[0].summary;
    assert!(
        summary.starts_with("x[0] is higher than it was"),
        "{summary}"
    );
    let names: Vec<&str> = events[0].columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        names.iter().filter(|name| **name == "x[0]").count(),
        1,
        "{names:?}"
    );
}

#[test]
fn usual_rows_raise_no_alarm_in_any_part() {
    let mut stream = Stream::new(Some(sliced()));
    assert_eq!(stream.send(1_500, &usual), [""; 0]);
}

#[test]
fn new_categories_belong_to_no_part() {
    let mut stream = Stream::new(Some(sliced()));
    stream.send(20, &|random| (usual(random).0, "violet"));
    let report = stream.watch.report(&settings());
    assert!(report.parts.iter().all(|part| part.rows == 0));
}

#[test]
fn a_column_that_is_ignored_is_watched_in_no_part() {
    let mut watched = subject(Some(sliced()));
    watched.rules.ignore = vec!["x[0]".to_owned()];
    let watch = VersionWatch::new(watched, 1, Instant::now()).expect("fits");
    assert!(
        watch
            .parts
            .columns
            .iter()
            .all(|column| column.name != "x[0]")
    );
    assert!(!watch.parts.columns.is_empty());
}

#[test]
fn servers_that_share_counts_find_it_together() {
    let mut servers = [Stream::new(Some(sliced())), Stream::new(Some(sliced()))];
    let mut merged = Stream::new(Some(sliced()));
    let mut begun = Vec::new();
    for _ in 0..30 {
        for server in &mut servers {
            server.send(10, &higher_where_red);
            let sketch = server.watch.sketch().expect("rows of a closed window");
            merged.watch.merge(&sketch);
        }
        merged.now += std::time::Duration::from_secs(10);
        begun.extend(merged.watch.close(merged.now, &settings()));
    }
    let names: Vec<&str> = begun.iter().map(|alarm| alarm.column.as_str()).collect();
    assert!(names.contains(&"x[0] where word is red"), "{names:?}");
}
