//! Existing clients against a real server: tritonclient, curl, gRPC reflection.

use crate::support::optional::{or_not_run, python, run};
use crate::support::{Directory, Server, models_folder, settings};
use ortus::proto::onnx::GraphProto;
use ortus::testing::graphs;
use std::process::Command;

#[test]
fn tritonclient_curl_and_a_reflecting_client_get_the_golden_answers() {
    let python = python("test-clients", "clients/requirements.txt");
    let Some(python) = or_not_run("Python with the clients", python) else {
        return;
    };
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let script = crate::support::root().join("tests/clients/check.py");
    let answer = run(Command::new(python)
        .arg(script)
        .arg(&server.http)
        .arg(&server.grpc)
        .arg(models_folder()));
    let said = answer.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(
        said.lines()
            .filter(|l| l.ends_with("golden over 4 clients"))
            .count(),
        5,
        "{said}"
    );
}

#[test]
fn the_extensions_of_triton_answer_its_client() {
    let python = python("test-clients", "clients/requirements.txt");
    let Some(python) = or_not_run("Python with the clients", python) else {
        return;
    };
    let directory = Directory::of_all_models();
    let echo = GraphProto {
        input: vec![graphs::declare("text", graphs::STRING, &[-1])],
        output: vec![graphs::declare("same", graphs::STRING, &[-1])],
        node: vec![graphs::node("Identity", &["text"], "same")],
        ..GraphProto::default()
    };
    directory.put("echo", 1, &graphs::model(echo));
    let settings = settings(&["server.shared_memory=true", "server.client_settings=true"]);
    let server = Server::start_with(directory.path(), &settings);
    let script = crate::support::root().join("tests/clients/extensions.py");
    let answer = run(Command::new(python)
        .arg(script)
        .arg(&server.http)
        .arg(&server.grpc));
    let said = answer.unwrap_or_else(|error| panic!("{error}\n{}", server.log()));
    assert!(said.contains("every extension answers"), "{said}");
}
