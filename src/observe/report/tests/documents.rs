//! The JSON of reports and alarms: golden files that earlier versions wrote, and
//! the published schemas. Golden files are never edited.

use super::columns::{breach, column, part, summary, test};
use crate::observe::alarms::LoggedAlarm;
use crate::observe::drift::layout::Side;
use crate::observe::report::alarm::{AlarmEvent, DriftAlarm, PerformanceAlarm};
use crate::observe::report::column::BaselineSource;
use crate::observe::report::compared::{ComparedMeasure, ComparedVersion};
use crate::observe::report::drift::{DriftReport, FleetDrift, PartDrift, VersionDrift};
use crate::observe::report::incident::{Incident, IncidentColumn, IncidentPhase};
use crate::observe::report::model::ModelReport;
use crate::observe::report::performance::{
    AlarmRows, CohortPerformance, EstimatedPerformance, MeasuredPerformance, PerformanceReport,
    SlicePerformance, VersionEstimate, WaitingLabels, WaitingReason,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const ALARM: &str = include_str!("../../../../docs/schemas/alarm.json");
const DRIFT: &str = include_str!("../../../../docs/schemas/drift.json");
const PERFORMANCE: &str = include_str!("../../../../docs/schemas/performance.json");

fn golden<T: Serialize + DeserializeOwned>(text: &str) {
    let read: T = serde_json::from_str(text).expect("an older document is read");
    let written = serde_json::to_value(&read).expect("JSON");
    let before: Value = serde_json::from_str(text).expect("JSON");
    assert_eq!(kept_of(&written, &before), before);
}

/// The members of a document that an older one has too.
fn kept_of(written: &Value, before: &Value) -> Value {
    match (written, before) {
        (Value::Object(now), Value::Object(then)) => {
            let has = now.iter().filter(|(key, _)| then.contains_key(*key));
            has.map(|(key, value)| (key.clone(), kept_of(value, &then[key])))
                .collect()
        }
        (Value::Array(now), Value::Array(then)) if now.len() == then.len() => now
            .iter()
            .zip(then)
            .map(|(now, then)| kept_of(now, then))
            .collect(),
        _ => written.clone(),
    }
}

#[test]
fn reports_of_earlier_versions_are_read_and_keep_what_they_had() {
    golden::<DriftReport>(include_str!("../golden/drift-1.json"));
    golden::<PerformanceReport>(include_str!("../golden/performance-1.json"));
    golden::<ModelReport>(include_str!("../golden/report-1.json"));
}

#[test]
fn alarms_of_earlier_versions_are_written_byte_for_byte() {
    for text in [
        include_str!("../golden/alarm-drift-1.json"),
        include_str!("../golden/alarm-performance-1.json"),
    ] {
        let kept: LoggedAlarm = serde_json::from_str(text).expect("an alarm");
        assert!(!matches!(kept.alarm, AlarmEvent::Other(_)), "{kept:?}");
        let written = serde_json::to_string(&kept).expect("JSON");
        assert_eq!(written, text.trim_end());
    }
}

#[test]
fn an_alarm_of_an_unknown_form_is_kept_as_it_came() {
    for alarm in [
        json!({"version": 2, "column": "age"}),
        json!({"model": "m", "version": 2, "reason": {"score": [1.5, "x"]}}),
    ] {
        let event: AlarmEvent = serde_json::from_value(alarm.clone()).expect("an alarm");
        assert_eq!(event.version(), Some(2));
        assert_eq!(serde_json::to_value(&event).expect("JSON"), alarm);
    }
}

#[test]
fn an_answer_of_an_older_server_with_fewer_keys_is_read() {
    let report: DriftReport = serde_json::from_value(json!({"versions": [{
        "model": "m", "version": 1, "baseline": "training", "baseline_rows": 5, "rows": 4,
        "windows": 3, "alarms": 0, "columns": [{
            "name": "age", "side": "input", "contract": {"nan": 1}, "tests": [{
                "metric": "ks", "against": "training", "span": 1, "value": null, "lower": 0.1,
                "threshold": 0.2, "rows": 2, "alarm": false
            }]
        }]
    }]}))
    .expect("a report");

    let column = &report.versions[0].columns[0];
    assert_eq!((column.contract.nan, column.contract.above), (1, 0));
    assert!(column.tests[0].value.is_nan(), "JSON has no NaN");

    let report: PerformanceReport = serde_json::from_value(json!({"measured": [{
        "model": "m", "version": 1, "window_days": 7, "days": [], "slices": [], "alarm": false,
        "window": {"from": "2025-11-16T12:00Z", "labelled_rows": 5, "measures": {}}
    }], "estimated": [{"version": 1, "estimated": null}]}))
    .expect("a report");

    assert_eq!(report.measured[0].window.maturity, None);
}

fn measures() -> BTreeMap<String, f64> {
    BTreeMap::from([("accuracy".to_owned(), 0.5)])
}

/// An incident with every optional member, or with none.
fn incident(is_full: bool) -> Incident {
    let column = IncidentColumn {
        name: "age".to_owned(),
        side: Side::Input,
        part: is_full.then(part),
        importance: is_full.then_some(0.5),
        summary: "age is above the range of the baseline in 50 % of rows".to_owned(),
        then: is_full.then(summary),
        now: is_full.then(summary),
        tests: if is_full { vec![test()] } else { Vec::new() },
        breaches: if is_full { vec![breach()] } else { Vec::new() },
    };
    Incident {
        incident: "0190a1b2".to_owned(),
        model: "m".to_owned(),
        version: 1,
        digest: "sha256:00".to_owned(),
        phase: IncidentPhase::Closed,
        opened: chrono::DateTime::UNIX_EPOCH,
        updated: chrono::DateTime::UNIX_EPOCH,
        closed: is_full.then_some(chrono::DateTime::UNIX_EPOCH),
        baseline: BaselineSource::Training,
        summary: "age is above the range of the baseline in 50 % of rows.".to_owned(),
        effect: "No change of the model's answers is certain so far.".to_owned(),
        advice: vec!["Check age at its source.".to_owned()],
        columns: vec![column],
        columns_total: 1,
        servers: is_full.then_some(2),
    }
}

/// A report with every optional member, or with none.
fn drift(is_full: bool) -> VersionDrift {
    let estimated = EstimatedPerformance {
        rows: 10,
        measures: measures(),
        margin: is_full.then_some(0.1),
        calibrated: is_full.then_some(true),
        assumption: "holds if".to_owned(),
        doubt: is_full.then(|| "age is in alarm".to_owned()),
    };

    let column = column(is_full);

    VersionDrift {
        model: "m".to_owned(),
        version: 1,
        digest: "sha256:00".to_owned(),
        baseline: BaselineSource::Own,
        baseline_rows: 20,
        gathered_rows: is_full.then_some(1_500),
        own_rows: is_full.then_some(5_000),
        rows: 30,
        sampled_rows: 30,
        windows: 3,
        alpha: 0.01,
        alarms: 1,
        estimated: is_full.then_some(estimated),
        incidents: if is_full {
            vec![incident(true)]
        } else {
            Vec::new()
        },
        differences: if is_full {
            vec!["age differs".to_owned()]
        } else {
            Vec::new()
        },
        parts: if is_full {
            vec![PartDrift {
                of: part(),
                baseline_rows: 500,
                rows: 50,
                columns_total: 3,
                alarms: 1,
                columns: vec![column.clone()],
            }]
        } else {
            Vec::new()
        },
        columns: vec![column],
        sample_share: is_full.then_some(1.0),
        counted_share: is_full.then_some(1.0),
        dropped_requests: is_full.then_some(0),
        fleet: None,
    }
}

fn full_drift() -> DriftReport {
    let merged = Box::new(drift(false));
    let fleet = Some(FleetDrift { servers: 2, merged });
    let versions = vec![VersionDrift {
        fleet,
        ..drift(true)
    }];
    DriftReport { versions }
}

fn full_performance() -> PerformanceReport {
    let cohort = CohortPerformance {
        from: "2025-11-16T12:00Z".to_owned(),
        predicted_rows: 10,
        labelled_rows: 5,
        maturity: Some(0.5),
        measures: measures(),
    };

    let slice = SlicePerformance {
        slice: "age".to_owned(),
        part: "> 3".to_owned(),
        rows: 5,
        loss_allowed: Some(0.1),
        alarm: true,
        alarm_rows: Some(alarm_rows()),
        measures: measures(),
    };

    let measured = MeasuredPerformance {
        model: "m".to_owned(),
        version: 1,
        digest: "sha256:00".to_owned(),
        window_days: 7,
        window: cohort.clone(),
        days: vec![cohort],
        slices: vec![slice],
        reliability: vec![(0.5, 0.5, 10)],
        loss_allowed: Some(0.1),
        alarm: false,
        alarm_rows: Some(alarm_rows()),
        pending_labels: 0,
        unfit_labels: 1,
    };

    PerformanceReport {
        measured: vec![measured],
        estimated: vec![VersionEstimate {
            version: 1,
            digest: "sha256:00".to_owned(),
            estimated: drift(true).estimated,
        }],
        waiting: Some(WaitingLabels {
            labels: 3,
            reasons: vec![WaitingReason {
                code: "older".to_owned(),
                labels: 3,
                text: "wait".to_owned(),
            }],
            forgotten: 0,
            answers_since: Some("2025-11-16T12:00:00Z".to_owned()),
            lost_predictions: BTreeMap::from([("queue".to_owned(), 1)]),
        }),
        compared: vec![version_beside_another()],
    }
}

fn version_beside_another() -> ComparedVersion {
    let measure = ComparedMeasure {
        name: "accuracy".to_owned(),
        value: 0.9,
        interval: [0.8, 0.95],
    };
    ComparedVersion {
        version: 2,
        aliases: vec!["canary".to_owned()],
        traffic: 10,
        requests: 100,
        failed_share: Some(0.0),
        latency_ms: Some([1.0, 2.0]),
        open_incidents: 0,
        labelled_rows: 100,
        measured: Some(measure.clone()),
        compared_with: Some(1),
        difference: Some(measure),
        difference_since: Some("2026-05-01T14:00Z".to_owned()),
        difference_rows: Some([100, 400]),
    }
}

fn alarm_rows() -> AlarmRows {
    AlarmRows {
        since: "2026-05-01T14:00Z".to_owned(),
        until: "2026-05-02T00:00Z".to_owned(),
        rows: 200,
        wrong: 40,
        allowed: 0.08,
        rows_since: 3,
        wrong_since: 1,
    }
}

fn kept(alarm: AlarmEvent) -> LoggedAlarm {
    LoggedAlarm {
        format: 1,
        kind: "ortus.drift.alarm".to_owned(),
        model: "m".to_owned(),
        time: chrono::DateTime::UNIX_EPOCH,
        server: "s".to_owned(),
        alarm,
    }
}

fn drift_alarm(servers: Option<usize>) -> AlarmEvent {
    AlarmEvent::Drift(Box::new(DriftAlarm {
        model: "m".to_owned(),
        version: 1,
        digest: "sha256:00".to_owned(),
        column: "age".to_owned(),
        side: Side::Output,
        time: chrono::DateTime::UNIX_EPOCH,
        baseline: BaselineSource::Training,
        importance: None,
        test: test(),
        alpha: 0.01,
        servers,
    }))
}

fn performance_alarm() -> AlarmEvent {
    AlarmEvent::Performance(PerformanceAlarm {
        model: "m".to_owned(),
        version: 1,
        digest: "sha256:00".to_owned(),
        part: Some(part()),
        time: chrono::DateTime::UNIX_EPOCH,
        span_hours: 24,
        rows: 10,
        lost: 5,
        allowed: 0.1,
        evidence: 30.0,
        alpha: 0.01,
    })
}

/// Follows a reference, and the variant of the same properties.
fn resolve<'s>(schema: &'s Value, whole: &'s Value, value: &Value) -> &'s Value {
    if let Some(to) = schema["$ref"].as_str() {
        return whole.pointer(&to[1..]).expect("a definition");
    }
    let Some(variants) = schema["oneOf"].as_array() else {
        return schema;
    };
    let has_required = |variant: &&Value| {
        let mut required = variant["required"].as_array().expect("a list").iter();
        required.all(|key| value.get(key.as_str().expect("a key")).is_some())
    };
    variants.iter().find(has_required).expect("a variant")
}

fn keys(object: &Value) -> BTreeSet<&str> {
    let members = object.as_object().expect("an object");
    members.keys().map(String::as_str).collect()
}

/// Compares the properties of a schema with the members of a document: all of
/// them where the document has every optional member, else those required.
fn same(schema: &Value, whole: &Value, value: &Value, is_full: bool) {
    let required = schema["required"].as_array();
    let schema = resolve(schema, whole, value);
    if let Value::Array(items) = value {
        let is_tuple = schema["items"]["prefixItems"].is_array();
        for item in items.iter().filter(|_| !is_tuple) {
            same(&schema["items"], whole, item, is_full);
        }
        return;
    }

    let (Value::Object(_), Value::Object(properties)) = (value, &schema["properties"]) else {
        return;
    };

    let known = keys(&schema["properties"]);
    let all_required = schema["required"].as_array().into_iter().chain(required);
    let least: BTreeSet<&str> = all_required
        .flatten()
        .map(|key| key.as_str().expect("a key"))
        .collect();
    let has = keys(value);

    if is_full {
        assert_eq!(has, known, "{schema}");
    } else {
        assert!(least.is_subset(&has) && has.is_subset(&known), "{schema}");
    }

    for (key, property) in properties
        .iter()
        .filter(|(key, _)| has.contains(key.as_str()))
    {
        // A merged report has no members of its own server.
        same(property, whole, &value[key], is_full && key != "fleet");
    }
}

fn check(schema: &str, value: &impl Serialize, is_full: bool) {
    let schema: Value = serde_json::from_str(schema).expect("a schema");
    let value = serde_json::to_value(value).expect("JSON");
    same(&schema, &schema, &value, is_full);
}

#[test]
fn each_property_of_a_schema_is_a_field_and_each_field_a_property() {
    check(DRIFT, &full_drift(), true);
    check(PERFORMANCE, &full_performance(), true);
    check(ALARM, &kept(drift_alarm(Some(2))), true);
    check(ALARM, &kept(performance_alarm()), true);
    let of_incident = AlarmEvent::Incident(Box::new(incident(true)));
    check(ALARM, &kept(of_incident), true);
}

#[test]
fn a_report_without_optional_members_has_what_its_schema_requires() {
    let own = VersionDrift {
        sample_share: Some(1.0),
        dropped_requests: Some(0),
        ..drift(false)
    };

    let versions = vec![own];
    check(DRIFT, &DriftReport { versions }, false);
    check(ALARM, &kept(drift_alarm(None)), false);
}

#[test]
fn golden_documents_have_what_their_schemas_require() {
    let text = |text: &str| -> Value { serde_json::from_str(text).expect("JSON") };
    check(DRIFT, &text(include_str!("../golden/drift-1.json")), false);
    check(
        PERFORMANCE,
        &text(include_str!("../golden/performance-1.json")),
        false,
    );

    check(
        ALARM,
        &text(include_str!("../golden/alarm-drift-1.json")),
        false,
    );

    check(
        ALARM,
        &text(include_str!("../golden/alarm-performance-1.json")),
        false,
    );
}
