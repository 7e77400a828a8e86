//! Each request is answered once, and with its own values, in any order of what may happen: random walks
//! over one batcher whose runs end when and how the walk says, and many threads at once.
//!
//! A walk compares the batcher with a model after every step: the rows in the queue are those of the
//! requests that neither left nor are in a run, and the metric says the same.

mod model;
mod scripted;
mod threads;

use super::*;
use crate::core::error::Kind;
use crate::serve::batch::watch::{HANG_GRACE, RUN_GRACE};
use crate::serve::batch::watchdog::{REPLACEMENTS_MAX, check_servable};
use model::{AskedRequest, Walk};
use proptest::prelude::*;
use scripted::RunVerdict;

/// Until when the client of a request of a walk waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Patience {
    /// Until the answer comes.
    Endless,
    /// Longer than the walk.
    Long,
    /// For so short a time that it may pass at any step.
    Short,
}

/// What happens next. A number chooses one of those that it can happen to.
#[derive(Clone, Debug)]
enum WalkStep {
    Submit(AskedRequest),
    Poll(usize),
    Cancel(usize),
    End(usize, RunVerdict),
    /// All runs are found hung that have a limit.
    Hang,
    HoldMerging(bool),
}

fn patience() -> impl Strategy<Value = Patience> {
    prop_oneof![
        2 => Just(Patience::Endless),
        4 => Just(Patience::Long),
        1 => Just(Patience::Short),
    ]
}

fn asked() -> impl Strategy<Value = AskedRequest> {
    let parts = (1..=3_usize, 1..=2_usize, 0..=1_u8, patience(), 0..6_u8);
    parts.prop_map(|(rows, width, priority, patience, poison)| AskedRequest {
        rows,
        width,
        priority,
        patience,
        is_poison: poison == 0,
    })
}

fn step() -> impl Strategy<Value = WalkStep> {
    prop_oneof![
        8 => asked().prop_map(WalkStep::Submit),
        4 => any::<usize>().prop_map(WalkStep::Poll),
        3 => any::<usize>().prop_map(WalkStep::Cancel),
        5 => any::<usize>().prop_map(|n| WalkStep::End(n, RunVerdict::Honest)),
        1 => any::<usize>().prop_map(|n| WalkStep::End(n, RunVerdict::Panic)),
        1 => Just(WalkStep::Hang),
        1 => any::<bool>().prop_map(WalkStep::HoldMerging),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        max_shrink_iters: 256,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_request_is_answered_once_whatever_happens(
        steps in proptest::collection::vec(step(), 1..48),
        lanes in 1..=2_usize,
        drops_early in any::<bool>(),
    ) {
        let mut walk = Walk::start(lanes);
        for step in steps {
            walk.take(step);
        }
        walk.finish(drops_early);
    }
}

#[test]
fn a_panic_in_one_half_of_a_failed_batch_spares_the_other_half() {
    let request = |is_poison| AskedRequest {
        rows: 1,
        width: 1,
        priority: 0,
        patience: Patience::Long,
        is_poison,
    };
    let mut walk = Walk::start(1);
    for step in [
        WalkStep::Submit(request(false)),
        WalkStep::Submit(request(true)),
        WalkStep::Submit(request(false)),
        // The first request; the batch of the others, which fails; the first of its halves.
        WalkStep::End(0, RunVerdict::Honest),
        WalkStep::End(0, RunVerdict::Honest),
        WalkStep::End(0, RunVerdict::Panic),
    ] {
        walk.take(step);
    }
    walk.finish(false);
}
