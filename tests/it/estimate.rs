//! Performance that is estimated without labels: compared with the definition in NumPy,
//! and with NannyML where `ORTUS_NANNYML` names a Python that has it.

use crate::support::baseline::profile;
use crate::support::estimate::{estimated, estimates};
use crate::support::optional::{or_not_run, python, run};
use crate::support::registry::Registry;
use crate::support::{Directory, Server, eventually, model_file, ortus, settings, with_input};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// The features of a table, and its labels if it has them.
fn table(path: &Path, width: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let text = std::fs::read_to_string(path).expect("a table");
    let rows = text.lines().skip(1).map(|l| {
        l.split(',')
            .map(|v| v.parse().expect("a number"))
            .collect::<Vec<f64>>()
    });
    rows.map(|row| {
        (
            row[..width].to_vec(),
            row.get(width).copied().unwrap_or(0.0),
        )
    })
    .unzip()
}

/// The output `output` for rows that are sent fifty at a time.
fn predict(
    server: &Server,
    model: &str,
    rows: &[Vec<f64>],
    input: &str,
    output: &str,
) -> Vec<Vec<f64>> {
    let width = rows[0].len();
    let mut all = Vec::new();
    for part in rows.chunks(50) {
        let flat: Vec<f64> = part.concat();
        let body = json!({"inputs": [{"name": input, "datatype": "FP32", "shape": [part.len(), width], "data": flat}]});
        let answer = server.post(
            &format!("/v2/models/{model}/infer"),
            body.to_string().as_bytes(),
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        let outputs = answer.json()["outputs"]
            .as_array()
            .expect("outputs")
            .clone();
        let found = outputs
            .into_iter()
            .find(|o| o["name"] == output)
            .expect("the output");
        let flat: Vec<f64> = serde_json::from_value(found["data"].clone()).expect("numbers");
        all.extend(flat.chunks(flat.len() / part.len()).map(<[f64]>::to_vec));
    }
    all
}

fn reference(python: &Path, more: &[&str], given: &Value) -> Value {
    let script = crate::support::root().join("tests/monitor/cbpe.py");
    let mut command = Command::new(python);
    command.arg(script).arg("estimate").args(more);
    let output = with_input(&mut command, given.to_string().as_bytes()).stdout;
    let text = String::from_utf8_lossy(&output).into_owned();
    serde_json::from_str(text.lines().last().unwrap_or_default()).expect("JSON")
}

/// Compares the estimates of one model, for the second half of its rows, with the
/// reference.
fn check_estimates(python: &Path, model: &str, width: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    make_tables(python, model, folder.path());
    let server = serve_with_baseline(model, folder.path());

    let (rows, labels) = table(&at("reference.csv"), width);
    let before = predict(&server, "plain", &rows, "x", "probabilities");
    let now = predict(
        &server,
        model,
        &table(&at("analysis.csv"), width).0,
        "x",
        "probabilities",
    );

    let estimated = estimated(&server, model, 2_000);
    assert_eq!(estimated["calibrated"], true, "{estimated}");
    assert!(
        estimated["assumption"]
            .as_str()
            .is_some_and(|a| a.contains("concept drift"))
    );

    let given = json!({"reference": before, "labels": labels, "analysis": now});
    // Curves have at most 256 points, and the area 1,024 bins.
    let expected = reference(python, &[], &given);
    check_measures(&format!("NumPy for {model}"), &estimated, &expected, 0.002);
    if let Ok(python) = std::env::var("ORTUS_NANNYML") {
        // NannyML fits its curves to parts of the reference and averages them.
        let expected = reference(Path::new(&python), &["nannyml"], &given);
        check_measures(&format!("NannyML for {model}"), &estimated, &expected, 0.01);
    }
}

fn make_tables(python: &Path, model: &str, folder: &Path) {
    let at = |name: &str| folder.join(name);
    let script = crate::support::root().join("tests/monitor/cbpe.py");
    run(Command::new(python)
        .arg(script)
        .args(["make", model])
        .args([at("reference.csv"), at("analysis.csv")]))
    .expect("the tables");
}

/// Serves the model with its baseline, and without one as `plain`.
fn serve_with_baseline(model: &str, folder: &Path) -> Server {
    let bytes = model_file(model, "1");
    std::fs::write(folder.join("model.onnx"), &bytes).expect("written");
    let baseline = profile(folder, "reference.csv", "label");

    let directory = Directory::empty();
    directory.put_with(model, 1, &bytes, &[("baseline.json", &baseline)]);
    directory.put("plain", 1, &bytes);
    let set = [
        "monitor.window_rows=2000",
        "monitor.window_min=1s",
        "monitor.cpu_share=1.0",
    ];
    Server::start_with(directory.path(), &settings(&set))
}

fn check_measures(who: &str, estimated: &Value, expected: &Value, within: f64) {
    for (name, expected) in expected.as_object().expect("measures") {
        let (found, expected) = (
            estimated["measures"][name].as_f64().unwrap_or(f64::NAN),
            expected.as_f64().expect("a number"),
        );
        println!("{name}: estimated {found:.5}, {who} {expected:.5}");
        assert!(
            (found - expected).abs() <= within,
            "{name}: {found}, {who} says {expected}"
        );
    }
}

#[test]
fn estimates_equal_those_of_the_definition_for_the_same_scores() {
    let Some(python) = or_not_run(
        "scikit-learn",
        python("test-monitor", "monitor/requirements.txt"),
    ) else {
        return;
    };
    check_estimates(&python, "breast-cancer", 30);
    check_estimates(&python, "wine", 13);
}

/// Makes the model and its companion; returns what `dle.py` estimates from them.
fn with_companion(python: &Path, folder: &Path) -> Value {
    let script = crate::support::root().join("tests/monitor/dle.py");
    run(Command::new(python).arg(&script).arg("make").arg(folder)).expect("made");
    let said = run(Command::new(python)
        .arg(&script)
        .arg("estimate")
        .arg(folder))
    .expect("estimated");
    serde_json::from_str(said.lines().last().unwrap_or_default()).expect("JSON")
}

#[test]
fn a_companion_estimates_the_size_of_errors_before_any_label_arrives() {
    let Some(python) = or_not_run(
        "scikit-learn",
        python("test-monitor", "monitor/requirements.txt"),
    ) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let said = with_companion(&python, folder.path());
    let baseline = profile(folder.path(), "reference.csv", "label");
    let directory = with_companions(folder.path(), &baseline);
    let server = serve_companions(&directory);

    predict(
        &server,
        "value",
        &table(&at("analysis.csv"), 3).0,
        "x",
        "variable",
    );
    let estimated = estimated(&server, "value", 3_000);
    let then = serde_json::from_slice::<Value>(&baseline).expect("JSON");
    check_companion_estimate(&estimated, &said, number(&then["performance"]["mae"]));

    check_companion_output(&server, number(&estimated["measures"]["mae"]));
    check_refused_companions(&server);
}

/// A model with its companion, and three companions that cannot be used.
fn with_companions(folder: &Path, baseline: &[u8]) -> Directory {
    let read = |name: &str| std::fs::read(folder.join(name)).expect("a file");
    let (model, companion) = (read("model.onnx"), read("companion.onnx"));
    let directory = Directory::empty();
    directory.put_with(
        "value",
        1,
        &model,
        &[("companion.onnx", &companion), ("baseline.json", baseline)],
    );

    // The companion of another model, one that is malformed, and one of a classifier.
    directory.put_with(
        "other",
        1,
        &model_file("diabetes", "1"),
        &[("companion.onnx", &model_file("wine", "1"))],
    );
    directory.put_with("broken", 1, &model, &[("companion.onnx", b"no model")]);
    directory.put_with("classes", 1, &model, &[("companion.onnx", &companion)]);
    directory
}

fn serve_companions(directory: &Directory) -> Server {
    let set = [
        "monitor.window_rows=3000",
        "monitor.window_min=1s",
        "monitor.cpu_share=1.0",
        "model.classes.task=classification",
    ];
    Server::start_with(directory.path(), &settings(&set))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// The estimate equals the reference, and is near the real error, which is larger than
/// `then`, the error on the baseline's rows.
fn check_companion_estimate(estimated: &Value, said: &Value, then: f64) {
    let (found, expected, real) = (
        number(&estimated["measures"]["mae"]),
        number(&said["expected"]),
        number(&said["real"]),
    );
    let margin = number(&estimated["margin"]);
    println!(
        "mae: {then:.4} on the baseline's rows; now estimated {found:.4} ± {margin:.4}, really {real:.4}"
    );

    assert!(
        (found - expected).abs() <= 1e-6 * expected,
        "{found}, ONNX Runtime in Python says {expected}"
    );
    assert!(
        (found - real).abs() <= 1.5 * margin,
        "the estimate is far off"
    );
    assert!(
        real > 1.3 * then && found > 1.3 * then,
        "the rows are harder, and it says so"
    );
    assert!(estimated.get("calibrated").is_none(), "{estimated}");
    assert!(
        estimated["assumption"]
            .as_str()
            .is_some_and(|a| a.contains("concept drift"))
    );
}

fn check_companion_output(server: &Server, found: f64) {
    let text =
        run(ortus().args(["performance", "value", "--server", &server.operator])).expect("answers");
    assert!(
        text.contains("from the companion model's expected errors of 3000 rows")
            && text.contains("(mae ±"),
        "{text}"
    );

    // These rows are harder than those of the baseline, and the inputs are in alarm: the number is
    // marked, and has no series.
    assert!(text.contains("NOT RELIABLE: "), "{text}");
    eventually("the series is gone", || {
        let series = "ortus_estimated_performance{metric=\"mae\",model=\"value\"";
        server.metric(series).is_none()
    });
    assert!(found > 0.0);
}

fn check_refused_companions(server: &Server) {
    let listed = server.post("/v2/repository/index", b"{}").json();
    for (name, why) in [
        (
            "other",
            "the companion model has the input 'x' with another type or shape",
        ),
        ("broken", "the companion model: not an ONNX model"),
        ("classes", "it is not a regression model"),
    ] {
        let found = listed
            .as_array()
            .expect("a list")
            .iter()
            .find(|l| l["name"] == name)
            .expect("listed");
        assert!(
            found["reason"].as_str().is_some_and(|r| r.contains(why)),
            "{found}"
        );
    }
}

#[test]
fn a_companion_travels_with_its_version() {
    let Some(python) = or_not_run(
        "scikit-learn",
        python("test-monitor", "monitor/requirements.txt"),
    ) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    with_companion(&python, folder.path());
    let at = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    let registry = Registry::new();
    let wine = folder.path().join("wine.onnx");
    std::fs::write(&wine, model_file("wine", "1")).expect("written");

    let (code, _, said) = registry.run(&[
        "push",
        "m",
        &at("model.onnx"),
        "--companion",
        &at("wine.onnx"),
    ]);
    assert!(
        code == 1
            && said.contains("the companion model has the input 'x' with another type or shape"),
        "{said}"
    );

    profile(folder.path(), "reference.csv", "label");
    let beside = [
        "--companion",
        &at("companion.onnx"),
        "--baseline",
        &at("baseline.json"),
    ];
    registry.does(
        &[
            &["push", "m", &at("model.onnx"), "--alias", "champion"],
            &beside[..],
        ]
        .concat(),
    );

    registry.does(&["export", "m", "-o", &at("bundle")]);
    registry.does(&["import", &at("bundle"), "--name", "again"]);
    registry.does(&["promote", "again", "1"]);

    let set = [
        "monitor.window_rows=100",
        "monitor.window_min=1s",
        "monitor.cpu_share=1.0",
    ];
    let server = registry.serve(&settings(&set));
    let rows: Vec<Vec<f64>> = (0..200)
        .map(|i| vec![0.5, 0.5, f64::from(i) / 200.0])
        .collect();
    for name in ["m", "again"] {
        predict(&server, name, &rows, "x", "variable");
        eventually("an estimate", || {
            estimates(&server, name)["measures"]["mae"]
                .as_f64()
                .is_some()
        });
    }
}
