//! Captured predictions: other tools read them, a replay sends them again, and labels
//! find them after the server that made them has ended.

use crate::support::optional::{or_not_run, python, run};
use crate::support::{Directory, Server, eventually, http, listener, model_file, ortus};
use ortus::testing::graphs;
use serde_json::{Value, json};
use std::process::Command;

struct Kept {
    directory: Directory,
    records: tempfile::TempDir,
}

impl Kept {
    fn new(models: &[&str]) -> Self {
        Self {
            directory: Directory::with(models),
            records: tempfile::tempdir().expect("a folder"),
        }
    }

    fn url(&self) -> String {
        self.records.path().display().to_string()
    }

    fn serve(&self, more: &[&str]) -> Server {
        let store = format!("records.store={:?}", self.url());
        let set = [
            "capture.share=1.0",
            "capture.age_max=1s",
            "feedback.poll=200ms",
            store.as_str(),
        ];
        let all: Vec<&str> = set.iter().chain(more).flat_map(|s| ["--set", s]).collect();
        Server::start_with(self.directory.path(), &all)
    }

    /// Ends a server as an operator would, so that it writes its buffers.
    fn end(mut server: Server) {
        server.terminate();
        assert_eq!(server.wait(), Some(0));
    }

    fn replay(&self, server: &Server, more: &[&str]) -> (Option<i32>, Value) {
        let mut command = ortus();
        command
            .args([
                "replay",
                "--json",
                "--strict",
                "--records",
                &self.url(),
                "--server",
                &server.grpc,
            ])
            .args(more);
        let output = command.output().expect("runs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (
            output.status.code(),
            serde_json::from_str(&text).unwrap_or(Value::String(said)),
        )
    }
}

#[test]
fn a_replay_gives_the_optional_inputs_that_were_given() {
    let kept = Kept::new(&[]);
    kept.directory.put("m", 1, &graphs::scaled(10));
    let server = kept.serve(&[]);
    for k in [
        "",
        r#",{"name":"k","datatype":"FP32","shape":[1],"data":[10]}"#,
    ] {
        let body = format!(
            r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}}{k}]}}"#
        );
        let answer = server.post("/v2/models/m/infer", body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    Kept::end(server);
    let server = kept.serve(&["capture.share=0.0"]);
    let (code, said) = kept.replay(&server, &["m"]);
    assert_eq!(
        (code, &said["sent"], &said["same"]),
        (Some(0), &json!(2), &json!(2)),
        "{said}"
    );
}

/// Sends a model's sample request; returns the prediction id.
fn ask(server: &Server, model: &str) -> String {
    let sample = std::fs::read(
        crate::support::models_folder()
            .join(model)
            .join("sample.json"),
    )
    .expect("a sample");
    let answer = server.post(&format!("/v2/models/{model}/infer"), &sample);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer
        .header("ortus-prediction-id")
        .expect("an id")
        .to_owned()
}

#[test]
fn a_replay_gets_the_same_answers_and_other_ones_from_another_version() {
    let models = ["wine", "digits", "cancer-risk"];
    let kept = Kept::new(&models);
    let server = kept.serve(&[]);
    for model in models {
        (0..20).for_each(|_| drop(ask(&server, model)));
    }
    Kept::end(server);
    kept.directory.put("wine", 2, &model_file("wine", ".next"));
    let server = kept.serve(&["model.wine.versions=\"all\"", "capture.share=0.0"]);
    for model in models {
        let ask = format!("{model}:1");
        let (code, said) = kept.replay(&server, &[model, "--ask", &ask]);
        assert_eq!(
            (code, &said["sent"], &said["same"]),
            (Some(0), &json!(20), &json!(20)),
            "{said}"
        );
    }
    let (code, said) = kept.replay(&server, &["wine:1", "--ask", "wine:2"]);
    assert_eq!((code, &said["different"]), (Some(3), &json!(20)), "{said}");
    assert!(
        said["outputs"]["probabilities"]["difference_max"]
            .as_f64()
            .is_some_and(|d| d > 0.0),
        "{said}"
    );
    let (code, said) = kept.replay(&server, &["wine", "--limit", "5", "--ask", "nobody"]);
    assert_eq!((code, &said["failed"]), (Some(3), &json!(5)), "{said}");
    let (code, said) = kept.replay(&server, &["wine", "--to", "2020-01-01T00:00:00Z"]);
    assert!(
        code == Some(1)
            && said
                .as_str()
                .is_some_and(|s| s.contains("no prediction of 'wine' was captured")),
        "{said}"
    );
    let (code, said) = kept.replay(&server, &["wine:2"]);
    assert_eq!(code, Some(1), "no answer of version 2 was kept: {said}");
}

#[test]
fn captured_files_can_be_read_by_other_tools() {
    let Some(python) = or_not_run(
        "pyarrow",
        python("test-monitor", "monitor/requirements.txt"),
    ) else {
        return;
    };
    let kept = Kept::new(&["cancer-risk"]);
    let server = kept.serve(&[
        "capture.hash=[\"mean_area\", \"mean_radius\"]",
        "capture.drop=[\"cancer-risk/worst_area\"]",
    ]);
    let id = ask(&server, "cancer-risk");
    ask(&server, "cancer-risk");
    Kept::end(server);
    let script = "import sys, json, pyarrow.dataset as d\n\
        t = d.dataset(sys.argv[1], format='parquet', partitioning='hive').to_table().to_pylist()\n\
        print(json.dumps([{k: str(v) for k, v in row.items()} for row in t]))";
    let folder = kept.records.path().join("ns/default/records/capture");
    let rows = run(Command::new(python).args(["-c", script]).arg(folder)).expect("pyarrow reads");
    let rows: Value = serde_json::from_str(&rows).expect("JSON");
    let rows = rows.as_array().expect("rows");
    assert_eq!(rows.len(), 6, "{rows:?}");
    let sample: Value =
        crate::support::read_json(&crate::support::models_folder().join("cancer-risk/sample.json"));
    let input = |name: &str| {
        let inputs = sample["inputs"].as_array().expect("inputs");
        inputs
            .iter()
            .find(|i| i["name"] == name)
            .expect("the input")["data"][1]
            .as_str()
            .expect("a word")
            .to_owned()
    };
    let row = rows
        .iter()
        .find(|r| r["prediction_id"] == json!(id) && r["row"] == "1")
        .expect("the row");
    assert_eq!(
        (row["model"].as_str(), row["version"].as_str()),
        (Some("cancer-risk"), Some("1"))
    );
    assert_eq!(row["mean_texture"], json!(input("mean_texture")));
    assert_eq!(row["mean_radius"].as_str().map(str::len), Some(32), "{row}");
    assert!(
        row.get("worst_area").is_none() && row.get("probabilities[1]").is_some(),
        "{row}"
    );
}

#[test]
fn a_label_is_joined_to_the_prediction_of_a_server_that_has_ended() {
    let kept = Kept::new(&["wine"]);
    let server = kept.serve(&[]);
    let id = ask(&server, "wine");
    Kept::end(server);
    let server = kept.serve(&[]);
    let label = |row: usize, class: usize| json!({"prediction_id": id, "row": row, "label": class});
    let body = json!({"labels": [label(0, 2), label(1, 1), label(2, 1)]}).to_string();
    let answer = server.post("/v1/feedback", body.as_bytes());
    assert_eq!(
        (answer.status, &answer.json()["joined"]),
        (200, &json!(0)),
        "{}",
        answer.text()
    );
    let header = [("ortus-operator", "1")];
    eventually("they are joined", || {
        let asked = http(
            &server.operator,
            "GET",
            "/v1/models/wine/performance",
            &header,
            b"",
        );
        asked.status == 200 && asked.json()["measured"][0]["window"]["labelled_rows"] == 3
    });
    let asked = http(
        &server.operator,
        "GET",
        "/v1/models/wine/performance",
        &header,
        b"",
    )
    .json();
    // The model predicts 2, 1 and 0 for the rows of the sample.
    let accuracy = asked["measured"][0]["window"]["measures"]["accuracy"]
        .as_f64()
        .expect("measured");
    assert!((accuracy - 2.0 / 3.0).abs() < 1e-9, "{asked}");
}

#[test]
fn a_payload_logger_receives_requests_and_responses_as_events() {
    let (logger, posted) = listener();
    let directory = Directory::with(&["wine"]);
    let url = format!("capture.url=\"http://{logger}/\"");
    let set = [
        "capture.share=1.0",
        "capture.format=\"cloudevents\"",
        url.as_str(),
    ];
    let server = Server::start_with(
        directory.path(),
        &set.iter().flat_map(|s| ["--set", s]).collect::<Vec<_>>(),
    );
    let id = ask(&server, "wine");
    let take = || {
        posted
            .recv_timeout(std::time::Duration::from_secs(20))
            .expect("an event")
    };
    let (request, response) = (take(), take());
    for (event, kind, side) in [
        (&request, "request", "inputs"),
        (&response, "response", "outputs"),
    ] {
        let header = |name: &str| event.headers.get(name).map(String::as_str);
        assert_eq!(
            header("ce-type"),
            Some(format!("org.kubeflow.serving.inference.{kind}").as_str())
        );
        assert_eq!(
            (header("ce-specversion"), header("ce-id")),
            (Some("1.0"), Some(id.as_str()))
        );
        assert_eq!(header("ce-inferenceservicename"), Some("wine"));
        assert_eq!(
            (&event.body["model_name"], &event.body["id"]),
            (&json!("wine"), &json!(id))
        );
        assert!(
            event.body[side][0]["data"]
                .as_array()
                .is_some_and(|d| !d.is_empty()),
            "{}",
            event.body
        );
    }
    let sample =
        crate::support::read_json(&crate::support::models_folder().join("wine/sample.json"));
    let sent = |body: &Value| body["inputs"][0]["data"].as_array().map(Vec::len);
    assert_eq!(sent(&request.body), sent(&sample));
}

#[test]
fn capture_without_a_store_or_with_an_invalid_address_is_refused_at_the_start() {
    let refused = |set: &[&str], part: &str| {
        let directory = Directory::with(&["wine"]);
        let mut command = ortus();
        command.args(["serve", "--models"]).arg(directory.path());
        let output = command
            .args(set.iter().flat_map(|s| ["--set", s]))
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(part),
            "{set:?}: {said}"
        );
    };
    refused(
        &["capture.share=0.5", "capture.format=\"cloudevents\""],
        "capture.url",
    );
    refused(
        &[
            "capture.share=0.5",
            "capture.format=\"cloudevents\"",
            "capture.url=\"ftp://x\"",
        ],
        "http",
    );
    let events = [
        "capture.share=0.5",
        "capture.format=\"cloudevents\"",
        "capture.url=\"http://127.0.0.1:9\"",
    ];
    refused(
        &[events.as_slice(), &["capture.drop=[\"ssn\"]"]].concat(),
        "capture.drop",
    );
    refused(&["capture.share=1.5"], "capture");
    refused(&["records.store=\"nonsense://x\""], "records");
}
