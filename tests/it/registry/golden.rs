//! Golden rows: made by a push, compared before a version serves.

use crate::support::registry::{Registry, serves};
use crate::support::{Server, eventually};
use ortus::testing::graphs;

fn json(text: String) -> serde_json::Value {
    serde_json::from_str(&text).expect("JSON")
}

/// The golden rows of a pushed version, as they are in the store.
fn pulled_golden_rows(registry: &Registry) -> String {
    let folder = registry.0.path().join("pulled");
    registry.does(&["pull", "m:1", "-o", folder.to_str().expect("text")]);
    std::fs::read_to_string(folder.join("golden.json")).expect("golden rows")
}

#[test]
fn golden_rows_are_made_at_push_and_must_hold_before_a_version_serves() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    let shown = json(registry.does(&["show", "m:1", "--json"]));
    assert_eq!(shown["evidence"][0]["values"]["golden"], "made", "{shown}");
    let made = pulled_golden_rows(&registry);
    let output = json(made.clone())["cases"][0]["outputs"][0].clone();
    assert_eq!(
        (&output["name"], &output["data"][0]),
        (&"y".into(), &1.0.into()),
        "{made}"
    );

    registry.does(&["promote", "m", "1"]);
    let server = registry.serve(&[]);
    assert!(serves(&server, "1", 1.0));

    check_wrong_golden_rows(&registry, &server, &made);
    check_long_golden_rows(&registry);
}

/// Pushes a model with the golden rows of another one, which a push refuses, and a server
/// when the push did not run the model.
fn check_wrong_golden_rows(registry: &Registry, server: &Server, made: &str) {
    let (file, wrong) = (
        registry.0.path().join("two.onnx"),
        registry.0.path().join("wrong.json"),
    );
    std::fs::write(&file, graphs::demanding(2.0)).expect("written");
    std::fs::write(&wrong, made).expect("written");
    let push = [
        "push",
        "m",
        file.to_str().expect("text"),
        "--golden",
        wrong.to_str().expect("text"),
    ];
    let said = registry.refuses(&push);
    assert!(
        said.contains("golden case 0 failed: output 'y' is 2 and not 1 at element 0"),
        "{said}"
    );

    assert_eq!(
        registry.does(&[&push[..], &["--no-probe", "--alias", "champion"]].concat()),
        "2"
    );
    eventually("the refusal", || {
        server.log().contains("golden case 0 failed")
    });
    assert!(serves(server, "1", 1.0));

    std::fs::write(&wrong, "{}").expect("written");
    assert!(
        registry
            .refuses(&[&push[..], &["--no-probe"]].concat())
            .contains("the golden file: has no format")
    );

    // A push of the same model that makes no rows, or other ones for its rounding, finds
    // the same version.
    registry.does(&["push", "m", file.to_str().expect("text"), "--no-probe"]);
    assert!(
        registry
            .does(&["push", "m", file.to_str().expect("text"), "--json"])
            .contains("\"version\":2")
    );
}

/// Golden rows may be longer than a pipe's buffer, through which the sandbox returns them.
fn check_long_golden_rows(registry: &Registry) {
    let mask = registry.0.path().join("mask.onnx");
    std::fs::write(&mask, graphs::mask(5_000)).expect("written");
    let said = json(registry.does(&["push", "mask", mask.to_str().expect("text"), "--json"]));
    assert_eq!(said["version"], 1);

    let shown = json(registry.does(&["show", "mask:1", "--json"]));
    let golden = shown["manifest"]["files"].as_array().expect("files")[0].clone();
    assert!(
        golden["bytes"].as_u64().is_some_and(|n| n > 65_536),
        "{golden}"
    );
}

#[test]
fn golden_rows_beside_a_model_in_a_directory_must_hold_before_a_version_serves() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    let made = pulled_golden_rows(&registry);
    let directory = crate::support::Directory::empty();
    directory.put_with(
        "m",
        1,
        &graphs::demanding(1.0),
        &[("golden.json", made.as_bytes())],
    );
    let server = Server::start(directory.path());
    assert!(serves(&server, "1", 1.0));

    directory.put_with(
        "m",
        2,
        &graphs::demanding(2.0),
        &[("golden.json", made.as_bytes())],
    );
    eventually("the refusal", || {
        server.log().contains("golden case 0 failed")
    });
    assert!(serves(&server, "1", 1.0));
}
