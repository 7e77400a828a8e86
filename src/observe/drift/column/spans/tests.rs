//! Tests of `spans`.

use super::*;
use crate::observe::drift::baseline::Cells;
use crate::observe::drift::cells::Edges;
use std::collections::BTreeMap;

/// A window in which cell 0 has as many rows as its number.
fn window(number: u32) -> ColumnTally {
    let cells = Cells::Numbers(Edges::new(Vec::new()).expect("one cell"));
    let mut tally = ColumnTally::new(&cells);
    tally.counts[0] = number;
    tally
}

/// Adds windows 1 to `last`. Returns the spans that were tested with the last one: windows and rows.
fn tested(last: u32) -> BTreeMap<u32, u32> {
    let mut spans = Spans::default();
    let mut found = BTreeMap::new();
    for number in 1..=last {
        let ends = |size: u32| (number - 1) / size != number / size;
        let due = spans.add(window(number), [true, ends(8), ends(64)]);
        found = due
            .into_iter()
            .map(|(span, sum)| (span, sum.counts[0]))
            .collect();
    }
    found
}

fn sum(from: u32, to: u32) -> u32 {
    (from..=to).sum()
}

#[test]
fn each_window_is_tested_with_those_before_it() {
    assert_eq!(tested(1), [(1, 1)].into());
    assert_eq!(tested(5), [(1, 5), (2, 9), (3, 12), (4, 14)].into());
    let at_13 = tested(13);
    assert_eq!((at_13[&6], at_13[&8]), (sum(8, 13), sum(6, 13)));
    assert_eq!(at_13.len(), 6, "no block ends with it");
}

#[test]
fn blocks_of_eight_and_of_sixty_four_are_added_up() {
    let at_64 = tested(64);
    assert_eq!(at_64[&16], sum(49, 64));
    assert_eq!(
        (at_64[&24], at_64[&48], at_64[&64]),
        (sum(41, 64), sum(17, 64), sum(1, 64))
    );
    let at_512 = tested(512);
    assert_eq!((at_512[&128], at_512[&512]), (sum(385, 512), sum(1, 512)));
    let at_1024 = tested(1_024);
    assert_eq!(at_1024[&512], sum(513, 1_024), "the oldest are dropped");
    let known = crate::observe::drift::alarm::SPANS;
    assert!(at_1024.keys().eq(known.iter()), "{at_1024:?}");
}

#[test]
fn the_latest_rows_are_those_of_as_few_windows_as_needed() {
    let mut spans = Spans::default();
    assert_eq!(spans.latest(&window(0), 10), None);
    assert_eq!(spans.latest(&window(3), 10), Some(window(3)));
    for rows in [100, 5, 6, 7] {
        spans.add(window(rows), [true, false, false]);
    }
    assert_eq!(spans.latest(&window(3), 3), Some(window(3)));
    assert_eq!(spans.latest(&window(3), 4), Some(window(10)));
    assert_eq!(spans.latest(&window(3), 17), Some(window(21)));
    assert_eq!(spans.latest(&window(3), 10_000), Some(window(121)));
}
