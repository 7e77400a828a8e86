//! The comparison with MLServer, end to end at the smallest size.

#[allow(
    dead_code,
    reason = "shared with the server's tests, which use all of it"
)]
#[path = "../../tests/it/support/optional.rs"]
mod optional;
#[path = "support/programs.rs"]
mod programs;

use optional::{or_not_run, run};
use programs::{library, loadtest_program, ortus_program, root};
use serde_json::Value;
use std::process::Command;

fn compare() -> Command {
    let mut command = Command::new("python3");
    command
        .arg("-B")
        .arg(root().join("loadtest/rival/compare.py"));
    command.env("ORT_DISABLE_TELEMETRY", "1");
    command
}

#[test]
fn rival_is_measured_with_all_its_processes() {
    let needed = library().and_then(|library| {
        run(compare().arg("--prepare"))?;
        Ok(library)
    });
    let Some(library) = or_not_run("MLServer and the library", needed) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = compare();
    command.args(["--models", "m0", "--in-flight", "4"]);
    command.args(["--seconds", "0.3", "--rounds", "2"]);
    let programs = loadtest_program().parent().expect("a folder");
    command.arg("--bin").arg(programs);
    command.arg("--ortus").arg(ortus_program());
    command.arg("--library").arg(library);
    command.arg("--out").arg(folder.path());
    run(&mut command).unwrap_or_else(|error| panic!("{error}"));

    let text = std::fs::read(folder.path().join("rival.json")).expect("written");
    let report: Value = serde_json::from_slice(&text).expect("JSON");
    let result = &report["results"][0];
    for (setting, rate) in result["rates"].as_object().expect("rates") {
        assert!(rate.as_f64() > Some(0.0), "{setting}: {result}");
    }
    let findings = result["findings"].as_array().expect("findings");
    let named =
        |name: &str| -> Vec<&Value> { findings.iter().filter(|f| f["name"] == name).collect() };
    // Over gRPC, and as JSON.
    let costs = named("peer's CPU over ours");
    assert_eq!(costs.len(), 2, "{result}");
    assert!(costs.iter().all(|f| f["figure"].as_f64() > Some(0.0)));
    let memory = named("peer's memory over ours");
    assert!(memory[0]["figure"].as_f64() > Some(0.0), "{result}");
    let page = std::fs::read_to_string(folder.path().join("README.md")).expect("a page");
    assert!(page.contains("| m0 |"), "{page}");
}
