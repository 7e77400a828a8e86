//! Tests of `alarms`: what the list says of each kind of alarm.

use super::*;
use serde_json::{Value, json};

fn incident(phase: &str, columns: usize, servers: Option<usize>) -> Value {
    let time = "2026-11-28T00:00:00Z";
    let mut alarm = json!({
        "incident": "i", "model": "churn", "version": 3, "digest": "sha256:00", "phase": phase,
        "opened": time, "updated": time, "baseline": "training",
        "summary": "income is 1,000 times what it was; 2 more columns changed too.",
        "effect": "", "advice": [], "columns": [], "columns_total": columns,
    });
    if let Some(servers) = servers {
        alarm["servers"] = json!(servers);
    }
    alarm
}

fn performance(lost: u64, span_hours: u64) -> Value {
    json!({
        "model": "churn", "version": 3, "digest": "sha256:00", "time": "2026-11-28T00:00:00Z",
        "span_hours": span_hours, "rows": 400, "lost": lost, "allowed": 0.05, "evidence": 1e6, "alpha": 0.001,
    })
}

fn drift() -> Value {
    json!({
        "model": "churn", "version": 3, "digest": "sha256:00", "column": "age", "side": "input",
        "time": "2026-11-28T00:00:00Z", "baseline": "training", "importance": null, "alpha": 1e-6,
        "test": {
            "metric": "ks", "against": "training", "span": 1, "value": 0.4, "lower": 0.3, "certain": 0.2,
            "threshold": 0.05, "rows": 1000, "effective_rows": 1000.0, "baseline_rows": 5000, "alarm": true,
        },
    })
}

/// The lines of a list with one alarm each, without the heading and the first two columns.
fn lines(alarms: &[(&str, Value)]) -> Vec<String> {
    let kept = |(kind, alarm): &(&str, Value)| -> LoggedAlarm {
        let kept = json!({
            "format": 1, "kind": kind, "model": "churn", "time": "2026-11-28T09:30:05Z", "server": "a",
            "alarm": alarm,
        });
        serde_json::from_value(kept).expect("an alarm")
    };
    let found: Vec<LoggedAlarm> = alarms.iter().map(kept).collect();
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    listed(&found).lines().into_iter().map(words).collect()
}

#[test]
fn incidents_and_label_alarms_say_what_happened_in_a_sentence() {
    let mut of_part = performance(52, 720);
    of_part["part"] = json!({"slice": "region", "part": "north"});
    let shown = lines(&[
        ("ortus.incident.opened", incident("opened", 3, None)),
        ("ortus.incident.closed", incident("closed", 1, Some(10))),
        ("ortus.performance.alarm", performance(1, 24)),
        ("ortus.performance.alarm", performance(52, 720)),
        ("ortus.performance.alarm", of_part),
        ("ortus.drift.alarm", drift()),
    ]);
    let story = "income is 1,000 times what it was; 2 more columns changed too.";
    let at = "2026-11-28 09:30:05 churn 3";
    let expected = [
        "TIME MODEL VERSION EVENT COLUMNS SERVER SUMMARY".to_owned(),
        format!("{at} incident opened 3 a {story}"),
        format!("{at} incident closed 1 a (of 10 servers) {story}"),
        format!(
            "{at} performance alarm - a 1 of 400 labelled rows of the last 24 hours was wrong; up to 5 % may be."
        ),
        format!(
            "{at} performance alarm - a 52 of 400 labelled rows of the last 30 days were wrong; up to 5 % may be."
        ),
        format!(
            "{at} performance alarm - a Where region is north: 52 of 400 labelled rows of the last 30 days were wrong; up to 5 % may be."
        ),
        format!("{at} drift alarm 1 a age: ks is 0.4, at least 0.3, and matters from 0.05."),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn alarms_of_other_programs_are_listed_with_what_they_have() {
    let shown = lines(&[
        ("com.example.alarm", json!({"column": "age", "why": 7})),
        ("com.example.alarm", json!({})),
    ]);
    let at = "2026-11-28 09:30:05 churn -";
    assert_eq!(shown[1], format!("{at} com.example.alarm 1 a age"));
    assert_eq!(shown[2], format!("{at} com.example.alarm - a -"));
}
