//! Misuse of HTTP/2: floods, resets and misplaced frames. It may end the connection, but
//! not the process or the requests of other clients.

use crate::support::{Directory, Server, settings};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The header block of a gRPC infer call, without dynamic table or Huffman.
fn call() -> Vec<u8> {
    call_of("/inference.GRPCInferenceService/ModelInfer", &[])
}

/// The header block of a gRPC call with more headers.
fn call_of(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    // :method POST, :scheme http, and literals for :path, content-type and te.
    let mut block = vec![0x83, 0x86, 0x04, path.len() as u8];
    block.extend_from_slice(path.as_bytes());
    let mut literal = |name: &[u8], value: &[u8]| {
        block.extend_from_slice(&[0, name.len() as u8]);
        block.extend_from_slice(name);
        block.push(value.len() as u8);
        block.extend_from_slice(value);
    };
    literal(b"content-type", b"application/grpc");
    literal(b"te", b"trailers");
    for (name, value) in more {
        literal(name.as_bytes(), value.as_bytes());
    }
    block
}

/// The payload of a ping whose answer shows that the server handled all frames before it.
const LAST: &[u8; 8] = b"the last";

/// Sends frames and a last ping on a new connection. Reads until the server answers the
/// ping or closes the connection.
fn misuse(server: &Server, frames: &[u8]) -> Vec<u8> {
    exchange(server, &[frames, &frame(PING, 0, 0, LAST)].concat())
}

/// Sends frames on a new connection, and reads until the server closes it or answers the
/// last ping, if there is one.
fn exchange(server: &Server, frames: &[u8]) -> Vec<u8> {
    let mut client = Client::open(server);
    client.send(frames.to_vec());
    client.read_until(answers_last_ping);
    client.answer
}

/// A connection, and what the server sent on it.
struct Client {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Client {
    fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.grpc).expect("the server accepts");
        for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
            set(&stream, Some(Duration::from_secs(60))).expect("set");
        }
        let mut client = Self {
            stream,
            answer: Vec::new(),
        };
        client.stream.write_all(PREFACE).expect("sent");
        let settings = frame(SETTINGS, 0, 0, &[]);
        client.stream.write_all(&settings).expect("sent");
        client
    }

    /// Sends on a thread of its own, so that the server's answers never block both sides. The
    /// server may close the connection at any point.
    fn send(&self, bytes: Vec<u8>) {
        let mut sender = self.stream.try_clone().expect("cloned");
        std::thread::spawn(move || sender.write_all(&bytes));
    }

    /// Reads until the answer is whole, or the server closes the connection.
    fn read_until(&mut self, is_whole: impl Fn(&[u8]) -> bool) {
        let mut part = [0; 64 << 10];
        while !is_whole(&self.answer) {
            match self.stream.read(&mut part) {
                Ok(0) => break,
                Ok(n) => self.answer.extend_from_slice(&part[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => panic!("no answer and no end"),
                Err(_) => break,
            }
        }
    }
}

fn answers_last_ping(answer: &[u8]) -> bool {
    frames(answer).any(|f| f[3] == PING && f[4] & 1 == 1 && &f[9..] == LAST)
}

/// The whole frames of an answer.
fn frames(mut answer: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length =
            u32::from_be_bytes([0, *answer.first()?, *answer.get(1)?, *answer.get(2)?]) as usize;
        let (frame, rest) = answer.split_at_checked(9 + length)?;
        answer = rest;
        Some(frame)
    })
}

/// The error codes of the GOAWAY frames in an answer.
fn goaways(answer: &[u8]) -> Vec<u32> {
    let goaway = |f: &&[u8]| f[3] == 7 && f.len() >= 17;
    frames(answer)
        .filter(goaway)
        .map(|f| u32::from_be_bytes([f[13], f[14], f[15], f[16]]))
        .collect()
}

/// The streams that a server reset, with the error codes.
fn resets(answer: &[u8]) -> Vec<(u32, u32)> {
    let number = |b: &[u8]| u32::from_be_bytes([b[0], b[1], b[2], b[3]]);
    frames(answer)
        .filter(|f| f[3] == RST_STREAM)
        .map(|f| (number(&f[5..9]), number(&f[9..13])))
        .collect()
}

fn canary(server: &Server) {
    let body = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,10],"data":[1,1,1,1,1,1,1,1,1,1]}]}"#;
    let answer = server.post("/v2/models/diabetes/infer", body);
    assert_eq!(answer.status, 200, "the canary: {}", answer.text());
}

fn stream_ids(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|i| 2 * i + 1)
}

#[test]
fn rapid_resets_end_the_connection_with_enhance_your_calm() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let cancel = 8_u32.to_be_bytes();
    let opened_and_reset = |id| {
        [
            frame(HEADERS, END_HEADERS, id, &call()),
            frame(RST_STREAM, 0, id, &cancel),
        ]
        .concat()
    };
    let flood: Vec<u8> = stream_ids(5000).flat_map(opened_and_reset).collect();
    let codes = goaways(&misuse(&server, &flood));
    assert!(
        codes.contains(&11),
        "GOAWAY codes {codes:?} lack ENHANCE_YOUR_CALM"
    );
    canary(&server);
}

fn opened(count: u32) -> Vec<u8> {
    stream_ids(count)
        .flat_map(|id| frame(HEADERS, END_HEADERS, id, &call()))
        .collect()
}

#[test]
fn streams_are_limited_at_and_above() {
    let directory = Directory::of_all_models();
    let server = Server::start_with(
        directory.path(),
        &["--set", "limits.concurrent_streams_max=3"],
    );
    assert_eq!(resets(&misuse(&server, &opened(3))), Vec::new());
    // REFUSED_STREAM: the client may send the request again.
    assert_eq!(resets(&misuse(&server, &opened(4))), [(7, 7)]);
    canary(&server);
}

#[test]
fn streams_that_this_side_resets_are_limited_at_and_above() {
    let directory = Directory::of_all_models();
    let limits = [
        "--set",
        "limits.concurrent_streams_max=1",
        "--set",
        "limits.local_error_reset_streams_max=5",
    ];
    let server = Server::start_with(directory.path(), &limits);
    assert_eq!(goaways(&misuse(&server, &opened(1 + 5))), Vec::<u32>::new());
    assert_eq!(goaways(&misuse(&server, &opened(1 + 7))), [11]);
    canary(&server);
}

/// A server that refuses requests while their bodies arrive resets their streams. What a client had sent by then is
/// no error of the client, however many they are.
#[test]
fn bodies_of_refused_requests_do_not_end_the_connection() {
    const REFUSED: u32 = 60;
    let directory = Directory::of_all_models();
    let limits = [
        "--set",
        "limits.local_error_reset_streams_max=5",
        "--set",
        "limits.refused_body_timeout=\"1ms\"",
    ];
    let server = Server::start_with(directory.path(), &limits);
    let late = call_of(
        "/inference.GRPCInferenceService/ModelInfer",
        &[("grpc-timeout", "1n")],
    );
    let opened = stream_ids(REFUSED).flat_map(|id| frame(HEADERS, END_HEADERS, id, &late));
    let mut client = Client::open(&server);
    client.send(opened.collect());
    client.read_until(|answer| resets(answer).len() == REFUSED as usize);
    let are_refused = resets(&client.answer).iter().all(|(_, code)| *code == 0);
    assert!(are_refused, "{:?}", resets(&client.answer));

    let data = stream_ids(REFUSED).flat_map(|id| frame(DATA, 0, id, &[0; 64]));
    let last = frame(PING, 0, 0, LAST);
    client.send(data.chain(last).collect());
    client.read_until(answers_last_ping);
    assert!(answers_last_ping(&client.answer));
    assert_eq!(goaways(&client.answer), Vec::<u32>::new());
    assert_eq!(resets(&client.answer).len(), REFUSED as usize);
}

#[test]
fn a_few_resets_are_allowed() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let cancel = 8_u32.to_be_bytes();
    let reset = |id| {
        [
            frame(HEADERS, END_HEADERS, id, &call()),
            frame(RST_STREAM, 0, id, &cancel),
        ]
        .concat()
    };
    assert_eq!(
        goaways(&misuse(
            &server,
            &stream_ids(10).flat_map(reset).collect::<Vec<u8>>()
        )),
        Vec::<u32>::new()
    );
}

#[test]
fn ten_thousand_streams_and_a_window_of_zero_do_not_affect_other_clients() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let before = server
        .metric("process_resident_memory_bytes")
        .expect("a metric");
    // SETTINGS_INITIAL_WINDOW_SIZE 0: the server may send no answer.
    let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    misuse(&server, &[no_window, opened(10_000)].concat());
    let after = server
        .metric("process_resident_memory_bytes")
        .expect("a metric");
    assert!(
        after - before < f64::from(16 << 20),
        "{before} grew to {after}"
    );
    canary(&server);
}

#[test]
fn endless_headers_are_refused() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let start = frame(HEADERS, 0, 1, &call());
    let more = frame(CONTINUATION, 0, 1, &[0x40; 1024]);
    // No ping: between the frames of one header block it would be an error by itself.
    let codes = goaways(&exchange(&server, &[start, more.repeat(2000)].concat()));
    assert!(
        !codes.is_empty(),
        "a flood of CONTINUATION frames is answered by GOAWAY"
    );
    canary(&server);
}

#[test]
fn floods_and_misplaced_frames_do_not_affect_other_clients() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let open = frame(HEADERS, END_HEADERS, 1, &call());
    let with_open = |rest: Vec<u8>| [open.clone(), rest].concat();
    let prefix = |length: u32| [&[0][..], &length.to_be_bytes()].concat();
    for (what, frames) in [
        ("pings", frame(PING, 0, 0, &[0; 8]).repeat(20_000)),
        ("settings", frame(SETTINGS, 0, 0, &[]).repeat(20_000)),
        (
            "empty data",
            with_open(frame(DATA, 0, 1, &[]).repeat(20_000)),
        ),
        (
            "a zero window update",
            with_open(frame(WINDOW_UPDATE, 0, 1, &[0; 4])),
        ),
        ("data on an idle stream", frame(DATA, 0, 7, &[0; 8])),
        (
            "a frame over the size limit",
            frame(DATA, 0, 1, &vec![0; 1 << 20]),
        ),
        (
            "more streams than allowed",
            stream_ids(1000)
                .flat_map(|id| frame(HEADERS, END_HEADERS, id, &call()))
                .collect(),
        ),
        (
            "a length prefix beyond the body",
            with_open(frame(DATA, 1, 1, &prefix(100))),
        ),
        (
            "a length prefix of 4 GiB",
            with_open(frame(DATA, 1, 1, &prefix(u32::MAX))),
        ),
        (
            "compressed without an encoding",
            with_open(frame(DATA, 1, 1, &[1, 0, 0, 0, 1, 0])),
        ),
        (
            "two messages",
            with_open(frame(DATA, 1, 1, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        ),
        ("no message", with_open(frame(DATA, 1, 1, &[]))),
        ("not HTTP/2 after all", b"\xff".repeat(1 << 16)),
    ] {
        misuse(&server, &frames);
        canary(&server);
        assert_eq!(server.get("/v2/health/live").status, 200, "after {what}");
    }
}

/// Opens calls that the server refuses before their bodies arrive.
fn refused_calls(server: &Server, headers: &[u8], count: usize) -> Client {
    let mut client = Client::open(server);
    client.send(on_streams(count, |id| {
        frame(HEADERS, END_HEADERS, id, headers)
    }));
    client.read_until(|answer| frames(answer).filter(|f| f[3] == HEADERS).count() == count);
    client
}

fn on_streams(count: usize, frames: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    stream_ids(count as u32).flat_map(frames).collect()
}

#[test]
fn bodies_that_arrive_after_a_refusal_are_no_errors_of_the_client() {
    const CALLS: usize = 600;
    let directory = Directory::of_all_models();
    let limits = |bytes_max| {
        settings(&[
            "limits.concurrent_streams_max=1000",
            "limits.refused_body_timeout=60s",
            bytes_max,
        ])
    };
    let late = call_of(
        "/inference.GRPCInferenceService/ModelInfer",
        &[("grpc-timeout", "1n")],
    );
    let unknown = call_of("/no.such.Service/Call", &[]);
    let last = || frame(PING, 0, 0, LAST);
    for headers in [late, unknown] {
        // The streams end by themselves, three frames later.
        let server = Server::start_with(
            directory.path(),
            &limits("limits.refused_body_bytes_max=1MiB"),
        );
        let mut client = refused_calls(&server, &headers, CALLS);
        let part = |end, id| frame(DATA, end, id, &[0; 2048]);
        let body = |id| [part(0, id), part(0, id), part(END_STREAM, id)].concat();
        client.send([on_streams(CALLS, body), last()].concat());
        client.read_until(answers_last_ping);
        assert_eq!(goaways(&client.answer), Vec::<u32>::new());
        assert_eq!(resets(&client.answer).len(), 0);

        // More is sent than is read.
        let server = Server::start_with(
            directory.path(),
            &limits("limits.refused_body_bytes_max=1000"),
        );
        let mut client = refused_calls(&server, &headers, CALLS);
        client.send(on_streams(CALLS, |id| part(0, id)));
        client.read_until(|answer| resets(answer).len() == CALLS);
        client.send([on_streams(CALLS, |id| part(END_STREAM, id)), last()].concat());
        client.read_until(answers_last_ping);
        assert_eq!(goaways(&client.answer), Vec::<u32>::new());
        canary(&server);
    }
}
