//! What a scan sees, and what a read refuses.

mod configuration;
mod failures;
mod layouts;
mod private;
mod refused;

use super::*;
use crate::core::error::Kind;
use crate::proto::onnx::{
    GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, TensorProto,
};
use crate::proto::onnx::{TypeProto, ValueInfoProto, type_proto};
use crate::registry::catalog::ModelEntry;
use prost::Message;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

const SETTLE: Duration = Duration::from_secs(2);
const EMPTY: Duration = Duration::from_secs(20);

fn onnx(location: Option<&str>) -> Vec<u8> {
    let tensor = type_proto::Tensor {
        elem_type: Some(1),
        shape: None,
    };

    let kind = TypeProto {
        value: Some(type_proto::Value::TensorType(tensor)),
    };
    let external = |location: &str| TensorProto {
        data_location: Some(1),
        external_data: vec![StringStringEntryProto {
            key: Some("location".into()),
            value: Some(location.into()),
        }],
        ..TensorProto::default()
    };

    let graph = GraphProto {
        initializer: location.map(external).into_iter().collect(),
        output: vec![ValueInfoProto {
            name: Some("y".into()),
            r#type: Some(kind),
        }],
        ..GraphProto::default()
    };

    let opset_import = vec![OperatorSetIdProto::default()];
    ModelProto {
        ir_version: Some(8),
        graph: Some(graph),
        opset_import,
        ..ModelProto::default()
    }
    .encode_to_vec()
}

/// A model directory, and a clock that only the test moves.
struct Bench {
    folder: tempfile::TempDir,
    directory: Directory,
    now: SystemTime,
    instant: Instant,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("models")).unwrap();
        let copies = Copies::open(folder.path().join("copies"));
        let models = ServedPath::find(folder.path().join("models"), None).unwrap();
        let directory = Directory::new(models, SETTLE, EMPTY, Some(copies), Refusals::default());
        Self {
            folder,
            directory,
            now: SystemTime::now(),
            instant: Instant::now(),
        }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join("models").join(file)
    }

    /// Writes a file, last modified `age` before the bench's now.
    fn write(&self, file: &str, bytes: &[u8], age: Duration) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(self.now - age)
            .unwrap();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.instant += time;
    }

    fn scan(&mut self) -> Catalog {
        self.directory.scan(self.now, self.instant)
    }

    /// Checks that every version that is kept says why.
    #[track_caller]
    fn kept(&mut self, needle: &str) {
        let catalog = self.scan();
        let one = catalog.models["m"].versions[&Version::new(1).unwrap()].clone();
        assert!(
            matches!(&one.sight, FolderSight::Unreadable(why) if why.contains(needle)),
            "{one:?}"
        );
        assert!(!one.settled);
    }

    #[track_caller]
    fn troubled(&self, expected: &[(&str, &str)]) {
        let found = &self.directory.last.trouble;
        let is_like = |((place, why), (key, part)): ((&String, &String), &(&str, &str))| {
            place == key && why.contains(part)
        };
        assert!(
            found.len() == expected.len() && found.iter().zip(expected).all(is_like),
            "{found:?}"
        );
    }

    fn entry(&mut self, name: &str) -> ModelEntry {
        self.scan()
            .models
            .remove(name)
            .expect("the model is listed")
    }

    fn version(&mut self) -> VersionEntry {
        self.entry("m")
            .versions
            .remove(&Version::new(1).unwrap())
            .expect("version 1 is listed")
    }

    #[track_caller]
    fn refuse(&mut self, kind: Kind, needle: &str) {
        let entry = self.version();
        let error = self.directory.read(&entry).expect_err(needle);
        assert!(
            error.kind == kind && error.message.contains(needle),
            "{:?} {}",
            error.kind,
            error.message
        );
    }
}

const OLD: Duration = Duration::from_secs(60);

#[test]
fn a_path_that_is_no_directory_and_no_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (file, name, reason) in [
        ("absent", None, "cannot be read"),
        ("absent.onnx", None, "cannot be read"),
        ("file", None, "is not an .onnx file"),
        ("bad name.onnx", None, "give one with --name"),
        ("net.onnx", Some("bad name"), "models.name"),
    ] {
        if !file.starts_with("absent") {
            fs::write(folder.path().join(file), "").unwrap();
        }
        let error = ServedPath::find(folder.path().join(file), name).unwrap_err();
        assert!(error.message.contains(reason), "{error}");
    }
}

#[test]
fn only_models_and_versions_are_listed() {
    let mut bench = Bench::new();
    for folder in [
        "m/1",
        "m/12",
        "m/next",
        "m/01",
        "m/0",
        "m/-1",
        ".hidden/1",
        "bad name/1",
    ] {
        bench.write(&format!("{folder}/model.onnx"), b"x", OLD);
    }

    bench.write("m/3/weights.bin", b"x", OLD);
    bench.write("m/4", b"a file", OLD);
    bench.write("README.md", b"x", OLD);
    let catalog = bench.scan();
    assert_eq!(
        catalog
            .models
            .keys()
            .map(ModelName::as_str)
            .collect::<Vec<_>>(),
        ["m"]
    );

    let versions: Vec<u64> = catalog.models["m"]
        .versions
        .keys()
        .map(|v| v.number())
        .collect();
    assert_eq!(versions, [1, 12]);

    let unserved: Vec<String> = catalog
        .unserved
        .iter()
        .map(|u| format!("{}/{}", u.model, u.version))
        .collect();
    assert_eq!(
        unserved,
        ["bad name/", "m/-1", "m/0", "m/01", "m/3", "m/next"]
    );
}

#[test]
fn a_version_loads_once_its_files_stop_changing() {
    let mut bench = Bench::new();
    bench.write("m/1/model.onnx", b"ha", Duration::ZERO);
    assert!(!bench.version().settled);
    bench.pass(SETTLE / 2);
    bench.write("m/1/model.onnx", b"half", Duration::ZERO);
    assert!(!bench.version().settled);
    bench.pass(SETTLE - Duration::from_nanos(1));
    assert!(!bench.version().settled);
    bench.pass(Duration::from_nanos(1));
    assert!(bench.version().settled);
}

#[test]
fn files_with_future_times_settle_by_the_monotonic_clock() {
    let mut bench = Bench::new();
    bench.now -= OLD;
    bench.write("m/1/model.onnx", b"x", Duration::ZERO);
    bench.now -= OLD;
    assert!(!bench.version().settled);
    bench.instant += SETTLE - Duration::from_nanos(1);
    assert!(!bench.version().settled);
    bench.instant += Duration::from_nanos(1);
    assert!(bench.version().settled);
}

#[test]
fn each_change_of_the_files_changes_the_fingerprint() {
    let mut bench = Bench::new();
    bench.write("m/1/model.onnx", b"one", OLD);
    let mut last = bench.version().files;
    assert_eq!(last, bench.version().files);
    let mut check = |bench: &mut Bench, what: &str| {
        let files = bench.version().files;
        assert_ne!(files, last, "{what}");
        last = files;
    };

    bench.write("m/1/model.onnx", b"longer", OLD);
    check(&mut bench, "length");
    bench.write("m/1/model.onnx", b"LONGER", OLD / 2);
    check(&mut bench, "time");
    // The clock of the file system may be coarse.
    let before = bench.version().files;
    for _ in 0..10_000 {
        bench.write("m/1/model.onnx", b"shorts", OLD / 2);
        if bench.version().files != before {
            break;
        }
    }
    check(&mut bench, "bytes alone");
    bench.write("m/1/other", b"longer", OLD / 2);
    check(&mut bench, "a file more");
    fs::rename(bench.path("m/1/other"), bench.path("m/1/model.onnx")).unwrap();
    bench.write("m/1/other", b"longer", OLD / 2);
    check(&mut bench, "another file in its place");
    bench.write("m/1/a/b/c/d/deep", b"x", OLD);
    check(&mut bench, "a file in a folder");
}

#[test]
fn links_are_followed_only_inside_the_directory() {
    let mut bench = Bench::new();
    bench.write("../secret/1/model.onnx", &onnx(None), OLD);
    bench.write("blobs/1/x.onnx", &onnx(None), OLD);
    let (outside, blob) = (bench.path("../secret"), bench.path("blobs/1/x.onnx"));
    symlink(&outside, bench.path("linked")).unwrap();
    fs::create_dir_all(bench.path("m/1")).unwrap();
    symlink(outside.join("1"), bench.path("m/2")).unwrap();
    fs::create_dir(bench.path("m/3")).unwrap();
    symlink(outside.join("1/model.onnx"), bench.path("m/3/model.onnx")).unwrap();
    symlink(&blob, bench.path("m/1/model.onnx")).unwrap();
    symlink(bench.path("loop"), bench.path("loop")).unwrap();
    let catalog = bench.scan();
    assert_eq!(
        catalog
            .models
            .keys()
            .map(ModelName::as_str)
            .collect::<Vec<_>>(),
        ["blobs", "m"]
    );

    assert_eq!(
        catalog.models["m"]
            .versions
            .keys()
            .map(|v| v.number())
            .collect::<Vec<_>>(),
        [1]
    );

    let entry = bench.version();
    bench
        .directory
        .read(&entry)
        .expect("a link inside is followed");
}

#[test]
fn digest_covers_bytes_and_external_data() {
    let mut bench = Bench::new();
    let bytes = onnx(None);
    bench.write("m/1/model.onnx", &bytes, OLD);
    let entry = bench.version();
    let loaded = bench.directory.read(&entry).unwrap();
    assert_eq!(loaded.digest, crate::core::hash::Digest::of(&bytes));
    assert_eq!((&loaded.bytes[..], loaded.external_dir), (&bytes[..], None));

    let bytes = onnx(Some("d/w.bin"));
    bench.write("m/1/model.onnx", &bytes, OLD);
    let mut digests = Vec::new();
    for weights in ["abc", "abd"] {
        bench.write("m/1/d/w.bin", weights.as_bytes(), OLD);
        let entry = bench.version();
        let loaded = bench.directory.read(&entry).unwrap();
        let copied = loaded.external_dir.as_ref().unwrap().join("d/w.bin");
        // The version's own file is of no concern any more.
        bench.write("m/1/d/w.bin", b"spoilt", OLD);
        assert_eq!(fs::read(&copied).unwrap(), weights.as_bytes());
        let mut all = format!("model.onnx\0{}\0", bytes.len()).into_bytes();
        all.extend(&bytes);
        all.extend(format!("d/w.bin\x003\0{weights}").as_bytes());
        assert_eq!(loaded.digest, crate::core::hash::Digest::of(&all));
        digests.push(loaded.digest);
    }

    assert_ne!(digests[0], digests[1]);
}

#[test]
fn external_data_must_be_files_of_the_version() {
    let mut bench = Bench::new();
    bench.write("m/1/model.onnx", &onnx(Some("w.bin")), OLD);
    bench.refuse(Kind::FailedPrecondition, "external data 'w.bin' is missing");
    fs::create_dir(bench.path("m/1/w.bin")).unwrap();
    bench.refuse(Kind::FailedPrecondition, "is not a regular file");
    fs::remove_dir(bench.path("m/1/w.bin")).unwrap();
    bench.write("../secret", b"x", OLD);
    symlink(bench.path("../secret"), bench.path("m/1/w.bin")).unwrap();
    bench.refuse(
        Kind::FailedPrecondition,
        "leads out of the version's folder",
    );
    bench.write("m/1/model.onnx", &onnx(Some("../w.bin")), OLD);
    bench.refuse(Kind::InvalidArgument, "has '..'");
    bench.write("m/1/model.onnx", b"", OLD);
    bench.refuse(Kind::InvalidArgument, "the file is empty");
}

#[test]
fn a_version_that_changed_since_the_scan_is_not_loaded() {
    let mut bench = Bench::new();
    bench.write("m/1/model.onnx", &onnx(None), OLD);
    let entry = bench.version();
    let check = |bench: &Bench| {
        let error = bench.directory.read(&entry).expect_err("changed");
        assert!(
            error.kind == Kind::Unavailable && error.message.contains("changed while it was read"),
            "{error}"
        );
    };

    bench.write("m/1/model.onnx", &onnx(None), OLD / 2);
    check(&bench);
    bench.write("m/1/model.onnx", b"not ONNX", OLD);
    check(&bench);
    fs::remove_dir_all(bench.path("m")).unwrap();
    check(&bench);
}

#[test]
fn a_model_over_a_limit_keeps_its_versions_and_says_why() {
    let mut bench = Bench::new();
    for n in 1..=VERSIONS_MAX {
        bench.write(&format!("m/{n}/model.onnx"), b"x", OLD);
    }
    bench.write("other/1/model.onnx", b"x", OLD);
    let entry = bench.entry("m");
    assert_eq!(
        (entry.versions.len(), &entry.problem),
        (VERSIONS_MAX, &None)
    );
    bench.write("m/9999/model.onnx", b"x", OLD);
    let over = bench.entry("m");
    assert!(
        entry.versions.values().all(|v| v.settled) && over.versions.values().all(|v| !v.settled)
    );
    assert!(over.versions.keys().eq(entry.versions.keys()));
    assert_eq!(
        over.problem.as_deref(),
        Some("the model has over 1000 versions")
    );
    assert_eq!(bench.entry("other").problem, None);
    fs::remove_dir_all(bench.path("m/9999")).unwrap();
    assert_eq!(bench.entry("m"), entry);
}

#[test]
fn folders_and_files_of_a_version_are_limited() {
    let mut bench = Bench::new();
    bench.write("m/1/model.onnx", b"x", OLD);
    bench.write("m/1/a/b/c/d/file", b"x", OLD);
    assert_eq!(bench.entry("m").problem, None);
    bench.write("m/1/a/b/c/d/e/file", b"x", OLD);
    bench.kept("deeper than 4");
}

#[test]
fn too_many_models_fail_the_scan() {
    let mut bench = Bench::new();
    (0..MODELS_MAX).for_each(|n| fs::create_dir(bench.path(&format!("m{n}"))).unwrap());
    assert_eq!(bench.scan().models.len(), MODELS_MAX);
    fs::create_dir(bench.path("one-more")).unwrap();
    assert_eq!(bench.scan().models.len(), MODELS_MAX);
    bench.troubled(&[("", "it has over 10000 models")]);
}
