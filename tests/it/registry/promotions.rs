//! Promotions and rollbacks under load, with bad versions among them.

use super::traffic::mark_request;
use crate::support::optional::is_long;
use crate::support::registry::{Done, Registry, champion, damage, versions};
use crate::support::{Server, eventually, http, ortus, settings};
use ortus::testing::graphs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Answers to requests by a server that is being changed, over one protocol.
struct Answers {
    count: AtomicU64,
    newest: AtomicU64,
    done: AtomicBool,
}

impl Answers {
    /// Counts an answer, whose header must name the version that the model itself names.
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

/// Pushes versions of one model, signed by a trusted key or by a stranger's.
struct SignedPushes {
    registry: Registry,
    /// How many numbers a model holds besides its mark.
    table: usize,
    ann: String,
    eve: String,
    /// The list of trusted keys.
    trust: String,
    /// Golden rows that no version has.
    wrong: String,
}

impl SignedPushes {
    fn new(table: usize) -> Self {
        let registry = Registry::new();
        let [ann, eve, trust, wrong] = ["ann", "eve", "trust.json", "wrong.json"]
            .map(|f| registry.0.path().join(f).display().to_string());
        let public = key(&["generate", "-o", &ann]);
        key(&["generate", "-o", &eve]);
        key(&["trust", &trust, &public]);

        std::fs::write(
        &wrong,
        r#"{"format":1,"cases":[{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[0]}],
            "outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":[0.5]}]}]}"#,
    )
    .expect("written");

        Self {
            registry,
            table,
            ann,
            eve,
            trust,
            wrong,
        }
    }

    fn push_by(&self, signer: &str, bytes: Vec<u8>, extra: &[&str]) -> String {
        let file = self.registry.0.path().join("model.onnx");
        let path = file.to_str().expect("text");
        std::fs::write(&file, bytes).expect("written");
        self.registry
            .does(&[&["push", "m", path, "--key", signer], extra].concat())
    }

    fn push(&self, bytes: Vec<u8>, extra: &[&str]) -> String {
        self.push_by(&self.ann, bytes, extra)
    }

    /// Pushes a version with the fault `BAD[fault]`.
    fn push_bad(&self, round: u64, fault: usize) -> String {
        let bytes = graphs::marked(-(round as f32), self.table);
        let unseen = ["--no-probe", "--allow-signature-change"];
        match fault {
            0 => {
                let version = self.push(bytes, &[]);
                damage(&self.registry, &version);
                version
            }
            1 => self.push(graphs::hungry((1 << 20) + round as i64), &unseen),
            2 => {
                let golden = ["--golden", &self.wrong];
                let hangs = graphs::hungry(9_000 + round as i64);
                self.push(hangs, &[unseen.as_slice(), &golden].concat())
            }
            3 => self.push_by(&self.eve, bytes, &[]),
            _ => self.push(bytes, &["--no-probe", "--golden", &self.wrong]),
        }
    }

    fn serve(&self) -> Server {
        let trusted = format!("registry.trust=\"{}\"", self.trust);
        self.registry.serve(&settings(&[
            "registry.previous_warm=0s",
            "models.probe_timeout=2s",
            "registry.signatures=require",
            &trusted,
        ]))
    }
}

fn key(arguments: &[&str]) -> String {
    let output = ortus().arg("key").args(arguments).output().expect("runs");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

/// Rounds of promotions and rollbacks of one server's model.
struct PromotionRounds<'r> {
    pushes: &'r SignedPushes,
    server: &'r Server,
    answers: &'r Answers,
    good: u64,
    bad: usize,
    peak: Vec<f64>,
}

impl PromotionRounds<'_> {
    /// Promotes a bad version in every tenth round; goes back to an earlier version and
    /// forth in every seventh; promotes a new version in the others.
    fn go(&mut self, round: u64) {
        if round.is_multiple_of(10) {
            self.promote_bad(round);
        } else if round.is_multiple_of(7) && self.good > 1 {
            self.go_back_and_forth();
        } else {
            self.promote_next();
        }
        self.peak.push(memory(self.server));
    }

    fn promote_bad(&mut self, round: u64) {
        let failures = || {
            self.server
                .metric("ortus_model_load_failures_total{model=\"m\"}")
                .unwrap_or(0.0)
        };
        let refused = failures();
        let version = self.pushes.push_bad(round, self.bad % BAD.len());
        let registry = &self.pushes.registry;
        registry.does(&["promote", "m", &version, "--allow-signature-change"]);
        eventually("the refusal", || failures() > refused);
        registry.does(&["rollback", "m"]);
        self.bad += 1;
    }

    fn go_back_and_forth(&self) {
        let registry = &self.pushes.registry;
        registry.does(&["rollback", "m"]);
        let back = champion(registry);
        self.reached(back);

        registry.does(&["promote", "m", &self.good.to_string()]);
        self.reached(self.good);
    }

    fn promote_next(&mut self) {
        let next = 1 + versions(&self.pushes.registry);
        self.pushes.push(
            graphs::marked(next as f32, self.pushes.table),
            &["--alias", "champion", "--allow-signature-change"],
        );
        self.good = next;
        self.reached(self.good);
    }

    /// Waits until requests are answered by a version.
    fn reached(&self, version: u64) {
        eventually(&format!("version {version}"), || {
            self.answers.newest.load(Ordering::Acquire) == version
        });
    }
}

fn memory(server: &Server) -> f64 {
    server
        .metric("process_resident_memory_bytes")
        .expect("a metric")
}

/// The faults of the bad versions, in turn.
const BAD: [&str; 5] = [
    "damaged in the store",
    "wants all memory",
    "hangs on its golden rows",
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
    let pushes = SignedPushes::new(table);
    pushes.push(graphs::marked(1.0, table), &[]);
    pushes.registry.does(&["promote", "m", "1"]);
    let server = pushes.serve();
    let answers = Answers {
        count: AtomicU64::new(0),
        newest: AtomicU64::new(1),
        done: AtomicBool::new(false),
    };
    let before = memory(&server);
    let mut rounds = PromotionRounds {
        pushes: &pushes,
        server: &server,
        answers: &answers,
        good: 1,
        bad: 0,
        peak: Vec::new(),
    };

    std::thread::scope(|scope| {
        scope.spawn(|| load_over_http(&server, &answers));
        scope.spawn(|| load_over_grpc(&server, &answers));
        let _done = Done(&answers.done);
        for round in 1..=promotions {
            rounds.go(round);
        }
    });

    let count = answers.count.load(Ordering::Relaxed);
    assert!(
        count > 10 * promotions,
        "{count} answers are too few to have been under load"
    );
    eventually("memory is given back", || {
        server
            .metric("process_resident_memory_bytes")
            .is_some_and(|now| now - before <= f64::from(32 << 20))
    });
    println!(
        "{promotions} rounds, {} of them bad (in turn: {}), {count} answers, 0 lost, 0 wrong (fewer than {:.0e} at 95 %); \
         memory {:.1} MB before, {:.1} MB at the end, {:.1} MB at most, model {:.1} MB",
        rounds.bad,
        BAD.join(", "),
        3.0 / count as f64,
        before / 1e6,
        memory(&server) / 1e6,
        rounds.peak.iter().fold(0.0, |a: f64, b| a.max(*b)) / 1e6,
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
