//! Tests of `breach`: looks at counts in virtual time.

use super::*;
use crate::observe::drift::profile::profile;
use crate::observe::drift::series::ColumnSeries;

/// The looks at one column whose baseline has so many rows, of which some are missing.
struct Looks {
    watch: BreachWatch,
    now: Instant,
    rows: u64,
    counts: Breaches,
}

impl Looks {
    fn new(baseline: usize, missing: usize) -> Self {
        let every = baseline.checked_div(missing).unwrap_or(usize::MAX);
        let values = (0..baseline)
            .map(|row| match row % every {
                0 if missing > 0 => f64::NAN,
                _ => ((row * 7_919 % 9_973) as f64).sqrt(),
            })
            .collect();
        let column = profile("x", &ColumnSeries::Numbers(values));
        let allowance = Allowance::of_baseline(&column);
        let now = Instant::now();
        let start = (0, vec![Breaches::default()]);
        Self {
            watch: BreachWatch::new(vec![allowance], start, now),
            now,
            rows: 0,
            counts: Breaches::default(),
        }
    }

    /// Lets a second pass with so many rows. Returns the kinds of alarms that start.
    fn second(&mut self, rows: u64, add: impl Fn(&mut Breaches)) -> Vec<&'static str> {
        self.now += Duration::from_secs(1);
        self.rows += rows;
        add(&mut self.counts);
        let counts = (self.rows, vec![self.counts]);
        let begun = self
            .watch
            .look(counts, self.now, &MonitorSettings::default());
        begun
            .into_iter()
            .map(|(_, test)| test.kind.name())
            .collect()
    }

    fn is_raised(&self) -> bool {
        !self.watch.of(0).is_empty()
    }
}

#[test]
fn twenty_breaching_rows_are_an_alarm_at_once_and_nineteen_are_not() {
    let mut looks = Looks::new(20_000, 0);
    assert!(looks.second(19, |b| b.above += 19).is_empty());
    assert_eq!(looks.second(1, |b| b.above += 1), ["above"]);
    assert!(looks.second(1, |b| b.above += 1).is_empty(), "it has begun");
    let test = &looks.watch.of(0)[0];
    // The newest look with enough rows is told; there is none yet.
    assert_eq!((test.rows, test.share, test.alarm), (20, 1.0, true));
}

#[test]
fn each_kind_has_an_alarm_of_its_own() {
    type Violate = fn(&mut Breaches);
    let kinds: [(&str, Violate); 6] = [
        ("missing", |b| b.nan += 30),
        ("missing", |b| b.empty += 30),
        ("infinite", |b| b.infinite += 30),
        ("below", |b| b.below += 30),
        ("above", |b| b.above += 30),
        ("unseen", |b| b.unseen += 30),
    ];
    for (kind, add) in kinds {
        assert_eq!(Looks::new(20_000, 0).second(30, add), [kind]);
    }
}

#[test]
fn a_row_a_second_is_told_within_half_a_minute() {
    let mut looks = Looks::new(20_000, 0);
    let seconds = (1..90).find(|_| !looks.second(1, |b| b.unseen += 1).is_empty());
    assert_eq!(seconds, Some(20));
}

#[test]
fn a_share_that_does_not_matter_or_that_the_baseline_has_is_none() {
    let mut looks = Looks::new(20_000, 1_000);
    for second in 0..3_600 {
        // Half of a percent above the range, and five percent missing, as in the baseline.
        let begun = looks.second(200, |b| {
            b.above += 1;
            b.nan += 9 + second % 3;
        });
        assert!(begun.is_empty(), "{begun:?} after {second} s");
    }
    assert_eq!(looks.second(200, |b| b.nan += 200), ["missing"]);
}

#[test]
fn few_rows_of_a_baseline_allow_more() {
    let share = |baseline: usize| {
        let mut looks = Looks::new(baseline, 0);
        (0..600).any(|_| !looks.second(100, |b| b.above += 4).is_empty())
    };
    assert!(share(20_000), "four percent are too many");
    assert!(
        !share(200),
        "of 200 rows nobody knows the last four percent"
    );
}

#[test]
fn an_alarm_ends_once_the_newest_rows_are_well() {
    let mut looks = Looks::new(20_000, 0);
    looks.second(100, |b| b.above += 100);
    for _ in 0..59 {
        looks.second(100, |_| {});
    }
    assert!(looks.is_raised(), "the bad rows are of the last minute");
    for _ in 0..10 {
        looks.second(100, |_| {});
    }
    assert!(!looks.is_raised());
    // Without rows nothing is known about the end.
    looks.second(100, |b| b.above += 100);
    looks.now += Duration::from_secs(3_600);
    looks.second(0, |_| {});
    assert!(looks.is_raised());
}

#[test]
fn a_row_a_day_is_told_after_twenty_of_them() {
    let mut looks = Looks::new(20_000, 0);
    let mut day = |add: u64| {
        looks.now += Duration::from_secs(86_399);
        !looks.second(1, |b| b.above += add).is_empty()
    };
    assert!(!(0..40).any(|_| day(0)));
    assert_eq!((1..40).find(|_| day(1)), Some(20));
}

#[test]
fn an_alarm_of_a_row_an_hour_ends_after_thirty_good_rows() {
    let mut looks = Looks::new(20_000, 0);
    let mut hour = |add: u64| {
        looks.now += Duration::from_secs(3_599);
        looks.second(1, |b| b.above += add);
        looks.watch.of(0).first().map(|test| test.share)
    };
    let began = (1..30).find(|_| hour(1).is_some());
    assert_eq!(began, Some(20));
    for _ in 0..30 {
        hour(1);
    }
    assert_eq!(hour(0), Some(1.0), "the share is brought up to date");
    let ended = (1..100).find(|_| hour(0).is_none());
    assert!(
        ended.is_some_and(|hours| (29..60).contains(&hours)),
        "{ended:?}"
    );
}

#[test]
fn the_past_is_bounded_and_a_clock_that_stands_does_no_harm() {
    let mut looks = Looks::new(20_000, 0);
    for _ in 0..200_000 {
        looks.second(1, |_| {});
    }
    assert!(looks.watch.past.len() < 180, "{}", looks.watch.past.len());
    let counts = (
        looks.rows + 500,
        vec![Breaches {
            above: 500,
            ..looks.counts
        }],
    );
    let same = looks.now;
    let begun = looks.watch.look(counts, same, &MonitorSettings::default());
    assert_eq!(begun.len(), 1, "no time passed, and all rows are bad");
}

#[test]
fn an_alarm_that_ended_does_not_begin_again_although_the_last_day_has_its_rows() {
    let mut looks = Looks::new(20_000, 0);
    assert_eq!(looks.second(100, |b| b.above += 100), ["above"]);
    for _ in 0..600 {
        looks.second(100, |b| b.above += 100);
    }
    for second in 0..4_000 {
        let begun = looks.second(100, |_| {});
        assert!(begun.is_empty(), "after {second} seconds");
    }
    assert!(!looks.is_raised());

    // It also holds after a restart.
    let counts = (looks.rows, vec![looks.counts]);
    let saved = looks.watch.save(looks.now);
    let text = serde_json::to_string(&saved).expect("JSON");
    let mut again = Looks::new(20_000, 0);
    let read = serde_json::from_str(&text).expect("reads");
    let restored = again.watch.restore(read, &counts, (looks.now, 0));
    restored.expect("the same columns");
    (again.now, again.rows, again.counts) = (looks.now, looks.rows, looks.counts);
    for second in 0..100 {
        let begun = again.second(100, |_| {});
        assert!(begun.is_empty(), "{second} seconds after the restart");
    }
    // A new fault is told as fast as the first one.
    assert_eq!(again.second(100, |b| b.above += 100), ["above"]);
}
