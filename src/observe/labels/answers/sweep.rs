//! Retention of answers: deletes what is too old, then the oldest segments beyond the size limit. Any
//! server of a fleet may sweep; the result is the same.

use super::name::{AnswerObject, FOLDER, hour_of};
use crate::core::error::Result;
use crate::storage::layout::Records;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream::TryStreamExt;
use std::time::Duration;

/// Limits of the answers that are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnswerLimits {
    pub bytes_max: u64,
    pub age_max: Duration,
}

/// The result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SweptAnswers {
    pub removed: usize,
    pub kept: usize,
    pub kept_bytes: u64,
    /// When the oldest kept prediction was made, in milliseconds since 1970.
    pub since_ms: Option<u64>,
}

/// Deletes what is too old, then the oldest segments until the rest is within the size limit.
pub(crate) async fn sweep(
    records: &Records,
    limits: AnswerLimits,
    now: DateTime<Utc>,
) -> Result<SweptAnswers> {
    let listed: Vec<_> = records.list(FOLDER).try_collect().await?;
    let found = listed
        .into_iter()
        .filter_map(|(key, meta)| Some((hour_of(&key)?, AnswerObject::of(&key)?, key, meta.bytes)));
    let mut files: Vec<_> = found.collect();
    // The newest first; of an hour, the segments last.
    let order = |object: &AnswerObject| match object {
        AnswerObject::Segment(span) | AnswerObject::Lost(span, _) => span.from_ms,
        AnswerObject::Rows(_) => u64::MAX,
    };
    files.sort_by(|a, b| (b.0, order(&b.1), &b.2).cmp(&(a.0, order(&a.1), &a.2)));

    let age_max = TimeDelta::from_std(limits.age_max).unwrap_or(TimeDelta::MAX);
    let oldest = now.checked_sub_signed(age_max + TimeDelta::hours(1));
    let mut swept = SweptAnswers::default();
    for (hour, object, key, bytes) in files {
        let is_old = oldest.is_some_and(|oldest| hour < oldest);
        let segment = match object {
            AnswerObject::Segment(span) => Some(span),
            AnswerObject::Lost(..) | AnswerObject::Rows(_) => None,
        };
        let is_over = segment.is_some() && swept.kept_bytes + bytes > limits.bytes_max;
        if is_old || is_over {
            records.delete(&key).await?;
            swept.removed += 1;
            continue;
        }
        swept.kept_bytes += bytes;
        swept.kept += usize::from(segment.is_some());
        let from = segment.map(|span| span.from_ms);
        swept.since_ms = swept.since_ms.into_iter().chain(from).min();
    }

    Ok(swept)
}
