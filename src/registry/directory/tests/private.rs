//! Private copies of what a version needs while it serves.

use super::*;
use crate::registry::model_file::{KEPT_BYTES_MAX, ModelFile};
use std::os::unix::fs::MetadataExt;

fn folders(root: &Path) -> usize {
    let all = fs::read_dir(root).unwrap();
    all.filter(|e| e.as_ref().unwrap().path().is_dir()).count()
}

fn entries(root: &Path) -> usize {
    fs::read_dir(root).map_or(0, Iterator::count)
}

/// A model over the size that is kept in memory.
fn large() -> Vec<u8> {
    let mut model = ModelProto::decode(&onnx(None)[..]).unwrap();
    model.producer_name = Some("x".repeat(KEPT_BYTES_MAX));
    model.encode_to_vec()
}

#[test]
fn copies_go_with_their_version_and_with_a_crashed_server() {
    let bench = Bench::new();
    let root = bench.path("../copies");
    let copies = bench.directory.copies.as_ref().unwrap();
    let (one, two) = (copies.folder().unwrap(), copies.folder().unwrap());
    drop(one);

    // What a server leaves that is killed, once with and once without its folder.
    fs::create_dir_all(root.join("ortus-copy-crashed/external")).unwrap();
    fs::write(root.join("ortus-copy-crashed.lock"), "").unwrap();
    fs::write(root.join("ortus-copy-early.lock"), "").unwrap();
    // What is not ours.
    fs::create_dir(root.join("weights")).unwrap();
    fs::write(root.join("other.lock"), "").unwrap();

    let _other = Copies::open(root.clone());
    assert_eq!(folders(&root), 2);
    assert!(two.external().parent().unwrap().is_dir());
    assert!(root.join("weights").is_dir() && root.join("other.lock").is_file());
    drop(two);
    assert_eq!(entries(&root), 2);
}

#[test]
fn external_data_without_a_place_for_its_copy_is_refused() {
    let mut bench = Bench::new();
    bench.directory.copies = None;
    bench.write("m/1/model.onnx", &onnx(Some("w.bin")), OLD);
    bench.write("m/1/w.bin", b"abc", OLD);
    bench.refuse(Kind::FailedPrecondition, "set models.weights_cache");
}

#[test]
fn a_place_that_cannot_be_used_refuses_external_data_and_no_model_without_it() {
    let mut bench = Bench::new();
    fs::write(bench.path("../file"), "").unwrap();
    bench.directory.copies = Some(Copies::open(bench.path("../file/copies")));
    bench.write("m/1/model.onnx", &onnx(Some("w.bin")), OLD);
    bench.write("m/1/w.bin", b"abc", OLD);
    bench.refuse(Kind::Unavailable, "in models.weights_cache");

    bench.write("m/1/model.onnx", &large(), OLD);
    let entry = bench.version();
    let loaded = bench.directory.read(&entry).unwrap();
    let ModelFile::Disk(path, _) = &loaded.file else {
        panic!("{:?}", loaded.file);
    };
    assert!(path.starts_with(bench.path("m/1").canonicalize().unwrap()));
    fs::write(path, "other bytes").unwrap();
    let error = loaded.file.read().expect_err("changed");
    assert!(
        error
            .message
            .contains("changed since the version was loaded")
    );
}

#[test]
fn a_copy_that_fails_leaves_nothing() {
    let mut bench = Bench::new();
    bench.write("m/1/model.onnx", &onnx(Some("d/w.bin")), OLD);
    fs::create_dir_all(bench.path("m/1/d/w.bin")).unwrap();
    bench.refuse(Kind::FailedPrecondition, "is not a regular file");
    assert_eq!(entries(&bench.path("../copies")), 0);
}

#[test]
fn the_model_file_of_a_loaded_version_is_read_without_its_folder() {
    for (bytes, copies) in [(onnx(None), 0), (large(), 1)] {
        let mut bench = Bench::new();
        bench.write("m/1/model.onnx", &bytes, OLD);
        let entry = bench.version();
        let loaded = bench.directory.read(&entry).unwrap();
        let root = bench.path("../copies");
        assert_eq!(entries(&root), 2 * copies, "a folder and its lock");
        assert_eq!(loaded.external_dir, None);
        fs::remove_dir_all(bench.path("m")).unwrap();
        assert_eq!(loaded.file.read().unwrap(), bytes);
        drop(loaded);
        assert_eq!(entries(&root), 0);
    }
}

#[test]
fn copies_share_nothing_with_links_and_stay_sparse() {
    let mut bench = Bench::new();
    let sparse_bytes = 8 << 20;
    bench.write("m/1/model.onnx", &onnx(Some("d/w.bin")), OLD);
    bench.write("m/1/blob", b"abc", OLD);
    let blob = fs::File::options()
        .write(true)
        .open(bench.path("m/1/blob"))
        .unwrap();
    blob.set_len(sparse_bytes).unwrap();
    fs::create_dir(bench.path("m/1/d")).unwrap();
    fs::hard_link(bench.path("m/1/blob"), bench.path("m/1/d/w.bin")).unwrap();

    let entry = bench.version();
    let loaded = bench.directory.read(&entry).unwrap();
    let copy = loaded.external_dir.as_ref().unwrap().join("d/w.bin");
    let (meta, own) = (
        copy.metadata().unwrap(),
        bench.path("m/1/blob").metadata().unwrap(),
    );
    assert_ne!(meta.ino(), own.ino());
    assert_eq!(meta.len(), sparse_bytes);
    assert!(meta.blocks() * 512 < sparse_bytes / 4, "{}", meta.blocks());
    fs::write(bench.path("m/1/blob"), "other").unwrap();
    let bytes = fs::read(&copy).unwrap();
    assert!(bytes.starts_with(b"abc\0") && bytes.len() as u64 == sparse_bytes);
}
