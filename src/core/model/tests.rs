//! The rules of names and versions, and which inputs a signature refuses.

use super::*;

#[test]
fn model_names_allow_only_listed_characters() {
    for good in ["a", "fraud-v2", "A.b_c", &"x".repeat(NAME_BYTES_MAX)] {
        assert!(ModelName::parse(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        ".",
        "..",
        "a/b",
        "a\\b",
        "%2e",
        "a b",
        "a\n",
        "ü",
        &"x".repeat(NAME_BYTES_MAX + 1),
    ] {
        assert!(ModelName::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn versions_are_positive_integers_without_leading_zero() {
    assert_eq!(
        Version::parse("9223372036854775807")
            .expect("the greatest")
            .number(),
        i64::MAX as u64
    );

    for bad in [
        "",
        "0",
        "01",
        "-1",
        "+1",
        "1.0",
        "9223372036854775808",
        "18446744073709551616",
        "1a",
    ] {
        assert!(Version::parse(bad).is_err(), "{bad}");
    }
}

fn spec(name: &str, shape: &[i64]) -> TensorSpec {
    crate::testing::tensor_spec(name, DType::F32, shape)
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::from_f32(shape.to_vec(), &vec![0.0; shape.iter().product()]).expect("fits")
}

fn check(given: &[(&str, &[usize])], answer: &str) {
    let signature = Signature {
        inputs: vec![spec("a", &[-1, 2]), spec("b", &[-1])],
        outputs: vec![],
    };

    let given = given
        .iter()
        .map(|(n, s)| ((*n).to_owned(), zeros(s)))
        .collect();
    match signature.check(given) {
        Ok(tensors) => assert_eq!(
            format!(
                "{:?}",
                tensors.iter().map(Tensor::shape).collect::<Vec<_>>()
            ),
            answer
        ),
        Err(error) => assert!(
            error.message.contains(answer),
            "{error} does not say {answer:?}"
        ),
    }
}

#[test]
fn signature_orders_inputs_and_names_what_is_wrong() {
    check(&[("b", &[3]), ("a", &[3, 2])], "[[3, 2], [3]]");
    check(&[("a", &[3, 2])], "input 'b' is missing");
    check(
        &[("a", &[3, 2]), ("b", &[3]), ("c", &[3])],
        "input 'c' is unknown",
    );
    check(
        &[("a", &[3, 2]), ("a", &[3, 2]), ("b", &[3])],
        "input 'a' is given twice",
    );
    check(
        &[("a", &[3, 3]), ("b", &[3])],
        "input 'a' has shape [3, 3], the model takes [-1, 2]",
    );
    check(&[("a", &[3, 2, 1]), ("b", &[3])], "input 'a' has shape");
}

#[test]
fn signature_refuses_another_datatype() {
    let signature = Signature {
        inputs: vec![spec("a", &[-1])],
        outputs: vec![],
    };
    let wrong = Tensor::fixed(DType::I32, vec![1], vec![0; 4].into()).expect("fits");
    let error = signature
        .check(vec![("a".into(), wrong)])
        .expect_err("INT32 for FP32");
    assert_eq!(error.message, "input 'a' is INT32, the model takes FP32");
}

#[test]
fn selected_outputs_must_exist_once() {
    let signature = Signature {
        inputs: vec![],
        outputs: vec![spec("y", &[-1]), spec("z", &[-1])],
    };

    assert_eq!(signature.select(&[]).expect("all"), [0, 1]);
    assert_eq!(signature.select(&["z".into()]).expect("one"), [1]);
    assert!(
        signature
            .select(&["w".into()])
            .expect_err("unknown")
            .message
            .contains("y, z")
    );

    assert!(signature.select(&["z".into(), "z".into()]).is_err());
}
