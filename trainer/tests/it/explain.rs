//! Explained predictions: what a server answers is what the command prints, and both are what the `shap` package computes.

use crate::place::{Place, table, trainer};
use crate::support::optional::{or_not_run, python, run};
use crate::support::{Answer, Server, http};
use ortus::proto::inference as oip;
use serde_json::{Value, json};
use std::process::Command;

#[test]
fn contributions_are_those_of_the_shap_package() {
    let Some(python) = or_not_run("shap", python("test-shap", "train/shap.txt")) else {
        return;
    };
    let place = Place::new();
    let script = crate::support::root().join("tests/train/shapley.py");
    let script = |what: &str| {
        let mut command = Command::new(&python);
        run(command.arg(&script).arg(what).arg(place.folder.path())).expect("runs")
    };
    script("make");
    for task in ["values", "two", "three"] {
        for algorithm in ["trees", "linear"] {
            let name = format!("{task}-{algorithm}");
            let spec = place.write(
                "train.toml",
                &format!(
                    "[model]\nname = \"{name}\"\n[data.sources]\nrows = \"{name}.csv\"\n[schema]\ntarget = \"y\"\ntime = \"t\"\n\
                     [fit]\nalgorithm = \"{algorithm}\"\n[fit.trees]\nrounds_max = 40\n[publish]\npolicy = \"champion\"\n"
                ),
            );
            let (code, said, error) = place.run(&spec);
            assert_eq!(code, 0, "{name}: {said} {error}");
            let into = place.at(&name);
            let into = into.to_str().expect("text");
            place
                .registry
                .does(&["pull", &format!("{name}:1"), "-o", into]);
            let rows = place.at(&format!("{algorithm}.jsonl"));
            let explained = run(trainer()
                .args([
                    "explain", &name, "--limit", "1000", "--top", "1000", "--json",
                ])
                .args(["--registry", &place.registry.url(), "--rows"])
                .arg(rows))
            .expect("explains");
            place.write(&format!("{name}.json"), &explained);
        }
    }
    let said = script("check");
    println!("{said}");
    assert!(said.contains("all the same"), "{said}");
}

/// Trains two models: trees, and a perceptron.
fn trained() -> Place {
    let place = Place::new();
    place.write("rows.csv", &table(4_000, 0.0));
    for (name, fit) in [
        ("buyers", "[fit.trees]\nrounds_max = 30\n"),
        ("thinker", "[fit]\nalgorithm = \"mlp\"\n"),
    ] {
        let spec = place.write(
            "train.toml",
            &format!(
                "[model]\nname = \"{name}\"\n[data.sources]\nrows = \"rows.csv\"\n[schema]\ntarget = \"bought\"\ntime = \"at\"\nignore = [\"id\"]\n[publish]\npolicy = \"champion\"\n{fit}"
            ),
        );
        let (code, said, error) = place.run(&spec);
        assert_eq!(code, 0, "{said} {error}");
        let contributions = &said["record"]["contributions"];
        match name {
            "buyers" => assert_eq!(contributions.as_array().map(Vec::len), Some(3), "{said}"),
            _ => assert!(contributions.is_null(), "{said}"),
        }
    }
    place
}

/// Two rows, of which the second has missing values.
fn body() -> Value {
    json!({"id": "7", "inputs": [
        {"name": "age", "datatype": "FP32", "shape": [2, 1], "data": [75.0, null]},
        {"name": "income", "datatype": "FP32", "shape": [2, 1], "data": [500.0, 20.5]},
        {"name": "colour", "datatype": "BYTES", "shape": [2, 1], "data": ["red", ""]},
    ]})
}

fn ask(server: &Server, path: &str, top: &str, body: &Value) -> Answer {
    let headers = [("ortus-explain", top)];
    http(
        &server.http,
        "POST",
        path,
        &headers,
        body.to_string().as_bytes(),
    )
}

const INFER: &str = "/v2/models/buyers/infer";

/// The elements of an output.
fn output<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let outputs = answer["outputs"].as_array().expect("outputs");
    let found = outputs.iter().find(|output| output["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {answer}"))
}

fn numbers(output: &Value) -> Vec<f64> {
    let all = output["data"].as_array().expect("elements");
    all.iter().map(|v| v.as_f64().expect("a number")).collect()
}

#[test]
fn a_server_answers_the_contributions_that_the_command_prints() {
    let place = trained();
    let server = place.registry.serve(&[]);
    let answer = ask(&server, INFER, "100", &body());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let names = output(&answer, "ortus_explain_features");
    assert_eq!(names["shape"], json!([2, 3]));
    assert_eq!(names["datatype"], "BYTES");
    let values = numbers(output(&answer, "ortus_explain_contributions"));
    let bases = numbers(output(&answer, "ortus_explain_base"));
    let probabilities = numbers(output(&answer, "probabilities"));
    for row in 0..2 {
        let score = bases[row] + values[row * 3..][..3].iter().sum::<f64>();
        let odds = (probabilities[row * 2 + 1] / probabilities[row * 2]).ln();
        assert!((score - odds).abs() < 1e-4, "row {row}: {score}, {odds}");
    }

    let rows = "{\"age\": 75.0, \"income\": 500.0, \"colour\": \"red\"}\n{\"age\": null, \"income\": 20.5, \"colour\": null}\n";
    let rows = place.write("rows.jsonl", rows);
    let mut command = trainer();
    command.args(["explain", "buyers", "--json", "--rows"]);
    command
        .arg(&rows)
        .args(["--registry", &place.registry.url()]);
    let printed: Value = serde_json::from_str(&run(&mut command).expect("explains")).expect("JSON");
    assert_eq!(printed["version"], json!(1));
    for row in 0..2 {
        let score = &printed["rows"][row]["scores"][0];
        let one = |at: usize| &score["contributions"][at];
        for at in 0..3 {
            assert_eq!(one(at)["feature"], names["data"][row * 3 + at]);
            let value = one(at)["contribution"].as_f64().expect("a number");
            assert!((value - values[row * 3 + at]).abs() < 1e-9);
        }
        let p = printed["rows"][row]["prediction"]["yes"].as_f64();
        let p = p.expect("a probability");
        assert!((p - probabilities[row * 2 + 1]).abs() < 1e-5);
    }

    // The two largest come first, and nothing is answered that nobody asked for.
    let two = ask(&server, INFER, "2", &body()).json();
    let first = numbers(output(&two, "ortus_explain_contributions"));
    assert_eq!(first[..2], values[..2]);
    assert_eq!(
        output(&two, "ortus_explain_features")["shape"],
        json!([2, 2])
    );
    let plain = server.post(INFER, body().to_string().as_bytes()).json();
    assert_eq!(plain["outputs"].as_array().map(Vec::len), Some(2));
    let counted = server.metric("ortus_explanation_duration_seconds_count{");
    assert_eq!(counted, Some(2.0));

    let grpc = tokio::runtime::Runtime::new().expect("a runtime");
    grpc.block_on(over_grpc(&server, &values));
    check_refused(&server);
    check_command(&place);
}

/// The same over gRPC, in raw contents.
async fn over_grpc(server: &Server, expected: &[f64]) {
    use oip::model_infer_request::InferInputTensor;
    let mut client = server.grpc().await;
    let input = |name: &str, datatype: &str| InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: vec![2, 1],
        ..InferInputTensor::default()
    };
    let floats = |values: [f32; 2]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let message = oip::ModelInferRequest {
        model_name: "buyers".to_owned(),
        inputs: vec![
            input("age", "FP32"),
            input("income", "FP32"),
            input("colour", "BYTES"),
        ],
        raw_input_contents: vec![
            floats([75.0, f32::NAN]),
            floats([500.0, 20.5]),
            b"\x03\0\0\0red\0\0\0\0".to_vec().into(),
        ],
        ..oip::ModelInferRequest::default()
    };
    let mut request = tonic::Request::new(message.clone());
    let top = "3".parse().expect("metadata");
    request.metadata_mut().insert("ortus-explain", top);
    let answer = client.model_infer(request).await.expect("answers");
    assert!(answer.metadata().contains_key("ortus-prediction-id"));
    let answer = answer.into_inner();
    let names: Vec<&str> = answer.outputs.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(
        names[2..],
        [
            "ortus_explain_features",
            "ortus_explain_contributions",
            "ortus_explain_base"
        ]
    );
    let (doubles, _) = answer.raw_output_contents[3].as_chunks();
    let found: Vec<f64> = doubles.iter().map(|b| f64::from_le_bytes(*b)).collect();
    assert_eq!(found, expected);

    let plain = client.model_infer(message.clone()).await.expect("answers");
    assert_eq!(plain.into_inner().outputs.len(), 2);

    // The metadata of a stream is that of each of its requests.
    let requests = futures_util::stream::iter([message.clone()]);
    let mut request = tonic::Request::new(requests);
    let top = "1".parse().expect("metadata");
    request.metadata_mut().insert("ortus-explain", top);
    let stream = client.model_stream_infer(request).await.expect("answers");
    let first = stream.into_inner().message().await.expect("no error");
    let first = first.expect("an answer").infer_response;
    assert_eq!(first.expect("an answer").outputs[2].shape, [2, 1]);

    let mut request = tonic::Request::new(oip::ModelInferRequest {
        model_name: "thinker".to_owned(),
        ..message
    });
    let top = "3".parse().expect("metadata");
    request.metadata_mut().insert("ortus-explain", top);
    let refused = client.model_infer(request).await;
    let refused = refused.expect_err("no explanation");
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
}

/// What a server refuses, with the way out.
fn check_refused(server: &Server) {
    let check = |path: &str, top: &str, body: &Value, why: &str| {
        let answer = ask(server, path, top, body);
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(
            answer.text().contains(why),
            "{} has no '{why}'",
            answer.text()
        );
    };
    check(INFER, "0", &body(), "must be an integer of 1 to 256");
    check(INFER, "many", &body(), "must be an integer of 1 to 256");
    check(
        "/v2/models/thinker/infer",
        "3",
        &body(),
        "the version has no explanation",
    );
    let mut wrong = body();
    wrong["inputs"][0]["name"] = json!("years");
    check(INFER, "3", &wrong, "input 'years' is unknown");
    let instances = json!({"instances": [{"age": 1.0, "income": 2.0, "colour": "red"}]});
    check(
        "/v1/models/buyers:predict",
        "3",
        &instances,
        "goes with the Open Inference Protocol only",
    );
}

/// The table of the command, and what it refuses.
fn check_command(place: &Place) {
    let explain = |arguments: &[&str]| {
        let mut command = trainer();
        command.args(["explain", "buyers"]).args(arguments);
        run(command.args(["--registry", &place.registry.url()]))
    };
    let row = r#"{"age": 75, "income": 500, "colour": "red"}"#;
    let said = explain(&["--row", row, "--top", "2"]).expect("explains");
    for part in [
        "buyers version 1: no 0.",
        "log odds ",
        " = base ",
        "FEATURE",
        "1 feature more: ",
        "red",
    ] {
        assert!(said.contains(part), "'{part}' is not in {said}");
    }
    let refused = |arguments: &[&str]| explain(arguments).expect_err("refused");
    let why = refused(&["--row", r#"{"age": 75}"#]);
    assert!(why.contains("the row lacks 'colour'"), "{why}");
    let why = refused(&["--row", row, "--version", "2"]);
    assert!(why.contains("has no version or alias '2'"), "{why}");
    let mut command = trainer();
    command.args(["explain", "thinker", "--row", row]);
    let why = run(command.args(["--registry", &place.registry.url()]));
    let why = why.expect_err("a perceptron");
    assert!(
        why.contains("version 1 of thinker has no explanation"),
        "{why}"
    );
    let bad = place.write("bad.jsonl", &format!("{row}\n{{\"age\": 1}}\n"));
    let why = refused(&["--rows", bad.to_str().expect("text")]);
    assert!(why.contains("line 2: the row lacks"), "{why}");
    refused(&[]);
}

#[test]
fn a_damaged_explanation_stops_no_version_and_is_said() {
    let place = trained();
    let models = place.at("models/buyers/1");
    std::fs::create_dir_all(models.parent().expect("a folder")).expect("made");
    let into = models.to_str().expect("text");
    place.registry.does(&["pull", "buyers:1", "-o", into]);
    let page = std::fs::read_to_string(models.join("report.html")).expect("text");
    assert!(page.contains("What features contribute") && page.contains("to the log odds"));
    let file = models.join("explanation.bin");
    let bytes = std::fs::read(&file).expect("read");
    std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("written");

    let server = Server::start(&place.at("models"));
    let plain = server.post(INFER, body().to_string().as_bytes());
    assert_eq!(plain.status, 200, "{}", plain.text());
    let answer = ask(&server, INFER, "3", &body());
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert!(
        answer.text().contains("ends too early"),
        "{}",
        answer.text()
    );
    assert!(
        server.log().contains("served without explanations"),
        "{}",
        server.log()
    );
    // A registry takes no such version.
    let refused = place.registry.refuses(&["push", "buyers", into]);
    assert!(
        refused.contains("the explanation: ends too early"),
        "{refused}"
    );
}
