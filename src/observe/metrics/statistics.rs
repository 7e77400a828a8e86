//! Statistics of one version in the form of Triton's statistics call. A finished batch adds to them
//! without taking a lock.

#[cfg(test)]
mod tests;

use crate::core::request::Timing;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// A count, and the sum of durations in nanoseconds.
#[derive(Default)]
pub(crate) struct DurationTally {
    count: AtomicU64,
    ns: AtomicU64,
}

impl DurationTally {
    pub(super) fn add(&self, took: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.ns.fetch_add(ns(took), Ordering::Relaxed);
    }

    /// Reads (count, nanoseconds).
    pub(crate) fn read(&self) -> (u64, u64) {
        (
            self.count.load(Ordering::Relaxed),
            self.ns.load(Ordering::Relaxed),
        )
    }
}

/// Cumulative statistics of one version since it was loaded.
#[derive(Default)]
pub(crate) struct Statistics {
    /// Predictions answered.
    pub success: DurationTally,
    /// Predictions refused or failed.
    pub fail: DurationTally,
    /// Predictions answered, and the times of their phases: in the queue, and in their batches that of
    /// gathering, running and cutting. A batch of two requests counts for both.
    answered: AtomicU64,
    phases_ns: [AtomicU64; 4],
    runs: AtomicU64,
    rows: AtomicU64,
    last_ms: AtomicU64,
    batches: Batches,
}

impl Statistics {
    pub(super) fn record_answer(&self, timing: &Timing) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        let phases = [timing.queue, timing.gather, timing.run, timing.scatter];
        for (sum, took) in self.phases_ns.iter().zip(phases) {
            sum.fetch_add(ns(took), Ordering::Relaxed);
        }
    }

    pub(super) fn record_run(&self, rows: u64, phases: [Duration; 3]) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows, Ordering::Relaxed);
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        self.last_ms.store(
            u64::try_from(now.as_millis()).unwrap_or(0),
            Ordering::Relaxed,
        );

        self.batches.add(rows, phases);
    }

    /// Returns the batches that ran.
    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::Relaxed)
    }

    /// Returns how many predictions were answered, and the nanoseconds of their phases: in the queue, gathering,
    /// running and cutting.
    pub(crate) fn answered(&self) -> (u64, [u64; 4]) {
        let ns = self.phases_ns.each_ref();
        (
            self.answered.load(Ordering::Relaxed),
            ns.map(|sum| sum.load(Ordering::Relaxed)),
        )
    }

    /// Returns the rows that were run.
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Returns when the last batch ran, in milliseconds since 1970; 0 for never.
    pub(crate) fn last_ms(&self) -> u64 {
        self.last_ms.load(Ordering::Relaxed)
    }

    /// Returns, for each batch size, the count and the nanoseconds of gathering, running and cutting.
    pub(crate) fn batches(&self) -> BTreeMap<u64, [u64; 4]> {
        self.batches.read()
    }
}

/// Lists that batch sizes are distributed over.
const LISTS: usize = 64;

/// The batches of one size, and the next size of the same list.
struct SizeCount {
    rows: u64,
    count: AtomicU64,
    phases_ns: [AtomicU64; 3],
    next: Link,
}

type Link = OnceLock<Box<SizeCount>>;

impl SizeCount {
    fn new(rows: u64) -> Self {
        Self {
            rows,
            count: AtomicU64::new(0),
            phases_ns: Default::default(),
            next: Link::new(),
        }
    }
}

/// Batches by size. A size is added once and stays, so that counting a batch of a known size takes
/// four atomic additions.
struct Batches {
    lists: [Link; LISTS],
}

impl Default for Batches {
    fn default() -> Self {
        Self {
            lists: [const { Link::new() }; LISTS],
        }
    }
}

impl Batches {
    fn add(&self, rows: u64, phases: [Duration; 3]) {
        let size = self.size(rows);
        size.count.fetch_add(1, Ordering::Relaxed);
        for (sum, took) in size.phases_ns.iter().zip(phases) {
            sum.fetch_add(ns(took), Ordering::Relaxed);
        }
    }

    fn size(&self, rows: u64) -> &SizeCount {
        let mut link = &self.lists[rows as usize % LISTS];
        loop {
            let size = link.get_or_init(|| Box::new(SizeCount::new(rows)));
            if size.rows == rows {
                return size;
            }
            link = &size.next;
        }
    }

    fn read(&self) -> BTreeMap<u64, [u64; 4]> {
        let firsts = self.lists.iter().filter_map(|link| link.get());
        firsts
            .flat_map(|first| std::iter::successors(Some(first), |size| size.next.get()))
            .map(|size| {
                let [gather, run, scatter] = &size.phases_ns;
                let sums = [&size.count, gather, run, scatter];
                (size.rows, sums.map(|sum| sum.load(Ordering::Relaxed)))
            })
            .collect()
    }
}

fn ns(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}
