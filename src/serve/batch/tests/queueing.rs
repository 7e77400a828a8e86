//! Tests of the order of the queue and its limit.

use super::*;

fn entry(rows: usize, load: u32) -> QueuedRequest<u32> {
    QueuedRequest {
        rows,
        pushed: Instant::now(),
        load,
    }
}

fn loads(entries: Vec<QueuedRequest<u32>>) -> Vec<u32> {
    entries.into_iter().map(|e| e.load).collect()
}

#[test]
fn requests_are_served_by_priority_then_deadline_then_arrival() {
    let start = Instant::now();
    let at = |ms: u32| Deadline(start + MS * ms);
    let mut queue = Queue::new(100);
    let class = Class::default();
    for (priority, deadline, load) in [(0, 9, 1), (0, 5, 2), (0, 9, 3), (1, 1, 4), (0, 5, 5)] {
        assert!(
            queue
                .push(&class, priority, at(deadline), entry(1, load))
                .is_ok()
        );
    }

    assert_eq!(loads(queue.take(&class, 5)), [2, 5, 1, 3, 4]);
    assert_eq!(queue.rows(), 0);
}

#[test]
fn the_queue_is_full_at_its_row_limit() {
    let at = Deadline(Instant::now() + MS);
    let mut queue = Queue::new(4);
    assert!(queue.push(&Class::default(), 0, at, entry(3, 1)).is_ok());
    assert_eq!(
        queue.push(&Class::default(), 0, at, entry(2, 2)).err(),
        Some(2)
    );
    assert!(queue.push(&Class::default(), 0, at, entry(1, 3)).is_ok());
    assert_eq!(
        queue.push(&Class::default(), 0, at, entry(1, 4)).err(),
        Some(4)
    );
}

#[test]
fn shapes_that_cannot_be_merged_wait_in_separate_lines() {
    let start = Instant::now();
    let mut queue = Queue::new(100);
    let (wide, narrow) = (Class::Sizes(vec![9]), Class::Sizes(vec![3]));
    for (class, ms, load) in [(&wide, 5, 1), (&narrow, 1, 2), (&wide, 2, 3)] {
        assert!(
            queue
                .push(class, 0, Deadline(start + MS * ms), entry(1, load))
                .is_ok()
        );
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
    let at = |ms: u32| Deadline(start + MS * ms);
    let mut queue = Queue::new(100);
    let class = Class::default();
    for (priority, ms, load) in [(0, 20, 1), (0, 3, 2), (1, 4, 3), (1, 50, 4)] {
        assert!(queue.push(&class, priority, at(ms), entry(2, load)).is_ok());
    }
    assert_eq!(queue.expire(start + MS * 10, |_| Duration::ZERO), [2, 3]);
    assert_eq!(queue.rows(), 4);
    let rank = queue.push(&class, 0, at(30), entry(1, 5)).expect("room");
    assert_eq!(queue.remove(&class, rank), Some(5));
    assert_eq!(queue.remove(&class, rank), None);
    assert_eq!(loads(queue.take(&class, 9)), [1, 4]);
}
