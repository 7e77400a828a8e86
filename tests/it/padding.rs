//! Requests of different lengths share batches where padding is declared, and every protocol gives the answers that they
//! get at their own lengths. What may change answers is not padded, and what does not fit is refused.

use crate::support::{Directory, Server, eventually, ortus, settings};
use futures_util::future::join_all;
use ortus::proto::inference as oip;
use ortus::testing::ragged::{MaskUse, WIDTH, transformer};
use serde_json::{Value, json};

/// Declared padding of the model `bert`.
const DECLARED: &str = "model.bert.padding={ lengths = [4, 8, 16], inputs = { input_ids = 0, token_type_ids = 0 }, \
                        mask = \"attention_mask\", tokens_max = 64 }";
/// Requests wait for each other.
const DELAYED: &str = "model.bert.batch_delay=\"20ms\"";
const BOTH: &[&str] = &["pooled", "tokens"];

/// A server of one model with these settings.
fn start(mask: MaskUse, outputs: &[&str], set: &[&str]) -> (Server, Directory) {
    let directory = Directory::empty();
    directory.put("bert", 1, &transformer(mask, outputs));
    let mut all = vec!["model.bert.lanes=1", "log.level=\"ortus=info,warn\""];
    all.extend(set);
    let server = Server::start_with(directory.path(), &settings(&all));
    (server, directory)
}

fn index(server: &Server) -> Value {
    server.post("/v2/repository/index", b"{}").json()[0].clone()
}

/// What the operator API says of padding.
fn explained(server: &Server) -> Value {
    let shown = ortus()
        .args(["explain", "bert", "--json", "--server", &server.operator])
        .output()
        .expect("runs");
    let report: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let padding = report["versions"][0]["padding"].clone();
    assert_eq!(padding["lengths"], json!([4, 8, 16]));
    padding
}

/// One row of tokens.
#[derive(Clone, Debug)]
struct Sentence {
    ids: Vec<i64>,
    types: Vec<i64>,
    mask: Vec<i64>,
}

impl Sentence {
    /// Some sentence of this length; every third has padding of its own.
    fn of(length: usize) -> Self {
        let ids = (0..length).map(|at| (7 * at + length) as i64 % 50);
        let shown = if length.is_multiple_of(3) {
            length - 1
        } else {
            length
        };
        Self {
            ids: ids.collect(),
            types: (0..length).map(|at| i64::from(2 * at > length)).collect(),
            mask: (0..length).map(|at| i64::from(at < shown)).collect(),
        }
    }

    fn inputs(&self) -> [(&'static str, &Vec<i64>); 3] {
        [
            ("input_ids", &self.ids),
            ("token_type_ids", &self.types),
            ("attention_mask", &self.mask),
        ]
    }

    fn over_http(&self, server: &Server) -> Vec<f64> {
        let input = |(name, values): (&str, &Vec<i64>)| json!({"name": name, "datatype": "INT64", "shape": [1, values.len()], "data": values});
        let inputs: Vec<Value> = self.inputs().map(input).to_vec();
        let body = json!({ "inputs": inputs }).to_string();
        let answer = server.post("/v2/models/bert/infer", body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json();
        let outputs = body["outputs"].as_array().expect("outputs");
        assert_eq!(outputs[1]["shape"], json!([1, self.ids.len(), WIDTH]));
        flat(&json!([outputs[0]["data"], outputs[1]["data"]]))
    }

    fn over_tensorflow(&self, server: &Server) -> Vec<f64> {
        let instance: serde_json::Map<String, Value> = self
            .inputs()
            .map(|(name, values)| (name.to_owned(), json!(values)))
            .into_iter()
            .collect();
        let body = json!({ "instances": [instance] }).to_string();
        let answer = server.post("/v1/models/bert:predict", body.as_bytes());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let prediction = answer.json()["predictions"][0].clone();
        flat(&json!([prediction["pooled"], prediction["tokens"]]))
    }

    fn as_grpc(&self) -> oip::ModelInferRequest {
        let input =
            |(name, values): (&str, &Vec<i64>)| oip::model_infer_request::InferInputTensor {
                name: name.to_owned(),
                datatype: "INT64".to_owned(),
                shape: vec![1, values.len() as i64],
                ..Default::default()
            };
        let raw = |(_, values): (&str, &Vec<i64>)| -> Vec<u8> {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        };
        oip::ModelInferRequest {
            model_name: "bert".to_owned(),
            inputs: self.inputs().map(input).to_vec(),
            raw_input_contents: self.inputs().map(|given| raw(given).into()).to_vec(),
            ..Default::default()
        }
    }
}

/// All numbers of nested lists, in order.
fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(all) => all.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().expect("a number")],
    }
}

fn assert_close(answer: &[f64], expected: &[f64], what: &str) {
    assert_eq!(answer.len(), expected.len(), "{what}");
    for (a, e) in answer.iter().zip(expected) {
        assert!(
            (a - e).abs() <= 1e-5 * e.abs().max(1.0),
            "{what}: {a} for {e}"
        );
    }
}

/// Lengths up to beyond the longest of the setting.
fn sentences() -> Vec<Sentence> {
    (1..=18).map(Sentence::of).collect()
}

/// Asks for all sentences at once.
fn ask_all(server: &Server, ask: impl Fn(&Sentence, &Server) -> Vec<f64> + Sync) -> Vec<Vec<f64>> {
    let all = sentences();
    std::thread::scope(|scope| {
        let asking: Vec<_> = all
            .iter()
            .map(|one| scope.spawn(|| ask(one, server)))
            .collect();
        let asked = asking.into_iter().map(|one| one.join().expect("answered"));
        asked.collect()
    })
}

async fn ask_all_over_grpc(server: &Server) -> Vec<Vec<f64>> {
    let client = server.grpc().await;
    let asked = sentences().into_iter().map(|one| {
        let mut client = client.clone();
        async move { client.model_infer(one.as_grpc()).await.expect("served") }
    });
    let answers = join_all(asked).await;
    let floats = |answer: &oip::ModelInferResponse| -> Vec<f64> {
        let raw = answer.raw_output_contents.iter();
        raw.flat_map(|raw| raw.chunks(4).map(<[u8]>::to_vec).collect::<Vec<_>>())
            .map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes")).into())
            .collect()
    };
    answers
        .iter()
        .map(|answer| floats(answer.get_ref()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_many_lengths_get_the_answers_of_their_own_lengths_over_every_protocol() {
    let (plain, _kept) = start(MaskUse::Heeded, BOTH, &[]);
    let expected: Vec<_> = sentences()
        .iter()
        .map(|one| one.over_http(&plain))
        .collect();
    let (server, _directory) = start(MaskUse::Heeded, BOTH, &[DECLARED, DELAYED]);
    eventually("the end of the test", || {
        explained(&server)["off"].is_null()
    });
    assert!(server.log().contains("padding on"), "{}", server.log());

    let padded = || server.metric("ortus_padding_tokens_total{kind=\"padded\",model=\"bert\"");
    let mut before = padded();
    for protocol in ["HTTP", "TensorFlow Serving", "gRPC"] {
        let answers = match protocol {
            "HTTP" => ask_all(&server, Sentence::over_http),
            "gRPC" => ask_all_over_grpc(&server).await,
            _ => ask_all(&server, Sentence::over_tensorflow),
        };
        for (answer, expected) in answers.iter().zip(&expected) {
            assert_close(answer, expected, protocol);
        }
        let after = padded();
        assert!(after > before, "{protocol}: {after:?} padded tokens");
        before = after;
    }

    assert_eq!(
        server.metric("ortus_padding_active{model=\"bert\""),
        Some(1.0)
    );
    assert_eq!(index(&server)["reason"], "");
    let explained = explained(&server);
    assert_eq!(explained["padded_tokens"].as_f64(), before);
    assert_eq!(explained["real_tokens"], 3 * (1..=18).sum::<i32>());
}

#[test]
fn a_model_that_ignores_its_mask_is_served_without_padding_and_says_so() {
    let declared = [DECLARED, DELAYED];
    let (plain, _kept) = start(MaskUse::Ignored, BOTH, &[]);
    let expected: Vec<_> = sentences()
        .iter()
        .map(|one| one.over_http(&plain))
        .collect();
    let (server, _directory) = start(MaskUse::Ignored, BOTH, &declared);
    eventually("the end of the test", || {
        let reason = index(&server)["reason"].clone();
        reason.as_str().is_some_and(|reason| {
            reason.starts_with("unpadded: output '")
                && reason.ends_with("the model does not leave out what its mask hides")
        })
    });

    assert!(
        server
            .log()
            .contains("served without padding although it is declared")
    );
    assert_eq!(
        server.metric("ortus_padding_active{model=\"bert\""),
        Some(0.0)
    );
    assert!(explained(&server)["off"].is_string());
    let answers = ask_all(&server, Sentence::over_http);
    for (answer, expected) in answers.iter().zip(&expected) {
        assert_close(answer, expected, "HTTP");
    }
    assert_eq!(explained(&server)["padded_tokens"], 0);
}

#[test]
fn padding_that_does_not_fit_the_model_refuses_the_version() {
    for (set, words) in [
        (
            DECLARED.replace("\"attention_mask\"", "\"mask\""),
            "'mask' in 'mask' is no input of the model; accepted: input_ids, token_type_ids, attention_mask",
        ),
        (
            DECLARED.replace(", token_type_ids = 0", ""),
            "input 'token_type_ids' has the padded axis 'sequence' too; add it to 'inputs'",
        ),
    ] {
        let (server, _directory) = start(MaskUse::Heeded, &["pooled"], &[&set]);
        let said = index(&server);
        let reason = said["reason"].as_str().unwrap_or_default();
        assert!(reason.contains("padding does not fit the model"), "{said}");
        assert!(reason.contains(words), "{said}");
    }
}

#[test]
fn inputs_of_unequal_rows_or_lengths_are_named() {
    let joined = ["model.bert.batching=\"on\""];
    let (server, _directory) = start(MaskUse::Heeded, &["pooled"], &joined);
    let tensor = |name: &str, shape: [usize; 2]| {
        let data = vec![1; shape[0] * shape[1]];
        json!({"name": name, "datatype": "INT64", "shape": shape, "data": data})
    };
    let refused = |mask: [usize; 2]| {
        let inputs = [
            tensor("input_ids", [2, 3]),
            tensor("token_type_ids", [2, 3]),
            tensor("attention_mask", mask),
        ];
        let body = json!({"inputs": inputs}).to_string();
        let answer = server.post("/v2/models/bert/infer", body.as_bytes());
        assert!(answer.status >= 400, "{}", answer.text());
        answer.text()
    };
    let rows = refused([1, 3]);
    assert!(
        rows.contains("input 'attention_mask' has 1, input 'input_ids' has 2"),
        "{rows}"
    );
    let lengths = refused([2, 2]);
    assert!(
        lengths.contains(
            "input 'attention_mask' has 2 at axis 1, 'sequence', of which input 'input_ids' has 3"
        ),
        "{lengths}"
    );
}

#[test]
fn settings_for_a_model_that_is_not_there_are_warned_of() {
    let (server, _directory) = start(MaskUse::Heeded, &["pooled"], &["model.brt.lanes=1"]);
    let log = server.log();
    assert!(
        log.contains("the settings of [model.brt] apply to no model"),
        "{log}"
    );
}

#[test]
fn the_test_of_padding_is_made_in_the_server_where_there_is_no_sandbox() {
    let unprobed = ["models.probe=false", DECLARED];
    let (server, _directory) = start(MaskUse::Heeded, &["tokens"], &unprobed);
    assert!(explained(&server)["off"].is_null(), "{}", server.log());
    let (server, _directory) = start(MaskUse::Leaky, &["tokens"], &unprobed);
    assert!(explained(&server)["off"].is_string(), "{}", server.log());
}
