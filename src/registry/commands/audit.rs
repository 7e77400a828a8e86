//! Verifies a whole registry, and names the first object that differs from the log.

use super::Operator;
use crate::core::error::{Error, Result};
use crate::registry::entry::Blob;
use crate::registry::fold::NamespaceState;
use crate::registry::log::Checkpoint;
use futures_util::stream::TryStreamExt;
use serde::Serialize;
use std::collections::BTreeSet;

/// Result of a verification.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Verified {
    pub entries: u64,
    pub blobs: usize,
    pub bytes: u64,
    pub checkpoints: usize,
    /// Void entries: their conditions did not hold, so they changed nothing.
    pub void: Vec<String>,
}

impl Operator {
    /// Folds every entry from the first, reads every blob that a version in use
    /// names, and compares every checkpoint. Fails with the first object that
    /// does not match.
    pub(crate) async fn verify(&self, progress: &(dyn Fn(u64) + Sync)) -> Result<Verified> {
        let checkpoints = self.numbers("checkpoint").await?;
        let logged = self.numbers("log").await?;
        let mut state = NamespaceState::default();
        let mut verified = Verified::default();
        while let Some(read) = self.log.entry(state.seq + 1).await? {
            let seq = read.entry.seq;
            state
                .apply(read)
                .map_err(|e| e.context(self.log.entry_key(seq)))?;
            if checkpoints.contains(&seq) {
                self.check_checkpoint(&state).await?;
                verified.checkpoints += 1;
            }
        }

        if let Some(beyond) = logged.range(state.seq + 1..).next() {
            let gap = self.log.entry_key(state.seq + 1);
            return Err(Error::precondition(format!(
                "{gap} is missing, but entry {beyond} exists"
            )));
        }

        verified.entries = state.seq;
        verified.void = state
            .void
            .iter()
            .map(|(seq, why)| format!("entry {seq}: {why}"))
            .collect();
        let records = state.models.values().flat_map(|m| m.versions.values());

        let mut blobs: BTreeSet<Blob> = BTreeSet::new();
        for record in records.filter(|r| r.retired.is_none()) {
            blobs.extend(record.blobs.iter().copied());
            let manifest = self.manifest(record).await?;
            let lost = manifest
                .files
                .iter()
                .find(|f| !record.blobs.iter().any(|b| b.digest == f.digest));
            if let Some(file) = lost {
                return Err(Error::precondition(format!(
                    "manifest {} lists {}, but the version's log entry does not",
                    record.manifest, file.path
                )));
            }
        }

        for blob in &blobs {
            self.log
                .copy_blob(blob, &mut std::io::sink(), progress)
                .await?;
            verified.blobs += 1;
            verified.bytes += blob.bytes;
        }

        Ok(verified)
    }

    /// Lists the numbers of the objects in a folder.
    async fn numbers(&self, folder: &str) -> Result<BTreeSet<u64>> {
        let key = self.log.key(folder);
        let listed: Vec<_> = self.log.store.list(&key).try_collect().await?;
        let number = |key: &str| {
            let name = key.rsplit('/').next()?.strip_suffix(".json")?;
            (name.len() == 20).then(|| name.parse().ok()).flatten()
        };

        let mut numbers = BTreeSet::new();
        for (key, _) in listed {
            match number(&key) {
                Some(n) => numbers.insert(n),
                None => {
                    return Err(Error::precondition(format!(
                        "{key} is not an object of a registry"
                    )));
                }
            };
        }

        Ok(numbers)
    }

    async fn check_checkpoint(&self, state: &NamespaceState) -> Result<()> {
        let key = self.log.key(&format!("checkpoint/{:020}.json", state.seq));
        let bytes = self.log.store.get(&key, u64::MAX).await?;
        let bytes = bytes.ok_or_else(|| Error::precondition(format!("{key} is missing")))?;
        match Checkpoint::read(&bytes, &key) {
            Ok(kept) if kept == *state => Ok(()),
            Ok(_) => Err(Error::precondition(format!(
                "{key} does not match the state computed from the log"
            ))),
            Err(error) => Err(error),
        }
    }
}
