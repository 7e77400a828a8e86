//! The command line: what it prints, where, and its exit codes.

use crate::support::optional;
use crate::support::{Directory, Server, model_file, models_folder, ortus, raw, settings};
use ortus::testing::graphs;
use std::process::Output;

fn run(arguments: &[&str]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = ortus().args(arguments).output().expect("runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (
        status.code().expect("an exit code"),
        text(stdout),
        text(stderr),
    )
}

#[test]
fn misuse_exits_2_and_refusal_exits_1_with_one_line() {
    assert_eq!(run(&["nonsense"]).0, 2);
    assert_eq!(run(&["serve", "--nonsense"]).0, 2);
    assert_eq!(run(&["--version"]).0, 0);
    for refused in [
        vec!["serve"],
        vec!["serve", "--models", "/nonexistent"],
        vec!["serve", "--models", ".", "--ort-lib", "/nonexistent/lib.so"],
        vec!["config", "check", "--set", "server.htp=\"x\""],
        vec!["models", "--server", "127.0.0.1:1"],
    ] {
        let (code, out, err) = run(&refused);
        assert_eq!(
            (code, out.as_str(), err.lines().count()),
            (1, "", 1),
            "{refused:?}: {err}"
        );
    }
}

#[test]
fn an_onnx_runtime_that_is_too_old_is_refused_by_name() {
    let Some(old) = optional::or_not_run("an old ONNX Runtime", optional::old_runtime()) else {
        return;
    };
    let (code, out, err) = run(&[
        "serve",
        "--models",
        ".",
        "--ort-lib",
        old.to_str().expect("text"),
    ]);
    assert_eq!(
        (code, out.as_str(), err.lines().count()),
        (1, "", 1),
        "{err}"
    );
    assert!(
        err.contains("is ONNX Runtime 1.23; 1.24 or newer is needed"),
        "{err}"
    );
}

#[test]
fn unknown_keys_are_refused_with_file_line_and_the_nearest_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ortus.toml");
    std::fs::write(&file, "[model.fraud]\nbatch_row_max = 8\n").expect("written");
    let (code, _, err) = run(&["config", "check", "--config", file.to_str().expect("text")]);
    assert_eq!(code, 1);
    assert!(
        err.contains("ortus.toml:2") && err.contains("batch_rows_max"),
        "{err}"
    );
}

#[test]
fn the_effective_configuration_is_shown() {
    let (code, out, _) = run(&["config", "show", "--set", "model.m.batch_rows_max=7"]);
    assert_eq!(code, 0);
    assert!(
        out.contains("batch_rows_max = 7") && out.contains("drain = "),
        "{out}"
    );
}

#[test]
fn models_and_predictions_are_printed_for_people_and_scripts() {
    let directory = Directory::empty();
    directory.put("digits", 1, &model_file("digits", "1"));
    let server = Server::start(directory.path());
    let (code, out, _) = run(&["models", "--server", &server.http]);
    assert_eq!(code, 0);
    assert!(
        out.contains("MODEL") && out.contains("digits") && out.contains("READY"),
        "{out}"
    );
    let sample = models_folder().join("digits/sample.json");
    let sample = sample.to_str().expect("text");
    for protocol in [
        vec!["--server", server.http.as_str()],
        vec!["--grpc", "--server", server.grpc.as_str()],
    ] {
        let mut arguments = vec!["predict", "digits", "--file", sample];
        arguments.extend(&protocol);
        let (code, out, err) = run(&arguments);
        assert_eq!(code, 0, "{err}");
        assert!(
            out.starts_with("version 1") && out.contains("probabilities"),
            "{out}"
        );
        arguments.push("--json");
        let json: serde_json::Value = serde_json::from_str(&run(&arguments).1).expect("JSON");
        assert_eq!(json["outputs"][0]["data"], serde_json::json!([8, 4, 0]));
    }
    let (code, _, err) = run(&[
        "predict",
        "absent",
        "--server",
        &server.http,
        "--input",
        "x:FP32:1:1",
    ]);
    assert_eq!(code, 1);
    assert!(err.contains("404") && err.contains("absent"), "{err}");
}

#[test]
fn the_log_names_the_request_the_prediction_and_the_version() {
    let directory = Directory::of_all_models();
    let server = Server::start_with(
        directory.path(),
        &["--set", "log.level=\"ortus=debug\"", "--log-format", "json"],
    );
    let body = |id: &str, data: &str| {
        let input = format!(r#"{{"name":"x","datatype":"FP32","shape":[1,10],"data":{data}}}"#);
        format!(r#"{{"id":"{id}","inputs":[{input}]}}"#)
    };
    let good = server.post(
        "/v2/models/diabetes/infer",
        body("mine-1", "[1,1,1,1,1,1,1,1,1,1]").as_bytes(),
    );
    assert_eq!(good.status, 200);
    let bad = server.post(
        "/v2/models/diabetes/infer",
        body("mine-2", "[1]").as_bytes(),
    );
    assert_eq!(bad.status, 400);
    let log = server.log();
    let lines = log
        .lines()
        .map(|l| serde_json::from_str::<serde_json::Value>(l).expect("a JSON line"));
    let fields = lines
        .map(|line| line["fields"].clone())
        .find(|f| f["message"] == "predicted")
        .expect("a line");
    assert_eq!(
        (&fields["model"], &fields["version"]),
        (&"diabetes".into(), &1.into())
    );
    assert_eq!(
        (&fields["id"], fields["prediction_id"].as_str()),
        (
            &"mine-1".into(),
            good.headers.get("ortus-prediction-id").map(String::as_str)
        )
    );
    assert!(log.contains("refused"), "{log}");
}

#[test]
fn a_second_server_on_the_same_port_is_refused() {
    let directory = Directory::empty();
    let server = Server::start(directory.path());
    let models = directory.path().to_str().expect("text");
    let free = "127.0.0.1:0";
    let (code, _, err) = run(&[
        "serve",
        "--models",
        models,
        "--http",
        &server.http,
        "--grpc",
        free,
        "--ops",
        free,
        "--operator",
        free,
    ]);
    assert_eq!(code, 1);
    assert!(err.contains("cannot bind"), "{err}");
}

#[test]
fn sigterm_finishes_and_exits_0() {
    let directory = Directory::of_all_models();
    let mut server = Server::start(directory.path());
    server.terminate();
    assert_eq!(server.wait(), Some(0));
}

/// A server that is stopping while a client has sent half a request.
fn stopping_with_a_half_sent_request() -> (Server, std::net::TcpStream, Directory) {
    use std::io::Write;
    let directory = Directory::of_all_models();
    let server = Server::start_with(directory.path(), &["--set", "server.drain=1h"]);
    let mut half = std::net::TcpStream::connect(&server.http).expect("the server accepts");
    half.write_all(
        b"POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
    )
    .expect("written");
    crate::support::eventually("the request in flight", || {
        server
            .metric("ortus_bytes_in_flight")
            .is_some_and(|bytes| bytes > 0.0)
    });
    server.terminate();
    (server, half, directory)
}

#[test]
fn requests_beyond_the_drain_are_closed_by_force_and_the_exit_code_is_1() {
    let directory = Directory::empty();
    directory.put("counting", 1, &graphs::counting());
    let limits = ["server.drain=100ms", "model.counting.request_timeout=8s"];
    let mut server = Server::start_with(directory.path(), &settings(&limits));
    // Counting so far takes years.
    let body =
        br#"{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[1125899906842624]}]}"#;
    let address = server.http.clone();
    let client = std::thread::spawn(move || {
        let length = body.len();
        let head = format!(
            "POST /v2/models/counting/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"
        );
        raw(&address, &[head.as_bytes(), body].concat()).is_none()
    });
    crate::support::eventually("the request in flight", || {
        server.metric("ortus_requests_in_flight{model=\"counting\",version=\"1\"}") == Some(1.0)
    });

    server.terminate();
    assert_eq!(server.wait(), Some(1));
    assert!(client.join().expect("ended"), "no answer");
    let log = server.log();
    assert!(log.contains("1 connections outlived the drain"), "{log}");
    // The manager still looks at the models, and decides that the server could be ready.
    assert!(!log.contains("ready: what held the server back"), "{log}");
}

#[test]
fn a_second_signal_exits_at_once() {
    let (mut server, half, _directory) = stopping_with_a_half_sent_request();
    crate::support::eventually("no longer ready", || {
        crate::support::http(&server.ops, "GET", "/readyz", &[], b"").status == 503
    });
    // Without the second signal it would wait for the drain, far longer than this does.
    crate::support::eventually("the end of the server", || {
        let is_running = server.is_running();
        if is_running {
            server.terminate();
        }
        !is_running
    });
    drop(half);
}

#[test]
fn a_command_that_asks_the_ops_listener_says_where_models_are_served() {
    let directory = Directory::with(&["digits"]);
    let server = Server::start(directory.path());
    let sample = models_folder().join("digits/sample.json");
    let sample = sample.to_str().expect("a path in UTF-8");
    for arguments in [
        vec!["models", "--server", &server.ops],
        vec![
            "predict",
            "digits",
            "--file",
            sample,
            "--server",
            &server.ops,
        ],
    ] {
        let (code, _, error) = run(&arguments);
        assert_eq!(code, 1, "{error}");
        let serving = format!("models are served at {}", server.http);
        assert!(error.contains("the ops listener"), "{error}");
        assert!(error.contains(&serving), "{error}");
    }
}

#[test]
fn the_demo_succeeds() {
    let (code, out, err) = run(&["demo", "--exit"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("every check passed"), "{out}");
}

#[test]
fn completions_are_printed() {
    let (code, out, _) = run(&["completions", "bash"]);
    assert_eq!(code, 0);
    assert!(out.contains("_ortus"));
}
