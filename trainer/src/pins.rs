//! Pins: the time and the run key of a trigger, written before its run begins, so
//! that a trainer that takes over from one that was killed makes the same run.
//! Owns the files of pins; the caller says which runs are recorded.

#[cfg(test)]
mod tests;

use crate::event_key::EventKey;
use crate::history::RecordedRun;
use crate::trigger::{TriggerEvent, TriggerKind};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::TryStreamExt;
use ortus::core::error::{Error, Result};
use ortus::core::hash::Digest;
use ortus::core::model::ModelName;
use ortus::storage::layout::Records;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest pin.
const BYTES_MAX: u64 = 64 << 10;
/// How long a file may take to appear after the time in its name.
pub(crate) const ARRIVING: TimeDelta = TimeDelta::seconds(2);

/// The pins of the events of a run, written before it begins, so that a trainer
/// that takes over makes the same run.
pub(crate) struct Pinned {
    records: Records,
    keys: Vec<String>,
    pub as_of: DateTime<Utc>,
    /// The run that was begun for the events.
    pub run: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
struct Pin {
    /// The time that counts as now.
    as_of: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<String>,
}

impl Pinned {
    /// Pins events to a time: the cron time, or the time at which the first trainer
    /// began with one of them.
    pub(crate) async fn new(
        records: &Records,
        model: &ModelName,
        events: &[TriggerEvent],
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let of_clock = events
            .iter()
            .filter(|event| event.kind == TriggerKind::Cron)
            .map(|event| event.time)
            .max();
        let of_clock =
            of_clock.filter(|_| events.iter().all(|event| event.kind == TriggerKind::Cron));

        let keys = events
            .iter()
            .map(|event| format!("{}/{}.json", folder(model), event.key))
            .collect();
        // Files with earlier times in their names have appeared by then.
        let as_of = of_clock.unwrap_or(now - ARRIVING);

        let mut pinned = Self {
            records: records.clone(),
            keys,
            as_of,
            run: None,
        };

        for key in &pinned.keys {
            records.create(key, pin_text(as_of, None)?).await?;
            let bytes = records.get(key, BYTES_MAX).await?;
            let pin: Option<Pin> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
            let damaged =
                || Error::precondition(format!("{key} of the registry's records is damaged"));
            let pin = pin.ok_or_else(damaged)?;
            pinned.as_of = pinned.as_of.min(pin.as_of);
            pinned.run = pinned
                .run
                .or(pin.run.as_deref().and_then(|run| Digest::parse(run).ok()));
        }

        Ok(pinned)
    }

    /// Writes the key of the run.
    pub(crate) async fn note(&self, run: &Digest) -> Result<()> {
        let text = pin_text(self.as_of, Some(run))?;
        for key in &self.keys {
            self.records.overwrite(key, text.clone()).await?;
        }
        Ok(())
    }

    /// Removes the pins, once the record of the run is stored.
    pub(crate) async fn done(&self) {
        for key in &self.keys {
            // A pin that stays is removed before the next run, or by the next trainer.
            let _ = self.records.delete(key).await;
        }
    }
}

/// Removes the pins of recorded runs: those of a trainer that was killed between
/// the record of its run and the removal. A pin that is newer than the last record
/// of its event belongs to a run that is not recorded yet, and stays.
pub(crate) async fn clear_recorded(
    records: &Records,
    model: &ModelName,
    runs: impl IntoIterator<Item = &RecordedRun>,
) -> Result<()> {
    let mut recorded: BTreeMap<&EventKey, DateTime<Utc>> = BTreeMap::new();
    for ran in runs {
        for event in &ran.events {
            let last = recorded.entry(event).or_insert(ran.began);
            *last = ran.began.max(*last);
        }
    }

    let listed: Vec<_> = records.list(&folder(model)).try_collect().await?;
    for (path, _) in listed {
        let Some(event) = event_of(&path) else {
            continue;
        };
        let Some(began) = recorded.get(&event) else {
            continue;
        };
        if event.occurs_once() || was_pinned_by(records, &path, *began).await? {
            records
                .delete(&path)
                .await
                .map_err(|e| e.context("remove the pin of a recorded run"))?;
        }
    }

    Ok(())
}

fn folder(model: &ModelName) -> String {
    format!("train/{model}/pins")
}

/// Returns the event of a pin, by the name of its file.
fn event_of(path: &str) -> Option<EventKey> {
    let name = path.rsplit('/').next()?.strip_suffix(".json")?;
    Some(EventKey::parse(name))
}

/// Returns whether a pin was written before a run began. One that cannot be read was not,
/// so that the next run for its event reports it.
async fn was_pinned_by(records: &Records, path: &str, began: DateTime<Utc>) -> Result<bool> {
    let bytes = records.get(path, BYTES_MAX).await?;
    let pin: Option<Pin> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(pin.is_some_and(|pin| pin.as_of + ARRIVING <= began))
}

fn pin_text(as_of: DateTime<Utc>, run: Option<&Digest>) -> Result<bytes::Bytes> {
    let pin = Pin {
        as_of,
        run: run.map(ToString::to_string),
    };
    serde_json::to_vec(&pin)
        .map(Into::into)
        .map_err(|e| Error::internal("write a pin").with_source(e))
}
