//! Measures on other hardware than the CPU how much longer a run takes if its rows are others than those of
//! the run before. ONNX Runtime's CUDA provider plans each convolution anew then; nets without one pay
//! nothing.

use super::warm::Warm;
use crate::core::error::Result;
use crate::onnx::batchability::SampleInputs;
use crate::onnx::runtime::Session;
use crate::serve::batch::cost::BatchCost;
use std::time::{Duration, Instant};

/// Changes to and fro that are timed.
const ROUNDS: usize = 3;
/// A change that adds less to a run does not matter; nor one that adds less than the run itself takes.
const LONG: Duration = Duration::from_millis(2);
/// After this time no further size is timed.
const SIZES_MAX: Duration = Duration::from_secs(2);
/// Runs of each size that are timed after the change to it.
const RUNS: usize = 3;
/// Sizes in a row that do not make a row cheaper, after which no larger one is timed.
const IN_VAIN: usize = 2;

/// Times changes between one row and two. If they take long, times the sizes of batches too, and leaves
/// every session at one row.
pub(super) fn warm_shapes(
    sample: &SampleInputs,
    sessions: &mut [Box<dyn Session>],
    rows_max: usize,
) -> Result<Option<Warm>> {
    let [first, rest @ ..] = sessions else {
        return Ok(None);
    };
    if first.provider() == "cpu" || rows_max < 2 {
        return Ok(None);
    }

    let mut time = |rows| sample.time(first.as_mut(), rows);
    let Some(change) = change(&mut time)? else {
        return Ok(None);
    };
    let cost = sizes(&mut time, rows_max)?;
    for session in rest {
        sample.time(session.as_mut(), 1)?;
    }
    Ok(Some(Warm {
        cost,
        largest: None,
        change: Some(change),
    }))
}

/// What a change adds to a run; none if that does not matter.
fn change(time: &mut impl FnMut(usize) -> Result<Duration>) -> Result<Option<Duration>> {
    // Kernels are loaded.
    time(1)?;
    time(2)?;
    let (mut added, mut usual) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for rows in [1, 2] {
            let changed = time(rows)?;
            let repeated = time(rows)?;
            added.push(changed.saturating_sub(repeated));
            usual.push(repeated);
        }
    }
    let (added, usual) = (median(added), median(usual));
    Ok((added >= LONG.max(usual)).then_some(added))
}

/// What batches take of 1, 2, 4, … rows, up to the largest as far as there is time.
fn sizes(time: &mut impl FnMut(usize) -> Result<Duration>, rows_max: usize) -> Result<BatchCost> {
    let start = Instant::now();
    let mut cost = BatchCost::default();
    let (mut rows, mut in_vain) = (1, 0);
    loop {
        time(rows)?;
        let mut took = Vec::new();
        for _ in 0..RUNS {
            took.push(time(rows)?);
        }
        cost.note(rows, median(took));
        in_vain = if cost.pays(rows) { 0 } else { in_vain + 1 };
        if rows == rows_max || in_vain == IN_VAIN || start.elapsed() > SIZES_MAX {
            break;
        }
        rows = (2 * rows).min(rows_max);
    }
    time(1)?;
    Ok(cost)
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A device on which each run takes `run`, and `plan` more after a run of other rows.
    fn device(run: Duration, plan: Duration) -> impl FnMut(usize) -> Result<Duration> {
        let mut last = 0;
        move |rows| {
            let is_same = std::mem::replace(&mut last, rows) == rows;
            Ok(if is_same { run } else { run + plan })
        }
    }

    #[test]
    fn a_change_counts_where_it_takes_longer_than_a_run_and_two_milliseconds() {
        let measured = |run, plan| change(&mut device(run, plan)).expect("runs");
        assert_eq!(measured(MS * 3, MS * 125), Some(MS * 125));
        assert_eq!(measured(MS / 5, MS * 48), Some(MS * 48));
        assert_eq!(measured(MS, MS), None);
        assert_eq!(measured(MS * 40, MS * 30), None);
        assert_eq!(measured(MS, Duration::ZERO), None);
    }

    #[test]
    fn a_single_stall_is_no_change() {
        let mut calls = 0;
        let mut stalls = |_| {
            calls += 1;
            Ok(if calls == 5 { MS * 500 } else { MS })
        };
        assert_eq!(change(&mut stalls).expect("runs"), None);
    }

    #[test]
    fn sizes_are_timed_without_the_change_and_the_last_run_has_one_row() {
        let mut runs = Vec::new();
        let mut device = device(MS * 3, MS * 125);
        let mut time = |rows| {
            runs.push(rows);
            device(rows)
        };
        let cost = sizes(&mut time, 24).expect("runs");
        for rows in [1, 2, 4, 8, 16, 24] {
            assert_eq!(cost.mean(rows), MS * 3, "{rows}");
        }
        assert_eq!(runs.last(), Some(&1));
    }
}
