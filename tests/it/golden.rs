//! The five models give their golden answers over every protocol, and the same
//! bits over each.

use crate::support::{Directory, MODELS, Server, http, models_folder, read_json};
use ortus::proto::inference as oip;
use ortus::proto::tensorflow as tf;
use serde_json::Value;

/// What another CPU's rounding, or a batch, may change.
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

fn outputs(body: &Value) -> &Vec<Value> {
    body["outputs"].as_array().expect("outputs")
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

/// The sample request of a model as raw tensors: name, datatype, shape, bytes.
fn tensors(model: &str) -> Vec<(String, String, Vec<i64>, Vec<u8>)> {
    let sample = read_json(&models_folder().join(model).join("sample.json"));
    let inputs = sample["inputs"].as_array().expect("inputs").iter();
    inputs
        .map(|input| {
            let text = |key: &str| input[key].as_str().expect("text").to_owned();
            let shape = input["shape"]
                .as_array()
                .expect("a shape")
                .iter()
                .map(|d| d.as_i64().expect("whole"))
                .collect();
            let mut bytes = Vec::new();
            flatten(&input["data"], &mut bytes);
            (text("name"), text("datatype"), shape, bytes)
        })
        .collect()
}

/// FP32 and BYTES are all that the samples use.
fn flatten(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Array(all) => all.iter().for_each(|v| flatten(v, bytes)),
        Value::String(text) => {
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        number => {
            bytes.extend_from_slice(&(number.as_f64().expect("a number") as f32).to_le_bytes())
        }
    }
}

fn raw_request(model: &str) -> oip::ModelInferRequest {
    let tensors = tensors(model);
    let input = |(name, datatype, shape, _): &(String, String, Vec<i64>, Vec<u8>)| {
        oip::model_infer_request::InferInputTensor {
            name: name.clone(),
            datatype: datatype.clone(),
            shape: shape.clone(),
            ..Default::default()
        }
    };
    oip::ModelInferRequest {
        model_name: model.to_owned(),
        id: "mine".to_owned(),
        inputs: tensors.iter().map(input).collect(),
        raw_input_contents: tensors.iter().map(|t| t.3.clone().into()).collect(),
        ..Default::default()
    }
}

/// The outputs of a raw answer as bytes.
fn raw_outputs(answer: &oip::ModelInferResponse) -> Vec<Vec<u8>> {
    answer
        .raw_output_contents
        .iter()
        .map(|b| b.to_vec())
        .collect()
}

/// What answer.json says, as bytes.
fn golden_bytes(model: &str) -> Vec<Vec<u8>> {
    let golden = read_json(&models_folder().join(model).join("answer.json"));
    let one = |output: &Value| {
        let all = output["data"].as_array().expect("data");
        match output["datatype"].as_str() {
            Some("INT64") => all
                .iter()
                .flat_map(|v| v.as_i64().expect("whole").to_le_bytes())
                .collect(),
            _ => all
                .iter()
                .flat_map(|v| (v.as_f64().expect("a number") as f32).to_le_bytes())
                .collect(),
        }
    };
    outputs(&golden).iter().map(one).collect()
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
        .map(|(name, datatype, shape, bytes)| {
            serde_json::json!({"name": name, "datatype": datatype, "shape": shape,
                               "parameters": {"binary_data_size": bytes.len()}})
        })
        .collect();
    let head = serde_json::json!({"inputs": inputs, "parameters": {"binary_data_output": true}})
        .to_string();
    let mut body = head.clone().into_bytes();
    tensors.iter().for_each(|t| body.extend_from_slice(&t.3));
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
    let input = |(name, datatype, shape, bytes): (String, String, Vec<i64>, Vec<u8>)| {
        let dim = shape
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
        if datatype == "FP32" {
            tensor.set_dtype(tf::DataType::DtFloat);
            tensor.tensor_content = bytes.into();
        } else {
            tensor.set_dtype(tf::DataType::DtString);
            tensor.string_val = strings(&bytes);
        }
        (name, tensor)
    };
    let request = tf::serving::PredictRequest {
        model_spec: Some(tf::serving::ModelSpec {
            name: model.to_owned(),
            ..Default::default()
        }),
        inputs: tensors(model).into_iter().map(input).collect(),
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

#[tokio::test]
async fn models_describe_themselves() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let metadata = server.get("/v2/models/digits").json();
    assert_eq!(
        metadata["inputs"][0]["shape"],
        serde_json::json!([-1, 1, 8, 8])
    );
    assert_eq!(metadata["versions"], serde_json::json!(["1"]));
    let config = server.get("/v2/models/digits/config").json();
    assert_eq!(
        (&config["max_batch_size"], &config["input"][0]["dims"]),
        (&64.into(), &serde_json::json!([1, 8, 8]))
    );
    let status = server.get("/v1/models/digits").json();
    assert_eq!(status["model_version_status"][0]["state"], "AVAILABLE");
    assert_eq!(status["model_version_status"][0]["version"], "1");
    let signature = server.get("/v1/models/digits/metadata").json();
    let inputs =
        &signature["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"];
    assert_eq!(inputs["image"]["dtype"], "DT_FLOAT");
    let mut client = server.grpc().await;
    client
        .model_infer(raw_request("digits"))
        .await
        .expect("served");
    let asked = oip::ModelStatisticsRequest {
        name: "digits".to_owned(),
        version: String::new(),
    };
    let statistics = client
        .model_statistics(asked)
        .await
        .expect("served")
        .into_inner()
        .model_stats;
    assert_eq!(
        (statistics[0].inference_count, statistics[0].execution_count),
        (3, 1)
    );
    let mut health = tonic_health::pb::health_client::HealthClient::new(server.channel().await);
    let serving = health
        .check(tonic_health::pb::HealthCheckRequest::default())
        .await
        .expect("served")
        .into_inner();
    assert_eq!(serving.status, tonic_health::ServingStatus::Serving as i32);
    assert_eq!(
        server.metric("ortus_requests_total{model=\"digits\",outcome=\"ok\",protocol=\"oip_grpc\""),
        Some(1.0)
    );
}

#[test]
fn gzip_is_taken_and_given() {
    use std::io::{Read, Write};
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let sample = std::fs::read(models_folder().join("digits/sample.json")).expect("a sample");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&sample).expect("compressed");
    let body = gzip.finish().expect("compressed");
    let headers = [("Content-Encoding", "gzip"), ("Accept-Encoding", "gzip")];
    let answer = http(
        &server.http,
        "POST",
        "/v2/models/digits/infer",
        &headers,
        &body,
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut text = String::new();
    match answer.headers.get("content-encoding") {
        Some(_) => {
            flate2::read::GzDecoder::new(&*answer.body)
                .read_to_string(&mut text)
                .expect("gzip");
        }
        None => text = answer.text(),
    }
    assert!(text.contains("probabilities"));
    let metrics = http(
        &server.http,
        "GET",
        "/v2/models/stats",
        &[("Accept-Encoding", "gzip")],
        b"",
    );
    assert_eq!(
        metrics.headers.get("content-encoding").map(String::as_str),
        Some("gzip")
    );
}

#[test]
fn the_operator_listener_tells_what_serves_to_operators_only() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    assert_eq!(
        http(&server.operator, "GET", "/v1/models", &[], b"").status,
        403
    );
    let header = [("ortus-operator", "1")];
    let models = http(&server.operator, "GET", "/v1/models", &header, b"").json();
    assert_eq!(
        models["models"].as_array().map(Vec::len),
        Some(MODELS.len())
    );
    assert_eq!(models["models"][3]["batching"]["joined"], true, "{models}");
    let config = http(&server.operator, "GET", "/v1/config", &header, b"").json();
    assert_eq!(config["limits"]["connections_max"], 10_000);
    for path in ["/livez", "/readyz"] {
        assert_eq!(http(&server.ops, "GET", path, &[], b"").status, 200);
    }
}

#[tokio::test]
async fn grpc_answers_in_gzip_to_those_who_ask_in_gzip() {
    use tonic::codec::CompressionEncoding::Gzip;
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let plain = server
        .grpc()
        .await
        .model_infer(raw_request("digits"))
        .await
        .expect("served");
    assert_eq!(plain.metadata().get("grpc-encoding"), None);
    let mut client = server
        .grpc()
        .await
        .send_compressed(Gzip)
        .accept_compressed(Gzip);
    let zipped = client
        .model_infer(raw_request("digits"))
        .await
        .expect("served");
    assert_eq!(
        zipped.metadata().get("grpc-encoding").expect("compressed"),
        "gzip"
    );
    assert_eq!(raw_outputs(zipped.get_ref()), raw_outputs(plain.get_ref()));
}
