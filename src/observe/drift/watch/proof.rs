//! Simulates the rate of false alarms and the time to detection: a month of fifty columns without
//! drift beyond a daily season, with many seeds, and the same rows with one defect. Small by default;
//! `ORTUS_TEST_SIZE=long` is the size of the committed run.

#![allow(clippy::print_stdout)]

use super::tests::{Random, settings};
use super::*;
use crate::core::hash::Digest;
use crate::core::model::{Dim, TensorSpec};
use crate::core::tensor::Strings;
use crate::observe::drift::baseline::BaselineColumn;
use std::time::Duration;

const COLUMNS: usize = 50;
/// Rows of a window, which takes five minutes.
const ROWS: usize = 1_000;
/// Values that rows are drawn from.
const POOL: usize = 1 << 16;
/// The season: standard deviations up and down within a day, below the thresholds.
const SEASON: f64 = 0.06;

fn is_long() -> bool {
    std::env::var("ORTUS_TEST_SIZE").is_ok_and(|v| v == "long")
}

/// Simulated rows: normally distributed columns, and one of categories.
struct ProofWorld {
    pool: Vec<f32>,
    random: Random,
}

/// The defect of the first column, or of the categories.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    Nothing,
    Shifted(f32),
    Wider(f32),
    OtherUnit,
    /// One value in twenty is missing instead of one in a hundred.
    Missing,
    /// A new category in one row of twenty.
    NewWord,
    /// The first two columns are swapped; the second has twice the deviation.
    Swapped,
}

impl ProofWorld {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let pool = (0..POOL).map(|_| random.normal() as f32).collect();
        Self { pool, random }
    }

    fn draw(&mut self) -> f32 {
        self.pool[(self.random.next() * POOL as f64) as usize]
    }

    /// Rows: numbers by column, and words.
    fn rows(&mut self, n: usize, season: f32, wrong: Wrong) -> [Tensor; 2] {
        let mut numbers = Vec::with_capacity(n * COLUMNS * 4);
        let mut words = Vec::with_capacity(n);
        for _ in 0..n {
            let mut row = [0.0; COLUMNS];
            row.iter_mut().for_each(|v| *v = self.draw() + season);
            row[1] *= 2.0;
            let missing = if wrong == Wrong::Missing { 0.05 } else { 0.01 };
            match wrong {
                Wrong::Shifted(by) => row[0] += by,
                Wrong::Wider(by) => row[0] = (row[0] - season) * by.sqrt() + season,
                Wrong::OtherUnit => row[0] *= 1_000.0,
                Wrong::Swapped => row.swap(0, 1),
                Wrong::Nothing | Wrong::Missing | Wrong::NewWord => {}
            }
            if self.random.next() < missing {
                row[0] = f32::NAN;
            }
            numbers.extend(row.iter().flat_map(|v| v.to_le_bytes()));
            let new = wrong == Wrong::NewWord && self.random.next() < 0.05;
            words.push(if new {
                "new"
            } else {
                ["a", "b", "c", "d"][(self.random.next() * 4.0) as usize]
            });
        }

        [
            Tensor::fixed(DType::F32, vec![n, COLUMNS], numbers.into()).expect("fits"),
            Tensor::strings(vec![n], Strings::from_parts(&words).expect("text")).expect("fits"),
        ]
    }

    fn watch(&mut self, now: Instant) -> VersionWatch {
        let spec = |name: &str, dtype, width: Option<usize>| TensorSpec {
            name: name.to_owned(),
            dtype,
            shape: Some(
                std::iter::once(Dim::Dynamic)
                    .chain(width.map(Dim::Fixed))
                    .collect(),
            ),
        };

        let signature = Signature {
            inputs: vec![
                spec("x", DType::F32, Some(COLUMNS)),
                spec("word", DType::String, None),
            ],
            outputs: Vec::new(),
            ..Signature::default()
        };

        let mut subject = WatchSubject {
            model: ModelName::parse("m").expect("legal"),
            version: Version::new(1).expect("legal"),
            digest: Digest([0; 32]),
            signature,
            features: Vec::new(),
            baseline: None,
            task: None,
            slices: Vec::new(),
        };

        // A day's rows, all of its season.
        let places = subject.find_columns().expect("places");
        let mut series: Vec<ColumnSeries> = places.iter().map(empty).collect();
        for hour in 0..24 {
            let rows = self.rows(1_000, season(f64::from(hour)), Wrong::Nothing);
            for (place, series) in places.iter().zip(&mut series) {
                each_value(place, &rows[place.tensor], |value| push(series, &value));
            }
        }

        // The season makes neighbours alike; the baseline's rows are shuffled by hour here.
        let columns = places.iter().zip(&series).map(|(p, s)| BaselineColumn {
            design_effect: 1.0,
            ..profile(&p.name, s)
        });

        subject.baseline = Some(Baseline {
            format: super::super::baseline::FORMAT,
            rows: 24_000,
            source: String::new(),
            features: Vec::new(),
            inputs: columns.collect(),
            outputs: Vec::new(),
            calibration: Vec::new(),
            performance: BTreeMap::new(),
        });

        VersionWatch::new(subject, 1, now).expect("its own baseline")
    }
}

fn season(hour: f64) -> f32 {
    (SEASON * (hour / 24.0 * std::f64::consts::TAU).sin()) as f32
}

/// Runs up to a number of windows, or until an alarm starts. Returns the rows and the alarms.
fn live(
    world: &mut ProofWorld,
    watch: &mut VersionWatch,
    windows: usize,
    wrong: Wrong,
    until_alarm: bool,
) -> (usize, Vec<String>) {
    let mut now = Instant::now();
    let mut alarms = Vec::new();
    for window in 0..windows {
        let hour = window as f64 / 12.0;
        let rows = world.rows(ROWS, season(hour), wrong);
        watch.observe(&rows, &[], &settings());
        now += Duration::from_secs(300);
        let begun = watch.advance(now, 480_000 + hour as u64, &settings());
        alarms.extend(
            begun
                .into_iter()
                .map(|(place, r)| format!("{} {}", place.name, r.metric.name())),
        );
        if until_alarm && !alarms.is_empty() {
            return ((window + 1) * ROWS, alarms);
        }
    }

    (windows * ROWS, alarms)
}

#[test]
fn a_month_without_drift_raises_no_more_false_alarms_than_accepted() {
    let (seeds, days) = if is_long() { (50, 30) } else { (1, 1) };
    let mut alarms = Vec::new();
    for seed in 0..seeds {
        let mut world = ProofWorld::new(1_000 + seed);
        let mut watch = world.watch(Instant::now());
        let (_, begun) = live(&mut world, &mut watch, days * 288, Wrong::Nothing, false);
        alarms.extend(begun);
    }

    let months = seeds as f64 * days as f64 / 30.0;
    // The upper end of a Poisson mean, at 95 %: exact for none, and by its normal limit for more.
    let k = alarms.len() as f64;
    let upper = if k == 0.0 {
        3.0
    } else {
        k + 1.645 * k.sqrt() + 1.645_f64.powi(2)
    };

    println!(
        "A/A: {seeds} seeds of {days} days, {COLUMNS} columns and a word: {} alarms; at most {:.3} a month at 95 %",
        alarms.len(),
        upper / months
    );

    assert!(
        if is_long() {
            upper / months <= 1.0
        } else {
            alarms.is_empty()
        },
        "{alarms:?}"
    );
}

#[test]
fn each_defect_raises_an_alarm_for_its_column() {
    let seeds = if is_long() { 50 } else { 1 };
    // The defect, whether it exceeds the thresholds, and within how many rows it must be detected.
    let cases = [
        (Wrong::Shifted(0.1), None),
        (Wrong::Shifted(0.25), Some(16_000)),
        (Wrong::Shifted(0.5), Some(3_000)),
        (Wrong::Wider(1.5), Some(192_000)),
        (Wrong::OtherUnit, Some(2_000)),
        (Wrong::NewWord, Some(16_000)),
        (Wrong::Missing, Some(16_000)),
        (Wrong::Swapped, Some(3_000)),
    ];

    for (wrong, within) in cases {
        let (mut took, mut elsewhere) = (Vec::new(), 0);
        for seed in 0..seeds {
            let mut world = ProofWorld::new(2_000 + seed);
            let mut watch = world.watch(Instant::now());
            let (rows, alarms) = live(&mut world, &mut watch, 200, wrong, true);
            let right = |a: &String| match wrong {
                Wrong::NewWord => a.starts_with("word "),
                Wrong::Swapped => a.starts_with("x[0] ") || a.starts_with("x[1] "),
                _ => a.starts_with("x[0] "),
            };
            elsewhere += alarms.iter().filter(|a| !right(a)).count();
            took.extend(alarms.iter().any(right).then_some(rows));
        }
        took.sort_unstable();
        let median = took.get(took.len() / 2).copied();
        println!(
            "{wrong:?}: found by {} of {seeds} seeds, median {median:?} rows, at most {:?}; {elsewhere} elsewhere",
            took.len(),
            took.last()
        );
        match within {
            // What is only just above what matters may take some seeds longer than there is.
            Some(within) => {
                let found = took.len() as u64 * 10 >= seeds * 9;
                assert!(found && median.is_some_and(|m| m <= within), "{wrong:?}");
            }
            None => assert!(took.is_empty(), "{wrong:?} is below what matters"),
        }
        assert_eq!(elsewhere, 0, "{wrong:?}");
    }
}
