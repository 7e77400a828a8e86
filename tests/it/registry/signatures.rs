//! Signed versions and approvals.

use crate::support::registry::{Registry, ask, serves};
use crate::support::{Server, eventually, ortus};
use ortus::testing::graphs;

/// A file of the test, beside the registry.
fn at(registry: &Registry, name: &str) -> String {
    let path = registry.0.path().join(name);
    path.to_str().expect("text").to_owned()
}

/// Runs a command that takes no registry.
fn run(arguments: &[&str]) -> String {
    let output = ortus().args(arguments).output().expect("runs");
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

#[test]
fn a_server_that_requires_signatures_loads_only_versions_signed_by_a_trusted_key() {
    let registry = Registry::new();
    let at = |name: &str| at(&registry, name);
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

    // A key that becomes trusted later is enough: a refused version is tried again.
    let other = run(&["key", "public", &eve]);
    push(6.0, &["--key", &eve]);
    run(&["key", "trust", &trust, &other, "--name", "eve"]);
    eventually("the second attempt", || serves(&server, "6", 6.0));

    let history = registry.does(&["history", "m", "--json"]);
    assert!(
        history.contains(&public),
        "the log says by which key a change was signed"
    );
}

#[test]
fn approvals_count_by_keys_where_the_namespace_requires_signatures() {
    let registry = Registry::new();
    let at = |name: &str| at(&registry, name);
    let (ann, bob, eve, trust) = (at("ann"), at("bob"), at("eve"), at("trust.json"));
    for key in [&ann, &bob, &eve] {
        let public = run(&["key", "generate", "-o", key]);
        if *key != eve {
            run(&["key", "trust", &trust, &public]);
        }
    }
    check_policy(&registry, &ann);

    let trusted = format!("registry.trust=\"{trust}\"");
    let server = registry.serve(&["--set", &trusted]);
    assert!(serves(&server, "1", 1.0));

    check_own_approval(&registry, &ann);
    check_untrusted_approval(&registry, &server);
    check_trusted_approval(&registry, &server);
}

/// Writes a model whose output is `mark`; returns its path.
fn model_file(registry: &Registry, mark: f32) -> String {
    std::fs::write(at(registry, "model.onnx"), graphs::demanding(mark)).expect("written");
    at(registry, "model.onnx")
}

/// A namespace that requires signatures is set by a signed change, and then refuses
/// unsigned ones.
fn check_policy(registry: &Registry, ann: &str) {
    registry.does(&[
        "push",
        "m",
        &model_file(registry, 1.0),
        "--alias",
        "champion",
        "--key",
        ann,
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
        ann,
        "--json",
    ];
    assert!(
        registry
            .does(&policy)
            .contains("\"signatures\":\"require\"")
    );

    assert!(
        registry
            .refuses(&["push", "m", &model_file(registry, 2.0)])
            .contains("asks for signed")
    );
    assert!(
        registry
            .refuses(&["policy", "--signatures", "none"])
            .contains("asks for signed changes")
    );
}

/// A version waits for an approval by another key than the one that signed it.
fn check_own_approval(registry: &Registry, ann: &str) {
    let (code, out, _) = registry.run(&[
        "push",
        "m",
        &model_file(registry, 2.0),
        "--alias",
        "champion",
        "--key",
        ann,
    ]);
    assert_eq!((code, out.as_str()), (4, "2"), "pushed, and waiting");

    let own = registry.refuses(&[
        "approve",
        "m",
        "2",
        "--actor",
        "somebody else",
        "--key",
        ann,
    ]);
    assert!(
        own.contains("the key that signed version 2 cannot approve it"),
        "{own}"
    );
    assert_eq!(registry.run(&["promote", "m", "2", "--key", ann]).0, 4);
}

/// The log counts an approval by any key; a server only those by keys that it trusts.
fn check_untrusted_approval(registry: &Registry, server: &Server) {
    let (ann, eve) = (at(registry, "ann"), at(registry, "eve"));
    registry.does(&["approve", "m", "2", "--actor", "eve", "--key", &eve]);
    registry.does(&["promote", "m", "2", "--key", &ann]);
    eventually("the refusal", || {
        server.log().contains("trusted keys did not approve it")
    });
    assert!(serves(server, "1", 1.0));
    assert_eq!(
        ask(server, "m/versions/champion", &[]),
        (200, "1".into(), 1.0)
    );
}

fn check_trusted_approval(registry: &Registry, server: &Server) {
    let bob = at(registry, "bob");
    registry.does(&["approve", "m", "2", "--actor", "bob", "--key", &bob]);
    eventually("the approval", || serves(server, "2", 2.0));
    let report = registry.does(&["audit", "report"]);
    assert!(
        report.contains("eve approved (unsigned, so unverified)")
            && report.contains("approved (signed)"),
        "{report}"
    );
}
