//! Retention of capture files: deletes files that are too old, then the oldest beyond the size
//! limit. Any server of a fleet may sweep; the result is the same.

use super::file::{FOLDER, part};
use super::settings::CaptureSettings;
use crate::core::error::Result;
use crate::storage::layout::Records;
use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use futures_util::stream::TryStreamExt;

/// The result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SweptCaptures {
    pub removed: usize,
    pub kept: usize,
    pub kept_bytes: u64,
}

/// Deletes files that are too old, then the oldest until the rest is within the size limit.
pub(crate) async fn sweep(
    records: &Records,
    settings: &CaptureSettings,
    now: DateTime<Utc>,
) -> Result<SweptCaptures> {
    let mut files: Vec<(String, u64)> = records
        .list(FOLDER)
        .map_ok(|(key, meta)| (key, meta.bytes))
        .try_filter(|(key, _)| std::future::ready(hour(key).is_some()))
        .try_collect()
        .await?;
    // The newest first; within an hour, names are in the order of time.
    files.sort_by(|a, b| (hour(&b.0), &b.0).cmp(&(hour(&a.0), &a.0)));

    let oldest = now
        - TimeDelta::from_std(settings.retention).unwrap_or(TimeDelta::MAX)
        - TimeDelta::hours(1);
    let mut swept = SweptCaptures::default();
    for (key, bytes) in files {
        let is_old = hour(&key).is_some_and(|hour| hour < oldest);
        if is_old || swept.kept_bytes + bytes > settings.store_bytes_max as u64 {
            records.delete(&key).await?;
            swept.removed += 1;
        } else {
            swept.kept += 1;
            swept.kept_bytes += bytes;
        }
    }

    Ok(swept)
}

/// Reads the hour from a file's name.
pub(crate) fn hour(key: &str) -> Option<DateTime<Utc>> {
    let text = part(key, "hour")?;
    NaiveDateTime::parse_from_str(&format!("{text}:00"), "%Y-%m-%dT%H:%M")
        .ok()
        .map(|t| t.and_utc())
}
