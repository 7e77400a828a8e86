//! External data is served from a private copy: what happens to the user's file changes neither
//! answers nor the process.

use crate::support::{Directory, Server, eventually};
use std::fs;
use std::path::Path;

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

#[test]
fn nothing_that_happens_to_the_file_of_external_data_changes_what_serves() {
    let directory = Directory::empty();
    let cache = tempfile::tempdir().expect("a temporary folder");
    directory.put_with("m", 1, &table_model(), &[("w.bin", &weights())]);
    let setting = format!("models.weights_cache={:?}", cache.path());
    let mut server = Server::start_with(directory.path(), &["--set", &setting]);
    let before = answer(&server);
    assert_eq!(before[COLUMNS].as_f64(), Some(2048.0));
    assert_eq!(copies(cache.path()), 1);

    let file = directory.path().join("m/1/w.bin");
    let in_place = || fs::File::options().write(true).open(&file).expect("opened");
    let zeros = vec![0; ROWS * COLUMNS * 4];
    std::io::Write::write_all(&mut in_place(), &zeros).expect("written");
    assert_eq!(answer(&server), before, "overwritten in place");
    in_place().set_len(4096).expect("truncated");
    assert_eq!(answer(&server), before, "truncated");
    fs::write(&file, weights()).expect("written");
    assert_eq!(answer(&server), before, "copied over");
    fs::remove_file(&file).expect("removed");
    assert_eq!(answer(&server), before, "deleted");
    assert!(server.is_running());

    // The copy goes with its version.
    fs::write(&file, weights()).expect("written");
    directory.put_with("m", 2, &table_model(), &[("w.bin", &weights())]);
    let versions = || server.get("/v2/models/m").json()["versions"].clone();
    eventually("version 2", || versions() == serde_json::json!(["2"]));
    eventually("one copy", || copies(cache.path()) == 1);
    assert_eq!(answer(&server), before);
}
