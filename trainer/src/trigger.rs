//! Decides when a run of a model is due, and when a due run is skipped. Reads and
//! writes nothing: facts go in, decisions come out.

use crate::history::{Became, Ran};
use crate::spec::{Missed, Triggers, cron};
use chrono::{DateTime, TimeDelta, Utc};
use ortus::core::error::{Error, Result};
use ortus::core::hash::Digest;
use ortus::observe::alarms::Kept;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Times of the clock that are told one by one; what was missed before them is forgotten.
const TIMES_MAX: usize = 1_000;
/// Runs for one alarm that do not pass; then it takes a person.
const TRIES_MAX: u32 = 10;
/// A time that is this long ago was missed, or two looks, whichever is longer.
const GRACE: Duration = Duration::from_secs(60);

/// Why a run is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A person asked.
    Asked,
    Cron,
    Drift,
    Loss,
    Spec,
    Rows,
}

/// Something that makes a run due.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub kind: Kind,
    /// Names it for ever; fit for a key of the store.
    pub key: String,
    pub time: DateTime<Utc>,
    pub why: String,
    /// Why there is nothing to do for it.
    pub moot: Option<String>,
}

impl Event {
    /// Whether it stays due until there is a run: what is wrong does not pass
    /// with time, as a time of the clock does.
    fn stays(&self) -> bool {
        !matches!(self.kind, Kind::Asked | Kind::Cron)
    }

    /// Whether it may come again under the same name.
    fn recurs(&self) -> bool {
        matches!(self.kind, Kind::Spec | Kind::Rows)
    }
}

/// What a person asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub id: String,
    pub time: DateTime<Utc>,
    pub actor: String,
    pub reason: String,
}

/// What runs before this tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    /// Events that something was done about.
    handled: BTreeSet<String>,
    /// … that a run was for that did not pass, and how many were.
    tried: BTreeMap<String, u32>,
    /// When the last run that passed began.
    passed: Option<DateTime<Utc>>,
    pub last: Option<Last>,
    /// Runs within a day that nobody asked for.
    pub runs: usize,
    /// Time that runs took within a day.
    pub spent: Duration,
}

/// The last run that was one.
#[derive(Clone, Debug)]
pub(crate) struct Last {
    pub began: DateTime<Utc>,
    pub ended: DateTime<Utc>,
    pub became: Became,
    /// Of the last run that got so far.
    pub spec: Option<Digest>,
    pub rows: usize,
    pub newest: Option<DateTime<Utc>>,
}

impl Past {
    /// Looks back from a time.
    pub(crate) fn of<'r>(runs: impl IntoIterator<Item = &'r Ran>, now: DateTime<Utc>) -> Self {
        let mut past = Self::default();
        for ran in runs.into_iter().filter(|ran| !ran.apart) {
            let ended = ran.began + TimeDelta::milliseconds((ran.seconds * 1e3) as i64);
            let is_recent = now - ended < TimeDelta::days(1);
            if is_recent && ran.became.is_run() {
                past.spent += Duration::from_secs_f64(ran.seconds.max(0.0));
            }
            if ran.is_tried_again() {
                continue;
            }
            match ran.became {
                Became::Failed | Became::Inconclusive | Became::Broken => {
                    ran.events
                        .iter()
                        .for_each(|event| *past.tried.entry(event.clone()).or_default() += 1);
                }
                _ => past.handled.extend(ran.events.iter().cloned()),
            }
            if ran.became == Became::Published {
                past.passed = Some(ran.began);
            }
            if !ran.became.is_run() {
                continue;
            }
            let is_asked = ran.trigger == crate::history::MANUAL
                || ran.events.iter().any(|e| e.starts_with("ask-"));
            past.runs += usize::from(is_recent && !is_asked);
            let record = &ran.record;
            let before = past.last.take();
            let newest = record
                .pointer("/data/time/1")
                .and_then(|t| t.as_str()?.parse().ok());
            // Those with a target: the others are not counted as new either.
            let parts =
                ["train", "stop", "test", "left_out"].map(|part| record["split"][part].as_u64());
            let rows = parts[0].map(|_| parts.iter().flatten().sum::<u64>());
            past.last = Some(Last {
                began: ran.began,
                ended,
                became: ran.became,
                spec: record["spec"]
                    .as_str()
                    .map(spec)
                    .or(before.as_ref().and_then(|b| b.spec)),
                rows: rows.map_or(before.as_ref().map_or(0, |b| b.rows), |rows| rows as usize),
                newest: newest.or(before.and_then(|b| b.newest)),
            });
        }
        past
    }

    /// Whether something was done about an event.
    pub(crate) fn has_handled(&self, key: &str) -> bool {
        self.handled.contains(key)
    }

    fn tries(&self, event: &Event) -> u32 {
        self.tried.get(&event.key).copied().unwrap_or(0)
    }

    /// Whether there is nothing more to be done about an event.
    fn is_done(&self, event: &Event) -> bool {
        let tries_max = if event.stays() { TRIES_MAX } else { 1 };
        (self.has_handled(&event.key) && !event.recurs()) || self.tries(event) >= tries_max
    }
}

/// A specification, told apart from others.
pub(crate) fn spec(canonical: &str) -> Digest {
    Digest::of(canonical.as_bytes())
}

/// What is found at a look.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub now: DateTime<Utc>,
    /// Since when anybody watches.
    pub since: DateTime<Utc>,
    pub spec: Digest,
    pub asks: Vec<Ask>,
    pub alarms: Vec<Kept>,
    pub champion: Option<u64>,
    /// Rows since the last run, where they were counted.
    pub new_rows: Option<usize>,
}

/// The next time of a pattern.
pub(crate) fn next(pattern: &str, after: DateTime<Utc>) -> Result<DateTime<Utc>> {
    cron(pattern)?
        .find_next_occurrence(&after, false)
        .map_err(|e| Error::invalid(format!("no time comes: {e}")))
}

/// Everything that is due and was not dealt with.
pub(crate) fn due(triggers: &Triggers, past: &Past, found: &Found) -> Result<Vec<Event>> {
    let mut all: Vec<Event> = Vec::new();
    for ask in &found.asks {
        let why = format!("{} asked: {}", ask.actor, ask.reason);
        all.push(Event {
            kind: Kind::Asked,
            key: format!("ask-{}", ask.id),
            time: ask.time,
            why,
            moot: None,
        });
    }
    all.extend(times(triggers, past, found)?);
    for kept in &found.alarms {
        all.extend(alarm(triggers, past, found, kept));
    }
    // Who never ran has a specification that nobody knows, and it is not new.
    let is_other = |last: &Last| last.spec.is_some_and(|spec| spec != found.spec);
    if triggers.spec && past.last.as_ref().is_some_and(is_other) {
        let key = format!("spec-{}", hex(&found.spec));
        all.push(Event {
            kind: Kind::Spec,
            key,
            time: found.now,
            why: "the specification changed".into(),
            moot: None,
        });
    }
    if let (Some(least), Some(rows)) = (triggers.new_rows, found.new_rows)
        && rows >= least
    {
        let key = match &past.last {
            Some(Last {
                newest: Some(newest),
                ..
            }) => format!("rows-after-{}", newest.format("%Y%m%dT%H%M%S%6fZ")),
            last => format!("rows-over-{}", last.as_ref().map_or(0, |last| last.rows)),
        };
        let why = format!("{rows} rows are new");
        all.push(Event {
            kind: Kind::Rows,
            key,
            time: found.now,
            why,
            moot: None,
        });
    }
    all.retain(|event| !past.is_done(event));
    all.sort_by_key(|event| (event.kind, event.time));
    Ok(all)
}

fn hex(digest: &Digest) -> String {
    digest
        .to_string()
        .trim_start_matches("sha256:")
        .chars()
        .take(16)
        .collect()
}

/// Times of the clock since the last that something was done about.
fn times(triggers: &Triggers, past: &Past, found: &Found) -> Result<Vec<Event>> {
    let Some(pattern) = &triggers.cron else {
        return Ok(Vec::new());
    };
    let cron = cron(pattern)?;
    let dealt = past
        .handled
        .iter()
        .chain(past.tried.keys())
        .filter_map(|key| cron_time(key))
        .max();
    let mut after = dealt.map_or(found.since, |dealt| dealt.max(found.since));
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
            Missed::Once if Some(time) != last => Some("missed; one run stands for all that were"),
            Missed::Skip if is_late => Some("missed; nobody watched at that time"),
            _ => None,
        };
        let key = format!("cron-{}", time.format(CRON));
        let why = format!("the clock, {}", time.format("%Y-%m-%d %H:%M UTC"));
        Event {
            kind: Kind::Cron,
            key,
            time,
            why,
            moot: moot.map(str::to_owned),
        }
    };
    Ok(times.into_iter().map(event).collect())
}

/// How a time of the clock is written in a key.
const CRON: &str = "%Y%m%dT%H%M%SZ";

fn cron_time(key: &str) -> Option<DateTime<Utc>> {
    let text = key.strip_prefix("cron-")?;
    chrono::NaiveDateTime::parse_from_str(text, CRON)
        .ok()
        .map(|time| time.and_utc())
}

fn alarm(triggers: &Triggers, past: &Past, found: &Found, kept: &Kept) -> Option<Event> {
    let kind = match kept.kind.as_str() {
        "ortus.drift.alarm" if triggers.drift => Kind::Drift,
        "ortus.performance.alarm" if triggers.loss => Kind::Loss,
        _ => return None,
    };
    let version = kept.alarm.version();
    let column = kept.alarm.column().map_or_else(String::new, |c| {
        format!(" of '{}'", ortus::core::model::short(c))
    });
    let what = if kind == Kind::Drift {
        "drift"
    } else {
        "losses"
    };
    let of = version.map_or_else(String::new, |v| format!(", version {v}"));
    let mut moot = None;
    if let Some(passed) = past.passed.filter(|passed| *passed >= kept.time) {
        moot = Some(format!(
            "a run that passed began after it, at {}",
            passed.format("%Y-%m-%d %H:%M:%S UTC")
        ));
    } else if let (Some(version), Some(champion)) = (version, found.champion)
        && version != champion
    {
        moot = Some(format!(
            "it is about version {version}; version {champion} is champion"
        ));
    }
    let text = serde_json::to_vec(kept).unwrap_or_default();
    let key = format!(
        "alarm-{}-{}",
        kept.time.format(CRON),
        hex(&Digest::of(&text))
    );
    Some(Event {
        kind,
        key,
        time: kept.time,
        why: format!("an alarm: {what}{column}{of}"),
        moot,
    })
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Decision {
    Nothing,
    /// One run for all of these.
    Run(Vec<Event>),
    /// None for these, and why.
    Skip(Vec<Event>, String),
    /// Not yet, for these that stay due.
    Wait(Vec<Event>, String),
}

/// Decides about what is due.
pub(crate) fn decide(
    triggers: &Triggers,
    past: &Past,
    events: Vec<Event>,
    now: DateTime<Utc>,
) -> Decision {
    if let Some(why) = events.iter().find_map(|event| event.moot.clone()) {
        let moot = events
            .into_iter()
            .filter(|event| event.moot.as_ref() == Some(&why))
            .collect();
        return Decision::Skip(moot, why);
    }
    if events.is_empty() {
        return Decision::Nothing;
    }
    if events.iter().any(|event| event.kind == Kind::Asked) {
        return Decision::Run(events);
    }
    // After each run that did not pass an alarm waits for twice as long.
    let why = events
        .iter()
        .map(|event| refused_after(triggers, past, past.tries(event), now))
        .min();
    let Some(Some(why)) = why else {
        return Decision::Run(events);
    };
    let (waiting, gone): (Vec<Event>, Vec<Event>) = events.into_iter().partition(Event::stays);
    if gone.is_empty() {
        Decision::Wait(waiting, why)
    } else {
        Decision::Skip(gone, why)
    }
}

/// Why nothing but a person may start a run now.
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
    let cooldown = TimeDelta::from_std(cooldown).unwrap_or(TimeDelta::MAX);
    let cool = past
        .last
        .as_ref()
        .and_then(|last| last.ended.checked_add_signed(cooldown))
        .filter(|cool| *cool > now);
    if let Some(cool) = cool {
        return Some(format!(
            "'cooldown' lasts until {}",
            cool.format("%Y-%m-%d %H:%M:%S UTC")
        ));
    }
    if past.runs >= triggers.runs_max {
        return Some(format!(
            "{} runs within a day, 'runs_max' is {}",
            past.runs, triggers.runs_max
        ));
    }
    if past.spent >= triggers.time_max {
        let (spent, most) = (past.spent.as_secs(), triggers.time_max.as_secs());
        return Some(format!(
            "runs took {spent} s within a day, 'time_max' is {most} s"
        ));
    }
    None
}

#[cfg(test)]
mod tests;
