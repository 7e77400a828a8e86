//! An answer that the client's protocol cannot express is counted as one refused request,
//! and not as served as well.

use crate::support::{Directory, Server};
use ortus::testing::graphs;

/// Sends a request whose answer cannot be written; checks the counters.
fn check(protocol: &str, path: &str, body: &str, output: &str) {
    let directory = Directory::empty();
    directory.put("unwritable", 1, &graphs::unwritable());
    let server = Server::start(directory.path());

    let answer = server.post(path, body.as_bytes());
    assert_eq!(answer.status, 400, "{protocol}: {}", answer.text());
    assert!(answer.text().contains(output), "{}", answer.text());

    let requests = |outcome: &str| {
        server.metric(&format!(
            "ortus_requests_total{{model=\"unwritable\",outcome=\"{outcome}\",protocol=\"{protocol}\""
        ))
    };
    assert_eq!(requests("invalid_argument"), Some(1.0), "{protocol}");
    assert_eq!(requests("ok").unwrap_or(0.0), 0.0, "{protocol}");

    let rejected = server.metric(&format!(
        "ortus_rejected_total{{protocol=\"{protocol}\",reason=\"invalid_argument\""
    ));
    assert_eq!(rejected, Some(1.0), "{protocol}");
}

#[test]
fn an_open_inference_answer_that_cannot_be_written_counts_once() {
    check(
        "oip_rest",
        "/v2/models/unwritable/infer",
        r#"{"inputs":[{"name":"x","datatype":"INT64","shape":[2],"data":[0,1]}]}"#,
        "output 'half'",
    );
}

#[test]
fn a_tensorflow_serving_answer_that_cannot_be_written_counts_once() {
    check(
        "tfs_rest",
        "/v1/models/unwritable:predict",
        r#"{"instances":[0,1]}"#,
        "output 'number'",
    );
}
