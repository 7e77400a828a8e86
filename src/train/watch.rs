//! Looks, again and again, whether a model is due for a run, and sees to it:
//! one trainer at a time, each cause once, whoever is killed when.

use super::attempt::{Cause, attempt};
use super::data::{self, Reach};
use super::history::{Became, History, Ran};
use super::lease::{self, Taken};
use super::spec::Spec;
use super::trigger::{self, Ask, Decision, Event, Found, Kind, Past};
use super::{Outcome, Trainer, Watcher};
use crate::error::{Error, Result};
use crate::model::ModelName;
use crate::operate::Operator;
use crate::records::{Records, alarms};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The largest small object.
const BYTES_MAX: u64 = 64 << 10;
/// How far back alarms are looked at.
const ALARM_DAYS: i64 = 14;
/// Counting rows may take one part in so many of the time.
const COUNT_SHARE: u32 = 10;
/// The most causes of a look.
const DECISIONS_MAX: usize = 100;

/// A specification that is watched.
pub(crate) struct Watch {
    path: PathBuf,
    /// Names this trainer among others.
    holder: String,
    known: BTreeMap<String, Option<Ran>>,
    alarms: alarms::Known,
    counted: Option<Counted>,
}

/// When rows were counted, how long it took, and how many were new.
struct Counted {
    at: Instant,
    took: Duration,
    /// Beside which run.
    after: Option<DateTime<Utc>>,
    rows: usize,
}

/// What came of a look.
pub(crate) enum Looked {
    /// Nothing is due.
    Idle,
    /// Something stays due, and waits.
    Waits(String),
    /// Another trainer sees to it.
    Busy(String),
    /// What was skipped, and the run that there was, if any.
    Did(Vec<Ran>, Option<(Box<Ran>, Result<Outcome>)>),
}

/// What is known of a model at a moment.
pub(crate) struct State {
    pub past: Past,
    pub found: Found,
    pub due: Vec<Event>,
}

/// The time that counts as now for a cause, written down before it is run.
#[derive(Serialize, Deserialize)]
struct Pin {
    as_of: DateTime<Utc>,
}

fn folder(model: &ModelName, what: &str) -> String {
    format!("train/{model}/{what}")
}

/// Asks for a run, as a person.
pub(crate) async fn ask(records: &Records, model: &ModelName, actor: &str, reason: &str) -> Result<Ask> {
    let id = uuid::Uuid::now_v7().simple().to_string();
    let ask = Ask { id, time: Utc::now(), actor: actor.to_owned(), reason: reason.to_owned() };
    let text = serde_json::to_vec(&ask).map_err(|e| Error::internal("write a request").with_source(e))?;
    records.create(&format!("{}/{}.json", folder(model, "asks"), ask.id), text.into()).await?;
    Ok(ask)
}

/// Who trains a model now.
pub(crate) async fn busy(records: &Records, model: &ModelName) -> Result<Option<String>> {
    lease::holder(records, &folder(model, "lease")).await
}

impl Watch {
    pub(crate) fn new(path: &Path, holder: &str) -> Self {
        Self {
            path: path.to_owned(),
            holder: holder.to_owned(),
            known: BTreeMap::new(),
            alarms: BTreeMap::new(),
            counted: None,
        }
    }

    /// Reads the specification as it is now.
    pub(crate) fn spec(&self) -> Result<Spec> {
        Spec::read(&self.path)
    }

    /// Finds out what is due.
    pub(crate) async fn state(&mut self, operator: &Operator, spec: &Spec) -> Result<State> {
        let model = ModelName::parse(&spec.model.name)?;
        let records = Records::of(operator.log.store.clone(), operator.log.namespace());
        History::new(records.clone(), model.clone()).refresh(&mut self.known).await?;
        let now = Utc::now();
        let past = Past::of(self.known.values().flatten().filter(|ran| ran.counts()), now);
        let since = since(&records, &model, now).await?;
        let from = since.max(now - TimeDelta::days(ALARM_DAYS));
        if spec.triggers.drift || spec.triggers.loss {
            alarms::refresh(&records, Some(model.as_str()), from, &mut self.alarms).await?;
        }
        let alarms = self.alarms.values().flatten().cloned().collect();
        let champion = operator.state().await?.models.get(&model).and_then(|m| m.champion());
        let found = Found {
            now,
            since,
            spec: trigger::spec(&spec.canonical()),
            asks: asks(&records, &model, &past).await?,
            alarms,
            champion: champion.map(|version| version.number()),
            new_rows: self.count(spec, &records, &past).await?,
        };
        let due = trigger::due(&spec.triggers, &past, &found)?;
        Ok(State { past, found, due })
    }

    /// Rows since the last run, where they start one and it is not too soon to
    /// count them again.
    async fn count(&mut self, spec: &Spec, records: &Records, past: &Past) -> Result<Option<usize>> {
        if spec.triggers.new_rows.is_none() {
            return Ok(None);
        }
        let after = past.last.as_ref().map(|last| last.began);
        if let Some(counted) = &self.counted
            && counted.after == after
            && counted.at.elapsed() < counted.took * COUNT_SHARE
        {
            return Ok(Some(counted.rows));
        }
        let at = Instant::now();
        let reach = Reach { records: Some(records.clone()), as_of: None, now: Utc::now() };
        let newest = past.last.as_ref().and_then(|last| last.newest);
        let all = data::count(spec, &reach, newest).await?;
        let known = past.last.as_ref().filter(|_| newest.is_none()).map_or(0, |last| last.rows);
        let rows = all.saturating_sub(known);
        self.counted = Some(Counted { at: Instant::now(), took: at.elapsed(), after, rows });
        Ok(Some(rows))
    }

    /// Looks once, and does what is due.
    pub(crate) async fn look(&mut self, trainer: &Trainer<'_>, watcher: &mut dyn Watcher) -> Result<Looked> {
        let spec = self.spec()?;
        let model = ModelName::parse(&spec.model.name)?;
        let records = trainer.records();
        let state = self.state(trainer.operator, &spec).await?;
        match trigger::decide(&spec.triggers, &state.past, state.due, state.found.now) {
            Decision::Nothing => return Ok(Looked::Idle),
            Decision::Wait(events, why) if state.past.has_handled(&waiting(&events)) => return Ok(Looked::Waits(why)),
            _ => {}
        }
        let lease = match lease::take(&records, &folder(&model, "lease"), &self.holder, spec.triggers.lease).await? {
            Taken::Others(who) => return Ok(Looked::Busy(who)),
            Taken::Ours(lease) => lease,
        };
        let history = History::new(records.clone(), model.clone());
        let mut skipped = Vec::new();
        // Another may have seen to it meanwhile; and one look may find several things.
        for _ in 0..DECISIONS_MAX {
            let state = self.state(trainer.operator, &spec).await?;
            let (events, why) = match trigger::decide(&spec.triggers, &state.past, state.due, state.found.now) {
                Decision::Nothing => break,
                Decision::Wait(events, _) if state.past.has_handled(&waiting(&events)) => break,
                // Told once; it stays due.
                Decision::Wait(events, why) => (vec![Event { key: waiting(&events), ..events[0].clone() }], why),
                Decision::Skip(events, why) => (events, why),
                Decision::Run(events) => {
                    let as_of = pin(&records, &model, &events, state.found.now).await?;
                    let trainer = Trainer { now: Utc::now(), as_of: Some(as_of), lease: Some(&lease), ..*trainer };
                    let cause = Cause { trigger: words(&events), events: keys(&events) };
                    let (ran, ended) = attempt(&trainer, &spec, cause, &history, watcher).await;
                    if !ran.events.is_empty() {
                        // It would only be in the way.
                        let _ = records.delete(&pin_key(&model, &events)).await;
                    }
                    return Ok(Looked::Did(skipped, Some((Box::new(ran), ended))));
                }
            };
            let record = serde_json::json!({"reason": why});
            let (trigger, events) = (words(&events), keys(&events));
            let model = spec.model.name.clone();
            let ran =
                Ran { model, began: state.found.now, seconds: 0.0, trigger, events, became: Became::Skipped, record };
            history.keep(&ran).await?;
            skipped.push(ran);
        }
        Ok(if skipped.is_empty() { Looked::Idle } else { Looked::Did(skipped, None) })
    }
}

impl Ran {
    /// Whether it counts for when the next may be: not one that will be tried again.
    fn counts(&self) -> bool {
        self.became != Became::Broken || !self.events.is_empty() || self.trigger == super::attempt::MANUAL
    }
}

/// What is written down of events that wait.
fn waiting(events: &[Event]) -> String {
    format!("waits-{}", events.first().map_or("none", |event| &event.key))
}

fn keys(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.key.clone()).collect()
}

/// Causes told of one by one.
const TOLD_MAX: usize = 3;

fn words(events: &[Event]) -> String {
    let mut all: Vec<&str> = Vec::new();
    for event in events {
        if !all.contains(&event.why.as_str()) {
            all.push(&event.why);
        }
    }
    let told = all.iter().take(TOLD_MAX).copied().collect::<Vec<_>>().join("; ");
    match all.len().saturating_sub(TOLD_MAX) {
        0 => told,
        more => format!("{told}; and {more} more"),
    }
}

/// Since when anybody watches a model.
async fn since(records: &Records, model: &ModelName, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    let key = folder(model, "since.json");
    let read = async || -> Result<Option<DateTime<Utc>>> {
        Ok(records.get(&key, BYTES_MAX).await?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    };
    if let Some(since) = read().await? {
        return Ok(since);
    }
    let text = serde_json::to_vec(&now).map_err(|e| Error::internal("write a time").with_source(e))?;
    records.create(&key, text.into()).await?;
    read().await?.ok_or_else(|| Error::precondition(format!("{key} of the registry's records is damaged")))
}

/// What people asked for that was not dealt with.
async fn asks(records: &Records, model: &ModelName, past: &Past) -> Result<Vec<Ask>> {
    let listed: Vec<_> = records.list(&folder(model, "asks")).try_collect().await?;
    let mut asks = Vec::new();
    for (key, _) in listed {
        let id = key.rsplit('/').next().and_then(|name| name.strip_suffix(".json")).unwrap_or_default();
        if past.has_handled(&format!("ask-{id}")) {
            continue;
        }
        let bytes = records.get(&key, BYTES_MAX).await?;
        asks.extend(bytes.and_then(|bytes| serde_json::from_slice::<Ask>(&bytes).ok()).filter(|ask| ask.id == id));
    }
    Ok(asks)
}

fn pin_key(model: &ModelName, events: &[Event]) -> String {
    format!("{}/{}.json", folder(model, "pins"), events.first().map_or("none", |event| &event.key))
}

/// The time that counts as now for a run: a time of the clock itself, else the
/// moment at which the first trainer began with it, so that one that goes on
/// where another was killed learns from the same rows.
async fn pin(records: &Records, model: &ModelName, events: &[Event], now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    let of_clock = events.iter().filter(|event| event.kind == Kind::Cron).map(|event| event.time).max();
    if let Some(time) = of_clock.filter(|_| events.iter().all(|event| event.kind == Kind::Cron)) {
        return Ok(time);
    }
    let key = pin_key(model, events);
    let text = serde_json::to_vec(&Pin { as_of: now }).map_err(|e| Error::internal("write a time").with_source(e))?;
    records.create(&key, text.into()).await?;
    let bytes = records.get(&key, BYTES_MAX).await?;
    let pin: Option<Pin> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    pin.map(|pin| pin.as_of).ok_or_else(|| Error::precondition(format!("{key} of the registry's records is damaged")))
}
