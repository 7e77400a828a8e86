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
        ..Signature::default()
    };

    let given = given
        .iter()
        .map(|(n, s)| ((*n).to_owned(), zeros(s)))
        .collect();
    match signature.check(given) {
        Ok(inputs) => assert_eq!(
            format!(
                "{:?}",
                inputs.tensors().map(Tensor::shape).collect::<Vec<_>>()
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

/// Takes a, and optionally k, a number without rows, and w, which is not listed; f is fixed.
fn with_optional() -> Signature {
    let optional = |name: &str, dims: &[i64]| OptionalInput {
        spec: spec(name, dims),
        is_listed: name == "k",
    };
    Signature {
        inputs: vec![spec("a", &[-1, 2])],
        optional: vec![optional("k", &[1]), optional("w", &[-1])],
        fixed: vec![FixedInput {
            name: "f".to_owned(),
            reason: "it is old",
        }],
        ..Signature::default()
    }
}

#[test]
fn optional_inputs_may_be_left_out_and_keep_the_order_of_the_graph() {
    let check = |given: &[(&str, &[usize])]| {
        let given = given.iter().map(|(n, s)| ((*n).to_owned(), zeros(s)));
        let checked = with_optional().check(given.collect());
        checked.map_err(|e| e.message).map(|inputs| {
            let optional = inputs.optional.iter();
            let names: Vec<_> = optional.map(|given| given.name.clone()).collect();
            (inputs.required.len(), names)
        })
    };
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();

    let a: (&str, &[usize]) = ("a", &[3, 2]);
    assert_eq!(check(&[a]), Ok((1, vec![])));
    assert_eq!(check(&[("k", &[1]), a]), Ok((1, names(&["k"]))));
    let both = check(&[("w", &[7]), a, ("k", &[1])]);
    assert_eq!(both, Ok((1, names(&["k", "w"]))));

    for (given, expected) in [
        (
            ("k", &[3][..]),
            "input 'k' has shape [3], the model takes [1]",
        ),
        (
            ("f", &[1]),
            "input 'f' has a fixed default: it is old; the model takes a, and optionally k",
        ),
        (
            ("z", &[1]),
            "input 'z' is unknown; the model takes a, and optionally k",
        ),
    ] {
        assert_eq!(check(&[a, given]), Err(expected.to_owned()));
    }
    let twice = check(&[a, ("k", &[1]), ("k", &[1])]);
    assert_eq!(twice, Err("input 'k' is given twice".to_owned()));
    let missing = check(&[("k", &[1])]).expect_err("a is required");
    assert!(missing.starts_with("input 'a' is missing"), "{missing}");

    let wrong = Tensor::fixed(DType::I32, vec![1], vec![0; 4].into()).expect("fits");
    let given = vec![("k".to_owned(), wrong)];
    let error = with_optional().check(given).expect_err("INT32 for FP32");
    assert_eq!(error.message, "input 'k' is INT32, the model takes FP32");
}

#[test]
fn metadata_lists_optional_inputs_after_the_required_ones() {
    let signature = with_optional();
    let listed: Vec<_> = signature.listed_inputs().map(|s| s.name.as_str()).collect();
    assert_eq!(listed, ["a", "k"]);
}

#[test]
fn signature_refuses_another_datatype() {
    let signature = Signature {
        inputs: vec![spec("a", &[-1])],
        outputs: vec![],
        ..Signature::default()
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
        ..Signature::default()
    };

    assert_eq!(signature.select(&[]).expect("all")[..], [0, 1]);
    assert_eq!(signature.select(&["z".into()]).expect("one")[..], [1]);
    assert!(
        signature
            .select(&["w".into()])
            .expect_err("unknown")
            .message
            .contains("y, z")
    );

    assert!(signature.select(&["z".into(), "z".into()]).is_err());
}
