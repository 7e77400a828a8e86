//! Requests and answers in rows and columns, and the errors.

use super::*;
use crate::core::error::Kind;
use crate::core::model::columns::InputColumns;
use crate::core::model::optional::OptionalInput;
use crate::core::model::{ModelName, Version};
use crate::core::request::Timing;
use crate::core::tensor::Strings;
use crate::core::tensor::json::write_elements;
use crate::testing::table_schema;
use proptest::prelude::*;

/// Decodes for a model whose columns have no names.
fn decode(body: &[u8], signature: &Signature) -> Result<(NamedTensors, RequestForm)> {
    super::decode(body, table_schema(signature, &InputColumns::default()))
}

/// Declares inputs as `name:DTYPE`, each of shape [N, 2]; `?` marks an optional one.
fn signature(inputs: &str) -> Signature {
    let spec = |text: &str| {
        let (name, dtype) = text.split_once(':').unwrap();
        let dtype = DType::from_name(dtype).unwrap();
        TensorSpec {
            name: name.into(),
            dtype,
            shape: Some(vec![Dim::Dynamic, Dim::Fixed(2)]),
        }
    };

    let (optional, inputs): (Vec<&str>, Vec<&str>) =
        inputs.split(' ').partition(|text| text.starts_with('?'));
    let optional = optional.iter().map(|text| OptionalInput {
        spec: spec(&text[1..]),
        is_listed: true,
    });
    Signature {
        optional: optional.collect(),
        inputs: inputs.into_iter().map(spec).collect(),
        ..Signature::default()
    }
}

/// Compares the form and the inputs, written flat, or a part of the error.
fn check(inputs: &str, body: &str, expected: &str) {
    check_once(inputs, body, expected);
    // Space makes each array long enough to be read without being checked before.
    let long = body.replace('[', &format!("[{}", " ".repeat(128)));
    check_once(inputs, &long, expected);
}

fn check_once(inputs: &str, body: &str, expected: &str) {
    match decode(body.as_bytes(), &signature(inputs)) {
        Ok((tensors, form)) => {
            let mut out = format!("{form:?}").into_bytes();
            for (name, tensor) in &tensors {
                out.extend_from_slice(format!(" {name} {:?} ", tensor.shape()).as_bytes());
                write_elements(&mut out, tensor, false);
            }
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{body}");
        }
        Err(error) => {
            assert!(
                error.message.contains(expected),
                "{body}: {error} does not say {expected:?}"
            );
            assert_eq!(error.kind, Kind::InvalidArgument);
        }
    }
}

#[test]
fn rows_are_stacked_along_a_new_first_axis() {
    check(
        "x:FP32",
        r#"{"instances":[[1,2],[3,4.5]]}"#,
        "Row x [2, 2] [1.0,2.0,3.0,4.5]",
    );

    check(
        "x:FP32",
        r#"{"instances":[{"x":[1,2]},{"x":[3,4]}]}"#,
        "Row x [2, 2] [1.0,2.0,3.0,4.0]",
    );

    check(
        "x:FP32",
        r#"{"instances":[1,2,3]}"#,
        "Row x [3] [1.0,2.0,3.0]",
    );

    check(
        "a:INT32 b:BOOL",
        r#"{"instances":[{"b":true,"a":1},{"a":2,"b":false}]}"#,
        "Row a [2] [1,2] b [2] [true,false]",
    );

    check(
        "a:INT32 b:INT8",
        r#"{"instances":[{"a":[],"b":1}]}"#,
        "Row a [1, 0] [] b [1] [1]",
    );

    check(
        "x:FP32",
        r#"{"signature_name":"serving_default","instances":[[1]]}"#,
        "Row x [1, 1] [1.0]",
    );
}

#[test]
fn optional_inputs_are_given_in_all_rows_or_in_none() {
    let inputs = "a:INT32 ?k:FP32 ?m:BOOL";
    check(inputs, r#"{"instances":[1,2]}"#, "Row a [2] [1,2]");
    check(
        inputs,
        r#"{"instances":[{"a":[1],"k":[3,4]},{"k":[5,6],"a":[2]}]}"#,
        "Row a [2, 1] [1,2] k [2, 2] [3.0,4.0,5.0,6.0]",
    );
    check(
        inputs,
        r#"{"inputs":{"m":[[true,false]],"k":[3,4],"a":[1]}}"#,
        "Column a [1] [1] k [2] [3.0,4.0] m [1, 2] [true,false]",
    );
    check(inputs, r#"{"inputs":[1]}"#, "Column a [1] [1]");

    for other in [r#"{"a":[2]}"#, r#"{"a":[2],"m":[true,true]}"#] {
        check(
            inputs,
            &format!(r#"{{"instances":[{{"a":[1],"k":[3,4]}},{other}]}}"#),
            "instance 1 and instance 0 must give the same optional inputs",
        );
    }
    check(
        inputs,
        r#"{"instances":[{"a":[1],"k":[[3],[4]]}]}"#,
        "Row a [1, 1] [1] k [1, 2, 1] [3.0,4.0]",
    );
    check(
        inputs,
        r#"{"instances":[{"a":[1],"k":[]},{"a":[1],"k":[]}]}"#,
        "Row a [2, 1] [1,1] k [2, 0] []",
    );
    check(
        inputs,
        r#"{"instances":[{"a":[1],"k":[3,4],"k":[3,4]}]}"#,
        "'k' twice",
    );
    check(inputs, r#"{"inputs":{"k":[3,4]}}"#, "lacks the input 'a'");
    check(
        inputs,
        r#"{"inputs":{"a":[1],"z":[3,4]}}"#,
        "'z' is unknown; the model takes a, and optionally k, m",
    );
}

#[test]
fn a_value_for_the_whole_request_is_not_given_in_rows() {
    let mut signature = signature("a:INT32 ?k:FP32");
    signature.optional[0].spec.shape = Some(vec![Dim::Fixed(1)]);
    let error = decode(br#"{"instances":[{"a":[1],"k":[3]}]}"#, &signature);
    assert!(
        error
            .expect_err("k has no axis for rows")
            .message
            .contains("'k' is optional and has no axis for rows; ask with inputs"),
    );
    assert!(decode(br#"{"inputs":{"a":[1],"k":[3]}}"#, &signature).is_ok());
}

#[test]
fn rows_of_the_wrong_form_are_refused() {
    check("x:FP32", r#"{"instances":[]}"#, "instances is empty");
    check(
        "x:FP32",
        r#"{"instances":1}"#,
        "instances must be a JSON array",
    );

    check(
        "x:FP32",
        r#"{"instances":[[1,2],[3]]}"#,
        "input 'x': the nesting is ragged",
    );

    check(
        "x:FP32",
        r#"{"instances":[{"x":1},2]}"#,
        "instance 1 must be a JSON object",
    );

    check("x:FP32", r#"{"instances":[1,{"x":1}]}"#, "not a valid FP32");
    check(
        "x:FP32",
        r#"{"instances":[{"y":1}]}"#,
        "instance 0: input 'y' is unknown; the model takes x",
    );
    check(
        "a:INT32 b:INT8",
        r#"{"instances":[{"a":1}]}"#,
        "instance 0 lacks the input 'b'",
    );

    check(
        "a:INT32 b:INT8",
        r#"{"instances":[{"a":1,"a":1,"b":1}]}"#,
        "'a' twice",
    );

    check(
        "a:INT32 b:INT8",
        r#"{"instances":[1]}"#,
        "instance 0 must be a JSON object",
    );

    check(
        "a:INT32 b:INT8",
        r#"{"instances":[{"a":1,"b":1},{"a":[1],"b":1}]}"#,
        "instance 1: input 'a': the nesting",
    );

    check("x:INT32", r#"{"instances":[1.5]}"#, "element 0 is 1.5");
    check("x:FP16", r#"{"instances":[1]}"#, "FP16 has no JSON form");
}

#[test]
fn deeply_nested_rows_are_refused() {
    let deep = format!(r#"{{"instances":{}1{}}}"#, "[".repeat(17), "]".repeat(17));
    check("x:FP32", &deep, "rank 17");
    let deep = format!(
        r#"{{"instances":{}1{}}}"#,
        "[".repeat(250_000),
        "]".repeat(250_000)
    );

    check("x:FP32", &deep, "nested deeper than 64");
}

#[test]
fn columns_are_whole_tensors() {
    check(
        "x:FP32",
        r#"{"inputs":[[1,2]]}"#,
        "Column x [1, 2] [1.0,2.0]",
    );

    check(
        "x:FP32",
        r#"{"inputs":{"x":[[1,2]]}}"#,
        "Column x [1, 2] [1.0,2.0]",
    );

    check("x:FP32", r#"{"inputs":7}"#, "Column x [] [7.0]");
    check(
        "a:INT8 b:INT8",
        r#"{"inputs":{"b":[1],"a":[2,3]}}"#,
        "Column a [2] [2,3] b [1] [1]",
    );

    check(
        "a:INT8 b:INT8",
        r#"{"inputs":{"a":[2,3]}}"#,
        "inputs lacks the input 'b'",
    );

    check(
        "a:INT8 b:INT8",
        r#"{"inputs":[1]}"#,
        "inputs must be a JSON object",
    );

    check(
        "x:UINT8",
        r#"{"inputs":[300]}"#,
        "input 'x': element 0 is 300",
    );
}

#[test]
fn base64_is_for_strings_only() {
    check(
        "s:BYTES",
        r#"{"instances":[{"b64":"aGk="},{"b64":"YQ=="}]}"#,
        r#"Row s [2] ["hi","a"]"#,
    );

    check(
        "s:BYTES",
        r#"{"instances":[{"s":{"b64":"aGk="}},{"s":"b"}]}"#,
        r#"Row s [2] ["hi","b"]"#,
    );

    check(
        "s:BYTES",
        r#"{"inputs":{"b64":"aGk="}}"#,
        r#"Column s [] ["hi"]"#,
    );

    check(
        "b64:BYTES",
        r#"{"inputs":{"b64":["x"]}}"#,
        r#"Column b64 [1] ["x"]"#,
    );

    check(
        "s:BYTES",
        r#"{"inputs":{"b64":"?"}}"#,
        "not standard base64",
    );

    check(
        "x:INT8",
        r#"{"inputs":[{"b64":"aGk="}]}"#,
        "not a valid INT8",
    );
}

#[test]
fn malformed_bodies_are_refused() {
    for body in ["[]", "0", "null"] {
        check("x:FP32", body, "the request must be a JSON object");
    }
    check("x:FP32", "", "the body is empty");
    check("x:FP32", "{}", "neither instances nor inputs");
    check(
        "x:FP32",
        r#"{"instances":[1],"inputs":[1]}"#,
        "both instances and inputs",
    );

    check(
        "x:FP32",
        r#"{"instances":[1],"instances":[1]}"#,
        "'instances' twice",
    );

    check(
        "x:FP32",
        r#"{"instances":[1],"signature_name":"other"}"#,
        "signature 'other' is unknown",
    );

    check("x:FP32", r#"{"instances":[NaN]}"#, "Row x [1] [NaN]");

    check("x:FP32", r#"{"instances":[1]}]"#, "not valid JSON");
}

fn response(outputs: Vec<(&str, Tensor)>) -> Response {
    Response {
        model: ModelName::parse("m").unwrap(),
        version: Version::new(3).unwrap(),
        id: String::new(),
        prediction_id: uuid::Uuid::nil(),
        outputs: outputs
            .into_iter()
            .map(|(name, tensor)| (name.into(), tensor))
            .collect(),
        trace: None,
        timing: Timing::default(),
    }
}

fn text(form: RequestForm, outputs: Vec<(&str, Tensor)>) -> Result<String> {
    encode(&response(outputs), form).map(|body| String::from_utf8(body).unwrap())
}

#[test]
fn answers_take_the_form_of_the_request() {
    let f = |shape: &[usize], values: &[f32]| Tensor::from_f32(shape.to_vec(), values).unwrap();
    let s = || Tensor::strings(vec![2], Strings::from_parts(["hi", "\""]).unwrap()).unwrap();
    let y = || f(&[2, 2], &[1.0, 2.0, f32::NAN, 0.1]);
    assert_eq!(
        text(RequestForm::Row, vec![("y", y())]).unwrap(),
        r#"{"predictions":[[1.0,2.0],[NaN,0.1]]}"#
    );
    assert_eq!(
        text(RequestForm::Column, vec![("y", y())]).unwrap(),
        r#"{"outputs":[[1.0,2.0],[NaN,0.1]]}"#
    );
    let rows = r#"{"predictions":[{"y":[1.0,2.0],"s":"hi"},{"y":[NaN,0.1],"s":"\""}]}"#;
    assert_eq!(
        text(RequestForm::Row, vec![("y", y()), ("s", s())]).unwrap(),
        rows
    );
    let columns =
        r#"{"outputs":{"y":[[1.0,2.0],[NaN,0.1]],"s_bytes":[{"b64":"aGk="},{"b64":"Ig=="}]}}"#;
    assert_eq!(
        text(RequestForm::Column, vec![("y", y()), ("s_bytes", s())]).unwrap(),
        columns
    );

    assert_eq!(
        text(RequestForm::Column, vec![("y", f(&[], &[2.0]))]).unwrap(),
        r#"{"outputs":2.0}"#
    );
    assert_eq!(
        text(RequestForm::Row, vec![("y", f(&[0, 2], &[]))]).unwrap(),
        r#"{"predictions":[]}"#
    );
    assert!(
        text(RequestForm::Row, vec![("y", f(&[], &[2.0]))])
            .unwrap_err()
            .message
            .contains("output 'y'")
    );

    let uneven = text(RequestForm::Row, vec![("y", y()), ("z", f(&[1], &[1.0]))]).unwrap_err();
    assert!(uneven.kind == Kind::InvalidArgument && uneven.message.contains("output 'z'"));
}

#[test]
fn status_and_metadata_print_every_field_and_int64_as_text() {
    let line = StatusLine {
        version: 7,
        state: "AVAILABLE",
        code: "OK",
        message: String::new(),
    };

    let body: Value = serde_json::from_slice(&status_body(&[line])).unwrap();
    let status = json!({"error_code": "OK", "error_message": ""});
    assert_eq!(
        body,
        json!({"model_version_status": [{"version": "7", "state": "AVAILABLE", "status": status}]})
    );
    let body: Value = serde_json::from_slice(&metadata_body("m", 7, &signature("x:FP32"))).unwrap();
    assert_eq!(
        body["model_spec"],
        json!({"name": "m", "signature_name": "", "version": "7"})
    );
    let def = &body["metadata"]["signature_def"]["signature_def"]["serving_default"];
    let dims = json!([{"size": "-1", "name": ""}, {"size": "2", "name": ""}]);
    let shape = json!({"dim": dims, "unknown_rank": false});
    assert_eq!(
        def["inputs"]["x"],
        json!({"name": "x", "dtype": "DT_FLOAT", "tensor_shape": shape})
    );
    assert_eq!(def["method_name"], "tensorflow/serving/predict");
}

proptest! {
    #[test]
    fn rows_and_columns_come_back_bit_for_bit(values in proptest::collection::vec(any::<i64>(), 1..40)) {
        let raw: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensor = Tensor::fixed(DType::I64, vec![values.len(), 1], raw.into()).unwrap();
        for (form, theirs, ours) in [(RequestForm::Row, "predictions", "instances"), (RequestForm::Column, "outputs", "inputs")] {
            let body = text(form, vec![("y", tensor.clone())]).unwrap().replacen(theirs, ours, 1);
            let (inputs, read) = decode(body.as_bytes(), &signature("x:INT64")).unwrap();
            prop_assert_eq!((&inputs[0].1, read), (&tensor, form));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = decode(&body, &signature("x:FP32"));
    }

    #[test]
    fn arbitrary_values_never_panic(value in r#"[\[\]{},:"\\ab641. \-]{0,30}"#) {
        for inputs in ["a:INT8", "a:BYTES", "a:BYTES b:FP32"] {
            for key in ["instances", "inputs"] {
                let _ = decode(format!("{{\"{key}\":{value}}}").as_bytes(), &signature(inputs));
            }
        }
    }
}
