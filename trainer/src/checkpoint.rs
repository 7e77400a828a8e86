//! Checkpoints of finished steps in the registry's store, so that a run that was
//! killed resumes. A step is kept under the run key, which covers everything that
//! the step depends on; the first result that is kept counts for all trainers.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_done_once_and_a_damaged_one_again() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let folder = tempfile::tempdir().expect("a folder");
            let records =
                Records::open(&folder.path().display().to_string(), "default").expect("opens");
            let model = ModelName::parse("m").expect("a name");
            let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
            let steps = Checkpoints::of(records.clone(), &model, &one);
            assert_eq!(steps.done("fit").await.expect("read"), None);
            assert_eq!(
                steps.keep("fit", "first".into()).await.expect("kept"),
                "first"
            );
            assert_eq!(
                steps.keep("fit", "second".into()).await.expect("kept"),
                "first",
                "the first counts"
            );
            assert_eq!(
                Checkpoints::of(records.clone(), &model, &other)
                    .done("fit")
                    .await
                    .expect("read"),
                None
            );
            let key = format!("{}/fit", steps.folder);
            let mut bytes = records
                .get(&key, 1 << 20)
                .await
                .expect("read")
                .expect("there")
                .to_vec();
            bytes[DIGEST] ^= 1;
            records
                .overwrite(&key, bytes.into())
                .await
                .expect("written");
            assert_eq!(steps.done("fit").await.expect("read"), None, "damaged");
            assert_eq!(
                steps.keep("fit", "third".into()).await.expect("kept"),
                "third"
            );
            assert_eq!(steps.done("fit").await.expect("read"), Some("third".into()));
            clear_old(&records, &model, Utc::now())
                .await
                .expect("swept");
            assert!(steps.done("fit").await.expect("read").is_some(), "young");
            clear_old(&records, &model, Utc::now() + TimeDelta::days(8))
                .await
                .expect("swept");
            assert_eq!(steps.done("fit").await.expect("read"), None);
        });
    }
}
