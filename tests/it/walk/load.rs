//! Clients that ask all the time, and judge each answer.

use super::repository::{Losses, MODELS, Truth};
use crate::support::{Server, http};
use ortus::proto::inference as oip;
use ortus::proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tonic::Code;
use tonic::transport::Channel;

/// Which version answered, and the mark of its bytes.
pub(super) struct Marked {
    pub version: u64,
    pub mark: u32,
}

/// A request that was not answered with a prediction.
pub(super) struct Refusal {
    /// Whether a server may refuse so where a model has no version.
    is_typed: bool,
    words: String,
}

/// What all clients have seen.
#[derive(Default)]
pub(super) struct Tally {
    answers: AtomicU64,
    allowed: AtomicU64,
    fault: Mutex<Option<String>>,
    has_ended: AtomicBool,
}

impl Tally {
    pub(super) fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Requests that were refused while that was allowed.
    pub(super) fn allowed(&self) -> u64 {
        self.allowed.load(Ordering::Relaxed)
    }

    /// The first answer that was wrong, or request that was lost.
    pub(super) fn fault(&self) -> Option<String> {
        self.fault.lock().expect("no client panicked").clone()
    }

    fn find(&self, fault: String) {
        let mut first = self.fault.lock().expect("no client panicked");
        first.get_or_insert(fault);
    }

    fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }
}

/// The running clients, which end when this is dropped.
pub(super) struct Clients {
    tally: Arc<Tally>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.tally.has_ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client ends");
        }
    }
}

/// Starts a client for each protocol.
pub(super) fn start(server: &Server, truth: &Arc<Truth>, tally: &Arc<Tally>) -> Clients {
    let rest = server.http.clone();
    let grpc = format!("http://{}", server.grpc);
    let judge = || Judge {
        truth: Arc::clone(truth),
        tally: Arc::clone(tally),
    };
    let (of_rest, of_grpc) = (judge(), judge());
    Clients {
        tally: Arc::clone(tally),
        threads: vec![
            std::thread::spawn(move || over_rest(&rest, &of_rest)),
            std::thread::spawn(move || over_grpc(grpc, &of_grpc)),
        ],
    }
}

/// Compares answers with what is true of the directory.
struct Judge {
    truth: Arc<Truth>,
    tally: Arc<Tally>,
}

impl Judge {
    /// `before` was read before the request was sent.
    fn judge(&self, model: usize, before: Losses, answer: Result<Marked, Refusal>) {
        let name = MODELS[model].name;
        match answer {
            Ok(Marked { version, mark }) if self.truth.has_held(model, version, mark) => {
                self.tally.answers.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Marked { version, mark }) => {
                let words = format!("{name}: version {version} answered with mark {mark}");
                self.tally.find(words);
            }
            Err(refusal) => {
                let is_allowed = before.may_fail() || before != self.truth.losses(model);
                if is_allowed && refusal.is_typed {
                    self.tally.allowed.fetch_add(1, Ordering::Relaxed);
                } else {
                    self.tally.find(format!("{name}: {}", refusal.words));
                }
            }
        }
    }
}

fn over_rest(address: &str, judge: &Judge) {
    while !judge.tally.has_ended() {
        for (model, walked) in MODELS.iter().enumerate() {
            let before = judge.truth.losses(model);
            let answer = ask(address, walked.name);
            judge.judge(model, before, answer);
        }
        // Each request is a connection, of which a system has only so many.
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn over_grpc(address: String, judge: &Judge) {
    ortus::testing::block_on(async {
        let channel = Channel::from_shared(address).expect("an address");
        let channel = channel.connect().await.expect("the server accepts");
        let mut client = GrpcInferenceServiceClient::new(channel);
        while !judge.tally.has_ended() {
            for (model, walked) in MODELS.iter().enumerate() {
                let before = judge.truth.losses(model);
                let answer = call(&mut client, walked.name).await;
                judge.judge(model, before, answer);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
}

/// Asks one model over REST.
pub(super) fn ask(address: &str, model: &str) -> Result<Marked, Refusal> {
    let body = br#"{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[0]}]}"#;
    let path = format!("/v2/models/{model}/infer");
    let answer = http(address, "POST", &path, &[], body);
    if answer.status != 200 {
        return Err(Refusal {
            is_typed: matches!(answer.status, 404 | 503),
            words: format!("{}: {}", answer.status, answer.text()),
        });
    }

    let body = answer.json();
    let mark = body["outputs"][0]["data"][0].as_f64().expect("a number");
    let version = answer.header("ortus-model-version").expect("a version");
    assert_eq!(body["model_version"], version);
    Ok(Marked {
        version: version.parse().expect("a number"),
        mark: mark as u32,
    })
}

async fn call(
    client: &mut GrpcInferenceServiceClient<Channel>,
    model: &str,
) -> Result<Marked, Refusal> {
    let request = oip::ModelInferRequest {
        model_name: model.to_owned(),
        inputs: vec![oip::model_infer_request::InferInputTensor {
            name: "x".to_owned(),
            datatype: "INT64".to_owned(),
            shape: vec![1],
            ..Default::default()
        }],
        raw_input_contents: vec![vec![0; 8].into()],
        ..Default::default()
    };
    let answer = client
        .model_infer(request)
        .await
        .map_err(|status| Refusal {
            is_typed: matches!(status.code(), Code::NotFound | Code::Unavailable),
            words: status.to_string(),
        })?;

    let answer = answer.into_inner();
    let raw = answer.raw_output_contents[0].as_chunks::<4>().0[0];
    Ok(Marked {
        version: answer.model_version.parse().expect("a number"),
        mark: f32::from_le_bytes(raw) as u32,
    })
}
