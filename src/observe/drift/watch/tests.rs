//! Tests of `watch` with streams of rows, in virtual time.

use super::*;
use crate::core::hash::Digest;
use crate::core::model::{Dim, TensorSpec};
use crate::core::tensor::{DType, Strings};
use crate::observe::drift::alarm::Against;
use crate::observe::drift::profile::profile;
use crate::observe::drift::series::ColumnSeries;
use std::time::Duration;

/// Numbers in [0, 1) that look random and are always the same.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Of a normal distribution, by Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        let (a, b) = (self.next(), self.next());
        (-2.0 * (1.0 - a).ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}

pub(crate) fn settings() -> MonitorSettings {
    MonitorSettings::default()
}

fn spec(name: &str, dtype: DType, width: Option<usize>) -> TensorSpec {
    let dims = std::iter::once(Dim::Dynamic).chain(width.map(Dim::Fixed));
    TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: Some(dims.collect()),
    }
}

/// A model with two numbers and a category as inputs, and one number as output.
pub(crate) fn subject(baseline: Option<Baseline>) -> WatchSubject {
    WatchSubject {
        model: ModelName::parse("m").expect("legal"),
        version: Version::new(1).expect("legal"),
        digest: Digest([0; 32]),
        signature: Signature {
            inputs: vec![
                spec("x", DType::F32, Some(2)),
                spec("word", DType::String, None),
            ],
            outputs: vec![spec("y", DType::F32, None)],
            ..Signature::default()
        },
        features: Vec::new(),
        baseline,
        task: None,
        slices: Vec::new(),
        rules: ColumnRules::default(),
    }
}

/// A stream of requests of 100 rows, one each 10 ms.
pub(super) struct Stream {
    pub watch: VersionWatch,
    pub now: Instant,
    pub hour: u64,
    random: Random,
}

pub(super) type Row<'r> = &'r dyn Fn(&mut Random) -> ([f32; 2], &'static str);

impl Stream {
    pub(super) fn new(baseline: Option<Baseline>) -> Self {
        let now = Instant::now();
        let watch = VersionWatch::new(subject(baseline), 1, now).expect("fits");
        Self {
            watch,
            now,
            hour: 480_000,
            random: Random(7),
        }
    }

    /// Sends requests; returns the alarms that began, as `column metric`.
    pub(super) fn send(&mut self, requests: usize, row: Row<'_>) -> Vec<String> {
        let mut begun = Vec::new();
        for _ in 0..requests {
            let rows: Vec<_> = (0..100).map(|_| row(&mut self.random)).collect();
            let numbers: Vec<f32> = rows.iter().flat_map(|(x, _)| *x).collect();
            let words = Strings::from_parts(rows.iter().map(|(_, w)| *w)).expect("text");
            let answers: Vec<f32> = rows.iter().map(|(x, _)| x[0] + x[1]).collect();
            let inputs = [
                Tensor::from_f32(vec![100, 2], &numbers).expect("fits"),
                Tensor::strings(vec![100], words).expect("fits"),
            ];
            let outputs = [Tensor::from_f32(vec![100], &answers).expect("fits")];
            self.watch.contracts.count(Side::Input, &inputs);
            self.watch.contracts.count(Side::Output, &outputs);
            self.watch
                .observe(&inputs, &outputs, (self.now, &settings()));
            self.now += Duration::from_secs(1);
            let alarms = self.watch.advance(self.now, self.hour, &settings());
            begun.extend(
                alarms
                    .into_iter()
                    .map(|alarm| format!("{} {}", alarm.column, alarm.test)),
            );
        }

        begun
    }
}

pub(crate) fn usual(random: &mut Random) -> ([f32; 2], &'static str) {
    let word = ["red", "green", "blue"][(random.next() * 3.0) as usize];
    ([random.normal() as f32, random.next() as f32], word)
}

/// A baseline of the usual rows.
pub(crate) fn baseline() -> Baseline {
    let mut random = Random(1);
    let rows: Vec<_> = (0..20_000).map(|_| usual(&mut random)).collect();
    let numbers =
        |i: usize| ColumnSeries::Numbers(rows.iter().map(|(x, _)| f64::from(x[i])).collect());
    let sums = rows.iter().map(|(x, _)| f64::from(x[0] + x[1])).collect();
    let words = rows.iter().map(|(_, w)| (*w).to_owned()).collect();
    Baseline::of_columns(
        20_000,
        vec![
            profile("x[0]", &numbers(0)),
            profile("x[1]", &numbers(1)),
            profile("word", &ColumnSeries::Words(words)),
        ],
        vec![profile("y", &ColumnSeries::Numbers(sums))],
    )
}

#[test]
fn a_shift_raises_alarms_for_the_shifted_columns_only() {
    let mut stream = Stream::new(Some(baseline()));
    assert_eq!(stream.send(1_000, &usual), Vec::<String>::new());
    let report = serde_json::to_value(stream.watch.report(&settings())).expect("JSON");
    assert_eq!(
        (&report["rows"], &report["windows"], &report["alarms"]),
        (&100_000.into(), &100.into(), &0.into())
    );
    let begun = stream.send(200, &|random| {
        let (x, word) = usual(random);
        ([x[0] + 0.5, x[1]], word)
    });
    assert!(
        begun.contains(&"x[0] ks".to_owned()) && begun.contains(&"y ks".to_owned()),
        "{begun:?}"
    );
    assert!(
        !begun
            .iter()
            .any(|alarm| alarm.starts_with("x[1]") || alarm.starts_with("word")),
        "{begun:?}"
    );

    // The alarm ends some windows after the shift.
    stream.send(1_000, &usual);
    let raised = |stream: &Stream| stream.watch.report(&settings()).alarms;
    assert_eq!(raised(&stream), 0);
}

#[test]
fn a_factor_beside_a_power_of_ten_is_not_said_to_be_one() {
    let check = |factor: f32, expected: Option<f64>| {
        let mut stream = Stream::new(Some(baseline()));
        stream.send(300, &|random| {
            let (x, word) = usual(random);
            ([x[0], x[1] * factor], word)
        });
        let report = stream.watch.report(&settings());
        assert_eq!(report.columns[1].hints.scale, expected, "{factor}");
    };
    check(0.1, Some(0.1));
    check(1.0 / 11.5, None);
}

#[test]
fn new_categories_missing_values_and_other_units_raise_alarms() {
    let mut stream = Stream::new(Some(baseline()));
    let begun = stream.send(300, &|random| {
        let (x, word) = usual(random);
        let word = if random.next() < 0.1 { "purple" } else { word };
        let first = if random.next() < 0.05 { f32::NAN } else { x[0] };
        ([first, x[1] * 1_000.0], word)
    });

    for alarm in ["word largest", "x[0] missing", "x[1] wasserstein"] {
        assert!(
            begun.iter().any(|b| b == alarm),
            "{alarm} is not among {begun:?}"
        );
    }

    let report = serde_json::to_value(stream.watch.report(&settings())).expect("JSON");
    let column = |name: &str| {
        let all = report["columns"].as_array().expect("columns");
        all.iter()
            .find(|c| c["name"] == name)
            .expect("a column")
            .clone()
    };

    let unseen = column("word")["contract"]["unseen"]
        .as_u64()
        .expect("a count");
    assert!((2_700..3_300).contains(&unseen), "{unseen} of 30,000 words");
    assert!(
        column("x[0]")["contract"]["nan"]
            .as_u64()
            .is_some_and(|n| (1_300..1_700).contains(&n))
    );

    assert!(
        column("x[1]")["contract"]["above"]
            .as_u64()
            .is_some_and(|n| n > 29_000)
    );

    assert_eq!(column("x[1]")["hints"]["scale"], 1000.0);
    assert_eq!(column("x[0]")["hints"]["scale"], serde_json::Value::Null);
}

#[test]
fn a_version_without_a_baseline_builds_one_from_its_first_rows() {
    let mut stream = Stream::new(None);
    let source = |stream: &Stream| stream.watch.report(&settings()).baseline;
    stream.send(49, &usual);
    assert_eq!(source(&stream), BaselineSource::Gathering);
    stream.send(1, &usual);
    assert_eq!(source(&stream), BaselineSource::Own);
    assert_eq!(stream.send(300, &usual), Vec::<String>::new());
    let begun = stream.send(300, &|random| {
        let (x, word) = usual(random);
        ([x[0] * 2.0, x[1]], word)
    });
    assert!(begun.iter().any(|b| b == "x[0] ks"), "{begun:?}");
}

#[test]
fn windows_are_also_compared_with_the_same_hour_of_last_week() {
    let mut stream = Stream::new(Some(baseline()));
    stream.send(20, &usual);
    let tested = |stream: &Stream| {
        let report = stream.watch.report(&settings());
        report
            .columns
            .iter()
            .flat_map(|c| &c.tests)
            .filter(|t| t.against == Against::LastWeek)
            .count()
    };

    stream.hour += 1;
    stream.send(20, &usual);
    assert_eq!(tested(&stream), 0, "there is no earlier week");
    stream.hour += 167;
    stream.send(20, &usual);
    stream.hour += 1;
    stream.send(20, &usual);
    assert!(tested(&stream) > 0);
    // A clock that jumps forward a year and back does no harm.
    for jump in [8_760, -8_760, -1] {
        stream.hour = stream.hour.wrapping_add_signed(jump);
        stream.send(20, &usual);
    }
}

#[test]
fn a_window_closes_by_rows_and_else_by_age() {
    let mut stream = Stream::new(Some(baseline()));
    let closed = |stream: &Stream| stream.watch.report(&settings()).windows;
    stream.send(9, &usual);
    assert_eq!(closed(&stream), 0, "900 rows");
    stream.send(1, &usual);
    assert_eq!(closed(&stream), 1);
    stream.send(1, &usual);
    stream.now += Duration::from_secs(58);
    stream.watch.advance(stream.now, stream.hour, &settings());
    assert_eq!(closed(&stream), 1, "not yet a minute");
    stream.now += Duration::from_secs(1);
    stream.watch.advance(stream.now, stream.hour, &settings());
    assert_eq!(closed(&stream), 2, "a hundred rows, and a minute");
    stream.now += Duration::from_secs(3_600);
    stream.watch.advance(stream.now, stream.hour, &settings());
    assert_eq!(closed(&stream), 2, "no rows, no window");
}

#[test]
fn rows_that_are_not_sampled_are_checked_against_the_contract_only() {
    let stream = Stream::new(Some(baseline()));
    let inputs = [
        Tensor::from_f32(vec![1, 2], &[f32::NAN, 9.0]).expect("fits"),
        Tensor::strings(vec![1], Strings::from_parts(["purple"]).expect("text")).expect("fits"),
    ];
    stream.watch.contracts.count(Side::Input, &inputs);
    let report = stream.watch.report(&settings());
    assert_eq!((report.rows, report.sampled_rows), (1, 0));
    let counted: u64 = report
        .columns
        .iter()
        .map(|c| c.contract.unseen + c.contract.nan + c.contract.above)
        .sum();
    assert_eq!(counted, 3);
}

#[test]
fn a_baseline_of_another_model_is_refused_with_the_column() {
    let refused = |change: &dyn Fn(&mut Baseline), part: &str| {
        let mut other = baseline();
        change(&mut other);
        let error = VersionWatch::new(subject(Some(other)), 1, Instant::now())
            .err()
            .expect("must be refused");
        assert!(
            error.message.contains(part),
            "{error} does not say {part:?}"
        );
    };

    refused(
        &|b| b.inputs[0].name = "age".to_owned(),
        "the column 'age'; this model has x[0], x[1], word",
    );
    refused(
        &|b| b.inputs[2].values = b.inputs[0].values.clone(),
        "column 'word' has another type than the model's, which is BYTES",
    );
    refused(
        &|b| b.inputs[0].values = b.inputs[2].values.clone(),
        "column 'x[0]' has another type than the model's, which is FP32",
    );
    // Columns are matched by name; their order does not matter.
    let mut shuffled = baseline();
    shuffled.inputs.reverse();
    assert!(VersionWatch::new(subject(Some(shuffled)), 1, Instant::now()).is_ok());
}

#[test]
fn columns_always_missing_or_constant_in_the_baseline_are_monitored_too() {
    let mut all_nan = baseline();
    all_nan.inputs[0] = profile("x[0]", &ColumnSeries::Numbers(vec![f64::NAN; 1_000]));

    all_nan.inputs[1] = profile("x[1]", &ColumnSeries::Numbers(vec![3.0; 1_000]));

    let mut stream = Stream::new(Some(all_nan));
    let same = |random: &mut Random| ([f32::NAN, 3.0], usual(random).1);
    assert_eq!(
        stream
            .send(300, &same)
            .into_iter()
            .filter(|a| a.starts_with('x'))
            .count(),
        0
    );

    let begun = stream.send(300, &|random| ([1.0, 4.0], usual(random).1));
    assert!(
        begun.iter().any(|a| a == "x[0] missing") && begun.iter().any(|a| a == "x[1] above"),
        "{begun:?}"
    );
}

#[test]
fn ten_thousand_features_are_summarised() {
    let wide = Signature {
        inputs: vec![spec("x", DType::F32, Some(10_000))],
        outputs: Vec::new(),
        ..Signature::default()
    };
    let features: Vec<String> = (0..10_000).map(|i| format!("f{i}")).collect();
    let of = |features: Vec<String>| WatchSubject {
        signature: wide.clone(),
        features,
        ..subject(None)
    };

    // Too many columns to monitor one by one are summarised, with or without names.
    for features in [Vec::new(), features] {
        let mut watch = VersionWatch::new(of(features), 1, Instant::now()).expect("watched");
        let rows = Tensor::from_f32(vec![2, 10_000], &vec![1.0; 20_000]).expect("fits");
        let settings = MonitorSettings {
            own_rows: 100,
            ..settings()
        };
        let rows = std::slice::from_ref(&rows);
        (0..100).for_each(|_| watch.observe(rows, &[], (Instant::now(), &settings)));
        let report = watch.report(&settings);
        // Eighteen summaries, and the tensor itself, which is checked against the contract.
        assert_eq!(
            (report.columns.len(), report.columns[0].name.as_str()),
            (19, "x.norm")
        );
    }
}
