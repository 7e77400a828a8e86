//! The GPU kit of `tests/gpu/`, end to end on the CPU provider: packed, carried piece by
//! piece, run, and its report read. On a GPU it is run by hand; its page says how.

#[allow(
    dead_code,
    reason = "shared with the server's tests, which use all of it"
)]
#[path = "../../tests/it/support/optional.rs"]
mod optional;
#[path = "support/programs.rs"]
mod programs;

use optional::{or_not_run, run};
use programs::{library, loadtest_program, ortus_program, root};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// The limit of a run here: no machine is too slow for it.
const MINUTES: &str = "60";
/// What the kit exits with where pieces are missing.
const PIECES_MISSING: i32 = 3;

/// A command of the kit.
fn kit(program: &str) -> Command {
    let mut command = Command::new("python3");
    command
        .arg("-B")
        .arg(root().join("tests/gpu").join(program))
        .env("ORT_DISABLE_TELEMETRY", "1");
    command
}

/// What the kit needs, or the reason why it cannot be had.
fn python() -> Result<(), String> {
    let asked =
        "import sys, lzma; sys.exit(sys.version_info < (3, 10) and 'Python is older than 3.10')";
    run(Command::new("python3").args(["-c", asked])).map(drop)
}

/// A folder with programs, models, pieces and what runs write.
struct Packed(TempDir);

impl Packed {
    /// Packs the programs of this build and the library for the CPU, in small pieces.
    fn pack(library: &Path, models: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let programs = folder.path().join("programs");
        fs::create_dir(&programs).expect("a folder");
        fs::copy(ortus_program(), programs.join("ortus")).expect("copied");
        fs::copy(loadtest_program(), programs.join("ortus-loadtest")).expect("copied");

        let mut pack = kit("pack");
        pack.args(["--preset", "0", "--piece-mib", "8", "--library"])
            .arg(library)
            .arg("--programs")
            .arg(&programs)
            .arg("--out")
            .arg(folder.path().join("pieces"));
        if let Some(models) = models {
            pack.arg("--models").arg(models);
        }
        run(&mut pack).expect("packed");
        fs::remove_dir_all(programs).expect("removed");
        Self(folder)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The pieces, in order.
    fn pieces(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.at("pieces")).expect("a folder");
        let mut pieces: Vec<_> = files.map(|f| f.expect("listed").path()).collect();
        pieces.retain(|path| path.extension().is_some_and(|e| e == "xz"));
        pieces.sort();
        pieces
    }

    fn unpack(&self, pieces: &Path) -> Output {
        let mut unpack = kit("unpack");
        unpack.arg("--pieces").arg(pieces);
        unpack.arg("--work").arg(self.at("work"));
        unpack.output().expect("runs")
    }

    /// Runs the kit; returns its exit code and its report.
    fn run(&self, options: &[&str]) -> (Option<i32>, Value) {
        let mut run = kit("run");
        run.args(["--provider", "cpu", "--size", "small"])
            .args(["--minutes", MINUTES])
            .args(options);
        for folder in ["pieces", "work", "out"] {
            run.arg(format!("--{folder}")).arg(self.at(folder));
        }
        let output = run.output().expect("runs");
        let text = fs::read(self.at("out/report.json")).unwrap_or_else(|error| {
            panic!("no report: {error}; {}", said(&output));
        });
        (
            output.status.code(),
            serde_json::from_slice(&text).expect("JSON"),
        )
    }
}

fn said(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).into_owned()
}

fn step<'r>(report: &'r Value, name: &str) -> &'r Value {
    let steps = report["steps"].as_array().expect("steps");
    let found = steps.iter().find(|step| step["name"] == name);
    found.unwrap_or_else(|| panic!("no step {name} in {report}"))
}

/// Carries the pieces one by one; each is gone when the next one comes.
fn carry_one_by_one(packed: &Packed) {
    let pieces = packed.pieces();
    assert!(pieces.len() > 2, "{pieces:?}");
    let arrived = packed.at("arrived");
    fs::create_dir(&arrived).expect("a folder");
    fs::copy(
        packed.at("pieces/manifest.json"),
        arrived.join("manifest.json"),
    )
    .expect("copied");

    for (at, piece) in pieces.iter().enumerate() {
        let here = arrived.join(piece.file_name().expect("a name"));
        fs::write(&here, b"damaged").expect("written");
        let output = packed.unpack(&arrived);
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("is damaged"), "{}", said(&output));

        fs::copy(piece, &here).expect("copied");
        let output = packed.unpack(&arrived);
        let is_last = at + 1 == pieces.len();
        let expected = if is_last { 0 } else { PIECES_MISSING };
        assert_eq!(output.status.code(), Some(expected), "{}", said(&output));
        for other in &pieces[at + 1..] {
            let name = other.file_name().expect("a name").to_string_lossy();
            assert!(said(&output).contains(&*name), "{}", said(&output));
        }
        fs::remove_file(here).expect("removed");
    }
}

fn check_figures(report: &Value) {
    for name in [
        "pieces", "machine", "refusal", "golden", "swap", "share", "reloads",
    ] {
        let step = step(report, name);
        assert_eq!(step["state"], "ok", "{step:#}");
    }
    let reason = step(report, "refusal")["figures"]["reason"].to_string();
    assert!(
        reason.contains("execution provider 'cuda' is not available"),
        "{reason}"
    );
    let swap = &step(report, "swap")["figures"];
    assert_eq!((&swap["swaps"], &swap["lost"]), (&2.into(), &0.into()));
    assert!(
        swap["checked_answers"].as_u64().is_some_and(|n| n > 0),
        "{swap}"
    );

    let table = step(report, "share")["figures"]["table"].as_array();
    let table = table.expect("a table");
    assert_eq!(table.len(), 9);
    let is_positive = |key: &str| table.iter().all(|line| line[key].as_f64() > Some(0.0));
    for key in ["share", "rows_per_s", "raw_rows_per_s"] {
        assert!(is_positive(key), "{key}: {table:?}");
    }
    assert_eq!(step(report, "reloads")["figures"]["last"]["reload"], 6);
}

#[test]
fn kit_is_carried_in_pieces_and_runs_end_to_end() {
    let needed = python().and_then(|()| library());
    let Some(library) = or_not_run("the GPU kit's Python and library", needed) else {
        return;
    };
    let packed = Packed::pack(&library, None);
    carry_one_by_one(&packed);
    fs::remove_file(&packed.pieces()[0]).expect("removed");

    let (code, report) = packed.run(&[]);
    check_figures(&report);
    assert_eq!((code, &report["verdict"]), (Some(0), &"ok".into()));
    let page = fs::read_to_string(packed.at("out/README.md")).expect("a page");
    assert!(page.starts_with("# GPU kit: ok"), "{page}");
    assert!(page.contains("| m5 | 32 |"), "{page}");
}

#[test]
fn wrong_golden_answer_fails_the_run() {
    let needed = python().and_then(|()| library());
    let Some(library) = or_not_run("the GPU kit's Python and library", needed) else {
        return;
    };
    let models = tempfile::tempdir().expect("a temporary folder");
    let mut write = Command::new(loadtest_program());
    write
        .arg("models")
        .arg(models.path())
        .args(["m0", "m3", "m4", "m5", "--library"])
        .arg(&library);
    run(write.env("ORT_DISABLE_TELEMETRY", "1")).expect("written");
    let file = models.path().join("m4/rows.json");
    let mut rows: Value =
        serde_json::from_slice(&fs::read(&file).expect("readable")).expect("JSON");
    let value = rows["y"][2][0].as_f64().expect("a number");
    rows["y"][2][0] = (value + 1.0).into();
    fs::write(&file, rows.to_string()).expect("written");

    let packed = Packed::pack(&library, Some(models.path()));
    let (code, report) = packed.run(&["--steps", "golden"]);
    assert_eq!((code, &report["verdict"]), (Some(1), &"failed".into()));
    let golden = step(&report, "golden");
    assert_eq!(golden["state"], "failed");
    let error = golden["error"].to_string();
    assert!(error.contains("m4: wrong answer: row 2"), "{error}");
}

#[test]
fn raw_speed_on_an_absent_gpu_is_an_error() {
    let Some(library) = or_not_run("the library", library()) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let loadtest = |arguments: &[&str]| {
        let mut command = Command::new(loadtest_program());
        command.args(arguments).arg("--library").arg(&library);
        command.env("CUDA_VISIBLE_DEVICES", "-1");
        command.env("ORT_DISABLE_TELEMETRY", "1");
        command.output().expect("runs")
    };
    let written = loadtest(&["models", folder.path().to_str().expect("text"), "m0"]);
    assert!(written.status.success(), "{}", said(&written));
    let model = folder.path().join("m0/1/model.onnx");
    let model = model.to_str().expect("text");

    let raw = |provider| {
        loadtest(&[
            "raw",
            "--seconds",
            "0.01",
            "--model",
            model,
            "--provider",
            provider,
        ])
    };
    assert!(raw("cpu").status.success());
    let refused = raw("cuda");
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("CUDA"), "{}", said(&refused));
}

#[test]
fn kit_passes_its_own_tests() {
    let Some(()) = or_not_run("the GPU kit's Python", python()) else {
        return;
    };
    let output = kit("selftest.py").output().expect("runs");
    assert!(output.status.success(), "{}", said(&output));
}
