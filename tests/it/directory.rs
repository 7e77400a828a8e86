//! Serving from a model directory: broken files change nothing, files that change in
//! place are refused, and explicit control loads only what it is asked to.

use crate::support::{Directory, Server, eventually, model_file};
use serde_json::Value;
use std::fs;

fn index(server: &Server) -> Vec<Value> {
    server
        .post("/v2/repository/index", b"")
        .json()
        .as_array()
        .expect("a bare array")
        .clone()
}

fn line(server: &Server, model: &str, version: &str) -> Option<Value> {
    index(server)
        .into_iter()
        .find(|l| l["name"] == model && l["version"] == version)
}

fn latest(server: &Server, model: &str) -> u16 {
    server.get(&format!("/v2/models/{model}/ready")).status
}

#[test]
fn broken_files_are_reported_and_the_rest_serves() {
    let directory = Directory::empty();
    let good = model_file("diabetes", "1");
    directory.put("good", 1, &good);
    directory.put("empty", 1, b"");
    directory.put("garbage", 1, b"this is not a model but text of some length");
    directory.put("truncated", 1, &good[..good.len() / 2]);
    directory.put("unknown-op", 1, &renamed_operator(&good));
    let server = Server::start(directory.path());
    assert_eq!(latest(&server, "good"), 200);
    for broken in ["empty", "garbage", "truncated", "unknown-op"] {
        let line = line(&server, broken, "1").expect("listed");
        assert_eq!(line["state"], "UNAVAILABLE", "{line}");
        assert!(
            line["reason"].as_str().is_some_and(|r| r.len() > 10),
            "{line}"
        );
        assert_eq!(latest(&server, broken), 400, "{broken}");
        assert!(
            server
                .metric(&format!(
                    "ortus_model_load_failures_total{{model=\"{broken}\"}}"
                ))
                .is_some()
        );
    }
    let answer = server.post("/v2/models/empty/infer", b"{}");
    assert_eq!(answer.status, 503, "{}", answer.text());
}

/// The same graph with an operator that does not exist.
fn renamed_operator(model: &[u8]) -> Vec<u8> {
    let name = b"TreeEnsembleRegressor";
    let mut renamed = model.to_vec();
    // The name of the node may contain that of its operator.
    let places: Vec<usize> = (0..model.len() - name.len())
        .filter(|at| model[*at..].starts_with(name))
        .collect();
    assert!(!places.is_empty());
    places
        .into_iter()
        .for_each(|at| renamed[at..at + 4].copy_from_slice(b"Shub"));
    renamed
}

#[test]
fn a_broken_version_changes_nothing_that_serves_and_a_good_one_follows() {
    let directory = Directory::empty();
    directory.put("m", 1, &model_file("wine", "1"));
    let server = Server::start(directory.path());
    directory.put("m", 2, b"broken");
    eventually("version 2 refused", || {
        line(&server, "m", "2").is_some_and(|l| l["state"] == "UNAVAILABLE")
    });
    assert_eq!(
        server.get("/v2/models/m").json()["versions"],
        serde_json::json!(["1"])
    );
    directory.put("m", 3, &model_file("wine", "next"));
    eventually("version 3", || {
        server.get("/v2/models/m").json()["versions"] == serde_json::json!(["3"])
    });
    fs::remove_dir_all(directory.path().join("m/3")).expect("removed");
    eventually("version 1 again", || {
        server.get("/v2/models/m").json()["versions"] == serde_json::json!(["1"])
    });
    fs::remove_dir_all(directory.path().join("m")).expect("removed");
    eventually("no model", || server.get("/v2/models/m").status == 404);
}

#[test]
fn files_that_change_in_place_are_refused_and_the_loaded_version_still_serves() {
    let directory = Directory::empty();
    directory.put("m", 1, &model_file("wine", "1"));
    let server = Server::start(directory.path());
    let digest = server.get("/v2/models/m").json()["properties"]["ortus.digest"].clone();
    fs::write(
        directory.path().join("m/1/model.onnx"),
        model_file("wine", "next"),
    )
    .expect("written");
    eventually("the change reported", || {
        line(&server, "m", "1").is_some_and(|l| {
            l["reason"]
                .as_str()
                .is_some_and(|r| r.contains("changed after it was loaded"))
        })
    });
    assert_eq!(
        server.get("/v2/models/m").json()["properties"]["ortus.digest"],
        digest
    );
    assert_eq!(latest(&server, "m"), 200);
}

#[test]
fn a_half_copied_file_is_not_loaded() {
    let directory = Directory::empty();
    directory.put("other", 1, &model_file("wine", "1"));
    let server = Server::start_with(directory.path(), &["--set", "models.settle=5s"]);
    let bytes = model_file("diabetes", "1");
    let folder = directory.path().join("slow/1");
    fs::create_dir_all(&folder).expect("a folder");
    let reason = || line(&server, "slow", "1").map(|l| l["reason"].clone());

    // Each piece is written long before the last one has settled.
    let mut written = 0;
    for part in bytes.chunks(bytes.len() / 8 + 1) {
        written += part.len();
        fs::write(folder.join("model.onnx"), &bytes[..written]).expect("written");
        eventually("the server sees the file", || reason().is_some());
        assert!(reason().is_none_or(|r| r == "its files are still being written"));
    }
    eventually("the whole file", || latest(&server, "slow") == 200);
    assert_eq!(
        server.metric("ortus_model_load_failures_total{model=\"slow\"}"),
        None
    );
}

#[test]
fn explicit_control_loads_and_unloads_on_request() {
    let directory = Directory::empty();
    directory.put("m", 1, &model_file("wine", "1"));
    directory.put("n", 1, b"broken");
    let server = Server::start_with(directory.path(), &["--model-control", "explicit"]);
    assert_eq!(server.get("/v2/models/m").status, 404);
    assert_eq!(
        line(&server, "m", "1").expect("listed")["state"],
        "UNAVAILABLE"
    );
    assert_eq!(server.post("/v2/repository/models/m/load", b"").status, 200);
    assert_eq!(latest(&server, "m"), 200);
    let content = br#"{"parameters":{"file:1/model.onnx":"AAAA"}}"#;
    assert_eq!(
        server.post("/v2/repository/models/m/load", content).status,
        400
    );
    assert_eq!(server.post("/v2/repository/models/n/load", b"").status, 400);
    assert_eq!(
        server.post("/v2/repository/models/absent/load", b"").status,
        404
    );
    assert_eq!(
        server.post("/v2/repository/models/m/unload", b"").status,
        200
    );
    assert_eq!(server.get("/v2/models/m").status, 404);
}

#[test]
fn servers_that_poll_refuse_requests_to_load_and_unload() {
    let directory = Directory::empty();
    directory.put("m", 1, &model_file("wine", "1"));
    let server = Server::start(directory.path());
    let answer = server.post("/v2/repository/models/m/unload", b"");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("explicit"), "{}", answer.text());
}

#[test]
fn labels_and_version_policy_come_from_the_configuration() {
    let directory = Directory::empty();
    directory.put("m", 1, &model_file("wine", "1"));
    directory.put("m", 2, &model_file("wine", "next"));
    let arguments = [
        "--set",
        "model.m.versions=\"all\"",
        "--set",
        "model.m.labels={stable=1}",
    ];
    let server = Server::start_with(directory.path(), &arguments);
    assert_eq!(
        server.get("/v2/models/m").json()["versions"],
        serde_json::json!(["1", "2"])
    );
    let row = vec![1.0; 13];
    let body = serde_json::json!({"instances": [row]}).to_string();
    let by_label = server.post("/v1/models/m/labels/stable:predict", body.as_bytes());
    assert_eq!(by_label.headers["ortus-model-version"], "1");
    assert_eq!(
        server.post("/v1/models/m:predict", body.as_bytes()).headers["ortus-model-version"],
        "2"
    );
    assert_eq!(
        server
            .post("/v1/models/m/labels/other:predict", body.as_bytes())
            .status,
        400
    );
}

#[test]
fn a_triton_configuration_is_applied_or_the_model_is_refused() {
    let directory = Directory::empty();
    directory.put("small", 1, &model_file("wine", "1"));
    fs::write(
        directory.path().join("small/config.pbtxt"),
        "max_batch_size: 2\n",
    )
    .expect("written");
    directory.put("odd", 1, &model_file("wine", "1"));
    fs::write(
        directory.path().join("odd/config.pbtxt"),
        "sequence_batching { }\n",
    )
    .expect("written");
    let server = Server::start(directory.path());
    assert_eq!(
        server.get("/v2/models/small/config").json()["max_batch_size"],
        2
    );
    let reason = line(&server, "odd", "1").expect("listed")["reason"].clone();
    assert!(
        reason
            .as_str()
            .is_some_and(|r| r.contains("sequence_batching")),
        "{reason}"
    );
}
