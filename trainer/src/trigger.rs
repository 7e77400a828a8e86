//! Decides when a run of a model is due, and when a due run is skipped or delayed.
//! Pure: reads and writes nothing.

mod alarms;
pub(crate) mod past;

use crate::event_key::EventKey;
use crate::spec::{Missed, Triggers, cron};
use chrono::{DateTime, TimeDelta, Utc};
use ortus::core::count::counted;
use ortus::core::error::{Error, Result};
use ortus::core::hash::Digest;
use ortus::observe::alarms::LoggedAlarm;
use past::{Last, Past};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most missed cron times that are listed; earlier ones are dropped.
const TIMES_MAX: usize = 1_000;
/// The most runs for one event that do not pass; then only a person starts another.
const TRIES_MAX: u32 = 10;
/// A cron time counts as missed after this time, or after two checks, whichever is longer.
const GRACE: Duration = Duration::from_secs(60);

/// Why a run is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TriggerKind {
    /// A person requested it.
    Request,
    Cron,
    Drift,
    Loss,
    Spec,
    Rows,
}

/// An event that makes a run due.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TriggerEvent {
    pub kind: TriggerKind,
    pub key: EventKey,
    pub time: DateTime<Utc>,
    pub why: String,
    /// Why the event is skipped.
    pub moot: Option<String>,
    /// What the event waits for before it starts a run.
    pub waits: Option<String>,
}

impl TriggerEvent {
    fn new(kind: TriggerKind, key: EventKey, time: DateTime<Utc>, why: String) -> Self {
        Self {
            kind,
            key,
            time,
            why,
            moot: None,
            waits: None,
        }
    }

    /// Returns whether it stays due until a run passes, as an alarm does and a cron time
    /// does not.
    fn stays(&self) -> bool {
        !matches!(self.kind, TriggerKind::Request | TriggerKind::Cron)
    }

    /// Returns whether it is an alarm.
    pub(crate) fn is_alarm(&self) -> bool {
        matches!(self.kind, TriggerKind::Drift | TriggerKind::Loss)
    }

    /// Returns whether it may occur again with the same key.
    fn recurs(&self) -> bool {
        matches!(self.kind, TriggerKind::Spec | TriggerKind::Rows)
    }
}

/// A request for a run by a person.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunRequest {
    pub id: String,
    pub time: DateTime<Utc>,
    pub actor: String,
    pub reason: String,
}

/// Returns the digest of a specification.
pub(crate) fn spec(canonical: &str) -> Digest {
    Digest::of(canonical.as_bytes())
}

/// Labelled rows after an alarm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RowsAfter {
    /// All that there are now.
    pub now: usize,
    /// Those of them that a run would learn from now.
    pub learnable: usize,
    /// Those that the last run that published a version learned from, if it began after the alarm. Only
    /// estimated; its record may know better.
    pub learned: usize,
    /// Those that no run had.
    pub fresh: usize,
    /// Why a run would not learn from all of them, for a person.
    pub held_back: String,
}

/// The state of the registry at a check.
#[derive(Clone, Debug)]
pub(crate) struct RegistryState {
    pub now: DateTime<Utc>,
    /// The time since which the model is watched.
    pub since: DateTime<Utc>,
    pub spec: Digest,
    pub asks: Vec<RunRequest>,
    pub alarms: Vec<LoggedAlarm>,
    pub champion: Option<u64>,
    /// Newer versions than the champion that an alias names, such as challenger.
    pub candidates: Vec<(String, u64)>,
    /// Rows since the last run, if they were counted.
    pub new_rows: Option<usize>,
    /// Rows whose time is in the future, where rows were counted.
    pub future_rows: usize,
    /// Labelled rows after alarms, by the time of the alarm, where they were counted.
    pub rows_after: BTreeMap<DateTime<Utc>, RowsAfter>,
}

/// Returns the next time of a cron pattern.
pub(crate) fn next(pattern: &str, after: DateTime<Utc>) -> Result<DateTime<Utc>> {
    cron(pattern)?
        .find_next_occurrence(&after, false)
        .map_err(|e| Error::invalid(format!("the cron pattern has no next time: {e}")))
}

/// Says what starts a run, in words; nothing if no trigger is set.
pub(crate) fn starters(triggers: &Triggers) -> Vec<String> {
    let rows = match triggers.alarm_rows {
        0 => String::new(),
        rows => format!(
            ", once {} of after it would be learned from",
            counted(rows, "labelled row")
        ),
    };
    let alarm = |what: &str| format!("an alarm about {what}{rows}");
    let all = [
        triggers
            .cron
            .as_ref()
            .map(|cron| format!("the clock ({cron}, UTC)")),
        triggers.new_rows.map(|rows| counted(rows, "new row")),
        triggers.drift.then(|| alarm("drift")),
        triggers.loss.then(|| alarm("losses")),
        triggers
            .spec
            .then(|| "a change of the specification".to_owned()),
    ];
    all.into_iter().flatten().collect()
}

/// Returns all events that are due.
pub(crate) fn due(
    triggers: &Triggers,
    past: &Past,
    found: &RegistryState,
) -> Result<Vec<TriggerEvent>> {
    let mut all: Vec<TriggerEvent> = Vec::new();
    for ask in &found.asks {
        let why = format!("requested by {}: {}", ask.actor, ask.reason);
        let key = EventKey::Request(ask.id.clone());
        all.push(TriggerEvent::new(TriggerKind::Request, key, ask.time, why));
    }

    all.extend(times(triggers, past, found)?);
    all.extend(alarms::due(triggers, past, found));
    // Without an earlier run there is no specification to compare with.
    let is_other = |last: &Last| last.spec.is_some_and(|spec| spec != found.spec);
    if triggers.spec && past.last.as_ref().is_some_and(is_other) {
        let (key, why) = (EventKey::spec(&found.spec), "the specification changed");
        all.push(TriggerEvent::new(
            TriggerKind::Spec,
            key,
            found.now,
            why.into(),
        ));
    }

    if let (Some(least), Some(rows)) = (triggers.new_rows, found.new_rows)
        && rows >= least
    {
        let key = match &past.last {
            Some(Last {
                newest: Some(newest),
                ..
            }) => EventKey::rows_after(*newest),
            last => EventKey::RowsOver(last.as_ref().map_or(0, |last| last.rows)),
        };
        let why = counted(rows, "new row");
        all.push(TriggerEvent::new(TriggerKind::Rows, key, found.now, why));
    }

    all.retain(|event| !past.is_done(triggers, event));
    all.sort_by_key(|event| (event.kind, event.time));
    Ok(all)
}

/// Returns the cron times since the last one that was handled.
fn times(triggers: &Triggers, past: &Past, found: &RegistryState) -> Result<Vec<TriggerEvent>> {
    let Some(pattern) = &triggers.cron else {
        return Ok(Vec::new());
    };
    let cron = cron(pattern)?;
    let handled = past
        .handled
        .iter()
        .chain(past.tried.keys())
        .filter_map(EventKey::cron_time)
        .max();
    let mut after = handled.map_or(found.since, |last| last.max(found.since));

    let mut times = std::collections::VecDeque::new();
    while let Ok(next) = cron.find_next_occurrence(&after, false) {
        if next > found.now {
            break;
        }
        times.push_back(next);
        if times.len() > TIMES_MAX {
            times.pop_front();
        }
        after = next;
    }

    let grace = TimeDelta::from_std(GRACE.max(triggers.poll * 2)).unwrap_or(TimeDelta::MAX);
    let last = times.back().copied();
    let event = |time: DateTime<Utc>| {
        let is_late = found.now - time > grace;
        let moot = match triggers.missed {
            Missed::Once if Some(time) != last => {
                Some("missed; one run is made for all missed times")
            }
            Missed::Skip if is_late => Some("missed; no trainer watched at that time"),
            _ => None,
        };
        let why = format!("cron time {}", time.format("%Y-%m-%d %H:%M UTC"));
        TriggerEvent {
            moot: moot.map(str::to_owned),
            ..TriggerEvent::new(TriggerKind::Cron, EventKey::cron(time), time, why)
        }
    };

    Ok(times.into_iter().map(event).collect())
}

/// What to do about due events.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TriggerDecision {
    Nothing,
    /// Start one run for all of these.
    Run(Vec<TriggerEvent>),
    /// Skip these, for a reason.
    Skip(Vec<TriggerEvent>, String),
    /// Delay these, which stay due.
    Wait(Vec<TriggerEvent>, String),
}

/// Decides what to do about due events.
pub(crate) fn decide(
    triggers: &Triggers,
    past: &Past,
    events: Vec<TriggerEvent>,
    now: DateTime<Utc>,
) -> TriggerDecision {
    if let Some(why) = events.iter().find_map(|event| event.moot.clone()) {
        let moot = events
            .into_iter()
            .filter(|event| event.moot.as_ref() == Some(&why))
            .collect();
        return TriggerDecision::Skip(moot, why);
    }

    // A run for another event has not the rows that a waiting one needs.
    let (waiting, events): (Vec<TriggerEvent>, Vec<TriggerEvent>) =
        events.into_iter().partition(|event| event.waits.is_some());
    if events.is_empty() {
        return match waiting.first().and_then(|event| event.waits.clone()) {
            Some(why) => TriggerDecision::Wait(waiting, why),
            None => TriggerDecision::Nothing,
        };
    }
    if events
        .iter()
        .any(|event| event.kind == TriggerKind::Request)
    {
        return TriggerDecision::Run(events);
    }
    // The cooldown doubles after each run for an event that did not pass.
    let why = events
        .iter()
        .map(|event| refused_after(triggers, past, past.tries(event), now))
        .min();
    let Some(Some(why)) = why else {
        return TriggerDecision::Run(events);
    };

    let (waiting, gone): (Vec<TriggerEvent>, Vec<TriggerEvent>) =
        events.into_iter().partition(TriggerEvent::stays);
    if gone.is_empty() {
        TriggerDecision::Wait(waiting, why)
    } else {
        TriggerDecision::Skip(gone, why)
    }
}

/// Returns why triggers start no run now.
pub(crate) fn refused(triggers: &Triggers, past: &Past, now: DateTime<Utc>) -> Option<String> {
    refused_after(triggers, past, 0, now)
}

fn refused_after(
    triggers: &Triggers,
    past: &Past,
    tries: u32,
    now: DateTime<Utc>,
) -> Option<String> {
    let cooldown = triggers.cooldown.saturating_mul(1 << tries.min(TRIES_MAX));
    let pause = TimeDelta::from_std(cooldown).unwrap_or(TimeDelta::MAX);
    let cool = past
        .last
        .as_ref()
        .and_then(|last| Some((last, last.ended.checked_add_signed(pause)?)))
        .filter(|(_, cool)| *cool > now);
    if let Some((last, cool)) = cool {
        let doubled = match tries {
            0 => String::new(),
            tries => format!(
                ", and twice as long for each of {} for it that did not settle it",
                counted(tries, "run")
            ),
        };
        let (cool, ended) = (seconds(cool), seconds(last.ended));
        return Some(format!(
            "'cooldown' lasts until {cool}: after the run that ended at {ended}, triggers start none for {} s{doubled}; `ortus-trainer trigger` starts one now",
            triggers.cooldown.as_secs()
        ));
    }

    if past.runs >= triggers.runs_max {
        return Some(format!(
            "{} within a day, 'runs_max' is {}",
            counted(past.runs, "run"),
            triggers.runs_max
        ));
    }

    if past.spent >= triggers.time_max {
        let (spent, most) = (past.spent.as_secs(), triggers.time_max.as_secs());
        return Some(format!(
            "runs took {spent} s within a day, 'time_max' in [triggers] is {most} s"
        ));
    }

    None
}

/// Writes a time to the second.
fn seconds(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests;
