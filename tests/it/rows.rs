//! The rows of different callers: what is not batched because rows influence each other, and
//! what the graph proves to be independent.

use crate::support::optional::{is_long, or_not_run, python, run};
use crate::support::{Directory, Server, eventually, http, ortus, root, settings};
use ortus::proto::onnx as o;
use ortus::testing::graphs::{self, FLOAT, INT64, STRING, declare, floats, node, whole};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;

const INT8: i32 = 3;
const INT32: i32 = 6;
const BOOL: i32 = 9;
/// Callers at the same moment.
const CALLERS: usize = 8;

/// A node with a name and more than one output.
fn named(name: &str, op: &str, inputs: &[&str], outputs: &[&str]) -> o::NodeProto {
    o::NodeProto {
        name: Some(name.to_owned()),
        output: outputs.iter().map(|s| (*s).to_owned()).collect(),
        ..node(op, inputs, "")
    }
}

/// A classifier after dynamic quantization; it answers which scores are positive.
fn quantized() -> Vec<u8> {
    let weights: Vec<u8> = (0..24).map(|i: u8| i.wrapping_mul(37)).collect();
    let weights = o::TensorProto {
        dims: vec![8, 3],
        data_type: Some(INT8),
        raw_data: Some(weights.into()),
        ..whole("w", &[])
    };
    let zero = o::TensorProto {
        dims: Vec::new(),
        data_type: Some(INT32),
        raw_data: Some(vec![0; 4].into()),
        ..whole("zero", &[])
    };
    graphs::model(o::GraphProto {
        node: vec![
            named("scale", "DynamicQuantizeLinear", &["x"], &["q", "s", "z"]),
            node("MatMulInteger", &["q", "w", "z"], "a"),
            node("Greater", &["a", "zero"], "y"),
        ],
        initializer: vec![weights, zero],
        input: vec![declare("x", FLOAT, &[-1, 8])],
        output: vec![declare("y", BOOL, &[-1, 3])],
        ..o::GraphProto::default()
    })
}

/// Texts that are split at blanks; the parts are padded to the longest of the run.
fn split() -> Vec<u8> {
    graphs::model(o::GraphProto {
        node: vec![named("cut", "StringSplit", &["x"], &["y", "n"])],
        input: vec![declare("x", STRING, &[-1])],
        output: vec![declare("y", STRING, &[-1, -1]), declare("n", INT64, &[-1])],
        ..o::GraphProto::default()
    })
}

/// Values divided by the largest of the run, once it is over 1.
fn limited() -> Vec<u8> {
    graphs::model(o::GraphProto {
        node: vec![
            named("largest", "ReduceMax", &["x"], &["m"]),
            node("Max", &["m", "one"], "d"),
            node("Div", &["x", "d"], "y"),
        ],
        initializer: vec![floats("one", &[1.0])],
        input: vec![declare("x", FLOAT, &[-1, 2])],
        output: vec![declare("y", FLOAT, &[-1, 2])],
        ..o::GraphProto::default()
    })
}

/// The sum of all rows, declared as if it had a row for each.
fn summed() -> Vec<u8> {
    graphs::model(o::GraphProto {
        node: vec![named("sum", "ReduceSum", &["x", "first"], &["y"])],
        initializer: vec![whole("first", &[0])],
        input: vec![declare("x", FLOAT, &[-1, 2])],
        output: vec![declare("y", FLOAT, &[-1, 2])],
        ..o::GraphProto::default()
    })
}

/// The `batching` of each model that the operator API lists.
fn batching(server: &Server) -> BTreeMap<String, Value> {
    let header = [("ortus-operator", "1")];
    let listed = http(&server.operator, "GET", "/v1/models", &header, b"").json();
    let models = listed["models"].as_array().expect("a list");
    let entry = |model: &Value| {
        let name = model["name"].as_str().unwrap_or_default().to_owned();
        (name, model["batching"].clone())
    };
    models.iter().map(entry).collect()
}

/// What the metadata of a model says of batching.
fn property(server: &Server, model: &str) -> String {
    let metadata = server.get(&format!("/v2/models/{model}")).json();
    let said = metadata["properties"]["ortus.batching"].as_str();
    said.unwrap_or_default().to_owned()
}

/// What `ortus models` shows as the reason of a model.
fn shown_reason(server: &Server, model: &str) -> String {
    let mut command = ortus();
    let shown = command.args(["models", "--json", "--server", &server.http]);
    let shown = shown.output().expect("run").stdout;
    let listed: Value = serde_json::from_slice(&shown).expect("JSON");
    let lines = listed.as_array().expect("a list");
    let line = lines.iter().find(|line| line["name"] == model);
    let said = line.and_then(|line| line["reason"].as_str());
    said.unwrap_or_default().to_owned()
}

/// A request with one row.
fn request(datatype: &str, shape: &[usize], data: &Value) -> Vec<u8> {
    let input =
        serde_json::json!({"name": "x", "datatype": datatype, "shape": shape, "data": data});
    serde_json::json!({"inputs": [input]})
        .to_string()
        .into_bytes()
}

fn outputs(server: &Server, model: &str, body: &[u8]) -> Value {
    let answer = server.post(&format!("/v2/models/{model}/infer"), body);
    assert_eq!(answer.status, 200, "{model}: {}", answer.text());
    answer.json()["outputs"].clone()
}

/// Asks as all callers at the same moment, several times. Each must get what it gets alone.
fn check_alone_and_together(server: &Server, model: &str, bodies: &[Vec<u8>]) {
    let alone: Vec<Value> = bodies.iter().map(|b| outputs(server, model, b)).collect();
    let start = Barrier::new(bodies.len());
    std::thread::scope(|scope| {
        for (body, alone) in bodies.iter().zip(&alone) {
            let start = &start;
            scope.spawn(move || {
                for _ in 0..4 {
                    start.wait();
                    assert_eq!(&outputs(server, model, body), alone, "{model}");
                }
            });
        }
    });
}

#[test]
fn requests_whose_rows_would_influence_each_other_run_alone_and_the_operator_is_named() {
    let directory = Directory::empty();
    directory.put("quantized", 1, &quantized());
    directory.put("split", 1, &split());
    directory.put("limited", 1, &limited());
    let slow = settings(&[
        "models.defaults.batch_delay=20ms",
        "log.level=\"ortus=info\"",
    ]);
    let server = Server::start_with(directory.path(), &slow);

    let expected = [
        (
            "quantized",
            "operator DynamicQuantizeLinear of node 'scale': takes one scale",
        ),
        (
            "split",
            "operator StringSplit of node 'cut': pads to the longest text",
        ),
        (
            "limited",
            "operator ReduceMax of node 'largest': it reduces over all axes",
        ),
    ];
    let listed = batching(&server);
    for (model, reason) in expected {
        let why = format!("the rows of a batch influence each other: {reason}");
        let said = property(&server, model);
        assert!(
            said.starts_with(&format!("alone: {why}")),
            "{model}: {said}"
        );
        assert_eq!(listed[model]["joined"], false, "{model}");
        let said = listed[model]["reason"].as_str().unwrap_or_default();
        assert!(said.starts_with(&why), "{model}: {said}");
        assert!(server.log().contains(&why), "{model}: {}", server.log());
        let said = shown_reason(&server, model);
        assert!(said.starts_with(&format!("unbatched: {why}")), "{said}");
    }

    let number = |caller: usize| if caller == 0 { 500.0 } else { 0.5 };
    let rows = |width: usize| -> Vec<Vec<u8>> {
        let row = |caller: usize| {
            let row: Vec<f64> = (0..width)
                .map(|i| number(caller) * (i as f64 - 2.5))
                .collect();
            request("FP32", &[1, width], &row.into())
        };
        (0..CALLERS).map(row).collect()
    };
    let text = |caller: usize| if caller < 2 { "a b c" } else { "z" };
    let texts = (0..CALLERS).map(|caller| request("BYTES", &[1], &vec![text(caller)].into()));
    check_alone_and_together(&server, "quantized", &rows(8));
    check_alone_and_together(&server, "limited", &rows(2));
    check_alone_and_together(&server, "split", &texts.collect::<Vec<_>>());
}

#[test]
fn a_model_whose_batching_is_turned_off_by_the_operator_needs_no_reason() {
    let directory = Directory::empty();
    directory.put("limited", 1, &limited());
    let off = settings(&["model.limited.batching=\"off\""]);
    let server = Server::start_with(directory.path(), &off);
    assert_eq!(
        property(&server, "limited"),
        "alone: batching is off in the configuration"
    );
    assert_eq!(shown_reason(&server, "limited"), "");
}

#[test]
fn batching_can_be_forced_and_what_speaks_against_it_is_said_loudly() {
    let directory = Directory::with(&["wine"]);
    directory.put("limited", 1, &limited());
    directory.put("summed", 1, &summed());
    let on = settings(&["models.defaults.batching=\"on\""]);
    let server = Server::start_with(directory.path(), &on);

    // What is proven needs no force.
    assert_eq!(property(&server, "wine"), "joined");
    let said = property(&server, "limited");
    let doubt = "the rows of a batch influence each other: operator ReduceMax of node 'largest'";
    assert!(
        said.starts_with(&format!("joined by the configuration, although {doubt}")),
        "{said}"
    );
    let listed = batching(&server);
    assert_eq!(
        (&listed["limited"]["joined"], &listed["limited"]["forced"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    assert_eq!(
        server.get("/v2/models/limited/config").json()["max_batch_size"],
        64
    );

    // The answer to a batch of this model cannot be split.
    let said = property(&server, "summed");
    assert!(
        said.starts_with("alone: batching is on in the configuration, but"),
        "{said}"
    );
    let log = server.log();
    let warnings = [
        "batching is on in the configuration although rows of different requests may influence each other",
        "served without batching although it is on in the configuration",
    ];
    for warning in warnings {
        assert_eq!(log.matches(warning).count(), 1, "{warning}: {log}");
    }
}

/// Python with ONNX and scikit-learn.
fn onnx_python() -> Option<PathBuf> {
    or_not_run(
        "ONNX in Python",
        python("test-monitor", "monitor/requirements.txt"),
    )
}

fn script(python: &Path, name: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(root().join("tests/rows").join(name));
    command
}

/// What `ortus batching check` says of model files: verdict and reason of each.
fn verdicts(files: &[PathBuf]) -> Vec<(String, String)> {
    let mut all = Vec::new();
    // A command line has a limited length.
    for some in files.chunks(500) {
        let said = run(ortus().args(["batching", "check"]).args(some)).expect("checked");
        for (line, file) in said.lines().zip(some) {
            let rest = line.strip_prefix(&format!("{}: ", file.display()));
            let rest = rest.expect("one line for each file, in order");
            let (verdict, reason) = rest.split_once(": ").unwrap_or((rest, ""));
            all.push((verdict.to_owned(), reason.to_owned()));
        }
    }
    assert_eq!(all.len(), files.len());
    all
}

#[test]
fn the_check_names_a_first_axis_that_is_fixed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("fixed.onnx");
    let model = graphs::model(o::GraphProto {
        node: vec![graphs::node("Relu", &["x"], "y")],
        input: vec![declare("x", FLOAT, &[1, 2])],
        output: vec![declare("y", FLOAT, &[1, 2])],
        ..o::GraphProto::default()
    });
    std::fs::write(&file, model).expect("written");
    let (verdict, reason) = verdicts(&[file]).remove(0);
    assert_eq!(verdict, "independent");
    assert!(
        reason.contains("input 'x' has the shape [1, 2]"),
        "{reason}"
    );
}

/// Models that are also served: one of each kind of body and doubt.
const SERVED: [&str; 10] = [
    "sklearn_quantized_label",
    "sklearn_perceptron_words",
    "quantized_label",
    "turned_and_cut",
    "loop_body",
    "branch_body",
    "scan_over_rows",
    "function_of_the_model",
    "torch_attention",
    "loop_over_time",
];

#[test]
fn models_of_exporters_are_proven_and_mixing_operators_are_named() {
    let Some(python) = onnx_python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (models, told) = (
        folder.path().join("models"),
        folder.path().join("expected.json"),
    );
    run(script(&python, "models.py")
        .arg("make")
        .arg(&models)
        .arg(&told))
    .expect("made");

    let expected: BTreeMap<String, Value> =
        serde_json::from_value(crate::support::read_json(&told)).expect("a map");
    let file = |name: &String| models.join(name).join("1/model.onnx");
    let files: Vec<PathBuf> = expected.keys().map(file).collect();
    for ((name, told), (verdict, reason)) in expected.iter().zip(verdicts(&files)) {
        let is_right = match told["operator"].as_str() {
            None => verdict == "independent",
            // A node that may mix rows is unknown: a test decides at load.
            Some("Reshape") => verdict == "unknown" && reason.contains("node 'culprit'"),
            Some(operator) => {
                verdict == "dependent"
                    && reason.starts_with(&format!("operator {operator} of node"))
            }
        };
        assert!(is_right, "{name}: {verdict}: {reason}");
    }

    let batches = if is_long() { "1000" } else { "20" };
    let mut check = script(&python, "models.py");
    let said = run(check.arg("check").arg(&models).arg(&told).arg(batches));
    println!("{}", said.expect("no row depends on its batch"));
    check_served(&models, &expected);
}

/// Serves some of the models.
fn check_served(models: &Path, expected: &BTreeMap<String, Value>) {
    let directory = Directory::empty();
    for name in SERVED {
        let bytes = std::fs::read(models.join(name).join("1/model.onnx")).expect("made");
        directory.put(name, 1, &bytes);
    }
    let server = Server::start(directory.path());
    let untested = |said: &Value| said["reason"].to_string().contains("has not ended");
    eventually("the tests in the background", || {
        !batching(&server).values().any(untested)
    });
    let listed = batching(&server);
    for name in SERVED {
        let (told, said) = (&expected[name], &listed[name]);
        assert_eq!(said["joined"], told["independent"], "{name}: {said}");
        if let Some(operator) = told["operator"].as_str() {
            let reason = said["reason"].as_str().unwrap_or_default();
            let operator = format!("operator {operator} of node '");
            assert!(reason.contains(&operator), "{name}: {reason}");
        }
    }
}

/// Every node test of the ONNX project whose input has a free first axis. In the long form the
/// table goes to `ORTUS_TEST_TABLE`.
#[test]
fn what_is_proven_of_the_node_tests_of_onnx_holds_in_random_batches() {
    let Some(python) = onnx_python() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (models, list) = (folder.path().join("models"), folder.path().join("verdicts"));
    run(script(&python, "node_cases.py").arg("make").arg(&models)).expect("made");

    let mut files: Vec<PathBuf> = std::fs::read_dir(&models)
        .expect("readable")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|end| end == "onnx"))
        .collect();
    files.sort();
    let mut lines = String::new();
    for (file, (verdict, reason)) in files.iter().zip(verdicts(&files)) {
        let key = file.file_stem().unwrap_or_default().to_string_lossy();
        lines += &format!("{key}\t{verdict}\t{reason}\n");
    }
    assert!(lines.matches("\tindependent\t").count() > 1_000, "{lines}");
    std::fs::write(&list, lines).expect("written");

    let table = std::env::var_os("ORTUS_TEST_TABLE");
    let table = table.map_or_else(|| folder.path().join("table"), PathBuf::from);
    let batches = if is_long() { "1000" } else { "3" };
    let mut check = script(&python, "node_cases.py");
    check
        .arg("check")
        .args([&models, &list])
        .arg(batches)
        .arg(table);
    let output = check.output().expect("runs");
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(output.status.success(), "{said}");
}
