//! Tests of `sliced`: what is wrong in one part is found though the whole hides it, and all tests
//! together keep the promise of false alarms.

use super::super::sequential::LastingAlarm;
use super::*;
use crate::core::hash::SplitMix;
use crate::observe::drift::baseline::part::PartLoss;
use crate::observe::quality::answer::{RowAnswer, Truth};

/// Labels per day.
const DAY: i64 = 400;
const MARGIN: f64 = 0.02;

/// Makes a baseline of `rows` rows a part, whose parts `0`, `1`, … have these error shares.
fn baseline(shares: &[f64], rows: u64) -> Baseline {
    let loss = |share: f64| PartLoss {
        rows,
        lost: (share * rows as f64).round() as u64,
    };
    let part = |(at, share): (usize, &f64)| BaselinePart {
        slice: "region".to_owned(),
        part: at.to_string(),
        rows,
        inputs: Vec::new(),
        outputs: Vec::new(),
        loss: Some(loss(*share)),
    };
    let all = shares.len() as u64 * rows;
    let mut made = Baseline::of_columns(all, Vec::new(), Vec::new());
    made.parts = shares.iter().enumerate().map(part).collect();
    let lost: u64 = made.parts.iter().flat_map(|p| p.loss).map(|l| l.lost).sum();
    let accuracy = 1.0 - lost as f64 / all as f64;
    made.performance = BTreeMap::from([
        ("accuracy".to_owned(), accuracy),
        ("rows".to_owned(), all as f64),
    ]);
    made
}

fn slices() -> Vec<String> {
    vec!["region".to_owned()]
}

fn started(baseline: &Baseline) -> SlicedTest {
    SlicedTest::new(baseline, &slices(), MARGIN)
}

/// A stream of labelled rows.
struct Labels {
    random: SplitMix,
    row: i64,
}

impl Labels {
    fn new(seed: u64) -> Self {
        let random = SplitMix(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) + 1);
        Self { random, row: 0 }
    }

    /// Adds the labels of some days, in parts of these error shares. Returns the parts of the alarms
    /// that start; an empty name for all rows.
    fn give(
        &mut self,
        test: &mut SlicedTest,
        shares: &[f64],
        days: i64,
        alarms: f64,
    ) -> Vec<String> {
        let mut begun = Vec::new();
        for _ in 0..days * DAY {
            let part = (self.random.unit() * shares.len() as f64) as usize;
            let is_lost = self.random.unit() < shares[part];
            self.row += 1;
            let row = Row {
                answer: RowAnswer::Class(0, vec![1.0, 0.0]),
                truth: Truth::Class(usize::from(is_lost)),
                parts: vec![part.to_string()],
                time_us: self.row * 24 / DAY * 3_600_000_000,
            };
            let all = test.take(&row, &slices(), alarms, MARGIN);
            begun.extend(
                all.into_iter()
                    .map(|one| one.part.map_or_else(String::new, |p| p.part)),
            );
        }
        begun
    }
}

#[test]
fn a_fifth_of_the_rows_that_became_wrong_is_named_though_the_whole_is_within_its_limit() {
    let before = [0.1; 5];
    let mut after = before;
    after[3] = 0.19;
    for seed in 0..5 {
        let mut test = started(&baseline(&before, 4_000));
        let mut labels = Labels::new(seed);
        assert!(labels.give(&mut test, &before, 10, 0.1).is_empty());
        let mean = after.iter().sum::<f64>() / 5.0;
        assert!(test.whole.allowed.is_some_and(|allowed| mean < allowed));
        let begun = labels.give(&mut test, &after, 30, 0.1);
        assert!(
            !begun.is_empty() && begun.iter().all(|part| part == "3"),
            "{begun:?}"
        );
    }
}

#[test]
fn healthy_months_keep_the_promise_of_all_tests_together() {
    // The baseline is drawn too: its shares are not those of the live rows.
    let shares: Vec<f64> = (0..16).map(|part| 0.01 + 0.025 * f64::from(part)).collect();
    let mut alarms = 0;
    for seed in 0..50 {
        let mut labels = Labels::new(seed);
        let drawn: Vec<f64> = shares
            .iter()
            .map(|share| {
                let lost = (0..250).filter(|_| labels.random.unit() < *share);
                lost.count() as f64 / 250.0
            })
            .collect();
        let mut test = started(&baseline(&drawn, 250));
        alarms += labels.give(&mut test, &shares, 30, 0.1).len();
    }
    assert!(f64::from(alarms as u32) <= 0.1 * 50.0, "{alarms}");
}

#[test]
fn parts_at_their_limit_alarm_no_more_often_than_their_share_of_the_promise() {
    let measured: Vec<f64> = (0..16).map(|part| 0.01 + 0.025 * f64::from(part)).collect();
    let mut known = baseline(&measured, 2_000);
    // The whole, which is over its limit then, is not looked at.
    known.performance.insert("accuracy".to_owned(), 0.1);
    let limit = |part: usize| {
        let test = started(&known);
        test.part("region", &part.to_string())
            .and_then(|test| test.allowed)
    };
    let edge: Vec<f64> = (0..16).filter_map(limit).collect();
    let mut alarms = 0;
    for seed in 0..50 {
        alarms += Labels::new(seed)
            .give(&mut started(&known), &edge, 30, 1.0)
            .len();
    }
    assert!(edge.len() == 16 && alarms <= 25, "{alarms}");
}

#[test]
fn a_part_that_was_worse_than_the_others_in_the_baseline_is_silent() {
    let shares = [0.02, 0.02, 0.02, 0.4];
    let mut test = started(&baseline(&shares, 1_000));
    let begun = Labels::new(1).give(&mut test, &shares, 60, 0.1);
    assert!(begun.is_empty(), "{begun:?}");
}

#[test]
fn a_model_that_is_wrong_everywhere_is_told_once_and_not_by_its_parts() {
    let mut test = started(&baseline(&[0.05; 16], 1_000));
    let mut labels = Labels::new(7);
    let begun = labels.give(&mut test, &[0.4; 16], 1, 0.1);
    assert_eq!(begun, [""], "one alarm");
    // As long as the whole is in alarm, no part is.
    let later = labels.give(&mut test, &[0.4; 16], 6, 0.1);
    assert!(later.iter().all(String::is_empty), "{later:?}");
    assert_eq!(test.parts_in_alarm(), 0);
}

#[test]
fn a_part_is_told_once_the_alarm_of_the_whole_is_over() {
    let mut test = started(&baseline(&[0.05; 4], 1_000));
    test.whole.alarm = Some(LastingAlarm {
        since: 0,
        until: 24,
        won: Won {
            span_hours: 24,
            rows: 100,
            lost: 30,
            allowed: 0.06,
            evidence: 1e4,
            alpha: 0.001,
        },
        rows_since: 0,
        lost_since: 0,
    });
    let mut labels = Labels::new(3);
    let shares = [0.05, 0.05, 0.05, 0.16];
    assert!(labels.give(&mut test, &shares, 1, 0.1).len() <= 1);
    assert!(test.whole.alarm.is_none(), "its day is over");
    let begun = labels.give(&mut test, &shares, 20, 0.1);
    assert!(begun.contains(&"3".to_owned()), "{begun:?}");
    assert_eq!(test.parts_in_alarm(), 1);
    assert!(test.end_alarms(u64::MAX) && test.parts_in_alarm() == 0);
    assert!(!test.end_alarms(u64::MAX), "nothing is left to end");
}

#[test]
fn only_parts_with_enough_labelled_rows_of_the_slices_in_use_are_tested() {
    let tested = |known: &Baseline| {
        let test = started(known);
        (0..5)
            .filter(|part| test.part("region", &part.to_string()).is_some())
            .count()
    };
    let known = baseline(&[0.1; 5], 200);
    assert_eq!(tested(&known), 5);
    assert_eq!(tested(&baseline(&[0.1; 5], 199)), 0);

    let mut without = known.clone();
    without.performance.clear();
    assert_eq!(tested(&without), 0, "the whole learns its share");
    let mut older = known.clone();
    older.parts.iter_mut().for_each(|part| part.loss = None);
    assert_eq!(tested(&older), 0);
    let others = SlicedTest::new(&known, &["plan".to_owned()], MARGIN);
    assert!(others.part("region", "0").is_none());
}

#[test]
fn the_whole_keeps_the_promise_alone_where_no_part_is_tested() {
    let alpha = |known: &Baseline| {
        let mut test = started(known);
        let lost = |row| Row {
            answer: RowAnswer::Class(0, vec![1.0, 0.0]),
            truth: Truth::Class(1),
            parts: vec!["0".to_owned()],
            time_us: row,
        };
        let mut begun = (0..100).flat_map(|row| test.take(&lost(row), &slices(), 0.1, MARGIN));
        let of_whole = begun.find(|one| one.part.is_none());
        let won = of_whole.expect("an alarm").won;
        won.alpha / won.span_hours as f64
    };
    let known = baseline(&[0.1; 5], 1_000);
    let mut older = known.clone();
    older.parts.iter_mut().for_each(|part| part.loss = None);
    assert!((alpha(&older) - 2.0 * alpha(&known)).abs() < 1e-12);
}
