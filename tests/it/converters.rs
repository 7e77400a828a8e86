//! Models as converters write them by default, made by `tests/clients/converters.py`.

use crate::support::Server;
use crate::support::optional::{or_not_run, python, run};
use std::process::Command;

#[test]
fn what_converters_write_by_default_answers_as_its_library() {
    let python = python("test-converters", "clients/converters.txt");
    let Some(python) = or_not_run("Python with converters", python) else {
        return;
    };
    let script = crate::support::root().join("tests/clients/converters.py");
    let folder = tempfile::tempdir().expect("a folder");
    let made = run(Command::new(&python)
        .arg(&script)
        .arg("make")
        .arg(folder.path()));
    let made = made.unwrap_or_else(|error| panic!("{error}"));
    assert!(made.contains("39 models made"), "{made}");

    let ask = |mode: &str, server: &Server| {
        let output = Command::new(&python)
            .arg(&script)
            .arg(mode)
            .arg(folder.path())
            .arg(&server.http)
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}\n{error}\n{}", server.log());
        said
    };
    let all = Server::start(folder.path());
    let said = ask("check", &all);
    assert!(said.contains("39 of 39 models"), "{said}");
    drop(all);

    // A server of one model is MLflow's scoring server.
    let named = |name: &str, more: &[&str]| {
        let place = folder.path().join(name);
        let mut arguments = vec!["--name", name];
        arguments.extend(more);
        Server::start_with(&place, &arguments)
    };
    let said = ask("tables", &named("columns", &[]));
    assert!(said.contains("tables answer"), "{said}");
    let features = "model.logistic.features=[\"sepal length\",\"sepal width\",\"petal length\",\"petal width\"]";
    let said = ask("matrix", &named("logistic", &["--set", features]));
    assert!(said.contains("by the names of its columns"), "{said}");
}
