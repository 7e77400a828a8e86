//! A real server on free ports with a temporary model directory, and a small HTTP client
//! that can also send malformed requests.

#[path = "support/baseline.rs"]
pub(crate) mod baseline;
#[path = "support/connection.rs"]
pub(crate) mod connection;
#[path = "support/estimate.rs"]
pub(crate) mod estimate;
#[path = "support/optional.rs"]
pub(crate) mod optional;
#[path = "support/registry.rs"]
pub(crate) mod registry;
#[path = "support/samples.rs"]
pub(crate) mod samples;

use ortus::proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;
use tonic::transport::Channel;

/// The models that come with Ortus.
pub(crate) const MODELS: [&str; 5] = ["breast-cancer", "cancer-risk", "diabetes", "digits", "wine"];

pub(crate) fn models_folder() -> PathBuf {
    root().join("models")
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    if package.join("models").is_dir() {
        package
    } else {
        package.parent().expect("a workspace")
    }
}

/// The program to test: what `ORTUS_TEST_PROGRAM` names, else the one that was
/// built with these tests.
pub(crate) fn ortus_program() -> PathBuf {
    std::env::var_os("ORTUS_TEST_PROGRAM").map_or_else(ortus_built_for_tests, PathBuf::from)
}

/// The program with what only tests need: it ends at once before the operation
/// on a store that `ORTUS_TEST_ABORT_AT` numbers.
pub(crate) fn ortus_built_for_tests() -> PathBuf {
    if let Some(program) = option_env!("CARGO_BIN_EXE_ortus") {
        return program.into();
    }
    // Tests of the trainer find it where Cargo puts every program of the workspace.
    let Some(trainer) = option_env!("CARGO_BIN_EXE_ortus-trainer") else {
        panic!("these are tests of a package without a program");
    };
    let program = Path::new(trainer).with_file_name("ortus");
    assert!(
        program.exists(),
        "{} is missing: run `cargo test --workspace`, or `cargo build` first",
        program.display()
    );
    program
}

pub(crate) fn ortus() -> Command {
    command_of(ortus_program())
}

/// A command of one of the programs, with a state folder of the tests' own.
pub(crate) fn command_of(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command.env("ORT_DISABLE_TELEMETRY", "1");
    command.env(
        "XDG_STATE_HOME",
        concat!(env!("CARGO_TARGET_TMPDIR"), "/state"),
    );
    command
}

/// A model directory to serve from.
pub(crate) struct Directory(pub TempDir);

impl Directory {
    pub(crate) fn empty() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// The first version of every model that comes with Ortus.
    pub(crate) fn of_all_models() -> Self {
        Self::with(&MODELS)
    }

    /// … of some of them.
    pub(crate) fn with(models: &[&str]) -> Self {
        let directory = Self::empty();
        for model in models {
            directory.put(model, 1, &model_file(model, "1"));
        }
        directory
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Puts a version into place: written aside and renamed.
    pub(crate) fn put(&self, model: &str, version: u64, bytes: &[u8]) {
        self.put_with(model, version, bytes, &[]);
    }

    /// … with other files beside the model.
    pub(crate) fn put_with(
        &self,
        model: &str,
        version: u64,
        bytes: &[u8],
        beside: &[(&str, &[u8])],
    ) {
        let staging = self.path().join(format!(".{model}-{version}"));
        fs::create_dir_all(&staging).expect("a folder");
        fs::create_dir_all(self.path().join(model)).expect("a folder");
        let old = SystemTime::now() - Duration::from_secs(3600);
        for (name, bytes) in beside.iter().chain(&[("model.onnx", bytes)]) {
            let file = staging.join(name);
            fs::write(&file, bytes).expect("written");
            fs::File::options()
                .write(true)
                .open(&file)
                .and_then(|f| f.set_modified(old))
                .expect("dated");
        }
        fs::rename(&staging, self.path().join(model).join(version.to_string())).expect("renamed");
    }
}

/// The bytes of one of our models; `version` is `1` or `next`.
pub(crate) fn model_file(model: &str, version: &str) -> Vec<u8> {
    fs::read(models_folder().join(model).join(version).join("model.onnx"))
        .expect("a model that comes with Ortus")
}

pub(crate) fn read_json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).expect("readable")).expect("JSON")
}

/// A running server; killed on drop.
pub(crate) struct Server {
    child: Child,
    pub http: String,
    pub grpc: String,
    pub ops: String,
    pub operator: String,
    /// What it printed when it had loaded or refused its models.
    pub start_line: String,
    folder: TempDir,
}

impl Server {
    pub(crate) fn start(models: &Path) -> Self {
        Self::start_with(models, &[])
    }

    /// Starts a server with further arguments and waits until it is ready.
    pub(crate) fn start_with(models: &Path, arguments: &[&str]) -> Self {
        let mut all = vec!["--models", models.to_str().expect("a path in UTF-8")];
        all.extend(["--set", "models.poll=50ms", "--set", "models.settle=50ms"]);
        all.extend(arguments);
        Self::start_from(&all)
    }

    /// Starts a server whose arguments name the source of its models.
    pub(crate) fn start_from(arguments: &[&str]) -> Self {
        Self::spawn(ortus(), &[], arguments)
    }

    /// Starts a server to which the permissions of files apply, also where the tests are run by root.
    pub(crate) fn start_without_privilege(arguments: &[&str]) -> Self {
        let mut command = ortus();
        if rustix::process::geteuid().is_root() {
            command = command_of("setpriv".into());
            command
                .arg("--bounding-set=-dac_override,-dac_read_search")
                .arg(ortus_program());
        }
        Self::spawn(command, &[], arguments)
    }

    /// Starts a server with variables in its environment, and with further arguments.
    pub(crate) fn start_with_env(env: &[(&str, &Path)], models: &Path, more: &[&str]) -> Self {
        let models = ["--models", models.to_str().expect("text")];
        Self::spawn(ortus(), env, &[&models, more].concat())
    }

    /// Starts the program, with further variables in its environment.
    fn spawn(mut command: Command, env: &[(&str, &Path)], arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("ports.json");
        let mut child = command
            .arg("serve")
            .args([
                "--http",
                "127.0.0.1:0",
                "--grpc",
                "127.0.0.1:0",
                "--ops",
                "127.0.0.1:0",
                "--operator",
                "127.0.0.1:0",
            ])
            .args(["--set", "log.level=\"ortus=warn,warn\""])
            // No load balancer needs time to notice the end.
            .args(["--set", "server.drain_delay=0s"])
            .env("XDG_STATE_HOME", folder.path())
            .envs(env.iter().copied())
            .arg("--ports-file")
            .arg(&file)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(fs::File::create(folder.path().join("log")).expect("a file"))
            .spawn()
            .expect("the server starts");
        let stdout = child.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("readable");
        let log = || fs::read_to_string(folder.path().join("log")).unwrap_or_default();
        assert!(
            line.starts_with("ready: ") || line.starts_with("not ready: "),
            "the server did not get ready: {line:?} {}",
            log()
        );
        let ports: BTreeMap<String, String> =
            serde_json::from_slice(&fs::read(&file).expect("ports")).expect("JSON");
        let port = |name: &str| ports[name].clone();
        let (http, grpc, ops, operator) =
            (port("http"), port("grpc"), port("ops"), port("operator"));
        Self {
            child,
            http,
            grpc,
            ops,
            operator,
            start_line: line,
            folder,
        }
    }

    /// The server's log so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).expect("a log")
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        http(&self.http, "GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Answer {
        http(&self.http, "POST", path, &[], body)
    }

    pub(crate) async fn grpc(&self) -> GrpcInferenceServiceClient<Channel> {
        GrpcInferenceServiceClient::new(self.channel().await)
    }

    pub(crate) async fn channel(&self) -> Channel {
        let channel = Channel::from_shared(format!("http://{}", self.grpc)).expect("an address");
        channel.connect().await.expect("the server accepts")
    }

    /// The value of a metric line that starts with `prefix`.
    pub(crate) fn metric(&self, prefix: &str) -> Option<f64> {
        let text = http(&self.ops, "GET", "/metrics", &[], b"").text();
        let line = text.lines().find(|l| l.starts_with(prefix))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Sends SIGTERM, as an operator who stops the server would.
    pub(crate) fn terminate(&self) {
        self.send(Signal::TERM);
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child not yet waited for");
    }

    /// The child processes that still run.
    pub(crate) fn children(&self) -> Vec<i32> {
        let number = |name: &std::ffi::OsStr| name.to_str()?.parse::<i32>().ok();
        let all = fs::read_dir("/proc")
            .expect("listed")
            .filter_map(|e| number(&e.ok()?.file_name()));
        let parent = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name, in brackets, may hold anything; state and parent follow it.
            stat.rsplit_once(") ")?
                .1
                .split(' ')
                .nth(1)?
                .parse::<u32>()
                .ok()
        };
        all.filter(|pid| parent(pid) == Some(self.child.id()))
            .collect()
    }

    /// Tells whether the process still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("waited for").is_none()
    }

    /// Waits for the process to end and returns its exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().expect("waited for").code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let log = self.log();
        if std::thread::panicking() {
            println!("the server's log:\n{log}");
        } else {
            assert!(!log.contains("panicked"), "the server panicked:\n{log}");
        }
    }
}

/// An HTTP answer.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

/// The longest wait for an answer or a condition: only against a test that hangs.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// The pause between two looks at a condition. It leaves the processor to the programs
/// under test; no test relies on its length.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) fn http(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut request =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("content-length"))
    {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    let mut bytes = (request + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    raw(address, &bytes).expect("an HTTP answer")
}

/// Sends bytes as they are; `None` if the server closes without an answer.
pub(crate) fn raw(address: &str, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).expect("the server accepts");
    stream.set_read_timeout(Some(TIMEOUT)).expect("set");
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    parse(&all)
}

fn parse(all: &[u8]) -> Option<Answer> {
    let end = all.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&all[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|l| l.split_once(": "))
        .map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()))
        .collect();
    Some(Answer {
        status,
        headers,
        body: all[end + 4..].to_vec(),
    })
}

/// Runs a command to its end with bytes as its standard input.
pub(crate) fn with_input(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(input)
        .expect("written");
    let output = child.wait_with_output().expect("ends");
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    output
}

/// Checks again until `condition` holds. It depends on the work of another process, for
/// which there is no wake-up from outside.
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(TIMEOUT, what, condition);
}

/// `eventually` with a time-out of its own, for conditions that need several training runs.
pub(crate) fn eventually_within(
    timeout: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < timeout, "{what}: not within {timeout:?}");
        std::thread::sleep(PAUSE);
    }
}

/// Each setting after a `--set` of its own.
pub(crate) fn settings<'s>(all: &[&'s str]) -> Vec<&'s str> {
    all.iter().flat_map(|setting| ["--set", setting]).collect()
}

/// A request that a listener received.
pub(crate) struct Posted {
    pub headers: BTreeMap<String, String>,
    pub body: serde_json::Value,
}

/// A listener for webhooks; it refuses the first request of all.
pub(crate) fn listener() -> (std::net::SocketAddr, std::sync::mpsc::Receiver<Posted>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (sender, posted) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for (i, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("cloned"));
            let (mut line, mut headers) = (String::new(), BTreeMap::new());
            while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                let header = line.trim_end().split_once(": ");
                headers.extend(header.map(|(name, value)| (name.to_lowercase(), value.to_owned())));
                line.clear();
            }
            let length = headers
                .get("content-length")
                .and_then(|n| n.parse().ok())
                .unwrap_or(0);
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let status = if i == 0 {
                "503 Not Now"
            } else {
                "204 No Content"
            };
            write!(
                stream,
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            )
            .expect("answered");
            let body = serde_json::from_slice(&body).expect("JSON");
            let _ = (i > 0).then(|| sender.send(Posted { headers, body }));
        }
    });
    (address, posted)
}
