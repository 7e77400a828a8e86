//! How a server stops: what clients see while it does, and its exit code.

mod busy;
mod endless;

use crate::support::samples::raw_request;
use crate::support::{Answer, Directory, Server, eventually, http, raw};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use tonic::Code;

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

/// What a client reads of an answer.
#[derive(Debug)]
struct Seen {
    status: u16,
    /// The answer announces the end of its connection.
    closes: bool,
}

/// Sends a prediction on an open connection, and reads the answer.
fn ask(connection: &mut BufReader<TcpStream>) -> std::io::Result<Seen> {
    let bytes = request("POST", INFER, &sample());
    connection.get_mut().write_all(&bytes)?;
    let (mut status, mut line, mut length) = (String::new(), String::new(), 0);
    let mut closes = false;
    if connection.read_line(&mut status)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    while connection.read_line(&mut line)? > 2 {
        line.make_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a length");
        }
        closes |= line.starts_with("connection: close");
        line.clear();
    }

    connection.read_exact(&mut vec![0; length])?;
    let status = status.split(' ').nth(1).and_then(|s| s.parse().ok());
    Ok(Seen {
        status: status.expect("a status"),
        closes,
    })
}

/// A server with one model that stops.
fn stopping(further: &[&str]) -> (Server, Directory, BufReader<TcpStream>) {
    let directory = Directory::with(&["digits"]);
    let server = Server::start_with(directory.path(), further);
    let open = TcpStream::connect(&server.http).expect("the server accepts");
    let mut open = BufReader::new(open);
    assert_eq!(ask(&mut open).expect("an answer").status, 200);

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
    assert_eq!(ask(&mut open).expect("an answer").status, 200);

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
    assert_eq!(ask(&mut open).expect("an answer").status, 200);
    server.terminate();
    assert_eq!(server.wait(), Some(0));
}

/// A request of which half was sent. It holds the stop, so that new connections are refused until
/// it is finished.
struct HalfSent {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl HalfSent {
    fn to(server: &Server) -> Self {
        let bytes = request("POST", INFER, &sample());
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        let mut stream = TcpStream::connect(&server.http).expect("accepted");
        stream.write_all(first).expect("written");
        eventually("the request in flight", || bytes_in_flight(server) > 0.0);
        Self {
            stream,
            rest: rest.to_vec(),
        }
    }

    /// Sends the rest, and returns the answer.
    fn finish(mut self) -> String {
        self.stream.write_all(&self.rest).expect("written");
        self.read()
    }

    fn read(&mut self) -> String {
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

fn bytes_in_flight(server: &Server) -> f64 {
    server.metric("ortus_bytes_in_flight").unwrap_or(0.0)
}

/// Settings with which a half-sent request holds the stop as long as a test takes.
const PATIENT: [&str; 5] = [
    "models.defaults.request_timeout=1h",
    "limits.read_timeout=1h",
    "server.drain=1h",
    "server.drain_bodies=30m",
    "server.drain_delay=300ms",
];

#[test]
fn a_request_in_flight_finishes_while_new_ones_are_refused() {
    let directory = Directory::with(&["digits"]);
    let mut server = Server::start(directory.path());
    let half = HalfSent::to(&server);

    server.terminate();
    eventually("new requests are refused", || {
        ask_anew(&server, "POST", INFER).status == 503
    });
    let answer = half.finish();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn answers_of_a_stopping_server_announce_the_close() {
    let arguments = ["server.drain_delay=10m", "server.drain_connections=serve"];
    let (mut server, _directory, open) = stopping(&crate::support::settings(&arguments));
    let mut open = open.into_inner();
    open.write_all(&request("POST", INFER, &sample()))
        .expect("written");

    // The read ends because the server closes the connection, long before the delay is over.
    open.set_read_timeout(Some(crate::support::TIMEOUT))
        .expect("set");
    let mut answer = String::new();
    open.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    server.terminate();
    assert_eq!(server.wait(), Some(0));
}
