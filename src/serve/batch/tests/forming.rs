//! Tests of batch forming, in virtual time.

use super::*;
use crate::serve::batch::due::Due;
use crate::serve::batch::policy::{BatchLimits, LaneDecision, WaitingRequest, next};

/// Rows and deadline (in ms from the start) of each waiting request.
struct Case<'c> {
    waiting: &'c [(usize, u64)],
    rows_max: usize,
    delay_ms: u64,
    cost: BatchCost,
    now_ms: u64,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Case {
            waiting: &[],
            rows_max: 8,
            delay_ms: 0,
            cost: free(),
            now_ms: 0,
        }
    }
}

fn check(case: &Case<'_>, expected: &str) {
    let start = Instant::now();
    let members: Vec<WaitingRequest> = case
        .waiting
        .iter()
        .map(|(rows, deadline)| WaitingRequest {
            rows: *rows,
            due: Due::answer(start + MS * u32::try_from(*deadline).expect("small")),
        })
        .collect();
    let limits = BatchLimits {
        fills: false,
        tokens: None,
        rows_max: case.rows_max,
        delay: MS * u32::try_from(case.delay_ms).expect("small"),
        lanes: 1,
    };

    let now = start + MS * u32::try_from(case.now_ms).expect("small");
    let decided = match next(&members, start, &case.cost, now, &limits) {
        LaneDecision::Run(n) => format!("run {n}"),
        LaneDecision::WaitUntil(then) => format!("wait {}", (then - start).as_millis()),
    };
    assert_eq!(decided, expected, "{:?}", case.waiting);
}

/// Learned from one run of each size.
fn cost(fixed_ms: u64, per_row_us: u64) -> BatchCost {
    let mut cost = BatchCost::default();
    for rows in [1, 2, 4, 8] {
        let per_row = Duration::from_micros(per_row_us * rows as u64);
        cost.note(rows, Duration::from_millis(fixed_ms) + per_row);
    }
    cost
}

#[test]
fn without_a_delay_all_waiting_requests_run() {
    check(
        &Case {
            waiting: &[(1, 100)],
            ..Case::default()
        },
        "run 1",
    );

    check(
        &Case {
            waiting: &[(1, 100); 5],
            ..Case::default()
        },
        "run 5",
    );

    check(
        &Case {
            waiting: &[(1, 100); 9],
            ..Case::default()
        },
        "run 8",
    );
}

#[test]
fn a_batch_never_exceeds_the_row_limit() {
    check(
        &Case {
            waiting: &[(3, 100), (3, 100), (3, 100)],
            ..Case::default()
        },
        "run 2",
    );

    check(
        &Case {
            waiting: &[(8, 100), (1, 100)],
            ..Case::default()
        },
        "run 1",
    );

    check(
        &Case {
            waiting: &[(4, 100), (4, 100), (1, 100)],
            ..Case::default()
        },
        "run 2",
    );
}

#[test]
fn a_batch_grows_only_while_every_deadline_holds() {
    let slow = cost(2, 1000);
    check(
        &Case {
            waiting: &[(1, 4), (1, 100), (1, 100)],
            cost: slow.clone(),
            ..Case::default()
        },
        "run 2",
    );

    check(
        &Case {
            waiting: &[(1, 3), (1, 100), (1, 100)],
            cost: slow.clone(),
            ..Case::default()
        },
        "run 1",
    );

    check(
        &Case {
            waiting: &[(1, 100); 3],
            cost: slow.clone(),
            ..Case::default()
        },
        "run 3",
    );
}

#[test]
fn a_batch_grows_only_while_a_row_gets_cheaper() {
    check(
        &Case {
            waiting: &[(1, 1000); 8],
            cost: cost(0, 1000),
            ..Case::default()
        },
        "run 1",
    );

    check(
        &Case {
            waiting: &[(1, 1000); 8],
            cost: cost(5, 1),
            ..Case::default()
        },
        "run 8",
    );
}

#[test]
fn a_delay_waits_for_more_requests_but_not_past_a_deadline() {
    let wait = |waiting, now_ms, cost| Case {
        waiting,
        delay_ms: 5,
        now_ms,
        cost,
        ..Case::default()
    };

    check(&wait(&[(1, 100)], 0, free()), "wait 5");
    check(&wait(&[(1, 100)], 5, free()), "run 1");
    check(&wait(&[(1, 100); 8], 0, free()), "run 8");
    check(&wait(&[(1, 6)], 0, cost(3, 0)), "wait 3");
    check(&wait(&[(1, 6)], 3, cost(3, 0)), "run 1");
}
