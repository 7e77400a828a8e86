//! Tests of `trigger`: what makes a run due, and what delays or skips it.

mod alarms;

use super::*;
use crate::history::{RecordedRun, RunStatus};
use serde_json::json;

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-03-{text}Z").parse().expect("a time")
}

fn ran(began: &str, status: RunStatus, events: &[&str], record: serde_json::Value) -> RecordedRun {
    let events = events.iter().map(|e| EventKey::parse(e)).collect();
    let trigger = "the clock".to_owned();
    let apart = false;
    RecordedRun {
        model: "m".to_owned(),
        began: at(began),
        seconds: 600.0,
        trigger,
        events,
        apart,
        status,
        record: serde_json::from_value(record).expect("a record"),
    }
}

fn found(now: &str) -> RegistryState {
    RegistryState {
        now: at(now),
        since: at("01T00:00:00"),
        spec: spec("a"),
        asks: Vec::new(),
        alarms: Vec::new(),
        champion: Some(2),
        candidates: Vec::new(),
        new_rows: None,
        future_rows: 0,
        rows_after: BTreeMap::new(),
    }
}

fn alarm_of(time: &str, version: u64) -> LoggedAlarm {
    LoggedAlarm {
        format: 1,
        kind: "ortus.drift.alarm".to_owned(),
        model: "m".to_owned(),
        time: at(time),
        server: "s".to_owned(),
        alarm: serde_json::from_value(json!({"version": version, "column": "age"}))
            .expect("an alarm"),
    }
}

fn keys(events: &[TriggerEvent]) -> Vec<String> {
    events.iter().map(|e| e.key.to_string()).collect()
}

/// Deals with all that is due as the trainer would; says what was done.
fn deal(triggers: &Triggers, runs: &mut Vec<RecordedRun>, found: &RegistryState) -> Vec<String> {
    let mut done = Vec::new();
    loop {
        let past = Past::of(runs.iter(), found.now);
        let events = due(triggers, &past, found).expect("due");
        let (events, status, word) = match decide(triggers, &past, events, found.now) {
            TriggerDecision::Nothing | TriggerDecision::Wait(..) => return done,
            TriggerDecision::Run(events) => (events, RunStatus::Published, "run".to_owned()),
            TriggerDecision::Skip(events, why) => {
                (events, RunStatus::Skipped, format!("skip, {why}"))
            }
        };
        done.push(format!("{word}: {}", keys(&events).join(" ")));
        let record = json!({"spec": "a", "data": {"rows": 10}});
        let events = keys(&events);
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        runs.push(RecordedRun {
            began: found.now,
            ..ran("01T00:00:00", status, &events, record)
        });
    }
}

#[test]
fn a_cron_pattern_starts_one_run_for_each_time_and_one_for_all_missed_times() {
    let triggers = Triggers {
        cron: Some("0 3 * * *".to_owned()),
        cooldown: Duration::ZERO,
        ..Triggers::default()
    };

    let mut runs = Vec::new();
    assert_eq!(
        deal(&triggers, &mut runs, &found("01T02:59:59")),
        Vec::<String>::new()
    );
    assert_eq!(
        deal(&triggers, &mut runs, &found("01T03:00:10")),
        ["run: cron-20260301T030000Z"]
    );
    assert_eq!(
        deal(&triggers, &mut runs, &found("01T03:00:40")),
        Vec::<String>::new(),
        "once"
    );

    let late = deal(&triggers, &mut runs, &found("04T12:00:00"));
    assert_eq!(
        late,
        [
            "skip, missed; one run is made for all missed times: cron-20260302T030000Z cron-20260303T030000Z",
            "run: cron-20260304T030000Z"
        ]
    );

    let skipping = Triggers {
        missed: Missed::Skip,
        ..triggers
    };
    let late = deal(&skipping, &mut runs, &found("06T12:00:00"));
    assert_eq!(
        late,
        [
            "skip, missed; no trainer watched at that time: cron-20260305T030000Z cron-20260306T030000Z"
        ]
    );

    assert_eq!(
        deal(&skipping, &mut runs, &found("07T03:00:30")),
        ["run: cron-20260307T030000Z"]
    );
    assert!(cron("at three").is_err() && cron("0 3 * *").is_err());
}

#[test]
fn an_alarm_starts_a_run_unless_it_is_outdated_or_within_the_cooldown() {
    let triggers = Triggers {
        drift: true,
        alarm_rows: 0,
        ..Triggers::default()
    };
    let mut runs = Vec::new();
    let alarms = |all: &[(&str, u64)]| {
        all.iter()
            .map(|(time, version)| alarm_of(time, *version))
            .collect()
    };

    let mut look = found("01T10:00:00");
    look.alarms = alarms(&[("01T09:58:00", 2), ("01T09:59:00", 2), ("01T09:59:30", 1)]);
    let done = deal(&triggers, &mut runs, &look);
    assert_eq!(done.len(), 2, "{done:?}");
    assert!(
        done[0].starts_with("skip, the alarm is about version 1, and version 2 is champion"),
        "{done:?}"
    );
    assert!(
        done[1].starts_with("run: alarm-20260301T095800Z"),
        "both at once: {done:?}"
    );
    assert_eq!(
        deal(&triggers, &mut runs, &look),
        Vec::<String>::new(),
        "dealt with"
    );

    look.now = at("01T10:30:00");
    look.alarms
        .extend::<Vec<LoggedAlarm>>(alarms(&[("01T10:20:00", 2)]));
    assert_eq!(
        deal(&triggers, &mut runs, &look),
        Vec::<String>::new(),
        "it waits, what is wrong stays wrong"
    );

    let past = Past::of(runs.iter(), look.now);
    let waits = decide(
        &triggers,
        &past,
        due(&triggers, &past, &look).expect("due"),
        look.now,
    );

    assert!(
        matches!(waits, TriggerDecision::Wait(_, why) if why == "'cooldown' lasts until 2026-03-01 11:10:00 UTC: after the run that ended at 2026-03-01 10:10:00 UTC, triggers start none for 3600 s; `ortus-trainer trigger` starts one now")
    );
    look.now = at("01T12:00:00");
    look.alarms
        .extend::<Vec<LoggedAlarm>>(alarms(&[("01T09:59:59", 2)]));
    let done = deal(&triggers, &mut runs, &look);
    assert!(
        done.len() == 2 && done[0].starts_with("skip, a run that began after the alarm"),
        "{done:?}"
    );
    assert!(
        done[1].starts_with("run: alarm-20260301T102000Z"),
        "{done:?}"
    );
    let deaf = deal(&Triggers::default(), &mut Vec::new(), &look);
    assert_eq!(deaf, Vec::<String>::new(), "nobody asked for alarms");
}

#[test]
fn an_alarm_stays_due_until_a_run_passes_and_the_cooldown_doubles_after_each_failure() {
    let triggers = Triggers {
        drift: true,
        alarm_rows: 0,
        runs_max: 100,
        ..Triggers::default()
    };

    let mut look = RegistryState {
        alarms: vec![alarm_of("01T09:58:00", 2)],
        ..found("01T10:00:00")
    };
    let mut runs: Vec<RecordedRun> = Vec::new();
    let mut began = Vec::new();
    while look.now < at("03T10:00:00") {
        let past = Past::of(runs.iter(), look.now);
        let events = due(&triggers, &past, &look).expect("due");
        if let TriggerDecision::Run(events) = decide(&triggers, &past, events, look.now) {
            began.push(look.now.format("%dT%H:%M").to_string());
            let events = keys(&events);
            let events: Vec<&str> = events.iter().map(String::as_str).collect();
            runs.push(RecordedRun {
                began: look.now,
                ..ran("01T00:00:00", RunStatus::Failed, &events, json!({}))
            });
        }
        look.now += TimeDelta::minutes(10);
    }

    // Each took ten minutes; then one hour, two, four …
    assert_eq!(
        began,
        ["01T10:00", "01T12:10", "01T16:20", "02T00:30", "02T16:40"]
    );

    runs.push(ran("03T11:00:00", RunStatus::Published, &[], json!({})));
    look.now = at("06T10:00:00");
    let done = deal(&triggers, &mut runs, &look);
    assert!(
        done.len() == 1 && done[0].starts_with("skip, a run that began after the alarm"),
        "{done:?}"
    );
}

#[test]
fn a_due_event_waits_for_the_cooldown_and_a_manual_request_does_not() {
    let triggers = Triggers {
        new_rows: Some(100),
        spec: true,
        ..Triggers::default()
    };

    let record = json!({"spec": "a", "data": {"rows": 10, "time": ["2026-03-01T00:00:00Z", "2026-03-01T09:00:00Z"]}});
    let mut runs = vec![ran("01T10:00:00", RunStatus::Failed, &[], record)];
    let mut look = RegistryState {
        new_rows: Some(150),
        spec: spec("b"),
        ..found("01T10:30:00")
    };

    let past = Past::of(runs.iter(), look.now);
    assert_eq!(
        past.last.as_ref().and_then(|l| l.newest),
        Some(at("01T09:00:00"))
    );
    let events = due(&triggers, &past, &look).expect("due");
    assert_eq!(
        events.iter().map(|e| e.kind).collect::<Vec<_>>(),
        [TriggerKind::Spec, TriggerKind::Rows]
    );
    assert!(
        matches!(decide(&triggers, &past, events, look.now), TriggerDecision::Wait(both, _) if both.len() == 2)
    );
    let ask = RunRequest {
        id: "1".to_owned(),
        time: look.now,
        actor: "me".to_owned(),
        reason: "now".to_owned(),
    };

    let asked = RegistryState {
        asks: vec![ask],
        ..look.clone()
    };
    let done = deal(&triggers, &mut runs.clone(), &asked);
    assert!(done[0].starts_with("run: ask-1 spec-"), "{done:?}");
    look.now = at("01T11:11:00");
    assert!(
        deal(&triggers, &mut runs, &look)[0].starts_with("run: spec-"),
        "it waited"
    );
    let few = RegistryState {
        new_rows: Some(99),
        ..found("02T11:11:00")
    };
    assert_eq!(deal(&triggers, &mut runs, &few), Vec::<String>::new());
}

#[test]
fn runs_and_their_time_within_a_day_are_limited() {
    let triggers = Triggers {
        drift: true,
        cooldown: Duration::ZERO,
        runs_max: 2,
        ..Triggers::default()
    };

    let mut runs: Vec<RecordedRun> = (1..=2)
        .map(|h| ran(&format!("01T0{h}:00:00"), RunStatus::Failed, &[], json!({})))
        .collect();
    let look = |time: &str, now: &str| RegistryState {
        alarms: vec![alarm_of(time, 2)],
        ..found(now)
    };

    let done = deal(&triggers, &mut runs, &look("01T10:00:00", "01T10:00:01"));
    assert_eq!(done, Vec::<String>::new());
    let past = Past::of(runs.iter(), at("01T10:00:01"));
    let why = refused(&triggers, &past, at("01T10:00:01"));
    assert_eq!(why.as_deref(), Some("2 runs within a day, 'runs_max' is 2"));
    let done = deal(&triggers, &mut runs, &look("02T02:00:00", "02T02:00:01"));
    assert!(
        done[0].starts_with("run: "),
        "the first is over a day ago: {done:?}"
    );
    let triggers = Triggers {
        time_max: Duration::from_secs(600),
        runs_max: 100,
        ..triggers
    };

    let past = Past::of(runs.iter(), at("02T02:30:01"));
    assert!(
        refused(&triggers, &past, at("02T02:30:01"))
            .is_some_and(|why| why.contains("'time_max' in [triggers] is 600 s"))
    );
}
