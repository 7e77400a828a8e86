//! One trainer at a time for a model: the trainer that creates the next number
//! holds the lease for as long as it renews it, by the store's clock. A late holder
//! does no harm: a run has one version, and a version is published only over the
//! champion that it was compared with.

#[cfg(test)]
mod tests;

use chrono::{DateTime, TimeDelta, Utc};
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use futures_util::stream::TryStreamExt;
use ortus::core::error::{Error, Result};
use ortus::storage::layout::Records;
use ortus::storage::store::Created;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The largest object.
const BYTES_MAX: u64 = 4 << 10;
/// Renewals within the duration of a lease.
const RENEWALS: u32 = 4;

/// The content of a lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LeaseContent {
    holder: String,
    /// Distinguishes this process from an earlier one of the same name.
    nonce: String,
    released: bool,
}

/// A lease that is held. Dropping it releases it.
pub(crate) struct Lease {
    lost: Arc<AtomicBool>,
    end: Option<Sender<()>>,
    renewing: Option<JoinHandle<()>>,
}

/// The result of taking a lease.
pub(crate) enum LeaseOutcome {
    Ours(Lease),
    /// Another trainer holds it.
    Others(String),
}

/// A lease in the store.
struct StoredLease {
    number: u64,
    modified: DateTime<Utc>,
}

/// Takes the lease of a folder, if it is free.
pub(crate) async fn take(
    records: &Records,
    folder: &str,
    holder: &str,
    time: Duration,
) -> Result<LeaseOutcome> {
    let clock = format!("{folder}/clock-{holder}");
    records.overwrite(&clock, "now".into()).await?;
    let (last, now) = read_last(records, folder, &clock).await?;
    if let Some(last) = &last {
        let known = read(records, folder, last.number).await?;
        let until = last.modified + TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX);
        match known {
            Some(held) if !held.released && until > now => {
                return Ok(LeaseOutcome::Others(held.holder));
            }
            _ => {}
        }
    }

    let number = last.map_or(1, |last| last.number + 1);
    let own = LeaseContent {
        holder: holder.to_owned(),
        nonce: uuid::Uuid::new_v4().to_string(),
        released: false,
    };

    if records.create(&name(folder, number), text(&own)).await? == Created::Exists {
        // It may be ours, if the response of an earlier attempt was lost.
        match read(records, folder, number).await? {
            Some(held) if held == own => {}
            held => {
                return Ok(LeaseOutcome::Others(
                    held.map_or_else(|| "another".to_owned(), |held| held.holder),
                ));
            }
        }
    }

    // Numbers below the last are removed; one that is created late is not the last.
    if read_last(records, folder, &clock)
        .await?
        .0
        .is_none_or(|last| last.number != number)
    {
        return Ok(LeaseOutcome::Others("another".to_owned()));
    }

    if let Some(old) = number.checked_sub(2) {
        records.delete(&name(folder, old)).await?;
    }
    Ok(LeaseOutcome::Ours(Lease::start(
        records.clone(),
        (folder.to_owned(), number),
        own,
        time,
    )))
}

/// Returns the holder of the lease of a folder.
pub(crate) async fn holder(
    records: &Records,
    folder: &str,
    time: Duration,
) -> Result<Option<String>> {
    let Some(last) = read_last(records, folder, "").await?.0 else {
        return Ok(None);
    };
    // By this machine's clock, to show it to a person; taking a lease uses the store's clock.
    if last.modified + TimeDelta::from_std(time * 2).unwrap_or(TimeDelta::MAX) < Utc::now() {
        return Ok(None);
    }
    Ok(read(records, folder, last.number)
        .await?
        .filter(|held| !held.released)
        .map(|held| held.holder))
}

fn name(folder: &str, number: u64) -> String {
    format!("{folder}/{number:020}.json")
}

fn text(held: &LeaseContent) -> bytes::Bytes {
    serde_json::to_vec(held).expect("plain data is JSON").into()
}

async fn read(records: &Records, folder: &str, number: u64) -> Result<Option<LeaseContent>> {
    let bytes = records.get(&name(folder, number), BYTES_MAX).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Returns the last lease, and the store's time.
async fn read_last(
    records: &Records,
    folder: &str,
    clock: &str,
) -> Result<(Option<StoredLease>, DateTime<Utc>)> {
    let listed: Vec<_> = records.list(folder).try_collect().await?;
    let now = listed
        .iter()
        .find(|(key, _)| key == clock)
        .map(|(_, meta)| meta.modified)
        .unwrap_or_default();
    let number = |key: &str| key.rsplit('/').next()?.strip_suffix(".json")?.parse().ok();

    let all = listed.iter().filter_map(|(key, meta)| {
        Some(StoredLease {
            number: number(key)?,
            modified: meta.modified,
        })
    });

    Ok((all.max_by_key(|found| found.number), now))
}

impl Lease {
    /// Renews the lease on its own thread, because its holder is busy.
    fn start(records: Records, place: (String, u64), held: LeaseContent, time: Duration) -> Self {
        let lost = Arc::new(AtomicBool::new(false));
        let (end, ended) = bounded::<()>(0);
        let is_lost = lost.clone();
        let renewing = std::thread::spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            else {
                return;
            };
            let (folder, number) = place;
            // Connections of the training thread are not polled during a fit.
            let records = records.reopen().unwrap_or(records);
            let tell = |held: &LeaseContent| {
                runtime.block_on(records.overwrite(&name(&folder, number), text(held)))
            };
            let next = || runtime.block_on(read(&records, &folder, number + 1));
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(time / RENEWALS) {
                // The lease expires while the store is unavailable; that is noticed afterwards.
                match next() {
                    Ok(None) => drop(tell(&held)),
                    Ok(Some(_)) => is_lost.store(true, Ordering::Relaxed),
                    Err(_) => {}
                }
                if is_lost.load(Ordering::Relaxed) {
                    return;
                }
            }
            // Released, so that another trainer need not wait for its expiry.
            let _ = tell(&LeaseContent {
                released: true,
                ..held
            });
        });

        Self {
            lost,
            end: Some(end),
            renewing: Some(renewing),
        }
    }

    /// Fails if another trainer took the lease over.
    pub(crate) fn check(&self) -> Result<()> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(Error::unavailable("another trainer took over the lease"));
        }
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(renewing) = self.renewing.take() {
            let _ = renewing.join();
        }
    }
}
