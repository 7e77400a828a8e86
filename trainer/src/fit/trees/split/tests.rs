//! Tests of `split`.

use super::*;

fn options() -> TreeOptions {
    TreeOptions {
        leaf_rows_min: 1,
        category_rows_min: 1,
        category_smooth: 0.0,
        l2: 0.0,
        ..TreeOptions::default()
    }
}

fn search(parts: &[(usize, f64, f64)], cut: Cut) -> Option<LeafSplit> {
    search_in(parts, cut, &options(), LeafBounds::OPEN)
}

fn search_in(
    parts: &[(usize, f64, f64)],
    cut: Cut,
    options: &TreeOptions,
    bounds: LeafBounds,
) -> Option<LeafSplit> {
    let mut parts = parts.to_vec();
    parts.sort_by_key(|part| part.0);
    let bins = UsedBins::new(&[parts.iter().map(|part| part.0 as u8).collect()]);
    let all = parts.iter().map(|(_, g, h)| [*g, *h]).collect();
    let sums = parts.iter().fold([0.0; 2], |s, p| [s[0] + p.1, s[1] + p.2]);
    let total = Total {
        sums,
        rows: sums[1] as usize,
    };
    find_in((&[cut], &bins), &Histogram(all), total, options, bounds)
}

#[test]
fn rows_are_split_where_their_gradients_change() {
    let cut = Cut::Number(vec![1.0, 2.0, 3.0]);
    let found = search(
        &[(0, -5.0, 5.0), (1, -5.0, 5.0), (2, 5.0, 5.0), (3, 5.0, 5.0)],
        cut,
    )
    .expect("worth it");

    assert_eq!(
        (found.test, found.left),
        (Test::UpTo(1, SplitSide::Left), [-10.0, 10.0])
    );
    assert!((found.gain - 20.0).abs() < 1e-12);
    assert_eq!(
        search(&[(0, 5.0, 5.0), (1, 5.0, 5.0)], Cut::Number(vec![1.0])),
        None,
        "nothing is gained"
    );
}

#[test]
fn missing_values_follow_the_learned_default_branch() {
    let absent = usize::from(ABSENT);
    let cut = || Cut::Number(vec![1.0]);
    let with = |g: f64| {
        search(&[(0, -5.0, 5.0), (1, 5.0, 5.0), (absent, g, 5.0)], cut())
            .expect("worth it")
            .test
    };

    assert_eq!(with(-5.0), Test::UpTo(0, SplitSide::Left));
    assert_eq!(with(5.0), Test::UpTo(0, SplitSide::Right));
    let alone =
        search(&[(0, 5.0, 5.0), (1, 5.0, 5.0), (absent, -5.0, 5.0)], cut()).expect("worth it");
    assert_eq!(
        alone.test,
        Test::UpTo(1, SplitSide::Right),
        "missing ones against all others"
    );

    assert!(alone.test.is_left(1) && !alone.test.is_left(ABSENT));
}

#[test]
fn categories_are_split_by_their_gradients_not_by_their_codes() {
    let found = search(
        &[(0, -5.0, 5.0), (70, 5.0, 5.0), (200, -5.0, 5.0)],
        Cut::Category,
    )
    .expect("worth it");

    let left: Vec<u8> = (0..=u8::MAX).filter(|c| found.test.is_left(*c)).collect();
    assert!(left == [0, 200] || left == [70], "{left:?}");
}

#[test]
fn a_split_in_the_wrong_order_is_not_taken() {
    let bound = |way| TreeOptions {
        monotone: vec![Some(way)],
        ..options()
    };
    let found = |parts: &[(usize, f64, f64)], way| {
        let cut = Cut::Number(vec![1.0, 2.0]);
        search_in(parts, cut, &bound(way), LeafBounds::OPEN).map(|found| found.test)
    };
    // Values of 3, 1 and 2: wherever they are split, the right side is lower.
    let parts = [(0, -15.0, 5.0), (1, -5.0, 5.0), (2, -10.0, 5.0)];
    let first = Test::UpTo(0, SplitSide::Right);
    assert_eq!(found(&parts, Direction::Decreasing), Some(first));
    assert_eq!(found(&parts, Direction::Increasing), None);
    let rising = [(0, -5.0, 5.0), (1, -15.0, 5.0), (2, -14.0, 5.0)];
    let first = Test::UpTo(0, SplitSide::Right);
    assert_eq!(found(&rising, Direction::Increasing), Some(first));
    assert_eq!(found(&rising, Direction::Decreasing), None);

    // Missing values have no order: they may be apart from all others in either direction.
    let absent = usize::from(ABSENT);
    let apart = [(0, -5.0, 5.0), (1, -5.0, 5.0), (absent, 5.0, 5.0)];
    for way in [Direction::Increasing, Direction::Decreasing] {
        let cut = || Cut::Number(vec![1.0]);
        let split = search_in(&apart, cut(), &bound(way), LeafBounds::OPEN).expect("worth it");
        assert_eq!(split.test, Test::UpTo(1, SplitSide::Right));
        assert!(split.test.is_of_missing(&cut()));
    }
}

#[test]
fn a_split_gains_what_its_bounded_values_gain() {
    let parts = [(0, -5.0, 5.0), (1, 5.0, 5.0)];
    let cut = || Cut::Number(vec![1.0]);
    let bounds = LeafBounds {
        low: -0.5,
        high: 0.5,
    };
    // Each side has the value 0.5 in place of 1: 2 × 5 × 0.5 − 5 × 0.25.
    let found = search_in(&parts, cut(), &options(), bounds).expect("worth it");
    assert!((found.gain - 7.5).abs() < 1e-12, "{}", found.gain);
    let all_below = LeafBounds {
        low: -9.0,
        high: -2.0,
    };
    assert_eq!(search_in(&parts, cut(), &options(), all_below), None);
}
