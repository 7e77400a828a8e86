//! Finds predictions by id among the answer segments of all servers. An id holds the time of the
//! prediction, and the names of segments hold their spans of time.

use super::name::{AnswerObject, HOUR_MS, LossReason, TimeSpan, folder, made_ms};
use super::segment::AnswerSegment;
use crate::core::error::{Error, Kind, Result};
use crate::observe::capture::find::FoundPrediction;
use crate::storage::layout::Records;
use futures_util::stream::TryStreamExt;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Most segments that one search opens; the rest is searched by the next one.
const OPENED_MAX: usize = 64;
/// Most bytes of segments that are kept in memory.
const CACHE_BYTES_MAX: usize = 64 << 20;
/// Most bytes of a segment that is read.
const SEGMENT_BYTES_MAX: u64 = 1 << 30;
/// Interval between two listings of an hour that is over.
const RELIST: Duration = Duration::from_secs(600);

/// What a search found.
#[derive(Default)]
pub(crate) struct FoundAnswers {
    pub found: HashMap<Uuid, FoundPrediction>,
    /// Predictions whose answers were not kept.
    pub lost: HashMap<Uuid, LossReason>,
    /// Whether segments are left to search at once.
    pub has_more: bool,
}

/// What is kept of an hour.
struct HourListing {
    segments: Vec<(TimeSpan, String)>,
    lost: Vec<(TimeSpan, LossReason)>,
    listed: Instant,
}

/// Searches segments, and remembers which ids a segment does not hold.
#[derive(Default)]
pub(crate) struct AnswerFinder {
    hours: BTreeMap<u64, HourListing>,
    missed: HashMap<String, HashSet<Uuid>>,
    recent: VecDeque<(String, Arc<AnswerSegment>)>,
    recent_bytes: usize,
}

/// The current time: by the monotonic clock, and in hours since 1970.
#[derive(Clone, Copy)]
pub(crate) struct FinderTime {
    pub now: Instant,
    pub hour: u64,
}

impl AnswerFinder {
    /// Finds predictions; those that no segment holds are left out. A damaged segment is logged and
    /// skipped. If the store fails, what was found so far counts.
    pub(crate) async fn find(
        &mut self,
        records: &Records,
        wanted: &BTreeSet<Uuid>,
        time: FinderTime,
    ) -> Result<FoundAnswers> {
        let hours: BTreeSet<u64> = wanted.iter().map(|id| made_ms(*id) / HOUR_MS).collect();
        self.forget(wanted, &hours);

        let (mut answers, mut opened) = (FoundAnswers::default(), 0);
        for hour in hours {
            self.list(records, hour, time).await?;
            let listing = &self.hours[&hour];
            for id in wanted.range(ids_of(hour_span(hour))) {
                let lost = listing.lost.iter().find(|(span, _)| span.has(made_ms(*id)));
                answers.lost.extend(lost.map(|(_, reason)| (*id, *reason)));
            }
            for (span, key) in listing.segments.clone() {
                let new = self.unsearched(&key, wanted, span);
                if new.is_empty() {
                    continue;
                }
                if opened >= OPENED_MAX {
                    answers.has_more = true;
                    return Ok(answers);
                }
                opened += usize::from(!self.is_recent(&key));
                match self.open(records, &key).await {
                    Ok(Some(segment)) => self.search(&key, &segment, new, &mut answers),
                    Ok(None) => {}
                    // The store may answer again the next time.
                    Err(error) if error.kind == Kind::Unavailable => return Ok(answers),
                    Err(error) => {
                        tracing::error!(file = key, %error, "an answer segment cannot be read and is skipped");
                        self.missed.entry(key).or_default().extend(new);
                    }
                }
            }
        }

        Ok(answers)
    }

    /// Forgets ids and hours that are no longer searched for.
    fn forget(&mut self, wanted: &BTreeSet<Uuid>, hours: &BTreeSet<u64>) {
        self.hours.retain(|hour, _| hours.contains(hour));
        self.missed.retain(|_, missed| {
            missed.retain(|id| wanted.contains(id));
            !missed.is_empty()
        });
    }

    /// Lists an hour, unless it is over and was listed not long ago.
    async fn list(&mut self, records: &Records, hour: u64, time: FinderTime) -> Result<()> {
        let is_over = hour + 1 < time.hour;
        let is_known = self.hours.get(&hour).is_some_and(|listing| {
            is_over && time.now.saturating_duration_since(listing.listed) < RELIST
        });
        if is_known {
            return Ok(());
        }

        let below = folder(hour.saturating_mul(HOUR_MS));
        let listed: Vec<_> = records.list(&below).try_collect().await?;
        let mut listing = HourListing {
            segments: Vec::new(),
            lost: Vec::new(),
            listed: time.now,
        };
        for (key, _) in listed {
            match AnswerObject::of(&key) {
                Some(AnswerObject::Segment(span)) => listing.segments.push((span, key)),
                Some(AnswerObject::Lost(span, reason)) => listing.lost.push((span, reason)),
                Some(AnswerObject::Rows(_)) | None => {}
            }
        }
        listing.segments.sort();
        self.hours.insert(hour, listing);
        Ok(())
    }

    /// Returns the ids that a segment may hold and was not searched for.
    fn unsearched(&self, key: &str, wanted: &BTreeSet<Uuid>, span: TimeSpan) -> Vec<Uuid> {
        let missed = self.missed.get(key);
        let is_new = |id: &&Uuid| missed.is_none_or(|missed| !missed.contains(*id));
        wanted.range(ids_of(span)).filter(is_new).copied().collect()
    }

    fn search(
        &mut self,
        key: &str,
        segment: &AnswerSegment,
        ids: Vec<Uuid>,
        answers: &mut FoundAnswers,
    ) {
        for id in ids {
            match segment.find(id) {
                Ok(Some(found)) => drop(answers.found.insert(id, found)),
                Ok(None) => drop(self.missed.entry(key.to_owned()).or_default().insert(id)),
                Err(error) => {
                    tracing::error!(file = key, %id, %error, "a kept prediction cannot be read");
                    self.missed.entry(key.to_owned()).or_default().insert(id);
                }
            }
        }
    }

    fn is_recent(&self, key: &str) -> bool {
        self.recent.iter().any(|(known, _)| known == key)
    }

    /// Opens a segment; none if it was deleted.
    async fn open(&mut self, records: &Records, key: &str) -> Result<Option<Arc<AnswerSegment>>> {
        if let Some((_, segment)) = self.recent.iter().find(|(known, _)| known == key) {
            return Ok(Some(Arc::clone(segment)));
        }
        let Some(bytes) = records.get(key, SEGMENT_BYTES_MAX).await? else {
            return Ok(None);
        };
        let read = tokio::task::spawn_blocking(move || AnswerSegment::read(&bytes)).await;
        let read = read.map_err(|e| Error::internal("read an answer segment").with_source(e))?;
        let segment = Arc::new(read?);

        self.recent_bytes += segment.bytes();
        self.recent
            .push_back((key.to_owned(), Arc::clone(&segment)));
        while self.recent_bytes > CACHE_BYTES_MAX
            && let Some((_, oldest)) = self.recent.pop_front()
        {
            self.recent_bytes -= oldest.bytes();
        }
        Ok(Some(segment))
    }
}

/// The span of an hour since 1970.
fn hour_span(hour: u64) -> TimeSpan {
    let from_ms = hour.saturating_mul(HOUR_MS);
    TimeSpan {
        from_ms,
        to_ms: from_ms + (HOUR_MS - 1),
    }
}

/// The range of the ids that are minted in a span.
fn ids_of(span: TimeSpan) -> std::ops::RangeInclusive<Uuid> {
    let first = Uuid::from_u64_pair(span.from_ms << 16, 0);
    let last = Uuid::from_u64_pair(span.to_ms << 16 | 0xffff, u64::MAX);
    first..=last
}
