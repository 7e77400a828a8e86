//! Tests of `traffic`.

use super::*;

#[test]
fn rows_up_to_the_floor_of_each_minute_are_counted() {
    let floor = RowFloor::default();
    let taken = |minute: u32| (0..10_000).filter(|_| floor.take(minute, 1, 6_000)).count();

    assert!(floor.has_room(7, 6_000));
    assert_eq!((taken(7), taken(7)), (6_000, 0));
    assert!(!floor.has_room(7, 6_000) && floor.has_room(8, 6_000));
    assert_eq!(taken(8), 6_000);
    assert!(!floor.take(9, 1, 0) && !floor.has_room(9, 0), "0 is off");
}

#[test]
fn a_request_that_passes_the_floor_is_counted_whole_and_rows_that_were_dropped_are_given_back() {
    let floor = RowFloor::default();
    assert!(floor.take(1, 5, 6) && floor.take(1, u64::MAX, 6));
    assert!(!floor.take(1, 1, 6));
    assert!(floor.take(2, 6, 6) && !floor.has_room(2, 6));
    floor.give_back(2, 6);
    assert!(floor.has_room(2, 6));
    floor.give_back(1, 6);
    assert!(floor.take(2, 6, 6), "another minute's rows change nothing");
}

#[test]
fn the_floor_holds_among_threads() {
    let floor = RowFloor::default();
    let take = || (0..1_000).filter(|_| floor.take(3, 1, 2_000)).count();
    let taken: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
        threads.into_iter().map(|t| t.join().expect("ends")).sum()
    });
    assert_eq!(taken, 2_000);
}

#[test]
fn the_counted_share_is_of_the_last_minutes() {
    let (mut counted, start) = (CountedRows::default(), Instant::now());
    assert_eq!(counted.share(), None);
    counted.note(start, 0, 0);
    assert_eq!(counted.share(), None, "no rows yet");
    counted.note(start + Duration::from_secs(1), 1_000, 100);
    assert_eq!(counted.share(), Some(0.1));

    // Six minutes later, only the rows since then count.
    for second in (0..400).step_by(10) {
        let now = start + Duration::from_secs(10 + second);
        counted.note(now, 1_000 + second, 100 + second);
    }
    assert_eq!(counted.share(), Some(1.0));
}
