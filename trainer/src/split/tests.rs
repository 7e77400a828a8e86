//! Tests of `split`.

use super::*;
use crate::data::{DataManifest, RowTarget};
use crate::frame::{Frame, FrameColumn, FrameValues};
use std::time::Duration;

pub(super) fn rows(count: usize) -> Rows {
    let column = FrameColumn {
        name: "x".to_owned(),
        values: FrameValues::Numbers(vec![0.0; count].into()),
    };
    let of = (0..count).map(|r| u32::from(r % 4 == 0)).collect();
    Rows {
        frame: Frame {
            columns: vec![column],
            rows: count,
            ..Frame::default()
        },
        target: RowTarget::Classes {
            of,
            names: vec!["no".to_owned(), "yes".to_owned()],
        },
        time: None,
        group: None,
        weight: None,
        manifest: DataManifest::default(),
        notes: Vec::new(),
        unlabelled: None,
    }
}

fn whole(fold: &Fold) -> Vec<u32> {
    let mut all = [&fold.train[..], &fold.stop, &fold.test].concat();
    all.sort_unstable();
    all
}

#[test]
fn rows_with_a_time_are_tested_on_the_latest_after_an_embargo() {
    let mut spec = Spec::default();
    (spec.split.embargo, spec.split.folds) = (Duration::from_secs(10), 2);
    let mut rows = rows(1_000);
    // Backwards, and two at each second.
    let times: Vec<i64> = (0..1_000).map(|r| (999 - r) / 2 * 1_000_000).collect();
    rows.time = Some(times.clone());
    let (folds, told) = split(&spec, &rows).expect("splits");
    let of = |part: &[u32]| {
        let all = part.iter().map(|r| times[*r as usize]);
        (
            all.clone().min().expect("rows") / 1_000_000,
            all.max().expect("rows") / 1_000_000,
        )
    };

    assert_eq!(
        (of(&folds[0].test), of(&folds[1].test)),
        ((400, 449), (450, 499))
    );
    assert_eq!(
        of(&folds[1].stop).1,
        439,
        "a gap of ten seconds before what it is judged by"
    );

    assert_eq!(
        of(&folds[1].train).1 + 10,
        of(&folds[1].stop).0 - 1,
        "and before what it stops by"
    );

    assert_eq!((told.by.as_str(), told.left_out), ("time", 40));
}

#[test]
fn rows_of_equal_time_stay_in_one_part_and_a_pause_loses_no_row() {
    let split_by = |time: &dyn Fn(i64) -> i64| {
        let mut rows = rows(1_000);
        rows.time = Some((0..1_000).map(|r| time(r) * 1_000_000).collect());
        split(&Spec::default(), &rows)
            .map(|(folds, _)| folds.into_iter().next_back().expect("an origin"))
    };

    assert!(
        split_by(&|_| 7).is_err_and(|e| e.message.contains("no rows are left")),
        "one moment"
    );
    // Three hundred rows of the time at which the test rows begin.
    let fold = split_by(&|r| if (600..900).contains(&r) { 600 } else { r }).expect("splits");
    assert_eq!(
        (fold.test[0], fold.test.len(), fold.stop.last()),
        (600, 400, Some(&599))
    );
    // A year without rows.
    let fold = split_by(&|r| if r < 500 { r } else { r + 31_536_000 }).expect("splits");
    assert_eq!(
        (fold.train[0], fold.test.len(), fold.test[0]),
        (0, 200, 800)
    );
    assert_eq!(whole(&fold).len(), 1_000, "nothing is lost in it");
}

#[test]
fn a_group_is_never_in_two_parts() {
    let mut spec = Spec::default();
    let mut rows = rows(1_000);
    let groups: Vec<u32> = (0..1_000).map(|r| r % 37).collect();
    rows.group = Some(groups.clone());
    let of = |part: &[u32]| {
        part.iter()
            .map(|r| groups[*r as usize])
            .collect::<HashSet<u32>>()
    };

    let apart = |fold: &Fold| {
        let (train, stop, test) = (of(&fold.train), of(&fold.stop), of(&fold.test));
        assert!(train.is_disjoint(&test) && train.is_disjoint(&stop) && stop.is_disjoint(&test));
    };

    let (folds, told) = split(&spec, &rows).expect("splits");
    apart(&folds[0]);
    assert_eq!((told.by.as_str(), whole(&folds[0]).len()), ("group", 1_000));
    rows.time = Some((0..1_000).collect());
    rows.group = Some(groups.iter().map(|g| g + 37 * u32::from(*g > 30)).collect());
    let groups: Vec<u32> = (0..1_000).map(|r| r / 90).collect();
    rows.group = Some(groups.clone());
    let of = |part: &[u32]| {
        part.iter()
            .map(|r| groups[*r as usize])
            .collect::<HashSet<u32>>()
    };

    let (folds, _) = split(&spec, &rows).expect("splits");
    assert!(of(&folds[0].train).is_disjoint(&of(&folds[0].test)));
    spec.split.by = SplitBy::Random;
    spec.split.override_reason = Some("why not".to_owned());
    assert_eq!(
        split(&spec, &rows)
            .expect("splits")
            .1
            .override_reason
            .as_deref(),
        Some("why not")
    );
}

#[test]
fn a_random_split_is_stratified_and_puts_each_row_in_one_part() {
    let mut spec = Spec::default();
    spec.split.folds = 3;
    let rows = rows(1_000);
    let (folds, _) = split(&spec, &rows).expect("splits");
    let RowTarget::Classes { of, .. } = &rows.target else {
        panic!("classes")
    };
    for fold in &folds {
        assert_eq!(whole(fold), (0..1_000).collect::<Vec<u32>>());
        let share = fold.test.iter().filter(|r| of[**r as usize] == 1).count();
        assert_eq!((fold.test.len(), share), (200, 50));
    }

    let tested: HashSet<u32> = folds.iter().flat_map(|f| f.test.iter().copied()).collect();
    assert_eq!(tested.len(), 600, "each is judged by other rows");
    assert_eq!(
        split(&spec, &rows).expect("splits").0,
        folds,
        "the same seed"
    );

    spec.fit.seed = 8;
    assert_ne!(
        split(&spec, &rows).expect("splits").0,
        folds,
        "another seed"
    );

    spec.split.folds = 6;
    assert!(split(&spec, &rows).is_err_and(|e| e.message.contains("it must be at most 1")));
}

#[test]
fn a_part_without_rows_or_a_class_is_refused() {
    let mut spec = Spec::default();
    spec.split.embargo = Duration::from_secs(10_000);
    let mut rows = rows(100);
    rows.time = Some((0..100).map(|r| r * 1_000_000).collect());
    assert!(split(&spec, &rows).is_err_and(|e| e.message.contains("embargo")));
    spec.split.embargo = Duration::ZERO;
    let of = (0..100).map(|r| u32::from(r >= 95)).collect();
    rows.target = RowTarget::Classes {
        of,
        names: vec!["no".to_owned(), "yes".to_owned()],
    };
    assert!(split(&spec, &rows).is_err_and(|e| e.message.contains("of the class 'yes'")));
}
