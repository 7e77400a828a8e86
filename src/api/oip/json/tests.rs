//! Infer bodies that are accepted, those that are refused with which error, and
//! that binary and JSON round trips keep every bit.

mod outputs;

use super::*;
use crate::core::error::Kind;
use crate::core::model::{ModelName, TensorSpec, Version};
use crate::core::request::Timing;
use proptest::prelude::*;

/// Decodes without shared memory.
fn decode(body: &Bytes, json_bytes: Option<usize>) -> Result<InferRequest> {
    super::decode(body, json_bytes, &Regions::off())
}

fn infer(json: &str, tail: &[u8]) -> Result<InferRequest> {
    let body: Bytes = [json.as_bytes(), tail].concat().into();
    decode(&body, Some(json.len()))
}

/// Compares the inputs, written flat, or a part of the error.
fn check(json: &str, tail: &[u8], expected: &str) {
    check_once(json, tail, expected);
    // Space makes each array long enough to be read without being checked before.
    let long = json.replace('[', &format!("[{}", " ".repeat(128)));
    check_once(&long, tail, expected);
}

fn check_once(json: &str, tail: &[u8], expected: &str) {
    match infer(json, tail) {
        Ok(request) => {
            let mut out = Vec::new();
            for (name, tensor) in &request.inputs {
                out.extend_from_slice(
                    format!("{name} {} {:?} ", tensor.dtype(), tensor.shape()).as_bytes(),
                );
                write_elements(&mut out, tensor, false);
                out.push(b';');
            }
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{json}");
        }
        Err(error) => {
            assert!(
                error.message.contains(expected),
                "{json}: {error} does not say {expected:?}"
            );
            assert!(
                matches!(error.kind, Kind::InvalidArgument | Kind::Unimplemented),
                "{error:?}"
            );
        }
    }
}

/// One input `x` with these members besides its name.
fn one(members: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x",{members}}}]}}"#)
}

#[test]
fn data_is_accepted_flat_or_nested_as_its_shape() {
    let x = |shape: &str, data: &str| {
        one(&format!(
            r#""shape":{shape},"datatype":"INT32","data":{data}"#
        ))
    };

    check(&x("[2,2]", "[1,2,3,4]"), b"", "x INT32 [2, 2] [1,2,3,4];");
    check(
        &x("[2,2]", "[[1,2],[3,4]]"),
        b"",
        "x INT32 [2, 2] [1,2,3,4];",
    );

    let late_shape = one(r#""data":[1,2],"datatype":"INT32","shape":[2]"#);
    check(&late_shape, b"", "x INT32 [2] [1,2];");
    check(&x("[]", "5"), b"", "x INT32 [] [5];");
    check(&x("[]", "[5]"), b"", "x INT32 [] [5];");
    check(&x("[0,3]", "[]"), b"", "x INT32 [0, 3] [];");
    check(&x("[4]", "[[1,2],[3,4]]"), b"", "nested deeper than 1");
    check(
        &x("[2,2]", "[[1,2,3,4]]"),
        b"",
        "neither flat nor as the shape",
    );

    check(&x("[2,2]", "[[1,2],[3]]"), b"", "ragged");
    check(
        &x("[2,2]", "[1,2,3]"),
        b"",
        "3 elements do not fill the shape [2, 2]",
    );

    check(&x("[2]", "7"), b"", "neither flat");
    check(&x("[2,-1]", "[1,2]"), b"", "negative");
    check(&x("[1.0]", "[1]"), b"", "not an integer");
    check(&x("[9223372036854775807,2]", "[1]"), b"", "overflows");
    check(
        &x(&format!("{:?}", [1; RANK_MAX + 1]), "[1]"),
        b"",
        "rank 17",
    );

    check(&x("2", "[1,2]"), b"", "shape must be a JSON array");
    check(&x("[1]", "[1.5]"), b"", "input 'x': element 0 is 1.5");
    check(
        &x("[1]", "[NaN]"),
        b"",
        "element 0 is NaN, which is not a valid INT32",
    );
}

#[test]
fn bodies_that_are_not_requests_are_refused() {
    for body in ["[]", "0", "null", "\"x\""] {
        check(body, b"", "the request must be a JSON object");
    }
    check("", b"", "the body is empty");
    check("{}", b"", "has no inputs");
    check(
        r#"{"instances":[[1]]}"#,
        b"",
        "has no inputs; send instances to /v1/models/NAME:predict",
    );
    for table in ["dataframe_split", "dataframe_records"] {
        let body = format!(r#"{{"{table}":[1]}}"#);
        check(&body, b"", "has no inputs; send a table to /invocations");
    }
    check(r#"{"inputs":{}}"#, b"", "inputs must be a JSON array");
    check(r#"{"inputs":[[]]}"#, b"", "an input must be a JSON object");
    check(r#"{"inputs":[{}]}"#, b"", "has no name");
    check(r#"{"inputs":[],"inputs":[]}"#, b"", "'inputs' twice");
    check(r#"{"inputs":[]} x"#, b"", "not valid JSON");
    check(r#"{"inputs":[],"id":7}"#, b"", "id must be a JSON string");
    check(
        r#"{"inputs":[],"id":null,"own":{"a":[1]},"own":2}"#,
        b"",
        "",
    );

    check(
        &one(r#""shape":[1],"datatype":"FLOAT","data":[1]"#),
        b"",
        "datatype 'FLOAT' is unknown",
    );

    check(
        &one(r#""datatype":"FP32","data":[1]"#),
        b"",
        "shape is missing",
    );

    check(
        &one(r#""shape":[1],"data":[1]"#),
        b"",
        "datatype is missing",
    );

    check(
        &one(r#""shape":[1],"datatype":"FP16","data":[1]"#),
        b"",
        "binary tensor data",
    );

    check(
        &one(r#""shape":[1],"datatype":"FP32","data":[1],"data":[1]"#),
        b"",
        "'data' twice",
    );

    check(
        &one(&format!(r#""shape":[1],"datatype":"{}""#, "Z".repeat(9999))),
        b"",
        "is unknown",
    );

    let many = |n: usize| format!(r#"{{"inputs":[{}]}}"#, vec!["{}"; n].join(","));
    check(&many(INPUTS_MAX), b"", "has no name");
    check(&many(INPUTS_MAX + 1), b"", "257 inputs");
    check(&many(1_000_000), b"", "1000000 inputs");
}

#[test]
fn binary_parts_account_for_every_byte() {
    let x = |size: &str| {
        one(&format!(
            r#""shape":[2],"datatype":"INT16","parameters":{{"binary_data_size":{size}}}"#
        ))
    };

    check(&x("4"), &[1, 0, 2, 0], "x INT16 [2] [1,2];");
    check(&x("4"), &[1, 0, 2, 0, 9], "1 bytes follow");
    check(
        &x("4"),
        &[1, 0, 2],
        "binary_data_size is 4, the body has 3 bytes left",
    );

    check(&x("3"), &[1, 0, 2], "takes 4 bytes, got 3");
    check(&x("-1"), b"", "not an integer");
    check(&x("18446744073709551616"), b"", "not an integer");
    check(&x("\"4\""), &[1, 0, 2, 0], "not an integer");
    check(
        &one(r#""shape":[1],"datatype":"INT8""#),
        b"",
        "neither data nor",
    );

    let both = r#""shape":[1],"datatype":"INT8","data":[1],"parameters":{"binary_data_size":1}"#;
    check(&one(both), &[1], "both data and");
    check(
        &one(r#""shape":[1],"datatype":"BOOL","parameters":{"binary_data_size":1}"#),
        &[2],
        "neither 0 nor 1",
    );

    check(
        &one(r#""shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":5}"#),
        b"\x09\0\0\0a",
        "beyond",
    );

    let body = Bytes::from_static(b"{}");
    assert!(
        decode(&body, Some(3))
            .unwrap_err()
            .message
            .contains("Inference-Header-Content-Length is 3")
    );

    assert!(decode(&body, Some(usize::MAX)).is_err());
    assert!(
        decode(&Bytes::from(x("4")), None)
            .unwrap_err()
            .message
            .contains("0 bytes left")
    );
}

#[test]
fn binary_parts_are_not_copied() {
    let json = one(r#""shape":[2],"datatype":"FP16","parameters":{"binary_data_size":4}"#);
    let body: Bytes = [json.as_bytes(), &[1, 2, 3, 4]].concat().into();
    let request = decode(&body, Some(json.len())).unwrap();
    assert_eq!(
        request.inputs[0].1.to_raw().as_ptr(),
        body[json.len()..].as_ptr()
    );
}

#[test]
fn parameters_are_applied_or_refused() {
    let with = |parameters: &str| {
        infer(
            &format!(r#"{{"inputs":[],"parameters":{parameters}}}"#),
            b"",
        )
    };

    let read = with(r#"{"priority":255,"timeout":9,"binary_data_output":true,"own":"x","n":1.5}"#)
        .unwrap();
    assert_eq!(
        read.parameters,
        JsonParameters {
            priority: 255,
            timeout_us: Some(9),
            binary_data_output: true,
            route_key: None
        }
    );

    for (parameters, kind, part) in [
        (r#"{"priority":256}"#, Kind::InvalidArgument, "priority"),
        (r#"{"priority":-1}"#, Kind::InvalidArgument, "priority"),
        (r#"{"timeout":"9"}"#, Kind::InvalidArgument, "timeout"),
        (
            r#"{"binary_data_output":1}"#,
            Kind::InvalidArgument,
            "binary_data_output",
        ),
        (
            r#"{"priority":1,"priority":2}"#,
            Kind::InvalidArgument,
            "twice",
        ),
        (r#"{"own":[1]}"#, Kind::InvalidArgument, "'own' must be"),
        (
            r#"[]"#,
            Kind::InvalidArgument,
            "parameters must be a JSON object",
        ),
        (r#"{"sequence_id":1}"#, Kind::Unimplemented, "sequence_id"),
    ] {
        let error = with(parameters).unwrap_err();
        assert_eq!(error.kind, kind, "{parameters}");
        assert!(error.message.contains(part), "{parameters}: {error}");
    }
}

#[test]
fn id_is_echoed_and_bounded() {
    let with = |len: usize| {
        infer(
            &format!(r#"{{"inputs":[],"id":"{}"}}"#, "i".repeat(len)),
            b"",
        )
    };

    assert_eq!(with(256).unwrap().id.len(), 256);
    assert!(with(257).unwrap_err().message.contains("id is over 256"));
}

#[test]
fn raw_body_is_the_single_input() {
    use Dim::{Dynamic, Fixed};
    let signature = |dtype, shape: &[Dim]| Signature {
        inputs: vec![TensorSpec {
            name: "x".into(),
            dtype,
            shape: Some(shape.to_vec()),
        }],
        outputs: Vec::new(),
        ..Signature::default()
    };

    let shape = |dtype, dims: &[Dim], len: usize| {
        raw_request(vec![b'a'; len].into(), &signature(dtype, dims))
            .map(|inputs| inputs[0].1.shape().to_vec())
    };
    assert_eq!(shape(DType::F32, &[Dynamic, Fixed(3)], 12).unwrap(), [1, 3]);
    assert_eq!(
        shape(DType::F32, &[Dynamic, Dynamic, Fixed(2)], 24).unwrap(),
        [1, 3, 2]
    );
    assert_eq!(shape(DType::F32, &[Fixed(2)], 8).unwrap(), [2]);
    assert_eq!(shape(DType::String, &[Dynamic], 8).unwrap(), [1]);
    assert!(shape(DType::F32, &[Dynamic, Fixed(3)], 13).is_err());
    assert!(shape(DType::F32, &[Dynamic, Dynamic, Fixed(2)], 20).is_err());
    assert!(shape(DType::F32, &[Dynamic, Dynamic, Dynamic], 8).is_err());
    assert!(shape(DType::F32, &[Dynamic, Dynamic, Fixed(0)], 0).is_err());
    assert!(shape(DType::String, &[Dynamic, Fixed(2)], 8).is_err());
    assert!(
        raw_request(Bytes::new(), &Signature::default())
            .unwrap_err()
            .message
            .contains("one input")
    );
}

fn response(outputs: Vec<(&str, Tensor)>) -> Response {
    Response {
        model: ModelName::parse("m").unwrap(),
        version: Version::new(3).unwrap(),
        id: "7\"".into(),
        prediction_id: uuid::Uuid::nil(),
        outputs: outputs
            .into_iter()
            .map(|(name, tensor)| (name.into(), tensor))
            .collect(),
        trace: None,
        timing: Timing::default(),
    }
}

#[test]
fn answer_is_json_with_binary_parts_behind_it() {
    let f = Tensor::from_f32(vec![1, 2], &[0.5, f32::NAN]).unwrap();
    let h = Tensor::fixed(DType::F16, vec![1], Bytes::from_static(&[1, 2])).unwrap();
    let answer = response(vec![("f", f), ("h", h)]);
    let json = concat!(
        r#"{"model_name":"m","model_version":"3","id":"7\"","outputs":[{"name":"f","shape":[1,2],"datatype":"FP32","#,
        r#""data":[0.5,NaN]},{"name":"h","shape":[1],"datatype":"FP16","parameters":{"binary_data_size":2}}]}"#
    );
    let encoded = encode(&answer, &|name| name == "h", &[]).unwrap();
    assert_eq!(encoded.json_bytes, Some(json.len()));
    assert_eq!(encoded.body, [json.as_bytes(), &[1, 2]].concat());
    let refused = encode(&answer, &|_| false, &[]).unwrap_err();
    assert_eq!(refused.kind, Kind::InvalidArgument);
    assert!(refused.message.contains("'h' is FP16") && refused.message.contains("binary_data"));
    assert_eq!(error_body("a \"b\""), br#"{"error":"a \"b\""}"#);
}

/// Makes a request body of an answer's outputs: their members are the same.
fn echo(tensor: &Tensor, binary: bool) -> Tensor {
    let encoded = encode(&response(vec![("x", tensor.clone())]), &|_| binary, &[]).unwrap();
    let length = encoded.json_bytes.unwrap_or(encoded.body.len());
    let json = std::str::from_utf8(&encoded.body[..length])
        .unwrap()
        .replacen("\"outputs\"", "\"inputs\"", 1);
    infer(&json, &encoded.body[length..])
        .unwrap()
        .inputs
        .remove(0)
        .1
}

fn tensor_of(dtype: DType, bytes: &[u8]) -> Tensor {
    let Some(width) = dtype.element_bytes() else {
        let text = String::from_utf8_lossy(bytes).replace('\0', "0");
        return Tensor::strings(vec![1, 2], Strings::from_parts([&text, "ü"]).unwrap()).unwrap();
    };
    let mask = if dtype == DType::Bool { 1 } else { 0xff };
    let raw: Vec<u8> = bytes[..bytes.len() / width * width]
        .iter()
        .map(|b| b & mask)
        .collect();
    Tensor::fixed(dtype, vec![raw.len() / width, 1], raw.into()).unwrap()
}

/// Equal strings may be at different places in their buffers.
fn same(a: &Tensor, b: &Tensor) {
    assert_eq!(
        (a.dtype(), a.shape(), a.to_raw()),
        (b.dtype(), b.shape(), b.to_raw())
    );
}

proptest! {
    #[test]
    fn every_datatype_comes_back_bit_for_bit(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for dtype in DType::ALL {
            let tensor = tensor_of(dtype, &bytes);
            same(&echo(&tensor, true), &tensor);
            if !matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64) {
                same(&echo(&tensor, false), &tensor);
            }
        }
    }

    #[test]
    fn floats_come_back_from_json_bit_for_bit(
        singles in proptest::collection::vec(any::<f32>().prop_filter("finite", |v| v.is_finite()), 0..50),
        doubles in proptest::collection::vec(any::<f64>().prop_filter("finite", |v| v.is_finite()), 0..50),
    ) {
        let tensor = Tensor::from_f32(vec![singles.len()], &singles).unwrap();
        same(&echo(&tensor, false), &tensor);
        let raw: Bytes = doubles.iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensor = Tensor::fixed(DType::F64, vec![doubles.len()], raw).unwrap();
        same(&echo(&tensor, false), &tensor);
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200), length in 0_usize..300) {
        let _ = decode(&body.into(), Some(length));
    }

    #[test]
    fn damaged_requests_never_panic(at in 0_usize..120, byte in any::<u8>(), cut in 0_usize..130) {
        let mut body = one(r#""shape":[2],"datatype":"BYTES","parameters":{"binary_data_size":8}"#).into_bytes();
        let length = body.len();
        body.extend_from_slice(&[0; 8]);
        let last = body.len() - 1;
        body[at.min(last)] = byte;
        body.truncate(cut);
        let _ = decode(&body.clone().into(), Some(length));
        let _ = decode(&body.into(), None);
    }
}

#[test]
fn a_malformed_body_is_refused_before_anything_else_is_said_of_it() {
    let long = vec!["1.5"; 100].join(", ");
    for members in [
        format!(r#""datatype":"FP32","data":[{long},]"#),
        format!(r#""shape":[100],"datatype":"FP99","data":[{long} 1]"#),
        format!(r#""shape":[100],"datatype":"FP32","data":[{long}],"own":[{long},1.]"#),
        format!(r#""shape":[{long},-],"datatype":"FP32","data":[1]"#),
        format!(r#""shape":[100],"datatype":"INT8","data":[{long}, "a\qb"]"#),
    ] {
        check(&one(&members), b"", "the body is not valid JSON:");
    }
}
