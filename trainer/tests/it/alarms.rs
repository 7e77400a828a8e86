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

/// Returns what the first due event waits for.
fn waits(place: &Place, spec: &Path) -> Value {
    let status: Value = serde_json::from_str(&place.does(&["status"], spec)).expect("JSON");
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
        let status: Value = serde_json::from_str(&place.does(&["status"], spec)).expect("JSON");
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
    let told = place.watch_once(&file);
    assert_eq!(told.len(), 1, "{told:?}");
    let reason = told[0]["record"]["reason"].as_str().expect("a reason");
    assert!(
        reason.starts_with("0 of 500 labelled rows of after the alarm of ")
            && reason.contains("would be learned from: 0 of after it are there; the newest 20 % of all 2000 rows judge the model")
            && reason.ends_with("; the newest row is of 2026-01-02 09:19:00 UTC"),
        "{reason}"
    );
    assert_eq!(place.watch_once(&file), Vec::<Value>::new(), "told once");
    assert_eq!(waits(&place, &file), json!(reason));

    // Rows of after the alarm, whose labels come late.
    place.write("rows.csv", &(old.clone() + &later(600, false)));
    assert_eq!(place.watch_once(&file), Vec::<Value>::new());
    assert_eq!(waits(&place, &file), json!(reason));

    place.write("rows.csv", &(old.clone() + &later(499, true)));
    // Rows count once they are two seconds old.
    let is_said = |expected: &str| {
        let few = waits(&place, &file);
        few.as_str().is_some_and(|w| w.contains(expected))
    };
    eventually("the rows to be counted", || {
        is_said("from: 499 of after it are there")
    });
    assert!(
        is_said("0 of 500 labelled rows"),
        "they all judge the model"
    );
    assert_eq!(place.watch_once(&file), Vec::<Value>::new());

    // More than 500 that are labelled, of which the run would learn from 176.
    place.write("rows.csv", &(old.clone() + &later(1_200, true)));
    eventually("the rows to be counted", || {
        is_said("from: 1200 of after it are there")
    });
    assert!(is_said("176 of 500 labelled rows"));
    assert!(is_said("so 1678 of after it are needed"));
    assert_eq!(place.watch_once(&file), Vec::<Value>::new());

    // Enough that the rows to learn from, which are the older ones, have 500 of them.
    place.write("rows.csv", &(old + &later(2_400, true)));
    let mut ran = Vec::new();
    eventually("a run", || {
        ran = place.watch_once(&file);
        !ran.is_empty()
    });
    assert_eq!(
        (&ran[0]["became"], &ran[0]["record"]["version"]),
        (&json!("published"), &json!(2)),
        "{ran:?}"
    );
    assert_eq!(place.watch_once(&file), Vec::<Value>::new(), "once");
    check_recovery(&ran[0]["record"]);
    check_held(&place, &file, &ran[0]["record"]);
}

/// The new model loses less than the champion on rows that are all of after the change, and learned from
/// such rows.
fn check_recovery(record: &Value) {
    let loss = |of: &str| record[of]["log_loss"].as_f64().expect("a loss");
    let (new, before) = (loss("metrics"), loss("champion_metrics"));
    assert!(new < 0.5 * before, "{new} beside {before}");
    let learned = record["split"]["learned_times"].as_array().expect("times");
    let exact = learned.iter().find(|pair| pair[0] == json!(500));
    let oldest = exact.and_then(|pair| pair[1].as_str()).expect("a time");
    // The old rows are of January and February.
    assert!(
        !oldest.starts_with("2026-01") && !oldest.starts_with("2026-02"),
        "{oldest}"
    );
}

/// The income of the rows is in another unit, so that a person decides.
fn check_held(place: &Place, file: &Path, record: &Value) {
    let held = record["held"].as_str().expect("held");
    assert!(
        held.starts_with("held for a person, as challenger: the rows may be wrong, as income is "),
        "{held}"
    );
    assert!(held.contains("times what it was in version 1"), "{held}");
    assert_eq!(record["rows_changed"][0]["is_suspect"], json!(true));
    let status: Value = serde_json::from_str(&place.does(&["status"], file)).expect("JSON");
    assert_eq!(
        (&status["champion"], &status["candidates"]),
        (&json!(1), &json!({"challenger": 2})),
        "{status}"
    );
    let shown = place.registry.does(&["history", "m"]);
    assert!(
        shown.contains("trained by ortus-trainer; alarm: drift: income"),
        "{shown}"
    );
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
    let ran = place.watch_once(&file);
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
