//! A page says what its report says, and nothing in a name gets out of its place.

mod columns;
mod documents;

use super::*;
use serde_json::{Value, json};

fn report() -> Value {
    let test = json!({"metric": "ks", "against": "training", "span": 1, "value": 0.4, "lower": 0.3, "threshold": 0.05,
        "rows": 1000, "effective_rows": 1000.0, "baseline_rows": 5000, "alarm": false});
    let column = |name: &str, side: &str| {
        json!({"name": name, "side": side, "contract": {"nan": 0, "above": 3},
        "hints": {"constant": false}, "tests": [test]})
    };

    let picture = |name: &str, side: &str| {
        json!({"name": name, "side": side, "importance": null, "edges": [1.0, 2.0],
        "words": [], "before": [0, 10, 0], "before_missing": 0, "now": [5, 5, 0], "now_missing": 2})
    };
    json!({
        "time": 1_763_900_000_u64, "hours": 168,
        "watched": [{
            "model": "m<b>", "version": 3, "digest": "sha256:00", "baseline": "training", "baseline_rows": 5000,
            "rows": 2000, "sampled_rows": 2000, "windows": 2, "alpha": 1e-6, "alarms": 0,
            "columns": [column("age", "input"), column("y", "output")],
            "estimated": {"rows": 1000, "measures": {"accuracy": 0.9}, "margin": 0.01, "calibrated": true, "assumption": "holds if"},
            "shown": {
                "pictures": [picture("age", "input"), picture("y", "output")],
                "history": [{"time": 1_763_890_000_u64, "rows": 1000, "alarms": 0, "columns": [[0.1, 0.2], null], "estimated": 0.9}],
                "calibration": [{"output": "y", "points": [[0.1, 0.2], [0.9, 0.8]]}],
                "performance": {"accuracy": 0.95}
            }
        }],
        "measured": [{
            "model": "m", "version": 3, "digest": "sha256:00", "window_days": 7, "alarm": false, "loss_allowed": 0.08,
            "window": {"from": "2025-11-16T12:00Z", "predicted_rows": 2000, "labelled_rows": 500, "maturity": 0.25, "measures": {"accuracy": 0.93}},
            "days": [{"from": "2025-11-23T00:00Z", "predicted_rows": 2000, "labelled_rows": 500, "maturity": 0.25, "measures": {"accuracy": 0.93}}],
            "slices": [{"slice": "age", "part": "≤ 3", "rows": 10, "measures": {"accuracy": 0.5}}],
            "reliability": [[0.55, 0.5, 100]], "pending_labels": 0
        }],
        "times": {"3": [[0.001, 90], [0.01, 100], [80.0, 100]]}
    })
}

fn page(report: &Value) -> String {
    render(&serde_json::from_value(report.clone()).expect("a report"))
}

fn check(report: &Value, parts: &[&str]) {
    let page = page(report);
    parts
        .iter()
        .for_each(|part| assert!(page.contains(part), "{part:?} is not in {page}"));
}

#[test]
fn the_page_shows_the_values_of_the_report() {
    check(
        &report(),
        &[
            "No alarm. Inputs and outputs",
            "training baseline (5000 rows)",
            "<td class=\"n\">0.95</td><td class=\"n\">0.93</td><td class=\"n\">0.9</td>",
            "25 % of the rows predicted here have a label",
            "Up to 8 % of the rows may be wrong",
            "The estimate holds if",
            "50 % took at most 1 ms",
            "3 above",
            "≤ 3",
            "Calibration",
        ],
    );

    let page = page(&report());
    assert!(
        !page.contains("m<b>") && page.contains("m&lt;b&gt;"),
        "names are text"
    );
    assert!(
        !page.contains("http") && !page.contains("<script"),
        "nothing to fetch and nothing to run"
    );
}

/// The rows of an alarm, and so many since.
fn alarm_rows(since: u64, wrong: u64) -> Value {
    json!({
        "since": "2026-05-01T14:00Z", "until": "2026-05-02T00:00Z", "rows": 200, "wrong": 40, "allowed": 0.08,
        "rows_since": since, "wrong_since": wrong
    })
}

#[test]
fn the_page_shows_findings_first() {
    let mut bad = report();
    bad["watched"][0]["columns"][0]["tests"][0]["alarm"] = true.into();
    bad["watched"][0]["columns"][0]["hints"] = json!({"constant": true, "scale": 1000.0});
    bad["measured"][0]["alarm"] = true.into();
    bad["measured"][0]["alarm_rows"] = alarm_rows(300, 6);
    check(
        &bad,
        &[
            "<b>The model is wrong more often than it was on its baseline</b>",
            "according to the labels, since 2026-05-01T14:00Z, when 40 of 200 labelled rows (20.0 %) were wrong and up to 8.0 % may be; of 300 labelled rows since, 2.0 % are wrong, within that. It lasts until 2026-05-02T00:00Z",
            "is 1,000 times what it was",
        ],
    );
}

#[test]
fn the_page_names_the_parts_in_which_the_model_is_wrong_more_often() {
    let mut bad = report();
    let part = &mut bad["measured"][0]["slices"][0];
    (part["alarm"], part["loss_allowed"]) = (true.into(), 0.12.into());
    part["alarm_rows"] = alarm_rows(0, 0);
    check(
        &bad,
        &[
            "<b>The model is wrong more often in a part of the rows than it was on its baseline</b>",
            "<li>where age is ≤ 3, since 2026-05-01T14:00Z, when 40 of 200 labelled rows (20.0 %) were wrong and up to 8.0 % may be; no label has come since.",
            "<td class=\"alarm\">≤ 3 (in alarm: more errors than the baseline allows, since 2026",
        ],
    );
    assert!(!page(&bad).contains("No alarm."));
}

#[test]
fn an_empty_report_renders_a_page() {
    let mut young = report();
    young["watched"][0]["windows"] = 0.into();
    young["watched"][0]["columns"] = json!([]);
    young["watched"][0]["shown"] =
        json!({"pictures": [], "history": [], "calibration": null, "performance": null});
    young["watched"][0]["estimated"] = Value::Null;
    young["measured"] = json!([]);
    young["times"] = json!({});
    check(
        &young,
        &[
            "<p class=\"verdict unknown\">Not enough rows for a verdict: 2000 rows counted",
            "None: every value",
        ],
    );
}

#[test]
fn one_of_a_kind_is_said_in_the_singular() {
    let mut young = report();
    let version = &mut young["watched"][0];
    for field in ["alarms", "rows", "windows", "baseline_rows"] {
        version[field] = 1.into();
    }
    check(
        &young,
        &[
            "1 test in alarm.",
            "1 row predicted, ",
            " in 1 window. ",
            "training baseline (1 row).",
        ],
    );
}

#[test]
fn labels_of_bars_are_cut_to_their_room_and_say_so() {
    let labels: Vec<String> = (0..12)
        .map(|at| format!("from {at}.25 to {at}.75"))
        .collect();
    let shares = vec![0.1; 12];
    let drawn = chart::bars("title", &labels, &shares, &shares).into_string();
    let shown = drawn.matches("class=\"middle\"").count();
    assert_eq!(shown, 4, "{drawn}");
    assert!(drawn.contains(">from 0.25 to…</text>"), "{drawn}");
}
