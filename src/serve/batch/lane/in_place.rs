//! Runs on the I/O thread of the request, for very fast models: how many, and until when.

use super::{Lane, TakenJob, next};
use crate::serve::batch::BatcherShared;
use crate::serve::batch::queue::{Class, QueuedRequest};
use crate::serve::batch::select::LaneStep;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Most batches that an I/O thread runs in a row; a lane runs the rest.
const IN_PLACE_MAX: usize = 4;

/// Duration from which a run in place counts as long, because it delays the other requests of the
/// thread.
const IN_PLACE_LONG: Duration = Duration::from_millis(10);
/// Consecutive long runs in place after which lanes make all runs.
pub(in crate::serve::batch) const SLOW_IN_PLACE_MAX: u32 = 3;

/// Runs queued requests on the caller's thread, in a session that no lane uses. Wakes a lane for
/// the rest.
pub(in crate::serve::batch) fn run_in_place(shared: &BatcherShared) {
    let slots = shared.slots.load_full();
    for (at, slot) in slots.iter().enumerate() {
        let Some(mut held) = slot.lane.try_lock() else {
            continue;
        };
        let Some(lane) = held.as_mut() else {
            continue;
        };

        slot.watch.set_in_place(true);
        let is_empty = lane.run_a_few(shared, at);
        if lane.is_replaced(shared, at, slot) {
            // Freeing a session would delay the other clients of this thread.
            let session = held.take();
            std::thread::spawn(move || drop(session));
        }
        if is_empty {
            return;
        }
        break;
    }
    shared.wake.notify_one();
}

/// Counts consecutive long runs in place. Too many of them end runs in place.
pub(in crate::serve::batch) fn judge(shared: &BatcherShared, took: Duration) {
    let slow = &shared.slow_in_place;
    let before = slow.load(Ordering::Relaxed);
    if took >= IN_PLACE_LONG {
        if slow.fetch_add(1, Ordering::Relaxed) + 1 == SLOW_IN_PLACE_MAX {
            let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            tracing::warn!(
                took_ms,
                "runs take longer than at load; lanes do them from now on"
            );
        }
    } else if (1..SLOW_IN_PLACE_MAX).contains(&before) {
        // If another run changed the count meanwhile, its value stays.
        let _ = slow.compare_exchange(before, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Lane {
    /// Runs queued requests, up to a number of batches. Returns whether the queue is empty.
    fn run_a_few(&mut self, shared: &BatcherShared, at: usize) -> bool {
        for _ in 0..IN_PLACE_MAX {
            let step = next(shared, &mut shared.state.lock(), at);
            match step {
                LaneStep::Run(batch) => {
                    let start = Instant::now();
                    self.run_safely(shared, batch);
                    judge(shared, start.elapsed());
                }
                LaneStep::Empty => return true,
                LaneStep::Wait(_) => return false,
            }
            if self.was_hung || !shared.is_in_place() {
                return false;
            }
        }

        false
    }
}

/// Puts the requests of a terminated run back into the queue, for the threads of the lanes, where they
/// may run as long as their clients wait. From now on lanes make all runs.
pub(super) fn leave_to_lanes(shared: &BatcherShared, class: &Class, jobs: Vec<TakenJob>) {
    shared.end_in_place();
    let mut state = shared.state.lock();
    for taken in jobs {
        if taken.job.reply.is_closed() {
            continue;
        }
        let entry = QueuedRequest {
            rows: taken.job.rows.max(1),
            pushed: taken.job.submitted,
            load: taken.job,
        };
        state.queue.put(class, taken.rank, entry);
    }
    shared.metrics.queue_rows.set(state.queue.rows() as i64);
    shared.wake.notify_one();
}
