//! Tests of `companion`.

use super::*;
use crate::onnx::runtime::fake::{FakeSession, Script};
use crate::testing::tensor_spec as spec;

fn model() -> Signature {
    let inputs = vec![
        spec("x", DType::F32, &[-1, 3]),
        spec("kind", DType::String, &[-1, 1]),
    ];
    Signature {
        inputs,
        outputs: vec![spec("y", DType::F32, &[-1, 1])],
    }
}

fn echo(script: Script) -> Companion {
    let asks = Signature {
        inputs: vec![spec("y", DType::F32, &[-1, 1])],
        outputs: vec![spec("e", DType::F32, &[-1, 1])],
    };
    let wiring = Wiring::find(&model(), &asks).expect("fits");
    Companion::new(
        Box::new(FakeSession {
            script,
            runs: std::sync::Arc::default(),
        }),
        wiring,
    )
}

fn request(values: &[f32]) -> (Vec<Tensor>, Vec<Tensor>) {
    let x = Tensor::from_f32(vec![values.len(), 3], &vec![0.0; 3 * values.len()]).expect("fits");
    (
        vec![x],
        vec![Tensor::from_f32(vec![values.len(), 1], values).expect("fits")],
    )
}

#[test]
fn inputs_of_a_companion_must_be_inputs_or_outputs_of_the_model() {
    let find = |inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>| {
        Wiring::find(&model(), &Signature { inputs, outputs }).map_err(|e| e.message)
    };
    let one = || vec![spec("error", DType::F32, &[-1, 1])];
    let takes = find(
        vec![
            spec("y", DType::F32, &[-1, 1]),
            spec("x", DType::F32, &[-1, 3]),
        ],
        one(),
    );
    assert_eq!(takes, Ok(Wiring(vec![(Side::Output, 0), (Side::Input, 0)])));
    assert_eq!(
        find(
            vec![spec("x", DType::F32, &[-1, 3])],
            vec![spec("e", DType::F64, &[-1])]
        )
        .map(|w| w.0.len()),
        Ok(1)
    );

    let refused = |inputs, outputs, why: &str| {
        let found = find(inputs, outputs).expect_err("does not fit");
        assert!(found.contains(why), "{found}");
    };
    refused(
        vec![spec("z", DType::F32, &[-1, 3])],
        one(),
        "'z', which must be an input or an output",
    );

    refused(
        vec![spec("x", DType::F64, &[-1, 3])],
        one(),
        "another type or shape",
    );

    refused(
        vec![spec("x", DType::F32, &[-1, 4])],
        one(),
        "another type or shape",
    );

    refused(
        vec![spec("x", DType::F32, &[-1, 3])],
        vec![spec("e", DType::F32, &[-1, 2])],
        "one floating-point number",
    );

    refused(
        vec![spec("x", DType::F32, &[-1, 3])],
        vec![spec("e", DType::I64, &[-1, 1])],
        "one floating-point number",
    );

    refused(
        vec![spec("x", DType::F32, &[-1, 3])],
        [one(), one()].concat(),
        "must have one output",
    );
}

#[test]
fn expected_errors_are_averaged_over_rows_and_reset() {
    let then = BTreeMap::from([("mae".to_owned(), 3.0), ("rmse".to_owned(), 5.0)]);
    let (mut companion, mut errors) = (echo(Script::Echo), Errors::new(Some(&then)));
    for values in [&[1.0, 2.0][..], &[9.0, -1.0, f32::NAN, f32::INFINITY]] {
        let (inputs, outputs) = request(values);
        let (expected, failure) = companion.expect(&inputs, &outputs);
        assert!(failure.is_none());
        expected.into_iter().for_each(|e| errors.take(e));
    }

    let estimate = errors.close().expect("rows");
    assert_eq!(
        (estimate.rows, estimate.measures["mae"]),
        (4, 3.0),
        "no error is below nothing or endless"
    );

    let margin = estimate.margin.expect("a spread");
    assert!((margin - 1.96 * 4.0 / 2.0).abs() < 1e-12, "{margin}");
    assert_eq!(errors.close(), None);
    assert_eq!(Errors::new(None).spread, None, "nobody said");
}

#[test]
fn a_failed_run_returns_no_errors_and_its_reason_once() {
    let mut companion = echo(Script::FailOn(7.0));
    let (inputs, outputs) = request(&[7.0]);
    let (expected, why) = companion.expect(&inputs, &outputs);
    assert!(expected.is_empty() && why.is_some());
    assert!(
        companion.expect(&inputs, &outputs).1.is_none(),
        "the reason was returned before"
    );
    let (inputs, _) = request(&[1.0, 2.0]);
    let (_, outputs) = request(&[1.0]);
    let (expected, why) = echo(Script::Echo).expect(&inputs, &outputs);
    assert!(
        expected.is_empty() && why.is_some_and(|e| e.message.contains("one value for each row"))
    );
}
