//! What the trainer does about an alarm: it waits for labelled rows of after it, learns from them once,
//! and never publishes a model that is there already.

use crate::place::{Place, noise, table, trainer};
use crate::support::optional::run;
use crate::support::{Server, eventually, ortus};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn spec(place: &Place, more: &str) -> PathBuf {
    place.write(
        "train.toml",
        &format!(
            "[model]\nname = \"m\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\"]\ntime = \"at\"\n\
             [fit.trees]\nrounds_max = 30\n[publish]\npolicy = \"champion\"\n\
             [triggers]\ndrift = true\ncooldown = \"0s\"\n{more}"
        ),
    )
}

fn does(place: &Place, arguments: &[&str], spec: &Path) -> String {
    let mut command = trainer();
    command
        .args(arguments)
        .arg(spec)
        .args(["--registry", &place.registry.url(), "--json"]);
    run(&mut command).expect("says")
}

fn once(place: &Place, spec: &Path) -> Vec<Value> {
    let text = does(place, &["watch", "--once"], spec);
    let runs = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    runs.collect()
}

/// Returns what the first due event waits for.
fn waits(place: &Place, spec: &Path) -> Value {
    let status: Value = serde_json::from_str(&does(place, &["status"], spec)).expect("JSON");
    assert_eq!(status["due"].as_array().map(Vec::len), Some(1), "{status}");
    status["due"][0]["waits"].clone()
}

/// Asks the champion for rows whose income is in another unit, until an incident opens.
fn drift(server: &Server) {
    let of = |row: usize| {
        let income = 1e6 * (0.1 + noise(row, 2));
        json!({"inputs": [
            {"name": "age", "datatype": "FP32", "shape": [1, 1], "data": [40.0 + noise(row, 1)]},
            {"name": "income", "datatype": "FP32", "shape": [1, 1], "data": [income]},
            {"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": ["red"]}
        ]})
    };
    for row in 0..60 {
        let answer = server.post("/v2/models/m/infer", of(row).to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// Waits until the trainer sees the alarm.
fn wait_for_alarm(place: &Place, spec: &Path) {
    eventually("an alarm in the store", || {
        let status: Value = serde_json::from_str(&does(place, &["status"], spec)).expect("JSON");
        status["due"].as_array().is_some_and(|due| !due.is_empty())
    });
}

/// Rows of after now. Without labels their targets are missing.
fn later(rows: usize, has_labels: bool) -> String {
    let now = chrono::Utc::now();
    let line = |row: usize| {
        let at = now + chrono::TimeDelta::microseconds(row as i64);
        let at = at.format("%Y-%m-%dT%H:%M:%S%.6f");
        let (age, income) = (20.0 + 60.0 * noise(row, 11), 1e6 * noise(row, 12));
        // Other people buy now.
        let bought = match (has_labels, age < 45.0) {
            (false, _) => "",
            (true, true) => "yes",
            (true, false) => "no",
        };
        format!("new{row},{at},{age:.2},{income:.3},red,{bought}\n")
    };
    (0..rows).map(line).collect()
}

#[test]
fn an_alarm_waits_for_labelled_rows_and_starts_one_run() {
    let place = Place::new();
    // As precise as the rows that come later.
    let old = table(2_000, 0.0).replace(":00,", ":00.000000,");
    place.write("rows.csv", &old);
    let file = spec(&place, "");
    let (code, said, error) = place.run(&file);
    assert_eq!(code, 0, "{said} {error}");

    let server = Server::start_from(&["--registry", &place.registry.url()]);
    drift(&server);
    wait_for_alarm(&place, &file);
    let listed = run(ortus().args(["alarms", "m", "--registry", &place.registry.url()]));
    let listed = listed.expect("lists");
    assert!(listed.contains("income is above the range"), "{listed}");

    // Without labels nothing is learned, and that is said.
    let told = once(&place, &file);
    assert_eq!(told.len(), 1, "{told:?}");
    let reason = told[0]["record"]["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("0 of 500 labelled rows since the alarm of "),
        "{reason}"
    );
    assert_eq!(once(&place, &file), Vec::<Value>::new(), "told once");
    assert_eq!(waits(&place, &file), json!(reason));

    // Rows of after the alarm, whose labels come late.
    place.write("rows.csv", &(old.clone() + &later(600, false)));
    assert_eq!(once(&place, &file), Vec::<Value>::new());
    assert_eq!(waits(&place, &file), json!(reason));

    place.write("rows.csv", &(old.clone() + &later(499, true)));
    // Rows count once they are two seconds old.
    eventually("the rows to be counted", || {
        let few = waits(&place, &file);
        few.as_str().is_some_and(|w| w.starts_with("499 of 500"))
    });
    assert_eq!(once(&place, &file), Vec::<Value>::new());

    // Enough that the rows to learn from, which are the older ones, have some of them.
    place.write("rows.csv", &(old + &later(2_400, true)));
    let mut ran = Vec::new();
    eventually("a run", || {
        ran = once(&place, &file);
        !ran.is_empty()
    });
    assert_eq!(
        (&ran[0]["became"], &ran[0]["record"]["version"]),
        (&json!("published"), &json!(2)),
        "{ran:?}"
    );
    assert_eq!(once(&place, &file), Vec::<Value>::new(), "once");
}

#[test]
fn what_is_there_already_is_not_published_again() {
    let place = Place::new();
    place.write("rows.csv", &table(2_000, 0.0));
    let file = spec(&place, "");
    assert_eq!(place.run(&file).0, 0);

    // The same rows, asked for by a person.
    let mut ask = trainer();
    ask.args([
        "trigger",
        "m",
        "--reason",
        "again",
        "--registry",
        &place.registry.url(),
    ]);
    run(&mut ask).expect("asked");
    let ran = once(&place, &file);
    assert_eq!(ran[0]["became"], json!("unchanged"), "{ran:?}");
    let reason = ran[0]["record"]["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("its rows are those of the run of "),
        "{reason}"
    );

    // Another specification that makes the same model.
    let twin = spec(&place, "[gates]\nconfidence = 0.9\n");
    let (code, said, _) = place.run(&twin);
    assert_eq!((code, &said["became"]), (0, &json!("unchanged")), "{said}");
    assert_eq!(
        said["record"]["reason"],
        json!("it answers as the champion, version 1, does")
    );
    let shown = place.registry.does(&["show", "m", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(
        shown["versions"].as_array().map(Vec::len),
        Some(1),
        "{shown}"
    );
}
