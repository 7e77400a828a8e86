//! Ground-truth labels over HTTP and gRPC: performance measures that agree with
//! scikit-learn and outlive a restart, and labels that are refused.

use crate::support::baseline::profile;
use crate::support::optional::{or_not_run, python, run};
use crate::support::{Answer, Directory, Server, eventually, http, ortus, settings, with_input};
use ortus::{proto::feedback as p, testing::graphs};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

/// Row `at` of inputs for the wine model, all of which differ.
fn wine_row(at: usize) -> Vec<f64> {
    let base = [
        13.0, 2.3, 2.4, 19.5, 100.0, 2.3, 2.0, 0.36, 1.6, 5.0, 0.96, 2.6, 750.0,
    ];
    let bend = |i: usize, v: f64| {
        v * (0.6 + 0.8 * (((at * 7 + i * 13) * 2_654_435_761) % 1_000) as f64 / 1_000.0)
    };
    base.into_iter()
        .enumerate()
        .map(|(i, v)| bend(i, v))
        .collect()
}

/// Predicts rows; returns the prediction id and the scores of each row.
fn predict(server: &Server, rows: std::ops::Range<usize>) -> (String, Vec<Vec<f64>>) {
    let flat: Vec<f64> = rows.clone().flat_map(wine_row).collect();
    let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [rows.len(), 13], "data": flat}]});
    let answer = server.post("/v2/models/wine/infer", body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer
        .header("ortus-prediction-id")
        .expect("an id")
        .to_owned();
    let outputs = answer.json()["outputs"]
        .as_array()
        .expect("outputs")
        .clone();
    let scores = outputs
        .iter()
        .find(|o| o["name"] == "probabilities")
        .expect("scores")["data"]
        .clone();
    let scores: Vec<f64> = serde_json::from_value(scores).expect("numbers");
    (id, scores.chunks(3).map(<[f64]>::to_vec).collect())
}

fn give(server: &Server, labels: &Value) -> Answer {
    server.post(
        "/v1/feedback",
        json!({"labels": labels}).to_string().as_bytes(),
    )
}

fn label(id: &str, row: usize, label: impl Into<Value>) -> Value {
    json!({"prediction_id": id, "row": row, "label": label.into()})
}

fn performance(server: &Server, model: &str) -> Value {
    let text = run(ortus().args(["performance", model, "--json", "--server", &server.operator]))
        .expect("answers");
    serde_json::from_str(&text).expect("JSON")
}

/// The measures that scikit-learn computes from the same rows.
fn reference(python: &Path, rows: &Value) -> Value {
    let script = crate::support::root().join("tests/monitor/performance.py");
    let output = with_input(
        Command::new(python).arg(script),
        rows.to_string().as_bytes(),
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn agree(found: &Value, reference: &Value) {
    let reference = reference.as_object().expect("measures");
    assert!(reference.len() >= 6, "{reference:?}");
    for (name, expected) in reference {
        let (found, expected) = (
            found[name].as_f64().unwrap_or(f64::NAN),
            expected.as_f64().expect("a number"),
        );
        assert!(
            (found - expected).abs() <= 1e-6 * (1.0 + expected.abs()),
            "{name} is {found}, not {expected}"
        );
    }
}

#[test]
fn measures_agree_with_scikit_learn_and_outlive_a_restart() {
    let Some(python) = or_not_run(
        "scikit-learn",
        python("test-monitor", "monitor/requirements.txt"),
    ) else {
        return;
    };
    let directory = Directory::with(&["wine"]);
    let records = tempfile::tempdir().expect("a folder");
    let store = format!("records.store={:?}", records.path().display().to_string());
    let arguments = [
        "--set",
        &store,
        "--set",
        "feedback.poll=200ms",
        "--set",
        "model.wine.slices=[\"x[0]\"]",
        "--set",
        "monitor.cpu_share=1.0",
    ];
    let server = Server::start_with(directory.path(), &arguments);
    let (scores, labels) = send_labelled_rows(&server);
    eventually("all are joined", || {
        performance(&server, "wine")["measured"][0]["window"]["labelled_rows"] == 500
    });
    let reference = reference(&python, &json!({"scores": scores, "labels": labels}));
    check_performance(&server, &reference);

    drop(server);
    let again = Server::start_with(directory.path(), &arguments);
    eventually("they are read again", || {
        let asked = http(
            &again.operator,
            "GET",
            "/v1/models/wine/performance",
            &[("ortus-operator", "1")],
            b"",
        );
        asked.status == 200 && asked.json()["measured"][0]["window"]["labelled_rows"] == 500
    });
    agree(
        &performance(&again, "wine")["measured"][0]["window"]["measures"],
        &reference,
    );
}

/// Predicts 500 rows and sends a label for each; returns the scores and labels.
fn send_labelled_rows(server: &Server) -> (Vec<Vec<f64>>, Vec<usize>) {
    let (mut scores, mut labels) = (Vec::new(), Vec::new());
    for part in 0..20 {
        let (id, found) = predict(server, part * 25..part * 25 + 25);
        let truths: Vec<usize> = (0..25).map(|row| (part * 25 + row * row) % 3).collect();
        let all: Vec<Value> = truths
            .iter()
            .enumerate()
            .map(|(row, t)| label(&id, row, *t))
            .collect();
        let answer = give(server, &all.into());
        assert_eq!(
            (answer.status, &answer.json()["accepted"]),
            (200, &json!(25)),
            "{}",
            answer.text()
        );
        scores.extend(found);
        labels.extend(truths);
    }
    (scores, labels)
}

/// Command line, slices and metrics agree with the reference.
fn check_performance(server: &Server, reference: &Value) {
    let window = performance(server, "wine")["measured"][0]["window"].clone();
    assert_eq!(
        (&window["labelled_rows"], &window["maturity"]),
        (&json!(500), &json!(1.0))
    );
    agree(&window["measures"], reference);
    assert!(
        performance(server, "wine")["measured"][0]["slices"]
            .as_array()
            .is_some_and(|s| !s.is_empty())
    );
    eventually("the series", || {
        server.metric("ortus_performance_rows{model=\"wine\"") == Some(500.0)
    });

    let accuracy = server
        .metric("ortus_performance{metric=\"accuracy\",model=\"wine\"")
        .expect("a series");
    assert!((accuracy - reference["accuracy"].as_f64().expect("a number")).abs() < 1e-9);
    let table =
        run(ortus().args(["performance", "wine", "--server", &server.operator])).expect("answers");
    assert!(
        table.contains("500 labelled rows") && table.contains("accuracy"),
        "{table}"
    );
}

#[test]
fn invalid_labels_are_refused_each_with_its_reason() {
    let directory = Directory::with(&["wine", "diabetes"]);
    let server = Server::start(directory.path());
    let (id, _) = predict(&server, 0..2);
    eventually("the prediction is known", || {
        give(&server, &json!([label(&id, 0, 1)])).json()["duplicates"] == 1
    });
    let check = |labels: Value, status: u16, part: &str| {
        let answer = give(&server, &labels);
        assert_eq!(answer.status, status, "{labels}: {}", answer.text());
        assert!(
            answer.text().contains(part),
            "{labels}: {} does not say {part:?}",
            answer.text()
        );
    };
    check(
        json!([label(&uuid::Uuid::now_v7().to_string(), 0, 1)]),
        404,
        "not of a prediction of this fleet",
    );
    check(
        json!([label("nonsense", 0, 1)]),
        400,
        "must be the id of a prediction",
    );
    check(json!([label(&id, 2, 1)]), 400, "row 2");
    check(json!([label(&id, 0, 3)]), 400, "0, 1, 2");
    check(
        json!([label(&id, 0, Value::Null)]),
        400,
        "must be a number, a string or a boolean",
    );
    check(
        json!([{"prediction_id": id, "label": 1, "time": "2036-01-01T00:00:00Z"}]),
        400,
        "future",
    );
    check(json!([]), 400, "1 to 10000");
    // One valid label is enough for success; errors name the others.
    check(
        json!([label(&id, 1, 2), label(&id, 9, 2)]),
        200,
        "\"index\":1",
    );
    for body in ["", "[]", "{\"labels\":{}}", "{\"label\":[]}"] {
        assert_eq!(
            server.post("/v1/feedback", body.as_bytes()).status,
            400,
            "{body}"
        );
    }
    let got = server.get("/v1/feedback");
    assert_eq!((got.status, got.header("allow")), (405, Some("POST")));
    let many = vec![label(&id, 0, 1); 10_001];
    check(many.into(), 400, "at most 10000 labels");
    for _ in 0..3 {
        for class in [0, 2] {
            give(&server, &json!([label(&id, 0, class)]));
        }
    }
    check(json!([label(&id, 0, 1)]), 400, "corrected 3 times");
}

#[test]
fn labels_are_accepted_over_grpc() {
    let directory = Directory::empty();
    directory.put("m", 1, &graphs::marked(2.0, 3));
    let server = Server::start(directory.path());
    let infer = |row: u32| {
        let body =
            json!({"inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": [row]}]});
        let answer = server.post("/v2/models/m/infer", body.to_string().as_bytes());
        answer
            .header("ortus-prediction-id")
            .map(str::to_owned)
            .unwrap_or_else(|| panic!("{}", answer.text()))
    };
    let id = infer(0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut client = p::feedback_client::FeedbackClient::new(server.channel().await);
        let label = |id: &str, number| p::Label {
            prediction_id: id.to_owned(),
            label: Some(p::label::Label::Number(number)),
            ..Default::default()
        };
        let reply = client
            .give(p::GiveRequest {
                labels: vec![label(&id, 2.5)],
            })
            .await
            .expect("taken")
            .into_inner();
        assert_eq!((reply.accepted, reply.refused), (1, 0));
        let refused = client
            .give(p::GiveRequest {
                labels: vec![label("x", 1.0)],
            })
            .await
            .expect_err("no id");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        let missing = p::Label {
            prediction_id: id.clone(),
            ..Default::default()
        };
        let partly = client
            .give(p::GiveRequest {
                labels: vec![label(&id, 2.5), missing],
            })
            .await
            .expect("partly");
        let partly = partly.into_inner();
        assert_eq!(
            (partly.accepted + partly.duplicates, partly.errors[0].index),
            (1, 1)
        );
    });
    eventually("it is measured", || {
        let asked = http(
            &server.operator,
            "GET",
            "/v1/models/m/performance",
            &[("ortus-operator", "1")],
            b"",
        );
        asked.status == 200 && asked.json()["measured"][0]["window"]["measures"]["mae"] == 0.5
    });
}

/// Row `at` of a table of numbers with a colour, and its label: the number, off by up to 0.9.
fn coloured(at: usize) -> (f32, &'static str, f64) {
    let colour = ["red", "blue", "green", "grey", "white"][at % 5];
    let number = (at % 97) as f32;
    (
        number,
        colour,
        f64::from(number) + (at / 5 % 10) as f64 / 10.0,
    )
}

/// Predicts rows, and sends labels that are off by `more` than those of the table.
fn label_coloured(server: &Server, rows: &[usize], more: f64) {
    let table: Vec<(f32, &str, f64)> = rows.iter().map(|at| coloured(*at)).collect();
    let numbers: Vec<f32> = table.iter().map(|row| row.0).collect();
    let colours: Vec<&str> = table.iter().map(|row| row.1).collect();
    let body = json!({"inputs": [
        {"name": "x", "datatype": "FP32", "shape": [rows.len(), 1], "data": numbers},
        {"name": "colour", "datatype": "BYTES", "shape": [rows.len()], "data": colours},
    ]});
    let answer = server.post("/v2/models/m/infer", body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer
        .header("ortus-prediction-id")
        .expect("an id")
        .to_owned();
    let labels: Vec<Value> = (0..rows.len())
        .map(|row| label(&id, row, table[row].2 + more))
        .collect();
    let taken = give(server, &labels.into()).json();
    assert_eq!(taken["accepted"], rows.len(), "{taken}");
}

#[test]
fn a_model_that_is_wrong_in_one_part_of_the_rows_is_an_alarm_of_that_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let model = graphs::mixed(1);
    std::fs::write(folder.path().join("model.onnx"), &model).expect("written");
    let rows: String = (0..3_000)
        .map(coloured)
        .map(|(number, colour, label)| format!("{number},{colour},{label}\n"))
        .collect();
    let table = format!("x,colour,label\n{rows}");
    std::fs::write(folder.path().join("rows.csv"), table).expect("written");
    let baseline = profile(folder.path(), "rows.csv", "label");

    let directory = Directory::empty();
    directory.put_with("m", 1, &model, &[("baseline.json", &baseline)]);
    let records = folder.path().join("records").display().to_string();
    let store = format!("records.store={records:?}");
    let set = settings(&[store.as_str(), "feedback.poll=200ms"]);
    let server = Server::start_with(directory.path(), &set);
    label_coloured(&server, &(0..200).collect::<Vec<_>>(), 0.0);
    let red: Vec<usize> = (200..340).filter(|at| at % 5 == 0).collect();
    label_coloured(&server, &red, 50.0);

    eventually("the part is in alarm", || {
        let measured = &performance(&server, "m")["measured"][0];
        let slices = measured["slices"].as_array().expect("slices");
        let raised: Vec<&Value> = slices.iter().filter(|part| part["alarm"] == true).collect();
        assert_eq!(measured["alarm"], false, "the whole is within its limit");
        matches!(&raised[..], [part] if part["part"] == "red")
    });
    let shown = run(ortus().args(["performance", "m", "--server", &server.operator]));
    let shown = shown.expect("answers");
    assert!(
        shown.contains("ALARM where colour is red: more errors than the baseline allows"),
        "{shown}"
    );
    eventually("the alarm is stored", || {
        let listed = run(ortus().args(["alarms", "m", "--records", &records])).expect("lists");
        listed.contains("Where colour is red: ") && listed.matches("performance alarm").count() == 1
    });
    eventually("the series", || {
        server.metric("ortus_performance_part_alarms{model=\"m\"") == Some(1.0)
            && server.metric("ortus_performance_alarm{model=\"m\"") == Some(0.0)
    });
}
