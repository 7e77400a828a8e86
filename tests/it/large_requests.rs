//! Requests of more rows than a batch may have.

use crate::support::{Directory, Server, settings};
use ortus::testing::graphs;
use serde_json::{Value, json};
use std::fs;

const ROWS: usize = 1_000;

/// Answers x times 3.
fn threefold() -> Vec<u8> {
    graphs::slow_to_open(3.0, 2, 12)
}

fn body(rows: usize) -> Vec<u8> {
    let data: Vec<usize> = (0..rows).collect();
    let input = json!({"name": "x", "datatype": "FP32", "shape": [rows, 1], "data": data});
    json!({"inputs": [input]}).to_string().into_bytes()
}

#[test]
fn they_are_served_in_several_batches_and_answered_as_one() {
    let directory = Directory::empty();
    directory.put("m", 1, &threefold());
    // The queue has room for a fraction of the rows.
    let options = settings(&["model.m.queue_rows_max=192", "model.m.lanes=1"]);
    let server = Server::start_with(directory.path(), &options);
    let answer = server.post("/v2/models/m/infer", &body(ROWS));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let output = &answer.json()["outputs"][0];
    assert_eq!(output["shape"], json!([ROWS, 1]));
    let data = output["data"].as_array().expect("numbers");
    for (at, value) in data.iter().enumerate() {
        assert_eq!(value.as_f64(), Some(3.0 * at as f64), "element {at}");
    }

    let rows: Vec<[usize; 1]> = (0..ROWS).map(|at| [at]).collect();
    let asked = json!({ "instances": rows }).to_string();
    let answer = server.post("/v1/models/m:predict", asked.as_bytes());
    let predictions = answer.json()["predictions"].clone();
    let last: Option<f64> = predictions[ROWS - 1]
        .to_string()
        .trim_matches(['[', ']'])
        .parse()
        .ok();
    assert_eq!(last, Some(3.0 * 999.0), "{}", predictions[ROWS - 1]);

    // A request counts once, its batches each.
    let statistics = server.get("/v2/models/m/stats").json()["model_stats"][0].clone();
    let count = |name: &str| statistics[name].as_u64();
    let runs = 2 * ROWS.div_ceil(64) as u64;
    assert_eq!(count("execution_count"), Some(runs));
    assert_eq!(count("inference_count"), Some(2 * ROWS as u64));
    let success = &statistics["inference_stats"]["success"]["count"];
    assert_eq!(success, &Value::from(2));
}

#[test]
fn a_declared_limit_is_a_limit() {
    let directory = Directory::empty();
    directory.put("m", 1, &threefold());
    let config = directory.path().join("m/config.pbtxt");
    fs::write(config, "max_batch_size: 8").expect("written");
    let server = Server::start(directory.path());
    assert_eq!(server.post("/v2/models/m/infer", &body(8)).status, 200);
    let refused = server.post("/v2/models/m/infer", &body(9));
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("has 9 rows"), "{}", refused.text());
}

#[test]
fn a_deadline_ends_all_parts() {
    let directory = Directory::empty();
    directory.put("m", 1, &threefold());
    let server = Server::start_with(directory.path(), &settings(&["model.m.batch_rows_max=1"]));
    let mut body: Value = serde_json::from_slice(&body(64)).expect("JSON");
    body["parameters"] = json!({"timeout": 1});
    let answer = server.post("/v2/models/m/infer", body.to_string().as_bytes());
    assert_eq!(answer.status, 504, "{}", answer.text());
}
