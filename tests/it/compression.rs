//! Requests and answers in gzip, over HTTP and gRPC.

use crate::support::samples::{raw_outputs, raw_request};
use crate::support::{Directory, Server, http, models_folder};

#[test]
fn gzip_bodies_are_read_and_answered_in_gzip() {
    use std::io::{Read, Write};
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let sample = std::fs::read(models_folder().join("digits/sample.json")).expect("a sample");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&sample).expect("compressed");

    let body = gzip.finish().expect("compressed");
    let headers = [("Content-Encoding", "gzip"), ("Accept-Encoding", "gzip")];
    let answer = http(
        &server.http,
        "POST",
        "/v2/models/digits/infer",
        &headers,
        &body,
    );
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut text = String::new();
    match answer.headers.get("content-encoding") {
        Some(_) => {
            flate2::read::GzDecoder::new(&*answer.body)
                .read_to_string(&mut text)
                .expect("gzip");
        }
        None => text = answer.text(),
    }
    assert!(text.contains("probabilities"));

    let metrics = http(
        &server.http,
        "GET",
        "/v2/models/stats",
        &[("Accept-Encoding", "gzip")],
        b"",
    );
    assert_eq!(
        metrics.headers.get("content-encoding").map(String::as_str),
        Some("gzip")
    );
}

#[tokio::test]
async fn grpc_answers_in_gzip_to_clients_that_ask_for_gzip() {
    use tonic::codec::CompressionEncoding::Gzip;
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let plain = server
        .grpc()
        .await
        .model_infer(raw_request("digits"))
        .await
        .expect("served");
    assert_eq!(plain.metadata().get("grpc-encoding"), None);
    let mut client = server
        .grpc()
        .await
        .send_compressed(Gzip)
        .accept_compressed(Gzip);
    let zipped = client
        .model_infer(raw_request("digits"))
        .await
        .expect("served");
    assert_eq!(
        zipped.metadata().get("grpc-encoding").expect("compressed"),
        "gzip"
    );
    assert_eq!(raw_outputs(zipped.get_ref()), raw_outputs(plain.get_ref()));
}

fn gzip(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(content).expect("compressed");
    gzip.finish().expect("compressed")
}

#[test]
fn sparse_data_and_several_members_are_read() {
    let directory = Directory::with(&["diabetes"]);
    let server = Server::start(directory.path());
    let post = |body: &[u8], encoding| {
        let path = "/v2/models/diabetes/infer";
        http(
            &server.http,
            "POST",
            path,
            &[("Content-Encoding", encoding)],
            body,
        )
    };

    let zeros = vec!["0.0"; 40 * 10].join(",");
    let white = " ".repeat(8 << 20);
    let sparse = format!(
        r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[40,10],"data":[{zeros}]}}]{white}}}"#
    );
    let zipped = gzip(sparse.as_bytes());
    assert!(sparse.len() / zipped.len() > 500);
    let answer = post(&zipped, "gzip");
    assert_eq!(answer.status, 200, "{}", answer.text());

    let (first, second) = sparse.as_bytes().split_at(60);
    let members = [gzip(first), gzip(second)].concat();
    assert_eq!(post(&members, "gzip").status, 200);

    let answer = post(b"x", "br");
    assert_eq!(answer.status, 415, "{}", answer.text());
    assert_eq!(
        answer.header("accept-encoding"),
        Some("gzip, deflate, identity")
    );
}
