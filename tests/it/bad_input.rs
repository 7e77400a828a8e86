//! Bad requests get an answer of the 4xx or INVALID_ARGUMENT family that names the
//! field; the process goes on, and good requests are still answered.

mod grpc;
mod limits;

use crate::support::{Answer, Directory, Server, http, raw};

const INFER: &str = "/v2/models/diabetes/infer";

/// A good request, which the server must answer after each bad one.
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

type JsonCase = (&'static str, String, &'static str);

/// A good tensor's fields besides its name.
const GOOD: &str = r#""datatype":"FP32","shape":[1,10],"data":[1,1,1,1,1,1,1,1,1,1]"#;

/// A request with one input of these fields.
fn one_input(fields: &str) -> String {
    format!(r#"{{"inputs":[{{"name":"x",{fields}}}]}}"#)
}

#[test]
fn json_bodies_that_are_wrong_are_refused_and_the_field_is_named() {
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let cases = [
        malformed_bodies(),
        wrong_values(),
        wrong_inputs_and_outputs(),
    ]
    .concat();
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

/// Bodies that are not JSON, or not the JSON of a request.
fn malformed_bodies() -> Vec<JsonCase> {
    let deep = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,10],"data":{}{}}}]}}"#,
        "[".repeat(250_000),
        "]".repeat(250_000)
    );
    vec![
        ("empty", String::new(), ""),
        ("array", "[]".into(), ""),
        ("number", "0".into(), ""),
        ("no inputs", r#"{"inputs":[]}"#.into(), "'x' is missing"),
        ("trailing garbage", one_input(GOOD) + "x", ""),
        ("depth", deep, ""),
        (
            "duplicate key",
            one_input(&format!(r#""datatype":"FP32",{GOOD}"#)),
            "",
        ),
        (
            "1e400",
            one_input(r#""datatype":"FP32","shape":[1,1],"data":[1e400]"#),
            "",
        ),
        (
            "NaN",
            one_input(r#""datatype":"FP32","shape":[1,1],"data":[NaN]"#),
            "",
        ),
    ]
}

/// Elements that do not fit their datatype or shape.
fn wrong_values() -> Vec<JsonCase> {
    vec![
        (
            "string for number",
            one_input(r#""datatype":"FP32","shape":[1,1],"data":["1"]"#),
            "x",
        ),
        (
            "overflow",
            one_input(r#""datatype":"UINT8","shape":[1],"data":[300]"#),
            "x",
        ),
        (
            "fraction",
            one_input(r#""datatype":"INT32","shape":[1],"data":[1.5]"#),
            "x",
        ),
        (
            "ragged",
            one_input(r#""datatype":"FP32","shape":[2,2],"data":[[1,2],[3]]"#),
            "x",
        ),
        (
            "count",
            one_input(r#""datatype":"FP32","shape":[1,10],"data":[1]"#),
            "x",
        ),
        (
            "dtype",
            one_input(r#""datatype":"FP33","shape":[1,10],"data":[1]"#),
            "FP33",
        ),
        (
            "wrong dtype",
            one_input(r#""datatype":"INT32","shape":[1,1],"data":[1]"#),
            "the model takes FP32",
        ),
        (
            "negative",
            one_input(r#""datatype":"FP32","shape":[-1,10],"data":[1]"#),
            "negative",
        ),
        (
            "shape overflow",
            one_input(r#""datatype":"FP32","shape":[4611686018427387904,4],"data":[1]"#),
            "overflow",
        ),
    ]
}

/// Inputs and outputs that are not those of the model.
fn wrong_inputs_and_outputs() -> Vec<JsonCase> {
    vec![
        (
            "rank",
            one_input(r#""datatype":"FP32","shape":[1,1,10],"data":[1,1,1,1,1,1,1,1,1,1]"#),
            "has shape",
        ),
        (
            "unknown input",
            one_input(GOOD).replace("\"x\"", "\"q\""),
            "'q' is unknown",
        ),
        (
            "twice",
            format!(r#"{{"inputs":[{{"name":"x",{GOOD}}},{{"name":"x",{GOOD}}}]}}"#),
            "twice",
        ),
        (
            "unknown output",
            format!(r#"{{"inputs":[{{"name":"x",{GOOD}}}],"outputs":[{{"name":"z"}}]}}"#),
            "'z' is unknown",
        ),
        (
            "over all batches of a request",
            format!(
                r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[262145,10],"data":{:?}}}]}}"#,
                vec![0; 2_621_450]
            ),
            "has 262145 rows",
        ),
        (
            "long id",
            format!(
                r#"{{"id":"{}","inputs":[{{"name":"x",{GOOD}}}]}}"#,
                "i".repeat(300)
            ),
            "id is over",
        ),
    ]
}

#[test]
fn invalid_addresses_and_headers_are_refused() {
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
    for (encoding, status) in [("br", 415), ("gzip", 400)] {
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
fn malformed_http_is_refused_or_the_connection_closed() {
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
