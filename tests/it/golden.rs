//! The models that come with Ortus give their golden answers over every protocol, with
//! the same bits over each.

use crate::support::samples::{
    SampleTensor, golden_bytes, outputs, raw_outputs, raw_request, tensors,
};
use crate::support::{Directory, MODELS, Server, http, models_folder, read_json};
use ortus::proto::inference as oip;
use ortus::proto::tensorflow as tf;
use serde_json::Value;

/// How far rounding on another processor, or in a larger batch, may change an answer.
const TOLERANCE: f64 = 1e-5;

fn check(model: &str, protocol: &str, answer: &Value, golden: &Value) {
    match (answer, golden) {
        (Value::Array(a), Value::Array(g)) => {
            assert_eq!(a.len(), g.len(), "{model} over {protocol}");
            a.iter()
                .zip(g)
                .for_each(|(a, g)| check(model, protocol, a, g));
        }
        (Value::Number(a), Value::Number(g)) => {
            let (a, g) = (a.as_f64().expect("a number"), g.as_f64().expect("a number"));
            assert!(
                (a - g).abs() <= TOLERANCE * g.abs().max(1.0),
                "{model} over {protocol}: {a} for {g}"
            );
        }
        _ => assert_eq!(answer, golden, "{model} over {protocol}"),
    }
}

#[test]
fn json_over_http_gives_the_golden_answers_and_names_the_version() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    for model in MODELS {
        let folder = models_folder().join(model);
        let sample = std::fs::read(folder.join("sample.json")).expect("a sample");
        let answer = server.post(&format!("/v2/models/{model}/infer"), &sample);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.headers["ortus-model-version"], "1");
        assert_eq!(
            answer.headers["ortus-prediction-id"].as_bytes()[14],
            b'7',
            "a UUIDv7"
        );
        let body = answer.json();
        assert_eq!(body["model_version"], "1");
        let golden = read_json(&folder.join("answer.json"));
        for (output, expected) in outputs(&body).iter().zip(outputs(&golden)) {
            for key in ["name", "datatype", "shape"] {
                assert_eq!(output[key], expected[key], "{model}");
            }
            check(model, "JSON", &output["data"], &expected["data"]);
        }
    }
}

fn close(model: &str, protocol: &str, answer: &[u8], golden: &[u8], datatype: &str) {
    assert_eq!(answer.len(), golden.len(), "{model} over {protocol}");
    if datatype != "FP32" {
        assert_eq!(answer, golden, "{model} over {protocol}");
        return;
    }
    for (a, g) in answer
        .as_chunks::<4>()
        .0
        .iter()
        .zip(golden.as_chunks::<4>().0)
    {
        let (a, g) = (
            f64::from(f32::from_le_bytes(*a)),
            f64::from(f32::from_le_bytes(*g)),
        );
        assert!(
            (a - g).abs() <= TOLERANCE * g.abs().max(1.0),
            "{model} over {protocol}: {a} for {g}"
        );
    }
}

#[tokio::test]
async fn every_protocol_answers_the_same_bits() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let mut client = server.grpc().await;
    for model in MODELS {
        let answer = client
            .model_infer(raw_request(model))
            .await
            .expect("served");
        assert_eq!(
            answer
                .metadata()
                .get("ortus-model-version")
                .expect("a version"),
            "1"
        );
        let message = answer.into_inner();
        assert_eq!(
            (message.id.as_str(), message.model_version.as_str()),
            ("mine", "1")
        );
        let reference = raw_outputs(&message);
        for ((output, bytes), golden) in message
            .outputs
            .iter()
            .zip(&reference)
            .zip(golden_bytes(model))
        {
            close(model, "gRPC", bytes, &golden, &output.datatype);
        }
        assert_eq!(
            binary_over_http(&server, model),
            reference,
            "{model} in binary over HTTP"
        );
        assert_eq!(
            typed_over_grpc(&mut client, model).await,
            reference,
            "{model} typed over gRPC"
        );
        assert_eq!(
            tensorflow_over_grpc(&server, model, &message).await,
            reference,
            "{model} over TensorFlow Serving"
        );
    }
}

fn binary_over_http(server: &Server, model: &str) -> Vec<Vec<u8>> {
    let tensors = tensors(model);
    let inputs: Vec<Value> = tensors
        .iter()
        .map(|t| {
            serde_json::json!({"name": t.name, "datatype": t.datatype, "shape": t.shape,
                               "parameters": {"binary_data_size": t.bytes.len()}})
        })
        .collect();
    let head = serde_json::json!({"inputs": inputs, "parameters": {"binary_data_output": true}})
        .to_string();
    let mut body = head.clone().into_bytes();
    tensors
        .iter()
        .for_each(|t| body.extend_from_slice(&t.bytes));
    let length = head.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    let answer = http(
        &server.http,
        "POST",
        &format!("/v2/models/{model}/infer"),
        &headers,
        &body,
    );
    assert_eq!(answer.status, 200, "{}", answer.text());

    let json: usize = answer.headers["inference-header-content-length"]
        .parse()
        .expect("a length");
    let described: Value = serde_json::from_slice(&answer.body[..json]).expect("JSON");
    let mut rest = &answer.body[json..];
    let parts = outputs(&described)
        .iter()
        .map(|output| {
            let size = output["parameters"]["binary_data_size"]
                .as_u64()
                .expect("a size") as usize;
            let (part, after) = rest.split_at(size);
            rest = after;
            part.to_vec()
        })
        .collect();
    assert!(rest.is_empty());
    parts
}

type Client =
    oip::grpc_inference_service_client::GrpcInferenceServiceClient<tonic::transport::Channel>;

async fn typed_over_grpc(client: &mut Client, model: &str) -> Vec<Vec<u8>> {
    let mut request = raw_request(model);
    for (input, raw) in request
        .inputs
        .iter_mut()
        .zip(std::mem::take(&mut request.raw_input_contents))
    {
        let mut contents = oip::InferTensorContents::default();
        if input.datatype == "FP32" {
            contents.fp32_contents = raw
                .as_chunks::<4>()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect();
        } else {
            contents.bytes_contents = strings(&raw);
        }
        input.contents = Some(contents);
    }
    let answer = client
        .model_infer(request)
        .await
        .expect("served")
        .into_inner();
    assert!(answer.raw_output_contents.is_empty(), "typed in, typed out");
    let bytes = |output: &oip::model_infer_response::InferOutputTensor| {
        let contents = output.contents.clone().expect("typed contents");
        match output.datatype.as_str() {
            "INT64" => contents
                .int64_contents
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect(),
            _ => contents
                .fp32_contents
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect(),
        }
    };
    answer.outputs.iter().map(bytes).collect()
}

/// The elements of a raw BYTES tensor.
fn strings(mut raw: &[u8]) -> Vec<bytes::Bytes> {
    let mut all = Vec::new();
    while let Some((length, rest)) = raw.split_first_chunk::<4>() {
        let (text, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
        all.push(bytes::Bytes::copy_from_slice(text));
        raw = rest;
    }
    all
}

async fn tensorflow_over_grpc(
    server: &Server,
    model: &str,
    order: &oip::ModelInferResponse,
) -> Vec<Vec<u8>> {
    use tf::serving::prediction_service_client::PredictionServiceClient;
    let request = tf::serving::PredictRequest {
        model_spec: Some(tf::serving::ModelSpec {
            name: model.to_owned(),
            ..Default::default()
        }),
        inputs: tensors(model).into_iter().map(tensor_proto).collect(),
        output_filter: Vec::new(),
    };
    let answer = PredictionServiceClient::new(server.channel().await)
        .predict(request)
        .await
        .expect("served")
        .into_inner();
    let spec = answer.model_spec.expect("a model spec");
    assert_eq!(
        spec.version_choice,
        Some(tf::serving::model_spec::VersionChoice::Version(1))
    );

    let bytes = |output: &oip::model_infer_response::InferOutputTensor| {
        let tensor = &answer.outputs[&output.name];
        match tensor.dtype() {
            tf::DataType::DtInt64 => tensor
                .int64_val
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect(),
            _ => tensor
                .float_val
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect::<Vec<u8>>(),
        }
    };
    order.outputs.iter().map(bytes).collect()
}

/// A sample tensor as TensorFlow Serving takes it, with its name.
fn tensor_proto(input: SampleTensor) -> (String, tf::TensorProto) {
    let dim = input
        .shape
        .iter()
        .map(|size| tf::tensor_shape_proto::Dim {
            size: *size,
            name: String::new(),
        })
        .collect();
    let mut tensor = tf::TensorProto {
        tensor_shape: Some(tf::TensorShapeProto {
            dim,
            unknown_rank: false,
        }),
        ..Default::default()
    };
    if input.datatype == "FP32" {
        tensor.set_dtype(tf::DataType::DtFloat);
        tensor.tensor_content = input.bytes.into();
    } else {
        tensor.set_dtype(tf::DataType::DtString);
        tensor.string_val = strings(&input.bytes);
    }
    (input.name, tensor)
}

#[test]
fn tensorflow_rest_gives_the_golden_answers_in_rows_and_columns() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let folder = models_folder().join("diabetes");
    let sample = read_json(&folder.join("sample.json"));
    let flat = sample["inputs"][0]["data"].as_array().expect("data");
    let rows: Vec<&[Value]> = flat.chunks(10).collect();
    let golden = read_json(&folder.join("answer.json"));
    let expected: Vec<Value> = outputs(&golden)[0]["data"]
        .as_array()
        .expect("data")
        .iter()
        .map(|v| Value::Array(vec![v.clone()]))
        .collect();
    for (form, key) in [("instances", "predictions"), ("inputs", "outputs")] {
        let body = serde_json::json!({ form: rows }).to_string();
        for path in [
            "/v1/models/diabetes:predict",
            "/v1/models/diabetes/versions/1:predict",
        ] {
            let answer = server.post(path, body.as_bytes());
            assert_eq!(answer.status, 200, "{}", answer.text());
            check(
                "diabetes",
                form,
                &answer.json()[key],
                &Value::Array(expected.clone()),
            );
        }
    }
}
