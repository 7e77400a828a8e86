//! The alarm log: one object for each alarm in the store, which the trainer and
//! `ortus alarms` read. Owns their format and a rate limit: a test that alarms
//! again and again is one alarm an hour. Raises no alarm.

#[cfg(test)]
mod tests;

use crate::core::error::{Error, Result};
use crate::core::hash::{Digest, hex};
use crate::observe::report::alarm::AlarmEvent;
use crate::storage::layout::Records;
use crate::storage::store::in_time;
use chrono::{DateTime, Utc};
use futures_util::stream::TryStreamExt;
use serde::{Deserialize, Serialize};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// The format that is written, and the newest that is read.
pub const FORMAT: u32 = 1;
/// Repetitions of an alarm within this are not written.
const QUIET: Duration = Duration::from_secs(3600);
/// Alarms written in an hour, of all models together.
const HOUR_MAX: usize = 120;
/// Most alarms that wait to be written.
const WAITING_MAX: usize = 256;
/// Time limit for writing an alarm.
const WRITE_MAX: Duration = Duration::from_secs(30);
/// Most bytes of an alarm.
const BYTES_MAX: u64 = 1 << 20;

/// An alarm of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggedAlarm {
    /// Version of the format.
    pub format: u32,
    /// Such as `ortus.drift.alarm`.
    pub kind: String,
    /// Name of the model.
    pub model: String,
    /// When the alarm was raised.
    pub time: DateTime<Utc>,
    /// Name of the server that raised it.
    pub server: String,
    /// The event. It is written with its keys in alphabetical order: the trainer's
    /// run keys are digests of these bytes.
    #[serde(serialize_with = "sorted")]
    pub alarm: AlarmEvent,
}

fn sorted<S: serde::Serializer>(alarm: &AlarmEvent, serializer: S) -> Result<S::Ok, S::Error> {
    serde_json::to_value(alarm)
        .map_err(serde::ser::Error::custom)?
        .serialize(serializer)
}

/// The handle to the task that writes alarms.
#[derive(Clone)]
pub(crate) struct Alarms(mpsc::Sender<LoggedAlarm>);

impl Alarms {
    /// Starts the task that writes, on this runtime.
    pub(crate) fn start(records: Records, runtime: &tokio::runtime::Handle) -> Self {
        let (alarms, mut inbox) = mpsc::channel::<LoggedAlarm>(WAITING_MAX);
        runtime.spawn(async move {
            let mut limit = Limit::default();
            while let Some(kept) = inbox.recv().await {
                if limit.admits(&kept, Instant::now()) {
                    write_in_time(&records, &kept, WRITE_MAX).await;
                }
            }
        });

        Self(alarms)
    }

    /// Queues an alarm. Never waits: it is dropped, with a message in the log, if the
    /// queue is full.
    pub(crate) fn keep(&self, kind: &str, server: &str, alarm: AlarmEvent) {
        let kept = LoggedAlarm {
            format: FORMAT,
            kind: kind.to_owned(),
            model: alarm.model().unwrap_or_default().to_owned(),
            time: Utc::now(),
            server: server.to_owned(),
            alarm,
        };

        if self.0.try_send(kept).is_err() {
            tracing::error!("an alarm was dropped: the store is too slow");
        }
    }
}

/// Writes an alarm, or logs that it cannot be written.
async fn write_in_time(records: &Records, kept: &LoggedAlarm, limit: Duration) {
    if let Err(error) = in_time(limit, write(records, kept)).await {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(model = kept.model, %error, cause, "an alarm cannot be written");
    }
}

async fn write(records: &Records, kept: &LoggedAlarm) -> Result<()> {
    store_alarm(records, kept, &uuid::Uuid::now_v7().to_string()).await
}

/// Writes an alarm that another program sent, once for each of its ids.
pub async fn keep(records: &Records, kept: &LoggedAlarm, id: &str) -> Result<()> {
    let id = hex(&Digest::of(id.as_bytes()).0[..16]);
    store_alarm(records, kept, &id).await
}

async fn store_alarm(records: &Records, kept: &LoggedAlarm, id: &str) -> Result<()> {
    let (model, time) = (&kept.model, kept.time.format("%Y-%m-%dT%H-%M-%S"));
    let key = format!("alarms/model={model}/{time}-{id}.json");
    let mut body = serde_json::to_vec(kept).expect("plain data is JSON");
    body.push(b'\n');
    records.create(&key, body.into()).await.map(drop)
}

/// Reads the alarms of a model, or of all, since a time; the oldest first.
/// Damaged ones, and those of another format, are skipped and counted.
pub(crate) async fn list(
    records: &Records,
    model: Option<&str>,
    since: DateTime<Utc>,
) -> Result<(Vec<LoggedAlarm>, usize)> {
    let mut known = AlarmsByKey::new();
    refresh(records, model, since, &mut known).await?;
    let damaged = known.values().filter(|kept| kept.is_none()).count();
    let mut alarms: Vec<LoggedAlarm> = known.into_values().flatten().collect();
    alarms.sort_by_key(|kept| kept.time);
    Ok((alarms, damaged))
}

/// Alarms by the keys of their objects; `None` where one is damaged.
pub type AlarmsByKey = BTreeMap<String, Option<LoggedAlarm>>;

/// Reads new alarms into `known`, and removes those older than `since`.
pub async fn refresh(
    records: &Records,
    model: Option<&str>,
    since: DateTime<Utc>,
    known: &mut AlarmsByKey,
) -> Result<()> {
    let folder = model.map_or_else(
        || "alarms".to_owned(),
        |model| format!("alarms/model={model}"),
    );
    let from = since.format("%Y-%m-%dT%H-%M-%S").to_string();
    let is_new = |key: &str| key.rsplit('/').next().unwrap_or_default() >= from.as_str();
    known.retain(|key, _| is_new(key));
    let listed: Vec<_> = records.list(&folder).try_collect().await?;
    for (key, meta) in listed.into_iter().filter(|(key, _)| is_new(key)) {
        if let Entry::Vacant(place) = known.entry(key) {
            if meta.bytes > BYTES_MAX {
                place.insert(None);
                continue;
            }
            let bytes = records.get(place.key(), BYTES_MAX).await?;
            let bytes = bytes.ok_or_else(|| Error::unavailable("an alarm is gone"))?;
            place.insert(
                serde_json::from_slice::<LoggedAlarm>(&bytes)
                    .ok()
                    .filter(|kept| kept.format == FORMAT),
            );
        }
    }

    Ok(())
}

/// The rate limit.
#[derive(Default)]
struct Limit {
    last: HashMap<String, Instant>,
    hour: Vec<Instant>,
}

impl Limit {
    fn admits(&mut self, kept: &LoggedAlarm, now: Instant) -> bool {
        self.last.retain(|_, at| now.duration_since(*at) < QUIET);
        self.hour.retain(|at| now.duration_since(*at) < QUIET);
        let LoggedAlarm { kind, model, .. } = kept;
        let key = format!("{kind} {model} {}", subject(&kept.alarm));
        if self.hour.len() >= HOUR_MAX || self.last.contains_key(&key) {
            return false;
        }
        self.last.insert(key, now);
        self.hour.push(now);
        true
    }
}

/// Names what an alarm is about: alarms with the same name are repetitions.
fn subject(alarm: &AlarmEvent) -> String {
    match alarm {
        AlarmEvent::Incident(incident) => {
            format!("{} {}", incident.incident, incident.columns_total)
        }
        AlarmEvent::Drift(alarm) => format!(
            "{} {} {} {}",
            alarm.digest,
            alarm.column,
            alarm.test.metric.name(),
            alarm.test.against.name()
        ),
        AlarmEvent::Performance(alarm) => match &alarm.part {
            Some(part) => format!("{} {} {}", alarm.digest, part.slice, part.part),
            None => alarm.digest.clone(),
        },
        AlarmEvent::Other(alarm) => alarm.column.clone().unwrap_or_default(),
    }
}
