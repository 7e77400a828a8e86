//! Limits of sizes, connections and memory, tested below, at and above each.

use super::{GOOD, INFER, canary};
use crate::support::{Directory, Server, eventually, http, settings};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn a_decompression_bomb_is_refused() {
    let directory = Directory::of_all_models();
    let limit = settings(&["limits.decompressed_bytes_max=16MiB"]);
    let server = Server::start_with(directory.path(), &limit);

    let zipped = |bytes: usize| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&vec![b' '; bytes]).expect("compressed");
        gzip.finish().expect("compressed")
    };
    for (bytes, status) in [(16 << 20, 400), ((16 << 20) + 1, 413)] {
        let headers = [("Content-Encoding", "gzip")];
        let answer = http(&server.http, "POST", INFER, &headers, &zipped(bytes));
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    canary(&server);
}

#[test]
fn messages_up_to_the_limit_are_answered_and_larger_ones_refused() {
    let directory = Directory::of_all_models();
    let mut body =
        br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,10],"data":[1,1,1,1,1,1,1,1,1,1]}]}"#.to_vec();
    // The lowest limit that the configuration allows; white space may follow JSON.
    body.resize(1025, b' ');
    let body = body.as_slice();

    for (max, status) in [
        (body.len() + 1, 200),
        (body.len(), 200),
        (body.len() - 1, 413),
    ] {
        let limit = format!("limits.message_bytes_max={max}");
        let server = Server::start_with(directory.path(), &settings(&[&limit]));
        let answer = server.post(INFER, body);
        assert_eq!(answer.status, status, "{max}: {}", answer.text());
    }
}

const LIVE: &[u8] = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn slow_headers_are_cut_off_and_an_idle_connection_is_not() {
    let directory = Directory::of_all_models();
    let limits = ["limits.header_timeout=1s", "limits.idle_timeout=60s"];
    let server = Server::start_with(directory.path(), &settings(&limits));
    let connect = || {
        let stream = TcpStream::connect(&server.http).expect("the server accepts");
        stream
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("set");
        stream
    };

    // The server's timer starts when it accepts the connection, which is later.
    let start = Instant::now();
    let (mut slow, mut idle) = (connect(), connect());
    let mut buffer = [0; 1024];
    idle.write_all(LIVE).expect("written");
    assert!(idle.read(&mut buffer).is_ok_and(|n| n > 0));

    // A byte each tenth of a second: the read's own time-out is the pace.
    let cut = loop {
        let written = slow.write_all(b"x");
        let read = slow.read(&mut buffer);
        if written.is_err() || read.is_ok_and(|n| n == 0) {
            break start.elapsed();
        }
        assert!(start.elapsed().as_secs() < 60, "never cut");
    };
    // This is about time: the limit must not cut earlier than it says.
    assert!(cut.as_millis() >= 1000, "{cut:?}");

    idle.write_all(LIVE).expect("written");
    assert!(
        idle.read(&mut buffer).is_ok_and(|n| n > 0),
        "the idle connection still answers"
    );
}

/// Sends on an open connection; tells whether an answer came.
fn answers(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .expect("set");
    stream.write_all(LIVE).is_ok() && stream.read(&mut [0; 512]).is_ok_and(|n| n > 0)
}

#[test]
fn connections_above_the_limit_are_closed_and_places_become_free() {
    let directory = Directory::of_all_models();
    let server = Server::start_with(directory.path(), &["--set", "limits.connections_max=2"]);
    let connect = || TcpStream::connect(&server.http).expect("the kernel accepts");
    let (mut one, mut two) = (connect(), connect());
    assert!(answers(&mut one) && answers(&mut two));
    assert!(!answers(&mut connect()), "a third is closed");
    assert!(answers(&mut one) && answers(&mut two));
    assert_eq!(server.metric("ortus_connections_refused_total"), Some(1.0));

    drop(one);
    eventually("room again", || answers(&mut connect()));
}

#[test]
fn bytes_in_flight_are_limited_and_released() {
    let directory = Directory::of_all_models();
    let limits = [
        "limits.message_bytes_max=1024",
        "limits.bytes_in_flight_max=1024",
    ];
    let server = Server::start_with(directory.path(), &settings(&limits));
    canary(&server);

    let mut half = TcpStream::connect(&server.http).expect("the server accepts");
    let head = format!("POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    half.write_all(&[head.as_bytes(), &[b' '; 990]].concat())
        .expect("written");
    eventually("the first in flight", || {
        server.metric("ortus_bytes_in_flight") == Some(990.0)
    });
    let answer = server.post(INFER, &[b' '; 100]);
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(
        answer.headers.get("retry-after").map(String::as_str),
        Some("1")
    );

    drop(half);
    eventually("the bytes given back", || {
        server.metric("ortus_bytes_in_flight") == Some(0.0)
    });
    canary(&server);
}

#[test]
fn headers_are_limited_below_and_above() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let status = |bytes: usize| {
        let value = "x".repeat(bytes);
        http(
            &server.http,
            "GET",
            "/v2/health/live",
            &[("X-Long", &value)],
            b"",
        )
        .status
    };
    assert_eq!(status(15 << 10), 200);
    assert_eq!(status(17 << 10), 431);
}

#[test]
fn a_bad_request_repeated_does_not_grow_the_process() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let deep = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1],"data":{}"#,
        "[".repeat(100_000)
    );
    let wide = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,10],"data":[{}]}}]}}"#,
        "1,".repeat(50_000) + "1"
    );
    let huge =
        r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[4611686018427387904,4],"data":[1]}]}"#
            .to_owned();
    for body in [deep, wide, huge] {
        let repeat = |times: usize| {
            for _ in 0..times {
                assert_eq!(server.post(INFER, body.as_bytes()).status, 400);
            }
            server
                .metric("process_resident_memory_bytes")
                .expect("a process metric")
        };
        // The allocator's own pools fill first.
        let before = repeat(100);
        let after = repeat(100);
        assert!(
            after - before <= f64::from(1 << 20),
            "{before} grew to {after}"
        );
    }
    canary(&server);
}

#[test]
fn the_deadline_of_the_model_does_not_count_a_slow_upload() {
    let directory = Directory::with(&["diabetes"]);
    let deadline = settings(&["models.defaults.request_timeout=2s"]);
    let server = Server::start_with(directory.path(), &deadline);
    let body = format!(r#"{{"inputs":[{{"name":"x",{GOOD}}}]}}"#);
    let (first, rest) = body.split_at(20);
    let mut stream = TcpStream::connect(&server.http).expect("the server accepts");
    let length = body.len();
    let head = format!(
        "POST {INFER} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{first}"
    );
    stream.write_all(head.as_bytes()).expect("sent");

    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2_500) {
        canary(&server);
    }
    stream.write_all(rest.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
