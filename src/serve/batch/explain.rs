//! What a batcher can say about its decisions: the last batches with the reason for their size, and the
//! requests that it did not serve. Pure but for counters.

use super::class_costs::ClassCosts;
use super::cost::BatchCost;
use super::queue::{AxisSizes, Class, Queue};
use crate::observe::report::scheduler::{
    BatchTaken, ClassDurations, PaddingNow, QueueNow, RefusedCount, ShapesNow, SizeDuration,
};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a batcher says about itself.
pub(crate) struct Explained {
    /// Whether I/O threads make the runs themselves.
    pub in_place: bool,
    /// Padding, if it is declared.
    pub padding: Option<PaddingNow>,
    /// The rows that lanes keep, where a change takes long.
    pub shapes: Option<ShapesNow>,
    pub queue: QueueNow,
    pub classes: Vec<ClassDurations>,
    pub batches: Vec<BatchTaken>,
    pub refused: Vec<RefusedCount>,
}

/// Batches that are remembered.
const BATCHES_KEPT: usize = 16;

/// Why a batch had no more rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SizeReason {
    /// Requests are not merged.
    RunsAlone,
    /// Nothing else waited.
    AllThatWaited,
    /// Nothing else of this shape waited.
    AllOfItsShape,
    /// The next request did not fit into `batch_rows_max`.
    RowLimit,
    /// The next request did not fit into the `tokens_max` of padding.
    TokenLimit,
    /// The lane keeps the rows of its runs, because a change takes long.
    KeptShape,
    /// More rows would not have made a row cheaper.
    NoGain,
    /// A larger batch would have missed a deadline.
    Deadline,
}

impl SizeReason {
    fn text(self) -> &'static str {
        match self {
            Self::RunsAlone => "requests run alone",
            Self::AllThatWaited => "no more waited",
            Self::AllOfItsShape => "no more of this shape waited",
            Self::RowLimit => "batch_rows_max",
            Self::TokenLimit => "tokens_max",
            Self::KeptShape => "the lane keeps the rows of its runs",
            Self::NoGain => "more rows would not be cheaper",
            Self::Deadline => "a deadline was near",
        }
    }
}

/// A batch that a lane took.
#[derive(Clone, Debug)]
pub(super) struct BatchNote {
    pub at: Instant,
    pub requests: usize,
    pub rows: usize,
    pub left_rows: usize,
    pub waited: Duration,
    pub reason: SizeReason,
    /// The sizes of the other axes; none if it is merged with no other.
    pub axes: AxisSizes,
}

/// The last batches.
#[derive(Debug, Default)]
pub(super) struct BatchLog(VecDeque<BatchNote>);

impl BatchLog {
    pub(super) fn note(&mut self, batch: BatchNote) {
        if self.0.len() >= BATCHES_KEPT {
            self.0.pop_back();
        }
        self.0.push_front(batch);
    }

    pub(super) fn taken(&self, now: Instant) -> Vec<BatchTaken> {
        let taken = self.0.iter().map(|batch| BatchTaken {
            age_seconds: now.saturating_duration_since(batch.at).as_secs_f64(),
            requests: batch.requests,
            rows: batch.rows,
            left_rows: batch.left_rows,
            waited_seconds: batch.waited.as_secs_f64(),
            why: batch.reason.text().to_owned(),
            axes: batch.axes.to_vec(),
        });
        taken.collect()
    }
}

/// Why a request was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnservedReason {
    /// The queue was full, or longer than the request may wait.
    NoRoom,
    /// Its deadline could not be met when it arrived.
    LateAtArrival,
    /// Its deadline passed, or could no longer be met, in the queue.
    LateInQueue,
    /// It waited for `queue_timeout`.
    QueueTimeout,
    /// Its deadline passed while it ran.
    LateInRun,
}

impl UnservedReason {
    const ALL: [Self; 5] = [
        Self::NoRoom,
        Self::LateAtArrival,
        Self::LateInQueue,
        Self::QueueTimeout,
        Self::LateInRun,
    ];

    fn text(self) -> &'static str {
        match self {
            Self::NoRoom => "no room in the queue",
            Self::LateAtArrival => "deadline not possible at arrival",
            Self::LateInQueue => "deadline passed in the queue",
            Self::QueueTimeout => "waited for queue_timeout",
            Self::LateInRun => "deadline passed during the run",
        }
    }
}

/// How many requests were not served, by reason.
#[derive(Debug, Default)]
pub(super) struct UnservedCounts([AtomicU64; UnservedReason::ALL.len()]);

impl UnservedCounts {
    pub(super) fn add(&self, reason: UnservedReason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Those that are not zero.
    pub(super) fn read(&self) -> Vec<RefusedCount> {
        let counts = UnservedReason::ALL.into_iter().map(|reason| RefusedCount {
            reason: reason.text().to_owned(),
            requests: self.0[reason as usize].load(Ordering::Relaxed),
        });
        counts.filter(|count| count.requests > 0).collect()
    }
}

/// The durations of each shape class, those with the most runs first; of what is known at the start, if
/// nothing ran yet.
pub(super) fn durations(costs: &ClassCosts, batch_rows_max: usize) -> Vec<ClassDurations> {
    let mut classes: Vec<_> = costs
        .iter()
        .map(|(class, cost)| {
            let axes = match class {
                Some(Class::Sizes(axes)) => axes.to_vec(),
                Some(Class::Alone(_)) | None => Vec::new(),
            };
            class_durations(axes, cost, batch_rows_max)
        })
        .collect();
    classes.sort_by_key(|class| std::cmp::Reverse(class.runs));
    classes
}

fn class_durations(axes: Vec<usize>, cost: &BatchCost, batch_rows_max: usize) -> ClassDurations {
    let sizes = cost.known().map(|(rows, mean, high)| SizeDuration {
        rows,
        mean_seconds: mean,
        high_seconds: high,
    });
    ClassDurations {
        axes,
        runs: cost.runs(),
        best_rows: cost.usual_rows(batch_rows_max),
        sizes: sizes.collect(),
    }
}

/// About how long so many lanes need for what waits; none if that is not known.
pub(super) fn wait_seconds<T>(
    queue: &Queue<T>,
    costs: &ClassCosts,
    batch_rows_max: usize,
    lanes: usize,
) -> Option<f64> {
    let Some(class) = queue.first_class() else {
        return Some(0.0);
    };
    let wait = costs.wait(class, queue.rows(), batch_rows_max, lanes)?;
    Some(wait.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_batches_come_first_and_older_ones_are_forgotten() {
        let now = Instant::now();
        let mut log = BatchLog::default();
        for rows in 1..=20 {
            log.note(BatchNote {
                at: now,
                requests: 1,
                rows,
                axes: AxisSizes::new(),
                left_rows: 0,
                waited: Duration::from_millis(3),
                reason: SizeReason::NoGain,
            });
        }
        let taken = log.taken(now + Duration::from_secs(2));
        let rows: Vec<_> = taken.iter().map(|batch| batch.rows).collect();
        assert_eq!(rows, (5..=20).rev().collect::<Vec<_>>());
        assert_eq!(
            (taken[0].age_seconds, taken[0].waited_seconds),
            (2.0, 0.003)
        );
        assert_eq!(taken[0].why, "more rows would not be cheaper");
    }

    #[test]
    fn each_reason_is_counted_apart() {
        let counts = UnservedCounts::default();
        assert!(counts.read().is_empty());
        for reason in UnservedReason::ALL {
            counts.add(reason);
        }
        counts.add(UnservedReason::QueueTimeout);
        let read = counts.read();
        let requests: Vec<_> = read.iter().map(|count| count.requests).collect();
        assert_eq!(requests, [1, 1, 1, 2, 1]);
        assert_eq!(read[3].reason, "waited for queue_timeout");
    }
}
