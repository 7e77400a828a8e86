//! Records of earlier runs are read, and written again to the byte.

use super::*;
use crate::history::RecordedRun;
use serde_json::json;

/// Runs as the trainer wrote them before records had a type: published, equal,
/// failed, inconclusive and broken ones, a trial, and one of a training program.
const GOLDEN: &str = include_str!("golden.jsonl");

fn read(record: Value) -> RunRecord {
    serde_json::from_value(record).expect("a record")
}

#[test]
fn recorded_runs_are_read_and_written_to_the_byte() {
    assert_eq!(GOLDEN.lines().count(), 9);
    for line in GOLDEN.lines() {
        let ran: RecordedRun = serde_json::from_str(line).expect("a run");
        assert_eq!(serde_json::to_string(&ran).expect("JSON"), line);

        // `--json` prints the keys of the whole run in alphabetical order.
        let value: Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(json!(ran).to_string(), value.to_string());
    }
}

#[test]
fn an_absent_field_and_a_null_one_stay_what_they_are() {
    let texts = [
        json!({}),
        json!({"error": "e", "said": null, "spec": "s"}),
        json!({"loss": null, "measure": "mae", "values": {"fit.trees.l2": 0.5}}),
        json!({"parent": null, "parity": null, "trigger": null, "version": null}),
    ];

    for text in texts {
        assert_eq!(json!(read(text.clone())), text);
    }
}

#[test]
fn what_differs_in_the_rows_is_written_with_whether_it_looks_like_a_fault() {
    let differences = json!([
        {"is_suspect": true, "text": "income is 1,000 times what it was"},
        {"is_suspect": false, "text": "age has other values"},
    ]);
    let split = json!({
        "by": "time", "learned_times": [[1, "2026-03-01T12:00:00Z"], [500, "2026-03-01T11:00:00Z"]],
        "left_out": 0, "stop": 1, "test": 2, "train": 600,
    });
    let record = json!({"held": "held for a person", "rows_changed": differences, "split": split});
    let read = read(record.clone());

    assert_eq!(json!(read), record);
    assert_eq!(
        read.rows_changed(),
        [
            "income is 1,000 times what it was, which looks like a fault",
            "age has other values"
        ]
    );
}

#[test]
fn fields_that_this_version_does_not_know_are_ignored() {
    let record =
        json!({"run": "sha256:ab", "weather": {"rain": true}, "data": {"rows": 3, "lake": 1}});
    let record = read(record);

    assert_eq!(record.key(), "sha256:ab");
    assert_eq!(record.data.value().map(|data| data.rows), Some(3));
}

#[test]
fn numbers_that_json_does_not_have_are_read_as_they_were() {
    let gate = json!({
        "interval": {"clusters": 2, "high": null, "low": null, "mean": 0.5},
        "name": "bound", "reason": "r", "threshold": 0.6, "verdict": "inconclusive",
    });
    let record = json!({"gates": [gate], "importances": [["a", null]], "metrics": {"mae": null}});
    let read = read(record.clone());

    let interval = read.gates()[0].interval.expect("an interval");
    assert_eq!(
        (interval.low, interval.high),
        (f64::NEG_INFINITY, f64::INFINITY)
    );
    assert!(read.metrics().all(|(_, value)| value.is_nan()));
    assert_eq!(json!(read), record);
}

#[test]
fn a_record_that_is_too_large_keeps_its_key_and_its_verdict() {
    let record = read(json!({"run": "sha256:ab", "verdict": "fail", "notes": ["a", "b"]}));
    let short = json!({
        "reason": "the record is too large to be stored",
        "run": "sha256:ab", "spec": null, "verdict": "fail", "version": null,
    });

    assert_eq!(json!(record.shortened()), short);
}
