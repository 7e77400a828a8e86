//! Hyperparameter sweeps, comparison of runs, and what MLflow reads of them.

use crate::place::{Place, table, trainer};
use crate::support::optional::{or_not_run, python, run};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

fn spec(place: &Place, sweep: &str) -> PathBuf {
    place.write("rows.csv", &table(2_000, 0.0));
    place.write(
        "train.toml",
        &format!(
            "[model]\nname = \"m\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\nignore = [\"id\"]\ntime = \"at\"\n\
             [fit.trees]\nrounds_max = 40\n[publish]\npolicy = \"champion\"\n{sweep}"
        ),
    )
}

fn sweep(place: &Place, spec: &Path, more: &[&str]) -> (i32, Value, String) {
    let mut command = trainer();
    command
        .arg("sweep")
        .arg(spec)
        .args(["--registry", &place.registry.url(), "--json"])
        .args(more);
    let output = command.output().expect("runs");
    let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (
        output.status.code().expect("an exit code"),
        said,
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn compare(place: &Place, one: &Value, other: &Value) -> Value {
    let key = |ran: &Value| ran["record"]["run"].as_str().expect("a key").to_owned();
    let mut command = trainer();
    command.args([
        "compare",
        "m",
        &key(one),
        &key(other),
        "--json",
        "--registry",
        &place.registry.url(),
    ]);
    serde_json::from_str(&run(&mut command).expect("compares")).expect("JSON")
}

#[test]
fn the_best_of_a_sweep_is_published_by_the_same_gates_and_mlflow_reads_every_run() {
    let place = Place::new();
    let values = "[sweep.values]\n\"fit.trees.leaves_max\" = [2, 12]\n\"fit.trees.learning_rate\" = [0.0001, 0.1]\n";
    let file = spec(&place, values);
    let folder = place.at("mlruns");
    let mlflow = ["--mlflow", folder.to_str().expect("text")];
    let (code, said, error) = sweep(&place, &file, &mlflow);
    assert_eq!(code, 0, "{said} {error}");
    check_trials(&said);
    let best = &said["best"];
    check_best(best);

    let tried = tried(&place);
    assert_eq!(tried.len(), 4);
    check_pages(&place, &tried);
    check_second_sweep(&place, &file, &said);
    check_comparison(&place, &tried, best);

    let Some(python) = or_not_run("MLflow", python("test-mlflow", "mlflow/requirements.txt"))
    else {
        return;
    };
    check_mlflow(&python, &folder, best);
}

#[test]
fn trials_that_differ_only_in_what_does_not_apply_are_run_once() {
    let place = Place::new();
    let values = "[sweep]\nmethod = \"grid\"\n[sweep.values]\n\"fit.algorithm\" = [\"linear\"]\n\"fit.trees.leaves_max\" = [2, 12, 20]\n";
    let file = spec(&place, values);
    let page = place.at("sweep.html");
    let (code, said, error) = sweep(&place, &file, &["--html", page.to_str().expect("text")]);
    assert_eq!(code, 0, "{said} {error}");
    assert_eq!(said["trials"].as_array().map(Vec::len), Some(3));
    assert_eq!(tried(&place).len(), 1, "{said}");
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(
        page.contains("m: sweep") && page.contains("3 trials compared"),
        "{page}"
    );
}

/// The pages of the runs and of two of them.
fn check_pages(place: &Place, tried: &[Value]) {
    let page = |arguments: &[&str]| {
        let file = place.at("page.html");
        let mut command = trainer();
        command.args(arguments).arg("--html").arg(&file);
        run(command.args(["--registry", &place.registry.url()])).expect("written");
        std::fs::read_to_string(&file).expect("a page")
    };
    let runs = page(&["runs", "m"]);
    // Over time, parallel coordinates, four charts by setting at least, and learning curves.
    assert!(runs.matches("<svg").count() >= 5, "{runs}");
    for part in [
        "From run to run",
        "fit.trees.learning_rate",
        "Learning curves",
        "version 1",
    ] {
        assert!(runs.contains(part), "{part}: {runs}");
    }
    let key = |at: usize| {
        tried[at]["record"]["run"]
            .as_str()
            .expect("a key")
            .to_owned()
    };
    let both = page(&["compare", "m", &key(0), &key(3)]);
    assert!(both.contains("the runs used the same data."), "{both}");
    let curves = tried
        .iter()
        .map(|ran| ran["record"]["curve"].as_array().map_or(0, Vec::len));
    assert!(
        curves.clone().all(|points| points > 1),
        "{:?}",
        curves.collect::<Vec<_>>()
    );
}

fn check_trials(said: &Value) {
    let trials = said["trials"].as_array().expect("trials");
    assert_eq!(trials.len(), 4);
    let losses: Vec<f64> = trials
        .iter()
        .map(|t| t["loss"].as_f64().expect("a loss"))
        .collect();
    assert!(
        losses.is_sorted() && losses[3] > losses[0] * 1.2,
        "slow steps are worse: {losses:?}"
    );
    assert_eq!(trials[0]["values"]["fit.trees.learning_rate"], json!(0.1));
}

fn check_best(best: &Value) {
    assert_eq!(
        (best["became"].clone(), best["record"]["version"].clone()),
        (json!("published"), json!(1))
    );
    assert!(
        best["trigger"]
            .as_str()
            .is_some_and(|t| t.starts_with("the best of 4 tried, log_loss ")),
        "{best}"
    );
    assert!(
        best["record"]["spec"]
            .as_str()
            .is_some_and(|s| s.contains("learning_rate = 0.1"))
    );
}

/// The runs of the sweep's trials. None of them saw the rows by which the best is judged.
fn tried(place: &Place) -> Vec<Value> {
    let text = run(trainer().args(["runs", "m", "--json", "--registry", &place.registry.url()]))
        .expect("lists");
    let all: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    all.into_iter()
        .filter(|ran| ran["became"] == json!("tried"))
        .collect()
}

/// Nothing is tried twice, and the version is found.
fn check_second_sweep(place: &Place, file: &Path, said: &Value) {
    let (code, again, error) = sweep(place, file, &[]);
    assert_eq!(
        (code, again["best"]["became"].clone()),
        (0, json!("equal")),
        "{error}"
    );
    assert_eq!(again["trials"], said["trials"]);
}

fn check_comparison(place: &Place, tried: &[Value], best: &Value) {
    let beside = compare(place, &tried[0], &tried[1]);
    assert_eq!(beside["same_data"], json!(true));
    let set = beside["settings"].as_object().expect("settings");
    assert!(
        !set.is_empty() && set.keys().all(|name| name.starts_with("fit.trees.")),
        "{beside}"
    );

    let (code, other, error) = place.run(&spec(
        place,
        "[fit]\nalgorithm = \"linear\"\n[gates]\nregression_max = 5.0\n",
    ));
    assert_eq!(code, 0, "{other} {error}");
    let beside = compare(place, best, &other);
    assert_eq!(
        beside["settings"]["fit.algorithm"],
        json!(["trees", "linear"]),
        "{beside}"
    );
    assert!(
        beside["metrics"]["auc"][0].is_string()
            && beside["gates"]["parity"] == json!(["pass", "pass"]),
        "{beside}"
    );
}

fn check_mlflow(python: &Path, folder: &Path, best: &Value) {
    let script = crate::support::root().join("tests/mlflow/read.py");
    let read = run(Command::new(python).arg(script).arg(folder).arg("m")).expect("MLflow reads it");
    let runs: Vec<Value> = serde_json::from_str(&read).expect("JSON");
    assert_eq!(runs.len(), 5, "{read}");
    let last = runs
        .iter()
        .find(|ran| ran["tags"]["ortus.became"] == json!("published"))
        .expect("the best");

    assert_eq!(last["metrics"]["auc"], best["record"]["metrics"]["auc"]);
    assert_eq!(
        (
            last["params"]["fit.trees.learning_rate"].clone(),
            last["status"].clone()
        ),
        (json!("0.1"), json!("FINISHED"))
    );
    assert_eq!(
        (
            last["tags"]["ortus.version"].clone(),
            last["tags"]["ortus.run"].clone()
        ),
        (json!("1"), best["record"]["run"].clone())
    );
}

#[test]
fn a_random_sweep_is_bounded_and_an_invalid_sweep_is_refused() {
    let place = Place::new();
    let random = "[sweep]\nmethod = \"random\"\nruns_max = 3\n[sweep.values]\n\"fit.algorithm\" = [\"linear\"]\n\"fit.linear.l2\" = { from = 0.01, to = 100.0, log = true }\n";
    let (code, said, error) = sweep(&place, &spec(&place, random), &[]);
    assert_eq!(
        (code, said["trials"].as_array().map(Vec::len)),
        (0, Some(3)),
        "{error}"
    );
    let (code, _, error) = sweep(&place, &spec(&place, ""), &[]);
    assert!(
        code == 1 && error.contains("[sweep.values] is missing"),
        "{error}"
    );
    let wrong = "[sweep.values]\n\"fit.trees.leaves_max\" = [7, 1]\n";
    let (code, _, error) = sweep(&place, &spec(&place, wrong), &[]);
    assert!(
        code == 1 && error.contains("train.toml:14") && error.contains("from 2 to 4096"),
        "{error}"
    );
    let (code, _, error) = sweep(
        &place,
        &spec(&place, random),
        &["--mlflow", "ftp://nowhere"],
    );
    assert!(
        code == 0 && error.contains("cannot be logged to MLflow"),
        "a run is not lost by it: {error}"
    );
}
