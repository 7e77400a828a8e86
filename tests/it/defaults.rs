//! Inputs with a default: listed and taken over every protocol, and never mixed up with
//! the requests beside them.

use crate::support::{Directory, Server, ortus, settings};
use ortus::proto::inference as oip;
use ortus::proto::{onnx as o, tensorflow as tf};
use ortus::testing::graphs::{self, FLOAT};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;

/// Serves `m`, which answers x times k, where k is an input with the default 2.
fn serve(directory: &Directory, ir_version: i64, more: &[&str]) -> Server {
    directory.put("m", 1, &graphs::scaled(ir_version));
    Server::start_with(directory.path(), more)
}

/// A body of the Open Inference Protocol: one row of x, and k where it is given.
fn body(x: f32, k: Option<f32>) -> String {
    let tensor = |name: &str, shape: &[usize], data: &[f32]| json!({"name": name, "datatype": "FP32", "shape": shape, "data": data});
    let mut inputs = vec![tensor("x", &[1, 2], &[x, x])];
    inputs.extend(k.map(|k| tensor("k", &[1], &[k])));
    json!({ "inputs": inputs }).to_string()
}

/// The answer to such a body, or the error.
fn infer(server: &Server, body: &str) -> Value {
    let answer = server.post("/v2/models/m/infer", body.as_bytes()).json();
    match answer.get("outputs") {
        Some(outputs) => outputs[0]["data"].clone(),
        None => answer["error"].clone(),
    }
}

#[test]
fn an_optional_input_is_listed_by_every_surface_over_http() {
    let directory = Directory::empty();
    let server = serve(&directory, 10, &[]);
    let k = json!({"name": "k", "datatype": "FP32", "shape": [1]});
    let metadata = server.get("/v2/models/m").json();
    assert_eq!(metadata["inputs"][1], k, "{metadata}");
    assert_eq!(metadata["properties"]["ortus.optional_inputs"], "k");
    assert_eq!(metadata["properties"]["ortus.batching"], "joined");

    let config = server.get("/v2/models/m/config").json();
    assert_eq!(
        config["input"],
        json!([
            {"name": "x", "data_type": "TYPE_FP32", "dims": [2]},
            {"name": "k", "data_type": "TYPE_FP32", "dims": [1], "optional": true},
        ])
    );
    let tfs = server.get("/v1/models/m/metadata").json();
    let signature = &tfs["metadata"]["signature_def"]["signature_def"]["serving_default"];
    assert_eq!(
        signature["inputs"]["k"]["tensor_shape"]["dim"][0]["size"],
        "1"
    );
    assert!(!server.log().contains("WARN"), "{}", server.log());
}

#[test]
fn an_optional_input_is_taken_and_checked_over_http() {
    let directory = Directory::empty();
    let server = serve(&directory, 10, &[]);
    assert_eq!(infer(&server, &body(1.0, None)), json!([2.0, 2.0]));
    assert_eq!(infer(&server, &body(1.0, Some(10.0))), json!([10.0, 10.0]));
    assert_eq!(infer(&server, &body(1.0, None)), json!([2.0, 2.0]));

    let other = |from: &str, to: &str| infer(&server, &body(1.0, Some(10.0)).replace(from, to));
    let wrong = other(r#""name":"k","shape":[1]"#, r#""name":"k","shape":[1,1]"#);
    assert_eq!(
        wrong,
        "input 'k' has shape [1, 1], the model takes [1]",
        "{}",
        body(1.0, Some(10.0))
    );
    assert_eq!(
        other(r#""name":"k""#, r#""name":"z""#),
        "input 'z' is unknown; the model takes x, and optionally k"
    );

    let tfs = |body: &str| server.post("/v1/models/m:predict", body.as_bytes()).text();
    let columns = tfs(r#"{"inputs":{"x":[[1,1],[2,2]],"k":[10]}}"#);
    assert_eq!(columns, r#"{"outputs":[[10.0,10.0],[20.0,20.0]]}"#);
    let rows = tfs(r#"{"instances":[[1,1]]}"#);
    assert_eq!(rows, r#"{"predictions":[[2.0,2.0]]}"#);
    let refused = tfs(r#"{"instances":[{"x":[1,1],"k":[10]}]}"#);
    assert!(refused.contains("ask with inputs"), "{refused}");
}

fn raw(values: &[f32]) -> bytes::Bytes {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn request(k: Option<f32>) -> oip::ModelInferRequest {
    let input = |name: &str, shape: &[i64]| oip::model_infer_request::InferInputTensor {
        name: name.to_owned(),
        datatype: "FP32".to_owned(),
        shape: shape.to_vec(),
        ..Default::default()
    };
    let mut request = oip::ModelInferRequest {
        model_name: "m".to_owned(),
        inputs: vec![input("x", &[1, 2])],
        raw_input_contents: vec![raw(&[1.0, 1.0])],
        ..Default::default()
    };
    if let Some(k) = k {
        // In another order than the graph's.
        request.inputs.insert(0, input("k", &[1]));
        request.raw_input_contents.insert(0, raw(&[k]));
    }
    request
}

#[tokio::test]
async fn an_optional_input_is_listed_and_taken_over_grpc() {
    let directory = Directory::empty();
    let server = serve(&directory, 10, &[]);
    let mut client = server.grpc().await;
    for (k, wanted) in [(None, 2.0), (Some(10.0), 10.0), (None, 2.0)] {
        let answer = client.model_infer(request(k)).await.expect("served");
        let outputs = &answer.get_ref().raw_output_contents;
        assert_eq!(outputs[..], [raw(&[wanted, wanted])]);
    }

    let config = client.model_config(oip::ModelConfigRequest {
        name: "m".to_owned(),
        version: String::new(),
    });
    let config = config.await.expect("served").into_inner().config;
    let inputs = config.expect("a configuration").input;
    let shown: Vec<_> = inputs
        .iter()
        .map(|i| (i.name.as_str(), i.optional, i.dims.as_slice()))
        .collect();
    assert_eq!(shown, [("x", false, &[2][..]), ("k", true, &[1])]);
}

#[tokio::test]
async fn tensorflow_serving_over_grpc_takes_an_optional_input() {
    use tf::serving::prediction_service_client::PredictionServiceClient;
    let directory = Directory::empty();
    let server = serve(&directory, 10, &[]);
    let tensor = |dims: &[i64], values: &[f32]| tf::TensorProto {
        dtype: tf::DataType::DtFloat as i32,
        tensor_shape: Some(tf::TensorShapeProto {
            dim: dims
                .iter()
                .map(|n| tf::tensor_shape_proto::Dim {
                    size: *n,
                    ..Default::default()
                })
                .collect(),
            unknown_rank: false,
        }),
        float_val: values.to_vec(),
        ..Default::default()
    };
    let inputs = HashMap::from([
        ("x".to_owned(), tensor(&[1, 2], &[1.0, 1.0])),
        ("k".to_owned(), tensor(&[1], &[10.0])),
    ]);
    let request = tf::serving::PredictRequest {
        model_spec: Some(tf::serving::ModelSpec {
            name: "m".to_owned(),
            ..Default::default()
        }),
        inputs: inputs.into_iter().collect(),
        ..Default::default()
    };
    let mut client = PredictionServiceClient::new(server.channel().await);
    let answer = client.predict(request).await.expect("served").into_inner();
    assert_eq!(answer.outputs["y"].float_val, [10.0, 10.0]);
}

#[test]
fn requests_with_and_without_an_optional_input_get_their_own_answers_under_load() {
    let directory = Directory::empty();
    let wait = settings(&["models.defaults.batch_delay=\"2ms\""]);
    let server = serve(&directory, 10, &wait);
    std::thread::scope(|scope| {
        for client in 0_u8..8 {
            let server = &server;
            scope.spawn(move || {
                for turn in 0_u8..40 {
                    let x = f32::from(client) + f32::from(turn) / 8.0;
                    let k = (turn % 2 == client % 2).then_some(f32::from(turn));
                    let wanted = x * k.unwrap_or(2.0);
                    let answer = infer(server, &body(x, k));
                    assert_eq!(answer, json!([wanted, wanted]), "x {x}, k {k:?}");
                }
            });
        }
    });

    let stats = server.get("/v2/models/m/stats").json();
    let count = |name: &str| stats["model_stats"][0][name].as_u64().unwrap_or_default();
    assert_eq!(count("inference_count"), 320);
    assert!(
        count("execution_count") < 320,
        "nothing was merged: {stats}"
    );
}

#[test]
fn a_file_of_ir_version_3_says_that_its_default_is_fixed() {
    let directory = Directory::empty();
    let server = serve(&directory, 3, &[]);
    assert_eq!(infer(&server, &body(1.0, None)), json!([2.0, 2.0]));
    let refused = infer(&server, &body(1.0, Some(10.0)));
    assert_eq!(
        refused,
        "input 'k' has a fixed default: its file is of an IR version below 4; save the model with IR version 4 or later; the model takes x"
    );
    let inputs = server.get("/v2/models/m").json()["inputs"].clone();
    assert_eq!(inputs.as_array().map(Vec::len), Some(1), "{inputs}");
}

#[test]
fn a_config_may_list_an_optional_input() {
    let directory = Directory::empty();
    fs::create_dir(directory.path().join("m")).expect("a folder");
    let config = "max_batch_size: 8\ninput [{ name: \"x\" data_type: TYPE_FP32 dims: [2] },\n{ name: \"k\" data_type: TYPE_FP32 dims: [1] optional: true }]";
    fs::write(directory.path().join("m/config.pbtxt"), config).expect("written");
    let server = serve(&directory, 10, &[]);
    assert_eq!(infer(&server, &body(1.0, Some(10.0))), json!([10.0, 10.0]));
    assert_eq!(
        server.get("/v2/models/m/config").json()["max_batch_size"],
        8
    );
}

#[test]
fn a_model_whose_inputs_all_have_defaults_answers_without_any() {
    let directory = Directory::empty();
    let graph = o::GraphProto {
        node: vec![graphs::node("Add", &["a", "b"], "y")],
        initializer: vec![graphs::floats("a", &[1.0]), graphs::floats("b", &[2.0])],
        input: vec![
            graphs::declare("a", FLOAT, &[1]),
            graphs::declare("b", FLOAT, &[1]),
        ],
        output: vec![graphs::declare("y", FLOAT, &[1])],
        ..o::GraphProto::default()
    };
    directory.put("m", 1, &graphs::model(graph));
    let server = Server::start(directory.path());
    let b = r#"{"inputs":[{"name":"b","datatype":"FP32","shape":[1],"data":[5]}]}"#;
    assert_eq!(infer(&server, b), json!([6.0]));
    assert_eq!(infer(&server, r#"{"inputs":[]}"#), json!([3.0]));
}

#[test]
fn the_command_line_gives_optional_inputs() {
    let directory = Directory::empty();
    let server = serve(&directory, 10, &[]);
    for (more, wanted) in [(&[][..], "2"), (&["--input", "k:FP32:1:10"], "10")] {
        for (address, protocol) in [(&server.http, None), (&server.grpc, Some("--grpc"))] {
            let mut command = ortus();
            command.args(["predict", "m", "--json", "--server", address]);
            command.args(["--input", "x:FP32:1,2:1,1"]).args(more);
            let output = command.args(protocol).output().expect("runs");
            let text = String::from_utf8_lossy(&output.stdout).replace(".0", "");
            let data = format!("[{wanted},{wanted}]");
            assert!(text.replace(' ', "").contains(&data), "{text}");
        }
    }
}
