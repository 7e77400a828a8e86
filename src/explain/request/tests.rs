//! Tests of `request`.

use super::super::derivation::{CalendarPart, Derivation, DerivedValue};
use super::super::linear::{LinearPart, LinearTerm};
use super::super::model::tests::trees_of_three_classes;
use super::super::model::{ExplainedModelParts, ExplainedParts, ScoreScale};
use super::*;
use crate::core::model::{Dim, TensorSpec};

fn number(weight: f32) -> LinearPart {
    LinearPart {
        term: LinearTerm::Number {
            mean: 0.0,
            spread: 1.0,
            clip: 1e4,
            weights: vec![weight],
            missing: vec![-100.0],
        },
        means: vec![0.0],
    }
}

fn feature(name: &str, input: &str) -> ExplainedFeature {
    ExplainedFeature {
        name: name.to_owned(),
        input: input.to_owned(),
        column: 0,
        categories: None,
        derived: None,
    }
}

/// Two numbers in one input, a word, and two parts of one time.
fn model() -> ExplainedModel {
    let part = |name: &str, part| ExplainedFeature {
        derived: Some(Derivation {
            source: "time".to_owned(),
            how: DerivedValue::Part {
                part,
                per_second: 1.0,
                zone: 0.0,
            },
        }),
        ..feature(name, "time")
    };
    let mut words = vec![0.0; 256];
    words[0] = 50.0;
    words[255] = 60.0;
    let word = LinearPart {
        term: LinearTerm::Category(words),
        means: vec![0.0],
    };
    ExplainedModel::new(ExplainedModelParts {
        features: vec![
            feature("a", "numbers"),
            part("hour", CalendarPart::Hour),
            ExplainedFeature {
                categories: Some(vec!["red".to_owned()]),
                ..feature("colour", "colour")
            },
            ExplainedFeature {
                column: 1,
                ..feature("b", "numbers")
            },
            part("minute", CalendarPart::Minute),
        ],
        classes: Vec::new(),
        scale: ScoreScale::Value,
        start: vec![1.0],
        parts: ExplainedParts::Linear(vec![
            number(1.0),
            number(2.0),
            word,
            number(-10.0),
            number(3.0),
        ]),
    })
    .expect("a model")
}

fn inputs(numbers: &[f32], words: &[&str], times: &[f64]) -> NamedTensors {
    let bytes: Vec<u8> = times.iter().flat_map(|t| t.to_le_bytes()).collect();
    let strings = Strings::from_parts(words).expect("strings");
    vec![
        (
            "numbers".to_owned(),
            Tensor::from_f32(vec![numbers.len() / 2, 2], numbers).expect("numbers"),
        ),
        (
            "colour".to_owned(),
            Tensor::strings(vec![words.len(), 1], strings).expect("words"),
        ),
        (
            "time".to_owned(),
            Tensor::fixed(DType::F64, vec![times.len(), 1], bytes.into()).expect("times"),
        ),
    ]
}

fn explained(model: &ExplainedModel, inputs: &NamedTensors, top: usize) -> NamedTensors {
    let request = ExplainRequest::new(model, inputs, top).expect("a request");
    let found = request.explain(|| ControlFlow::Continue(()));
    found.expect("explained").expect("not ended")
}

fn words(tensor: &Tensor) -> Vec<&str> {
    let Data::Strings(strings) = tensor.data() else {
        panic!("strings")
    };
    strings.words().collect()
}

#[test]
fn the_largest_contributions_come_first_and_parts_of_a_time_count_for_it() {
    let model = model();
    // 02:05 and 00:00.
    let inputs = inputs(&[1.0, 2.0, f32::NAN, 0.5], &["red", ""], &[7_500.0, 0.0]);
    let found = explained(&model, &inputs, 3);
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [FEATURES, CONTRIBUTIONS, BASE]);
    assert_eq!(
        words(&found[0].1),
        ["colour", "b", "time", "a", "colour", "b"]
    );
    assert_eq!(found[0].1.shape(), [2, 3]);
    let values = found[1].1.floats().expect("numbers");
    assert_eq!(values, [50.0, -20.0, 19.0, -100.0, 60.0, -5.0]);
    assert_eq!(found[2].1.shape(), [2]);
    assert_eq!(found[2].1.floats().expect("numbers"), [1.0, 1.0]);

    // More than there are: all of them, so that they and the base are the score.
    let found = explained(&model, &inputs, TOP_MAX);
    assert_eq!(found[1].1.shape(), [2, 4]);
    let values = found[1].1.floats().expect("numbers");
    assert_eq!(values[..4].iter().sum::<f64>(), 50.0 - 20.0 + 19.0 + 1.0);
}

#[test]
fn each_of_several_classes_has_its_own_contributions() {
    let model = ExplainedModel::new(trees_of_three_classes()).expect("a model");
    let numbers = |values: &[f32]| Tensor::from_f32(vec![2, 1], values).expect("numbers");
    let strings = || {
        let strings = Strings::from_parts(["green", "blue"]).expect("strings");
        Tensor::strings(vec![2, 1], strings).expect("words")
    };
    let inputs: NamedTensors = vec![
        ("f0".to_owned(), numbers(&[0.2, 0.9])),
        ("f1".to_owned(), strings()),
        ("f2".to_owned(), numbers(&[f32::NAN, 0.4])),
        ("f3".to_owned(), strings()),
        ("f4".to_owned(), numbers(&[0.6, 0.1])),
    ];
    let found = explained(&model, &inputs, 5);
    assert_eq!(found[0].1.shape(), [2, 3, 5]);
    assert_eq!(found[2].1.shape(), [2, 3]);
    let sums = found[1].1.floats().expect("numbers");
    let bases = found[2].1.floats().expect("numbers");
    for (row, cells) in [
        [0.2, 1.0, f32::NAN, 1.0, 0.6],
        [0.9, 254.0, 0.4, 254.0, 0.1],
    ]
    .iter()
    .enumerate()
    {
        let mut one = RowContributions::default();
        model.contribute(cells, &mut TreeScratch::default(), &mut one);
        for (class, score) in model.scores(&one).iter().enumerate() {
            let at = row * 3 + class;
            let whole = bases[at] + sums[at * 5..][..5].iter().sum::<f64>();
            assert!((whole - score).abs() < 1e-12, "row {row}, class {class}");
        }
    }
}

#[test]
fn a_request_that_cannot_be_explained_is_refused() {
    let model = model();
    let good = inputs(&[1.0, 2.0], &["red"], &[0.0]);
    let check = |why: &str, inputs: &NamedTensors| {
        let error = ExplainRequest::new(&model, inputs, 3).map(drop);
        let error = error.expect_err(why);
        assert!(error.message.contains(why), "{error} has no '{why}'");
    };
    check("'time' of FP64 is missing", &good[..2].to_vec());
    check(
        "'colour' of BYTES is missing",
        &vec![good[0].clone(), good[2].clone()],
    );
    let mut other = good.clone();
    other[2] = ("time".to_owned(), good[0].1.clone());
    check("'time' of FP64 is missing", &other);
    let mut other = good.clone();
    other[0].1 = Tensor::from_f32(vec![3], &[1.0, 2.0, 3.0]).expect("numbers");
    check("does not have 2 values for each row", &other);
    other[0].1 = Tensor::from_f32(vec![2, 2], &[1.0; 4]).expect("numbers");
    check("for each row", &other);
}

#[test]
fn more_than_the_limits_is_refused_and_what_fits_is_not() {
    let model = model();
    let fit = usize::try_from(STEPS_MAX / model.row_steps()).expect("rows");
    assert_eq!(model.row_steps(), 5);
    check_size(&model, fit, 0).expect("fits");
    let error = check_size(&model, fit + 1, 0).expect_err("too many");
    assert!(error.message.contains("send fewer rows"), "{error}");
    let rows = ANSWER_BYTES_MAX / 16 / 4;
    check_size(&model, rows, 4).expect("fits");
    let error = check_size(&model, rows + 1, 4).expect_err("too many");
    assert!(error.message.contains("fewer contributions"), "{error}");
}

#[test]
fn a_request_that_is_told_to_end_has_no_answer() {
    let model = model();
    let inputs = inputs(&[0.0; 6], &["", "", ""], &[0.0; 3]);
    let request = ExplainRequest::new(&model, &inputs, 1).expect("a request");
    let mut left = 2;
    let found = request.explain(|| {
        left -= 1;
        match left {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    assert_eq!(found.expect("no error"), None);
}

#[test]
fn an_explanation_of_another_model_is_refused() {
    let model = model();
    let spec = |name: &str, dtype| TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: Some(vec![Dim::Dynamic, Dim::Fixed(1)]),
    };
    let signature = |time: DType| Signature {
        inputs: vec![
            spec("numbers", DType::F32),
            spec("colour", DType::String),
            spec("time", time),
        ],
        ..Signature::default()
    };
    model.check_signature(&signature(DType::F64)).expect("its");
    let error = model.check_signature(&signature(DType::F32));
    let error = error.expect_err("another");
    assert!(error.message.contains("'time' of FP64"), "{error}");
}

#[test]
fn the_largest_are_found_in_the_order_of_their_size() {
    let values = [1.0, -3.0, 3.0, 0.0, 2.0];
    let mut order = Vec::new();
    for (top, expected) in [(1, vec![1]), (3, vec![1, 2, 4]), (5, vec![1, 2, 4, 0, 3])] {
        largest_first(&values, top, &mut order);
        assert_eq!(order, expected, "top {top}");
    }
}
