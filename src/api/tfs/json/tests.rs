//! Rows and columns, in and out.

use super::*;
use crate::model::{Dim, ModelName, Version};
use crate::request::Timing;
use crate::tensor::Strings;

fn signature(inputs: &[(&str, DType)]) -> Signature {
    let spec = |(name, dtype): &(&str, DType)| TensorSpec {
        name: (*name).to_owned(),
        dtype: *dtype,
        shape: Some(vec![Dim::Dynamic, Dim::Dynamic]),
    };
    Signature { inputs: inputs.iter().map(spec).collect(), outputs: Vec::new() }
}

const ONE: &[(&str, DType)] = &[("x", DType::F32)];
const TWO: &[(&str, DType)] = &[("a", DType::F32), ("b", DType::String)];

/// What a body decodes to: name and shape of each tensor, or the error.
fn check(body: &str, inputs: &[(&str, DType)], expected: &str) {
    let got = match decode(body.as_bytes(), &signature(inputs)) {
        Ok((tensors, form)) => {
            let shapes: Vec<String> = tensors.iter().map(|(n, t)| format!("{n}{:?}", t.shape())).collect();
            format!("{form:?} {}", shapes.join(" "))
        }
        Err(error) => error.message,
    };
    assert!(got.contains(expected), "{body}: {got:?} does not say {expected:?}");
}

#[test]
fn rows_stack_and_columns_stand() {
    check(r#"{"instances":[[1,2],[3,4]]}"#, ONE, "Row x[2, 2]");
    check(r#"{"instances":[{"x":[1,2]},{"x":[3,4]}]}"#, ONE, "Row x[2, 2]");
    check(r#"{"instances":[1,2,3]}"#, ONE, "Row x[3]");
    check(r#"{"inputs":[[1,2],[3,4]]}"#, ONE, "Column x[2, 2]");
    check(r#"{"inputs":{"x":[[1,2]]}}"#, ONE, "Column x[1, 2]");
    check(r#"{"instances":[{"a":[1],"b":["s"]},{"a":[2],"b":[{"b64":"aGk="}]}]}"#, TWO, "Row a[2, 1] b[2, 1]");
    check(r#"{"instances":[{"b64":"aGk="}]}"#, &[("s", DType::String)], "Row s[1]");
    check(r#"{"signature_name":"serving_default","instances":[[1]]}"#, ONE, "Row");
}

#[test]
fn malformed_bodies_are_refused() {
    check(r#"{"instances":[[1]],"inputs":[[1]]}"#, ONE, "both");
    check("{}", ONE, "neither");
    check(r#"{"instances":[]}"#, ONE, "empty");
    check(r#"{"instances":[[1,2],[3]]}"#, ONE, "row 1 is nested otherwise");
    check(r#"{"inputs":[[1,2],[3]]}"#, ONE, "ragged");
    check(r#"{"instances":[["a"]]}"#, ONE, "input 'x': a string is not a value of FP32");
    check(r#"{"instances":[{"a":[1]}]}"#, TWO, "input 'b' is missing");
    check(r#"{"instances":[{"a":[1],"b":["x"],"c":1}]}"#, TWO, "'c' is unknown");
    check(r#"{"instances":[[1]]}"#, TWO, "instance 0 is not an object");
    check(r#"{"inputs":[[1]]}"#, TWO, "several inputs");
    check(r#"{"signature_name":"other","instances":[[1]]}"#, ONE, "'other' is unknown");
    check("[]", ONE, "not a predict request");
    check("", ONE, "not a predict request");
    check(r#"{"instances":[[1]]}x"#, ONE, "not a predict request");
}

fn answer(outputs: Vec<(&str, Tensor)>, form: Form) -> String {
    let response = Response {
        model: ModelName::parse("m").expect("legal"),
        version: Version::new(1).expect("legal"),
        id: String::new(),
        prediction_id: uuid::Uuid::nil(),
        outputs: outputs.into_iter().map(|(n, t)| (n.into(), t)).collect(),
        timing: Timing::default(),
    };
    encode(&response, form).map_or_else(|e| e.message, |b| String::from_utf8(b).expect("text"))
}

#[test]
fn answers_take_the_form_of_the_request() {
    let y = || ("y", Tensor::from_f32(vec![2, 1], &[1.0, 2.5]).expect("fits"));
    let text = || ("t_bytes", Tensor::strings(vec![2], Strings::from_parts(["a", "b"]).expect("text")).expect("fits"));
    assert_eq!(answer(vec![y()], Form::Row), r#"{"predictions":[[1.0],[2.5]]}"#);
    assert_eq!(answer(vec![y()], Form::Column), r#"{"outputs":[[1.0],[2.5]]}"#);
    assert_eq!(
        answer(vec![y(), text()], Form::Row),
        r#"{"predictions":[{"y":[1.0],"t_bytes":{"b64":"YQ=="}},{"y":[2.5],"t_bytes":{"b64":"Yg=="}}]}"#
    );
    assert_eq!(
        answer(vec![y(), text()], Form::Column),
        r#"{"outputs":{"y":[[1.0],[2.5]],"t_bytes":[{"b64":"YQ=="},{"b64":"Yg=="}]}}"#
    );
    let short = ("z", Tensor::from_f32(vec![1], &[1.0]).expect("fits"));
    assert!(answer(vec![y(), short], Form::Row).contains("differ in their first dimension"));
}
