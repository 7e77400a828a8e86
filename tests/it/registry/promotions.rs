//! Promotions and rollbacks under load, with bad versions among them.

use super::traffic::mark_request;
use crate::support::optional::is_long;
use crate::support::registry::{Done, Registry, champion, damage};
use crate::support::{Server, eventually, http, ortus};
use ortus::testing::graphs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Answers to requests by a server that is being changed, over one protocol.
struct Answers {
    count: AtomicU64,
    newest: AtomicU64,
    done: AtomicBool,
}

impl Answers {
    /// Counts an answer: what the header says must be what the model says.
    fn take(&self, version: &str, mark: f32) {
        let version: u64 = version.parse().expect("a version");
        assert_eq!(
            mark, version as f32,
            "an answer of version {version} is not its own"
        );
        self.count.fetch_add(1, Ordering::Relaxed);
        self.newest.store(version, Ordering::Release);
    }
}

/// What is wrong with the bad versions, in turn.
const BAD: [&str; 5] = [
    "damaged in the store",
    "wants all memory",
    "hangs",
    "signed by a stranger",
    "other golden rows",
];

#[test]
fn promotions_and_rollbacks_under_load_lose_nothing_and_no_bad_version_serves() {
    let (promotions, table) = if is_long() {
        (300, 22 << 20)
    } else {
        (60, 1 << 20)
    };
    let registry = Registry::new();
    let file = registry.0.path().join("model.onnx");
    let path = file.to_str().expect("text");
    let [ann, eve, trust] =
        ["ann", "eve", "trust.json"].map(|f| registry.0.path().join(f).display().to_string());
    let key = |arguments: &[&str]| {
        let output = ortus().arg("key").args(arguments).output().expect("runs");
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    };
    let public = key(&["generate", "-o", &ann]);
    key(&["generate", "-o", &eve]);
    key(&["trust", &trust, &public]);
    let push_by = |signer: &str, bytes: Vec<u8>, extra: &[&str]| {
        std::fs::write(&file, bytes).expect("written");
        registry.does(&[&["push", "m", path, "--key", signer], extra].concat())
    };
    let push = |bytes: Vec<u8>, extra: &[&str]| push_by(&ann, bytes, extra);
    let wrong = registry.0.path().join("wrong.json").display().to_string();
    std::fs::write(
        &wrong,
        r#"{"format":1,"cases":[{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[0]}],
            "outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[0.5]}]}]}"#,
    )
    .expect("written");
    push(graphs::marked(1.0, table), &[]);
    registry.does(&["promote", "m", "1"]);
    let trusted = format!("registry.trust=\"{trust}\"");
    let settings = [
        "registry.previous_warm=0s",
        "models.probe_timeout=2s",
        "registry.signatures=require",
        &trusted,
    ];
    let server = registry.serve(
        &settings
            .iter()
            .flat_map(|s| ["--set", s])
            .collect::<Vec<_>>(),
    );
    let answers = Answers {
        count: AtomicU64::new(0),
        newest: AtomicU64::new(1),
        done: AtomicBool::new(false),
    };
    let before = server
        .metric("process_resident_memory_bytes")
        .expect("a metric");
    let (mut good, mut bad, mut peak) = (1_u64, 0, Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| load_over_http(&server, &answers));
        scope.spawn(|| load_over_grpc(&server, &answers));
        let _done = Done(&answers.done);
        let reached = |version: u64| {
            eventually(&format!("version {version}"), || {
                answers.newest.load(Ordering::Acquire) == version
            });
        };
        for round in 1..=promotions {
            let failures = || {
                server
                    .metric("ortus_model_load_failures_total{model=\"m\"}")
                    .unwrap_or(0.0)
            };
            let refused = failures();
            if round % 10 == 0 {
                let bytes = graphs::marked(-(round as f32), table);
                let unseen = ["--no-probe", "--allow-signature-change"];
                let version = match bad % BAD.len() {
                    0 => {
                        let version = push(bytes, &[]);
                        damage(&registry, &version);
                        version
                    }
                    1 => push(graphs::hungry((1 << 20) + round as i64), &unseen),
                    2 => push(graphs::hungry(9_000 + round as i64), &unseen),
                    3 => push_by(&eve, bytes, &[]),
                    _ => push(bytes, &["--no-probe", "--golden", &wrong]),
                };
                registry.does(&["promote", "m", &version, "--allow-signature-change"]);
                eventually("the refusal", || failures() > refused);
                registry.does(&["rollback", "m"]);
                bad += 1;
            } else if round % 7 == 0 && good > 1 {
                // Back and forth between two good ones.
                registry.does(&["rollback", "m"]);
                let back = champion(&registry);
                reached(back);
                registry.does(&["promote", "m", &good.to_string()]);
                reached(good);
            } else {
                let next = 1 + serde_json::from_str::<serde_json::Value>(
                    &registry.does(&["show", "m", "--json"]),
                )
                .expect("JSON")["versions"]
                    .as_array()
                    .expect("versions")
                    .len() as u64;
                push(
                    graphs::marked(next as f32, table),
                    &["--alias", "champion", "--allow-signature-change"],
                );
                good = next;
                reached(good);
            }
            peak.push(
                server
                    .metric("process_resident_memory_bytes")
                    .expect("a metric"),
            );
        }
    });
    let count = answers.count.load(Ordering::Relaxed);
    assert!(
        count > 10 * promotions as u64,
        "{count} answers are too few to have been under load"
    );
    eventually("memory is given back", || {
        server
            .metric("process_resident_memory_bytes")
            .is_some_and(|now| now - before <= f64::from(32 << 20))
    });
    let now = server
        .metric("process_resident_memory_bytes")
        .expect("a metric");
    println!(
        "{promotions} rounds, {bad} of them bad (in turn: {}), {count} answers, 0 lost, 0 wrong (fewer than {:.0e} at 95 %); \
         memory {:.1} MB before, {:.1} MB at the end, {:.1} MB at most, model {:.1} MB",
        BAD.join(", "),
        3.0 / count as f64,
        before / 1e6,
        now / 1e6,
        peak.iter().fold(0.0, |a: f64, b| a.max(*b)) / 1e6,
        table as f64 * 4.0 / 1e6
    );
}

fn load_over_http(server: &Server, answers: &Answers) {
    let body = br#"{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[0]}]}"#;
    while !answers.done.load(Ordering::Acquire) {
        let answer = http(&server.http, "POST", "/v2/models/m/infer", &[], body);
        assert_eq!(answer.status, 200, "lost over HTTP: {}", answer.text());
        let mark = answer.json()["outputs"][0]["data"][0]
            .as_f64()
            .expect("a number");
        answers.take(&answer.headers["ortus-model-version"], mark as f32);
    }
}

fn load_over_grpc(server: &Server, answers: &Answers) {
    let request = mark_request();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut client = server.grpc().await;
        while !answers.done.load(Ordering::Acquire) {
            let answer = client
                .model_infer(request.clone())
                .await
                .expect("lost over gRPC")
                .into_inner();
            let mark: [u8; 4] = answer.raw_output_contents[0][..]
                .try_into()
                .expect("one number");
            answers.take(&answer.model_version, f32::from_le_bytes(mark));
        }
    });
}
