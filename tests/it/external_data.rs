//! External data is served from a private copy: what happens to the user's file changes neither
//! answers nor the process.

use crate::support::{Directory, Server, eventually};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const ROWS: usize = 1 << 14;
const COLUMNS: usize = 8;

/// A field of a protobuf message that holds bytes, a text or a message.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &varint(bytes.len()), bytes].concat()
}

/// A field that holds a number.
fn number(number: u8, value: usize) -> Vec<u8> {
    [&[number << 3][..], &varint(value)].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}

/// A named tensor with an element type and its dimensions.
fn value(name: &str, element: usize, dims: &[Vec<u8>]) -> Vec<u8> {
    let dims: Vec<u8> = dims.iter().flat_map(|dim| field(1, dim)).collect();
    let tensor = [number(1, element), field(2, &dims)].concat();
    [field(1, name.as_bytes()), field(2, &field(1, &tensor))].concat()
}

/// Looks up rows of a table, which is external data: ONNX Runtime maps its file.
fn table_model() -> Vec<u8> {
    let (float, int64) = (1, 7);
    let location = [field(1, b"location"), field(2, b"w.bin")].concat();
    let table = [
        number(1, ROWS),
        number(1, COLUMNS),
        number(2, float),
        field(8, b"w"),
        field(13, &location),
        number(14, 1),
    ]
    .concat();
    let node = [
        field(1, b"w"),
        field(1, b"ids"),
        field(2, b"e"),
        field(4, b"Gather"),
    ]
    .concat();

    let rows = field(2, b"N");
    let graph = [
        field(1, &node),
        field(2, b"g"),
        field(5, &table),
        field(11, &value("ids", int64, std::slice::from_ref(&rows))),
        field(12, &value("e", float, &[rows, number(1, COLUMNS)])),
    ]
    .concat();
    let opset = [field(1, b""), number(2, 17)].concat();
    [number(1, 8), field(7, &graph), field(8, &opset)].concat()
}

fn weights() -> Vec<u8> {
    let values = (0..u16::MAX).cycle().take(ROWS * COLUMNS);
    values.flat_map(|v| f32::from(v).to_le_bytes()).collect()
}

/// Asks for the most rows of a batch, from all over the table, so that many pages are read.
fn answer(server: &Server) -> serde_json::Value {
    let ids: Vec<usize> = (0..ROWS).step_by(256).collect();
    let body = serde_json::json!({
        "inputs": [{"name": "ids", "datatype": "INT64", "shape": [ids.len()], "data": ids}]
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
    directory.put_with("m", 1, &table_model(), &[("w.bin", &weights())]);
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

    // The copy goes with its version.
    fs::write(&file, weights()).expect("written");
    directory.put_with("m", 2, &table_model(), &[("w.bin", &weights())]);
    let versions = || server.get("/v2/models/m").json()["versions"].clone();
    eventually("version 2", || versions() == serde_json::json!(["2"]));
    eventually("one copy", || copies(cache.path()) == 1);
    assert_eq!(answer(&server), before);
}

#[test]
fn servers_share_the_folder_of_copies_and_the_next_one_deletes_what_a_killed_one_left() {
    let directory = Directory::empty();
    let cache = tempfile::tempdir().expect("a temporary folder");
    directory.put_with("m", 1, &table_model(), &[("w.bin", &weights())]);
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
    directory.put_with("m", 1, &table_model(), &[("w.bin", &weights())]);
    let server = serve(&directory, &place);
    let before = answer(&server);

    // No folder can be made where the place has become a file.
    fs::rename(&place, cache.path().join("aside")).expect("renamed");
    fs::write(&place, "").expect("written");
    directory.put_with("m", 2, &table_model(), &[("w.bin", &weights())]);
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
