//! A hundred swaps under load, over both protocols: no request is lost, and every answer
//! is the output of the version that it names.

use crate::support::{Directory, Server, http, model_file, models_folder, read_json};
use ortus::proto::inference as oip;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const MODEL: &str = "breast-cancer";
const SWAPS: u64 = 100;

/// The probabilities of the sample's rows by the two files, which alternate:
/// odd versions are the first, even ones the second.
fn golden() -> [Vec<f64>; 2] {
    let folder = models_folder().join(MODEL);
    [folder.join("answer.json"), folder.join(".next/answer.json")].map(|path| {
        let outputs = read_json(&path);
        let data = outputs["outputs"][1]["data"]
            .as_array()
            .expect("probabilities")
            .clone();
        data.iter().map(|v| v.as_f64().expect("a number")).collect()
    })
}

/// Tells whether `values` are the answer of `version`.
fn belongs(version: u64, values: &[f64], golden: &[Vec<f64>; 2]) -> bool {
    let expected = &golden[usize::from(version.is_multiple_of(2))];
    values.len() == expected.len()
        && values
            .iter()
            .zip(expected)
            .all(|(a, b)| (a - b).abs() < 1e-5)
}

#[derive(Default)]
struct Tally {
    answers: AtomicU64,
    newest: AtomicU64,
    done: AtomicBool,
}

impl Tally {
    fn count(&self, version: u64, values: &[f64], golden: &[Vec<f64>; 2]) {
        assert!(
            belongs(version, values, golden),
            "an answer that names version {version} is not its own"
        );
        self.answers.fetch_add(1, Ordering::Relaxed);
        self.newest.fetch_max(version, Ordering::Release);
    }
    fn is_done(&self) -> bool {
        self.done.load(Ordering::Acquire)
    }
}

/// Ends the clients, also when the test fails.
struct Done<'t>(&'t Tally);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Ordering::Release);
    }
}

#[test]
fn golden_answers_of_the_two_files_can_be_told_apart() {
    let golden = golden();
    assert!(belongs(1, &golden[0], &golden) && belongs(2, &golden[1], &golden));
    assert!(!belongs(2, &golden[0], &golden) && !belongs(1, &golden[1], &golden));
}

#[test]
fn a_hundred_swaps_under_load_lose_nothing() {
    let directory = Directory::empty();
    let files = [model_file(MODEL, "1"), model_file(MODEL, ".next")];
    directory.put(MODEL, 1, &files[0]);
    let server = Server::start_with(
        directory.path(),
        &["--set", "models.poll=20ms", "--set", "models.settle=20ms"],
    );
    let (golden, tally) = (golden(), Tally::default());
    std::thread::scope(|scope| {
        scope.spawn(|| over_http(&server, &golden, &tally));
        scope.spawn(|| over_grpc(&server, &golden, &tally));
        let _done = Done(&tally);
        for version in 2..=SWAPS + 1 {
            directory.put(
                MODEL,
                version,
                &files[usize::from(version.is_multiple_of(2))],
            );
            crate::support::eventually(&format!("version {version}"), || {
                tally.newest.load(Ordering::Acquire) >= version
            });
        }
    });
    let answers = tally.answers.load(Ordering::Relaxed);
    assert!(
        answers > SWAPS * 2,
        "{answers} answers are too few to have been under load"
    );
    let ok: f64 = ["oip_rest", "oip_grpc"]
        .iter()
        .filter_map(|p| {
            server.metric(&format!(
                "ortus_requests_total{{model=\"{MODEL}\",outcome=\"ok\",protocol=\"{p}\",version=\"{}\"",
                SWAPS + 1
            ))
        })
        .sum();
    assert!(ok > 0.0, "the last version's own series counts");
    crate::support::eventually("the first version's series retired", || {
        server
            .metric(&format!(
                "ortus_model_ready{{model=\"{MODEL}\",version=\"1\"}}"
            ))
            .is_none()
    });
    println!(
        "{SWAPS} swaps, {answers} answers, 0 lost, 0 wrong (fewer than {:.0e} at 95 %)",
        3.0 / answers as f64
    );
}

fn over_http(server: &Server, golden: &[Vec<f64>; 2], tally: &Tally) {
    let sample = std::fs::read(models_folder().join(MODEL).join("sample.json")).expect("a sample");
    while !tally.is_done() {
        let answer = http(
            &server.http,
            "POST",
            &format!("/v2/models/{MODEL}/infer"),
            &[],
            &sample,
        );
        assert_eq!(answer.status, 200, "lost over HTTP: {}", answer.text());
        let body = answer.json();
        assert_eq!(
            body["model_version"],
            Value::from(answer.headers["ortus-model-version"].as_str())
        );
        let version = answer.headers["ortus-model-version"]
            .parse()
            .expect("a version");
        let values = body["outputs"][1]["data"]
            .as_array()
            .expect("probabilities");
        let values: Vec<f64> = values
            .iter()
            .map(|v| v.as_f64().expect("a number"))
            .collect();
        tally.count(version, &values, golden);
    }
}

fn over_grpc(server: &Server, golden: &[Vec<f64>; 2], tally: &Tally) {
    let sample = read_json(&models_folder().join(MODEL).join("sample.json"));
    let data = sample["inputs"][0]["data"].as_array().expect("data");
    let raw: Vec<u8> = data
        .iter()
        .flat_map(|v| (v.as_f64().expect("a number") as f32).to_le_bytes())
        .collect();
    let request = oip::ModelInferRequest {
        model_name: MODEL.to_owned(),
        inputs: vec![oip::model_infer_request::InferInputTensor {
            name: "x".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![3, 30],
            ..Default::default()
        }],
        raw_input_contents: vec![raw.into()],
        ..Default::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut client = server.grpc().await;
        while !tally.is_done() {
            let answer = client
                .model_infer(request.clone())
                .await
                .expect("lost over gRPC");
            let header = answer
                .metadata()
                .get("ortus-model-version")
                .expect("a version")
                .to_str()
                .expect("text")
                .to_owned();
            let message = answer.into_inner();
            assert_eq!(message.model_version, header);
            let floats = message.raw_output_contents[1].as_chunks::<4>().0.to_vec();
            let values: Vec<f64> = floats
                .into_iter()
                .map(|b| f64::from(f32::from_le_bytes(b)))
                .collect();
            tally.count(header.parse().expect("a version"), &values, golden);
        }
    });
}
