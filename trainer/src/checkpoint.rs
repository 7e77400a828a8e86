//! Checkpoints of finished steps in the registry's store, so that a run that was
//! killed resumes. A step is kept under the run key, which covers everything that
//! the step depends on; the first result that is kept counts for all trainers.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::TryStreamExt;
use ortus::core::error::{Error, Result};
use ortus::core::hash::Digest;
use ortus::core::model::ModelName;
use ortus::storage::layout::Records;

/// The largest checkpoint; a larger one is not stored.
const BYTES_MAX: usize = 1 << 30;
/// Checkpoints of an unfinished run are removed after this many days.
const KEPT_DAYS: i64 = 7;
/// The bytes of the leading digest.
const DIGEST: usize = 32;

/// The checkpoints of a run.
pub(crate) struct Checkpoints {
    records: Records,
    folder: String,
}

fn all(model: &ModelName) -> String {
    format!("train/{model}/steps")
}

impl Checkpoints {
    pub(crate) fn of(records: Records, model: &ModelName, run: &Digest) -> Self {
        let run = run.to_string().replace("sha256:", "");
        Self {
            records,
            folder: format!("{}/{run}", all(model)),
        }
    }

    /// Returns the checkpoint of a step; none if it is absent or damaged.
    pub(crate) async fn done(&self, step: &str) -> Result<Option<Bytes>> {
        let bytes = self
            .records
            .get(
                &format!("{}/{step}", self.folder),
                (BYTES_MAX + DIGEST) as u64,
            )
            .await?;
        Ok(bytes
            .filter(|b| b.len() >= DIGEST && Digest::of(&b[DIGEST..]).0[..] == b[..DIGEST])
            .map(|b| b.slice(DIGEST..)))
    }

    /// Stores the checkpoint of a step, and returns the stored one: that of another
    /// trainer, if it was first.
    pub(crate) async fn keep(&self, step: &str, bytes: Bytes) -> Result<Bytes> {
        if bytes.len() > BYTES_MAX {
            return Ok(bytes);
        }
        let whole = [&Digest::of(&bytes).0[..], &bytes].concat();
        let key = format!("{}/{step}", self.folder);
        if self.records.create(&key, whole.clone().into()).await?
            == ortus::storage::store::Created::Yes
        {
            return Ok(bytes);
        }

        if let Some(known) = self.done(step).await? {
            return Ok(known);
        }
        // The stored one is damaged.
        self.records.overwrite(&key, whole.into()).await?;
        Ok(bytes)
    }

    /// Removes the checkpoints of this run, which has ended.
    pub(crate) async fn clear(&self) -> Result<()> {
        sweep(&self.records, &self.folder, None).await
    }
}

/// Removes old checkpoints of unfinished runs of a model.
pub(crate) async fn clear_old(
    records: &Records,
    model: &ModelName,
    now: DateTime<Utc>,
) -> Result<()> {
    sweep(records, &all(model), Some(now - TimeDelta::days(KEPT_DAYS))).await
}

async fn sweep(records: &Records, folder: &str, before: Option<DateTime<Utc>>) -> Result<()> {
    let listed: Vec<_> = records.list(folder).try_collect().await?;
    for (key, _) in listed
        .into_iter()
        .filter(|(_, meta)| before.is_none_or(|before| meta.modified < before))
    {
        records
            .delete(&key)
            .await
            .map_err(|e: Error| e.context("remove a checkpoint"))?;
    }

    Ok(())
}
