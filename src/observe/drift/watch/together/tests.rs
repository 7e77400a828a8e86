//! Tests of `together`: inputs that no longer fit together though each alone is as before.

use super::*;
use crate::observe::drift::facts::RowFacts;
use crate::observe::drift::incident::IncidentLog;
use crate::observe::drift::reference::ReferenceRows;
use crate::observe::drift::series::ColumnSeries;
use crate::observe::drift::slice::choice::SliceChoice;
use crate::observe::drift::watch::tests::{Random, Stream, settings, subject};
use chrono::DateTime;
use std::collections::BTreeMap;
use std::time::Instant;

/// Rows of two numbers with a correlation.
fn row(random: &mut Random, correlation: f64) -> ([f32; 2], &'static str) {
    let first = random.normal();
    let rest = (1.0 - correlation * correlation).sqrt();
    let second = correlation * first + rest * random.normal();
    ([first as f32, second as f32], "red")
}

fn baseline() -> Baseline {
    let mut random = Random(1);
    let rows: Vec<_> = (0..20_000).map(|_| row(&mut random, 0.9)).collect();
    let of = |one: &dyn Fn(&[f32; 2]) -> f32| {
        ColumnSeries::Numbers(rows.iter().map(|(x, _)| f64::from(one(x))).collect())
    };
    let series = [
        of(&|x| x[0]),
        of(&|x| x[1]),
        ColumnSeries::Words(vec!["red".to_owned(); 20_000]),
        of(&|x| x[0] + x[1]),
    ];
    let places = subject(None).find_columns().expect("columns");
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

#[test]
fn a_correlation_that_breaks_is_told_with_the_pair() {
    let mut stream = Stream::new(Some(baseline()));
    assert_eq!(stream.send(300, &|random| row(random, 0.9)), [""; 0]);
    let begun = stream.send(60, &|random| row(random, 0.0));
    assert!(
        begun.iter().any(|alarm| alarm.starts_with("multivariate ")),
        "{begun:?}"
    );
    assert!(
        !begun.iter().any(|alarm| alarm.starts_with("x[")),
        "{begun:?}"
    );

    let report = stream.watch.report(&settings());
    let column = report.columns.iter().find(|c| c.name == MULTIVARIATE);
    let pair = column.and_then(|c| c.pair.as_ref()).expect("in alarm");
    assert_eq!(pair.columns, ("x[0]".to_owned(), "x[1]".to_owned()));
    assert!(pair.then > 0.85 && pair.now.abs() < 0.2, "{pair:?}");
    let events = IncidentLog::default().step(&report, DateTime::UNIX_EPOCH);
    let summary = &events[0].summary;
    assert!(
        summary.starts_with("the numeric inputs fit together otherwise than in the baseline; most of all x[0] and x[1] (correlation "),
        "{summary}"
    );
}

#[test]
fn an_input_that_changed_itself_is_told_before_the_inputs_together() {
    let mut stream = Stream::new(Some(baseline()));
    stream.send(60, &|random| {
        let (x, word) = row(random, 0.9);
        ([x[0] + 2.0, x[1]], word)
    });
    let report = stream.watch.report(&settings());
    let events = IncidentLog::default().step(&report, DateTime::UNIX_EPOCH);
    let summary = &events[0].summary;
    assert!(summary.starts_with("x[0] is "), "{summary}");
    assert!(!summary.contains("fit together"), "{summary}");
}

#[test]
fn no_pair_is_named_where_no_correlation_changed() {
    let mut stream = Stream::new(Some(baseline()));
    // Two opposite moves that are small for each, and large for the two together.
    stream.send(300, &|random| {
        let (x, word) = row(random, 0.9);
        ([x[0] + 0.2, x[1] - 0.2], word)
    });
    let report = stream.watch.report(&settings());
    let column = report.columns.iter().find(|c| c.name == MULTIVARIATE);
    let column = column.expect("watched");
    assert!(column.alarms() > 0 && column.pair.is_none(), "{column:?}");
}

#[test]
fn it_is_not_watched_where_it_or_one_of_its_inputs_is_ignored() {
    for ignored in [MULTIVARIATE, "x[1]"] {
        let mut watched = subject(Some(baseline()));
        watched.rules.ignore = vec![ignored.to_owned()];
        let watch = VersionWatch::new(watched, 1, Instant::now()).expect("fits");
        let report = watch.report(&settings());
        assert!(
            report.columns.iter().all(|c| c.name != MULTIVARIATE),
            "{ignored}"
        );
    }
}
