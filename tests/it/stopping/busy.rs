//! Clients that ask without a pause while the server stops.

use super::{HalfSent, PATIENT, ask};
use crate::support::optional::{or_not_run, python};
use crate::support::samples::raw_request;
use crate::support::{Directory, Server, eventually, models_folder, root, settings};
use ortus::proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use rustix::process::Signal;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tonic::Code;
use tonic::transport::Channel;

/// Sends one request after the other, on one connection as long as the server keeps it, until the
/// server refuses one. Returns how many answers announced the close of their connection, or what
/// became of a request without an answer.
fn ask_until_refused(address: &str, answers: &AtomicUsize) -> Result<usize, String> {
    let mut closed = 0;
    loop {
        let stream = TcpStream::connect(address).map_err(|e| format!("connect: {e}"))?;
        let mut connection = BufReader::new(stream);
        loop {
            let seen = ask(&mut connection).map_err(|e| format!("after {closed} closes: {e}"))?;
            closed += usize::from(seen.closes);
            match seen.status {
                200 => answers.fetch_add(1, Ordering::Relaxed),
                503 => return Ok(closed),
                other => return Err(format!("status {other}")),
            };
            if seen.closes {
                break;
            }
        }
    }
}

#[test]
fn clients_that_keep_their_connections_lose_nothing_while_the_server_stops() {
    for (signal, connections) in [(Signal::TERM, "serve"), (Signal::HUP, "refuse")] {
        let directory = Directory::with(&["digits"]);
        let connections = format!("server.drain_connections={connections}");
        let all = [PATIENT.as_slice(), &[&connections]].concat();
        let mut server = Server::start_with(directory.path(), &settings(&all));
        let (address, half) = (server.http.clone(), HalfSent::to(&server));
        let answers = AtomicUsize::new(0);

        let fates: Vec<Result<usize, String>> = std::thread::scope(|scope| {
            let client = || ask_until_refused(&address, &answers);
            let clients: Vec<_> = (0..8).map(|_| scope.spawn(client)).collect();
            eventually("busy clients", || answers.load(Ordering::Relaxed) > 100);
            server.send(signal);
            clients
                .into_iter()
                .map(|c| c.join().expect("ended"))
                .collect()
        });

        assert_eq!(fates.iter().find(|fate| fate.is_err()), None);
        // The last answer on the old connection, and the refusal on the new one.
        assert!(
            fates.iter().any(|fate| matches!(fate, Ok(2..))),
            "{fates:?}"
        );
        assert!(half.finish().starts_with("HTTP/1.1 200 "));
        assert_eq!(server.wait(), Some(0), "{connections}");
    }
}

/// Tells whether the client knows that no server began its call, because the connection ends. hyper
/// says so, instead of sending the call on the next connection: it gave the call up before it sent
/// it, or sent it when GOAWAY was on its way, which names the last stream that is answered.
fn was_not_begun(status: &tonic::Status) -> bool {
    let is_past_goaway =
        |e: &h2::Error| e.is_go_away() && e.is_remote() && e.reason() == Some(h2::Reason::NO_ERROR);
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(hyper::Error::is_canceled)
            || error.downcast_ref().is_some_and(is_past_goaway)
        {
            return true;
        }
        cause = error.source();
    }

    false
}

/// Calls until the server refuses a call, or loses one. Returns why.
async fn call_until_refused(
    mut client: GrpcInferenceServiceClient<Channel>,
    answers: Arc<AtomicUsize>,
) -> tonic::Status {
    loop {
        match client.model_infer(raw_request("digits")).await {
            Ok(_) => {
                answers.fetch_add(1, Ordering::Relaxed);
            }
            Err(status) if was_not_begun(&status) => {}
            Err(status) => return status,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_grpc_channel_loses_no_call_while_the_server_stops() {
    let directory = Directory::with(&["digits"]);
    let mut server = Server::start_with(directory.path(), &settings(&PATIENT));
    let half = HalfSent::to(&server);
    let (client, answers) = (server.grpc().await, Arc::<AtomicUsize>::default());
    let call = |_| tokio::spawn(call_until_refused(client.clone(), Arc::clone(&answers)));
    let clients: Vec<_> = (0..16).map(call).collect();
    eventually("busy clients", || answers.load(Ordering::Relaxed) > 200);

    server.terminate();
    for client in clients {
        let status = client.await.expect("ended");
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(
            status.message().contains("the server is stopping"),
            "{status:?}"
        );
    }
    assert!(half.finish().starts_with("HTTP/1.1 200 "));
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn python_clients_lose_nothing_while_the_server_stops() {
    let python = python("test-clients", "clients/requirements.txt");
    let Some(python) = or_not_run("Python with the clients", python) else {
        return;
    };
    let directory = Directory::with(&["digits"]);
    let mut server = Server::start_with(directory.path(), &settings(&PATIENT));
    let half = HalfSent::to(&server);
    let mut clients = Command::new(python)
        .arg(root().join("tests/clients/stop.py"))
        .args([&server.http, &server.grpc])
        .arg(models_folder().join("digits"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut said = BufReader::new(clients.stdout.take().expect("piped")).lines();
    let first = said.next().expect("a line").expect("text");
    assert_eq!(first, "busy");

    server.terminate();
    let fates: Vec<String> = said.map(|line| line.expect("text")).collect();
    assert!(clients.wait().expect("ended").success());
    assert_eq!(fates.len(), 12, "{fates:?}");
    for fate in fates {
        assert!(fate.contains("the server is stopping"), "{fate}");
    }
    assert!(half.finish().starts_with("HTTP/1.1 200 "));
    assert_eq!(server.wait(), Some(0));
}
