//! Bad requests get a typed answer of the 4xx or INVALID_ARGUMENT family that
//! names the field, the process goes on, and a canary beside them is unharmed.

use crate::support::{Answer, Directory, Server, http, raw};
use ortus::proto::inference as oip;
use tonic::Code;

const INFER: &str = "/v2/models/diabetes/infer";

fn canary(server: &Server) {
    let body = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,10],"data":[1,1,1,1,1,1,1,1,1,1]}]}"#;
    let answer = server.post(INFER, body);
    assert_eq!(answer.status, 200, "the canary: {}", answer.text());
}

fn refused(what: &str, answer: &Answer, part: &str) {
    assert!(
        (400..500).contains(&answer.status) || answer.status == 501,
        "{what}: {} {}",
        answer.status,
        answer.text()
    );
    let error = answer.json()["error"]
        .as_str()
        .unwrap_or_else(|| panic!("{what}: no error"))
        .to_owned();
    assert!(error.len() <= 1024, "{what}");
    assert!(
        error.contains(part),
        "{what}: {error:?} does not say {part:?}"
    );
}

#[test]
fn json_bodies() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let one = |fields: &str| format!(r#"{{"inputs":[{{"name":"x",{fields}}}]}}"#);
    let good = r#""datatype":"FP32","shape":[1,10],"data":[1,1,1,1,1,1,1,1,1,1]"#;
    let deep = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,10],"data":{}{}}}]}}"#,
        "[".repeat(250_000),
        "]".repeat(250_000)
    );
    let cases: Vec<(&str, String, &str)> = vec![
        ("empty", String::new(), ""),
        ("array", "[]".into(), ""),
        ("number", "0".into(), ""),
        ("no inputs", r#"{"inputs":[]}"#.into(), "'x' is missing"),
        ("trailing garbage", one(good) + "x", ""),
        ("depth", deep, ""),
        (
            "duplicate key",
            one(&format!(r#""datatype":"FP32",{good}"#)),
            "",
        ),
        (
            "1e400",
            one(r#""datatype":"FP32","shape":[1,1],"data":[1e400]"#),
            "",
        ),
        (
            "NaN",
            one(r#""datatype":"FP32","shape":[1,1],"data":[NaN]"#),
            "",
        ),
        (
            "string for number",
            one(r#""datatype":"FP32","shape":[1,1],"data":["1"]"#),
            "x",
        ),
        (
            "overflow",
            one(r#""datatype":"UINT8","shape":[1],"data":[300]"#),
            "x",
        ),
        (
            "fraction",
            one(r#""datatype":"INT32","shape":[1],"data":[1.5]"#),
            "x",
        ),
        (
            "ragged",
            one(r#""datatype":"FP32","shape":[2,2],"data":[[1,2],[3]]"#),
            "x",
        ),
        (
            "count",
            one(r#""datatype":"FP32","shape":[1,10],"data":[1]"#),
            "x",
        ),
        (
            "dtype",
            one(r#""datatype":"FP33","shape":[1,10],"data":[1]"#),
            "FP33",
        ),
        (
            "wrong dtype",
            one(r#""datatype":"INT32","shape":[1,1],"data":[1]"#),
            "the model takes FP32",
        ),
        (
            "negative",
            one(r#""datatype":"FP32","shape":[-1,10],"data":[1]"#),
            "negative",
        ),
        (
            "shape overflow",
            one(r#""datatype":"FP32","shape":[4611686018427387904,4],"data":[1]"#),
            "overflow",
        ),
        (
            "rank",
            one(r#""datatype":"FP32","shape":[1,1,10],"data":[1,1,1,1,1,1,1,1,1,1]"#),
            "has shape",
        ),
        (
            "unknown input",
            one(good).replace("\"x\"", "\"q\""),
            "'q' is unknown",
        ),
        (
            "twice",
            format!(r#"{{"inputs":[{{"name":"x",{good}}},{{"name":"x",{good}}}]}}"#),
            "twice",
        ),
        (
            "unknown output",
            format!(r#"{{"inputs":[{{"name":"x",{good}}}],"outputs":[{{"name":"z"}}]}}"#),
            "'z' is unknown",
        ),
        (
            "over batch_rows_max",
            format!(
                r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[65,10],"data":{:?}}}]}}"#,
                vec![0; 650]
            ),
            "has 65 rows",
        ),
        (
            "long id",
            format!(
                r#"{{"id":"{}","inputs":[{{"name":"x",{good}}}]}}"#,
                "i".repeat(300)
            ),
            "id is over",
        ),
    ];
    for (what, body, part) in cases {
        refused(what, &server.post(INFER, body.as_bytes()), part);
        canary(&server);
    }
    assert!(
        server
            .metric("ortus_rejected_total{protocol=\"oip_rest\",reason=\"invalid_argument\"")
            .is_some_and(|n| n >= 20.0)
    );
}

#[test]
fn addresses_and_headers() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    for (path, status) in [
        ("/v2/models/absent/infer", 404),
        ("/v2/models/../infer", 400),
        ("/v2/models/%2e%2e/infer", 400),
        ("/v2/models/a%5Cb/infer", 400),
        ("/v2/models//infer", 400),
        ("/v2/models/diabetes/versions/0/infer", 400),
        ("/v2/models/diabetes/versions/-1/infer", 400),
        ("/v2/models/diabetes/versions/01/infer", 400),
        (
            "/v2/models/diabetes/versions/18446744073709551616/infer",
            400,
        ),
        ("/v2/models/diabetes/versions/9/infer", 404),
        ("/v1/nonsense", 400),
    ] {
        let answer = server.post(path, b"{}");
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    let long = format!("/v2/models/{}/infer", "n".repeat(300));
    assert_eq!(server.post(&long, b"{}").status, 400);
    assert_eq!(server.get(INFER).status, 405);
    for length in ["-1", "x", "99999999", ""] {
        let answer = http(
            &server.http,
            "POST",
            INFER,
            &[("Inference-Header-Content-Length", length)],
            b"{}",
        );
        refused("length header", &answer, "");
    }
    for (encoding, status) in [("br", 501), ("gzip", 400)] {
        assert_eq!(
            http(
                &server.http,
                "POST",
                INFER,
                &[("Content-Encoding", encoding)],
                b"{}"
            )
            .status,
            status
        );
    }
    for timeout in ["0", "x", "-5"] {
        assert_eq!(
            http(
                &server.http,
                "POST",
                INFER,
                &[("ortus-timeout-ms", timeout)],
                b"{}"
            )
            .status,
            400
        );
    }
    canary(&server);
}

#[test]
fn broken_http() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let huge = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    for (what, bytes) in [
        ("no host", b"GET /v2 HTTP/1.1\r\nConnection: close\r\n\r\n".to_vec()),
        ("two lengths", b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx".to_vec()),
        ("negative length", b"POST /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".to_vec()),
        (
            "huge length",
            format!("POST {INFER} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 99999999999\r\n\r\n")
                .into_bytes(),
        ),
        ("huge header", huge.into_bytes()),
        ("garbage", b"\x00\x01\x02\x03\r\n\r\n".to_vec()),
    ] {
        // hyper answers what it cannot parse itself, or closes.
        if let Some(answer) = raw(&server.http, &bytes) {
            assert!((400..500).contains(&answer.status), "{what}: {}", answer.status);
        }
        canary(&server);
    }
}

#[test]
fn a_decompression_bomb_is_refused() {
    use std::io::Write;
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&vec![b' '; 32 << 20]).expect("compressed");
    let bomb = gzip.finish().expect("compressed");
    let answer = http(
        &server.http,
        "POST",
        INFER,
        &[("Content-Encoding", "gzip")],
        &bomb,
    );
    assert_eq!(answer.status, 413, "{}", answer.text());
    canary(&server);
}

#[test]
fn messages_are_limited_at_and_above() {
    let directory = Directory::of_all_models();
    let mut body =
        br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,10],"data":[1,1,1,1,1,1,1,1,1,1]}]}"#.to_vec();
    // The least limit there is; white space may follow JSON.
    body.resize(1025, b' ');
    let body = body.as_slice();
    let limit = |n: usize| vec!["--set".to_owned(), format!("limits.message_bytes_max={n}")];
    for (max, status) in [
        (body.len() + 1, 200),
        (body.len(), 200),
        (body.len() - 1, 413),
    ] {
        let arguments = limit(max);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let server = Server::start_with(directory.path(), &arguments);
        let answer = server.post(INFER, body);
        assert_eq!(answer.status, status, "{max}: {}", answer.text());
    }
}

fn grpc_request(datatype: &str, shape: &[i64], raw: &[u8]) -> oip::ModelInferRequest {
    oip::ModelInferRequest {
        model_name: "diabetes".to_owned(),
        inputs: vec![oip::model_infer_request::InferInputTensor {
            name: "x".to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
            ..Default::default()
        }],
        raw_input_contents: vec![raw.to_vec().into()],
        ..Default::default()
    }
}

#[tokio::test]
async fn grpc_messages() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let mut client = server.grpc().await;
    let mut check = async |what: &str, request: oip::ModelInferRequest, code: Code, part: &str| {
        let status = client.model_infer(request).await.expect_err(what);
        assert_eq!(status.code(), code, "{what}: {status:?}");
        assert!(
            status.message().contains(part) && status.message().len() <= 1024,
            "{what}: {}",
            status.message()
        );
    };
    let good = || grpc_request("FP32", &[1, 10], &[0; 40]);
    check(
        "short",
        grpc_request("FP32", &[1, 10], &[0; 39]),
        Code::InvalidArgument,
        "input 'x'",
    )
    .await;
    check(
        "dtype",
        grpc_request("INT32", &[1, 10], &[0; 40]),
        Code::InvalidArgument,
        "the model takes FP32",
    )
    .await;
    check(
        "rank",
        grpc_request("FP32", &[10], &[0; 40]),
        Code::InvalidArgument,
        "has shape",
    )
    .await;
    check(
        "overflow",
        grpc_request("FP32", &[i64::MAX, 4], &[0; 40]),
        Code::InvalidArgument,
        "overflows",
    )
    .await;
    check(
        "missing",
        oip::ModelInferRequest {
            model_name: "diabetes".into(),
            ..Default::default()
        },
        Code::InvalidArgument,
        "is missing",
    )
    .await;
    check(
        "unknown model",
        oip::ModelInferRequest {
            model_name: "absent".into(),
            ..good()
        },
        Code::NotFound,
        "absent",
    )
    .await;
    check(
        "unknown version",
        oip::ModelInferRequest {
            model_version: "7".into(),
            ..good()
        },
        Code::NotFound,
        "version 7",
    )
    .await;
    check(
        "bad version",
        oip::ModelInferRequest {
            model_version: "-1".into(),
            ..good()
        },
        Code::InvalidArgument,
        "version",
    )
    .await;
    check(
        "unknown alias",
        oip::ModelInferRequest {
            model_version: "challenger".into(),
            ..good()
        },
        Code::NotFound,
        "no version 'challenger'",
    )
    .await;
    check(
        "both forms",
        {
            let mut both = good();
            both.inputs[0].contents = Some(oip::InferTensorContents {
                fp32_contents: vec![0.0; 10],
                ..Default::default()
            });
            both
        },
        Code::InvalidArgument,
        "both",
    )
    .await;
    canary(&server);
}

#[tokio::test]
async fn a_deadline_that_cannot_be_met_is_told_so() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let mut client = server.grpc().await;
    let mut request = grpc_request("FP32", &[1, 10], &[0; 40]);
    let one = oip::infer_parameter::ParameterChoice::Int64Param(1);
    request.parameters.insert(
        "timeout".to_owned(),
        oip::InferParameter {
            parameter_choice: Some(one),
        },
    );
    let status = client.model_infer(request).await.expect_err("too late");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let body = br#"{"parameters":{"timeout":1},"inputs":[{"name":"x","datatype":"FP32","shape":[1,10],"data":[1,1,1,1,1,1,1,1,1,1]}]}"#;
    assert_eq!(server.post(INFER, body).status, 504);
    canary(&server);
}

#[test]
fn headers_that_trickle_are_cut_and_an_idle_connection_is_not() {
    use std::io::{Read, Write};
    let directory = Directory::of_all_models();
    let arguments = [
        "--set",
        "limits.header_timeout=1s",
        "--set",
        "limits.idle_timeout=60s",
    ];
    let server = Server::start_with(directory.path(), &arguments);
    let connect = || {
        let stream = std::net::TcpStream::connect(&server.http).expect("the server accepts");
        stream
            .set_read_timeout(Some(std::time::Duration::from_millis(100)))
            .expect("set");
        stream
    };
    let (mut slow, mut idle) = (connect(), connect());
    let ask = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut buffer = [0; 1024];
    idle.write_all(ask).expect("written");
    assert!(idle.read(&mut buffer).is_ok_and(|n| n > 0));
    let start = std::time::Instant::now();
    // A byte each tenth of a second, for ever: the read's own timeout is the pace.
    let cut = loop {
        let written = slow.write_all(b"x");
        let read = slow.read(&mut buffer);
        if written.is_err() || read.is_ok_and(|n| n == 0) {
            break start.elapsed();
        }
        assert!(start.elapsed().as_secs() < 20, "never cut");
    };
    assert!(cut.as_millis() >= 1000, "{cut:?}");
    idle.write_all(ask).expect("written");
    assert!(
        idle.read(&mut buffer).is_ok_and(|n| n > 0),
        "the idle connection still answers"
    );
}

const LIVE: &[u8] = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends on an open connection; tells whether an answer came.
fn answers(stream: &mut std::net::TcpStream) -> bool {
    use std::io::{Read, Write};
    stream
        .set_read_timeout(Some(std::time::Duration::from_secs(10)))
        .expect("set");
    stream.write_all(LIVE).is_ok() && stream.read(&mut [0; 512]).is_ok_and(|n| n > 0)
}

#[test]
fn connections_are_limited_at_and_above_and_come_back() {
    let directory = Directory::of_all_models();
    let server = Server::start_with(directory.path(), &["--set", "limits.connections_max=2"]);
    let connect = || std::net::TcpStream::connect(&server.http).expect("the kernel accepts");
    let (mut one, mut two) = (connect(), connect());
    assert!(answers(&mut one) && answers(&mut two));
    assert!(!answers(&mut connect()), "a third is closed");
    assert!(answers(&mut one) && answers(&mut two));
    assert_eq!(server.metric("ortus_connections_refused_total"), Some(1.0));
    drop(one);
    crate::support::eventually("room again", || answers(&mut connect()));
}

#[test]
fn bytes_in_flight_are_limited_and_given_back() {
    use std::io::Write;
    let directory = Directory::of_all_models();
    let arguments = [
        "--set",
        "limits.message_bytes_max=1024",
        "--set",
        "limits.bytes_in_flight_max=1024",
    ];
    let server = Server::start_with(directory.path(), &arguments);
    canary(&server);
    let mut half = std::net::TcpStream::connect(&server.http).expect("the server accepts");
    let head = format!("POST {INFER} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n");
    half.write_all(&[head.as_bytes(), &[b' '; 990]].concat())
        .expect("written");
    crate::support::eventually("the first in flight", || {
        server.metric("ortus_bytes_in_flight") == Some(990.0)
    });
    let answer = server.post(INFER, &[b' '; 100]);
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(
        answer.headers.get("retry-after").map(String::as_str),
        Some("1")
    );
    drop(half);
    crate::support::eventually("the bytes given back", || {
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
