//! Answers in memory until they are in the store: open segments by the hour of the prediction, and
//! closed ones that wait to be written. Bounded: what does not fit is lost, with its span of time.
//! Owns no store, no clock and no thread.

#[cfg(test)]
mod tests;

use super::counts::RunRows;
use super::name::{HOUR_MS, LossReason, TimeSpan, made_ms, segment_key};
use super::segment::SegmentBuilder;
use crate::observe::drift::observer::answered::Answered;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes at which a segment is closed.
const SEGMENT_BYTES: usize = 8 << 20;
/// Most bytes of answers that are not in the store yet.
pub(super) const WAITING_BYTES_MAX: usize = 64 << 20;
/// Most open segments. A clock that jumps opens one for each hour.
const OPEN_MAX: usize = 4;
/// Most spans of lost answers that wait to be noted.
const LOST_MAX: usize = 1_000;

/// A segment that is closed and not written yet.
#[derive(Clone)]
pub(super) struct ClosedSegment {
    pub key: String,
    pub segment: Arc<SegmentBuilder>,
}

/// A segment that is being filled.
struct OpenSegment {
    segment: SegmentBuilder,
    span: TimeSpan,
    since: Instant,
}

/// Answers that are not in the store yet.
pub(super) struct Spill {
    open: BTreeMap<u64, OpenSegment>,
    closed: VecDeque<ClosedSegment>,
    bytes_max: usize,
    /// Longest time that a segment is open.
    age_max: Duration,
    /// Spans of answers that were lost, by hour and reason, with the number of predictions.
    lost: BTreeMap<(u64, LossReason), (TimeSpan, u64)>,
    /// Rows predicted by this run of the server.
    pub rows: RunRows,
}

impl Spill {
    /// Starts empty.
    pub(super) fn new(age_max: Duration, bytes_max: usize) -> Self {
        Self {
            open: BTreeMap::new(),
            closed: VecDeque::new(),
            bytes_max,
            age_max,
            lost: BTreeMap::new(),
            rows: RunRows::default(),
        }
    }

    /// Adds the answers of a prediction. Returns false if memory is full: then they are lost.
    pub(super) fn add(&mut self, answered: &Answered<'_>, now: Instant) -> bool {
        let ms = made_ms(answered.prediction);
        let rows = answered.answers.iter().flatten().count() as u64;
        self.rows.add(ms / HOUR_MS, answered.subject, rows);
        if self.bytes() >= self.bytes_max {
            self.lose(LossReason::Store, TimeSpan::at(ms), 1);
            return false;
        }

        let open = self
            .open
            .entry(ms / HOUR_MS)
            .or_insert_with(|| OpenSegment {
                segment: SegmentBuilder::default(),
                span: TimeSpan::at(ms),
                since: now,
            });
        open.span.extend(ms);
        open.segment.add(
            answered.subject,
            answered.prediction,
            answered.answers,
            answered.parts,
        )
    }

    /// Notes that answers of a span are lost.
    pub(super) fn lose(&mut self, reason: LossReason, span: TimeSpan, predictions: u64) {
        let key = (span.from_ms / HOUR_MS, reason);
        if self.lost.len() >= LOST_MAX && !self.lost.contains_key(&key) {
            self.lost.pop_first();
        }
        let (known, count) = self.lost.entry(key).or_insert((span, 0));
        known.extend(span.from_ms);
        known.extend(span.to_ms);
        *count += predictions;
    }

    /// Closes the segments that are due; all of them if `is_end`.
    pub(super) fn close(&mut self, now: Instant, is_end: bool) {
        let is_due = |open: &OpenSegment| {
            is_end
                || open.segment.bytes() >= SEGMENT_BYTES
                || now.saturating_duration_since(open.since) >= self.age_max
        };
        let are_many = self.open.len() > OPEN_MAX;
        let due: Vec<u64> = self
            .open
            .iter()
            .filter(|(_, open)| are_many || is_due(open))
            .map(|(hour, _)| *hour)
            .collect();
        for open in due.iter().filter_map(|hour| self.open.remove(hour)) {
            self.closed.push_back(ClosedSegment {
                key: segment_key(open.span),
                segment: Arc::new(open.segment),
            });
        }
    }

    /// Returns the next segment to write. It stays until it is written.
    pub(super) fn next(&self) -> Option<ClosedSegment> {
        self.closed.front().cloned()
    }

    /// Drops a segment that was written.
    pub(super) fn written(&mut self, key: &str) {
        self.closed.retain(|closed| closed.key != key);
    }

    /// Takes the spans of lost answers that are to be noted.
    pub(super) fn take_lost(&mut self) -> Vec<(LossReason, TimeSpan, u64)> {
        let lost = std::mem::take(&mut self.lost).into_iter();
        lost.map(|((_, reason), (span, count))| (reason, span, count))
            .collect()
    }

    /// Returns about how many bytes wait to be written.
    pub(super) fn bytes(&self) -> usize {
        let open = self.open.values().map(|open| open.segment.bytes());
        let closed = self.closed.iter().map(|closed| closed.segment.bytes());
        open.chain(closed).sum()
    }
}
