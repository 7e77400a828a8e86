//! How a server starts and stops: ports, signals in every phase, and the drain.

use crate::support::samples::raw_request;
use crate::support::{Answer, Directory, Server, eventually, http, ortus, raw};
use ortus::testing::graphs;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Output};
use tonic::Code;

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
fn slow_to_load() -> Vec<u8> {
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
        let child = command.spawn().expect("the server starts");

        let starting = Self {
            child,
            http,
            _models: models,
        };
        eventually("the load", || starting.is_loading());
        starting
    }

    fn is_loading(&self) -> bool {
        TcpStream::connect(&self.http).is_ok()
            && states(&self.http).contains(&("slow".to_owned(), "LOADING".to_owned()))
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
fn states(address: &str) -> Vec<(String, String)> {
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

const INFER: &str = "/v2/models/digits/infer";

/// A request that lets the server decide whether the connection stays open.
fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn sample() -> Vec<u8> {
    std::fs::read(crate::support::models_folder().join("digits/sample.json")).expect("a sample")
}

/// Sends a request on a new connection and reads until the server closes it.
fn ask_anew(server: &Server, method: &str, path: &str) -> Answer {
    let body = if method == "POST" {
        sample()
    } else {
        Vec::new()
    };
    raw(&server.http, &request(method, path, &body)).expect("an answer")
}

/// Sends a request on an open connection; returns the line of the status.
fn ask_again(connection: &mut BufReader<TcpStream>) -> String {
    let bytes = request("POST", INFER, &sample());
    connection.get_mut().write_all(&bytes).expect("written");
    let (mut status, mut line, mut length) = (String::new(), String::new(), 0);
    connection.read_line(&mut status).expect("a status");
    while connection.read_line(&mut line).is_ok_and(|n| n > 2) {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a length");
        }
        line.clear();
    }

    let mut body = vec![0; length];
    connection.read_exact(&mut body).expect("a body");
    status
}

/// A server with one model that stops.
fn stopping(further: &[&str]) -> (Server, Directory, BufReader<TcpStream>) {
    let directory = Directory::with(&["digits"]);
    let server = Server::start_with(directory.path(), further);
    let open = TcpStream::connect(&server.http).expect("the server accepts");
    let mut open = BufReader::new(open);
    assert!(ask_again(&mut open).contains(" 200 "));

    server.terminate();
    eventually("not ready", || {
        http(&server.ops, "GET", "/readyz", &[], b"").status == 503
    });
    (server, directory, open)
}

#[tokio::test]
async fn new_connections_of_a_stopping_server_are_told_to_go_elsewhere() {
    let (mut server, _directory, mut open) = stopping(&["--set", "server.drain_delay=10m"]);

    let refused = ask_anew(&server, "POST", INFER);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(refused.header("connection"), Some("close"));
    assert!(refused.text().contains("stopping"), "{}", refused.text());
    for (path, status) in [
        ("/v2/health/live", 200),
        ("/v2/health/ready", 400),
        ("/v2/models/digits/ready", 400),
        ("/v1/models/digits", 503),
    ] {
        assert_eq!(ask_anew(&server, "GET", path).status, status, "{path}");
    }
    assert_eq!(http(&server.ops, "GET", "/livez", &[], b"").status, 200);

    let mut client = server.grpc().await;
    let refused = client.model_infer(raw_request("digits")).await;
    assert_eq!(refused.expect_err("stopping").code(), Code::Unavailable);
    let live = client.server_live(ortus::proto::inference::ServerLiveRequest {});
    assert!(live.await.expect("answered").into_inner().live);

    // The connection that was open before is served.
    assert!(ask_again(&mut open).contains(" 200 "));

    // No request is in flight: the second signal loses nothing.
    server.terminate();
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_stopping_server_reads_no_body_and_lets_the_client_read_the_refusal() {
    let (mut server, _directory, _open) = stopping(&["--set", "server.drain_delay=10m"]);
    for length in [1_000, 1 << 20, 20 << 20] {
        let mut stream = TcpStream::connect(&server.http).expect("accepted");
        let bytes = request("POST", INFER, &vec![b' '; length]);
        stream.write_all(&bytes).expect("the server lingers");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{length}: {answer}");
    }

    // A client that waits for the status first is not asked for its body.
    let mut patient = TcpStream::connect(&server.http).expect("accepted");
    let head = "POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    patient.write_all(head.as_bytes()).expect("written");
    let mut answer = String::new();
    patient.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    server.terminate();
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn new_connections_of_a_stopping_server_are_served_where_that_is_set() {
    let arguments = ["server.drain_delay=10m", "server.drain_connections=serve"];
    let (mut server, _directory, _open) = stopping(&crate::support::settings(&arguments));
    let mut open = BufReader::new(TcpStream::connect(&server.http).expect("accepted"));
    assert!(ask_again(&mut open).contains(" 200 "));
    server.terminate();
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_request_in_flight_finishes_while_new_ones_are_refused() {
    let directory = Directory::with(&["digits"]);
    let mut server = Server::start(directory.path());
    let bytes = request("POST", INFER, &sample());
    let (first, rest) = bytes.split_at(bytes.len() / 2);
    let mut half = TcpStream::connect(&server.http).expect("accepted");
    half.write_all(first).expect("written");
    eventually("the request in flight", || {
        server
            .metric("ortus_bytes_in_flight")
            .is_some_and(|bytes| bytes > 0.0)
    });

    server.terminate();
    eventually("new requests are refused", || {
        ask_anew(&server, "POST", INFER).status == 503
    });
    half.write_all(rest).expect("written");
    let mut answer = String::new();
    half.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(server.wait(), Some(0));
}
