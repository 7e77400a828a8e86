//! Messages of many small parts.

use super::*;
use crate::core::error::Kind;
use crate::proto::inference as oip;
use crate::proto::tensorflow::serving as tfs;
use crate::proto::tensorflow::{self as tf, tensor_shape_proto::Dim};
use prost::Name;

fn checked<M: Message + Name>(message: &M) -> Result<()> {
    check(&M::full_name(), &message.encode_to_vec())
}

/// Fields of this number without content.
fn empty(number: u8, count: usize) -> Vec<u8> {
    [number << 3 | 2, 0].repeat(count)
}

#[test]
fn two_bytes_that_become_hundreds_are_refused_before_they_are_decoded() {
    let infer = oip::ModelInferRequest::full_name();
    for (name, field, count) in [
        (infer.clone(), 5, 2_000_000),
        (infer, 6, 4_000_000),
        (tfs::MultiInferenceRequest::full_name(), 1, 4_000_000),
        (tfs::GetModelMetadataRequest::full_name(), 2, 8_000_000),
        (tf::TensorProto::full_name(), 8, 8_000_000),
        (tf::TensorShapeProto::full_name(), 2, 8_000_000),
    ] {
        check(&name, &empty(field, 1_000)).expect("few");
        let error = check(&name, &empty(field, count)).expect_err("many");
        assert_eq!(error.kind, Kind::TooLarge, "{name}");
    }
    // Within messages too, such as examples.
    let list = empty(1, 4_000_000);
    let mut input = vec![1 << 3 | 2];
    prost::encode_length_delimiter(list.len(), &mut input).expect("written");
    input.extend(list);
    assert!(check(&tfs::Input::full_name(), &input).is_err());
}

#[test]
fn tensors_as_clients_send_them_are_not_refused() {
    let contents = oip::InferTensorContents {
        bytes_contents: vec![bytes::Bytes::from_static(b"word"); 1_000_000],
        fp32_contents: vec![1.0; 16 << 20],
        ..oip::InferTensorContents::default()
    };
    let input = oip::model_infer_request::InferInputTensor {
        contents: Some(contents),
        ..Default::default()
    };
    let message = oip::ModelInferRequest {
        inputs: vec![input],
        raw_input_contents: vec![vec![0; 64 << 20].into()],
        ..oip::ModelInferRequest::default()
    };
    checked(&message).expect("as usual");
    let tensor = tf::TensorProto {
        int64_val: vec![3; 16 << 20],
        tensor_shape: Some(tf::TensorShapeProto {
            dim: vec![Dim::default(); 8],
            ..Default::default()
        }),
        ..tf::TensorProto::default()
    };
    checked(&tensor).expect("as usual");
}

#[test]
fn every_request_of_the_services_has_a_form() {
    let files = FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
    let services = files.file.iter().flat_map(|file| &file.service);
    let methods: Vec<_> = services.flat_map(|service| &service.method).collect();
    assert!(methods.len() > 25, "{}", methods.len());
    for method in methods {
        let name = method.input_type().trim_start_matches('.');
        assert!(FORMS.by_name.contains_key(name), "{name}");
    }
    let form = &FORMS.all[FORMS.by_name["inference.ModelInferRequest.InferInputTensor"]];
    let real = size_of::<oip::model_infer_request::InferInputTensor>();
    assert!(
        form.bytes >= real && form.bytes < 3 * real,
        "{} {real}",
        form.bytes
    );
}
