//! Scenarios end to end at the smallest size: each starts its servers, sends its load, checks
//! answers, and writes every figure into its report. Whether bars are met is not asked: a test
//! machine is busy.

#[allow(
    dead_code,
    reason = "shared with the server's tests, which use all of it"
)]
#[path = "../../tests/it/support/optional.rs"]
mod optional;
#[allow(
    dead_code,
    reason = "shared with the test of the GPU kit, which uses all of it"
)]
#[path = "support/programs.rs"]
mod programs;

use optional::or_not_run;
use programs::{library, loadtest_program, ortus_program, root};
use serde_json::Value;
use std::process::Command;

/// Exit codes of a run that measured all: bars met, and bars missed or figures void.
const MEASURED: [Option<i32>; 2] = [Some(0), Some(1)];

/// Runs a scenario; returns what it found, or nothing where the library is absent.
fn found(id: &str, options: &[&str]) -> Option<Value> {
    let library = or_not_run("the library", library())?;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut command = Command::new(loadtest_program());
    command.args(["run", id, "--rounds", "2"]).args(options);
    command.arg("--ortus").arg(ortus_program());
    command.arg("--library").arg(library);
    command.arg("--out").arg(folder.path());
    command.env("ORT_DISABLE_TELEMETRY", "1");
    let output = command.output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(MEASURED.contains(&output.status.code()), "{said}");
    let text = std::fs::read(folder.path().join("report.json"));
    let text = text.unwrap_or_else(|error| panic!("no report: {error}; {said}"));
    let report: Value = serde_json::from_slice(&text).expect("JSON");
    let scenario = report["scenarios"][0].clone();
    assert_eq!(scenario["scenario"], id);
    Some(scenario)
}

/// The findings of a name, each with a figure.
fn figures(scenario: &Value, name: &str) -> Vec<f64> {
    let findings = scenario["findings"].as_array().expect("findings");
    let named = findings.iter().filter(|f| f["name"] == name);
    let figure = |f: &Value| f["figure"].as_f64().unwrap_or_else(|| panic!("none: {f}"));
    named.map(figure).collect()
}

fn plots(scenario: &Value) -> usize {
    scenario["plots"].as_array().expect("plots").len()
}

#[test]
fn flood_and_trickle_are_measured_on_shared_and_own_cores() {
    let options = ["--seconds", "0.1", "--models", "m3,m1"];
    let Some(scenario) = found("P8", &options) else {
        return;
    };
    let ratios = figures(&scenario, "p99 beside the flood over alone");
    let is_single = std::thread::available_parallelism().is_ok_and(|n| n.get() == 1);
    assert_eq!(ratios.len(), if is_single { 1 } else { 2 }, "{scenario}");
    assert_eq!(plots(&scenario), ratios.len());
    let detail = &scenario["findings"][0]["detail"];
    assert!(detail["flood_rate"].as_f64() > Some(0.0), "{scenario}");
}

#[test]
fn soak_ends_with_a_growth_and_its_interval() {
    let options = ["--seconds", "0.05", "--requests", "400"];
    let Some(scenario) = found("P14", &options) else {
        return;
    };
    let slope = figures(&scenario, "MB per million requests");
    assert_eq!(slope.len(), 1, "{scenario}");
    let low = figures(&scenario, "MB per million requests, low end");
    assert!(low[0] <= slope[0], "{scenario}");
    let detail = &scenario["findings"][0]["detail"];
    assert!(detail["requests"].as_f64() >= Some(500.0), "{scenario}");
    assert_eq!(plots(&scenario), 1);
}

#[test]
fn memory_is_measured_when_ready_and_after_load() {
    let options = ["--seconds", "0.1", "--models", "m3"];
    let Some(scenario) = found("P17", &options) else {
        return;
    };
    let ratios = figures(&scenario, "resident over one raw session");
    assert_eq!(ratios.len(), 2, "{scenario}");
    assert!(ratios.iter().all(|r| *r > 0.0), "{scenario}");
}

#[test]
fn tuned_server_is_held_against_both_grids() {
    let options = ["--seconds", "0.1", "--models", "m1"];
    let Some(scenario) = found("P5", &options) else {
        return;
    };
    for name in [
        "rate over the best settings'",
        "rate over that without batching",
        "rows/s over best raw grid and wire",
        "rows/s over best raw grid",
    ] {
        // Tuned, and with the defaults.
        let ratios = figures(&scenario, name);
        assert_eq!(ratios.len(), 2, "{name}: {scenario}");
        assert!(ratios.iter().all(|r| *r > 0.0), "{name}: {scenario}");
    }
    assert_eq!(plots(&scenario), 1);
}
