//! Signed versions and approvals.

use crate::support::registry::{Registry, ask, serves};
use crate::support::{eventually, ortus};
use ortus::testing::graphs;

#[test]
fn a_server_that_asks_for_signatures_takes_only_what_a_trusted_key_vouches_for() {
    let registry = Registry::new();
    let at = |name: &str| {
        registry
            .0
            .path()
            .join(name)
            .to_str()
            .expect("text")
            .to_owned()
    };
    let run = |arguments: &[&str]| {
        let output = ortus().args(arguments).output().expect("runs");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    };
    let (ann, eve, trust) = (at("ann"), at("eve"), at("trust.json"));
    let public = run(&["key", "generate", "-o", &ann]);
    run(&["key", "generate", "-o", &eve]);
    assert_eq!(run(&["key", "public", &ann]), public);
    run(&["key", "trust", &trust, &public, "--name", "ann"]);
    let push = |mark: f32, key: &[&str]| {
        let file = at("model.onnx");
        std::fs::write(&file, graphs::demanding(mark)).expect("written");
        registry.does(&[&["push", "m", &file, "--alias", "champion"], key].concat())
    };
    push(1.0, &["--key", &ann]);
    let trusted = format!("registry.trust=\"{trust}\"");
    let server = registry.serve(&["--set", "registry.signatures=require", "--set", &trusted]);
    assert!(serves(&server, "1", 1.0));
    let failures = || {
        server
            .metric("ortus_model_load_failures_total{model=\"m\"}")
            .unwrap_or(0.0)
    };
    for (mark, key, said) in [
        (2.0, vec![], "it is not signed"),
        (3.0, vec!["--key", eve.as_str()], "not trusted here"),
    ] {
        push(mark, &key);
        eventually("the refusal", || {
            failures() > 0.0 && server.log().contains(said)
        });
        assert!(serves(&server, "1", 1.0));
    }
    push(4.0, &["--key", &ann]);
    eventually("a signed one", || serves(&server, "4", 4.0));
    run(&["key", "revoke", &trust, &public, "--reason", "lost"]);
    push(5.0, &["--key", &ann]);
    eventually("the revocation", || server.log().contains("revoked at"));
    assert!(serves(&server, "4", 4.0));
    // A key that is trusted later is enough: the refusal is tried again.
    let other = run(&["key", "public", &eve]);
    push(6.0, &["--key", &eve]);
    run(&["key", "trust", &trust, &other, "--name", "eve"]);
    eventually("the second look", || serves(&server, "6", 6.0));
    let history = registry.does(&["history", "m", "--json"]);
    assert!(
        history.contains(&public),
        "the log says by which key a change was signed"
    );
}

#[test]
fn approvals_are_by_keys_where_the_namespace_asks_for_signatures() {
    let registry = Registry::new();
    let at = |name: &str| {
        registry
            .0
            .path()
            .join(name)
            .to_str()
            .expect("text")
            .to_owned()
    };
    let run = |arguments: &[&str]| {
        let output = ortus().args(arguments).output().expect("runs");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned()
    };
    let (ann, bob, eve, trust) = (at("ann"), at("bob"), at("eve"), at("trust.json"));
    for key in [&ann, &bob, &eve] {
        let public = run(&["key", "generate", "-o", key]);
        if *key != eve {
            run(&["key", "trust", &trust, &public]);
        }
    }
    let file = |mark: f32| {
        std::fs::write(at("model.onnx"), graphs::demanding(mark)).expect("written");
        at("model.onnx")
    };
    registry.does(&[
        "push",
        "m",
        &file(1.0),
        "--alias",
        "champion",
        "--key",
        &ann,
    ]);
    assert!(
        registry
            .refuses(&["policy", "--signatures", "require"])
            .contains("must be signed itself; add --key FILE")
    );
    let policy = [
        "policy",
        "--approvals",
        "1",
        "--signatures",
        "require",
        "--key",
        &ann,
        "--json",
    ];
    assert!(
        registry
            .does(&policy)
            .contains("\"signatures\":\"require\"")
    );
    assert!(
        registry
            .refuses(&["push", "m", &file(2.0)])
            .contains("asks for signed")
    );
    assert!(
        registry
            .refuses(&["policy", "--signatures", "none"])
            .contains("asks for signed changes")
    );
    let trusted = format!("registry.trust=\"{trust}\"");
    let server = registry.serve(&["--set", &trusted]);
    assert!(serves(&server, "1", 1.0));
    let (code, out, _) = registry.run(&[
        "push",
        "m",
        &file(2.0),
        "--alias",
        "champion",
        "--key",
        &ann,
    ]);
    assert_eq!((code, out.as_str()), (4, "2"), "pushed, and waiting");
    let own = registry.refuses(&[
        "approve",
        "m",
        "2",
        "--actor",
        "somebody else",
        "--key",
        &ann,
    ]);
    assert!(
        own.contains("the key that signed version 2 cannot approve it"),
        "{own}"
    );
    assert_eq!(registry.run(&["promote", "m", "2", "--key", &ann]).0, 4);
    // The log counts any key; a server only those that it trusts.
    registry.does(&["approve", "m", "2", "--actor", "eve", "--key", &eve]);
    registry.does(&["promote", "m", "2", "--key", &ann]);
    eventually("the refusal", || {
        server.log().contains("trusted keys did not approve it")
    });
    assert!(serves(&server, "1", 1.0));
    assert_eq!(
        ask(&server, "m/versions/champion", &[]),
        (200, "1".into(), 1.0)
    );
    registry.does(&["approve", "m", "2", "--actor", "bob", "--key", &bob]);
    eventually("the approval", || serves(&server, "2", 2.0));
    let report = registry.does(&["audit", "report"]);
    assert!(
        report.contains("eve approved (unsigned, so unverified)")
            && report.contains("approved (signed)"),
        "{report}"
    );
}
