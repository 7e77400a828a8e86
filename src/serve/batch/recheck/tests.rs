//! Tests of the decisions about rechecks: when a batch gives a sample, what the answers mean, and
//! what follows.

use super::compare::{Limits, difference};
use super::verdict::REPEATS;
use super::*;
use crate::core::error::Error;
use crate::core::tensor::{DType, Strings, Tensor, View, ViewData, read_all};
use half::f16;

const SECOND: Duration = Duration::from_secs(1);

fn options() -> RecheckOptions {
    RecheckOptions {
        model: ModelName::parse("m").expect("legal"),
        version: Version::new(1).expect("legal"),
        outputs: vec!["y".to_owned()],
        interval: SECOND,
    }
}

fn rows(values: &[f32], per_row: usize) -> Tensor {
    Tensor::from_f32(vec![values.len() / per_row, per_row], values).expect("fits")
}

fn halves(values: &[f32]) -> Tensor {
    let bytes = values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes());
    Tensor::fixed(DType::F16, vec![1, values.len()], bytes.collect()).expect("fits")
}

fn doubles(values: &[f64]) -> Tensor {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes());
    Tensor::fixed(DType::F64, vec![1, values.len()], bytes.collect()).expect("fits")
}

fn labels(values: &[i64]) -> Tensor {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes());
    Tensor::fixed(DType::I64, vec![values.len()], bytes.collect()).expect("fits")
}

fn words(values: &[&str]) -> Tensor {
    let strings = Strings::from_parts(values).expect("legal");
    Tensor::strings(vec![values.len()], strings).expect("fits")
}

/// Compares one output of a request.
fn check(alone: &Tensor, batched: &Tensor, expected: Option<&str>) {
    let limits = Limits::new("cpu", std::slice::from_ref(batched));
    let found = difference(
        std::slice::from_ref(alone),
        std::slice::from_ref(batched),
        &limits,
    );
    let found = found.map(|f| format!("{} | {} | row {}", f.alone, f.batched, f.row));
    assert_eq!(found.as_deref(), expected, "{alone:?} {batched:?}");
}

#[test]
fn floats_may_differ_by_a_share_of_their_row() {
    let check = |alone: &[f32], batched: &[f32], expected| {
        check(&rows(alone, 2), &rows(batched, 2), expected);
    };
    check(&[1.0, 0.5], &[1.0, 0.5], None);
    check(&[1.0, 0.5], &[1.0, 0.500_09], None);
    check(
        &[1.0, 0.5],
        &[1.0, 0.500_2],
        Some("0.5 | 0.5001999735832214 | row 0"),
    );
    // The value itself may be small: its row is not.
    check(&[1.0, 1e-9], &[1.0, 2e-9], None);
    check(
        &[1e-9, 0.0],
        &[2e-9, 0.0],
        Some("0.0000000009999999717180685 | 0.000000001999999943436137 | row 0"),
    );
    check(&[1e6, 3.0], &[1e6, 4.0], None);
    check(
        &[9.0, 9.0, 1.0, 1.0],
        &[9.0, 9.0, 1.0, 1.5],
        Some("1 | 1.5 | row 1"),
    );
    check(&[0.0, 0.0], &[-0.0, 0.0], None);
}

#[test]
fn not_a_number_equals_itself_and_infinities_keep_their_sign() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let check = |alone: f32, batched: f32, expected| {
        check(&rows(&[alone], 1), &rows(&[batched], 1), expected);
    };
    check(nan, nan, None);
    check(inf, inf, None);
    check(nan, 1.0, Some("NaN | 1 | row 0"));
    check(1.0, inf, Some("1 | inf | row 0"));
    check(inf, -inf, Some("inf | -inf | row 0"));
}

#[test]
fn a_row_whose_terms_cancel_out_may_differ_by_its_rounding_if_the_number_of_rows_is_the_cause() {
    let (alone, batched) = ([rows(&[1e-5], 1)], [rows(&[0.1], 1)]);
    let found = |typical: &[f32]| {
        let limits = Limits::new("cpu", &[rows(typical, 1)]);
        assert!(difference(&alone, &batched, &limits).is_some());
        difference(&alone, &batched, &limits.of_size()).is_some()
    };
    assert!(!found(&[1e-5, 1e3, 1e3]));
    assert!(found(&[1e-5, 1e-5, 1e3]));
    assert!(found(&[1e-5, 1e3]), "one large neighbour is not typical");
}

#[test]
fn other_datatypes_have_their_own_limits() {
    check(&halves(&[1.0]), &halves(&[1.005]), None);
    check(
        &halves(&[1.0]),
        &halves(&[1.05]),
        Some("1 | 1.0498046875 | row 0"),
    );
    check(&doubles(&[1.0]), &doubles(&[1.0 + 1e-10]), None);
    check(
        &doubles(&[1.0]),
        &doubles(&[1.0 + 1e-8]),
        Some("1 | 1.00000001 | row 0"),
    );
    check(&labels(&[1, -2]), &labels(&[1, -2]), None);
    check(&labels(&[1, -2]), &labels(&[1, 3]), Some("-2 | 3 | row 1"));
    check(&words(&["a", "b"]), &words(&["a", "b"]), None);
    check(
        &words(&["a", "b"]),
        &words(&["a", ""]),
        Some("\"b\" | \"\" | row 1"),
    );
    check(
        &words(&["a"]),
        &words(&["a", ""]),
        Some("BYTES of shape [1] | BYTES of shape [2] | row 0"),
    );
}

/// Request `at` of a batch of requests with one value each, which a model answered.
fn sample(requests: &[f32], at: usize, model: impl Fn(&[f32]) -> Vec<Tensor>) -> Sample {
    Sample {
        padded: None,
        kept: None,
        inputs: vec![rows(&requests[at..=at], 1)],
        batch: model(requests),
        before: at,
        rows: 1,
        total: requests.len(),
        ended: Instant::now(),
        run: Duration::ZERO,
    }
}

/// Runs a model on the values of its first input, and keeps each of them.
fn running<'r>(
    seen: &'r mut Vec<Vec<f32>>,
    model: impl Fn(&[f32]) -> Vec<Tensor> + 'r,
) -> impl FnMut(&[View<'_>]) -> Result<Vec<Tensor>> + 'r {
    move |inputs| {
        let ViewData::Fixed(bytes) = inputs[0].data else {
            return Err(Error::internal("strings"));
        };
        seen.push(read_all(bytes, f32::from_le_bytes));
        Ok(model(&seen[seen.len() - 1]))
    }
}

/// Judges request `at`, and counts the runs.
fn judged(
    requests: &[f32],
    at: usize,
    model: impl Fn(&[f32]) -> Vec<Tensor>,
) -> (RecheckVerdict, usize) {
    let sample = sample(requests, at, &model);
    let mut seen = Vec::new();
    let verdict = judge(&sample, "cpu", running(&mut seen, &model)).expect("runs");
    (verdict, seen.len())
}

/// Judges request `at` in the shape of its batch, and counts the runs.
fn judged_filled(
    requests: &[f32],
    at: usize,
    model: impl Fn(&[f32]) -> Vec<Tensor>,
) -> (RecheckVerdict, usize) {
    let sample = sample(requests, at, &model);
    let mut seen = Vec::new();
    let verdict = judge_filled(&sample, "cpu", running(&mut seen, &model)).expect("runs");
    for values in &seen {
        assert_eq!(*values, vec![requests[at]; requests.len()]);
    }
    (verdict, seen.len())
}

#[test]
fn in_the_shape_of_its_batch_only_other_rows_make_a_difference() {
    let sized = |x: &[f32]| each(|y| y + x.len() as f32)(x);
    let summed = |x: &[f32]| each(|y| y + x.iter().sum::<f32>())(x);
    for at in 0..3 {
        let found = judged_filled(&[1.0, 2.0, 500.0], at, sized);
        assert_eq!(found, (RecheckVerdict::Same, 1));
        let (verdict, runs) = judged_filled(&[1.0, 2.0, 500.0], at, summed);
        assert!(
            matches!(verdict, RecheckVerdict::Different(_)),
            "{verdict:?}"
        );
        assert_eq!(runs, 1 + REPEATS);
    }

    let calls = std::cell::Cell::new(0.0);
    let drawn = |x: &[f32]| {
        calls.set(calls.get() + 1.0);
        each(|y| y + calls.get())(x)
    };
    let (verdict, _) = judged_filled(&[1.0, 2.0], 0, drawn);
    assert_eq!(verdict, RecheckVerdict::NotDeterministic);
}

fn each(change: impl Fn(f32) -> f32) -> impl Fn(&[f32]) -> Vec<Tensor> {
    move |x| vec![rows(&x.iter().map(|x| change(*x)).collect::<Vec<_>>(), 1)]
}

#[test]
fn a_model_that_keeps_rows_apart_is_run_once() {
    for at in 0..3 {
        let judged = judged(&[1.0, 2.0, 500.0], at, each(|x| x * 2.0));
        assert_eq!(judged, (RecheckVerdict::Same, 1));
    }
}

#[test]
fn a_model_that_mixes_rows_is_found_out() {
    let scaled = |x: &[f32]| {
        let largest = x.iter().copied().fold(1.0, f32::max);
        each(|x| x / largest)(x)
    };
    let summed = |x: &[f32]| each(|y| y + x.iter().sum::<f32>())(x);
    let found = |verdict| match verdict {
        RecheckVerdict::Different(found) => (found.alone, found.batched),
        other => panic!("{other:?}"),
    };

    let (verdict, runs) = judged(&[1.0, 500.0], 0, scaled);
    assert_eq!(runs, 2 + REPEATS);
    assert_eq!(found(verdict).0, "1");
    assert_eq!(judged(&[0.5, 1.0], 0, scaled).0, RecheckVerdict::Same);
    assert_eq!(
        found(judged(&[1.0, 2.0], 1, summed).0),
        ("4".into(), "5".into())
    );

    // Neither hides a large neighbour the change of a small row.
    let verdict = judged(&[1.0, 1e12], 0, scaled).0;
    assert_eq!(found(verdict).0, "1");

    // Only the label shows it.
    let label = |x: &[f32]| {
        let largest = x.iter().copied().fold(1.0, f32::max);
        vec![labels(
            &x.iter()
                .map(|x| i64::from(x / largest > 0.5))
                .collect::<Vec<_>>(),
        )]
    };
    let verdict = judged(&[1.0, 500.0], 0, label).0;
    assert_eq!(found(verdict), ("1".into(), "0".into()));
}

#[test]
fn the_number_of_rows_explains_small_differences_only() {
    let sized = |step: f32| move |x: &[f32]| each(|y| y + step * x.len() as f32)(x);
    let judged = |step| judged(&[1.0, 2.0], 0, sized(step));
    assert_eq!(judged(1e-3), (RecheckVerdict::BatchSize { tie: None }, 2));
    assert!(matches!(judged(0.1).0, RecheckVerdict::Different(_)));
}

#[test]
fn a_model_that_draws_random_numbers_is_not_deterministic() {
    let count = std::cell::Cell::new(0_u8);
    let drawn = |x: &[f32]| {
        count.set(count.get() + 1);
        each(|y| y + f32::from(count.get()))(x)
    };
    let judged = judged(&[1.0, 2.0], 0, drawn);
    assert_eq!(judged, (RecheckVerdict::NotDeterministic, 3));
}

#[test]
fn a_failed_run_is_no_verdict() {
    let sample = sample(&[1.0, 2.0], 0, each(|x| x));
    let failed = judge(&sample, "cpu", |_| Err(Error::internal("no")));
    assert_eq!(failed.expect_err("no verdict").message, "no");
}

#[test]
fn a_batch_of_copies_has_the_request_where_it_was() {
    let sample = Sample {
        padded: None,
        kept: None,
        inputs: vec![rows(&[1.0, 2.0], 1)],
        batch: Vec::new(),
        before: 3,
        rows: 2,
        total: 6,
        ended: Instant::now(),
        run: Duration::ZERO,
    };
    let copies = sample.copies().expect("fills");
    let ViewData::Fixed(bytes) = copies[0].view().data else {
        panic!("numbers");
    };
    let values = read_all(bytes, f32::from_le_bytes);
    assert_eq!(values, [2.0, 1.0, 2.0, 1.0, 2.0, 1.0]);
    let part = sample.part(&[rows(&values, 1)]).expect("cuts");
    assert_eq!(part, sample.inputs);
}

#[test]
fn ties_end_batching_only_if_they_are_frequent() {
    let tie = || {
        let found = judged(&[1.0, 2.0], 0, |x| {
            vec![labels(&vec![x.len() as i64; x.len()])]
        })
        .0;
        assert!(
            matches!(found, RecheckVerdict::BatchSize { tie: Some(_) }),
            "{found:?}"
        );
        found
    };
    let mut ties = Ties::default();
    assert_eq!(ties.weigh(RecheckVerdict::Same, 1), Consequence::GoOn);
    assert_eq!(ties.weigh(tie(), 2), Consequence::GoOn);
    assert_eq!(ties.weigh(tie(), 10_002), Consequence::GoOn);
    assert!(matches!(
        ties.weigh(tie(), 20_001),
        Consequence::EndBatching(_)
    ));
}

#[test]
fn rechecks_keep_their_budget() {
    for count in 0..100 {
        let varied = pause(SECOND, Duration::ZERO, count);
        assert!((SECOND..2 * SECOND).contains(&varied), "{varied:?}");
    }
    let took = Duration::from_millis(500);
    assert_eq!(
        pause(SECOND, took, 1),
        took * 99,
        "at most 1 % of a lane's time"
    );
}

#[test]
fn one_batch_at_a_time_gives_a_sample_from_the_first_on() {
    let zero = Instant::now();
    let rechecks = Rechecks::new(Some(options()), zero);
    assert!(rechecks.is_due(zero));
    assert!(rechecks.claim());
    assert!(!rechecks.is_due(zero + 1000 * SECOND));
    assert!(!rechecks.claim(), "another lane was first");

    let metrics = crate::observe::metrics::Metrics::new().expect("metrics");
    let metrics = metrics.servable(&options().model, options().version);
    let end = zero + 10 * SECOND;
    let rechecked = Rechecked {
        sample: sample(&[1.0, 2.0], 0, each(|x| x)),
        verdict: Ok(RecheckVerdict::Same),
        start: end,
        end,
    };
    rechecks.conclude(rechecked, &metrics);
    assert_eq!((metrics.batch_rechecks.get(), rechecks.ended()), (1, None));
    assert!(!rechecks.is_due(end + SECOND - Duration::from_nanos(1)));
    assert!(rechecks.is_due(end + 2 * SECOND));

    let off = Rechecks::new(None, zero);
    assert!(!off.is_due(zero + 1000 * SECOND));
}

#[test]
fn a_sample_waits_for_an_idle_lane_only_so_long() {
    let sample = sample(&[1.0, 2.0], 0, each(|x| x));
    let overdue = |after| sample.is_overdue(sample.ended + after);
    assert!(!overdue(SECOND - Duration::from_nanos(1)));
    assert!(overdue(SECOND));
}
