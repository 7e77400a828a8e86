//! Benchmarks of the registry: a push compared with copying, hashing and syncing the same bytes; the
//! time from a promotion to its first response; a server that knows ten thousand models.

#![allow(clippy::print_stdout)]

use ortus::testing::{graphs, many_models};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn ortus() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ortus"));
    command.env("ORT_DISABLE_TELEMETRY", "1");
    command
}

fn run(arguments: &[&str]) -> String {
    let output = ortus().args(arguments).output().expect("runs");
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Alternates a push of 100 MB with the least work it needs: reading, SHA-256, writing and syncing the
/// same bytes.
pub(crate) fn push_against_copy_hash_and_sync() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, model) = (
        folder.path().join("store"),
        folder.path().join("model.onnx"),
    );
    let (mut pushes, mut copies, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let timed = |work: &dyn Fn()| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    for round in 0..10 {
        // Synced before, so that no measured sync includes it.
        let mut file = fs::File::create(&model).expect("made");
        file.write_all(&graphs::marked(round as f32, 25_000_000))
            .and_then(|()| file.sync_all())
            .expect("written");
        let (path, url) = (model.to_str().expect("text"), store.to_str().expect("text"));
        let push = || drop(run(&["push", "m", path, "--no-probe", "--registry", url]));
        let copy = || copy_hash_and_sync(&model, &folder.path().join("copy"));
        // The order alternates.
        let (push, copy) = if round % 2 == 0 {
            let push = timed(&push);
            (push, timed(&copy))
        } else {
            let copy = timed(&copy);
            (timed(&push), copy)
        };
        // Fresh memory of the page cache costs far more, so both sides reuse what they freed.
        fs::remove_file(folder.path().join("copy")).expect("removed");
        fs::remove_dir_all(&store).expect("removed");
        pushes.push(push * 1e3);
        copies.push(copy * 1e3);
        ratios.push(copy / push);
    }
    let bar = serde_json::json!({
        "figure": "push of 100 MB", "push_ms": median(pushes), "copy_hash_sync_ms": median(copies),
        "throughput_ratio": median(ratios), "bar": "≥ 0.8",
    });
    println!("{bar}");
}

fn copy_hash_and_sync(from: &Path, to: &Path) {
    let mut source = fs::File::open(from).expect("opened");
    let mut target = fs::File::create(to).expect("made");
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut chunk = vec![0; 1 << 20];
    loop {
        let n = source.read(&mut chunk).expect("read");
        if n == 0 {
            break;
        }
        context.update(&chunk[..n]);
        target.write_all(&chunk[..n]).expect("written");
    }
    target.sync_all().expect("synced");
    std::hint::black_box(context.finish());
}

struct Server {
    child: Child,
    http: String,
    operator: String,
}

impl Server {
    fn start(registry: &str, cache: &Path) -> Self {
        let ports = cache.with_extension("ports");
        let mut command = ortus();
        command
            .args([
                "serve",
                "--registry",
                registry,
                "--model",
                "m",
                "--log-level",
                "warn",
                "--cache",
            ])
            .arg(cache);
        command.arg("--ports-file").arg(&ports);
        for listener in ["--http", "--grpc", "--ops", "--operator"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        let mut child = command.stdout(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("a line");
        assert!(line.starts_with("ready"), "{line}");
        let bound: serde_json::Value =
            serde_json::from_slice(&fs::read(&ports).expect("ports")).expect("JSON");
        let port = |name: &str| bound[name].as_str().expect("an address").to_owned();
        Self {
            child,
            http: port("http"),
            operator: port("operator"),
        }
    }

    fn resident_mb(&self) -> f64 {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a status");
        let line = status
            .lines()
            .find_map(|l| l.strip_prefix("VmRSS:"))
            .expect("VmRSS");
        line.trim()
            .trim_end_matches(" kB")
            .parse::<f64>()
            .expect("a number")
            * 1024.0
            / 1e6
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Promotes between two loaded versions, and notifies the server. Measures from the start and from the
/// end of the command to the first response of the new version.
pub(crate) fn promotion_to_first_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store");
    let registry = store.to_str().expect("text");
    let model = folder.path().join("model.onnx");
    for (mark, alias) in [(1.0, "one"), (2.0, "two")] {
        fs::write(&model, graphs::marked(mark, 16)).expect("written");
        run(&[
            "push",
            "m",
            model.to_str().expect("text"),
            "--alias",
            alias,
            "--registry",
            registry,
        ]);
    }
    run(&["promote", "m", "1", "--registry", registry]);
    let server = Server::start(registry, &folder.path().join("cache"));
    let mut stream = TcpStream::connect(&server.http).expect("accepts");
    stream.set_nodelay(true).expect("set");
    let (mut whole, mut after) = (Vec::new(), Vec::new());
    for round in 0..200 {
        let version = if round % 2 == 0 { "2" } else { "1" };
        let start = Instant::now();
        run(&[
            "promote",
            "m",
            version,
            "--registry",
            registry,
            "--nudge",
            &server.operator,
        ]);
        let committed = Instant::now();
        while served(&mut stream) != version {
            assert!(start.elapsed() < Duration::from_secs(10), "never served");
        }
        whole.push(start.elapsed().as_secs_f64() * 1e3);
        after.push(committed.elapsed().as_secs_f64() * 1e3);
    }
    let p99 = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all[all.len() * 99 / 100]
    };
    let bar = serde_json::json!({
        "figure": "promote to first answer by the new version", "p50_ms": median(whole.clone()), "p99_ms": p99(whole),
        "after_the_command_p50_ms": median(after.clone()), "after_the_command_p99_ms": p99(after), "bar": "p99 ≤ 50",
    });
    println!("{bar}");
}

/// Returns the version that serves a request now.
fn served(stream: &mut TcpStream) -> String {
    let body = r#"{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[0]}]}"#;
    let head = format!(
        "POST /v2/models/m/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).expect("written");
    let mut buffer = [0; 4096];
    let mut answer = Vec::new();
    loop {
        let n = stream.read(&mut buffer).expect("read");
        assert!(n > 0, "closed");
        answer.extend_from_slice(&buffer[..n]);
        let text = String::from_utf8_lossy(&answer);
        if text.contains("\r\n\r\n") && text.ends_with('}') {
            let line = text
                .lines()
                .find_map(|l| l.strip_prefix("ortus-model-version: "))
                .unwrap_or_default();
            return line.to_owned();
        }
    }
}

/// Starts a server that knows 10,000 models from 100,000 entries and loads one.
pub(crate) fn many_models_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store");
    let registry = store.to_str().expect("text");
    let model = folder.path().join("model.onnx");
    fs::write(&model, graphs::marked(1.0, 16)).expect("written");
    let (models, entries) = (10_000, 100_000);
    let start = Instant::now();
    many_models(registry, models, entries);
    let made_s = start.elapsed().as_secs_f64();
    run(&[
        "push",
        "m",
        model.to_str().expect("text"),
        "--alias",
        "champion",
        "--registry",
        registry,
    ]);
    let checkpoint = fs::read_dir(store.join("ns/default/checkpoint"))
        .expect("checkpoints")
        .flatten();
    let bytes = checkpoint
        .filter_map(|f| f.metadata().ok())
        .map(|m| m.len())
        .max()
        .unwrap_or_default();
    let (mut cold, mut memory, mut warm) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..5 {
        let cache = folder.path().join(format!("cache {round}"));
        let start = Instant::now();
        let server = Server::start(registry, &cache);
        cold.push(start.elapsed().as_secs_f64());
        memory.push(server.resident_mb());
        drop(server);
        let start = Instant::now();
        drop(Server::start(registry, &cache));
        warm.push(start.elapsed().as_secs_f64());
    }
    let bar = serde_json::json!({
        "figure": "cold start with many models known", "models": models, "entries": entries, "made_in_s": made_s,
        "checkpoint_mb": bytes as f64 / 1e6, "from_checkpoint_s": median(cold), "from_cache_s": median(warm),
        "rss_mb": median(memory), "bar": "≤ 2 s, ≤ 100 MB",
    });
    println!("{bar}");
}
