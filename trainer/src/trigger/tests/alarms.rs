//! Tests of alarms: what they wait for, and what settles them.

use super::*;
use ortus::observe::report::alarm::AlarmEvent;

fn incident(time: &str, kind: &str, id: &str) -> LoggedAlarm {
    let phase = kind.rsplit('.').next().expect("a phase");
    LoggedAlarm {
        kind: kind.to_owned(),
        alarm: serde_json::from_value(json!({
            "incident": id, "model": "m", "version": 2, "digest": "d", "phase": phase, "opened": at(time),
            "updated": at(time), "baseline": "training", "summary": "income is higher", "effect": "e",
            "advice": [], "columns": [], "columns_total": 1
        }))
        .expect("an incident"),
        ..alarm_of(time, 2)
    }
}

/// Decides at a moment.
fn decided(triggers: &Triggers, runs: &[RecordedRun], found: &RegistryState) -> TriggerDecision {
    let past = Past::of(runs.iter(), found.now);
    let events = due(triggers, &past, found).expect("due");
    decide(triggers, &past, events, found.now)
}

fn waiting(decision: &TriggerDecision) -> &str {
    match decision {
        TriggerDecision::Wait(_, why) => why,
        other => panic!("not waiting: {other:?}"),
    }
}

#[test]
fn an_alarm_waits_for_labelled_rows_of_after_it() {
    let triggers = Triggers {
        drift: true,
        cooldown: Duration::ZERO,
        cron: Some("0 12 * * *".to_owned()),
        ..Triggers::default()
    };
    let alarm = incident("01T10:00:00", "ortus.incident.opened", "a");
    let time = alarm.time;
    let rows = |learnable, learned, fresh| {
        let rows = RowsAfter {
            now: 2 * learnable,
            learnable,
            learned,
            fresh,
            held_back: "the others judge the model".to_owned(),
        };
        BTreeMap::from([(time, rows)])
    };
    let mut look = RegistryState {
        alarms: vec![alarm],
        rows_after: rows(0, 0, 0),
        ..found("01T10:05:00")
    };
    let mut runs = Vec::new();
    assert_eq!(
        waiting(&decided(&triggers, &runs, &look)),
        "0 of 500 labelled rows of after the alarm of 2026-03-01 10:00:00 UTC would be learned from: 0 of after it are there; the others judge the model"
    );

    // A run for the clock does not settle the alarm: it has too few of its rows.
    look.now = at("01T12:00:05");
    look.rows_after = rows(499, 0, 499);
    let TriggerDecision::Run(events) = decided(&triggers, &runs, &look) else {
        panic!("the clock starts a run")
    };
    assert_eq!(keys(&events), ["cron-20260301T120000Z"]);
    runs.push(ran(
        "01T12:00:05",
        RunStatus::Published,
        &["cron-20260301T120000Z"],
        json!({}),
    ));
    look.now = at("01T13:00:00");
    look.rows_after = rows(499, 499, 0);
    assert!(waiting(&decided(&triggers, &runs, &look)).starts_with("499 of 500"));

    // Enough rows, but none that the run did not have.
    look.rows_after = rows(500, 499, 0);
    assert_eq!(
        waiting(&decided(&triggers, &runs, &look)),
        "no labelled row is new since the run of 2026-03-01 12:00:05 UTC"
    );
    look.rows_after = rows(500, 499, 1);
    assert!(matches!(
        decided(&triggers, &runs, &look),
        TriggerDecision::Run(_)
    ));

    // Once a run has learned from enough of its rows, it is settled.
    look.rows_after = rows(700, 500, 0);
    let TriggerDecision::Skip(_, why) = decided(&triggers, &runs, &look) else {
        panic!("settled")
    };
    assert_eq!(
        why,
        "a run that began after the alarm, at 2026-03-01 12:00:05 UTC, passed and learned from 500 labelled rows of after it, or more"
    );
}

#[test]
fn a_version_settles_an_alarm_only_if_it_learned_from_rows_of_after_it() {
    let triggers = Triggers {
        drift: true,
        cooldown: Duration::ZERO,
        ..Triggers::default()
    };
    let alarm = incident("01T10:00:00", "ortus.incident.opened", "a");
    let rows = |fresh| {
        let rows = RowsAfter {
            now: 900,
            learnable: 600,
            learned: 900,
            fresh,
            held_back: String::new(),
        };
        BTreeMap::from([(alarm.time, rows)])
    };
    let mut look = RegistryState {
        rows_after: rows(900),
        alarms: vec![alarm.clone()],
        ..found("02T10:00:00")
    };
    let TriggerDecision::Run(events) = decided(&triggers, &[], &look) else {
        panic!("due")
    };
    let key = events[0].key.to_string();
    // The newest 499 or 500 of the rows that it learned from are of after the alarm.
    let version = |rows: usize, events: &[&str]| {
        let learned = json!([
            [1, "2026-03-01T12:00:00Z"],
            [rows, "2026-03-01T11:00:00Z"],
            [900, "2026-03-01T09:00:00Z"]
        ]);
        let split = json!({"train": 900, "stop": 100, "test": 500, "learned_times": learned});
        let record = json!({"split": split, "data": {"rows": 1_500, "time": ["2026-01-01T00:00:00Z", "2026-03-01T20:00:00Z"]}});
        ran("02T09:00:00", RunStatus::Published, events, record)
    };

    // It had 900 rows of after the alarm, and they all judged it.
    look.rows_after = rows(0);
    let few = [version(499, &[&key])];
    assert_eq!(
        waiting(&decided(&triggers, &few, &look)),
        "no labelled row is new since the run of 2026-03-02 09:00:00 UTC"
    );
    let few = [version(499, &[])];
    assert!(waiting(&decided(&triggers, &few, &look)).starts_with("no labelled row is new"));
    look.rows_after = rows(1);
    let few = [version(499, &[&key])];
    assert!(matches!(
        decided(&triggers, &few, &look),
        TriggerDecision::Run(_)
    ));
    let enough = [version(500, &[&key])];
    assert!(matches!(
        decided(&triggers, &enough, &look),
        TriggerDecision::Nothing
    ));
    // A run for something else settles it too, by what it learned from.
    let enough = [version(500, &[])];
    assert!(matches!(
        decided(&triggers, &enough, &look),
        TriggerDecision::Skip(..)
    ));
    // Records of earlier versions do not say it: then it is estimated.
    let old =
        json!({"data": {"rows": 1_500, "time": ["2026-01-01T00:00:00Z", "2026-03-01T20:00:00Z"]}});
    let old = [ran("02T09:00:00", RunStatus::Published, &[], old)];
    assert!(matches!(
        decided(&triggers, &old, &look),
        TriggerDecision::Skip(..)
    ));
}

#[test]
fn a_run_that_found_nothing_new_does_not_settle_an_alarm() {
    let triggers = Triggers {
        drift: true,
        cooldown: Duration::ZERO,
        ..Triggers::default()
    };
    let alarm = incident("01T10:00:00", "ortus.incident.opened", "a");
    let rows = RowsAfter {
        now: 600,
        learnable: 600,
        fresh: 600,
        ..RowsAfter::default()
    };
    let look = RegistryState {
        rows_after: BTreeMap::from([(alarm.time, rows)]),
        alarms: vec![alarm],
        ..found("02T10:00:00")
    };
    let TriggerDecision::Run(events) = decided(&triggers, &[], &look) else {
        panic!("due")
    };
    let key = events[0].key.to_string();
    let unchanged = ran("02T09:00:00", RunStatus::Unchanged, &[&key], json!({}));
    assert!(matches!(
        decided(&triggers, &[unchanged], &look),
        TriggerDecision::Run(_)
    ));
    let published = ran("02T09:00:00", RunStatus::Published, &[&key], json!({}));
    assert!(matches!(
        decided(&triggers, &[published], &look),
        TriggerDecision::Nothing
    ));
}

#[test]
fn an_incident_counts_while_it_is_open_also_if_it_opened_before_the_watch() {
    let triggers = Triggers {
        drift: true,
        alarm_rows: 0,
        ..Triggers::default()
    };
    let opened = incident("01T10:00:00", "ortus.incident.opened", "a");
    let closed = incident("01T11:00:00", "ortus.incident.closed", "a");
    let again = incident("01T12:00:00", "ortus.incident.updated", "a");
    let look = |alarms: &[&LoggedAlarm], since: &str| RegistryState {
        alarms: alarms.iter().map(|a| (*a).clone()).collect(),
        since: at(since),
        ..found("03T10:00:00")
    };
    let decide = |look: &RegistryState| decided(&triggers, &[], look);

    let standing = look(&[&opened], "02T00:00:00");
    assert!(matches!(decide(&standing), TriggerDecision::Run(_)));
    let over = look(&[&opened, &closed], "02T00:00:00");
    assert!(matches!(decide(&over), TriggerDecision::Nothing));
    let over = look(&[&opened, &closed], "01T00:00:00");
    let TriggerDecision::Skip(_, why) = decide(&over) else {
        panic!("skipped")
    };
    assert_eq!(why, "the incident ended at 2026-03-01 11:00:00 UTC");
    let reopened = look(&[&again, &closed, &opened], "01T00:00:00");
    assert!(matches!(decide(&reopened), TriggerDecision::Run(_)));
    // Other alarms have no end: those of before the watch are not its own.
    let of_test = alarm_of("01T10:00:00", 2);
    let before = look(&[&of_test], "02T00:00:00");
    assert!(matches!(decide(&before), TriggerDecision::Nothing));
}

/// An incident with so many columns in alarm.
fn incident_of(time: &str, kind: &str, columns: usize) -> LoggedAlarm {
    let mut kept = incident(time, kind, "a");
    if let AlarmEvent::Incident(incident) = &mut kept.alarm {
        incident.columns_total = columns;
    }
    kept
}

#[test]
fn what_joins_or_opens_again_after_a_run_is_something_new() {
    let triggers = Triggers {
        drift: true,
        alarm_rows: 0,
        cooldown: Duration::ZERO,
        ..Triggers::default()
    };
    let opened = incident_of("01T10:00:00", "ortus.incident.opened", 1);
    let joined = incident_of("01T14:00:00", "ortus.incident.updated", 2);
    let told_again = incident_of("01T15:00:00", "ortus.incident.updated", 2);
    let closed = incident_of("01T16:00:00", "ortus.incident.closed", 2);
    let again = incident_of("01T17:00:00", "ortus.incident.updated", 2);
    let mut look = found("01T12:00:00");
    let mut runs = Vec::new();
    let mut dealt = |look: &mut RegistryState, now: &str, alarms: &[&LoggedAlarm]| {
        look.now = at(now);
        look.alarms = alarms.iter().map(|a| (*a).clone()).collect();
        deal(&triggers, &mut runs, look)
    };

    let done = dealt(&mut look, "01T12:00:00", &[&opened]);
    assert!(
        done[0].starts_with("run: alarm-20260301T100000Z"),
        "{done:?}"
    );
    let done = dealt(&mut look, "01T14:10:00", &[&opened, &joined]);
    assert!(
        done.len() == 1 && done[0].starts_with("run: alarm-20260301T140000Z"),
        "a column joined: {done:?}"
    );
    let all = [&told_again, &opened, &joined];
    let done = dealt(&mut look, "01T15:10:00", &all);
    assert_eq!(done, Vec::<String>::new(), "nothing joined");
    let all = [&told_again, &opened, &joined, &closed];
    let done = dealt(&mut look, "01T16:10:00", &all);
    assert_eq!(done, Vec::<String>::new(), "it ended");
    let all = [&again, &told_again, &opened, &joined, &closed];
    let done = dealt(&mut look, "01T17:10:00", &all);
    assert!(
        done.len() == 1 && done[0].starts_with("run: alarm-20260301T170000Z"),
        "it opened again: {done:?}"
    );

    // A column that joins before a run is part of the cause, and its rows are needed too.
    let mut runs = Vec::new();
    look.now = at("01T14:10:00");
    look.alarms = vec![opened, joined];
    let done = deal(&triggers, &mut runs, &look);
    assert!(
        done.len() == 1 && done[0].starts_with("run: alarm-20260301T140000Z"),
        "{done:?}"
    );
}

#[test]
fn an_alarm_about_losses_stands_for_its_day_week_or_month() {
    let triggers = Triggers {
        loss: true,
        alarm_rows: 0,
        ..Triggers::default()
    };
    let alarm = |span_hours: u64| {
        LoggedAlarm {
        kind: "ortus.performance.alarm".to_owned(),
        alarm: serde_json::from_value(json!({
            "model": "m", "version": 2, "digest": "sha256:00", "time": "2026-03-02T09:00:00Z", "span_hours": span_hours,
            "rows": 40, "lost": 20, "allowed": 0.1, "evidence": 1e6, "alpha": 0.001,
        }))
        .expect("an alarm"),
        ..alarm_of("02T10:00:00", 2)
    }
    };
    // The model began to be watched after the alarm.
    let is_due = |span_hours: u64, now: &str| {
        let look = RegistryState {
            alarms: vec![alarm(span_hours)],
            since: at("02T12:00:00"),
            ..found(now)
        };
        matches!(decided(&triggers, &[], &look), TriggerDecision::Run(_))
    };
    assert!(is_due(24, "02T12:00:01") && is_due(24, "02T23:59:59"));
    assert!(!is_due(24, "03T00:00:00"));
    assert!(is_due(168, "03T00:00:00"));
    // Once it is watched, an alarm stays due when its day is over.
    let look = RegistryState {
        alarms: vec![alarm(24)],
        ..found("05T00:00:00")
    };
    assert!(matches!(
        decided(&triggers, &[], &look),
        TriggerDecision::Run(_)
    ));
}

#[test]
fn an_alarm_of_a_part_of_the_rows_is_due_like_one_of_all_rows() {
    let alarm = |part: serde_json::Value| {
        LoggedAlarm {
        kind: "ortus.performance.alarm".to_owned(),
        alarm: serde_json::from_value(json!({
            "model": "m", "version": 2, "digest": "sha256:00", "part": part,
            "time": "2026-03-01T00:00:00Z", "span_hours": 24, "rows": 40, "lost": 20, "allowed": 0.1,
            "evidence": 1e6, "alpha": 0.001,
        }))
        .expect("an alarm"),
        ..alarm_of("01T01:00:00", 2)
    }
    };
    let triggers = Triggers {
        loss: true,
        ..Triggers::default()
    };
    let whole = alarm(json!(null));
    let north = alarm(json!({"slice": "region", "part": "north"}));
    let state = RegistryState {
        alarms: vec![whole, north],
        ..found("01T02:00:00")
    };
    let past = Past::of([].iter(), state.now);
    let events = due(&triggers, &past, &state).expect("due");
    let whys: Vec<&str> = events.iter().map(|event| event.why.as_str()).collect();
    assert_eq!(
        whys,
        [
            "alarm: losses, version 2",
            "alarm: losses where region is north, version 2"
        ]
    );
    assert!(events.iter().all(|event| event.kind == TriggerKind::Loss));
}
