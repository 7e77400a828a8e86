//! Classify, Regress and MultiInference against Predict and the binary protocol, over gRPC and REST.

use crate::support::{Directory, Server, http, models_folder, read_json};
use ortus::proto::tensorflow as tf;
use tf::serving::prediction_service_client::PredictionServiceClient;
use tf::serving::{self, Input, ModelSpec, input};
use tonic::Code;
use tonic::transport::Channel;

const CLASSIFY: &str = "tensorflow/serving/classify";
const REGRESS: &str = "tensorflow/serving/regress";
const CSV: [(&str, &str); 1] = [("content-type", "text/csv")];

/// The rows of a model's sample, as examples with one feature.
fn input(model: &str, feature: &str) -> Input {
    let sample = read_json(&models_folder().join(model).join("sample.json"));
    let given = &sample["inputs"][0];
    let width = given["shape"][1].as_u64().expect("two axes") as usize;
    let data = given["data"].as_array().expect("data").iter();
    let data: Vec<f32> = data.map(|v| v.as_f64().expect("a number") as f32).collect();
    let example = |row: &[f32]| {
        let list = tf::FloatList {
            value: row.to_vec(),
        };
        let feature_of = tf::Feature {
            kind: Some(tf::feature::Kind::FloatList(list)),
        };
        tf::Example {
            features: Some(tf::Features {
                feature: [(feature.to_owned(), feature_of)].into(),
            }),
        }
    };
    let examples = data.chunks(width).map(example).collect();
    Input {
        kind: Some(input::Kind::ExampleList(serving::ExampleList { examples })),
    }
}

fn spec(model: &str) -> Option<ModelSpec> {
    Some(ModelSpec {
        name: model.to_owned(),
        ..ModelSpec::default()
    })
}

/// The floats of an output in the answer that comes with a model.
fn expected(model: &str, output: &str) -> Vec<f32> {
    let answer = read_json(&models_folder().join(model).join("answer.json"));
    let outputs = answer["outputs"].as_array().expect("outputs");
    let output = outputs
        .iter()
        .find(|o| o["name"] == output)
        .expect("the output");
    let data = output["data"].as_array().expect("data").iter();
    data.map(|v| v.as_f64().expect("a number") as f32).collect()
}

fn close(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        let scale = expected.abs().max(1.0);
        assert!(
            (got - expected).abs() <= 1e-5 * scale,
            "{got} is not {expected}"
        );
    }
}

#[tokio::test]
async fn examples_are_classified_and_regressed_as_tensors_are() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let mut client = PredictionServiceClient::new(server.channel().await);
    let scores = expected("breast-cancer", "probabilities");
    let values = expected("diabetes", "y");

    let asked = serving::ClassificationRequest {
        model_spec: spec("breast-cancer"),
        input: Some(input("breast-cancer", "x")),
    };
    let answer = client.classify(asked).await.expect("served").into_inner();
    let used = answer.model_spec.expect("the version");
    assert!(matches!(
        used.version_choice,
        Some(serving::model_spec::VersionChoice::Version(1))
    ));
    check_classes(answer.result.expect("a result"), &scores);

    let asked = serving::RegressionRequest {
        model_spec: spec("diabetes"),
        input: Some(input("diabetes", "x")),
    };
    let answer = client.regress(asked).await.expect("served").into_inner();
    let regressions = answer.result.expect("a result").regressions;
    close(
        &regressions.iter().map(|r| r.value).collect::<Vec<_>>(),
        &values,
    );

    check_tasks(&mut client, &scores).await;
    check_refusals(&mut client).await;
    check_rest(&server, &scores, &values);
}

fn check_classes(result: serving::ClassificationResult, scores: &[f32]) {
    let classes: Vec<_> = result
        .classifications
        .into_iter()
        .flat_map(|c| c.classes)
        .collect();
    close(&classes.iter().map(|c| c.score).collect::<Vec<_>>(), scores);
    let labels: Vec<&str> = classes.iter().map(|c| c.label.as_str()).collect();
    assert_eq!(labels, ["0", "1"].repeat(scores.len() / 2));
}

async fn check_tasks(client: &mut PredictionServiceClient<Channel>, scores: &[f32]) {
    let task = |method: &str| serving::InferenceTask {
        model_spec: spec("breast-cancer"),
        method_name: method.to_owned(),
    };
    let ask = |tasks| serving::MultiInferenceRequest {
        tasks,
        input: Some(input("breast-cancer", "x")),
    };
    let answer = client.multi_inference(ask(vec![task(CLASSIFY)])).await;
    let mut results = answer.expect("served").into_inner().results;
    assert_eq!(results.len(), 1);
    match results.remove(0).result {
        Some(serving::inference_result::Result::ClassificationResult(result)) => {
            check_classes(result, scores);
        }
        other => panic!("{other:?}"),
    }

    for (tasks, needle) in [
        (vec![], "tasks is empty"),
        (vec![task(CLASSIFY), task(CLASSIFY)], "two tasks"),
        (
            vec![task(CLASSIFY), task(REGRESS)],
            "its task is a classification",
        ),
        (vec![task("tensorflow/serving/predict")], "is not supported"),
    ] {
        let refused = client.multi_inference(ask(tasks)).await.expect_err(needle);
        assert!(refused.message().contains(needle), "{refused}");
    }
}

async fn check_refusals(client: &mut PredictionServiceClient<Channel>) {
    for (model, feature, code, needle) in [
        (
            "diabetes",
            "x",
            Code::InvalidArgument,
            "its task is a regression",
        ),
        (
            "breast-cancer",
            "z",
            Code::InvalidArgument,
            "lacks the columns",
        ),
        ("nobody", "x", Code::NotFound, "nobody"),
    ] {
        let given = if model == "diabetes" {
            "diabetes"
        } else {
            "breast-cancer"
        };
        let asked = serving::ClassificationRequest {
            model_spec: spec(model),
            input: Some(input(given, feature)),
        };
        let refused = client.classify(asked).await.expect_err(needle);
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(needle), "{refused}");
    }
    let empty = serving::ClassificationRequest {
        model_spec: spec("breast-cancer"),
        input: None,
    };
    let refused = client.classify(empty).await.expect_err("no input");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

fn check_rest(server: &Server, scores: &[f32], values: &[f32]) {
    let body = |model: &str| {
        let sample = read_json(&models_folder().join(model).join("sample.json"));
        let given = &sample["inputs"][0];
        let width = given["shape"][1].as_u64().expect("two axes") as usize;
        let rows = given["data"].as_array().expect("data").chunks(width);
        let examples: Vec<_> = rows
            .map(|row| serde_json::json!({"x": row, "more": "ignored"}))
            .collect();
        serde_json::json!({ "examples": examples }).to_string()
    };
    let numbers = |answer: &serde_json::Value| -> Vec<f32> {
        let results = answer["results"].as_array().expect("results").iter();
        let flat = results.flat_map(|result| match result.as_array() {
            Some(classes) => classes.iter().map(|class| class[1].clone()).collect(),
            None => vec![result.clone()],
        });
        flat.map(|v| v.as_f64().expect("a number") as f32).collect()
    };
    let classified = server.post(
        "/v1/models/breast-cancer:classify",
        body("breast-cancer").as_bytes(),
    );
    close(&numbers(&classified.json()), scores);
    let regressed = server.post(
        "/V1/Models/diabetes/versions/1:REGRESS",
        body("diabetes").as_bytes(),
    );
    close(&numbers(&regressed.json()), values);
    let refused = server.post("/v1/models/diabetes:classify", body("diabetes").as_bytes());
    assert_eq!(refused.status, 400, "{}", refused.text());

    // Words in base64, and the same words for all examples.
    let words = |of: fn(&str) -> serde_json::Value| {
        let context = serde_json::json!({
            "mean_radius": of("high"), "mean_texture": of("low"), "mean_smoothness": [of("low")],
            "mean_concavity": of("low"), "mean_symmetry": of("low"), "worst_area": [of("low")],
        });
        let body = serde_json::json!({"context": context, "examples": [{}, {}]});
        let path = "/v1/models/cancer-risk:classify";
        let answer = server.post(path, body.to_string().as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    };
    let plain = words(|word| word.into());
    let base64 =
        words(|word| serde_json::json!({"b64": if word == "high" { "aGlnaA==" } else { "bG93" }}));
    assert_eq!(plain, base64);

    // Refused before copies are made.
    let empty = vec!["{}"; 262_145].join(",");
    let many = format!(r#"{{"context":{{"x":[0,0,0,0,0,0,0,0,0,0]}},"examples":[{empty}]}}"#);
    let refused = server.post("/v1/models/diabetes:regress", many.as_bytes());
    assert_eq!(refused.status, 400, "{}", refused.text());
    let needle = "262145 rows; at most 262144 are served";
    assert!(refused.text().contains(needle), "{}", refused.text());
}

#[tokio::test]
async fn tensors_of_tables_count_as_bytes_in_flight() {
    let directory = Directory::of_all_models();
    let settings = [
        "model.diabetes.batching=\"off\"",
        "limits.message_bytes_max=1048576",
        "limits.bytes_in_flight_max=1048576",
        "limits.decompressed_bytes_max=4194304",
    ];
    let arguments: Vec<&str> = settings.iter().flat_map(|set| ["--set", set]).collect();
    let server = Server::start_with(directory.path(), &arguments);

    // A row takes 40 bytes as a tensor, and 10 in CSV.
    let header = (0..10).map(|i| i.to_string()).collect::<Vec<_>>().join(",");
    for (rows, status) in [(20_000, 200), (30_000, 413)] {
        let body = format!("{header}\n{}", ",,,,,,,,,\n".repeat(rows));
        let path = "/invocations?model=diabetes";
        let answer = http(&server.http, "POST", path, &CSV, body.as_bytes());
        assert_eq!(answer.status, status, "{rows} rows: {}", answer.text());
    }

    let mut client = PredictionServiceClient::new(server.channel().await);
    let Some(input::Kind::ExampleList(mut list)) = input("diabetes", "x").kind else {
        panic!("examples");
    };
    let context = list.examples.pop();
    for (rows, code) in [(20_000, None), (26_000, Some(Code::Unavailable))] {
        let list = serving::ExampleListWithContext {
            examples: vec![tf::Example::default(); rows],
            context: context.clone(),
        };
        let asked = serving::RegressionRequest {
            model_spec: spec("diabetes"),
            input: Some(Input {
                kind: Some(input::Kind::ExampleListWithContext(list)),
            }),
        };
        let answered = client.regress(asked).await;
        assert_eq!(
            answered.err().map(|status| status.code()),
            code,
            "{rows} examples"
        );
    }
}
