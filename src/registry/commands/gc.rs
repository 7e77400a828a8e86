//! Garbage collection: deletes blobs that no version in use names. Marks them,
//! commits a tombstone (an entry that announces the deletion), then deletes.
//!
//! An entry after the tombstone that names such a blob is void, unless the blob
//! was uploaded again under its next generation (a counter in its name). Only
//! older generations are deleted, so no race can delete a version's files.

#[cfg(test)]
mod tests;

use super::Operator;
use crate::core::error::{Error, Result};
use crate::core::hash::Digest;
use crate::registry::entry::{Blob, Op};
use crate::registry::fold::{NamespaceState, Record};
use crate::storage::store::Meta;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::{StreamExt, TryStreamExt};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

/// Age from which staged uploads and probe objects are deleted, even if the grace
/// period is shorter: tombstones do not protect those in progress.
const LEFT_OVER: Duration = Duration::from_secs(3600);
/// The most blobs of one tombstone entry.
const TOMBSTONE_BLOBS_MAX: usize = 4_096;

/// Entries that are looked up concurrently.
const HEADS_MAX: usize = 16;

/// Which blobs may be deleted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GcRules {
    /// Blobs younger than this, by the store's clock, are kept: they may belong to a
    /// push in progress.
    pub grace: Duration,
    /// Versions retired less long ago than this keep their blobs.
    pub retain: Duration,
    /// Only report what would be deleted.
    pub dry_run: bool,
}

/// Result of a garbage collection, or of its dry run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct CollectedBlobs {
    pub blobs: usize,
    pub bytes: u64,
    /// Unreferenced, but too young to delete.
    pub young: usize,
    pub dry_run: bool,
}

impl CollectedBlobs {
    fn add(&mut self, bytes: u64) {
        self.blobs += 1;
        self.bytes += bytes;
    }
}

/// A blob in the store.
struct StoredBlob {
    key: String,
    blob: Blob,
    modified: DateTime<Utc>,
}

impl Operator {
    /// Collects the garbage of this namespace.
    pub(crate) async fn gc(&self, rules: GcRules) -> Result<CollectedBlobs> {
        // Grace is measured by the store's clock, which a probe object shows.
        let probe = self
            .log
            .key(&format!("probe/{}", uuid::Uuid::new_v4().simple()));
        let now = self.log.store.self_test(&probe).await?;

        // Reads the log from its first entry: with a wrong checkpoint, blobs in use
        // would be deleted.
        let mut state = NamespaceState::default();
        self.log.catch_up(&mut state).await?;
        let mut swept = CollectedBlobs {
            dry_run: rules.dry_run,
            ..CollectedBlobs::default()
        };

        let blobs = self.blobs().await?;
        let retention = self.retention(&state, &blobs, rules.retain, now).await?;
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

        self.delete_leftovers(rules, now, &mut swept).await?;

        for part in marked.chunks(TOMBSTONE_BLOBS_MAX) {
            let deletable = if rules.dry_run {
                part.iter().collect()
            } else {
                self.announce_deletion(part, &state, &retention).await?
            };
            for found in deletable {
                if !rules.dry_run {
                    self.log.store.delete(&found.key).await?;
                }
                swept.add(found.blob.bytes);
            }
        }

        Ok(swept)
    }

    /// Deletes staged uploads that no entry names, and what crashed processes left:
    /// probe objects and files of unfinished writes.
    async fn delete_leftovers(
        &self,
        rules: GcRules,
        now: DateTime<Utc>,
        swept: &mut CollectedBlobs,
    ) -> Result<()> {
        // A younger object may be a write in progress.
        let is_old = |meta: &Meta| !is_within(meta.modified, rules.grace.max(LEFT_OVER), now);

        for folder in ["staging", "probe"] {
            let key = self.log.key(folder);
            let listed: Vec<_> = self.log.store.list(&key).try_collect().await?;
            for (key, meta) in listed.into_iter().filter(|(_, meta)| is_old(meta)) {
                if !rules.dry_run {
                    self.log.store.delete(&key).await?;
                }
                swept.add(meta.bytes);
            }
        }

        self.log.store.torn(&self.log.key(""), &mut |meta| {
            if is_old(meta) {
                swept.add(meta.bytes);
            }
            is_old(meta) && !rules.dry_run
        })
    }

    /// Commits the tombstone; returns the blobs that may be deleted now.
    async fn announce_deletion<'f>(
        &self,
        marked: &'f [StoredBlob],
        from: &NamespaceState,
        retention: &Retention,
    ) -> Result<Vec<&'f StoredBlob>> {
        let deletable = Mutex::new(Vec::new());
        let decide = |state: &NamespaceState| {
            let kept = retention.kept(state);
            // No entry can name an older generation any more: no tombstone is needed.
            let (old, current): (Vec<&StoredBlob>, Vec<&StoredBlob>) = marked
                .iter()
                .partition(|f| f.blob.generation < state.generation(&f.blob.digest));
            let current: Vec<&StoredBlob> = current
                .into_iter()
                .filter(|f| !kept.contains(&f.blob.digest))
                .collect();
            let blobs: Vec<Blob> = current.iter().map(|f| f.blob).collect();
            *deletable
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
        Ok(deletable
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    /// Reads from the store when versions were retired whose blobs are still there:
    /// the time in an entry is by its writer's clock, which may be wrong.
    async fn retention(
        &self,
        state: &NamespaceState,
        blobs: &[StoredBlob],
        retain: Duration,
        now: DateTime<Utc>,
    ) -> Result<Retention> {
        let there: BTreeSet<Digest> = blobs.iter().map(|f| f.blob.digest).collect();
        let records = state.models.values().flat_map(|m| m.versions.values());
        let left = records
            .filter(|r| !retain.is_zero() && r.blobs.iter().any(|b| there.contains(&b.digest)));
        let entries: BTreeSet<u64> = left.filter_map(|r| r.retired_by).collect();
        let times = futures_util::stream::iter(entries).map(|seq| async move {
            let meta = self.log.store.head(&self.log.entry_key(seq)).await?;
            let meta =
                meta.ok_or_else(|| Error::precondition(format!("entry {seq} is missing")))?;
            Ok::<_, Error>((seq, meta.modified))
        });

        Ok(Retention {
            now,
            retain,
            retired: times.buffered(HEADS_MAX).try_collect().await?,
        })
    }

    async fn blobs(&self) -> Result<Vec<StoredBlob>> {
        let folder = self.log.key("blobs/sha256");
        let listed: Vec<_> = self.log.store.list(&folder).try_collect().await?;
        let found = listed.into_iter().map(|(key, meta)| {
            let name = key.rsplit('/').next().unwrap_or_default();
            let (hex, generation) = name.split_once('.').unwrap_or((name, "0"));
            let digest = Digest::parse(&format!("sha256:{hex}"));
            let parsed = digest.ok().zip(generation.parse().ok());
            let (digest, generation) = parsed.ok_or_else(|| {
                Error::precondition(format!("{key} is not an object of a registry"))
            })?;
            Ok(StoredBlob {
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
    /// Returns the digests of versions in use or recently retired.
    fn kept(&self, state: &NamespaceState) -> BTreeSet<Digest> {
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
        // A store's clock may have a resolution of one second, so a retention of
        // zero is handled separately. An entry without a known time was committed
        // after the collection began.
        let lately = || {
            self.retired
                .get(&entry)
                .is_none_or(|since| is_within(*since, self.retain, self.now))
        };

        !self.retain.is_zero() && lately()
    }
}

/// Whether less than `span` has passed since; always true for a span beyond the calendar.
fn is_within(since: DateTime<Utc>, span: Duration, now: DateTime<Utc>) -> bool {
    let end = TimeDelta::from_std(span)
        .ok()
        .and_then(|span| since.checked_add_signed(span));
    end.is_none_or(|end| end > now)
}
