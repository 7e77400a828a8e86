//! Tests of `route`.

use super::*;

#[test]
fn a_parameter_is_found_wherever_it_stands_and_is_decoded() {
    let check = |query: &str, value: Option<&str>| {
        assert_eq!(Query::parse(query).value("version"), value, "{query}");
    };
    check("version=2", Some("2"));
    check("x=1&version=2", Some("2"));
    check("version=2&x=1", Some("2"));
    check("version=%32", Some("2"));
    check("v%65rsion=2", Some("2"));
    check("version=", Some(""));
    check("versions=2", None);
    check("", None);
    assert_eq!(
        Query::parse("tag=team=a%20b").value("tag"),
        Some("team=a b")
    );
    assert!(Query::parse("from=1").required("to").is_err());
}

#[test]
fn paths_name_a_model_and_a_call() {
    let check = |path: &str, expected: OperatorRoute| {
        assert_eq!(route("GET", path).ok(), Some(expected), "{path}");
    };
    check("/v1/models/a/drift", OperatorRoute::Drift("a".to_owned()));
    check(
        "/v1/models/a%2Db/drift",
        OperatorRoute::Drift("a-b".to_owned()),
    );
    check(
        "/v1/models/a/b/report",
        OperatorRoute::Report("a/b".to_owned()),
    );
    check(
        "/v1/registry/models/a%2Db",
        OperatorRoute::Registry(RegistryRoute::Show("a-b".to_owned())),
    );
    let promote = RegistryRoute::Change("a".to_owned(), ModelChange::Promote);
    assert_eq!(
        route("POST", "/v1/registry/models/a/promote").ok(),
        Some(OperatorRoute::Registry(promote))
    );
    for other in [
        "/v1/models/drift",
        "/v1/models/a",
        "/v1/models/a/other",
        "/v1/models/",
        "/v1/registry/verify",
        "/v1/registry/models/a/promote",
        "/v1/models/%ff/drift",
    ] {
        assert!(route("GET", other).is_err(), "{other}");
    }
}
