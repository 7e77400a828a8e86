//! Warm-up: runs a version before it serves, and learns how long its batches take. Small batches only,
//! where runs are long: larger ones would delay the start and make ONNX Runtime keep their memory. The
//! batcher learns what they take from requests.

use crate::core::error::Result;
use crate::onnx::batchability::SampleInputs;
use crate::onnx::runtime::Session;
use crate::serve::batch::cost::BatchCost;
use std::time::{Duration, Instant};

/// Durations of runs in a warm session.
#[derive(Default)]
pub(super) struct Warm {
    pub cost: BatchCost,
    /// Of the largest batch, where it was run.
    pub largest: Option<Duration>,
    /// What it adds to a run that its rows are others than those of the run before, where that is long.
    pub change: Option<Duration>,
}

/// After this time the warm-up of a session makes no further run. One row is run in any case.
const WARM_UP_MAX: Duration = Duration::from_millis(50);
/// A run that takes less is made a second time, and followed by a larger batch whatever it cost for
/// each row.
const WARM_RUN_SHORT: Duration = Duration::from_millis(10);

/// Runs every session with batches of 1, 2, 4, … rows, and times them: up to the largest, or as
/// long as larger batches pay and there is time.
pub(super) fn warm(
    sample: &SampleInputs,
    sessions: &mut [Box<dyn Session>],
    rows_max: usize,
) -> Result<Warm> {
    let mut warm = Warm::default();
    for session in sessions {
        let start = Instant::now();
        let mut rows = 1;
        loop {
            let took = time(sample, session.as_mut(), rows)?;
            warm.cost.note(rows, took);
            if rows == rows_max {
                warm.largest = Some(warm.largest.map_or(took, |least| least.min(took)));
                break;
            }
            let pays = took < WARM_RUN_SHORT || warm.cost.pays(rows);
            if !pays || start.elapsed() > WARM_UP_MAX {
                break;
            }
            rows = (2 * rows).min(rows_max);
        }
    }

    Ok(warm)
}

/// Times a run. The first one of a new shape is slower than those after it, which matters where it is short.
fn time(sample: &SampleInputs, session: &mut dyn Session, rows: usize) -> Result<Duration> {
    let first = sample.time(session, rows)?;
    if first >= WARM_RUN_SHORT {
        return Ok(first);
    }
    sample.time(session, rows)
}
