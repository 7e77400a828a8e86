//! The ONNX project's own cases of single operators over gRPC, in binary and in JSON, against ONNX Runtime.

use crate::support::Server;
use crate::support::optional::{or_not_run, python, run};
use std::process::Command;

/// How many of a thousand cases must be right over each way.
const RIGHT_PER_MILLE: usize = 999;
/// The fewest cases that are asked, of any datatype, and of those that JSON has.
const CASES_MIN: usize = 1_200;

#[test]
fn cases_of_single_operators_answer_as_onnx_runtime_does() {
    let makes = python("test-converters", "clients/converters.txt");
    let asks = python("test-clients", "clients/requirements.txt");
    let (Some(makes), Some(asks)) = (
        or_not_run("Python with converters", makes),
        or_not_run("Python with clients", asks),
    ) else {
        return;
    };
    let script = crate::support::root().join("tests/clients/nodes.py");
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = ["-W", "ignore"];
    let made = run(Command::new(&makes)
        .args(arguments)
        .arg(&script)
        .arg("make")
        .arg(folder.path()));
    made.unwrap_or_else(|error| panic!("{error}"));

    let server = Server::start(&folder.path().join("models"));
    let said = run(Command::new(&asks)
        .arg(&script)
        .arg("check")
        .arg(folder.path())
        .args([&server.http, &server.grpc]));
    let said = said.unwrap_or_else(|error| panic!("{error}"));
    println!("{said}");
    for way in ["gRPC", "binary", "JSON"] {
        let (right, all) = counts(&said, way);
        assert!(all >= CASES_MIN, "{said}");
        assert!(right * 1_000 >= all * RIGHT_PER_MILLE, "{said}");
    }
}

/// Reads a line such as `JSON: 1300 of 1301 cases`.
fn counts(said: &str, way: &str) -> (usize, usize) {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix(way)?.strip_prefix(": "));
    let mut words = line.unwrap_or_else(|| panic!("{said}")).split(' ');
    let mut number = || words.by_ref().find_map(|word| word.parse().ok());
    let counts = (number(), number());
    (counts.0.expect("a number"), counts.1.expect("a number"))
}
