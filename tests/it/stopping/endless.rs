//! Requests, answers and clients that do not come to an end by themselves while the server stops.

use super::{HalfSent, INFER, PATIENT, ask, ask_anew, bytes_in_flight};
use crate::starting::{slow_to_load, states};
use crate::support::samples::raw_request;
use crate::support::{Directory, Server, eventually, settings};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// A body of HTTP/2 whose rest is sent when the test says so.
struct InParts {
    first: Option<Bytes>,
    rest: tokio::sync::oneshot::Receiver<Bytes>,
    is_sent: bool,
}

impl http_body::Body for InParts {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.is_sent {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.rest).poll(cx).map(|rest| {
            self.is_sent = true;
            rest.ok().map(|rest| Ok(Frame::data(rest)))
        })
    }
}

/// A call over HTTP/2 of which half was sent.
struct HalfCalled {
    rest: (tokio::sync::oneshot::Sender<Bytes>, Bytes),
    /// The code of the answer, and the end of the connection.
    answered: tokio::task::JoinHandle<(String, hyper::Result<()>)>,
}

impl HalfCalled {
    async fn to(server: &Server) -> Self {
        let message = raw_request("digits").encode_to_vec();
        let length = u32::try_from(message.len()).expect("short").to_be_bytes();
        let mut first = Bytes::from([&[0], length.as_slice(), &message].concat());
        let rest = first.split_off(first.len() / 2);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let body = InParts {
            first: Some(first),
            rest: receiver,
            is_sent: false,
        };
        let call = hyper::Request::post("http://a/inference.GRPCInferenceService/ModelInfer")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(body)
            .expect("a request");

        let stream = tokio::net::TcpStream::connect(&server.grpc)
            .await
            .expect("accepted");
        let io = (TokioExecutor::new(), TokioIo::new(stream));
        let (mut client, connection) = hyper::client::conn::http2::handshake(io.0, io.1)
            .await
            .expect("HTTP/2");
        let connection = tokio::spawn(connection);
        let answered = tokio::spawn(async move {
            let answer = client.send_request(call).await.expect("an answer");
            (grpc_code(answer).await, connection.await.expect("ended"))
        });
        eventually("the call in flight", || bytes_in_flight(server) > 0.0);
        Self {
            rest: (sender, rest),
            answered,
        }
    }
}

/// The code of an answer over gRPC, which comes in its headers or at its end.
async fn grpc_code(answer: hyper::Response<hyper::body::Incoming>) -> String {
    let (head, body) = answer.into_parts();
    let end = body.collect().await.expect("a whole answer");
    let code = head.headers.get("grpc-status").cloned();
    let code = code.or_else(|| end.trailers()?.get("grpc-status").cloned());
    code.expect("a code").to_str().expect("text").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_in_flight_finishes_and_its_connection_ends_without_a_reset() {
    let directory = Directory::with(&["digits"]);
    let mut server = Server::start_with(directory.path(), &settings(&PATIENT));
    let call = HalfCalled::to(&server).await;
    server.terminate();
    eventually("new requests are refused", || {
        ask_anew(&server, "POST", INFER).status == 503
    });

    let (sender, rest) = call.rest;
    sender.send(rest).expect("the call waits");
    let (code, end) = call.answered.await.expect("answered");
    assert_eq!(code, "0");
    end.expect("the connection ends in order");
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_never_end_are_refused_and_cost_no_exit_code() {
    let directory = Directory::with(&["digits"]);
    let all = [
        "server.drain_bodies=100ms",
        "limits.refused_body_timeout=10m",
    ];
    let mut server = Server::start_with(directory.path(), &settings(&all));
    let mut half = HalfSent::to(&server);
    let call = HalfCalled::to(&server).await;
    let open = |head: &str| {
        let mut stream = TcpStream::connect(&server.http).expect("accepted");
        let bytes = format!("POST {head}\r\n\r\n5\r\n{{\"inp");
        stream.write_all(bytes.as_bytes()).expect("written");
        HalfSent {
            stream,
            rest: Vec::new(),
        }
    };
    let mut chunks = open(&format!(
        "{INFER} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked"
    ));
    // Refused before the body is read, and the answer waits for the rest of the body.
    let mut unknown = open("/v2/models/nobody/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 9000");
    eventually("the refusal", || {
        let refused = "ortus_rejected_total";
        server.metric(refused).is_some_and(|count| count > 0.0)
    });

    server.terminate();
    for one in [&mut half, &mut chunks] {
        let answer = one.read().to_lowercase();
        assert!(answer.starts_with("http/1.1 503 "), "{answer}");
        assert!(answer.contains("retry-after: 1"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(
            answer.contains("did not arrive before the server stopped"),
            "{answer}"
        );
    }
    let answer = unknown.read();
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    let (code, end) = call.answered.await.expect("answered");
    assert_eq!(code, "14", "UNAVAILABLE");
    end.expect("the connection ends in order");
    drop((half, chunks, unknown));
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_never_end_are_ended() {
    let directory = Directory::with(&["digits"]);
    let mut server = Server::start(directory.path());
    let mut health = HealthClient::new(server.channel().await);
    let watch = health.watch(HealthCheckRequest::default()).await;
    let mut watch = watch.expect("answered").into_inner();
    // The service learns a moment later than the ready line is printed that the server is ready.
    let mut last = ServingStatus::NotServing;
    while last != ServingStatus::Serving {
        let next = watch.message().await.expect("a message");
        last = next.expect("a status").status();
    }

    server.terminate();
    while let Some(next) = watch.message().await.expect("no reset") {
        last = next.status();
    }
    assert_eq!(last, ServingStatus::NotServing);
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn a_call_that_waits_for_a_load_is_answered_when_the_load_is_abandoned() {
    let directory = Directory::empty();
    directory.put("slow", 1, &slow_to_load());
    let mut server = Server::start_with(directory.path(), &["--model-control", "explicit"]);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| server.post("/v2/repository/models/slow/load", b"{}"));
        eventually("the load", || {
            states(&server.http).contains(&("slow".to_owned(), "LOADING".to_owned()))
        });
        server.terminate();
        let answer = load.join().expect("answered");
        assert_eq!(answer.status, 503, "{}", answer.text());
    });
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn a_client_of_http2_that_reads_only_while_it_waits_does_not_hold_the_stop() {
    let directory = Directory::with(&["digits"]);
    let mut server = Server::start(directory.path());
    let mut client = server.grpc().await;
    client
        .model_infer(raw_request("digits"))
        .await
        .expect("answered");

    // This blocks the only thread of the client.
    server.terminate();
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn connections_without_a_request_are_no_loss() {
    let directory = Directory::with(&["digits"]);
    let mut server = Server::start_with(directory.path(), &["--set", "server.drain=0s"]);
    let mut idle = BufReader::new(TcpStream::connect(&server.http).expect("accepted"));
    assert_eq!(ask(&mut idle).expect("an answer").status, 200);
    let silent = TcpStream::connect(&server.http).expect("accepted");
    let mut slow = TcpStream::connect(&server.http).expect("accepted");
    slow.write_all(b"POST /v2/models/digits/infer HTTP/1.1\r\nHo")
        .expect("written");
    eventually("the connections", || {
        let open = server.metric("ortus_connections");
        open.is_some_and(|open| open >= 3.0)
    });

    server.terminate();
    assert_eq!(server.wait(), Some(0));
    drop((idle, silent, slow));
}
