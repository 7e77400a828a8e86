//! Tests of `story`: one sentence for each cause.

use super::*;
use crate::observe::report::drift::{DriftReport, VersionDrift};
use serde_json::{Value, json};

/// A column with some members changed, as a server reports it.
fn column(change: &Value) -> ColumnDrift {
    let mut column = json!({
        "name": "income", "side": "input", "contract": {}, "hints": {"constant": false}, "tests": [],
        "kind": "stationary", "then": {"rows": 100, "missing": 0.0, "mean": 60.0, "median": 52.0},
        "now": {"rows": 100, "missing": 0.0, "mean": 60.0, "median": 52.0}, "breaches": []
    });
    for (key, value) in change.as_object().expect("members") {
        column[key] = value.clone();
    }
    let report = json!({"versions": [{
        "model": "m", "version": 1, "baseline": "training", "baseline_rows": 5, "rows": 4, "windows": 3,
        "alarms": 0, "columns": [column]
    }]});
    let report: DriftReport = serde_json::from_value(report).expect("a report");
    let [VersionDrift { columns, .. }] = &report.versions[..] else {
        panic!("one version")
    };
    columns[0].clone()
}

fn test(metric: &str) -> Value {
    json!({"metric": metric, "against": "training", "span": 1, "value": 0.5, "lower": 0.4,
        "certain": 0.3, "threshold": 0.05, "rows": 1000, "alarm": true})
}

fn breach(kind: &str, share: f64) -> Value {
    json!({"kind": kind, "share": share, "lower": share, "allowed": 0.01, "breaches": 100,
        "rows": 100, "seconds": 60, "alarm": true})
}

fn check(change: &Value, expected: &str) {
    assert_eq!(sentence(&column(change)).as_deref(), Some(expected));
}

#[test]
fn every_cause_has_a_sentence_with_then_and_now() {
    let far = json!({"rows": 100, "missing": 0.0, "mean": 60_000.0, "median": 52_000.0});
    check(
        &json!({"hints": {"constant": false, "scale": 1000.0}, "tests": [test("ks")], "now": far}),
        "income is 1,000 times what it was (typical value 52000, was 52)",
    );
    check(
        &json!({"hints": {"constant": false, "scale": 0.01}, "tests": [test("ks")]}),
        "income is 1/100 of what it was (typical value 52, was 52)",
    );
    check(
        &json!({"hints": {"constant": true}, "tests": [test("ks")]}),
        "income has the same value in every row (typical value 52, was 52)",
    );
    check(
        &json!({"breaches": [breach("missing", 0.125)], "then": {"rows": 100, "missing": 0.05}}),
        "income is missing in 12.5 % of rows (was 5 %)",
    );
    check(
        &json!({"tests": [test("missing")], "then": {"rows": 100, "missing": 0.053}}),
        "income is missing in 0 % of rows (was 5.3 %)",
    );
    check(
        &json!({"breaches": [breach("unseen", 0.82)]}),
        "income has values that the baseline never had in 82 % of rows",
    );
    check(
        &json!({"breaches": [breach("above", 0.82)], "now": far}),
        "income is above the range of the baseline in 82 % of rows (typical value 52000, was 52)",
    );
    check(
        &json!({"breaches": [breach("infinite", 1.0)]}),
        "income is infinite in 100 % of rows",
    );
    check(
        &json!({"tests": [test("ks")], "now": far}),
        "income is higher than it was (typical value 52000, was 52)",
    );
    check(
        &json!({"tests": [test("js")]}),
        "income is distributed differently than it was (typical value 52, was 52)",
    );
    check(
        &json!({"tests": [test("largest")], "changed": {"value": "north", "then": 0.25, "now": 0.45}}),
        "income has another mix of values: 'north' is 45 % of rows, was 25 %",
    );
    assert_eq!(sentence(&column(&json!({}))), None, "no alarm, no story");
}

#[test]
fn new_values_in_most_rows_explain_one_value_in_every_row() {
    let both = json!({"hints": {"constant": true}, "breaches": [breach("unseen", 1.0)]});
    assert_eq!(cause(&column(&both)), Some(AlarmCause::Unseen));
    let stuck_high = json!({"hints": {"constant": true}, "breaches": [breach("above", 1.0)]});
    assert_eq!(cause(&column(&stuck_high)), Some(AlarmCause::Constant));
}

#[test]
fn shares_and_numbers_are_written_for_people() {
    for (share, text) in [
        (0.0, "0 %"),
        (0.0004, "under 0.1 %"),
        (0.053, "5.3 %"),
        (0.25, "25 %"),
        (0.9993, "over 99.9 %"),
        (1.0, "100 %"),
    ] {
        assert_eq!(percent(share), text);
    }
    assert_eq!(
        (grouped(1000.0).as_str(), grouped(1e6).as_str()),
        ("1,000", "1,000,000")
    );
    assert_eq!(grouped(100.0), "100");
}
