//! The OpenAPI description against the server that it describes: schemathesis makes requests from it, good ones and
//! bad ones, and holds the answers against it.

use crate::support::optional::{is_long, or_not_run, python};
use crate::support::{Directory, Server, root, settings};
use std::process::Command;

#[test]
fn the_server_answers_as_its_description_says() {
    let python = python("test-schemathesis", "clients/schemathesis.txt");
    let Some(python) = or_not_run("schemathesis", python) else {
        return;
    };
    let directory = Directory::of_all_models();
    let options = settings(&["server.shared_memory=true", "server.client_settings=true"]);
    let server = Server::start_with(directory.path(), &options);
    let examples = if is_long() { "200" } else { "15" };
    let program = python.with_file_name("schemathesis");
    let config = root().join("tests/clients/schemathesis.toml");
    let place = tempfile::tempdir().expect("a folder");
    let output = Command::new(program)
        .arg("--config-file")
        .arg(config)
        .arg("run")
        .arg(format!("http://{}/openapi.json", server.http))
        .args(["--max-examples", examples, "--seed", "16"])
        .args(["--no-color", "--continue-on-failure", "--warnings", "off"])
        .current_dir(place.path())
        .output()
        .expect("started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", server.log());
    assert!(said.contains("No issues found"), "{said}");
}
