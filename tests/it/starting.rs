//! How a server starts: ports, and signals in every phase of the start.

use crate::support::{Directory, Server, command_of, eventually, http, ortus, ortus_program, raw};
use ortus::testing::graphs;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// Runs `serve` until it ends by itself. `listeners` override port 0.
fn serve(models: &Path, listeners: &[(&str, &str)], further: &[&str]) -> Output {
    let mut command = ortus();
    command.args(["serve", "--log-level", "off", "--models"]);
    command.arg(models).args(further);
    for name in ["http", "grpc", "ops", "operator"] {
        let given = listeners.iter().find(|(listener, _)| *listener == name);
        let address = given.map_or("127.0.0.1:0", |(_, address)| *address);
        command.args([&format!("--{name}"), address]);
    }

    command.output().expect("runs")
}

#[track_caller]
fn check_one_message(output: &Output, message: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{:?} {error}", output.status);
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains(message), "{error}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn a_start_on_a_taken_or_foreign_address_exits_1_with_one_message() {
    let directory = Directory::of_all_models();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    // An address for documentation, which no machine has.
    let foreign = "192.0.2.1:0";

    for round in 0..20 {
        let listener = ["http", "grpc", "ops", "operator"][round % 4];
        let address = if round < 12 { taken.as_str() } else { foreign };
        let output = serve(directory.path(), &[(listener, address)], &[]);
        check_one_message(&output, &format!("cannot bind {address}"));
    }
}

#[test]
fn one_port_for_two_listeners_is_refused() {
    let directory = Directory::empty();
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    // The second address includes the first.
    let (here, everywhere) = (format!("127.0.0.1:{port}"), format!("0.0.0.0:{port}"));

    for [first, second] in [["http", "grpc"], ["http", "ops"], ["grpc", "operator"]] {
        let listeners = [(first, here.as_str()), (second, everywhere.as_str())];
        check_one_message(
            &serve(directory.path(), &listeners, &[]),
            "is the same address as",
        );
    }
}

#[test]
fn a_failure_after_the_models_were_loaded_exits_1_with_one_message() {
    let directory = Directory::of_all_models();
    for _ in 0..3 {
        let output = serve(directory.path(), &[], &["--ports-file", "/nowhere/ports"]);
        check_one_message(&output, "server.ports_file");
    }
}

/// A model whose session takes minutes to open: ONNX Runtime computes its products then.
pub(crate) fn slow_to_load() -> Vec<u8> {
    graphs::slow_to_open(1.0, 6000, 40)
}

/// A server that is loading a model which takes minutes.
struct Starting {
    child: Child,
    http: String,
    _models: Directory,
}

impl Starting {
    fn with(further: &[&str]) -> Self {
        loop {
            let mut starting = Self::spawn(further);
            let mut has_ended = false;
            eventually("the load", || {
                has_ended = starting.child.try_wait().expect("a child").is_some();
                has_ended || starting.is_loading()
            });
            // Another test may have taken the port before the server did.
            if !has_ended {
                return starting;
            }
        }
    }

    fn spawn(further: &[&str]) -> Self {
        let models = Directory::empty();
        models.put("slow", 1, &slow_to_load());
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let http = free.local_addr().expect("an address").to_string();
        drop(free);

        let mut command = ortus();
        command.args(["serve", "--log-level", "off", "--http", &http, "--models"]);
        command.arg(models.path()).args(further);
        for listener in ["--grpc", "--ops", "--operator"] {
            command.args([listener, "127.0.0.1:0"]);
        }
        Self {
            child: command.spawn().expect("the server starts"),
            http,
            _models: models,
        }
    }

    fn is_loading(&self) -> bool {
        let request = b"POST /v2/repository/index HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\
                        Connection: close\r\n\r\n";
        if TcpStream::connect(&self.http).is_err() {
            return false;
        }
        let answer = raw(&self.http, request).map(|answer| answer.text());
        let index: Option<serde_json::Value> =
            answer.and_then(|text| serde_json::from_str(&text).ok());
        index.is_some_and(|index| index[0]["name"] == "slow" && index[0]["state"] == "LOADING")
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child not yet waited for");
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The name and the state of each version.
pub(crate) fn states(address: &str) -> Vec<(String, String)> {
    let index = http(address, "POST", "/v2/repository/index", &[], b"").json();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let all = index.as_array().expect("a list").iter();
    all.map(|one| (text(&one["name"]), text(&one["state"])))
        .collect()
}

#[test]
fn a_signal_during_the_first_load_ends_the_server_with_code_0() {
    for (signal, probe) in [
        (Signal::TERM, "models.probe=true"),
        (Signal::INT, "models.probe=false"),
        (Signal::HUP, "models.probe=false"),
    ] {
        let mut starting = Starting::with(&["--set", probe]);
        starting.send(signal);
        let status = starting.child.wait().expect("waited for");
        assert_eq!(status.code(), Some(0), "{probe} {status:?}");
    }
}

#[test]
fn sigterm_while_a_swap_loads_ends_the_server_with_code_0() {
    for probe in ["models.probe=true", "models.probe=false"] {
        let directory = Directory::with(&["digits"]);
        let mut server = Server::start_with(directory.path(), &["--set", probe]);
        directory.put("digits", 2, &slow_to_load());
        eventually("the load of version 2", || {
            let loading = ("digits".to_owned(), "LOADING".to_owned());
            states(&server.http).contains(&loading)
        });

        server.terminate();
        assert_eq!(server.wait(), Some(0), "{probe} {}", server.log());
    }
}

/// A server that is reading its configuration, which is the first thing it does: the file is a
/// pipe, to which nothing was written yet.
struct Configuring {
    child: Child,
    configuration: std::fs::File,
    folder: Directory,
}

impl Configuring {
    fn start() -> Self {
        Self::start_by(ortus())
    }

    fn start_by(mut command: Command) -> Self {
        let folder = Directory::empty();
        let pipe = folder.path().join("ortus.toml");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        let child = command
            .args(["serve", "--config"])
            .arg(&pipe)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");

        // Without a reader it cannot be opened.
        let mut writer = None;
        eventually("the look at the configuration", || {
            writer = open(&pipe, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()).ok();
            writer.is_some()
        });
        Self {
            child,
            configuration: writer.expect("just opened").into(),
            folder,
        }
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child not yet waited for");
    }

    /// Lets the start go on, with no model. The server writes its ports to the file `ports`.
    fn configure(&mut self) {
        let folder = self.folder.path().display();
        let listeners = ["http", "grpc", "ops", "operator"].map(|l| format!("{l} = '127.0.0.1:0'"));
        let text = format!(
            "log.level = 'off'\nmodels.directory = '{folder}'\n[server]\n{}\n\
             ports_file = '{folder}/ports'\ndrain_delay = '0s'\n",
            listeners.join("\n")
        );
        let written = self.configuration.write_all(text.as_bytes());
        written.expect("the pipe has room");
        self.configuration = std::fs::File::open("/dev/null").expect("opened");
    }
}

impl Drop for Configuring {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_signal_at_the_first_moment_ends_the_server_with_code_0() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut server = Configuring::start();
        server.send(signal);
        let status = server.child.wait().expect("waited for");
        assert_eq!(status.code(), Some(0), "{signal:?} {status:?}");
    }
}

#[test]
fn a_signal_at_any_moment_of_the_start_ends_the_server_with_code_0() {
    for round in 0..36 {
        let mut server = Configuring::start();
        server.configure();
        // Each round lets the start get further.
        for _ in 0..1_u32 << (round / 2) {
            assert!(server.child.try_wait().expect("looked at").is_none());
        }
        server.send(Signal::TERM);
        let status = server.child.wait().expect("waited for");
        assert_eq!(status.code(), Some(0), "round {round}: {status:?}");
    }
}

#[test]
fn a_server_started_by_nohup_outlives_its_terminal() {
    let mut nohup = command_of("nohup".into());
    nohup.arg(ortus_program());
    let mut server = Configuring::start_by(nohup);
    server.send(Signal::HUP);

    server.configure();
    let ports = server.folder.path().join("ports");
    eventually("the end of the start", || ports.exists());
    server.send(Signal::TERM);
    let status = server.child.wait().expect("waited for");
    assert_eq!(status.code(), Some(0), "{status:?}");
}
