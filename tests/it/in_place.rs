//! New bytes under the number of a loaded version: refused, also by the next server, or swapped in
//! without losing a request. Each model tells by its answer which bytes it was made of.

use crate::support::{Directory, Server, eventually};
use ortus::testing::graphs;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use tempfile::TempDir;

const SWAP: [&str; 2] = ["--set", "models.in_place=\"swap\""];

/// A model that answers with this number; every one of them has the same length.
fn answering(number: f32) -> Vec<u8> {
    graphs::demanding(number)
}

/// What the model answers, and the digest that the answer names.
fn answer(server: &Server) -> Result<(f64, String), String> {
    let body = br#"{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[3]}]}"#;
    let answer = server.post("/v2/models/m/infer", body);
    if answer.status != 200 {
        return Err(answer.text());
    }
    let number = answer.json()["outputs"][0]["data"][0].as_f64();
    let digest = answer.header("ortus-model-digest").unwrap_or_default();
    Ok((number.expect("a number"), digest.to_owned()))
}

fn answers(server: &Server, number: f64) -> bool {
    answer(server).is_ok_and(|(answered, _)| answered == number)
}

fn digest(server: &Server) -> String {
    let digest = server.get("/v2/models/m").json()["properties"]["ortus.digest"].clone();
    digest.as_str().expect("a digest").to_owned()
}

fn reason(server: &Server) -> String {
    let index = server.post("/v2/repository/index", b"").json();
    let lines = index.as_array().expect("an array");
    let line = lines.iter().find(|l| l["name"] == "m");
    line.map_or(String::new(), |l| {
        l["reason"].as_str().unwrap_or_default().to_owned()
    })
}

/// Replaces the bytes of a file that stays the same one.
fn overwrite(file: &Path, bytes: &[u8]) {
    let mut opened = fs::File::options().write(true).open(file).expect("opened");
    std::io::Write::write_all(&mut opened, bytes).expect("written");
}

/// A model directory with one version, and a folder for what servers remember.
struct Place {
    directory: Directory,
    state: TempDir,
}

impl Place {
    fn new(number: f32) -> Self {
        let directory = Directory::empty();
        directory.put("m", 1, &answering(number));
        let state = tempfile::tempdir().expect("a temporary folder");
        Self { directory, state }
    }

    fn serve(&self, arguments: &[&str]) -> Server {
        let state = format!("models.state={:?}", self.state.path());
        let all = [&["--set", &state], arguments].concat();
        Server::start_with(self.directory.path(), &all)
    }

    fn overwrite(&self, number: f32) {
        overwrite(
            &self.directory.path().join("m/1/model.onnx"),
            &answering(number),
        );
    }
}

/// Asks all the time while `change` happens, until `is_done`. No request may fail. Returns which
/// number was answered under which digest.
fn asked_while(
    server: &Server,
    change: impl FnOnce(),
    is_done: impl FnMut() -> bool,
) -> BTreeSet<(String, String)> {
    let (is_over, seen) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    let (number, digest) = answer(server).expect("no request fails");
                    seen.lock()
                        .expect("whole")
                        .insert((number.to_string(), digest));
                }
            });
        }
        eventually("an answer", || !seen.lock().expect("whole").is_empty());
        change();
        eventually("the change", is_done);
        is_over.store(true, Ordering::Release);
    });
    seen.into_inner().expect("whole")
}

#[test]
fn new_bytes_are_swapped_in_without_losing_a_request_and_each_answer_names_its_own() {
    let place = Place::new(1.0);
    let server = place.serve(&SWAP);
    let before = digest(&server);
    let mut seen = asked_while(&server, || place.overwrite(2.0), || answers(&server, 2.0));
    let after = digest(&server);
    assert_ne!(before, after);
    seen.insert(("2".to_owned(), after.clone()));
    let expected = BTreeSet::from([("1".to_owned(), before), ("2".to_owned(), after)]);
    assert_eq!(seen, expected);
    assert_eq!(reason(&server), "");

    // The series are those of the version, whose old bytes are gone.
    let ready = "ortus_model_ready{model=\"m\",version=\"1\"}";
    assert_eq!(server.metric(ready), Some(1.0));
    assert_eq!(server.metric("ortus_model_load_failures_total"), None);
}

#[test]
fn a_newcomer_that_is_refused_leaves_the_old_bytes_serving_with_one_reason() {
    let place = Place::new(1.0);
    let server = place.serve(&SWAP);
    let file = place.directory.path().join("m/1/model.onnx");
    let spoil = || fs::write(&file, "not a model").expect("written");
    let is_told = || reason(&server).contains("the new ones are refused: ");
    let seen = asked_while(&server, spoil, is_told);
    assert_eq!(seen.len(), 1);
    assert_eq!(
        server.log().matches("version refused").count(),
        1,
        "{}",
        server.log()
    );

    // Other bytes are refused with words of their own, even if these are the same.
    fs::write(&file, "no model either").expect("written");
    eventually("a second line", || {
        server.log().matches("version refused").count() == 2
    });

    fs::write(&file, answering(3.0)).expect("written");
    eventually("good bytes", || answers(&server, 3.0));
    assert_eq!(reason(&server), "");
}

#[test]
fn refused_bytes_stay_refused_in_the_next_server_until_they_are_accepted() {
    let place = Place::new(1.0);
    let server = place.serve(&[]);
    place.overwrite(2.0);
    eventually("the reason", || {
        reason(&server).contains("changed after it was loaded")
    });
    assert!(answers(&server, 1.0));
    assert_eq!(server.log().matches("version refused").count(), 1);
    drop(server);

    let server = place.serve(&[]);
    assert_eq!(server.get("/v2/health/ready").status, 400);
    let told = reason(&server);
    assert!(
        told.contains("a running server refused these files")
            && told.contains("a new version number, or")
            && told.contains("models.in_place = \"swap\""),
        "{told}"
    );
    assert!(answer(&server).is_err());
    drop(server);
    // The model is refused, whatever lies beside it.
    let beside = place.directory.path().join("m/1/golden.json");
    fs::write(&beside, "{}").expect("written");
    let server = place.serve(&[]);
    assert!(reason(&server).contains("a running server refused these files"));
    drop(server);
    fs::remove_file(beside).expect("removed");

    assert!(answers(&place.serve(&SWAP), 2.0), "accepted");
    assert!(answers(&place.serve(&[]), 2.0), "accepted for good");
}

#[test]
fn a_change_made_while_no_server_ran_is_served_and_so_are_the_old_bytes() {
    let place = Place::new(1.0);
    drop(place.serve(&[]));
    place.overwrite(2.0);
    let server = place.serve(&[]);
    assert!(answers(&server, 2.0));

    place.overwrite(3.0);
    eventually("the reason", || {
        reason(&server).contains("changed after it was loaded")
    });
    place.overwrite(2.0);
    eventually("the loaded bytes again", || reason(&server).is_empty());
    drop(server);
    assert!(answers(&place.serve(&[]), 2.0));
    // Nobody has refused these.
    place.overwrite(4.0);
    assert!(answers(&place.serve(&[]), 4.0));
}

#[test]
fn files_that_come_again_under_the_number_of_a_removed_version_are_a_new_one() {
    let place = Place::new(1.0);
    let server = place.serve(&[]);
    place.overwrite(2.0);
    eventually("the reason", || {
        reason(&server).contains("changed after it was loaded")
    });
    place.directory.put("m", 2, &answering(5.0));
    eventually("version 2", || answers(&server, 5.0));
    fs::remove_dir_all(place.directory.path().join("m/1")).expect("removed");
    let lines = || {
        server
            .post("/v2/repository/index", b"")
            .json()
            .as_array()
            .map_or(0, Vec::len)
    };
    eventually("one version", || lines() == 1);
    place.directory.put("m", 1, &answering(2.0));
    fs::remove_dir_all(place.directory.path().join("m/2")).expect("removed");
    eventually("version 1", || answers(&server, 2.0));
}

#[test]
fn the_same_size_and_times_with_other_bytes_are_seen_in_both_modes() {
    for (arguments, answered) in [(&SWAP[..], 2.0), (&[], 1.0)] {
        let place = Place::new(1.0);
        let server = place.serve(arguments);
        let file = place.directory.path().join("m/1/model.onnx");
        let before = file.metadata().expect("a file");
        place.overwrite(2.0);
        let opened = fs::File::options().write(true).open(&file).expect("opened");
        let modified = before.modified().expect("a time");
        opened.set_modified(modified).expect("dated");
        let after = file.metadata().expect("a file");
        assert_eq!(
            (after.len(), after.modified().expect("a time")),
            (before.len(), modified)
        );

        let is_seen = || answers(&server, 2.0) || !reason(&server).is_empty();
        eventually("the change", is_seen);
        assert!(answers(&server, answered));
    }
}

/// Writes a version as Kubernetes writes a volume: files are links into `..data`, which is a link to
/// a folder that is swapped as a whole.
fn volume(version: &Path, generation: &str, number: f32) {
    let folder = version.join(format!("..2026_{generation}"));
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join("model.onnx"), answering(number)).expect("written");
    let fresh = version.join("..data_tmp");
    symlink(folder.file_name().expect("a name"), &fresh).expect("linked");
    let before = fs::read_link(version.join("..data")).ok();
    fs::rename(&fresh, version.join("..data")).expect("renamed");
    let file = version.join("model.onnx");
    if !file.exists() {
        symlink("..data/model.onnx", &file).expect("linked");
    }
    if let Some(before) = before {
        fs::remove_dir_all(version.join(before)).expect("removed");
    }
}

#[test]
fn a_volume_of_a_config_map_is_followed() {
    let directory = Directory::empty();
    let version = directory.path().join("m/1");
    volume(&version, "a", 1.0);
    let server = Server::start_with(directory.path(), &SWAP);
    for (generation, number) in [("b", 2.0), ("c", 3.0), ("d", 1.0)] {
        let is_done = || answers(&server, f64::from(number));
        asked_while(&server, || volume(&version, generation, number), is_done);
    }
    assert_eq!(reason(&server), "");
}

#[test]
fn a_link_to_another_set_with_the_same_numbers_is_followed() {
    let sets = Directory::empty();
    for (set, number) in [("rel_1", 1.0), ("rel_2", 2.0)] {
        let version = sets.path().join(set).join("m/1");
        fs::create_dir_all(&version).expect("a folder");
        fs::write(version.join("model.onnx"), answering(number)).expect("written");
    }
    let live = sets.path().join("live");
    let point = |set: &str| {
        symlink(set, sets.path().join("fresh")).expect("linked");
        fs::rename(sets.path().join("fresh"), &live).expect("renamed");
    };
    point("rel_1");
    let server = Server::start_with(&live, &SWAP);
    for (set, number) in [("rel_2", 2.0), ("rel_1", 1.0)] {
        asked_while(&server, || point(set), || answers(&server, number));
    }
}

#[test]
fn a_load_call_swaps_refuses_or_takes_what_is_there_after_an_unload_call() {
    let place = Place::new(1.0);
    let explicit = ["--model-control", "explicit"];
    let call =
        |server: &Server, verb: &str| server.post(&format!("/v2/repository/models/m/{verb}"), b"");
    let load = |server: &Server, status: u16| {
        eventually("the answer of the load call", || {
            let answer = call(server, "load");
            // The files may still be written.
            answer.status == status
        });
    };

    let server = place.serve(&[&explicit[..], &SWAP].concat());
    load(&server, 200);
    place.overwrite(2.0);
    load(&server, 200);
    assert!(answers(&server, 2.0));
    drop(server);

    let server = place.serve(&explicit);
    load(&server, 200);
    place.overwrite(3.0);
    load(&server, 400);
    let told: Value = call(&server, "load").json();
    assert!(
        told.to_string().contains("changed after it was loaded"),
        "{told}"
    );
    assert!(answers(&server, 2.0));
    assert_eq!(call(&server, "unload").status, 200);
    load(&server, 200);
    assert!(answers(&server, 3.0));
}
