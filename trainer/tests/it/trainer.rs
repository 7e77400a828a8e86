//! The trainer as a person runs it: from a file to a version that is served, and a
//! registry or a champion that cannot be read.

use crate::place::{Place, table, trainer};
use crate::support::optional::run;
use crate::support::{Server, ortus};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

#[test]
fn a_file_becomes_a_served_version_and_the_same_run_happens_once() {
    let place = Place::new();
    let spec = init(&place);
    check_plan(&spec);

    let said = check_run(&place, &spec);

    place.registry.does(&["promote", "buyers", "1"]);
    let server = place.registry.serve(&[]);
    check_predictions(&server);
    check_manifest(&place);
    check_records(&place, &said);
    check_baseline(&server);
}

/// Writes the data and the specification that `init` derives from them.
fn init(place: &Place) -> PathBuf {
    let data = place.write("buyers.csv", &table(4_000, 0.0));
    let spec = place.at("train.toml");
    run(trainer()
        .arg("init")
        .arg(&data)
        .args(["--target", "bought", "-o"])
        .arg(&spec))
    .expect("written");
    let text = std::fs::read_to_string(&spec).expect("text");
    assert!(
        text.contains("time = \"at\"") && text.contains("ignore = [\"id\"]"),
        "{text}"
    );
    spec
}

fn check_plan(spec: &Path) {
    let plan = run(trainer().arg("plan").arg(spec)).expect("plans");
    assert!(
        plan.contains("predicts 'bought' (classification) by trees"),
        "{plan}"
    );
    assert!(plan.contains("split by time"), "{plan}");
}

/// The first run publishes a version; the same run again finds it.
fn check_run(place: &Place, spec: &Path) -> Value {
    let (code, said, error) = place.run(spec);
    assert_eq!(code, 0, "{said} {error}");
    assert_eq!(
        (said["became"].clone(), said["record"]["version"].clone()),
        (json!("published"), json!(1))
    );
    let accuracy = said["record"]["metrics"]["accuracy"]
        .as_f64()
        .expect("a measure");
    assert!(accuracy > 0.75, "{said}");

    let (code, again, _) = place.run(spec);
    assert_eq!(
        (
            code,
            again["became"].clone(),
            again["record"]["version"].clone()
        ),
        (0, json!("equal"), json!(1))
    );
    assert_eq!(again["record"]["run"], said["record"]["run"]);
    said
}

/// The label and the probability that a server answers.
fn ask(server: &Server, age: Value, colour: &str) -> (String, f64) {
    let one = |name: &str, datatype: &str, value: Value| json!({"name": name, "datatype": datatype, "shape": [1, 1], "data": [value]});
    let inputs = [
        one("age", "FP32", age),
        one("income", "FP32", json!(500.0)),
        one("colour", "BYTES", json!(colour)),
    ];
    let answer = server.post(
        "/v2/models/buyers/infer",
        json!({"inputs": inputs}).to_string().as_bytes(),
    );
    assert_eq!(answer.status, 200, "{}", answer.text());

    let outputs = answer.json()["outputs"]
        .as_array()
        .expect("outputs")
        .clone();
    let of = |name: &str| {
        outputs
            .iter()
            .find(|o| o["name"] == name)
            .expect("an output")["data"]
            .clone()
    };
    (
        of("label")[0].as_str().expect("a word").to_owned(),
        of("probabilities")[1].as_f64().expect("a number"),
    )
}

fn check_predictions(server: &Server) {
    let (label, sure) = ask(server, json!(75.0), "red");
    assert!(label == "yes" && sure > 0.9, "{label} {sure}");
    let (label, sure) = ask(server, json!(25.0), "green");
    assert!(label == "no" && sure < 0.1, "{label} {sure}");
    assert_eq!(ask(server, json!(75.0), "no such colour").0, "yes");
}

fn check_manifest(place: &Place) {
    let manifest: Value =
        serde_json::from_str(&place.registry.does(&["show", "buyers:1", "--json"])).expect("JSON");
    let text = manifest.to_string();
    assert!(
        text.contains("data_digest") && text.contains("\"age\",\"income\",\"colour\""),
        "{text}"
    );
}

fn check_records(place: &Place, said: &Value) {
    let list = run(trainer().args(["runs", "buyers", "--registry", &place.registry.url()]))
        .expect("lists");
    assert!(
        list.contains("published") && list.contains("an earlier run published"),
        "{list}"
    );

    let key = said["record"]["run"].as_str().expect("a key")["sha256:".len()..][..12].to_owned();
    let why = run(trainer().args([
        "explain",
        "buyers",
        &key,
        "--registry",
        &place.registry.url(),
    ]))
    .expect("explains");
    assert!(
        why.contains("buyers.csv") && why.contains("version 1"),
        "{why}"
    );
}

/// The version brought the baseline of its training rows.
fn check_baseline(server: &Server) {
    let drift: Value = serde_json::from_str(
        &run(ortus().args(["drift", "buyers", "--json", "--server", &server.operator]))
            .expect("answers"),
    )
    .expect("JSON");
    assert!(
        drift.to_string().contains("\"baseline\":\"training\""),
        "it brought its baseline: {drift}"
    );
}

/// A specification of many rounds, so that a run can be interrupted.
fn slow_spec(place: &Place, name: &str) -> PathBuf {
    place.write(
            "train.toml",
            &format!("[model]\nname = \"{name}\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\"]\ntime = \"at\"\n[fit.trees]\nrounds_max = 400\npatience = 400\n"),
        )
}

#[test]
fn a_champion_that_cannot_be_compared_leaves_the_gate_inconclusive() {
    let place = Place::new();
    place.write("rows.csv", &table(3_000, 0.0));
    let wine = crate::support::models_folder().join("wine/1/model.onnx");
    place.registry.does(&[
        "push",
        "other",
        wine.to_str().expect("text"),
        "--alias",
        "champion",
    ]);
    let (code, said, _) = place.run(&slow_spec(&place, "other"));

    let gates = said["record"]["gates"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let champion = gates
        .iter()
        .find(|g| g["name"] == "champion")
        .cloned()
        .unwrap_or_default();
    assert_eq!(
        (code, champion["verdict"].clone()),
        (3, json!("inconclusive")),
        "{said}"
    );
    assert!(
        champion["reason"]
            .as_str()
            .is_some_and(|r| r.contains("cannot be compared")),
        "{champion}"
    );
}

#[test]
fn a_run_that_loses_its_registry_publishes_nothing_and_succeeds_later() {
    let place = Place::new();
    place.write("rows.csv", &table(3_000, 0.0));
    place.registry.push("other", 1.0);
    let mut child = start(&place);
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().expect("piped")));
    while !lines
        .next()
        .expect("it goes on")
        .expect("text")
        .contains("fitting to")
    {}

    // During the fit, a file takes the place of the store.
    let (store, away) = (place.registry.store(), place.at("away"));
    std::fs::rename(&store, &away).expect("moved");
    std::fs::write(&store, "").expect("written");
    let said: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("ended").code(), Some(1), "{said:?}");
    assert!(
        said.last()
            .is_some_and(|line| line.contains("in the store")),
        "{said:?}"
    );

    std::fs::remove_file(&store).expect("removed");
    std::fs::rename(&away, &store).expect("back");
    assert_eq!(
        place.registry.run(&["show", "m"]).0,
        1,
        "nothing is published"
    );

    let (code, said, error) = place.run(&slow_spec(&place, "m"));
    assert_eq!(
        (code, said["record"]["version"].clone()),
        (0, json!(1)),
        "{error}"
    );
    place.registry.does(&["audit", "verify"]);
}

fn start(place: &Place) -> Child {
    let mut command = trainer();
    command
        .arg("run")
        .arg(slow_spec(place, "m"))
        .args(["--registry", &place.registry.url()]);
    command
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("runs")
}
