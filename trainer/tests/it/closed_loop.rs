//! The closed loop of `ortus-trainer demo`: a server, a registry and a trainer as
//! processes, a stream that drifts, and the lineage of an answer.

use crate::place::{check_audit, trainer};
use crate::support::ortus;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

#[test]
fn a_stream_drifts_and_a_retrained_model_restores_the_accuracy() {
    let folder = tempfile::tempdir().expect("a folder");
    let keep = folder.path().join("kept");
    let output = trainer()
        .args(["demo", "--json", "--keep"])
        .arg(&keep)
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let found: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {said}"));
    println!("{said}");
    assert_eq!(
        (
            output.status.code(),
            found["held"].clone(),
            found["lost"].clone()
        ),
        (Some(0), json!(true), json!(0))
    );
    check_accuracy(&found);
    check_versions(&found);

    let last = &found["lineage"][0];
    check_promotion(last);
    check_digests(&keep, &last["lineage"]);

    let registry = format!("file://{}", keep.join("registry").display());
    check_unknown_prediction(&registry);
    check_audit(&registry);
}

fn check_accuracy(found: &Value) {
    let accuracy = |when: &str| found["accuracy"][when].as_f64().expect("a share");
    assert!(
        accuracy("before") > 0.85
            && accuracy("worst") < 0.6
            && accuracy("after") > accuracy("before") - 0.041
    );
}

/// Each row was answered by a known version.
fn check_versions(found: &Value) {
    let versions = found["versions"].as_array().expect("versions");
    let rows: u64 = versions
        .iter()
        .map(|v| v["rows"].as_u64().expect("rows"))
        .sum();
    assert_eq!(found["rows"], json!(rows));
}

/// An alarm started the last run, and its version passed the gates and became champion.
fn check_promotion(last: &Value) {
    let record = &last["lineage"];
    assert!(
        record["trigger"]
            .as_str()
            .is_some_and(|t| t.contains("alarm: ")),
        "{record}"
    );
    let gates = record["gates"].as_array().expect("gates");
    let verdict = |name: &str| {
        gates
            .iter()
            .find(|g| g["name"] == name)
            .map(|g| g["verdict"].clone())
    };
    assert_eq!(
        (verdict("champion"), verdict("parity")),
        (Some(json!("pass")), Some(json!("pass")))
    );

    assert!(
        !last["made_champion"]
            .as_array()
            .expect("changes")
            .is_empty()
    );
}

/// The captured rows and labels that the run learned from still have the digests that
/// the manifest lists.
fn check_digests(keep: &Path, record: &Value) {
    let files = record["data"]["sources"][0]["files"]
        .as_array()
        .expect("files");
    let kinds = ["capture/", "labels/"].map(|kind| {
        files
            .iter()
            .filter(|f| f["path"].as_str().is_some_and(|p| p.starts_with(kind)))
            .count()
    });
    assert!(kinds[0] > 0 && kinds[1] > 0, "{kinds:?}");

    let records = keep.join("registry/ns/default/records");
    let mut sums = Command::new("sha256sum");
    sums.args(
        files
            .iter()
            .map(|f| records.join(f["path"].as_str().expect("a path"))),
    );
    let sums = String::from_utf8(sums.output().expect("runs").stdout).expect("text");
    let found: Vec<&str> = sums.lines().map(|line| &line[..64]).collect();
    let cited: Vec<&str> = files
        .iter()
        .map(|f| &f["digest"].as_str().expect("a digest")["sha256:".len()..])
        .collect();
    assert_eq!(
        found, cited,
        "what it learned from is what the manifest cites"
    );
}

fn check_unknown_prediction(registry: &str) {
    let mut unknown = ortus();
    unknown.args([
        "lineage",
        "--prediction",
        "018f0000-0000-7000-8000-000000000000",
        "--registry",
        registry,
    ]);
    let unknown = unknown.output().expect("runs");
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(
        unknown.status.code() == Some(1)
            && said.contains("no captured prediction has the id 018f0000"),
        "{said}"
    );
}
