//! Reads how many rows the runs of all servers predicted, and remembers which objects it read.

use super::counts::read;
use super::name::{AnswerObject, FOLDER, HOUR_MS, folder, hour_of};
use crate::core::error::{Error, Result};
use crate::observe::labels::line::VersionKey;
use crate::storage::layout::Records;
use crate::storage::store::Meta;
use chrono::{DateTime, Utc};
use futures_util::stream::{StreamExt, TryStreamExt};
use std::collections::HashMap;
use uuid::Uuid;

/// Objects that are read at the same time.
const READS: usize = 8;
/// Most bytes of an object that is read.
const BYTES_MAX: u64 = 16 << 20;

/// Rows that a run predicted in an hour.
pub(crate) struct HourTally {
    pub hour: u64,
    pub run: Uuid,
    pub rows: Vec<(VersionKey, u64)>,
}

/// Reads predicted rows.
pub(crate) struct TallyReader {
    /// This run counts its own rows.
    run: Uuid,
    known: HashMap<String, Meta>,
    has_all: bool,
}

impl TallyReader {
    /// Starts with nothing read.
    pub(super) fn new(run: Uuid) -> Self {
        Self {
            run,
            known: HashMap::new(),
            has_all: false,
        }
    }

    /// Reads what is new: the first time of all hours since one, later of the last two. Damaged
    /// objects are logged and skipped.
    pub(crate) async fn read(
        &mut self,
        records: &Records,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<HourTally>> {
        let now_ms = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        let recent = || vec![folder(now_ms.saturating_sub(HOUR_MS)), folder(now_ms)];
        let folders = if self.has_all {
            recent()
        } else {
            vec![FOLDER.to_owned()]
        };

        let mut new = Vec::new();
        for below in folders {
            let listed: Vec<(String, Meta)> = records.list(&below).try_collect().await?;
            new.extend(listed.into_iter().filter_map(|(key, meta)| {
                let run = match AnswerObject::of(&key)? {
                    AnswerObject::Rows(run) if run != self.run => run,
                    _ => return None,
                };
                let hour = hour_of(&key)?;
                let is_new = hour >= since && self.known.get(&key) != Some(&meta);
                is_new.then_some((key, meta, run, hour))
            }));
        }

        let reads = new.into_iter().map(|(key, meta, run, hour)| async move {
            let bytes = records.get(&key, BYTES_MAX).await?;
            Ok::<_, Error>((key, meta, run, hour, bytes))
        });
        let reads: Vec<_> = futures_util::stream::iter(reads)
            .buffer_unordered(READS)
            .try_collect()
            .await?;
        let mut tallies = Vec::new();
        for (key, meta, run, hour, bytes) in reads {
            let rows = bytes.as_deref().map_or_else(|| Ok(Vec::new()), read);
            let hour = u64::try_from(hour.timestamp() / 3600).unwrap_or(0);
            match rows {
                Ok(rows) => tallies.push(HourTally { hour, run, rows }),
                Err(error) => {
                    tracing::error!(file = key, %error, "predicted rows cannot be read and are not in the maturity")
                }
            }
            self.known.insert(key, meta);
        }
        self.has_all = true;
        Ok(tallies)
    }
}
