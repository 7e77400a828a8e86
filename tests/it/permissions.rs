//! A model directory that a server may list but not search.

use crate::support::{Directory, Server, eventually};
use ortus::testing::graphs;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A directory with two models that answer 2 and 2 to a row of ones.
fn two_models() -> Directory {
    let directory = Directory::empty();
    for model in ["models/m", "models/n"] {
        directory.put(model, 1, &graphs::scaled(10));
    }
    directory
}

/// A server that keeps to the permissions of files.
fn serve(models: &Path) -> Server {
    let models = models.to_str().expect("text");
    let polling = ["--set", "models.poll=50ms", "--set", "models.settle=50ms"];
    Server::start_without_privilege(&[&["--models", models][..], &polling].concat())
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("changed");
}

const BODY: &str = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,1]}]}"#;

#[track_caller]
fn check_served(server: &Server, model: &str) {
    let path = format!("/v2/models/{model}/infer");
    let answer = server.post(&path, BODY.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("2.0,2.0"), "{}", answer.text());
}

/// State and reason of `m`.
fn state(server: &Server) -> (String, String) {
    let index = server.post("/v2/repository/index", b"").json();
    let lines = index.as_array().expect("a list").iter();
    let line = lines.clone().find(|line| line["name"] == "m");
    let text = |key: &str| line.and_then(|l| l[key].as_str()).unwrap_or_default();
    (text("state").to_owned(), text("reason").to_owned())
}

/// Takes the right to search away from `paths`, checks that everything serves and that the reason
/// says so, gives it back, and checks that a new version is loaded without a reload.
fn check_lost(paths: &[&str]) {
    let directory = two_models();
    let models = directory.path().join("models");
    let server = serve(&models);
    check_served(&server, "m");

    let in_trouble = || {
        server
            .metric("ortus_model_directory_trouble")
            .unwrap_or(0.0)
    };
    for path in paths {
        allow(&models.join(path), 0o644);
    }
    eventually("trouble", || in_trouble() > 0.0);
    eventually("a reason", || !state(&server).1.is_empty());
    if !paths.contains(&"") {
        // A model that comes now is served after further looks.
        directory.put("models/later", 1, &graphs::scaled(10));
        eventually("further looks", || {
            server.get("/v2/models/later/ready").status == 200
        });
    }
    for model in ["m", "n"] {
        check_served(&server, model);
    }
    let (state_of_m, reason) = state(&server);
    assert_eq!(state_of_m, "READY", "{reason}");
    assert!(reason.contains("ermission denied"), "{reason}");
    assert_eq!(server.get("/v2/health/ready").status, 200);
    let log = server.log();
    let lines = log.matches("in trouble").count();
    assert!((1..=paths.len()).contains(&lines), "{lines} lines: {log}");

    for path in paths.iter().rev() {
        allow(&models.join(path), 0o755);
    }
    eventually("all is well", || in_trouble() == 0.0);
    directory.put("models/m", 2, &graphs::scaled(10));
    eventually("version 2", || {
        server.get("/v2/models/m").json()["versions"] == serde_json::json!(["2"])
    });
}

#[test]
fn a_root_that_may_not_be_searched_keeps_what_serves() {
    check_lost(&[""]);
}

#[test]
fn a_model_folder_that_may_not_be_searched_keeps_what_serves() {
    check_lost(&["m"]);
}

#[test]
fn a_version_folder_that_may_not_be_searched_keeps_what_serves() {
    check_lost(&["m/1"]);
}

#[test]
fn rights_taken_from_the_whole_tree_keep_what_serves() {
    check_lost(&[
        "m/1/model.onnx",
        "n/1/model.onnx",
        "m/1",
        "n/1",
        "m",
        "n",
        "",
    ]);
}

#[test]
fn a_model_that_may_not_be_searched_at_the_start_is_listed_and_served_later() {
    let directory = two_models();
    let models = directory.path().join("models");
    allow(&models.join("m"), 0o644);
    let server = serve(&models);
    check_served(&server, "n");
    let (state_of_m, reason) = state(&server);
    assert_eq!(state_of_m, "UNAVAILABLE");
    assert!(reason.contains("ermission denied"), "{reason}");

    allow(&models.join("m"), 0o755);
    eventually("m serves", || state(&server).0 == "READY");
    check_served(&server, "m");
}

#[test]
fn a_refusal_that_retries_repeat_is_logged_once_and_its_series_ends_with_the_model() {
    let directory = Directory::empty();
    for model in ["m", "locked"] {
        directory.put(model, 1, &graphs::scaled(10));
    }
    allow(&directory.path().join("locked/1/model.onnx"), 0o000);
    let server = serve(directory.path());

    let failures = || server.metric("ortus_model_load_failures_total{model=\"locked\"}");
    eventually("two attempts", || failures().is_some_and(|n| n >= 2.0));
    let log = server.log();
    let told: Vec<&str> = log
        .lines()
        .filter(|l| l.contains("version refused"))
        .collect();
    assert!(
        matches!(&told[..], [one] if one.contains("read 'model.onnx'") && one.matches("denied").count() == 1),
        "{log}"
    );

    fs::remove_dir_all(directory.path().join("locked")).expect("removed");
    eventually("the series ends", || failures().is_none());
}

#[test]
fn a_file_that_may_not_be_read_any_more_is_shown_and_told_once() {
    let directory = two_models();
    let models = directory.path().join("models");
    let file = models.join("m/1/model.onnx");
    let server = serve(&models);
    allow(&file, 0o000);
    eventually("a reason", || !state(&server).1.is_empty());
    directory.put("models/later", 1, &graphs::scaled(10));
    eventually("further looks", || {
        server.get("/v2/models/later/ready").status == 200
    });
    let (state_of_m, reason) = state(&server);
    assert_eq!(state_of_m, "READY");
    assert!(
        reason.contains("its files cannot be read: read 'model.onnx': Permission denied"),
        "{reason}"
    );
    check_served(&server, "m");
    let told = || {
        server
            .log()
            .matches("of a loaded version in trouble")
            .count()
    };
    assert_eq!(told(), 1, "{}", server.log());

    allow(&file, 0o644);
    eventually("no reason", || state(&server).1.is_empty());
    assert_eq!(told(), 1, "{}", server.log());
    check_served(&server, "m");
}
