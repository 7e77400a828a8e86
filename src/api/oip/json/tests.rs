//! What an infer request in JSON and binary carries, and what it refuses.

use super::*;
use crate::model::{ModelName, TensorSpec, Version};
use crate::request::Timing;
use proptest::prelude::*;

fn refused(body: &str, length: Option<usize>, part: &str) {
    let error = decode(&Bytes::copy_from_slice(body.as_bytes()), length).expect_err("must be refused");
    assert!(error.message.contains(part), "{body}: {error} does not say {part:?}");
}

fn input(fields: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32",{fields}}}]}}"#)
}

#[test]
fn flat_and_nested_data_are_the_same() {
    for data in ["[1,2,3,4]", "[[1,2],[3,4]]"] {
        let body = input(&format!(r#""shape":[2,2],"data":{data}"#));
        let decoded = decode(&body.into(), None).expect("legal");
        assert_eq!(
            decoded.inputs[0].1.to_raw(),
            Tensor::from_f32(vec![2, 2], &[1.0, 2.0, 3.0, 4.0]).expect("fits").to_raw()
        );
    }
}

#[test]
fn binary_parts_are_accounted_for_to_the_byte() {
    let head = input(r#""shape":[1],"parameters":{"binary_data_size":4}"#);
    let with = |tail: &str| format!("{head}{tail}");
    assert!(decode(&with("abcd").into(), Some(head.len())).is_ok());
    refused(&with("abc"), Some(head.len()), "binary_data_size is 4, 3 bytes are left");
    refused(&with("abcde"), Some(head.len()), "1 bytes follow");
    refused(&head, Some(head.len() + 1), "Inference-Header-Content-Length");
    refused(&input(r#""shape":[1],"data":[1],"parameters":{"binary_data_size":4}"#), None, "both");
    refused(&input(r#""shape":[1]"#), None, "neither");
}

#[test]
fn parameters_are_honoured_or_refused() {
    let with = |p: &str| format!(r#"{{"inputs":[],"parameters":{{{p}}}}}"#);
    let decoded =
        decode(&with(r#""priority":3,"timeout":9,"binary_data_output":true,"x":"y""#).into(), None).expect("legal");
    assert_eq!(decoded.parameters, Parameters { priority: 3, timeout_us: Some(9) });
    assert!(decoded.binary_default);
    refused(&with(r#""priority":256"#), None, "'priority'");
    refused(&with(r#""timeout":-1"#), None, "'timeout'");
    refused(&with(r#""sequence_id":1"#), None, "'sequence_id' is not served");
    refused(&with(r#""a":1,"a":2"#), None, "given twice");
    refused(&with(r#""a":[1]"#), None, "a boolean, a number or a string");
}

#[test]
fn a_raw_body_is_one_row_of_the_one_input() {
    let spec = |shape: &[i64]| TensorSpec {
        name: "x".into(),
        dtype: DType::F32,
        shape: Some(shape.iter().map(|d| usize::try_from(*d).map_or(Dim::Dynamic, Dim::Fixed)).collect()),
    };
    let shape = |dims: &[i64], bytes: usize| {
        let signature = Signature { inputs: vec![spec(dims)], outputs: vec![] };
        raw_request(vec![0; bytes].into(), &signature).map(|t| t[0].1.shape().to_vec()).ok()
    };
    assert_eq!(shape(&[-1, 4], 16), Some(vec![1, 4]));
    assert_eq!(shape(&[-1, -1], 12), Some(vec![1, 3]));
    assert_eq!(shape(&[2, 2], 16), Some(vec![2, 2]));
    assert_eq!(shape(&[-1, 4], 15), None);
    assert_eq!(shape(&[-1, -1, -1], 16), None);
}

proptest! {
    #[test]
    fn binary_answers_decode_to_what_was_encoded(which in 0_usize..14, rows in 0_usize..4, seed: Vec<u8>) {
        let dtype = DType::ALL[which];
        let byte = |i: usize| seed.get(i % seed.len().max(1)).copied().unwrap_or(9);
        let tensor = match dtype.element_bytes() {
            None => Tensor::strings(vec![rows], crate::tensor::Strings::from_parts((0..rows).map(|i| byte(i).to_string())).expect("text")),
            Some(width) => {
                let mask = if dtype == DType::Bool { 1 } else { 255 };
                Tensor::fixed(dtype, vec![rows], (0..rows * width).map(|i| byte(i) & mask).collect())
            }
        }.expect("fits");
        let response = Response {
            model: ModelName::parse("m").expect("legal"), version: Version::new(3).expect("legal"), id: "i\n".into(),
            prediction_id: uuid::Uuid::nil(), outputs: vec![("y".into(), tensor.clone())], timing: Timing::default(),
        };
        let encoded = encode(&response, &|_| true).expect("encodes");
        let body: Bytes = encoded.body.into();
        let length = encoded.json_bytes.unwrap_or(body.len());
        // An output has the form of an input.
        let head = String::from_utf8(body[..length].to_vec()).expect("text").replace("\"outputs\"", "\"inputs\"");
        let again = decode(&[head.as_bytes(), &body[length..]].concat().into(), Some(head.len())).expect("our own answer");
        prop_assert_eq!(again.inputs[0].1.to_raw(), tensor.to_raw());
    }

    #[test]
    fn no_body_makes_it_panic(body: Vec<u8>, length in proptest::option::of(0_usize..64)) {
        let _ = decode(&body.into(), length);
    }
}
