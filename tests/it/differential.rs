//! One request over every protocol: the same tensor comes back, or the same reason.

mod sample;

use crate::support::{Directory, Server, http};
use bytes::Bytes;
use ortus::proto::inference as oip;
use ortus::proto::onnx::GraphProto;
use ortus::proto::tensorflow as tf;
use ortus::testing::{block_on, graphs};
use sample::{Sample, numbers, samples};
use serde_json::json;
use tf::serving as tfs;
use tf::serving::prediction_service_client::PredictionServiceClient;
use tonic::Code;

/// A server with a model for each sample that answers its input.
fn served(samples: &[Sample]) -> (Directory, Server) {
    let directory = Directory::empty();
    for sample in samples {
        let echo = GraphProto {
            input: vec![graphs::declare("x", sample.onnx, &[-1, 2])],
            output: vec![graphs::declare("y", sample.onnx, &[-1, 2])],
            node: vec![graphs::node("Identity", &["x"], "y")],
            ..GraphProto::default()
        };
        directory.put(&sample.model(), 1, &graphs::model(echo));
    }
    let server = Server::start(directory.path());
    (directory, server)
}

fn raw_request(
    model: &str,
    datatype: &str,
    shape: Vec<i64>,
    raw: Vec<u8>,
) -> oip::ModelInferRequest {
    oip::ModelInferRequest {
        model_name: model.to_owned(),
        inputs: vec![oip::model_infer_request::InferInputTensor {
            name: "x".to_owned(),
            datatype: datatype.to_owned(),
            shape,
            ..Default::default()
        }],
        raw_input_contents: vec![raw.into()],
        ..Default::default()
    }
}

/// The typed form of elements.
fn contents(sample: &Sample) -> oip::InferTensorContents {
    let mut typed = oip::InferTensorContents::default();
    for element in &sample.raw {
        let bytes = element.as_slice();
        match sample.datatype {
            "FP32" => typed
                .fp32_contents
                .push(f32::from_le_bytes(bytes.try_into().expect("4"))),
            "FP64" => typed
                .fp64_contents
                .push(f64::from_le_bytes(bytes.try_into().expect("8"))),
            "INT64" => typed
                .int64_contents
                .push(i64::from_le_bytes(bytes.try_into().expect("8"))),
            "UINT64" => typed
                .uint64_contents
                .push(u64::from_le_bytes(bytes.try_into().expect("8"))),
            "INT32" => typed
                .int_contents
                .push(i32::from_le_bytes(bytes.try_into().expect("4"))),
            "UINT8" => typed.uint_contents.push(bytes[0].into()),
            "BOOL" => typed.bool_contents.push(bytes[0] == 1),
            _ => typed.bytes_contents.push(Bytes::copy_from_slice(bytes)),
        }
    }
    typed
}

/// The elements of a typed form.
fn of_contents(typed: &oip::InferTensorContents) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    all.extend(typed.fp32_contents.iter().map(|v| v.to_le_bytes().to_vec()));
    all.extend(typed.fp64_contents.iter().map(|v| v.to_le_bytes().to_vec()));
    all.extend(
        typed
            .int64_contents
            .iter()
            .map(|v| v.to_le_bytes().to_vec()),
    );
    all.extend(
        typed
            .uint64_contents
            .iter()
            .map(|v| v.to_le_bytes().to_vec()),
    );
    all.extend(typed.int_contents.iter().map(|v| v.to_le_bytes().to_vec()));
    all.extend(typed.uint_contents.iter().map(|v| vec![*v as u8]));
    all.extend(typed.bool_contents.iter().map(|v| vec![u8::from(*v)]));
    all.extend(typed.bytes_contents.iter().map(|v| v.to_vec()));
    all
}

/// The elements of TensorFlow's lists of values.
fn of_tensor(tensor: &tf::TensorProto) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    all.extend(tensor.float_val.iter().map(|v| v.to_le_bytes().to_vec()));
    all.extend(tensor.double_val.iter().map(|v| v.to_le_bytes().to_vec()));
    all.extend(tensor.int64_val.iter().map(|v| v.to_le_bytes().to_vec()));
    all.extend(tensor.uint64_val.iter().map(|v| v.to_le_bytes().to_vec()));
    all.extend(tensor.int_val.iter().map(|v| match tensor.dtype() {
        tf::DataType::DtUint8 => vec![*v as u8],
        _ => v.to_le_bytes().to_vec(),
    }));
    all.extend(tensor.bool_val.iter().map(|v| vec![u8::from(*v)]));
    all.extend(tensor.string_val.iter().map(|v| v.to_vec()));
    all
}

fn predict_request(sample: &Sample) -> tfs::PredictRequest {
    let dim = sample
        .shape()
        .into_iter()
        .map(|size| tf::tensor_shape_proto::Dim {
            size,
            name: String::new(),
        });
    let mut tensor = tf::TensorProto {
        tensor_shape: Some(tf::TensorShapeProto {
            dim: dim.collect(),
            unknown_rank: false,
        }),
        ..Default::default()
    };
    tensor.set_dtype(sample.tensorflow);
    match sample.datatype {
        "BYTES" => {
            tensor.string_val = sample
                .raw
                .iter()
                .map(|r| Bytes::copy_from_slice(r))
                .collect()
        }
        _ => tensor.tensor_content = sample.bytes().into(),
    }
    tfs::PredictRequest {
        model_spec: Some(tfs::ModelSpec {
            name: sample.model(),
            ..Default::default()
        }),
        inputs: [("x".to_owned(), tensor)].into(),
        output_filter: Vec::new(),
    }
}

/// The answer to a body of HTTP, as text.
fn posted(server: &Server, path: &str, body: &str) -> String {
    let answer = server.post(path, body.as_bytes());
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    answer.text()
}

#[test]
fn a_tensor_comes_back_the_same_over_every_protocol() {
    let samples = samples();
    let (_directory, server) = served(&samples);
    for sample in &samples {
        block_on(over_grpc(&server, sample));
        over_json(&server, sample);
        in_binary(&server, sample);
        in_tables(&server, sample);
    }
}

async fn over_grpc(server: &Server, sample: &Sample) {
    let mut client = server.grpc().await;
    let (model, shape) = (sample.model(), sample.shape());
    let mut request = raw_request(&model, sample.datatype, shape, sample.bytes());
    let answer = client.model_infer(request.clone()).await.expect("served");
    let answer = answer.into_inner();
    sample.check("gRPC", &sample.of_raw(&answer.raw_output_contents[0]));

    request.raw_input_contents.clear();
    request.inputs[0].contents = Some(contents(sample));
    let answer = client.model_infer(request).await.expect("served");
    let answer = answer.into_inner();
    let typed = answer.outputs[0].contents.as_ref().expect("typed");
    sample.check("gRPC, typed", &of_contents(typed));

    let mut client = PredictionServiceClient::new(server.channel().await);
    let answer = client
        .predict(predict_request(sample))
        .await
        .expect("served");
    let answer = answer.into_inner();
    sample.check(
        "TensorFlow Serving's gRPC",
        &of_tensor(&answer.outputs["y"]),
    );
}

/// The input of the Open Inference Protocol without its data.
fn described(sample: &Sample) -> serde_json::Value {
    json!({"name": "x", "datatype": sample.datatype, "shape": sample.shape()})
}

fn over_json(server: &Server, sample: &Sample) {
    let rows = sample.rows();
    let flat = rows
        .replace("],[", ",")
        .replace("[[", "[")
        .replace("]]", "]");
    let path = format!("/v2/models/{}/infer", sample.model());
    for data in [rows, flat] {
        let input = format!("{{\"data\":{data},{}", &described(sample).to_string()[1..]);
        let answer = posted(server, &path, &format!("{{\"inputs\":[{input}]}}"));
        let data = answer.split_once("\"data\":").expect("data").1;
        sample.check("JSON", &sample.of_json(data.trim_end_matches("}]}")));
    }
}

fn in_binary(server: &Server, sample: &Sample) {
    let mut input = described(sample);
    input["parameters"] = json!({"binary_data_size": sample.bytes().len()});
    let head = json!({"inputs": [input], "parameters": {"binary_data_output": true}}).to_string();
    let length = head.len().to_string();
    let headers = [("Inference-Header-Content-Length", length.as_str())];
    let body = [head.as_bytes(), &sample.bytes()].concat();
    let path = format!("/v2/models/{}/infer", sample.model());
    let answer = http(&server.http, "POST", &path, &headers, &body);
    let length = &answer.headers["inference-header-content-length"];
    let length: usize = length.parse().expect("a length");
    sample.check("binary tensors", &sample.of_raw(&answer.body[length..]));
}

fn in_tables(server: &Server, sample: &Sample) {
    let model = sample.model();
    for path in [
        format!("/v1/models/{model}:predict"),
        format!("/invocations?model={model}"),
    ] {
        for form in ["inputs", "instances"] {
            let answer = posted(server, &path, &format!("{{\"{form}\":{}}}", sample.rows()));
            let (_, data) = answer.split_once(':').expect("an object");
            let data = data.trim_end().trim_end_matches('}');
            sample.check(&path, &sample.of_json(data));
        }
    }
}

/// What is wrong: the request over each protocol, and what every refusal says.
struct Wrong {
    model: &'static str,
    input: &'static str,
    rows: &'static str,
    shape: [i64; 2],
    code: Code,
    status: u16,
    says: &'static str,
}

#[test]
fn what_is_wrong_has_the_same_reason_over_every_protocol() {
    let samples = [numbers!("FP32", 1, DtFloat, f32, [0.5, 1.5])];
    let (_directory, server) = served(&samples);
    let good = Wrong {
        model: "echo-FP32",
        input: "x",
        rows: "[[0.5,1.5]]",
        shape: [1, 2],
        code: Code::InvalidArgument,
        status: 400,
        says: "",
    };
    let cases = [
        Wrong {
            model: "absent",
            code: Code::NotFound,
            status: 404,
            says: "'absent'",
            ..good
        },
        Wrong {
            input: "z",
            says: "'z'",
            ..good
        },
        Wrong {
            rows: "[[0.5,1.5,2.5]]",
            shape: [1, 3],
            says: "[1, 3]",
            ..good
        },
        Wrong {
            rows: "[[0.5],[1.5]]",
            shape: [2, 1],
            says: "[2, 1]",
            ..good
        },
    ];
    for case in cases {
        block_on(refused_over_grpc(&server, &samples[0], &case));
        refused_over_http(&server, &case);
    }
}

impl Wrong {
    fn data(&self) -> Vec<f32> {
        let rows: Vec<Vec<f32>> = serde_json::from_str(self.rows).expect("numbers");
        rows.concat()
    }

    #[track_caller]
    fn check(&self, protocol: &str, refused: &tonic::Status) {
        assert_eq!(refused.code(), self.code, "{protocol}: {refused}");
        let message = refused.message();
        assert!(message.contains(self.says), "{protocol}: {message}");
    }
}

async fn refused_over_grpc(server: &Server, sample: &Sample, case: &Wrong) {
    let data = case.data();
    let raw: Vec<u8> = data.iter().flat_map(|v| v.to_le_bytes()).collect();
    let mut client = server.grpc().await;
    let mut request = raw_request(case.model, "FP32", case.shape.to_vec(), raw.clone());
    request.inputs[0].name = case.input.to_owned();
    let refused = client.model_infer(request.clone()).await;
    case.check("gRPC", &refused.expect_err("refused"));

    request.raw_input_contents.clear();
    request.inputs[0].contents = Some(oip::InferTensorContents {
        fp32_contents: data,
        ..Default::default()
    });
    let refused = client.model_infer(request).await;
    case.check("gRPC, typed", &refused.expect_err("refused"));

    let mut request = predict_request(sample);
    request.model_spec.as_mut().expect("a spec").name = case.model.to_owned();
    let mut tensor = request.inputs.remove("x").expect("a tensor");
    tensor.tensor_content = raw.into();
    let shape = tensor.tensor_shape.as_mut().expect("a shape");
    let dims = shape.dim.iter_mut().zip(case.shape);
    dims.for_each(|(dim, size)| dim.size = size);
    request.inputs.insert(case.input.to_owned(), tensor);
    let mut client = PredictionServiceClient::new(server.channel().await);
    let refused = client.predict(request).await;
    case.check("TensorFlow Serving's gRPC", &refused.expect_err("refused"));
}

fn refused_over_http(server: &Server, case: &Wrong) {
    let Wrong {
        model, input, rows, ..
    } = case;
    let tensor =
        json!({"name": input, "datatype": "FP32", "shape": case.shape, "data": case.data()});
    let columns = format!("{{\"inputs\":{{\"{input}\":{rows}}}}}");
    let bodies = [
        (
            format!("/v2/models/{model}/infer"),
            json!({"inputs": [tensor]}).to_string(),
        ),
        (format!("/v1/models/{model}:predict"), columns.clone()),
        (format!("/invocations?model={model}"), columns),
    ];
    for (path, body) in bodies {
        let answer = server.post(&path, body.as_bytes());
        let text = answer.text();
        assert_eq!(answer.status, case.status, "{path}: {text}");
        assert!(text.contains(case.says), "{path}: {text}");
    }
}
