//! Messages that are read from their bytes: the result is the one of the general decoder.

use super::*;
use crate::api::oip::options::OipOptions;
use crate::proto::inference::infer_parameter::ParameterChoice;
use crate::proto::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::proto::inference::{InferParameter, InferTensorContents, ModelInferRequest};
use proptest::prelude::*;
use prost::Message;
use std::collections::HashMap;

/// What is read from a message, or the error.
fn general(message: &Bytes) -> String {
    let decoded = ModelInferRequest::decode(message.clone()).map_err(|e| e.to_string());
    let decoded = decoded.map(|message| {
        let names = (message.model_name.clone(), message.model_version.clone());
        (
            names,
            codec::decode(message, &OipOptions::plain()).map_err(|e| e.to_string()),
        )
    });
    format!("{decoded:?}")
}

/// The same, if the message is plain.
fn plain(message: &Bytes) -> Option<String> {
    let outline = outline(message).filter(|outline| outline.is_plain)?;
    let names = (outline.model.to_owned(), outline.version.to_owned());
    let read = read(message, &outline).map_err(|e| e.to_string());
    let read: std::result::Result<_, String> = Ok((names, read));
    Some(format!("{read:?}"))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["", "[a-zé]{1,6}", Just("n".repeat(300))]
}

fn input() -> impl Strategy<Value = (InferInputTensor, Bytes)> {
    let datatype = prop_oneof![4 => Just("FP32"), 1 => Just("BYTES"), 1 => Just("FP33")];
    let shape = proptest::collection::vec(prop_oneof![9 => 0_i64..4, 1 => Just(-1)], 0..20);
    let raw = proptest::collection::vec(any::<u8>(), 0..70);
    (text(), datatype, shape, raw).prop_map(|(name, datatype, shape, mut raw)| {
        let count: i64 = shape.iter().product();
        if datatype == "FP32" && (0..64).contains(&count) {
            raw.resize(4 * usize::try_from(count).expect("small"), 7);
        }
        let input = InferInputTensor {
            name,
            datatype: datatype.to_owned(),
            shape,
            parameters: HashMap::new(),
            contents: None,
        };
        (input, raw.into())
    })
}

fn message() -> impl Strategy<Value = ModelInferRequest> {
    let inputs = proptest::collection::vec(input(), 0..4);
    let outputs = proptest::collection::vec(text(), 0..3);
    (text(), text(), text(), inputs, outputs, any::<bool>()).prop_map(
        |(model_name, model_version, id, inputs, outputs, is_uneven)| {
            let (inputs, mut raw): (Vec<_>, Vec<_>) = inputs.into_iter().unzip();
            if is_uneven && raw.len() > 2 {
                raw.pop();
            }
            ModelInferRequest {
                model_name,
                model_version,
                id,
                inputs,
                raw_input_contents: raw,
                outputs: outputs
                    .into_iter()
                    .map(|name| InferRequestedOutputTensor {
                        name,
                        parameters: HashMap::new(),
                    })
                    .collect(),
                ..ModelInferRequest::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_plain_message_is_read_as_the_general_decoder_reads_it(message in message()) {
        let ranks = message.inputs.iter().map(|input| input.shape.len());
        let is_plain = !message.inputs.is_empty() && ranks.max() <= Some(RANK_MAX);
        let bytes = Bytes::from(message.encode_to_vec());
        prop_assert_eq!(plain(&bytes).is_some(), is_plain);
        if let Some(read) = plain(&bytes) {
            prop_assert_eq!(read, general(&bytes));
        }
    }

    #[test]
    fn a_damaged_message_is_read_as_the_general_decoder_reads_it(
        message in message(),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut: usize,
    ) {
        let mut bytes = message.encode_to_vec();
        for (at, byte) in changes.into_iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(bytes.len() - cut % 3 % (bytes.len() + 1));
        let bytes = Bytes::from(bytes);
        if let Some(read) = plain(&bytes) {
            prop_assert_eq!(read, general(&bytes));
        }
    }
}

#[test]
fn fields_may_come_in_any_order_and_unknown_ones_are_skipped() {
    let one = ModelInferRequest {
        model_name: "m".into(),
        inputs: vec![InferInputTensor {
            name: "x".into(),
            datatype: "FP32".into(),
            shape: vec![1],
            ..InferInputTensor::default()
        }],
        ..ModelInferRequest::default()
    };
    let mut bytes = b"\x3a\x04\0\0\x80\x3f\x0a\x03old".to_vec();
    bytes.extend(one.encode_to_vec());
    bytes.extend(b"\xca\x3e\x02hi\xd0\x3e\x05");
    let bytes = Bytes::from(bytes);
    let read = plain(&bytes).expect("plain");
    assert!(read.contains("\"m\"") && read.starts_with("Ok"), "{read}");
    assert_eq!(read, general(&bytes));
}

#[test]
fn what_is_not_plain_still_names_its_model() {
    let parameter = InferParameter {
        parameter_choice: Some(ParameterChoice::Int64Param(7)),
    };
    let named = ModelInferRequest {
        model_name: "m".into(),
        model_version: "2".into(),
        inputs: vec![InferInputTensor::default()],
        raw_input_contents: vec![Bytes::new()],
        ..ModelInferRequest::default()
    };
    let parameters: HashMap<_, _> = [("timeout".to_owned(), parameter)].into();
    let with = |change: &dyn Fn(&mut ModelInferRequest)| {
        let mut message = named.clone();
        change(&mut message);
        message.encode_to_vec()
    };
    assert!(outline(&with(&|_| {})).expect("named").is_plain);
    for bytes in [
        with(&|m| m.parameters = parameters.clone()),
        with(&|m| m.inputs[0].parameters = parameters.clone()),
        with(&|m| m.inputs[0].contents = Some(InferTensorContents::default())),
        with(&|m| m.raw_input_contents.clear()),
        [with(&|_| {}), b"\x08\x01".to_vec()].concat(),
    ] {
        let outline = outline(&bytes).expect("named");
        assert_eq!(
            (outline.model, outline.version, outline.is_plain),
            ("m", "2", false)
        );
    }
    assert_eq!(outline(b"\x0a\x02m"), None);
    assert_eq!(outline(b"\x0a\x01\xff"), None);
}
