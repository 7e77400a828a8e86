//! Requests that are refused before their body was read: the client reads the answer, and
//! the connection goes on or is closed as announced.

use crate::support::optional::{or_not_run, run};
use crate::support::{Directory, Server, settings};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;

const UNKNOWN: &str = "/v2/models/unknown/infer";

/// A connection that stays open.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(server: &Server) -> Self {
        Self(BufReader::new(
            TcpStream::connect(&server.http).expect("the server accepts"),
        ))
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("sent");
    }

    fn post(&mut self, path: &str, more: &str, length: usize) {
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n{more}\r\n");
        self.send(head.as_bytes());
    }

    /// Reads the head of an answer, in lower case, and its body.
    fn head(&mut self) -> String {
        let mut head = String::new();
        while self.0.read_line(&mut head).expect("an answer") > 2 {}
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |digits| digits.parse().expect("a length"));
        self.0.read_exact(&mut vec![0; length]).expect("a body");
        head
    }

    fn is_closed(&mut self) -> bool {
        self.0.read(&mut [0]).expect("readable") == 0
    }
}

#[test]
fn a_short_body_is_dropped_and_the_connection_goes_on() {
    let directory = Directory::with(&["wine"]);
    let limits = settings(&["limits.refused_body_timeout=60s"]);
    let server = Server::start_with(directory.path(), &limits);
    let mut connection = Connection::open(&server);
    for path in [
        UNKNOWN,
        "/v1/models/unknown:predict",
        "/v1/feedback",
        "/no/such/path",
        "/v2/models/wine",
    ] {
        connection.post(path, "Content-Encoding: br\r\n", 1 << 20);
        connection.send(&vec![b' '; 1 << 20]);
        let head = connection.head();
        assert!(head.starts_with("http/1.1 4"), "{path}: {head}");
        assert!(!head.contains("connection: close"), "{path}: {head}");
    }

    // Another request over the same connection.
    connection.send(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(connection.head().starts_with("http/1.1 200"));
}

#[test]
fn a_longer_body_a_late_one_and_one_not_asked_for_close_the_connection() {
    let directory = Directory::with(&["wine"]);
    let limits = settings(&["limits.refused_body_bytes_max=1000"]);
    let server = Server::start_with(directory.path(), &limits);
    for (more, length) in [
        ("", 1001),
        // Never sent.
        ("", 5),
        ("Expect: 100-continue\r\n", 5),
        ("Expect: 100-continue\r\n", 100 << 20),
    ] {
        let mut connection = Connection::open(&server);
        connection.post(UNKNOWN, more, length);
        let head = connection.head();
        assert!(head.starts_with("http/1.1 404"), "{length}: {head}");
        assert!(head.contains("connection: close"), "{length}: {head}");
        assert!(connection.is_closed());
    }
}

#[test]
fn a_body_that_is_waited_for_is_asked_for_with_100_continue() {
    let directory = Directory::with(&["wine"]);
    let server = Server::start(directory.path());
    let mut connection = Connection::open(&server);
    connection.post("/v2/models/wine/infer", "Expect: 100-continue\r\n", 2);
    assert!(connection.head().starts_with("http/1.1 100"));
    connection.send(b"{}");
    assert!(connection.head().starts_with("http/1.1 400"));
    connection.send(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(connection.head().starts_with("http/1.1 200"));
}

#[test]
fn a_client_that_sends_without_end_is_cut_off() {
    let directory = Directory::with(&["wine"]);
    let server = Server::start_with(
        directory.path(),
        &settings(&["limits.linger_bytes_max=1MiB"]),
    );
    let mut connection = Connection::open(&server);
    connection.post(UNKNOWN, "", 1 << 40);
    let chunk = vec![b' '; 1 << 20];
    let stream = connection.0.get_mut();
    let sent = (0..1 << 20).find(|_| stream.write_all(&chunk).is_err());
    assert!(sent.is_some_and(|chunks| chunks < 1000), "{sent:?}");
}

/// Reads the status of each refusal with Python's own clients, which send the whole body
/// before they read.
const PYTHON: &str = r#"
import http.client, sys, urllib.error, urllib.request
host = sys.argv[1]
cases = [
    (404, "/v2/models/unknown/infer", 1_000_000, {}),
    (404, "/v2/models/unknown/infer", 5_000_000, {}),
    (404, "/v1/models/unknown:predict", 5_000_000, {}),
    (400, "/v2/models/wine/infer", 5_000_000, {"Inference-Header-Content-Length": "x"}),
    (415, "/v2/models/wine/infer", 5_000_000, {"Content-Encoding": "br"}),
    (415, "/v1/feedback", 5_000_000, {"Content-Encoding": "br"}),
    (413, "/v2/models/wine/infer", 70_000_000, {}),
    (413, "/v1/models/wine:predict", 70_000_000, {}),
    (413, "/v1/feedback", 70_000_000, {}),
    (404, "/no/such/path", 70_000_000, {}),
    (431, "/v2/models/wine/infer", 5_000_000, {"long": "x" * 100_000}),
]
def stream(size):
    for _ in range(0, size, 1_000_000): yield b" " * 1_000_000
for want, path, size, headers in cases:
    for body in (b" " * size, stream(size)):
        request = urllib.request.Request(f"http://{host}{path}", data=body, headers=headers)
        try: got = urllib.request.urlopen(request).status
        except urllib.error.HTTPError as error: got = error.code; error.read()
        assert got == want, ("urllib", path, size, got)
    connection = http.client.HTTPConnection(host)
    for _ in range(3):
        connection.request("POST", path, b" " * size, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == want, ("http.client", path, size, answer.status)
print("read")
"#;

#[test]
fn python_reads_the_status_of_every_refusal() {
    let found = run(Command::new("python3").arg("--version")).map(|_| "python3");
    let Some(python) = or_not_run("Python", found) else {
        return;
    };
    let directory = Directory::with(&["wine"]);
    let server = Server::start(directory.path());
    let said = run(Command::new(python).args(["-c", PYTHON, &server.http]));
    assert_eq!(said.as_deref().map(str::trim), Ok("read"));
}
