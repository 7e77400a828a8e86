//! External data is served from a private copy: what happens to the user's file changes neither
//! answers nor the process.

use crate::support::{Directory, Server, eventually};
use ortus::proto::onnx::TensorProto;
use ortus::testing::graphs::{self, OutsideModel};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const ROWS: usize = 1 << 14;
const COLUMNS: usize = 8;

/// Looks up rows of a table, which is external data: ONNX Runtime maps its file.
fn table() -> OutsideModel {
    let values = (0..u16::MAX).cycle().take(ROWS * COLUMNS);
    let values: Vec<f32> = values.map(f32::from).collect();
    let table = TensorProto {
        dims: vec![ROWS as i64, COLUMNS as i64],
        ..graphs::floats("table", &values)
    };
    graphs::outside(table, "w.bin")
}

fn put(directory: &Directory, version: u64) {
    let OutsideModel { model, data } = table();
    directory.put_with("m", version, &model, &[("w.bin", &data)]);
}

/// Asks for the most rows of a batch, from all over the table, so that many pages are read.
fn answer(server: &Server) -> serde_json::Value {
    let ids: Vec<usize> = (0..ROWS).step_by(256).collect();
    let body = serde_json::json!({
        "inputs": [{"name": "x", "datatype": "INT64", "shape": [ids.len()], "data": ids}]
    });
    let answer = server.post("/v2/models/m/infer", body.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["outputs"][0]["data"].clone()
}

fn copies(folder: &Path) -> usize {
    let all = fs::read_dir(folder).expect("listed");
    all.filter(|e| e.as_ref().expect("read").path().is_dir())
        .count()
}

/// Serves the table with private copies in a folder of the test's own.
fn serve(directory: &Directory, cache: &Path) -> Server {
    let setting = format!("models.weights_cache={cache:?}");
    Server::start_with(directory.path(), &["--set", &setting])
}

#[test]
fn nothing_that_happens_to_the_file_of_external_data_changes_what_serves() {
    let directory = Directory::empty();
    let cache = tempfile::tempdir().expect("a temporary folder");
    put(&directory, 1);
    let mut server = serve(&directory, cache.path());
    let before = answer(&server);
    assert_eq!(before[COLUMNS].as_f64(), Some(2048.0));
    assert_eq!(copies(cache.path()), 1);

    let file = directory.path().join("m/1/w.bin");
    let spare = directory.path().join("spare.bin");
    fs::write(&spare, vec![0; ROWS * COLUMNS * 4]).expect("written");
    let in_place = || fs::File::options().write(true).open(&file).expect("opened");
    let overwrite = || std::io::Write::write_all(&mut in_place(), &vec![0; ROWS * COLUMNS * 4]);
    let truncate = || in_place().set_len(4096);
    let copy_over = || fs::copy(&spare, &file).map(drop);
    let delete = || fs::remove_file(&file);
    let changes: [(&str, &dyn Fn() -> std::io::Result<()>); 6] = [
        ("overwritten in place", &overwrite),
        ("truncated", &truncate),
        ("copied over", &copy_over),
        ("truncated again", &truncate),
        ("copied over again", &copy_over),
        ("deleted", &delete),
    ];

    let (is_over, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Acquire) {
                    assert_eq!(answer(&server), before, "while the file changes");
                    asked.fetch_add(1, Ordering::AcqRel);
                }
            });
        }
        for (what, change) in changes {
            let start = asked.load(Ordering::Acquire);
            change().expect(what);
            eventually(what, || asked.load(Ordering::Acquire) >= start + 4);
        }
        is_over.store(true, Ordering::Release);
    });
    assert!(server.is_running());
    eventually("the reason names the file that is gone", || {
        let index = server.post("/v2/repository/index", b"").text();
        index.contains("external data 'w.bin' is missing; the loaded bytes keep serving")
    });

    // The copy goes with its version.
    fs::write(&file, table().data).expect("written");
    put(&directory, 2);
    let versions = || server.get("/v2/models/m").json()["versions"].clone();
    eventually("version 2", || versions() == serde_json::json!(["2"]));
    eventually("one copy", || copies(cache.path()) == 1);
    assert_eq!(answer(&server), before);
}

#[test]
fn servers_share_the_folder_of_copies_and_the_next_one_deletes_what_a_killed_one_left() {
    let directory = Directory::empty();
    let cache = tempfile::tempdir().expect("a temporary folder");
    put(&directory, 1);
    let one = serve(&directory, cache.path());
    let killed = serve(&directory, cache.path());
    assert_eq!(copies(cache.path()), 2);
    drop(killed);
    assert_eq!(copies(cache.path()), 2);

    let mut other = serve(&directory, cache.path());
    assert_eq!(copies(cache.path()), 2);
    assert_eq!(answer(&one), answer(&other));
    other.terminate();
    assert_eq!(other.wait(), Some(0));
    assert_eq!(copies(cache.path()), 1);
    answer(&one);
}

#[test]
fn a_version_whose_copy_cannot_be_made_is_refused_and_the_old_one_serves() {
    let directory = Directory::empty();
    let cache = tempfile::tempdir().expect("a temporary folder");
    let place = cache.path().join("copies");
    put(&directory, 1);
    let server = serve(&directory, &place);
    let before = answer(&server);

    // No folder can be made where the place has become a file.
    fs::rename(&place, cache.path().join("aside")).expect("renamed");
    fs::write(&place, "").expect("written");
    put(&directory, 2);
    eventually("the reason", || {
        let index = server.post("/v2/repository/index", b"").text();
        index.contains("cannot be made in models.weights_cache")
    });
    assert_eq!(answer(&server), before);

    // It is tried again by itself.
    fs::remove_file(&place).expect("removed");
    let versions = || server.get("/v2/models/m").json()["versions"].clone();
    eventually("version 2", || versions() == serde_json::json!(["2"]));
    assert_eq!(answer(&server), before);
}
