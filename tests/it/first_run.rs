//! What is done before a version serves, what is done while it serves, and what a restart does not repeat.

use crate::support::{Directory, Server, eventually, settings};
use ortus::testing::graphs;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

/// The log of a test that passed in the background.
const PASSED: &str = "the test in the background passed";

fn batching(server: &Server, model: &str) -> String {
    let metadata = server.get(&format!("/v2/models/{model}")).json();
    let said = metadata["properties"]["ortus.batching"].as_str();
    said.unwrap_or_default().to_owned()
}

fn reason(server: &Server) -> String {
    let index = server.post("/v2/repository/index", b"{}").json();
    index[0]["reason"].as_str().unwrap_or_default().to_owned()
}

/// An empty cache with the ONNX Runtime of this machine, where that is not named otherwise.
fn cache() -> TempDir {
    const RUNTIME: &str = "onnxruntime-1.28.0";
    let cache = tempfile::tempdir().expect("a folder");
    fs::create_dir(cache.path().join("ortus")).expect("made");
    // Without it the server would fetch the library once more.
    ortus::testing::engine();
    let usual = std::env::var_os("XDG_CACHE_HOME").map(Into::into);
    let usual = usual.unwrap_or_else(|| {
        let home = std::env::var_os("HOME").expect("a home");
        Path::new(&home).join(".cache")
    });
    symlink(
        usual.join("ortus").join(RUNTIME),
        cache.path().join("ortus").join(RUNTIME),
    )
    .expect("linked");
    cache
}

#[test]
fn a_version_that_needs_the_test_serves_at_once_and_is_batched_when_it_has_passed() {
    let directory = Directory::empty();
    directory.put("m", 1, &graphs::scattered());
    let cache = cache();
    let arguments = settings(&["log.level=\"ortus=info,warn\"", "models.defaults.lanes=1"]);
    let start = || {
        let env = [("XDG_CACHE_HOME", cache.path())];
        Server::start_with_env(&env, directory.path(), &arguments)
    };
    let ask = |server: &Server| {
        let body = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1,2,3,4]}]}"#;
        let answer = server.post("/v2/models/m/infer", body).json();
        answer["outputs"][0]["data"].clone()
    };
    let server = start();
    assert_eq!(ask(&server), serde_json::json!([1.0, 2.0, 3.0, 4.0]));
    eventually("the end of the test", || batching(&server, "m") == "joined");
    assert!(server.log().contains(PASSED), "{}", server.log());
    assert_eq!(ask(&server), serde_json::json!([1.0, 2.0, 3.0, 4.0]));
    assert_eq!(reason(&server), "");
    drop(server);

    // A restart repeats neither the first run nor the test.
    let server = start();
    assert_eq!(batching(&server, "m"), "joined");
    assert!(!server.log().contains(PASSED), "{}", server.log());
    drop(server);

    for verdict in fs::read_dir(cache.path().join("ortus/probes")).expect("a folder") {
        fs::write(verdict.expect("listed").path(), "{\"model\":").expect("written");
    }
    let server = start();
    eventually("the test again", || server.log().contains(PASSED));
    assert!(
        server
            .log()
            .contains("a kept verdict of a first run is ignored"),
        "{}",
        server.log()
    );
}

#[test]
fn a_model_that_is_slow_on_generated_inputs_serves_unprobed_and_says_so() {
    let directory = Directory::empty();
    // Seconds of work in one node, whatever the input.
    directory.put("m", 1, &graphs::hungry(9_000));
    let timeout = settings(&["models.probe_timeout=5s"]);
    let server = Server::start_with(directory.path(), &timeout);
    assert_eq!(server.get("/v2/models/m/ready").status, 200);
    let said = batching(&server, "m");
    assert!(
        said.starts_with("alone: served unprobed: its runs on generated inputs took over"),
        "{said}"
    );
    assert!(reason(&server).contains("served unprobed"), "{said}");
}

#[test]
fn a_model_that_hangs_on_golden_rows_is_refused() {
    let directory = Directory::empty();
    let golden = |size: u32, answer: f32| {
        format!(
            r#"{{"format":1,"cases":[{{"inputs":[{{"name":"x","datatype":"INT64","shape":[1],"data":[{size}]}}],
                "outputs":[{{"name":"y","datatype":"FP32","shape":[1,1],"data":[{answer}]}}]}}]}}"#
        )
    };
    let quick = golden(1, 1.0);
    let model = graphs::demanding(1.0);
    directory.put_with("quick", 1, &model, &[("golden.json", quick.as_bytes())]);
    let slow = golden(9_000, 1.0);
    directory.put_with("slow", 1, &model, &[("golden.json", slow.as_bytes())]);
    let arguments = settings(&["models.probe_timeout=5s", "models.strict_readiness=false"]);
    let server = Server::start_with(directory.path(), &arguments);
    assert_eq!(server.get("/v2/models/quick/ready").status, 200);
    assert_ne!(server.get("/v2/models/slow/ready").status, 200);
    let log = server.log();
    assert!(log.contains("in a sandbox, took over 5s"), "{log}");
}
