//! Checks repeatedly whether a run of a model is due, and runs it: one trainer at
//! a time, each trigger once, even if a trainer is killed.

mod rows;

use crate::context::{RunOutcome, Trainer, Watcher};
use crate::event_key::EventKey;
use crate::history::{RecordedRun, RunHistory, RunStatus};
use crate::lease::{self, LeaseOutcome};
use crate::pins::{self, Pinned};
use crate::record::RunRecord;
use crate::recorded_run::{Cause, attempt};
use crate::spec::Spec;
use crate::trigger::past::Past;
use crate::trigger::{self, RegistryState, RunRequest, TriggerDecision, TriggerEvent};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::TryStreamExt;
use ortus::core::error::{Error, Result};
use ortus::core::model::{Alias, ModelName, Version};
use ortus::observe::alarms;
use ortus::registry::commands::Operator;
use ortus::storage::layout::Records;
use rows::{CountAt, RowCounts};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The largest request or time in the store.
const BYTES_MAX: u64 = 64 << 10;
/// The most bytes of the actor and the reason of a request.
const WORDS_MAX: usize = 4 << 10;
/// The age of alarms that are read.
const ALARM_DAYS: i64 = 40;
/// The most decisions of a check.
const DECISIONS_MAX: usize = 100;

/// A specification that is watched.
pub(crate) struct Watch {
    path: PathBuf,
    /// The name of this trainer.
    holder: String,
    known: BTreeMap<String, Option<RecordedRun>>,
    /// Whether this process has removed the pins that a killed trainer left.
    has_cleared_pins: bool,
    alarms: alarms::AlarmsByKey,
    counts: RowCounts,
}

/// The result of a check.
pub(crate) enum Checked {
    /// Nothing is due.
    Idle,
    /// A due run is delayed.
    Waits(String),
    /// Another trainer runs it.
    Busy(String),
    /// Skipped runs, and the run, if there was one.
    Did(
        Vec<RecordedRun>,
        Option<Box<(RecordedRun, Result<RunOutcome>)>>,
    ),
}

/// The state of a model at a check.
pub(crate) struct WatchState {
    pub past: Past,
    pub found: RegistryState,
    pub due: Vec<TriggerEvent>,
}

fn folder(model: &ModelName, what: &str) -> String {
    format!("train/{model}/{what}")
}

/// Requests a run for a person.
pub(crate) async fn ask(
    records: &Records,
    model: &ModelName,
    actor: &str,
    reason: &str,
) -> Result<RunRequest> {
    if actor.len() + reason.len() > WORDS_MAX {
        return Err(Error::invalid(format!(
            "'actor' and 'reason' together exceed {WORDS_MAX} bytes"
        )));
    }

    let id = uuid::Uuid::now_v7().simple().to_string();
    let ask = RunRequest {
        id,
        time: Utc::now(),
        actor: actor.to_owned(),
        reason: reason.to_owned(),
    };

    let text =
        serde_json::to_vec(&ask).map_err(|e| Error::internal("write a request").with_source(e))?;
    records
        .create(
            &format!("{}/{}.json", folder(model, "asks"), ask.id),
            text.into(),
        )
        .await?;
    Ok(ask)
}

/// Returns the trainer that trains a model now.
pub(crate) async fn current_trainer(
    records: &Records,
    model: &ModelName,
    time: Duration,
) -> Result<Option<String>> {
    lease::holder(records, &folder(model, "lease"), time).await
}

impl Watch {
    pub(crate) fn new(path: &Path, holder: &str) -> Self {
        Self {
            path: path.to_owned(),
            holder: holder.to_owned(),
            known: BTreeMap::new(),
            has_cleared_pins: false,
            alarms: BTreeMap::new(),
            counts: RowCounts::default(),
        }
    }

    /// Reads the specification from its file.
    pub(crate) fn spec(&self) -> Result<Spec> {
        Spec::read(&self.path)
    }

    /// Reads the state of the model, and returns what is due.
    pub(crate) async fn state(
        &mut self,
        operator: &Operator,
        seen: &Records,
        spec: &Spec,
    ) -> Result<WatchState> {
        let model = ModelName::parse(&spec.model.name)?;
        let records = Records::of(operator.log.store.clone(), operator.log.namespace());
        RunHistory::new(records.clone(), model.clone())
            .refresh(&mut self.known)
            .await?;
        let now = Utc::now();
        let past = Past::of(self.known.values().flatten(), now);
        // Showing the status does not start to watch.
        let since = if self.holder.is_empty() {
            known_since(&records, &model).await?.unwrap_or(now)
        } else {
            since(&records, &model, now).await?
        };

        let from = now - TimeDelta::days(ALARM_DAYS);
        if spec.triggers.drift || spec.triggers.loss {
            alarms::refresh(seen, Some(model.as_str()), from, &mut self.alarms).await?;
        }
        let alarms = self.alarms.values().flatten().cloned().collect();
        let registry = operator.state().await?;
        let registered = registry.models.get(&model);
        let champion = registered.and_then(|m| m.champion());
        let count = CountAt { spec, seen, now };
        let mut found = RegistryState {
            now,
            since,
            spec: trigger::spec(&spec.canonical()),
            asks: asks(&records, &model, &past).await?,
            alarms,
            champion: champion.map(|version| version.number()),
            candidates: registered.map_or_else(Vec::new, |m| candidates(&m.aliases, champion)),
            new_rows: self.counts.since_last_run(count, &past).await,
            future_rows: 0,
            rows_after: BTreeMap::new(),
        };

        let due = trigger::due(&spec.triggers, &past, &found)?;
        let alarms = due
            .iter()
            .filter(|event| event.is_alarm() && event.moot.is_none());
        let alarms: Vec<DateTime<Utc>> = alarms.map(|event| event.time).collect();
        let counted = self.counts.after(count, &past, &alarms).await;
        (found.rows_after, found.future_rows) = (counted.by_alarm, counted.future);
        let due = trigger::due(&spec.triggers, &past, &found)?;
        Ok(WatchState { past, found, due })
    }

    /// Checks once, and runs what is due.
    pub(crate) async fn check(
        &mut self,
        trainer: &Trainer<'_>,
        watcher: &mut dyn Watcher,
    ) -> Result<Checked> {
        let spec = self.spec()?;
        let model = ModelName::parse(&spec.model.name)?;
        let records = trainer.records();
        let state = self.state(trainer.operator, trainer.seen, &spec).await?;
        if !self.has_cleared_pins {
            self.clear_pins(&records, &model).await?;
            self.has_cleared_pins = true;
        }

        match trigger::decide(&spec.triggers, &state.past, state.due, state.found.now) {
            TriggerDecision::Nothing => return Ok(Checked::Idle),
            TriggerDecision::Wait(events, why) if state.past.has_handled(&waiting(&events)) => {
                return Ok(Checked::Waits(why));
            }
            _ => {}
        }

        let lease = folder(&model, "lease");
        match lease::take(&records, &lease, &self.holder, spec.triggers.lease).await? {
            LeaseOutcome::Others(who) => Ok(Checked::Busy(who)),
            LeaseOutcome::Ours(lease) => {
                let trainer = Trainer {
                    lease: Some(&lease),
                    ..*trainer
                };
                self.decide(&trainer, &spec, watcher).await
            }
        }
    }

    /// Makes the decisions that are due, under the lease: another trainer may have
    /// made some meanwhile, and one check may need several.
    async fn decide(
        &mut self,
        trainer: &Trainer<'_>,
        spec: &Spec,
        watcher: &mut dyn Watcher,
    ) -> Result<Checked> {
        let history = RunHistory::new(trainer.records(), ModelName::parse(&spec.model.name)?);
        let mut skipped = Vec::new();
        for _ in 0..DECISIONS_MAX {
            let state = self.state(trainer.operator, trainer.seen, spec).await?;
            let now = state.found.now;
            let (events, why) = match trigger::decide(&spec.triggers, &state.past, state.due, now) {
                TriggerDecision::Nothing => break,
                TriggerDecision::Wait(events, _) if state.past.has_handled(&waiting(&events)) => {
                    break;
                }
                TriggerDecision::Wait(events, why) => (vec![delayed(&events)], why),
                TriggerDecision::Skip(events, why) => (events, why),
                TriggerDecision::Run(events) => {
                    let due = DueRun { spec, events, now };
                    let ran = self.run(trainer, due, &history, watcher).await?;
                    return Ok(Checked::Did(skipped, Some(Box::new(ran))));
                }
            };

            let ran = skipped_run(spec, &events, why, now);
            history.keep(&ran).await?;
            skipped.push(ran);
        }

        Ok(if skipped.is_empty() {
            Checked::Idle
        } else {
            Checked::Did(skipped, None)
        })
    }

    /// Runs the pipeline for due events, which are pinned before it begins.
    async fn run(
        &self,
        trainer: &Trainer<'_>,
        due: DueRun<'_>,
        history: &RunHistory,
        watcher: &mut dyn Watcher,
    ) -> Result<(RecordedRun, Result<RunOutcome>)> {
        let DueRun { spec, events, now } = due;
        let model = ModelName::parse(&spec.model.name)?;
        let records = trainer.records();
        // A pin of an earlier run would make this one repeat it.
        self.clear_pins(&records, &model).await?;
        let pinned = Pinned::new(&records, &model, &events, now).await?;

        let trainer = Trainer {
            now: Utc::now(),
            as_of: Some(pinned.as_of),
            pinned: Some(&pinned),
            ..*trainer
        };
        let cause = Cause {
            trigger: events_text(&events),
            events: keys(&events),
            apart: false,
        };
        let (ran, ended, kept) = attempt(&trainer, spec, cause, history, watcher).await;

        // Without a record the events stay due, and pinned as they are.
        kept.map_err(|e| e.context("store the record of the run"))?;
        if !ran.events.is_empty() {
            pinned.done().await;
        }
        Ok((ran, ended))
    }

    async fn clear_pins(&self, records: &Records, model: &ModelName) -> Result<()> {
        pins::clear_recorded(records, model, self.known.values().flatten()).await
    }
}

/// Returns newer versions than the champion that an alias names.
fn candidates(aliases: &BTreeMap<Alias, Version>, champion: Option<Version>) -> Vec<(String, u64)> {
    let champion = champion.map_or(0, |version| version.number());
    let all = aliases
        .iter()
        .map(|(alias, version)| (alias.to_string(), version.number()));
    all.filter(|(_, version)| *version > champion).collect()
}

/// A run that is due.
struct DueRun<'d> {
    spec: &'d Spec,
    events: Vec<TriggerEvent>,
    now: DateTime<Utc>,
}

/// Returns the event of the note that events are delayed. The note is recorded once; the
/// events stay due.
fn delayed(events: &[TriggerEvent]) -> TriggerEvent {
    TriggerEvent {
        key: waiting(events),
        ..events[0].clone()
    }
}

/// Returns the record of events that start no run.
fn skipped_run(
    spec: &Spec,
    events: &[TriggerEvent],
    why: String,
    now: DateTime<Utc>,
) -> RecordedRun {
    RecordedRun {
        model: spec.model.name.clone(),
        began: now,
        seconds: 0.0,
        trigger: events_text(events),
        events: keys(events),
        apart: false,
        status: RunStatus::Skipped,
        record: RunRecord::skipped(why),
    }
}

/// Returns the key of the note that events are delayed.
fn waiting(events: &[TriggerEvent]) -> EventKey {
    EventKey::waits(events.first().map(|event| &event.key))
}

fn keys(events: &[TriggerEvent]) -> Vec<EventKey> {
    events.iter().map(|event| event.key.clone()).collect()
}

/// The most causes that a trigger names.
const CAUSES_MAX: usize = 3;

/// Describes the causes of a run, for a person.
fn events_text(events: &[TriggerEvent]) -> String {
    let mut all: Vec<&str> = Vec::new();
    for event in events {
        if !all.contains(&event.why.as_str()) {
            all.push(&event.why);
        }
    }

    let named = all
        .iter()
        .take(CAUSES_MAX)
        .copied()
        .collect::<Vec<_>>()
        .join("; ");
    match all.len().saturating_sub(CAUSES_MAX) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}

/// Returns the time since which the model is watched: now, if it was not watched before.
async fn since(records: &Records, model: &ModelName, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    if let Some(since) = known_since(records, model).await? {
        return Ok(since);
    }
    let key = folder(model, "since.json");
    let text =
        serde_json::to_vec(&now).map_err(|e| Error::internal("write a time").with_source(e))?;
    records.create(&key, text.into()).await?;
    known_since(records, model)
        .await?
        .ok_or_else(|| Error::precondition(format!("{key} of the registry's records is damaged")))
}

async fn known_since(records: &Records, model: &ModelName) -> Result<Option<DateTime<Utc>>> {
    let bytes = records.get(&folder(model, "since.json"), BYTES_MAX).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Returns the requests of people that were not handled.
async fn asks(records: &Records, model: &ModelName, past: &Past) -> Result<Vec<RunRequest>> {
    let listed: Vec<_> = records.list(&folder(model, "asks")).try_collect().await?;
    let mut asks = Vec::new();
    for (key, _) in listed
        .into_iter()
        .filter(|(_, meta)| meta.bytes <= BYTES_MAX)
    {
        let id = key
            .rsplit('/')
            .next()
            .and_then(|name| name.strip_suffix(".json"))
            .unwrap_or_default();
        if past.has_handled(&EventKey::Request(id.to_owned())) {
            continue;
        }
        let bytes = records.get(&key, BYTES_MAX).await?;
        asks.extend(
            bytes
                .and_then(|bytes| serde_json::from_slice::<RunRequest>(&bytes).ok())
                .filter(|ask| ask.id == id),
        );
    }

    Ok(asks)
}
