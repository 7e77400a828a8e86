//! Deletes blobs that no version in use names: marks, writes a tombstone into
//! the log, then sweeps. After the tombstone an entry that names one of them is
//! void unless it was uploaded again under the next generation, and a sweep
//! deletes older generations only: no race can take a version's bytes.

#[cfg(test)]
mod tests;

use super::Operator;
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::registry::entry::{Blob, Op};
use crate::registry::fold::{Record, State};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{StreamExt, TryStreamExt};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

/// Uploads without a name and probes of this age are left over, whatever the
/// grace: no tombstone protects those that are under way.
const LEFT_OVER: Duration = Duration::from_secs(3600);
/// The most blobs of one tombstone entry.
const TOMBSTONE_BLOBS_MAX: usize = 4_096;

/// Entries asked for at once.
const HEADS_MAX: usize = 16;

/// What may be deleted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Blobs younger than this, by the store's clock, are left alone: they may
    /// belong to a push that is under way.
    pub grace: Duration,
    /// Versions retired less long ago than this keep their blobs.
    pub retain: Duration,
    /// Only say what would be deleted.
    pub dry_run: bool,
}

/// What was deleted, or would be.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Swept {
    pub blobs: usize,
    pub bytes: u64,
    /// Unreferenced, and too young.
    pub young: usize,
    pub dry_run: bool,
}

/// A blob as it lies in the store.
struct Found {
    key: String,
    blob: Blob,
    modified: DateTime<Utc>,
}

impl Operator {
    /// Sweeps this namespace.
    pub(crate) async fn gc(&self, rules: Rules) -> Result<Swept> {
        // Grace is by the store's clock, which a probe object tells.
        let probe = self
            .log
            .key(&format!("probe/{}", uuid::Uuid::new_v4().simple()));
        let now = self.log.store.self_test(&probe).await?;
        // From the first entry: what a checkpoint says may be wrong, and this deletes.
        let mut state = State::default();
        self.log.catch_up(&mut state).await?;
        let mut swept = Swept {
            dry_run: rules.dry_run,
            ..Swept::default()
        };
        let blobs = self.blobs().await?;
        let retention = self.retention(&state, &blobs, (now, rules.retain)).await?;
        let kept = retention.kept(&state);
        let mut marked = Vec::new();
        for found in blobs {
            if kept.contains(&found.blob.digest)
                && found.blob.generation == state.generation(&found.blob.digest)
            {
                continue;
            }
            if is_within(found.modified, rules.grace, now) {
                swept.young += 1;
            } else {
                marked.push(found);
            }
        }
        // What pushes staged and never named, and probes that a crash left.
        for folder in ["staging", "probe"] {
            let listed: Vec<_> = self
                .log
                .store
                .list(&self.log.key(folder))
                .try_collect()
                .await?;
            for (key, meta) in listed
                .into_iter()
                .filter(|(_, meta)| !is_within(meta.modified, rules.grace.max(LEFT_OVER), now))
            {
                if !rules.dry_run {
                    self.log.store.delete(&key).await?;
                }
                swept.blobs += 1;
                swept.bytes += meta.bytes;
            }
        }
        // What is younger may be a write that is under way.
        self.log.store.torn(&self.log.key(""), &mut |meta| {
            let is_old = !is_within(meta.modified, rules.grace.max(LEFT_OVER), now);
            swept.blobs += usize::from(is_old);
            swept.bytes += if is_old { meta.bytes } else { 0 };
            is_old && !rules.dry_run
        })?;
        for part in marked.chunks(TOMBSTONE_BLOBS_MAX) {
            let buried = if rules.dry_run {
                part.iter().collect()
            } else {
                self.bury(part, &state, &retention).await?
            };
            for found in buried {
                if !rules.dry_run {
                    self.log.store.delete(&found.key).await?;
                }
                swept.blobs += 1;
                swept.bytes += found.blob.bytes;
            }
        }
        Ok(swept)
    }

    /// Writes the tombstone; returns what may be deleted now.
    async fn bury<'f>(
        &self,
        marked: &'f [Found],
        from: &State,
        retention: &Retention,
    ) -> Result<Vec<&'f Found>> {
        let buried = Mutex::new(Vec::new());
        let decide = |state: &State| {
            let kept = retention.kept(state);
            // Of older generations nobody will ever name one: no tombstone is needed.
            let (old, current): (Vec<&Found>, Vec<&Found>) = marked
                .iter()
                .partition(|f| f.blob.generation < state.generation(&f.blob.digest));
            let current: Vec<&Found> = current
                .into_iter()
                .filter(|f| !kept.contains(&f.blob.digest))
                .collect();
            let blobs: Vec<Blob> = current.iter().map(|f| f.blob).collect();
            *buried
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner) =
                old.into_iter().chain(current).collect::<Vec<_>>();
            Ok(if blobs.is_empty() {
                Vec::new()
            } else {
                vec![Op::Tombstone { blobs }]
            }
            .into())
        };
        self.commit(from.clone(), &decide).await?;
        Ok(buried
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Asks the store when versions were retired whose blobs are still there: the
    /// time in an entry is by its writer's clock, which may be a year off.
    async fn retention(
        &self,
        state: &State,
        blobs: &[Found],
        (now, retain): (DateTime<Utc>, Duration),
    ) -> Result<Retention> {
        let there: BTreeSet<Digest> = blobs.iter().map(|f| f.blob.digest).collect();
        let records = state.models.values().flat_map(|m| m.versions.values());
        let left = records
            .filter(|r| !retain.is_zero() && r.blobs.iter().any(|b| there.contains(&b.digest)));
        let entries: BTreeSet<u64> = left.filter_map(|r| r.retired_by).collect();
        let times = futures_util::stream::iter(entries).map(|seq| async move {
            let meta = self.log.store.head(&self.log.entry_key(seq)).await?;
            let meta = meta.ok_or_else(|| Error::precondition(format!("entry {seq} is gone")))?;
            Ok::<_, Error>((seq, meta.modified))
        });
        Ok(Retention {
            now,
            retain,
            retired: times.buffered(HEADS_MAX).try_collect().await?,
        })
    }

    async fn blobs(&self) -> Result<Vec<Found>> {
        let folder = self.log.key("blobs/sha256");
        let listed: Vec<_> = self.log.store.list(&folder).try_collect().await?;
        let found = listed.into_iter().map(|(key, meta)| {
            let name = key.rsplit('/').next().unwrap_or_default();
            let (hex, generation) = name.split_once('.').unwrap_or((name, "0"));
            let digest = Digest::parse(&format!("sha256:{hex}"));
            let parsed = digest.ok().zip(generation.parse().ok());
            let (digest, generation) = parsed
                .ok_or_else(|| Error::precondition(format!("{key} is no object of a registry")))?;
            Ok(Found {
                blob: Blob {
                    digest,
                    bytes: meta.bytes,
                    generation,
                },
                key,
                modified: meta.modified,
            })
        });
        found.collect()
    }
}

/// How long retired versions keep their blobs, by the store's clock.
struct Retention {
    now: DateTime<Utc>,
    retain: Duration,
    /// When an entry that retires was written.
    retired: BTreeMap<u64, DateTime<Utc>>,
}

impl Retention {
    /// The digests that versions in use, or lately retired, name.
    fn kept(&self, state: &State) -> BTreeSet<Digest> {
        let records = state
            .models
            .values()
            .flat_map(|m| m.versions.values())
            .filter(|r| self.keeps(r));
        records
            .flat_map(|r| r.blobs.iter().map(|b| b.digest))
            .collect()
    }

    fn keeps(&self, record: &Record) -> bool {
        let Some(entry) = record.retired_by else {
            return true;
        };
        // A store's clock may know whole seconds only: no retention means none.
        // An entry that was not asked about came after the sweep began.
        let lately = || {
            self.retired
                .get(&entry)
                .is_none_or(|since| is_within(*since, self.retain, self.now))
        };
        !self.retain.is_zero() && lately()
    }
}

/// Whether less than `span` has passed; for ever, where it is beyond the calendar.
fn is_within(since: DateTime<Utc>, span: Duration, now: DateTime<Utc>) -> bool {
    let end = TimeDelta::from_std(span)
        .ok()
        .and_then(|span| since.checked_add_signed(span));
    end.is_none_or(|end| end > now)
}
