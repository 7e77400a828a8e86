//! Requests of batches that run again alone: a model whose rows influence each other, though the
//! test at load did not show it, is found out while it serves.

use crate::support::{Directory, Server, eventually, http, models_folder};
use ortus::testing::graphs;
use std::thread;

const REASON: &str = "a row's answer alone differed from its answer in a batch";

/// Asks for one number; returns the answer.
fn ask(server: &Server, value: f64) -> f64 {
    let body = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,1],"data":[{value}]}}]}}"#
    );
    let answer = server.post("/v2/models/m/infer", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["outputs"][0]["data"][0]
        .as_f64()
        .expect("a number")
}

/// Asks for 1 and, at the same time, for a number so large that it changes the answer to 1 in a batch.
fn ask_two(server: &Server) -> f64 {
    thread::scope(|scope| {
        let large = scope.spawn(|| ask(server, 1e12));
        let small = ask(server, 1.0);
        large.join().expect("answered");
        small
    })
}

/// A server that merges requests for a model that mixes rows, since the configuration says so.
fn mixing(arguments: &[&str]) -> (Server, Directory) {
    let directory = Directory::empty();
    directory.put("m", 1, &graphs::scaled_by_largest(1e9));
    let mut all = vec!["--set", "model.m.batching=\"on\""];
    all.extend(["--set", "model.m.batch_delay=50ms"]);
    all.extend(["--set", "model.m.batch_recheck=1ms"]);
    all.extend(arguments);
    (Server::start_with(directory.path(), &all), directory)
}

/// Waits until a recheck has ended batching, and the index says so.
fn wait_for_end(server: &Server) {
    eventually("a recheck shows it", || {
        ask_two(server);
        disagreements(server) == Some(1.0)
    });
    eventually("the index says it", || {
        let index = server.post("/v2/repository/index", b"{}").json();
        index[0]["state"] == "READY" && index[0]["reason"] == format!("unbatched: {REASON}")
    });
}

fn disagreements(server: &Server) -> Option<f64> {
    server.metric("ortus_batch_disagreements_total{model=\"m\"")
}

#[test]
fn the_index_says_it_also_where_the_directory_is_not_read_again() {
    let (server, _directory) = mixing(&["--model-control", "none"]);
    wait_for_end(&server);
}

#[test]
fn a_model_that_mixes_rows_is_no_longer_batched_after_the_first_recheck_that_shows_it() {
    let (server, directory) = mixing(&[]);
    let batching = || server.get("/v2/models/m").json()["properties"]["ortus.batching"].clone();
    let before = batching();
    let word = before.as_str().expect("text");
    assert!(word.starts_with("joined by the configuration"), "{word}");

    wait_for_end(&server);
    assert_eq!(batching(), format!("alone: {REASON}"));
    for _ in 0..8 {
        assert_eq!(ask_two(&server), 1.0);
    }
    assert_eq!(disagreements(&server), Some(1.0));
    assert!(server.metric("ortus_batch_rechecks_total{model=\"m\"") >= Some(1.0));

    let models = http(
        &server.operator,
        "GET",
        "/v1/models",
        &[("ortus-operator", "1")],
        b"",
    );
    let listed = models.json()["models"][0]["batching"].clone();
    assert_eq!(
        listed,
        serde_json::json!({"joined": false, "reason": REASON})
    );
    let log = server.log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|l| l.contains("batching ended"))
        .collect();
    assert_eq!(lines.len(), 1, "{log}");
    for part in [
        "ERROR",
        "model=\"m\"",
        "version=1",
        "output=\"y\"",
        "alone=\"1\"",
        "sha256:",
    ] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }

    // A version that is loaded again starts anew, and the operator's word holds.
    directory.put("m", 2, &graphs::scaled_by_largest(1e9));
    eventually("the second version serves", || {
        server.metric("ortus_model_ready{model=\"m\",version=\"2\"}") == Some(1.0)
            && batching() == before
    });
}

#[test]
fn rechecks_find_nothing_in_models_that_keep_rows_apart_and_can_be_turned_off() {
    let directory = Directory::with(&["wine", "digits"]);
    let arguments = [
        "--set",
        "models.defaults.batch_delay=20ms",
        "--set",
        "model.wine.batch_recheck=1ms",
        "--set",
        "model.digits.batch_recheck=0s",
    ];
    let server = Server::start_with(directory.path(), &arguments);
    let count = |family: &str, model: &str| {
        let series = format!("ortus_batch_{family}_total{{model=\"{model}\"");
        server.metric(&series).expect("a metric")
    };
    let sample = |model: &str| {
        let file = models_folder().join(model).join("sample.json");
        std::fs::read(file).expect("a sample")
    };
    let (wine, digits) = (sample("wine"), sample("digits"));
    eventually("rechecks were made", || {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| server.post("/v2/models/wine/infer", &wine));
                scope.spawn(|| server.post("/v2/models/digits/infer", &digits));
            }
        });
        count("rechecks", "wine") >= 3.0
    });

    assert_eq!(count("disagreements", "wine"), 0.0);
    assert_eq!(count("rechecks", "digits"), 0.0);
    let batching = server.get("/v2/models/wine").json()["properties"]["ortus.batching"].clone();
    assert_eq!(batching, "joined");
}
