//! Performance without labels, held against the definition in NumPy, and where
//! `ORTUS_NANNYML` names a Python that has it, against NannyML.

use crate::optional::{or_not_run, python, run};
use crate::support::{Directory, Server, eventually, model_file, ortus};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// The numbers of a table, and its last column apart where it is the label.
fn table(path: &Path, width: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let text = std::fs::read_to_string(path).expect("a table");
    let rows = text.lines().skip(1).map(|l| l.split(',').map(|v| v.parse().expect("a number")).collect::<Vec<f64>>());
    rows.map(|row| (row[..width].to_vec(), row.get(width).copied().unwrap_or(0.0))).unzip()
}

/// The scores of rows, a hundred at a time.
fn scores(server: &Server, model: &str, rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let width = rows[0].len();
    let mut all = Vec::new();
    for part in rows.chunks(50) {
        let flat: Vec<f64> = part.concat();
        let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [part.len(), width], "data": flat}]});
        let answer = server.post(&format!("/v2/models/{model}/infer"), body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let outputs = answer.json()["outputs"].as_array().expect("outputs").clone();
        let found = outputs.into_iter().find(|o| o["name"] == "probabilities").expect("scores");
        let flat: Vec<f64> = serde_json::from_value(found["data"].clone()).expect("numbers");
        all.extend(flat.chunks(flat.len() / part.len()).map(<[f64]>::to_vec));
    }
    all
}

fn reference(python: &Path, more: &[&str], given: &Value) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/monitor/cbpe.py");
    let mut command = Command::new(python);
    command.arg(script).arg("estimate").args(more).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the reference starts");
    child.stdin.take().expect("piped").write_all(given.to_string().as_bytes()).expect("written");
    let output = child.wait_with_output().expect("ends").stdout;
    let text = String::from_utf8_lossy(&output).into_owned();
    serde_json::from_str(text.lines().last().unwrap_or_default()).expect("JSON")
}

fn check(python: &Path, model: &str, width: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/monitor/cbpe.py");
    run(Command::new(python).arg(script).args(["make", model]).args([at("reference.csv"), at("analysis.csv")]))
        .expect("the tables");
    let bytes = model_file(model, "1");
    std::fs::write(at("model.onnx"), &bytes).expect("written");
    let mut profile = ortus();
    profile.arg("profile").arg(at("reference.csv")).arg("--onnx").arg(at("model.onnx"));
    run(profile.args(["--label", "label", "-o"]).arg(at("baseline.json"))).expect("profiled");
    let baseline = std::fs::read(at("baseline.json")).expect("a baseline");
    let directory = Directory::empty();
    directory.put_with(model, 1, &bytes, &[("baseline.json", &baseline)]);
    directory.put("plain", 1, &bytes);
    let set = ["monitor.window_rows=2000", "monitor.window_min=1s", "monitor.cpu_share=1.0"];
    let server = Server::start_with(directory.path(), &set.iter().flat_map(|s| ["--set", s]).collect::<Vec<_>>());
    let (rows, labels) = table(&at("reference.csv"), width);
    let before = scores(&server, "plain", &rows);
    let now = scores(&server, model, &table(&at("analysis.csv"), width).0);
    let mut estimated = Value::Null;
    eventually("the window closes", || {
        let said =
            run(ortus().args(["performance", model, "--json", "--server", &server.operator])).unwrap_or_default();
        let said: Value = serde_json::from_str(&said).unwrap_or_default();
        estimated = said["estimated"][0]["estimated"].clone();
        estimated["rows"] == 2_000
    });
    assert_eq!(estimated["calibrated"], true, "{estimated}");
    assert!(estimated["assumption"].as_str().is_some_and(|a| a.contains("concept drift")));
    let given = json!({"reference": before, "labels": labels, "analysis": now});
    let compare = |who: &str, said: &Value, within: f64| {
        for (name, expected) in said.as_object().expect("measures") {
            let (found, expected) =
                (estimated["measures"][name].as_f64().unwrap_or(f64::NAN), expected.as_f64().expect("a number"));
            println!("{model} {name}: ortus {found:.5}, {who} {expected:.5}");
            assert!((found - expected).abs() <= within, "{model} {name}: {found}, {who} says {expected}");
        }
    };
    // Curves have at most 256 points, and the area 1,024 bins.
    compare("NumPy", &reference(python, &[], &given), 0.002);
    if let Ok(python) = std::env::var("ORTUS_NANNYML") {
        // Its curves are fitted to parts of the reference, and averaged.
        compare("NannyML", &reference(Path::new(&python), &["nannyml"], &given), 0.01);
    }
}

#[test]
fn estimates_are_what_the_definition_says_of_the_same_scores() {
    let Some(python) = or_not_run("scikit-learn", python("test-monitor", "monitor/requirements.txt")) else { return };
    check(&python, "breast-cancer", 30);
    check(&python, "wine", 13);
}
