//! What the monitor keeps over a restart: the rows of which a version makes its own baseline, and
//! incidents; and that two servers of one store keep their states apart.

use crate::support::optional::run;
use crate::support::{Directory, Server, eventually, ortus};
use ortus::testing::graphs;
use serde_json::Value;
use std::path::Path;

/// A model directory, and the state folder that servers share.
struct Stage {
    directory: Directory,
    state: tempfile::TempDir,
}

impl Stage {
    /// A model without a baseline.
    fn new() -> Self {
        let directory = Directory::empty();
        directory.put("m", 1, &graphs::identity(1));
        Self {
            directory,
            state: tempfile::tempdir().expect("a folder"),
        }
    }

    fn serve(&self) -> Server {
        let set = [
            "monitor.window_min=1s",
            "monitor.window_rows=100",
            "monitor.own_rows=500",
            "monitor.cpu_share=1.0",
            "log.level=\"info\"",
            "models.poll=50ms",
            "models.settle=50ms",
        ];
        let set: Vec<&str> = set.iter().flat_map(|s| ["--set", s]).collect();
        let state: &Path = self.state.path();
        Server::start_with_env(&[("XDG_STATE_HOME", state)], self.directory.path(), &set)
    }
}

/// Stops a server as an operator would.
fn stop(mut server: Server) {
    server.terminate();
    assert_eq!(server.wait(), Some(0), "{}", server.log());
}

/// Sends `n` rows; each value is near `middle`.
fn send(server: &Server, n: usize, middle: f32) {
    for part in (0..n).collect::<Vec<_>>().chunks(50) {
        let values: Vec<f32> = part
            .iter()
            .map(|i| middle * (1.0 + (i % 17) as f32 / 17.0))
            .collect();
        let body = serde_json::json!({"inputs": [
            {"name": "x", "datatype": "FP32", "shape": [part.len(), 1], "data": values},
        ]});
        let answer = server.post("/v2/models/m/infer", body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// The report about the newest version.
fn drift(server: &Server) -> Value {
    let text =
        run(ortus().args(["drift", "m", "--json", "--server", &server.operator])).expect("answers");
    let report: Value = serde_json::from_str(&text).expect("JSON");
    report["versions"]
        .as_array()
        .and_then(|versions| versions.last())
        .cloned()
        .expect("a version")
}

fn wait_for(server: &Server, what: &str, expected: impl Fn(&Value) -> bool) {
    eventually(what, || expected(&drift(server)));
}

#[test]
fn rows_gathered_for_a_baseline_and_open_incidents_survive_a_restart() {
    let stage = Stage::new();
    let server = stage.serve();
    send(&server, 300, 1.0);
    wait_for(&server, "300 rows are gathered", |d| {
        d["gathered_rows"] == 300
    });
    let table = run(ortus().args(["drift", "m", "--server", &server.operator])).expect("a table");
    assert!(table.contains("300 of 500 rows gathered"), "{table}");
    stop(server);

    let server = stage.serve();
    let before = drift(&server);
    assert_eq!(
        (
            &before["gathered_rows"],
            &before["own_rows"],
            &before["rows"]
        ),
        (&300.into(), &500.into(), &300.into()),
        "{}",
        server.log()
    );
    send(&server, 200, 1.0);
    wait_for(&server, "the own baseline", |d| {
        d["baseline"] == "own" && d["baseline_rows"] == 500
    });
    // The own baseline survives too, and rows unlike it open an incident.
    stop(server);
    let server = stage.serve();
    assert_eq!(drift(&server)["baseline"], "own");
    send(&server, 500, 1_000.0);
    wait_for(&server, "the incident", |d| {
        d["incidents"][0]["phase"] == "opened"
    });
    let opened = drift(&server)["incidents"].clone();
    stop(server);

    let server = stage.serve();
    let after = drift(&server)["incidents"].clone();
    assert_eq!(after[0]["incident"], opened[0]["incident"]);
    assert_eq!(after[0]["opened"], opened[0]["opened"]);
    send(&server, 500, 1_000.0);
    wait_for(&server, "windows close", |d| d["rows"] == 1_500);
    let last = drift(&server)["incidents"].clone();
    assert_eq!(last.as_array().map(Vec::len), Some(1), "{last}");
    assert_eq!(last[0]["incident"], opened[0]["incident"]);
    assert!(
        !server.log().contains("incident opened"),
        "{}",
        server.log()
    );
}

#[test]
fn two_servers_of_one_folder_keep_their_states_apart() {
    let stage = Stage::new();
    let (first, second) = (stage.serve(), stage.serve());
    send(&first, 100, 1.0);
    send(&second, 200, 1.0);
    wait_for(&first, "100 rows", |d| d["gathered_rows"] == 100);
    wait_for(&second, "200 rows", |d| d["gathered_rows"] == 200);
    stop(first);
    stop(second);

    // Servers take the free identities in their order.
    let (first, second) = (stage.serve(), stage.serve());
    assert_eq!(drift(&first)["gathered_rows"], 100);
    assert_eq!(drift(&second)["gathered_rows"], 200);
}

#[test]
fn an_own_baseline_unlike_that_of_the_version_before_is_doubted() {
    let stage = Stage::new();
    let server = stage.serve();
    send(&server, 500, 1.0);
    wait_for(&server, "the first own baseline", |d| {
        d["baseline"] == "own"
    });
    stop(server);

    // The version before is not served any more: the store has its baseline.
    stage.directory.put("m", 2, &graphs::identity(1));
    std::fs::remove_dir_all(stage.directory.path().join("m/1")).expect("removed");
    let server = stage.serve();
    send(&server, 500, 1_000.0);
    wait_for(&server, "the second own baseline", |d| {
        d["version"] == 2 && d["baseline"] == "own" && d["differences"].is_array()
    });
    let told = drift(&server)["differences"].clone();
    let first = told[0].as_str().unwrap_or_default();
    assert!(
        first.contains("is 1,000 times what it was in version 1"),
        "{told}"
    );
    let table = run(ortus().args(["drift", "m", "--server", &server.operator])).expect("a table");
    assert!(table.contains("1,000 times"), "{table}");
}
