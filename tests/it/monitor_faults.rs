//! The monitor with input that nobody means to have: tables and models of ten thousand columns,
//! baselines of three rows and of none, requests of another type, and stores that are full or hang.

use crate::support::optional::run;
use crate::support::{Answer, Directory, Server, eventually, http, ortus, settings};
use ortus::testing::graphs;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;

const WIDE: usize = 10_000;

/// Serves with windows of few rows that close at once.
const QUICK: [&str; 3] = [
    "monitor.window_rows=100",
    "monitor.window_min=1s",
    "monitor.cpu_share=1.0",
];

/// Makes a baseline of a table. Returns what the command said.
fn profile(folder: &Path, table: &str) -> String {
    std::fs::write(folder.join("table.csv"), table).expect("written");
    let mut command = ortus();
    command.arg("profile").arg(folder.join("table.csv"));
    command.arg("--onnx").arg(folder.join("model.onnx"));
    command.arg("-o").arg(folder.join("baseline.json"));
    run(&mut command).expect("profiled")
}

fn infer(server: &Server, inputs: &Value) -> Answer {
    let body = json!({"inputs": inputs}).to_string();
    server.post("/v2/models/m/infer", body.as_bytes())
}

/// Sends rows of one value each.
fn send(server: &Server, values: &[f32]) {
    let input =
        json!([{"name": "x", "datatype": "FP32", "shape": [values.len(), 1], "data": values}]);
    let answer = infer(server, &input);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn drift(server: &Server) -> Value {
    let own = [("ortus-operator", "1")];
    let answer = http(&server.operator, "GET", "/v1/models/m/drift", &own, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["versions"][0].clone()
}

/// A model in a directory, with a baseline of a table. Returns what `ortus profile` said.
fn with_baseline(model: &[u8], table: &str) -> (Directory, String) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("model.onnx"), model).expect("written");
    let said = profile(folder.path(), table);
    let baseline = std::fs::read(folder.path().join("baseline.json")).expect("a baseline");
    let directory = Directory::empty();
    directory.put_with("m", 1, model, &[("baseline.json", &baseline)]);
    (directory, said)
}

#[test]
fn a_table_and_a_model_of_ten_thousand_columns_are_watched_by_summaries() {
    let names: Vec<String> = (0..WIDE).map(|at| format!("c{at}")).collect();
    let mut table = names.join(",");
    let row = |row: usize| (0..WIDE).map(move |at| (at * 31 + row * 17) % 97);
    for at in 0..150 {
        let cells: Vec<String> = row(at).map(|value| value.to_string()).collect();
        write!(table, "\n{}", cells.join(",")).expect("a string");
    }
    let (directory, said) = with_baseline(&graphs::perceptron(&[WIDE as i64, 1]), &table);
    assert!(said.contains("150 rows, 18 inputs, 1 output\n"), "{said}");

    let server = Server::start_with(directory.path(), &settings(&QUICK));
    let data: Vec<usize> = (0..20).flat_map(row).collect();
    let input = json!([{"name": "x", "datatype": "FP32", "shape": [20, WIDE], "data": data}]);
    assert_eq!(infer(&server, &input).status, 200);
    eventually("the rows are counted", || {
        drift(&server)["sampled_rows"] == 20
    });
    let columns = drift(&server)["columns"].as_array().map_or(0, Vec::len);
    assert_eq!(
        columns, 20,
        "18 summaries, the output, and the contract of the tensor"
    );
}

#[test]
fn a_baseline_of_three_rows_or_of_missing_values_serves_and_says_what_it_cannot_show() {
    let model = graphs::identity(1);
    let (directory, said) = with_baseline(&model, "x\n1\n2\n3\n");
    assert!(said.contains("3 rows, 1 input, 1 output\n"), "{said}");
    let text = "3 rows cannot show every difference that matters";
    assert!(said.contains(text), "{said}");
    let server = Server::start_with(directory.path(), &settings(&QUICK));
    for _ in 0..3 {
        send(&server, &[1.5; 100]);
    }
    eventually("a window closes", || drift(&server)["windows"] != 0);
    assert_eq!(drift(&server)["alarms"], 0, "{}", drift(&server));

    let (directory, said) = with_baseline(&model, "x\n\nNA\nNaN\n");
    assert!(said.contains(", 1 input, 1 output\n"), "{said}");
    let server = Server::start_with(directory.path(), &settings(&QUICK));
    send(&server, &[f32::NAN.max(1.0); 100]);
    eventually("the rows are counted", || drift(&server)["rows"] == 100);
    run(ortus().args(["drift", "m", "--server", &server.operator])).expect("a report");
}

#[test]
fn a_request_of_another_type_is_refused_and_is_no_row_of_the_monitor() {
    let directory = Directory::empty();
    directory.put("m", 1, &graphs::identity(1));
    let server = Server::start_with(directory.path(), &settings(&QUICK));
    for (datatype, data) in [
        ("INT64", json!([1])),
        ("BYTES", json!(["1"])),
        ("BOOL", json!([true])),
        ("FP64", json!([1.5])),
    ] {
        let input = json!([{"name": "x", "datatype": datatype, "shape": [1, 1], "data": data}]);
        let answer = infer(&server, &input);
        assert_eq!(answer.status, 400, "{datatype}: {}", answer.text());
        assert!(answer.text().contains("'x'"), "{}", answer.text());
    }
    send(&server, &[1.0, 2.0]);
    eventually("two rows are counted", || drift(&server)["rows"] == 2);
}

/// Serves and reports, though the store does not take anything.
fn check_serves(server: &Server) {
    for _ in 0..20 {
        send(server, &[1.0; 50]);
    }
    eventually("every row is counted", || {
        drift(server)["sampled_rows"].as_u64() >= Some(1_000)
    });
    assert_eq!(drift(server)["dropped_requests"], 0);
    run(ortus().args(["drift", "m", "--server", &server.operator])).expect("a report");
}

#[test]
fn a_full_store_stops_neither_serving_nor_the_monitor_and_labels_are_refused() {
    let (directory, store) = (Directory::empty(), tempfile::tempdir().expect("a folder"));
    directory.put("m", 1, &graphs::identity(1));
    let folder = store.path().join("records");
    std::fs::create_dir(&folder).expect("made");
    let url = format!("records.store={:?}", folder.display().to_string());
    let all = [
        &QUICK[..],
        &[
            &url,
            "monitor.fleet_window=1s",
            "feedback.poll=100ms",
            "feedback.answers_flush=100ms",
            "model.m.task=\"regression\"",
        ],
    ]
    .concat();
    let server = Server::start_with(directory.path(), &settings(&all));
    let input = json!([{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]);
    let id = infer(&server, &input)
        .header("ortus-prediction-id")
        .expect("an id")
        .to_owned();
    drop(std::fs::remove_dir_all(&folder));
    // Nothing can be written below a file, also not by root.
    std::fs::write(&folder, b"").expect("in the way");

    check_serves(&server);
    let label = json!({"labels": [{"prediction_id": id, "row": 0, "label": 1.0}]}).to_string();
    let refused = server.post("/v1/feedback", label.as_bytes());
    assert_eq!(refused.status, 503, "{}", refused.text());
    // The label log is read every 100 ms, and said to be unreadable once.
    let said = |what: &str| server.log().matches(what).count();
    eventually("the log says what is lost", || {
        said("the windows of the fleet cannot be merged") > 0
            && said("answers cannot be written to the store") > 0
            && said("the label log cannot be read") > 0
    });
    assert_eq!(said("the label log cannot be read"), 1);
}

#[test]
fn a_store_that_hangs_delays_neither_serving_nor_the_monitor() {
    let directory = Directory::empty();
    directory.put("m", 1, &graphs::identity(1));
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", silent.local_addr().expect("an address"));
    let env = [
        ("AWS_ENDPOINT", Path::new(&endpoint)),
        ("AWS_ALLOW_HTTP", Path::new("true")),
        ("AWS_ACCESS_KEY_ID", Path::new("test")),
        ("AWS_SECRET_ACCESS_KEY", Path::new("test")),
        ("AWS_REGION", Path::new("us-east-1")),
    ];
    let all = [&QUICK[..], &["records.store=\"s3://bucket/records\""]].concat();
    let server = Server::start_with_env(&env, directory.path(), &settings(&all));
    check_serves(&server);
    drop(silent);
}
