//! A version whose folder goes while its successor takes seconds to load: the old one answers
//! until then, in every control mode.

use crate::support::{Directory, Server, eventually, settings};
use ortus::testing::graphs;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Answers x times `factor`.
fn times(factor: f32, width: i64) -> Vec<u8> {
    graphs::slow_to_open(factor, width, 12)
}

/// A version that is opened at once.
fn quick(version: u8) -> Vec<u8> {
    times(f32::from(version), 2)
}

/// A version whose opening takes seconds.
fn slow(version: u8) -> Vec<u8> {
    times(f32::from(version), 1_000)
}

/// Asks `m` for a prediction. Its answer is the number of the version that the header names, which
/// is returned.
fn ask(server: &Server) -> u64 {
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}"#;
    let answer = server.post("/v2/models/m/infer", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let version = answer.header("ortus-model-version").expect("a version");
    let version: u64 = version.parse().expect("a number");
    assert_eq!(
        answer.json()["outputs"][0]["data"][0],
        version as f64,
        "of version {version}"
    );
    version
}

fn is_loading(server: &Server, version: u64) -> bool {
    let index = server.post("/v2/repository/index", b"{}").json();
    let lines = index.as_array().expect("a list").iter();
    let number = version.to_string();
    let loads = |line: &serde_json::Value| line["version"] == *number && line["state"] == "LOADING";
    lines.clone().any(loads)
}

/// Asks all the time while `change` puts `new` in the place of `old`. The old version must answer
/// while the new one loads, and no request may fail.
fn replace(server: &Server, old: u64, new: u64, change: impl FnOnce()) {
    let is_over = AtomicBool::new(false);
    let asked = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut seen = Vec::new();
            while !is_over.load(Ordering::Acquire) {
                seen.push(ask(server));
                asked.fetch_add(1, Ordering::AcqRel);
            }
            seen
        });
        eventually("requests", || asked.load(Ordering::Acquire) > 5);
        scope.spawn(|| {
            eventually("the load", || is_loading(server, new));
            assert_eq!(ask(server), old, "while version {new} loads");
        });
        change();
        eventually("the other version", || ask(server) == new);
        is_over.store(true, Ordering::Release);

        let seen = asking.join().expect("no request fails");
        let swapped = seen.iter().position(|v| *v == new).unwrap_or(seen.len());
        assert!(seen[..swapped].iter().all(|v| *v == old), "{seen:?}");
        assert!(seen[swapped..].iter().all(|v| *v == new), "{seen:?}");
    });
}

/// The first run would open the model once more.
fn server(models: &Path, more: &[&str]) -> Server {
    let mut all = settings(&["models.probe=false", "models.defaults.lanes=1"]);
    all.extend(more);
    Server::start_with(models, &all)
}

#[test]
fn a_rollback_by_deletion_and_a_renamed_version_lose_no_request() {
    let directory = Directory::empty();
    directory.put("m", 1, &slow(1));
    directory.put("m", 2, &quick(2));
    let server = server(directory.path(), &[]);
    let m = directory.path().join("m");
    replace(&server, 2, 1, || {
        fs::remove_dir_all(m.join("2")).expect("removed");
    });

    // A new version is moved into place, and the old one deleted at once.
    replace(&server, 1, 3, || {
        directory.put("m", 3, &slow(3));
        fs::remove_dir_all(m.join("1")).expect("removed");
    });
}

#[test]
fn a_flipped_link_loses_no_request() {
    let directory = Directory::empty();
    directory.put("rel_1/m", 1, &quick(1));
    directory.put("rel_2/m", 2, &slow(2));
    let live = directory.path().join("live");
    symlink(directory.path().join("rel_1"), &live).expect("linked");
    let server = server(&live, &[]);
    replace(&server, 1, 2, || {
        let fresh = directory.path().join("fresh");
        symlink(directory.path().join("rel_2"), &fresh).expect("linked");
        fs::rename(&fresh, &live).expect("renamed");
    });
}

#[test]
fn an_explicit_load_after_a_deletion_loses_no_request() {
    let directory = Directory::empty();
    directory.put("m", 1, &slow(1));
    directory.put("m", 2, &quick(2));
    let server = server(directory.path(), &["--model-control", "explicit"]);
    let load = || assert_eq!(server.post("/v2/repository/models/m/load", b"").status, 200);
    load();
    replace(&server, 2, 1, || {
        fs::remove_dir_all(directory.path().join("m/2")).expect("removed");
        load();
    });
}

#[test]
fn a_version_serves_until_its_folder_is_removed_and_not_only_its_model() {
    let directory = Directory::empty();
    directory.put("m", 1, &quick(1));
    let folder = directory.path().join("m/1");
    fs::write(folder.join("labels.txt"), "one").expect("written");
    let server = Server::start(directory.path());
    assert_eq!(ask(&server), 1);
    let reason = || {
        let index = server.post("/v2/repository/index", b"{}").json();
        index[0]["reason"].as_str().unwrap_or_default().to_owned()
    };

    fs::remove_file(folder.join("model.onnx")).expect("removed");
    eventually("the index says why", || {
        reason().contains("it has no 'model.onnx'")
    });
    symlink("nowhere/model.onnx", folder.join("model.onnx")).expect("linked");
    eventually("the index says why", || {
        reason().contains("is a link to nothing")
    });
    assert_eq!(ask(&server), 1);
    assert!(reason().contains("keeps serving"), "{}", reason());

    fs::remove_dir_all(&folder).expect("removed");
    eventually("it is out of service", || {
        server.post("/v2/models/m/infer", b"{}").status >= 500
            || server.get("/v2/models/m").status == 404
    });
}
