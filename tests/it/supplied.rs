//! A load call brings a configuration and files, which take the place of those in the directory without
//! losing a request. What is refused leaves no trace.

use crate::support::{Answer, Directory, Server};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ortus::proto::inference as p;
use ortus::proto::inference::model_repository_parameter::ParameterChoice;
use ortus::testing::{block_on, graphs};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

const EXPLICIT: [&str; 2] = ["--model-control", "explicit"];

/// Answers x times `factor`.
fn times(factor: f32) -> Vec<u8> {
    graphs::slow_to_open(factor, 2, 12)
}

fn load(server: &Server, parameters: &Value) -> Answer {
    let body = json!({"parameters": parameters}).to_string();
    server.post("/v2/repository/models/m/load", body.as_bytes())
}

fn file(bytes: &[u8]) -> Value {
    json!({"file:1/model.onnx": STANDARD.encode(bytes)})
}

/// What the model makes of 1.
fn factor(server: &Server) -> f64 {
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}"#;
    let answer = server.post("/v2/models/m/infer", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["outputs"][0]["data"][0]
        .as_f64()
        .expect("a number")
}

fn rows_max(server: &Server) -> Value {
    server.get("/v2/models/m/config").json()["max_batch_size"].clone()
}

#[test]
fn files_of_a_load_call_replace_those_of_the_directory_until_a_load_without_files() {
    let directory = Directory::empty();
    directory.put("m", 1, &times(2.0));
    let server = Server::start_with(directory.path(), &EXPLICIT);
    assert_eq!(load(&server, &json!({})).status, 200);
    assert_eq!(factor(&server), 2.0);

    let brought = load(&server, &file(&times(3.0)));
    assert_eq!(brought.status, 200, "{}", brought.text());
    assert_eq!(factor(&server), 3.0);

    // Another version takes the place of version 1.
    let second = json!({"file:2/model.onnx": STANDARD.encode(times(4.0))});
    assert_eq!(load(&server, &second).status, 200);
    assert_eq!(factor(&server), 4.0);
    let versions = &server.get("/v2/models/m").json()["versions"];
    assert_eq!(*versions, json!(["2"]));

    assert_eq!(load(&server, &json!({})).status, 200);
    assert_eq!(factor(&server), 2.0);
}

#[test]
fn a_model_that_is_in_no_directory_is_loaded_and_gone_after_an_unload() {
    let directory = Directory::empty();
    let server = Server::start_with(directory.path(), &EXPLICIT);
    assert_eq!(load(&server, &file(&times(3.0))).status, 200);
    assert_eq!(factor(&server), 3.0);
    // There is nothing else to load, and what serves goes on.
    assert_eq!(load(&server, &json!({})).status, 404);
    assert_eq!(factor(&server), 3.0);
    let unload = || server.post("/v2/repository/models/m/unload", b"").status;
    assert_eq!(unload(), 200);
    assert_eq!(server.get("/v2/models/m").status, 404);
    assert_eq!(load(&server, &json!({})).status, 404);
}

#[test]
fn a_configuration_of_a_load_call_stands_for_config_pbtxt() {
    let directory = Directory::empty();
    directory.put("m", 1, &times(2.0));
    let config = directory.path().join("m/config.pbtxt");
    std::fs::write(config, "max_batch_size: 8").expect("written");
    let server = Server::start_with(directory.path(), &EXPLICIT);
    assert_eq!(load(&server, &json!({})).status, 200);
    assert_eq!(rows_max(&server), 8);

    // As Triton's clients send it, where numbers may be strings.
    let brought = load(&server, &json!({"config": r#"{"max_batch_size":"16"}"#}));
    assert_eq!(brought.status, 200, "{}", brought.text());
    assert_eq!(rows_max(&server), 16);

    // A server reads the configuration that it gave.
    let given = server.get("/v2/models/m/config").text().to_owned();
    let again = load(&server, &json!({"config": given}));
    assert_eq!(again.status, 200, "{}", again.text());
    assert_eq!(rows_max(&server), 16);

    assert_eq!(load(&server, &json!({})).status, 200);
    assert_eq!(rows_max(&server), 8);
}

#[test]
fn what_is_refused_leaves_the_model_as_it_was() {
    let directory = Directory::empty();
    directory.put("m", 1, &times(2.0));
    let server = Server::start_with(directory.path(), &EXPLICIT);
    let cases = [
        (file(b"broken"), "m:1"),
        (json!({"config": "{"}), "not valid JSON"),
        (json!({"config": "[]"}), "not a JSON object"),
        (json!({"config": 3}), "must be a string"),
        (json!({"config": r#"{"name":"n"}"#}), "must be 'm'"),
        (
            json!({"config": r#"{"maxBatchSize":-1}"#}),
            "'max_batch_size' must be",
        ),
        (
            json!({"config": r#"{"input":[{"name":"z","dataType":"TYPE_FP32","dims":["1"]}]}"#}),
            "input 'z'",
        ),
        (json!({"file:1/model.onnx": "?"}), "base64"),
        (json!({"file:../m/1/model.onnx": ""}), "is refused"),
        (json!({"file:/etc/model.onnx": ""}), "is refused"),
        (json!({"file:": ""}), "is refused"),
        (json!({"file:config.pbtxt": ""}), "is refused"),
        (json!({"file:1/model.onnx/": ""}), "is refused"),
        (json!({"file:1/./model.onnx": ""}), "is refused"),
        (
            json!({"file:1/model.onnx": "", "file:1/model.onnx/x": ""}),
            "one is the folder of the other",
        ),
        (
            json!({"file:1/model.onnx": "", "file:01/model.onnx": ""}),
            "are of the same version",
        ),
        (json!({"file:1/notes.txt": ""}), "have no model"),
        (json!({"file:2/model.onnx": "AAAA"}), "m:2"),
        (json!({"other": ""}), "is unknown"),
    ];

    // Neither loads a model that was not loaded, nor takes the place of one that is.
    for is_loaded in [false, true] {
        if is_loaded {
            assert_eq!(load(&server, &json!({})).status, 200);
        }
        for (parameters, needle) in &cases {
            let refused = load(&server, parameters);
            assert_eq!(refused.status, 400, "{parameters}: {}", refused.text());
            assert!(
                refused.text().contains(needle),
                "{parameters}: {}",
                refused.text()
            );
            let status = server.get("/v2/models/m").status;
            assert_eq!(status, if is_loaded { 200 } else { 404 }, "{parameters}");
        }
    }
    assert_eq!(factor(&server), 2.0);
}

#[test]
fn no_request_is_lost_while_files_take_the_place_of_others() {
    let directory = Directory::empty();
    directory.put("m", 1, &times(2.0));
    let server = Server::start_with(directory.path(), &EXPLICIT);
    assert_eq!(load(&server, &json!({})).status, 200);
    let ended = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !ended.load(Ordering::Relaxed) {
                assert!([2.0, 3.0, 4.0].contains(&factor(&server)));
                asked += 1;
            }
            asked
        });
        let second = json!({"file:2/model.onnx": STANDARD.encode(times(4.0))});
        let broken = json!({"file:3/model.onnx": "AAAA"});
        // Its policy wants none of the versions that are there.
        let unwanted = json!({
            "file:3/model.onnx": STANDARD.encode(times(9.0)),
            "config": r#"{"version_policy": {"specific": {"versions": [5]}}}"#,
        });
        let calls = [
            (file(&times(3.0)), 200),
            (second, 200),
            (broken, 400),
            (unwanted, 400),
            (json!({}), 200),
        ];
        let answers = (0..5).flat_map(|_| calls.iter().map(|(call, _)| load(&server, call)));
        let answers: Vec<Answer> = answers.collect();
        ended.store(true, Ordering::Relaxed);
        for (answer, (_, status)) in answers.iter().zip(calls.iter().cycle()) {
            assert_eq!(answer.status, *status, "{}", answer.text());
        }
        asking.join().expect("every request was answered")
    });
    assert!(asked > 10, "{asked} requests");
}

#[test]
fn the_bytes_of_all_files_have_a_limit_that_may_be_0() {
    let model = times(2.0);
    let limit = format!("models.upload_bytes={}", model.len() + 10);
    let directory = Directory::empty();
    let server = Server::start_with(
        directory.path(),
        &[&EXPLICIT[..], &["--set", &limit]].concat(),
    );
    assert_eq!(load(&server, &file(&model)).status, 200);
    // Its own files are replaced.
    assert_eq!(load(&server, &file(&model)).status, 200);
    let body = json!({"parameters": file(&model)}).to_string();
    let second = server.post("/v2/repository/models/n/load", body.as_bytes());
    assert!(
        second.text().contains("models.upload_bytes"),
        "{}",
        second.text()
    );

    let none = ["--set", "models.upload_bytes=0"];
    let server = Server::start_with(directory.path(), &[&EXPLICIT[..], &none].concat());
    let refused = load(&server, &file(&model));
    assert_eq!(refused.status, 400);
    assert!(
        refused.text().contains("models.upload_bytes is 0"),
        "{}",
        refused.text()
    );
}

#[test]
fn grpc_clients_send_files_as_bytes() {
    let directory = Directory::empty();
    let options = [&EXPLICIT[..], &["--compat", "triton"]].concat();
    let server = Server::start_with(directory.path(), &options);
    block_on(async {
        let mut client = server.grpc().await;
        let mut load = async |key: &str, value| {
            let value = p::ModelRepositoryParameter {
                parameter_choice: Some(value),
            };
            client
                .repository_model_load(p::RepositoryModelLoadRequest {
                    model_name: "m".to_owned(),
                    parameters: [(key.to_owned(), value)].into(),
                    ..Default::default()
                })
                .await
        };
        let key = "file:1/model.onnx";
        load(key, ParameterChoice::BytesParam(times(5.0).into()))
            .await
            .expect("loaded");
        let wrong = load(key, ParameterChoice::Int64Param(1))
            .await
            .expect_err("no file");
        assert_eq!(wrong.code(), tonic::Code::Internal, "{wrong}");
        let beginning = "failed to load 'm', failed to poll from model repository: ";
        assert!(wrong.message().starts_with(beginning), "{wrong}");
        let wrong = load("config", ParameterChoice::BoolParam(true)).await;
        assert!(
            wrong
                .expect_err("no text")
                .message()
                .contains("string_param")
        );
    });
    assert_eq!(factor(&server), 5.0);
}
