//! Recent predictions, kept in memory so that labels can be joined with them: in pages of encoded
//! answers, because most receive no label while they are here. Bounded: the oldest pages are dropped
//! first.

#[cfg(test)]
mod tests;

use super::answers::segment::SegmentBuilder;
use super::prediction::{FreshPrediction, RecentPrediction};
use std::cell::OnceCell;
use std::collections::VecDeque;
use uuid::Uuid;

/// Predictions of a page, and bytes at which one ends before.
const PAGE_PREDICTIONS: usize = 1_024;
const PAGE_BYTES: usize = 1 << 20;

/// The recent predictions.
pub(super) struct Recent {
    /// The last page is the one that is filled.
    pages: VecDeque<Page>,
    bytes: usize,
    bytes_max: usize,
}

/// Predictions of about the same time.
struct Page {
    segment: SegmentBuilder,
    /// The least and the greatest id.
    ends: (Uuid, Uuid),
    /// The places of the predictions by id, once one is looked up in a full page.
    sorted: OnceCell<Vec<u32>>,
}

impl Recent {
    /// Starts empty; holds about `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            pages: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// Adds a prediction, and drops the oldest beyond the limit.
    pub(super) fn add(&mut self, predicted: FreshPrediction<'_>) {
        if self.pages.back().is_none_or(Page::is_full) {
            self.pages.push_back(Page::new());
        }
        if let Some(page) = self.pages.back_mut() {
            let before = page.segment.memory_bytes();
            page.add(predicted);
            self.bytes += page.segment.memory_bytes() - before;
        }
        while self.bytes > self.bytes_max && self.pages.len() > 1 {
            let oldest = self.pages.pop_front();
            self.bytes -= oldest.map_or(0, |page| page.segment.memory_bytes());
        }
    }

    /// Returns a prediction.
    pub(super) fn get(&self, id: Uuid) -> Option<RecentPrediction> {
        let (page, at) = self.find(id)?;
        page.segment.read(at)
    }

    /// Tells whether a prediction is in memory.
    pub(super) fn has(&self, id: Uuid) -> bool {
        self.find(id).is_some()
    }

    /// Ids begin with their time, so few pages may have one.
    fn find(&self, id: Uuid) -> Option<(&Page, usize)> {
        let may_have = |page: &&Page| page.ends.0 <= id && id <= page.ends.1;
        let pages = self.pages.iter().rev().filter(may_have);
        pages.filter_map(|page| Some((page, page.find(id)?))).next()
    }
}

impl Page {
    fn new() -> Self {
        Self {
            segment: SegmentBuilder::default(),
            ends: (Uuid::max(), Uuid::nil()),
            sorted: OnceCell::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.segment.predictions() >= PAGE_PREDICTIONS || self.segment.bytes() >= PAGE_BYTES
    }

    fn add(&mut self, predicted: FreshPrediction<'_>) {
        let FreshPrediction {
            id,
            subject,
            answers,
            parts,
        } = predicted;
        if self.segment.add(subject, id, answers, parts) {
            self.ends = (self.ends.0.min(id), self.ends.1.max(id));
        }
    }

    fn find(&self, id: Uuid) -> Option<usize> {
        if !self.is_full() {
            return (0..self.segment.predictions()).find(|at| self.segment.id(*at) == id);
        }
        let sorted = self.sorted.get_or_init(|| {
            let mut places: Vec<u32> = (0..self.segment.predictions() as u32).collect();
            places.sort_unstable_by_key(|at| self.segment.id(*at as usize));
            places
        });
        let at = sorted.binary_search_by_key(&id, |at| self.segment.id(*at as usize));
        at.ok().map(|at| sorted[at] as usize)
    }
}
