//! A model directory that a server may list but not search. The rights of files do not bind
//! root, so the server runs as another user.

use crate::support::optional::{or_not_run, run};
use crate::support::{Directory, Server, eventually, ortus_program};
use ortus::testing::{graphs, library};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// The user that has no rights of its own.
const NOBODY: &str = "65534";

/// A command that runs `ortus` without the rights of root, or why there is none. Puts copies of what
/// that user could not reach into `folder`.
fn ortus_without_root(folder: &Path) -> Result<Command, String> {
    if !rustix::process::geteuid().is_root() {
        return Ok(crate::support::ortus());
    }

    let as_nobody = |program: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", "--"]);
        command.arg(program);
        command
    };
    run(&mut as_nobody(Path::new("true")))?;
    let copied = |from: &Path, name: &str| {
        let to = folder.join(name);
        fs::hard_link(from, &to)
            .or_else(|_| fs::copy(from, &to).map(drop))
            .map_err(|e| format!("copy {name}: {e}"))?;
        Ok::<_, String>(to)
    };
    let program = copied(&ortus_program(), "ortus")?;
    let library = copied(&library(), "libonnxruntime.so")?;
    run(as_nobody(&program).arg("--version"))?;
    let mut command = as_nobody(&program);
    command
        .env("ORT_DISABLE_TELEMETRY", "1")
        .env("ORT_DYLIB_PATH", library)
        .env("HOME", folder)
        .env("XDG_CACHE_HOME", folder.join("cache"));
    Ok(command)
}

/// Folders that anybody may use, with two models that answer 2 and 2 to a row of ones.
fn open_directory() -> Directory {
    let directory = Directory::empty();
    for model in ["models/m", "models/n"] {
        directory.put(model, 1, &graphs::scaled(10));
    }
    for folder in ["", "models", "models/m", "models/m/1", "models/n"] {
        allow(&directory.path().join(folder), 0o777);
    }
    directory
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
    let directory = open_directory();
    let Some(command) = or_not_run(
        "a user without the rights of root",
        ortus_without_root(directory.path()),
    ) else {
        return;
    };
    let models = directory.path().join("models");
    let server = Server::start_command(command, &models);
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
        allow(&models.join("later"), 0o755);
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
    allow(&models.join("m/2"), 0o755);
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
    let directory = open_directory();
    let Some(command) = or_not_run(
        "a user without the rights of root",
        ortus_without_root(directory.path()),
    ) else {
        return;
    };
    let models = directory.path().join("models");
    allow(&models.join("m"), 0o644);
    let server = Server::start_command(command, &models);
    check_served(&server, "n");
    let (state_of_m, reason) = state(&server);
    assert_eq!(state_of_m, "UNAVAILABLE");
    assert!(reason.contains("ermission denied"), "{reason}");

    allow(&models.join("m"), 0o755);
    eventually("m serves", || state(&server).0 == "READY");
    check_served(&server, "m");
}
