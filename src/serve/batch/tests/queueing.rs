//! Tests of the order of the queue and its limit.

use super::*;
use crate::serve::batch::due::Due;
use crate::serve::batch::explain::SizeReason;
use crate::serve::batch::policy::BatchLimits;
use crate::serve::batch::queue::Class;
use crate::serve::batch::queue::Rank;
use crate::serve::batch::select::{LaneStep, select};
use smallvec::smallvec;

fn entry(rows: usize, load: u32) -> QueuedRequest<u32> {
    QueuedRequest {
        rows,
        pushed: Instant::now(),
        load,
    }
}

fn loads(entries: Vec<(Rank, QueuedRequest<u32>)>) -> Vec<u32> {
    entries.into_iter().map(|(_, e)| e.load).collect()
}

#[test]
fn requests_are_served_by_priority_then_deadline_then_arrival() {
    let start = Instant::now();
    let at = |ms: u32| Due::answer(start + MS * ms);
    let mut queue = Queue::new();
    let class = Class::default();
    for (priority, deadline, load) in [(0, 9, 1), (0, 5, 2), (0, 9, 3), (1, 1, 4), (0, 5, 5)] {
        queue.push(&class, priority, at(deadline), entry(1, load));
    }

    assert_eq!(loads(queue.take(&class, 5)), [2, 5, 1, 3, 4]);
    assert_eq!(queue.rows(), 0);
}

#[test]
fn what_is_more_urgent_is_not_served_after_all_that_waits() {
    let start = Instant::now();
    let at = |ms: u32| Due::answer(start + MS * ms);
    let mut queue = Queue::new();
    assert!(queue.is_before(0, at(1)));
    let (wide, narrow) = (Class::Sizes(smallvec![9]), Class::Sizes(smallvec![3]));
    queue.push(&wide, 0, at(5), entry(1, 1));
    queue.push(&narrow, 1, at(2), entry(1, 2));
    assert_eq!(queue.first_class(), Some(&wide));
    assert!(queue.is_before(1, at(2)) && queue.is_before(2, at(0)));
    assert!(!queue.is_before(1, at(1)) && !queue.is_before(0, at(9)));
    queue.take(&narrow, 1);
    assert!(queue.is_before(0, at(5)) && !queue.is_before(0, at(4)));
}

#[test]
fn shapes_that_cannot_be_merged_wait_in_separate_lines() {
    let start = Instant::now();
    let mut queue = Queue::new();
    let (wide, narrow) = (Class::Sizes(smallvec![9]), Class::Sizes(smallvec![3]));
    for (class, ms, load) in [(&wide, 5, 1), (&narrow, 1, 2), (&wide, 2, 3)] {
        queue.push(class, 0, Due::answer(start + MS * ms), entry(1, load));
    }

    let head = queue.head(8).expect("three wait");
    assert_eq!(
        (head.class.clone(), head.members.len()),
        (narrow.clone(), 1)
    );
    assert_eq!(loads(queue.take(&narrow, 1)), [2]);
    assert_eq!(queue.head(8).map(|h| h.members.len()), Some(2));
    assert_eq!(loads(queue.take(&wide, 8)), [3, 1]);
}

#[test]
fn late_and_cancelled_requests_leave_the_queue() {
    let start = Instant::now();
    let at = |ms: u32| Due::answer(start + MS * ms);
    let mut queue = Queue::new();
    let class = Class::default();
    for (priority, ms, load) in [(0, 20, 1), (0, 3, 2), (1, 4, 3), (1, 50, 4)] {
        queue.push(&class, priority, at(ms), entry(2, load));
    }
    assert_eq!(queue.expire(start + MS * 10, |_| Duration::ZERO), [2, 3]);
    assert_eq!(queue.rows(), 4);
    let rank = queue.push(&class, 0, at(30), entry(1, 5));
    assert_eq!(queue.remove(&class, rank), Some(5));
    assert_eq!(queue.remove(&class, rank), None);
    assert_eq!(loads(queue.take(&class, 9)), [1, 4]);
}

#[test]
fn requests_that_cannot_be_served_in_time_leave_the_queue_where_others_can() {
    let start = Instant::now();
    let at = |ms: u32| start + MS * ms;
    let mut queue = Queue::new();
    let class = Class::default();
    for (due, load) in [
        (Due::answer(at(15)), 1),
        (Due::start(at(15)), 2),
        (Due::answer(at(40)), 3),
    ] {
        queue.push(&class, 0, due, entry(1, load));
    }
    // A run takes 10 ms. The second only has to begin in time.
    assert_eq!(queue.expire(at(5), |_| MS * 10), [] as [u32; 0]);
    assert_eq!(queue.expire(at(6), |_| MS * 10), [1]);
    assert_eq!(queue.expire(at(16), |_| MS * 10), [2]);
    // The last one is run although it will be late: nobody else waits for the lane.
    assert_eq!(queue.expire(at(35), |_| MS * 10), [] as [u32; 0]);
    assert_eq!(queue.expire(at(41), |_| MS * 10), [3]);
}

#[test]
fn a_request_goes_back_to_its_place() {
    let start = Instant::now();
    let at = |ms: u32| Due::answer(start + MS * ms);
    let mut queue = Queue::new();
    let class = Class::Sizes(smallvec![4]);
    for (ms, load) in [(5, 1), (9, 2)] {
        queue.push(&class, 0, at(ms), entry(1, load));
    }
    let (rank, first) = queue.take(&class, 1).remove(0);
    queue.push(&class, 0, at(7), entry(1, 3));
    queue.put(&class, rank, first);
    assert_eq!(queue.rows(), 3);
    assert_eq!(queue.remove(&class, rank), Some(1));
    assert_eq!(loads(queue.take(&class, 9)), [3, 2]);
}

/// What a free lane runs at `now_ms`, and what it gives up, of requests (priority, deadline in ms) of
/// one row each: one row takes 10 ms, four take 12.
fn selected(requests: &[(u8, u32)], now_ms: u32) -> (Vec<usize>, Vec<usize>) {
    let start = Instant::now();
    let mut cost = BatchCost::default();
    for (rows, ms) in [(1, 10), (2, 11), (4, 12)] {
        cost.note(rows, MS * ms);
    }
    let costs = ClassCosts::new(cost);
    let mut queue = Queue::new();
    for (number, (priority, ms)) in requests.iter().enumerate() {
        let due = Due::answer(start + MS * *ms);
        let entry = QueuedRequest {
            rows: 1,
            pushed: start,
            load: number,
        };
        queue.push(&Class::default(), *priority, due, entry);
    }

    let limits = BatchLimits {
        fills: false,
        tokens: None,
        rows_max: 4,
        delay: Duration::ZERO,
        lanes: 1,
    };
    let selected = select(&mut queue, &costs, limits, None, start + MS * now_ms);
    let LaneStep::Run(batch) = selected.step else {
        panic!("nothing runs");
    };
    let runs = batch.requests.iter().map(|(_, entry)| entry.load);
    (runs.collect(), selected.late)
}

#[test]
fn those_whose_time_is_nearly_over_are_given_up_where_others_would_be_late_for_them() {
    // The first has time for a run of its own, and then all others are in time.
    let few = [(0, 10), (0, 40), (0, 40), (0, 40)];
    assert_eq!(selected(&few, 0), (vec![0], vec![]));
    // A run for the first would make the others late.
    let many = [(0, 10), (0, 13), (0, 13), (0, 13), (0, 13)];
    assert_eq!(selected(&many, 0), (vec![1, 2, 3, 4], vec![0]));
    // If nobody has time for a batch of the best size, a smaller one runs.
    let all = [(0, 11), (0, 11), (0, 11), (0, 11)];
    assert_eq!(selected(&all, 0), (vec![0, 1], vec![]));
    // A more urgent priority is never given up for another.
    let urgent = [(0, 10), (1, 13), (1, 13), (1, 13), (1, 13)];
    assert_eq!(selected(&urgent, 0), (vec![0], vec![]));
}

/// Why a batch of requests that wait has no more rows: with durations in ms of 1, 2 and 4 rows, and a
/// deadline in ms for each request.
fn reason(durations: [u32; 3], rows_max: usize, deadlines: &[u32]) -> SizeReason {
    let start = Instant::now();
    let mut cost = BatchCost::default();
    for (rows, ms) in [1, 2, 4].into_iter().zip(durations) {
        cost.note(rows, MS * ms);
    }
    let mut queue = Queue::new();
    for (number, ms) in deadlines.iter().enumerate() {
        let number = u32::try_from(number).expect("few");
        queue.push(
            &Class::default(),
            0,
            Due::answer(start + MS * *ms),
            entry(1, number),
        );
    }
    let limits = BatchLimits {
        fills: false,
        tokens: None,
        rows_max,
        delay: Duration::ZERO,
        lanes: 1,
    };
    let LaneStep::Run(batch) = select(&mut queue, &ClassCosts::new(cost), limits, None, start).step
    else {
        panic!("nothing runs");
    };
    batch.reason
}

#[test]
fn a_batch_says_why_it_has_no_more_rows() {
    let falling = [10, 11, 12];
    assert_eq!(reason(falling, 4, &[999; 2]), SizeReason::AllThatWaited);
    assert_eq!(reason(falling, 4, &[999; 4]), SizeReason::RowLimit);
    assert_eq!(reason(falling, 4, &[999; 6]), SizeReason::RowLimit);
    assert_eq!(reason([10, 20, 40], 4, &[999; 6]), SizeReason::NoGain);
    assert_eq!(reason(falling, 4, &[11, 999, 999]), SizeReason::Deadline);
    assert_eq!(reason(falling, 1, &[999; 6]), SizeReason::RunsAlone);
}
