//! The documents that a server reports and stores, checked against the published JSON
//! Schemas.

use crate::support::optional::run;
use crate::support::{Server, ortus, read_json, with_input};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The output of a command with `--json`.
fn json_of(arguments: &[&str]) -> Value {
    let text = run(ortus().args(arguments)).expect("answers");
    serde_json::from_str(&text).expect("JSON")
}

/// The first file in a folder of the records whose name ends so.
pub(super) fn record(folder: &Path, below: &str, ending: &str) -> Option<PathBuf> {
    let found = files(&folder.join("records/ns/default/records").join(below));
    found
        .into_iter()
        .find(|f| f.to_string_lossy().ends_with(ending))
}

fn first_record(folder: &Path, below: &str, ending: &str) -> PathBuf {
    record(folder, below, ending).unwrap_or_else(|| panic!("no record of {below}"))
}

/// Checks what a server reports and stores against the published schemas, and that the
/// schemas refuse damaged copies.
pub(super) fn check_documents(python: &Path, server: &Server, folder: &Path) {
    let mut sound = stored_documents(python, server, folder);
    sound.extend(reported_documents(server));
    sound.extend(alarm_documents(folder));
    sound.extend(golden_documents());

    let named = run(ortus().arg("schema")).expect("names");
    assert!(
        named
            .lines()
            .all(|name| sound.iter().any(|(n, _)| *n == name)),
        "a schema without a document: {named}"
    );

    check_schemas(python, sound);

    let refused = ortus().args(["schema", "nothing"]).output().expect("runs");
    assert!(
        !refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("baseline")
    );
}

type Document = (&'static str, Value);

/// The alarms that the records hold, listed for one model and for all.
fn alarm_documents(folder: &Path) -> Vec<Document> {
    let records = folder.join("records").display().to_string();
    let alarms = json_of(&["alarms", "breast-cancer", "--records", &records, "--json"]);
    let alarms = alarms["alarms"].as_array().expect("a list").clone();
    let is_about = |alarm: &Value, name: &str| {
        let columns = alarm["alarm"]["columns"].as_array().into_iter().flatten();
        columns.into_iter().any(|column| column["name"] == name)
    };
    assert!(
        alarms.iter().any(|a| is_about(a, "area_error")),
        "{alarms:?}"
    );

    let table = run(ortus().args(["alarms", "--records", &records])).expect("answers");
    assert!(
        table.contains("area_error is higher than it was"),
        "{table}"
    );

    alarms.into_iter().map(|alarm| ("alarm", alarm)).collect()
}

/// Baseline, labels, capture and window totals as they are in the store, and a label as
/// it is sent.
fn stored_documents(python: &Path, server: &Server, folder: &Path) -> Vec<Document> {
    let label = std::fs::read_to_string(first_record(folder, "labels", ".jsonl")).expect("labels");
    let label: Value = serde_json::from_str(label.lines().next().expect("a line")).expect("JSON");
    assert!(
        label["joined"]["slices"]["mean_texture"].is_string(),
        "{label}"
    );

    let script = "import sys, pyarrow.parquet as p; print(p.read_metadata(sys.argv[1]).metadata[b'ortus.capture'].decode())";
    let note = run(Command::new(python)
        .args(["-c", script])
        .arg(first_record(folder, "capture", ".parquet")))
    .expect("a note");

    let request =
        json!({"labels": [{"prediction_id": label["prediction_id"], "row": 0, "label": 1}]});
    let reply = server
        .post("/v1/feedback", request.to_string().as_bytes())
        .json();

    vec![
        ("baseline", read_json(&folder.join("baseline.json"))),
        ("label", label),
        ("feedback", request),
        ("feedback-reply", reply),
        ("capture", serde_json::from_str(&note).expect("JSON")),
        (
            "windows",
            read_json(&first_record(folder, "windows/told", ".json")),
        ),
    ]
}

/// What the server reports of drift and performance.
fn reported_documents(server: &Server) -> Vec<Document> {
    vec![
        (
            "drift",
            json_of(&[
                "drift",
                "breast-cancer",
                "--json",
                "--server",
                &server.operator,
            ]),
        ),
        (
            "performance",
            json_of(&[
                "performance",
                "breast-cancer",
                "--json",
                "--server",
                &server.operator,
            ]),
        ),
    ]
}

/// Documents that older versions wrote.
fn golden_documents() -> Vec<Document> {
    let baseline = "src/observe/drift/golden/baseline-1.json";
    let golden = crate::support::root().join("src/observe/report/golden");
    vec![
        (
            "baseline",
            read_json(&crate::support::root().join(baseline)),
        ),
        ("drift", read_json(&golden.join("drift-1.json"))),
        ("performance", read_json(&golden.join("performance-1.json"))),
        ("alarm", read_json(&golden.join("alarm-drift-1.json"))),
        ("alarm", read_json(&golden.join("alarm-performance-1.json"))),
    ]
}

/// Each schema accepts its documents, and refuses one with a further or a missing member.
fn check_schemas(python: &Path, documents: Vec<Document>) {
    let schema = |name: &str| json_of(&["schema", name]);
    let mut pairs = Vec::new();
    for (name, document) in documents {
        let mut strange = document.clone();
        strange["something else"] = 1.into();
        let mut lacking = document.clone();
        let required = schema(name)["required"][0]
            .as_str()
            .expect("a member")
            .to_owned();
        lacking
            .as_object_mut()
            .expect("an object")
            .remove(&required);
        pairs.push(json!([schema(name), document, true]));
        pairs.push(json!([schema(name), strange, false]));
        pairs.push(json!([schema(name), lacking, false]));
    }

    let script = crate::support::root().join("tests/monitor/schemas.py");
    let said = fed(
        Command::new(python).arg(script),
        json!(pairs).to_string().as_bytes(),
    );
    assert!(said.is_empty(), "{said}");
}

fn fed(command: &mut Command, input: &[u8]) -> String {
    let output = with_input(command, input);
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|e| e.path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}
