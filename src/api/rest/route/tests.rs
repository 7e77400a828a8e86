//! Which call each path names.

use super::*;

fn check(method: &str, path: &str, expected: &str) {
    let method = Method::from_bytes(method.as_bytes()).expect("a method");
    assert_eq!(
        format!("{:?}", route(&method, path)),
        expected,
        "{method} {path}"
    );
}

#[test]
fn open_inference_paths() {
    check("GET", "/v2", "Ok(Server)");
    check("GET", "/v2/health/live", "Ok(Live)");
    check("HEAD", "/v2/health/ready", "Ok(Ready)");
    check("GET", "/v2/models/m", r#"Ok(Metadata("m", ""))"#);
    check(
        "GET",
        "/v2/models/m/versions/3",
        r#"Ok(Metadata("m", "3"))"#,
    );

    check("POST", "/v2/models/m/infer", r#"Ok(Infer("m", ""))"#);
    check(
        "POST",
        "/v2/models/m/versions/3/infer",
        r#"Ok(Infer("m", "3"))"#,
    );

    check("GET", "/v2/models/stats", r#"Ok(Statistics("", ""))"#);
    check("POST", "/v2/repository/models/m/load", r#"Ok(Load("m"))"#);
    check("GET", "/v2/models/m/infer", r#"Err(Method("POST"))"#);
    check("GET", "/v2/nothing", "Err(Unknown)");
    check("GET", "/", "Ok(Root)");
    check("GET", "//", "Err(Unknown)");
    check("PUT", "/v2/logging", r#"Err(Method("GET, POST"))"#);
}

#[test]
fn paths_are_decoded_once_and_never_walked() {
    check("GET", "/v2/models/a%2Fb", r#"Ok(Metadata("a/b", ""))"#);
    check(
        "GET",
        "/v2/models/%252e%252e",
        r#"Ok(Metadata("%2e%2e", ""))"#,
    );

    check("GET", "/v2/models/%ff", "Err(Malformed)");
    for name in ["a/b", "%2e%2e", "..", ""] {
        assert!(
            crate::core::model::ModelName::parse(name).is_err(),
            "{name}"
        );
    }
}

#[test]
fn tensorflow_serving_paths() {
    let exact = |n| format!("Exact(Version({n}))");
    check(
        "POST",
        "/v1/models/m:predict",
        r#"Ok(TfsPredict("m", Latest))"#,
    );

    check(
        "POST",
        "/V1/MODELS/m:PREDICT",
        r#"Ok(TfsPredict("m", Latest))"#,
    );

    check(
        "POST",
        "/v1/models/m/versions/2:predict",
        &format!(r#"Ok(TfsPredict("m", {}))"#, exact(2)),
    );

    check(
        "POST",
        "/v1/models/m/labels/stable:predict",
        r#"Ok(TfsPredict("m", Label("stable")))"#,
    );

    check("GET", "/v1/models/m:predict", r#"Err(Method("POST"))"#);
    check(
        "POST",
        "/v1/models/m/versions/0002:predict",
        &format!(r#"Ok(TfsPredict("m", {}))"#, exact(2)),
    );
    check("GET", "/v1/models/m", r#"Ok(TfsStatus("m", None))"#);
    check(
        "GET",
        "/v1/models/m/versions/2",
        &format!(r#"Ok(TfsStatus("m", Some({})))"#, exact(2)),
    );

    check(
        "GET",
        "/v1/models/m/metadata",
        r#"Ok(TfsMetadata("m", Latest))"#,
    );

    check(
        "POST",
        "/v1/models/m:classify",
        r#"Ok(TfsInfer(Classify, "m", Latest))"#,
    );
    check(
        "POST",
        "/V1/MODELS/m/labels/l:Regress",
        r#"Ok(TfsInfer(Regress, "m", Label("l")))"#,
    );
    for bad in [
        "/v1",
        "/v1/models",
        "/v1/models/m/versions/0:predict",
        "/v1/models/m/versions/x",
        "/v1/x/m",
        "/v1/models/m:guess",
    ] {
        check("POST", bad, "Err(Malformed)");
    }
    check("POST", "/v1/models/m:explain", "Err(Explanations)");
}
