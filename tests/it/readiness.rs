//! Readiness, on every surface: what it says at the start, through swaps, and of one model.

use crate::support::{Directory, Server, eventually, http, model_file, settings};
use ortus::proto::inference as oip;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

/// What every surface says, in the order V2 REST, ops, gRPC, gRPC health.
async fn surfaces(server: &Server) -> [bool; 4] {
    let rest = server.get("/v2/health/ready");
    assert_eq!(rest.json()["ready"], rest.status == 200, "{}", rest.text());
    let ops = http(&server.ops, "GET", "/readyz", &[], b"").status;
    let mut client = server.grpc().await;
    let ready = client.server_ready(oip::ServerReadyRequest {}).await;

    [
        rest.status == 200,
        ops == 200,
        ready.expect("answered").into_inner().ready,
        is_healthy(server).await,
    ]
}

async fn is_healthy(server: &Server) -> bool {
    let mut health = HealthClient::new(server.channel().await);
    let mut all = Vec::new();
    for service in ["", "inference.GRPCInferenceService"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.expect("answered").into_inner();
        all.push(answer.status == ServingStatus::Serving as i32);
    }
    assert_eq!(all[0], all[1], "the server and its service");
    all[0]
}

/// What is said of one model, over REST and gRPC.
async fn model(server: &Server, name: &str) -> [bool; 2] {
    let rest = server.get(&format!("/v2/models/{name}/ready")).status;
    let request = oip::ModelReadyRequest {
        name: name.to_owned(),
        version: String::new(),
    };
    let ready = server.grpc().await.model_ready(request).await;
    [rest == 200, ready.expect("answered").into_inner().ready]
}

fn is_listed(server: &Server, name: &str, state: &str) -> bool {
    let index = server.post("/v2/repository/index", b"").json();
    let all = index.as_array().expect("a list").iter();
    all.clone()
        .any(|one| one["name"] == name && one["state"] == state)
}

#[tokio::test]
async fn a_server_whose_only_model_is_refused_is_not_ready_until_it_serves() {
    let directory = Directory::empty();
    directory.put("digits", 1, b"no model");
    let server = Server::start(directory.path());
    assert_eq!(surfaces(&server).await, [false; 4]);
    assert_eq!(model(&server, "digits").await, [false; 2]);
    assert!(server.log().contains("not ready"), "{}", server.log());
    assert_eq!(server.get("/v2/health/live").status, 200);

    directory.put("digits", 2, &model_file("digits", "1"));
    eventually("ready", || server.get("/v2/health/ready").status == 200);
    assert_eq!(surfaces(&server).await, [true; 4]);
    assert_eq!(model(&server, "digits").await, [true; 2]);
}

#[tokio::test]
async fn one_refused_model_of_the_start_keeps_a_server_not_ready_unless_that_is_off() {
    let directory = Directory::with(&["digits"]);
    directory.put("bad", 1, b"no model");

    let strict = Server::start(directory.path());
    assert_eq!(surfaces(&strict).await, [false; 4]);
    assert_eq!(model(&strict, "digits").await, [true; 2]);
    std::fs::remove_dir_all(directory.path().join("bad")).expect("removed");
    eventually("ready", || strict.get("/v2/health/ready").status == 200);

    directory.put("bad", 1, b"no model");
    let lenient = settings(&["models.strict_readiness=false"]);
    let lenient = Server::start_with(directory.path(), &lenient);
    assert_eq!(surfaces(&lenient).await, [true; 4]);
    assert_eq!(model(&lenient, "bad").await, [false; 2]);
}

#[tokio::test]
async fn refused_newcomers_and_refused_versions_leave_a_server_ready() {
    let directory = Directory::with(&["digits"]);
    let server = Server::start(directory.path());
    directory.put("bad", 1, b"no model");
    directory.put("digits", 2, b"no model");
    eventually("both refused", || {
        server.metric("ortus_model_load_failures_total{model=\"bad\"}") == Some(1.0)
            && server.metric("ortus_model_load_failures_total{model=\"digits\"}") == Some(1.0)
    });

    assert_eq!(surfaces(&server).await, [true; 4]);
    assert_eq!(model(&server, "digits").await, [true; 2]);
    assert_eq!(model(&server, "bad").await, [false; 2]);
    assert!(is_listed(&server, "digits", "READY"));
}

#[tokio::test]
async fn an_empty_directory_and_explicit_control_are_ready() {
    let directory = Directory::empty();
    let empty = Server::start(directory.path());
    assert_eq!(surfaces(&empty).await, [true; 4]);

    directory.put("bad", 1, b"no model");
    let explicit = Server::start_with(directory.path(), &["--model-control", "explicit"]);
    let load = explicit.post("/v2/repository/models/bad/load", b"");
    assert_eq!(load.status, 400, "{}", load.text());
    assert_eq!(surfaces(&explicit).await, [true; 4]);
}
