//! Messages of ModelInfer that are accepted, and those that are refused.

use super::*;
use crate::core::model::{ModelName, Version};
use crate::core::request::Timing;
use proptest::prelude::*;

/// Decodes without shared memory.
fn decode(request: ModelInferRequest) -> Result<Decoded<AnswerForm>> {
    super::decode(request, &OipOptions::plain())
}

fn input(datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferInputTensor {
    let (name, datatype) = ("x".to_owned(), datatype.to_owned());
    InferInputTensor {
        name,
        datatype,
        shape: shape.to_vec(),
        parameters: HashMap::new(),
        contents,
    }
}

fn refused(request: ModelInferRequest, part: &str) {
    let error = decode(request).expect_err("must be refused");
    assert!(
        error.message.contains(part),
        "{error} does not say {part:?}"
    );
}

fn one(input: InferInputTensor, raw: &[&'static [u8]]) -> ModelInferRequest {
    let raw_input_contents = raw.iter().map(|b| Bytes::from_static(b)).collect();
    ModelInferRequest {
        inputs: vec![input],
        raw_input_contents,
        ..ModelInferRequest::default()
    }
}

#[test]
fn a_tensor_has_contents_once_and_of_its_datatype() {
    let floats = |n| {
        Some(InferTensorContents {
            fp32_contents: vec![1.0; n],
            ..InferTensorContents::default()
        })
    };

    assert!(decode(one(input("FP32", &[1], floats(1)), &[])).is_ok());
    refused(one(input("FP32", &[1], floats(1)), &[b"\0\0\0\0"]), "both");
    refused(one(input("FP32", &[1], None), &[]), "neither");
    refused(
        one(input("FP32", &[1], None), &[b"\0\0\0\0", b""]),
        "2 entries for 1 input",
    );
    refused(
        one(input("FP32", &[2], floats(1)), &[]),
        "takes 8 bytes, got 4",
    );
    refused(
        one(input("FP32", &[2], None), &[b"\0\0\0\0\0"]),
        "input 'x': shape [2] of FP32 takes 8 bytes, got 5",
    );
    refused(
        one(input("INT32", &[1], floats(1)), &[]),
        "fp32_contents does not hold INT32",
    );
    refused(
        one(input("FP16", &[1], floats(1)), &[]),
        "no typed contents",
    );
    refused(
        one(input("FP33", &[1], floats(1)), &[]),
        "datatype 'FP33' is unknown",
    );
    refused(one(input("FP32", &[-1], floats(1)), &[]), "negative");
    let unsigned = |v| {
        Some(InferTensorContents {
            uint_contents: vec![v],
            ..InferTensorContents::default()
        })
    };

    let signed = |v| {
        Some(InferTensorContents {
            int_contents: vec![v],
            ..InferTensorContents::default()
        })
    };

    for (name, contents, fits) in [
        ("UINT8", unsigned(255), true),
        ("UINT8", unsigned(256), false),
        ("UINT16", unsigned(65_535), true),
        ("UINT16", unsigned(65_536), false),
        ("INT8", signed(-128), true),
        ("INT8", signed(-129), false),
        ("INT16", signed(32_767), true),
        ("INT16", signed(32_768), false),
    ] {
        match fits {
            true => assert!(
                decode(one(input(name, &[1], contents), &[])).is_ok(),
                "{name}"
            ),
            false => refused(
                one(input(name, &[1], contents), &[]),
                &format!("out of the range of {name}"),
            ),
        }
    }
}

#[test]
fn an_empty_tensor_needs_no_contents() {
    let decoded = decode(one(input("FP32", &[0, 4], None), &[])).expect("no element");
    assert_eq!(decoded.inputs[0].1.shape(), [0, 4]);
}

#[test]
fn parameters_are_applied_or_refused() {
    let with = |name: &str, choice| {
        let parameters = [(
            name.to_owned(),
            InferParameter {
                parameter_choice: Some(choice),
            },
        )]
        .into();
        ModelInferRequest {
            parameters,
            ..ModelInferRequest::default()
        }
    };

    let decoded = decode(with("timeout", ParameterChoice::Int64Param(7))).expect("honoured");
    assert_eq!((decoded.timeout_us, decoded.priority), (Some(7), 0));
    assert_eq!(
        decode(with("priority", ParameterChoice::Uint64Param(255)))
            .expect("honoured")
            .priority,
        255
    );

    refused(
        with("priority", ParameterChoice::Uint64Param(256)),
        "at most 255",
    );
    refused(
        with("timeout", ParameterChoice::StringParam("1".into())),
        "'timeout' must be a non-negative integer",
    );
    refused(
        with("sequence_id", ParameterChoice::Int64Param(1)),
        "'sequence_id' is not supported",
    );
    for (name, off) in [
        ("sequence_id", ParameterChoice::Int64Param(0)),
        ("sequence_id", ParameterChoice::StringParam(String::new())),
        ("sequence_start", ParameterChoice::BoolParam(false)),
        ("timeout", ParameterChoice::Int64Param(0)),
    ] {
        assert!(
            decode(with(name, off)).is_ok_and(|d| d.timeout_us.is_none()),
            "{name}"
        );
    }

    assert!(decode(with("whatever", ParameterChoice::BoolParam(true))).is_ok());
}

#[test]
fn limits_hold_at_and_above() {
    let many = |n| ModelInferRequest {
        inputs: (0..n).map(|_| input("FP32", &[0], None)).collect(),
        ..ModelInferRequest::default()
    };
    assert!(decode(many(crate::core::request::INPUTS_MAX)).is_ok());
    refused(
        many(crate::core::request::INPUTS_MAX + 1),
        "257 inputs are over",
    );
    let named = |n| ModelInferRequest {
        id: "i".repeat(n),
        ..ModelInferRequest::default()
    };
    assert!(decode(named(crate::core::request::ID_BYTES_MAX)).is_ok());
    refused(
        named(crate::core::request::ID_BYTES_MAX + 1),
        "request id is over",
    );
}

fn dtype() -> impl Strategy<Value = DType> {
    proptest::sample::select(DType::ALL.to_vec())
}

proptest! {
    /// A tensor that is sent back as an input is the same, bit for bit.
    #[test]
    fn answers_decode_to_what_was_encoded(dtype in dtype(), rows in 0_usize..5, raw: bool, seed: Vec<u8>) {
        let byte = |i: usize| seed.get(i % seed.len().max(1)).copied().unwrap_or(7);
        let tensor = match dtype.element_bytes() {
            None => Tensor::strings(vec![rows], Strings::from_parts((0..rows).map(|i| byte(i).to_string())).expect("text")),
            Some(width) => {
                let mask = if dtype == DType::Bool { 1 } else { 255 };
                Tensor::fixed(dtype, vec![rows], (0..rows * width).map(|i| byte(i) & mask).collect())
            }
        }.expect("fits");

        let response = Response {
            model: ModelName::parse("m").expect("legal"), version: Version::new(3).expect("legal"), id: "i".into(),
            prediction_id: uuid::Uuid::nil(), outputs: vec![("y".into(), tensor.clone())], trace: None, timing: Timing::default(),
        };
        let wire = encode(&response, if raw { Contents::Raw } else { Contents::Typed });
        prop_assert!(!raw || wire.raw_output_contents.len() == 1);
        let output = wire.outputs[0].clone();
        let again = ModelInferRequest {
            inputs: vec![InferInputTensor {
                name: output.name, datatype: output.datatype, shape: output.shape,
                parameters: HashMap::new(), contents: output.contents,
            }],
            raw_input_contents: wire.raw_output_contents,
            ..ModelInferRequest::default()
        };

        let decoded = decode(again).expect("our own answer");
        prop_assert_eq!(decoded.inputs[0].1.to_raw(), tensor.to_raw());
    }
}

#[test]
fn truncated_messages_never_panic() {
    use prost::Message;
    let whole = one(input("FP32", &[1], None), &[b"\0\0\0\0"]).encode_to_vec();
    for end in 0..whole.len() {
        // A truncated message may still be valid: one field is missing.
        if let Ok(request) = ModelInferRequest::decode(&whole[..end]) {
            let _ = decode(request);
        }
    }

    assert!(decode(ModelInferRequest::decode(&*whole).expect("whole")).is_ok());
}
