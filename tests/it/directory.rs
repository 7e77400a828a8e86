//! Serving from a model directory: broken files change nothing, files that change in
//! place are refused, and explicit control loads only what it is asked to.

use crate::support::{Directory, Server, eventually, model_file};
use serde_json::Value;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn index(server: &Server) -> Vec<Value> {
    server
        .post("/v2/repository/index", b"")
        .json()
        .as_array()
        .expect("a bare array")
        .clone()
}

fn line(server: &Server, model: &str, version: &str) -> Option<Value> {
    index(server)
        .into_iter()
        .find(|l| l["name"] == model && l["version"] == version)
}

fn latest(server: &Server, model: &str) -> u16 {
    server.get(&format!("/v2/models/{model}/ready")).status
}

#[test]
fn broken_files_are_reported_and_the_rest_serves() {
    let directory = Directory::empty();
    let good = model_file("diabetes", "1");
    directory.put("good", 1, &good);
    directory.put("empty", 1, b"");
    directory.put("garbage", 1, b"this is not a model but text of some length");
    directory.put("truncated", 1, &good[..good.len() / 2]);
    directory.put("unknown-op", 1, &renamed_operator(&good));
    let server = Server::start(directory.path());
    assert_eq!(latest(&server, "good"), 200);
    for broken in ["empty", "garbage", "truncated", "unknown-op"] {
        let line = line(&server, broken, "1").expect("listed");
        assert_eq!(line["state"], "UNAVAILABLE", "{line}");
        assert!(
            line["reason"].as_str().is_some_and(|r| r.len() > 10),
            "{line}"
        );
        assert_eq!(latest(&server, broken), 400, "{broken}");
        assert!(
            server
                .metric(&format!(
                    "ortus_model_load_failures_total{{model=\"{broken}\"}}"
                ))
                .is_some()
        );
    }
    let answer = server.post("/v2/models/empty/infer", b"{}");
    assert_eq!(answer.status, 503, "{}", answer.text());
}

/// The same graph with an operator that does not exist.
fn renamed_operator(model: &[u8]) -> Vec<u8> {
    let name = b"TreeEnsembleRegressor";
    let mut renamed = model.to_vec();
    // The name of the node may contain that of its operator.
    let places: Vec<usize> = (0..model.len() - name.len())
        .filter(|at| model[*at..].starts_with(name))
        .collect();
    assert!(!places.is_empty());
    places
        .into_iter()
        .for_each(|at| renamed[at..at + 4].copy_from_slice(b"Shub"));
    renamed
}

#[test]
fn a_broken_version_changes_nothing_that_serves_and_a_good_one_follows() {
    let directory = Directory::empty();
    directory.put("m", 1, &model_file("wine", "1"));
    let server = Server::start_with(directory.path(), &["--set", "models.empty_delay=100ms"]);
    directory.put("m", 2, b"broken");
    eventually("version 2 refused", || {
        line(&server, "m", "2").is_some_and(|l| l["state"] == "UNAVAILABLE")
    });
    assert_eq!(
        server.get("/v2/models/m").json()["versions"],
        serde_json::json!(["1"])
    );
    directory.put("m", 3, &model_file("wine", ".next"));
    eventually("version 3", || {
        server.get("/v2/models/m").json()["versions"] == serde_json::json!(["3"])
    });
    fs::remove_dir_all(directory.path().join("m/3")).expect("removed");
    eventually("version 1 again", || {
        server.get("/v2/models/m").json()["versions"] == serde_json::json!(["1"])
    });
    fs::remove_dir_all(directory.path().join("m")).expect("removed");
    eventually("no model", || server.get("/v2/models/m").status == 404);
}

#[test]
fn a_deleted_model_is_called_so_before_it_is_unloaded() {
    let directory = Directory::with(&["wine", "digits"]);
    let server = Server::start(directory.path());
    fs::remove_dir_all(directory.path().join("wine")).expect("removed");
    eventually("no model", || server.get("/v2/models/wine").status == 404);
    let log = server.log();
    let told = log.lines().filter(|l| l.contains("its folder is gone"));
    let told: Vec<&str> = told.collect();
    assert!(
        matches!(&told[..], [one] if one.contains("wine") && one.contains("no other version")),
        "{log}"
    );
}

#[test]
fn a_start_with_only_a_misnamed_model_is_not_ready_and_says_why() {
    let directory = Directory::empty();
    let folder = directory.path().join("only");
    fs::create_dir_all(folder.join("v1")).expect("created");
    fs::write(folder.join("v1/model.onnx"), model_file("wine", "1")).expect("written");
    let server = Server::start(directory.path());
    assert_eq!(server.get("/v2/health/ready").status, 400);
    let start_line = &server.start_line;
    assert!(
        start_line.starts_with("not ready: 0 versions serve, 0 refused, 1 not served;"),
        "{start_line}"
    );
    let answer = server.post("/v2/models/only/infer", b"{}");
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert!(
        answer.text().contains("rename it to 1"),
        "{}",
        answer.text()
    );
    let log = server.log();
    assert!(
        log.contains("not ready: nothing in the model directory"),
        "{log}"
    );

    fs::rename(folder.join("v1"), folder.join("1")).expect("renamed");
    eventually("ready", || server.get("/v2/health/ready").status == 200);
    eventually("the log says so", || {
        server
            .log()
            .contains("ready: what held the server back is mended")
    });
}

#[test]
fn files_that_change_in_place_are_refused_and_the_loaded_version_still_serves() {
    let directory = Directory::empty();
    directory.put("m", 1, &model_file("wine", "1"));
    let server = Server::start(directory.path());
    let digest = server.get("/v2/models/m").json()["properties"]["ortus.digest"].clone();
    fs::write(
        directory.path().join("m/1/model.onnx"),
        model_file("wine", ".next"),
    )
    .expect("written");
    eventually("the change reported", || {
        line(&server, "m", "1").is_some_and(|l| {
            l["reason"]
                .as_str()
                .is_some_and(|r| r.contains("changed after it was loaded"))
        })
    });
    assert_eq!(
        server.get("/v2/models/m").json()["properties"]["ortus.digest"],
        digest
    );
    assert_eq!(latest(&server, "m"), 200);
}

#[test]
fn a_half_copied_file_is_not_loaded() {
    let directory = Directory::empty();
    directory.put("other", 1, &model_file("wine", "1"));
    let server = Server::start_with(directory.path(), &["--set", "models.settle=5s"]);
    let bytes = model_file("diabetes", "1");
    let folder = directory.path().join("slow/1");
    fs::create_dir_all(&folder).expect("a folder");
    let reason = || line(&server, "slow", "1").map(|l| l["reason"].clone());

    // Each piece is written long before the last one has settled.
    let mut written = 0;
    for part in bytes.chunks(bytes.len() / 8 + 1) {
        written += part.len();
        fs::write(folder.join("model.onnx"), &bytes[..written]).expect("written");
        eventually("the server sees the file", || reason().is_some());
        assert!(reason().is_none_or(|r| r == "its files are still being written"));
    }
    eventually("the whole file", || latest(&server, "slow") == 200);
    assert_eq!(
        server.metric("ortus_model_load_failures_total{model=\"slow\"}"),
        None
    );
}

#[test]
fn explicit_control_loads_and_unloads_on_request() {
    let directory = Directory::empty();
    directory.put("m", 1, &model_file("wine", "1"));
    directory.put("n", 1, b"broken");
    let server = Server::start_with(directory.path(), &["--model-control", "explicit"]);
    assert_eq!(server.get("/v2/models/m").status, 404);
    assert_eq!(
        line(&server, "m", "1").expect("listed")["state"],
        "UNAVAILABLE"
    );
    assert_eq!(server.post("/v2/repository/models/m/load", b"").status, 200);
    assert_eq!(latest(&server, "m"), 200);
    assert_eq!(server.post("/v2/repository/models/n/load", b"").status, 400);
    assert_eq!(
        server.post("/v2/repository/models/absent/load", b"").status,
        404
    );
    assert_eq!(
        server.post("/v2/repository/models/m/unload", b"").status,
        200
    );
    assert_eq!(server.get("/v2/models/m").status, 404);
}

#[test]
fn servers_that_poll_refuse_requests_to_load_and_unload() {
    let directory = Directory::empty();
    directory.put("m", 1, &model_file("wine", "1"));
    let server = Server::start(directory.path());
    let answer = server.post("/v2/repository/models/m/unload", b"");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("explicit"), "{}", answer.text());
}

#[test]
fn labels_and_version_policy_come_from_the_configuration() {
    let directory = Directory::empty();
    directory.put("m", 1, &model_file("wine", "1"));
    directory.put("m", 2, &model_file("wine", ".next"));
    let arguments = [
        "--set",
        "model.m.versions=\"all\"",
        "--set",
        "model.m.labels={stable=1}",
    ];
    let server = Server::start_with(directory.path(), &arguments);
    assert_eq!(
        server.get("/v2/models/m").json()["versions"],
        serde_json::json!(["1", "2"])
    );
    let row = vec![1.0; 13];
    let body = serde_json::json!({"instances": [row]}).to_string();
    let by_label = server.post("/v1/models/m/labels/stable:predict", body.as_bytes());
    assert_eq!(by_label.headers["ortus-model-version"], "1");
    assert_eq!(
        server.post("/v1/models/m:predict", body.as_bytes()).headers["ortus-model-version"],
        "2"
    );
    assert_eq!(
        server
            .post("/v1/models/m/labels/other:predict", body.as_bytes())
            .status,
        400
    );
}

#[test]
fn a_triton_configuration_is_applied_or_the_model_is_refused() {
    let directory = Directory::empty();
    directory.put("small", 1, &model_file("wine", "1"));
    fs::write(
        directory.path().join("small/config.pbtxt"),
        "max_batch_size: 2\n",
    )
    .expect("written");
    directory.put("odd", 1, &model_file("wine", "1"));
    fs::write(
        directory.path().join("odd/config.pbtxt"),
        "sequence_batching { }\n",
    )
    .expect("written");
    let server = Server::start(directory.path());
    assert_eq!(
        server.get("/v2/models/small/config").json()["max_batch_size"],
        2
    );
    let reason = line(&server, "odd", "1").expect("listed")["reason"].clone();
    assert!(
        reason
            .as_str()
            .is_some_and(|r| r.contains("sequence_batching")),
        "{reason}"
    );
}

/// Asks for predictions while `change` happens, and checks that none fails until `is_done`.
fn nothing_fails(server: &Server, change: impl FnOnce(), is_done: impl FnMut() -> bool) {
    let row = vec![1.0; 13];
    let body = serde_json::json!({"instances": [row]}).to_string();
    let is_over = AtomicBool::new(false);
    let asked = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !is_over.load(Ordering::Acquire) {
                let answer = server.post("/v1/models/m:predict", body.as_bytes());
                assert_eq!(answer.status, 200, "{}", answer.text());
                asked.fetch_add(1, Ordering::AcqRel);
            }
        });
        eventually("requests", || asked.load(Ordering::Acquire) > 10);
        change();
        eventually("the other version", is_done);
        is_over.store(true, Ordering::Release);
        asking.join().expect("no request fails");
    });
}

fn serves(server: &Server, versions: &[&str]) -> bool {
    server.get("/v2/models/m").json()["versions"] == serde_json::json!(versions)
}

#[test]
fn a_version_whose_folder_goes_serves_until_the_other_one_is_ready() {
    let directory = Directory::empty();
    let m = directory.path().join("m");
    directory.put("m", 1, &model_file("wine", "1"));
    directory.put("m", 2, &model_file("wine", ".next"));
    let server = Server::start(directory.path());
    let roll_back = || fs::remove_dir_all(m.join("2")).expect("removed");
    nothing_fails(&server, roll_back, || serves(&server, &["1"]));
    let rename = || fs::rename(m.join("1"), m.join("5")).expect("renamed");
    nothing_fails(&server, rename, || serves(&server, &["5"]));

    // Nothing that can serve is left, so the bytes in memory go on.
    let spoil = || {
        directory.put("m", 6, b"broken");
        fs::remove_dir_all(m.join("5")).expect("removed");
    };
    let says_so = || {
        let reason = |version| line(&server, "m", version).map(|l| l["reason"].to_string());
        reason("5").is_some_and(|r| r.contains("its folder is gone"))
            && reason("6").is_some_and(|r| r.contains("ONNX"))
    };
    nothing_fails(&server, spoil, says_so);
    assert!(serves(&server, &["5"]));
}

#[test]
fn a_link_to_another_set_of_models_is_followed_without_losing_a_request() {
    let directory = Directory::empty();
    for (release, version, file) in [("rel_1", "1", "1"), ("rel_2", "2", ".next")] {
        directory.put(release, 1, &model_file("wine", file));
        let versions = directory.path().join(format!("sets/{release}/m"));
        fs::create_dir_all(&versions).expect("a folder");
        fs::rename(
            directory.path().join(release).join("1"),
            versions.join(version),
        )
        .expect("renamed");
    }
    let live = directory.path().join("live");
    let point = |release: &str| {
        let fresh = directory.path().join("fresh");
        std::os::unix::fs::symlink(directory.path().join("sets").join(release), &fresh)
            .expect("linked");
        fs::rename(&fresh, &live).expect("renamed");
    };
    point("rel_1");
    let server = Server::start(&live);
    nothing_fails(&server, || point("rel_2"), || serves(&server, &["2"]));
    nothing_fails(&server, || point("rel_1"), || serves(&server, &["1"]));
}

#[test]
fn an_explicit_load_replaces_a_version_whose_folder_is_gone() {
    let directory = Directory::empty();
    directory.put("m", 1, &model_file("wine", "1"));
    directory.put("m", 2, &model_file("wine", ".next"));
    let server = Server::start_with(directory.path(), &["--model-control", "explicit"]);
    let load = || assert_eq!(server.post("/v2/repository/models/m/load", b"").status, 200);
    load();
    let roll_back = || {
        fs::remove_dir_all(directory.path().join("m/2")).expect("removed");
        load();
    };
    nothing_fails(&server, roll_back, || serves(&server, &["1"]));
    assert_eq!(
        server.post("/v2/repository/models/m/unload", b"").status,
        200
    );
    assert_eq!(server.get("/v2/models/m").status, 404);
}

#[test]
fn the_start_does_not_wait_for_versions_that_are_not_wanted() {
    let directory = Directory::empty();
    directory.put("m", 1, &model_file("wine", "1"));
    directory.put("m", 2, &model_file("wine", ".next"));
    let server = Server::start(directory.path());
    let line = line(&server, "m", "1").expect("listed");
    assert_eq!(
        (&line["state"], &line["reason"]),
        (&"UNAVAILABLE".into(), &"not wanted by latest:1".into())
    );
}

#[test]
fn a_lost_model_directory_changes_nothing_that_serves() {
    let directory = Directory::empty();
    directory.put("models/m", 1, &model_file("wine", "1"));
    let (models, away) = (
        directory.path().join("models"),
        directory.path().join("away"),
    );
    let server = Server::start(&models);
    let in_trouble = || server.metric("ortus_model_directory_trouble");
    let lose = || {
        fs::rename(&models, &away).expect("renamed");
        fs::create_dir(&models).expect("a folder");
    };
    nothing_fails(&server, lose, || in_trouble() == Some(1.0));
    let line = line(&server, "m", "1").expect("listed");
    assert_eq!(line["state"], "READY");
    let reason = line["reason"].to_string();
    assert!(reason.contains("as when a mount is lost"), "{reason}");

    fs::remove_dir(&models).expect("removed");
    fs::rename(&away, &models).expect("renamed");
    eventually("all is well", || in_trouble() == Some(0.0));
    let lines = server.log();
    assert_eq!(
        lines.matches("model directory in trouble").count(),
        1,
        "{lines}"
    );
}

#[test]
fn what_is_not_served_is_listed_and_an_explicit_load_says_why() {
    let directory = Directory::empty();
    directory.put("styled", 1, &model_file("wine", "1"));
    let styled = directory.path().join("styled");
    fs::rename(styled.join("1"), styled.join("v123")).expect("renamed");
    let server = Server::start_with(directory.path(), &["--model-control", "explicit"]);
    let line = line(&server, "styled", "v123").expect("listed");
    assert_eq!(line["state"], "UNAVAILABLE");
    let answer = server.post("/v2/repository/models/styled/load", b"");
    assert_eq!(answer.status, 400);
    for text in [line["reason"].to_string(), answer.text()] {
        assert!(text.contains("rename it to 123"), "{text}");
    }
    assert_eq!(server.metric("ortus_model_directory_unserved"), Some(1.0));
    // The log has it when the server is ready, and has it once.
    assert_eq!(server.log().matches("not served").count(), 1);
}

#[test]
fn equal_bytes_and_other_files_are_no_change() {
    let directory = Directory::empty();
    directory.put("m", 1, &model_file("wine", "1"));
    let server = Server::start(directory.path());
    let folder = directory.path().join("m/1");
    fs::write(folder.join("README.md"), "about").expect("written");
    fs::write(folder.join("copy"), model_file("wine", "1")).expect("written");
    fs::rename(folder.join("copy"), folder.join("model.onnx")).expect("renamed");
    directory.put("m", 2, b"broken");
    eventually("a later scan", || {
        line(&server, "m", "2").is_some_and(|l| l["state"] == "UNAVAILABLE")
    });
    let line = line(&server, "m", "1").expect("listed");
    assert_eq!(
        (&line["state"], &line["reason"]),
        (&"READY".into(), &"".into())
    );
    assert!(!server.log().contains("changed after it was loaded"));
}
