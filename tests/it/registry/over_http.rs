//! The registry's commands over the operator API, in HTTP and JSON.

use crate::support::registry::{Registry, ask, serves};
use crate::support::{Server, eventually, http};

/// Calls the operator API's registry; returns the status and the JSON answer.
fn call(server: &Server, method: &str, path: &str, body: &str) -> (u16, serde_json::Value) {
    let path = format!("/v1/registry/{path}");
    let answer = http(
        &server.operator,
        method,
        &path,
        &[("ortus-operator", "1")],
        body.as_bytes(),
    );
    (answer.status, answer.json())
}

#[test]
fn the_operator_api_has_the_commands_of_the_registry() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.push("m", 2.0);
    let server = registry.serve(&["--set", "registry.poll=1h"]);

    check_first_promotion(&server);
    check_traffic_and_tags(&server);
    check_approval(&server);
    check_queries(&server);
    check_refused_calls(&server);
}

fn check_first_promotion(server: &Server) {
    let (status, said) = call(
        server,
        "POST",
        "models/m/promote",
        r#"{"version":"1","reason":"first","actor":"ann"}"#,
    );
    assert_eq!((status, &said["seq"]), (200, &3.into()), "{said}");
    eventually("the champion", || serves(server, "1", 1.0));
}

fn check_traffic_and_tags(server: &Server) {
    assert_eq!(
        call(
            server,
            "POST",
            "models/m/alias",
            r#"{"alias":"challenger","version":"2"}"#
        )
        .0,
        200
    );
    eventually("the challenger", || {
        ask(server, "m/versions/challenger", &[]).1 == "2"
    });

    assert_eq!(
        call(
            server,
            "POST",
            "models/m/traffic",
            r#"{"weights":{"champion":40,"challenger":60}}"#
        )
        .0,
        200
    );
    assert_eq!(
        call(
            server,
            "POST",
            "models/m/tag",
            r#"{"key":"team","value":"risk"}"#
        )
        .0,
        200
    );
    assert_eq!(
        call(server, "GET", "models?tag=team=risk", "").1[0]["traffic"]["challenger"],
        60
    );
}

fn check_approval(server: &Server) {
    assert_eq!(call(server, "POST", "policy", r#"{"approvals":1}"#).0, 200);
    let (status, said) = call(server, "POST", "models/m/promote", r#"{"version":"2"}"#);
    assert_eq!((status, &said["waiting"]), (202, &true.into()));
    assert_eq!(
        call(
            server,
            "POST",
            "models/m/approve",
            r#"{"version":"2","actor":"bob"}"#
        )
        .0,
        200
    );
    assert_eq!(
        call(
            server,
            "POST",
            "models/m/promote",
            r#"{"version":"challenger"}"#
        )
        .0,
        200
    );
    eventually("the new champion", || serves(server, "2", 2.0));
}

fn check_queries(server: &Server) {
    assert_eq!(
        call(server, "POST", "models/m/rollback", "").1["version"],
        1
    );
    assert_eq!(
        call(server, "GET", "models/m/history", "").1[2]["reason"],
        "first"
    );
    assert_eq!(
        call(server, "GET", "models/m?version=1", "").1["manifest"]["model"],
        "m"
    );
    assert_eq!(call(server, "GET", "models/m?x=1&version=9", "").0, 404);
    assert_eq!(
        call(server, "GET", "models?x=1&tag=te%61m=risk", "").1[0]["name"],
        "m"
    );
    assert_eq!(
        call(server, "GET", "models/m/diff?from=1&to=2", "").1["to"],
        2
    );
    assert_eq!(
        call(server, "POST", "verify", "").1["void"],
        serde_json::json!([])
    );
    assert_eq!(
        call(server, "POST", "gc", r#"{"dry_run":true}"#).1["dry_run"],
        true
    );
}

fn check_refused_calls(server: &Server) {
    for (method, path, body, status) in [
        ("POST", "models/m/promote", "{}", 400),
        ("POST", "models/m/promote", "nonsense", 400),
        ("POST", "models/m/promote", r#"{"versoin":"1"}"#, 400),
        ("POST", "models/m/promote", r#"{"version":"9"}"#, 404),
        ("POST", "models/q/rollback", "", 404),
        ("POST", "models/m/burn", "", 404),
        ("GET", "models/%2e%2e/history", "", 400),
        ("GET", "nothing", "", 404),
    ] {
        assert_eq!(
            call(server, method, path, body).0,
            status,
            "{method} {path} {body}"
        );
    }

    let large = call(
        server,
        "POST",
        "models/m/tag",
        &format!(r#"{{"key":"{}"}}"#, "k".repeat(100_000)),
    );
    assert_eq!(large.0, 413);

    let bare = http(
        &server.operator,
        "POST",
        "/v1/registry/models/m/rollback",
        &[],
        b"",
    );
    assert_eq!(bare.status, 403, "without the header");
}
