//! Which alarms make a run due. An alarm stays due until a run has learned from enough labelled rows
//! of after it: older rows cannot teach what has changed. Pure.

use super::{Past, RegistryState, RowsAfter, TriggerEvent, TriggerKind};
use crate::event_key::EventKey;
use crate::spec::Triggers;
use chrono::{DateTime, Utc};
use ortus::core::error::short;
use ortus::core::hash::Digest;
use ortus::observe::alarms::LoggedAlarm;
use ortus::observe::report::alarm::{AlarmEvent, DRIFT_KIND, PERFORMANCE_KIND};
use ortus::observe::report::incident::IncidentPhase;
use std::collections::BTreeMap;

/// Returns the alarms that ask for a run.
pub(super) fn due(triggers: &Triggers, past: &Past, found: &RegistryState) -> Vec<TriggerEvent> {
    let closed = closed(&found.alarms);
    let of = |kept: &LoggedAlarm| {
        let kind = kind(triggers, kept)?;
        let closed = match &kept.alarm {
            AlarmEvent::Incident(incident) => closed.get(incident.incident.as_str()).copied(),
            _ => None,
        };
        // An incident that was open when the model began to be watched counts, and nothing older.
        let is_standing = matches!(kept.alarm, AlarmEvent::Incident(_)) && closed.is_none();
        if kept.time < found.since && !is_standing {
            return None;
        }
        let mut event = event(kind, kept);
        event.moot = moot(triggers, past, found, kept, closed);
        if event.moot.is_none() {
            event.waits = waits(triggers, past, found, kept.time);
        }
        Some(event)
    };
    found.alarms.iter().filter_map(of).collect()
}

fn kind(triggers: &Triggers, kept: &LoggedAlarm) -> Option<TriggerKind> {
    let is_drift = kept.kind == IncidentPhase::Opened.kind() || kept.kind == DRIFT_KIND;
    if is_drift && triggers.drift {
        Some(TriggerKind::Drift)
    } else if kept.kind == PERFORMANCE_KIND && triggers.loss {
        Some(TriggerKind::Loss)
    } else {
        None
    }
}

/// Returns when each incident closed that did, and was not opened again.
fn closed(alarms: &[LoggedAlarm]) -> BTreeMap<&str, DateTime<Utc>> {
    let mut last: BTreeMap<&str, (DateTime<Utc>, bool)> = BTreeMap::new();
    for kept in alarms {
        let AlarmEvent::Incident(incident) = &kept.alarm else {
            continue;
        };
        let is_closed = kept.kind == IncidentPhase::Closed.kind();
        let known = last
            .entry(&incident.incident)
            .or_insert((kept.time, is_closed));
        if kept.time >= known.0 {
            *known = (kept.time, is_closed);
        }
    }
    let ended = last.into_iter().filter(|(_, (_, is_closed))| *is_closed);
    ended.map(|(id, (time, _))| (id, time)).collect()
}

fn event(kind: TriggerKind, kept: &LoggedAlarm) -> TriggerEvent {
    let what = if kind == TriggerKind::Drift {
        "drift"
    } else {
        "losses"
    };
    let about = match &kept.alarm {
        AlarmEvent::Incident(incident) => format!(": {}", short(&incident.summary)),
        AlarmEvent::Performance(alarm) => alarm.part.as_ref().map_or_else(String::new, |part| {
            format!(" where {}", short(&part.condition()))
        }),
        other => other
            .column()
            .map_or_else(String::new, |c| format!(" of '{}'", short(c))),
    };
    let version = kept.alarm.version();
    let of = version.map_or_else(String::new, |v| format!(", version {v}"));

    let text = serde_json::to_vec(kept).unwrap_or_default();
    let key = EventKey::alarm(kept.time, &Digest::of(&text));
    TriggerEvent::new(kind, key, kept.time, format!("alarm: {what}{about}{of}"))
}

/// Returns why an alarm needs no run.
fn moot(
    triggers: &Triggers,
    past: &Past,
    found: &RegistryState,
    kept: &LoggedAlarm,
    closed: Option<DateTime<Utc>>,
) -> Option<String> {
    let passed = past.passed.as_ref().filter(|run| run.began >= kept.time);
    let learned = found
        .rows_after
        .get(&kept.time)
        .map_or(0, |rows| rows.learned);
    if let Some(passed) = passed.filter(|_| learned >= triggers.alarm_rows) {
        let rows = match triggers.alarm_rows {
            0 => String::new(),
            _ => format!(" with {learned} labelled rows of after it"),
        };
        return Some(format!(
            "a run that began after the alarm, at {}, passed{rows}",
            time(passed.began)
        ));
    }
    if let (Some(version), Some(champion)) = (kept.alarm.version(), found.champion)
        && version != champion
    {
        return Some(format!(
            "the alarm is about version {version}, and version {champion} is champion"
        ));
    }
    closed.map(|closed| format!("the incident ended at {}", time(closed)))
}

/// Returns what an alarm waits for; none if a run can start, or if the rows cannot be counted, which
/// the run will tell.
fn waits(
    triggers: &Triggers,
    past: &Past,
    found: &RegistryState,
    alarm: DateTime<Utc>,
) -> Option<String> {
    let RowsAfter { now, fresh, .. } = found.rows_after.get(&alarm)?;
    if *now < triggers.alarm_rows {
        return Some(format!(
            "{now} of {} labelled rows since the alarm of {}",
            triggers.alarm_rows,
            time(alarm)
        ));
    }
    let last = past.last.as_ref().filter(|last| last.began >= alarm)?;
    (*fresh == 0).then(|| {
        format!(
            "no labelled row is new since the run of {}",
            time(last.began)
        )
    })
}

fn time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}
