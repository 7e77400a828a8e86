//! Bad requests over gRPC, and deadlines that cannot be met.

use super::{INFER, canary};
use crate::support::{Directory, Server};
use ortus::proto::inference as oip;
use tonic::Code;

fn grpc_request(datatype: &str, shape: &[i64], raw: &[u8]) -> oip::ModelInferRequest {
    oip::ModelInferRequest {
        model_name: "diabetes".to_owned(),
        inputs: vec![oip::model_infer_request::InferInputTensor {
            name: "x".to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
            ..Default::default()
        }],
        raw_input_contents: vec![raw.to_vec().into()],
        ..Default::default()
    }
}

fn good_request() -> oip::ModelInferRequest {
    grpc_request("FP32", &[1, 10], &[0; 40])
}

type GrpcCase = (&'static str, oip::ModelInferRequest, Code, &'static str);

#[tokio::test]
async fn grpc_messages_that_are_wrong_are_refused_and_the_field_is_named() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let mut client = server.grpc().await;
    for (what, request, code, part) in [wrong_tensors(), wrong_models()].concat() {
        let status = client.model_infer(request).await.expect_err(what);
        assert_eq!(status.code(), code, "{what}: {status:?}");
        assert!(
            status.message().contains(part) && status.message().len() <= 1024,
            "{what}: {}",
            status.message()
        );
    }
    canary(&server);
}

fn wrong_tensors() -> Vec<GrpcCase> {
    let mut both_forms = good_request();
    both_forms.inputs[0].contents = Some(oip::InferTensorContents {
        fp32_contents: vec![0.0; 10],
        ..Default::default()
    });
    vec![
        (
            "short",
            grpc_request("FP32", &[1, 10], &[0; 39]),
            Code::InvalidArgument,
            "input 'x'",
        ),
        (
            "dtype",
            grpc_request("INT32", &[1, 10], &[0; 40]),
            Code::InvalidArgument,
            "the model takes FP32",
        ),
        (
            "rank",
            grpc_request("FP32", &[10], &[0; 40]),
            Code::InvalidArgument,
            "has shape",
        ),
        (
            "overflow",
            grpc_request("FP32", &[i64::MAX, 4], &[0; 40]),
            Code::InvalidArgument,
            "overflows",
        ),
        (
            "missing",
            oip::ModelInferRequest {
                model_name: "diabetes".into(),
                ..Default::default()
            },
            Code::InvalidArgument,
            "is missing",
        ),
        ("both forms", both_forms, Code::InvalidArgument, "both"),
    ]
}

fn wrong_models() -> Vec<GrpcCase> {
    vec![
        (
            "unknown model",
            oip::ModelInferRequest {
                model_name: "absent".into(),
                ..good_request()
            },
            Code::NotFound,
            "absent",
        ),
        (
            "unknown version",
            oip::ModelInferRequest {
                model_version: "7".into(),
                ..good_request()
            },
            Code::NotFound,
            "version 7",
        ),
        (
            "bad version",
            oip::ModelInferRequest {
                model_version: "-1".into(),
                ..good_request()
            },
            Code::InvalidArgument,
            "version",
        ),
        (
            "unknown alias",
            oip::ModelInferRequest {
                model_version: "challenger".into(),
                ..good_request()
            },
            Code::NotFound,
            "no version 'challenger'",
        ),
    ]
}

#[tokio::test]
async fn a_deadline_that_cannot_be_met_is_reported_as_exceeded() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let mut client = server.grpc().await;
    let mut request = grpc_request("FP32", &[1, 10], &[0; 40]);

    let one = oip::infer_parameter::ParameterChoice::Int64Param(1);
    request.parameters.insert(
        "timeout".to_owned(),
        oip::InferParameter {
            parameter_choice: Some(one),
        },
    );
    let status = client.model_infer(request).await.expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");

    let body = br#"{"parameters":{"timeout":1},"inputs":[{"name":"x","datatype":"FP32","shape":[1,10],"data":[1,1,1,1,1,1,1,1,1,1]}]}"#;
    assert_eq!(server.post(INFER, body).status, 504);
    canary(&server);
}
