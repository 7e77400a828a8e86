//! Every public method of the clients that people use, called against a real server. What came of each call is
//! the table of `docs/serving/clients.md`.

use crate::support::optional::{or_not_run, pinned, python, run};
use crate::support::{Directory, Server, models_folder, root, settings};
use std::path::{Path, PathBuf};
use std::process::Command;

const PAGE: &str = "docs/serving/clients.md";

/// What a script of `tests/clients/matrix` prints.
fn rows(python: &Path, script: &str, arguments: &[&str], server: &Server) -> String {
    let script = root().join("tests/clients/matrix").join(script);
    let models = models_folder();
    let answer = run(Command::new(python)
        .env("ORT_DISABLE_TELEMETRY", "1")
        .arg(script)
        .args(arguments)
        .env("ORTUS_MODELS", models));
    answer.unwrap_or_else(|error| panic!("{error}\n{}", server.log()))
}

/// A table with a row of each call and a column of each client, from lines `CLIENT, CALL, RESULT` between tabs.
fn table(lines: &str) -> String {
    let cells: Vec<[&str; 3]> = lines
        .lines()
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            cells.try_into().expect("three cells")
        })
        .collect();
    let of = |column: usize| {
        let mut all: Vec<&str> = Vec::new();
        for row in &cells {
            if !all.contains(&row[column]) {
                all.push(row[column]);
            }
        }
        all
    };
    let (clients, calls) = (of(0), of(1));
    let mut rows = vec![
        format!("| call | {} |", clients.join(" | ")),
        format!("|---{}|", "|---".repeat(clients.len())),
    ];
    for call in calls {
        let result = |client: &&str| {
            let found = cells.iter().find(|row| row[..2] == [*client, call]);
            // The client has no such call.
            found.map_or("", |row| row[2])
        };
        let results: Vec<&str> = clients.iter().map(result).collect();
        rows.push(format!("| {call} | {} |", results.join(" | ")));
    }
    rows.join("\n")
}

/// Holds the table of one client family against the page.
fn check(family: &str, lines: &str) {
    let made = table(lines);
    let page = std::fs::read_to_string(root().join(PAGE)).expect("the page");
    let written = page.split_once(&format!("<!-- calls: {family} -->\n\n"));
    let written = written.map_or("", |(_, rest)| {
        rest.split("\n\n").next().unwrap_or_default()
    });
    assert!(
        written == made,
        "{PAGE}: the table of {family} is not what the run gave; write it there:\n{made}\n"
    );
}

#[test]
fn every_method_of_tritonclient() {
    let python = python("test-clients", "clients/requirements.txt");
    let Some(python) = or_not_run("Python with the clients", python) else {
        return;
    };
    let directory = Directory::of_all_models();
    let options = settings(&[
        "server.shared_memory=true",
        "server.client_settings=true",
        // Nobody listens there.
        "traces.endpoint=\"http://127.0.0.1:9\"",
    ]);
    let server = Server::start_with(
        directory.path(),
        &[&["--model-control", "explicit"], &options[..]].concat(),
    );
    let made = rows(
        &python,
        "triton_clients.py",
        &[&server.http, &server.grpc],
        &server,
    );
    check("tritonclient", &made);
}

#[test]
fn every_method_of_kserve() {
    let python = python("test-kserve", "clients/kserve.txt");
    let Some(python) = or_not_run("Python with KServe's client", python) else {
        return;
    };
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let addresses = [server.http.as_str(), &server.grpc];
    check(
        "kserve",
        &rows(&python, "kserve_clients.py", &addresses, &server),
    );
}

#[test]
fn every_method_of_tensorflow_serving_api() {
    let python: Result<PathBuf, String> = pinned("test-tensorflow", "clients/tensorflow.txt");
    let Some(python) = or_not_run("Python with TensorFlow Serving's client", python) else {
        return;
    };
    let directory = Directory::of_all_models();
    let config = |name: &str| {
        let base = directory.path().join(name);
        format!("config {{ name: {name:?} base_path: {base:?} model_platform: \"tensorflow\" }}\n")
    };
    let list = directory.path().with_extension("config");
    let text = format!(
        "model_config_list {{\n{}{}}}\n",
        config("digits"),
        config("diabetes")
    );
    std::fs::write(&list, text).expect("written");
    let list = list.to_str().expect("UTF-8");
    let server = Server::start_from(
        &[
            &["--model_config_file", list],
            &settings(&["models.config_reload=true"])[..],
        ]
        .concat(),
    );
    let made = rows(
        &python,
        "tensorflow_stubs.py",
        &[&server.grpc, list],
        &server,
    );
    check("tensorflow-serving-api", &made);
    assert_eq!(
        server.log(),
        "",
        "models that the list leaves out go quietly"
    );
}
