//! Which alarms make a run due. An alarm stays due until a run has learned from enough labelled rows
//! of after it: older rows cannot teach what has changed, nor can rows that only judge the model. Pure.

use super::past::Past;
use super::{RegistryState, TriggerEvent, TriggerKind, seconds};
use crate::event_key::EventKey;
use crate::spec::Triggers;
use chrono::{DateTime, Utc};
use ortus::core::count::agreed;
use ortus::core::error::short;
use ortus::core::hash::Digest;
use ortus::observe::alarms::LoggedAlarm;
use ortus::observe::report::alarm::{AlarmEvent, DRIFT_KIND, PERFORMANCE_KIND};
use ortus::observe::report::incident::IncidentPhase;
use std::collections::BTreeMap;

/// Returns the alarms that ask for a run.
pub(super) fn due(triggers: &Triggers, past: &Past, found: &RegistryState) -> Vec<TriggerEvent> {
    let is_settled = |kept: &LoggedAlarm| {
        let kind = kind(triggers, kept);
        kind.is_some_and(|kind| past.is_settled(triggers, &event(kind, kept).key))
    };
    let incidents = by_incident(&found.alarms).into_values();
    let incidents = incidents.filter_map(|events| of_incident(&events, is_settled));
    let others = found.alarms.iter().filter(|kept| !is_incident(kept));
    let others = others.map(|kept| RaisedAlarm {
        kept,
        closed: None,
        is_standing: is_loss_standing(kept, found.now),
    });

    let of = |raised: RaisedAlarm<'_>| {
        let kept = raised.kept;
        let kind = kind(triggers, kept)?;
        // What stood when the model began to be watched counts, and nothing older.
        if kept.time < found.since && !raised.is_standing {
            return None;
        }
        let mut event = event(kind, kept);
        event.moot = moot(triggers, past, found, &raised);
        if event.moot.is_none() {
            event.waits = waits(triggers, past, found, kept.time);
        }
        Some(event)
    };
    incidents.chain(others).filter_map(of).collect()
}

/// An alarm with what became of it.
struct RaisedAlarm<'a> {
    kept: &'a LoggedAlarm,
    /// When its incident ended, if it did.
    closed: Option<DateTime<Utc>>,
    /// Whether it stands now.
    is_standing: bool,
}

fn is_incident(kept: &LoggedAlarm) -> bool {
    matches!(kept.alarm, AlarmEvent::Incident(_))
}

fn kind(triggers: &Triggers, kept: &LoggedAlarm) -> Option<TriggerKind> {
    let is_opened = kept.kind == IncidentPhase::Opened.kind();
    if (is_incident(kept) || is_opened || kept.kind == DRIFT_KIND) && triggers.drift {
        Some(TriggerKind::Drift)
    } else if kept.kind == PERFORMANCE_KIND && triggers.loss {
        Some(TriggerKind::Loss)
    } else {
        None
    }
}

/// Returns whether an alarm about losses stands: it does until its day, week or 30 days are over, by
/// the times of the predictions. Then the test starts again, and tells it again if it is so.
fn is_loss_standing(kept: &LoggedAlarm, now: DateTime<Utc>) -> bool {
    let AlarmEvent::Performance(alarm) = &kept.alarm else {
        return false;
    };
    let hour = |time: DateTime<Utc>| u64::try_from(time.timestamp()).unwrap_or(0) / 3_600;
    let span = alarm.span_hours.max(1);
    hour(now) / span <= hour(alarm.time) / span
}

/// Returns the events of each incident, in the order of time.
fn by_incident(alarms: &[LoggedAlarm]) -> BTreeMap<&str, Vec<&LoggedAlarm>> {
    let mut all: BTreeMap<&str, Vec<&LoggedAlarm>> = BTreeMap::new();
    for kept in alarms {
        if let AlarmEvent::Incident(incident) = &kept.alarm {
            all.entry(&incident.incident).or_default().push(kept);
        }
    }
    let in_order = |events: &mut Vec<&LoggedAlarm>| events.sort_by_key(|kept| kept.time);
    all.values_mut().for_each(in_order);
    all
}

/// Returns the event of an incident that a run must answer: the last one that brought a column. If a run
/// answered it, and the incident ended and opened again, that is something new.
fn of_incident<'a>(
    events: &[&'a LoggedAlarm],
    is_settled: impl Fn(&LoggedAlarm) -> bool,
) -> Option<RaisedAlarm<'a>> {
    let (mut cause, mut closed, mut columns) = (None, None, 0);
    for kept in events {
        let AlarmEvent::Incident(incident) = &kept.alarm else {
            continue;
        };
        if kept.kind == IncidentPhase::Closed.kind() {
            closed = Some(kept.time);
            continue;
        }
        let has_joined = cause.is_none() || incident.columns_total > columns;
        let is_again = closed.take().is_some();
        if has_joined || (is_again && cause.is_some_and(&is_settled)) {
            cause = Some(*kept);
        }
        columns = incident.columns_total.max(columns);
    }
    cause.map(|kept| RaisedAlarm {
        kept,
        closed,
        is_standing: closed.is_none(),
    })
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
    raised: &RaisedAlarm<'_>,
) -> Option<String> {
    let kept = raised.kept;
    let passed = past.passed.as_ref().filter(|run| run.began >= kept.time);
    if let Some(passed) = passed {
        let estimated = found.rows_after.get(&kept.time).map(|rows| rows.learned);
        let recorded = passed.learned_times.as_ref();
        let learned = recorded
            .map(|times| times.after(kept.time))
            .or(estimated)
            .unwrap_or(0);
        if learned >= triggers.alarm_rows {
            let rows = match triggers.alarm_rows {
                0 => String::new(),
                rows => format!(" and learned from {rows} labelled rows of after it, or more"),
            };
            return Some(format!(
                "a run that began after the alarm, at {}, passed{rows}",
                seconds(passed.began)
            ));
        }
    }
    if let (Some(version), Some(champion)) = (kept.alarm.version(), found.champion)
        && version != champion
    {
        return Some(format!(
            "the alarm is about version {version}, and version {champion} is champion"
        ));
    }
    raised
        .closed
        .map(|closed| format!("the incident ended at {}", seconds(closed)))
}

/// Returns what an alarm waits for; none if a run can start, or if the rows cannot be counted, which
/// the run will tell.
fn waits(
    triggers: &Triggers,
    past: &Past,
    found: &RegistryState,
    alarm: DateTime<Utc>,
) -> Option<String> {
    let rows = found.rows_after.get(&alarm)?;
    if rows.learnable < triggers.alarm_rows {
        return Some(format!(
            "{} of {} labelled rows of after the alarm of {} would be learned from: {} of after it {} there; {}",
            rows.learnable,
            triggers.alarm_rows,
            seconds(alarm),
            rows.now,
            agreed(rows.now, "is", "are"),
            rows.held_back,
        ));
    }
    let last = past.last.as_ref().filter(|last| last.began >= alarm)?;
    (rows.fresh == 0).then(|| {
        format!(
            "no labelled row is new since the run of {}",
            seconds(last.began)
        )
    })
}
