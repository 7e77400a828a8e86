//! Optional parts that tests fetch into the user's cache with the ordinary clients. They
//! are pinned, made once, and made again when their list of requirements changes.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The fetched part, or `None` after a note for the summary that ends the run
/// (`trainer/tests/summary.rs`). Under `ORTUS_TEST_REQUIRE=all` absence fails the test.
pub(crate) fn or_not_run<T>(what: &str, part: Result<T, String>) -> Option<T> {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let note = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("not-run")
        .join(name.replace("::", "."));
    let reason = match part {
        Ok(part) => {
            // The note of an earlier run is out of date.
            let _ = std::fs::remove_file(note);
            return Some(part);
        }
        Err(reason) => reason,
    };
    if std::env::var("ORTUS_TEST_REQUIRE").is_ok_and(|v| v == "all") {
        panic!("{what} cannot be had: {reason}");
    }

    let reason = reason.lines().last().unwrap_or_default();
    let line = format!("{name}: {what} cannot be had: {reason}\n");
    std::fs::create_dir_all(note.parent().expect("a folder")).expect("made");
    std::fs::write(&note, &line).expect("noted");
    None
}

/// Whether `ORTUS_TEST_SIZE=long` asks for the long form of tests.
pub(crate) fn is_long() -> bool {
    std::env::var("ORTUS_TEST_SIZE").is_ok_and(|v| v == "long")
}

pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

/// A folder in the cache, filled once by `make` from a list in `tests/`.
fn cached(
    name: &str,
    requirements: &str,
    make: impl FnOnce(&Path, &Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let list = super::root().join("tests").join(requirements);
    let text = std::fs::read_to_string(&list).map_err(|e| e.to_string())?;
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    let home = std::env::var("HOME").map_err(|e| format!("HOME: {e}"))?;
    let cache = std::env::var("XDG_CACHE_HOME")
        .map_or_else(|_| PathBuf::from(home).join(".cache"), PathBuf::from);
    let folder = cache.join("ortus").join(format!("{name}-{hash:016x}"));
    let whole = folder.join("whole");
    // Tests run in parallel; one makes the folder, the others wait.
    static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = MAKING
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if !whole.exists() {
        make(&folder, &list)?;
        std::fs::write(&whole, "").map_err(|e| e.to_string())?;
    }
    Ok(folder)
}

/// A Python with the packages of a list in `tests/` and what they need.
pub(crate) fn python(name: &str, requirements: &str) -> Result<PathBuf, String> {
    python_with(name, requirements, &[])
}

/// A Python with just the packages of a list in `tests/`, where one of them asks for another that is too large.
pub(crate) fn pinned(name: &str, requirements: &str) -> Result<PathBuf, String> {
    python_with(name, requirements, &["--no-deps"])
}

fn python_with(name: &str, requirements: &str, options: &[&str]) -> Result<PathBuf, String> {
    let folder = cached(name, requirements, |folder, list| {
        run(Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(folder))?;
        let python = folder.join("bin/python");
        run(Command::new(python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(options)
            .arg("-r")
            .arg(list))
        .map(drop)
    })?;
    Ok(folder.join("bin/python"))
}

/// An ONNX Runtime library older than any that is accepted.
pub(crate) fn old_runtime() -> Result<PathBuf, String> {
    if std::env::consts::ARCH != "x86_64" {
        return Err(format!(
            "no old ONNX Runtime is pinned for {}",
            std::env::consts::ARCH
        ));
    }
    let folder = cached("old-runtime", "runtime/requirements.txt", |folder, list| {
        let pip = [
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--require-hashes",
            "--only-binary=:all:",
        ];
        let target = [
            "--implementation",
            "cp",
            "--python-version",
            "3.12",
            "--abi",
            "cp312",
        ];
        let platform = [
            "--platform",
            "manylinux_2_28_x86_64",
            "--platform",
            "manylinux_2_27_x86_64",
        ];
        let mut download = Command::new("python3");
        run(download
            .args(pip)
            .args(target)
            .args(platform)
            .arg("-r")
            .arg(list)
            .arg("-d")
            .arg(folder))?;
        let files = std::fs::read_dir(folder).map_err(|e| e.to_string())?;
        let wheel = files
            .filter_map(|f| Some(f.ok()?.path()))
            .find(|f| f.extension().is_some_and(|e| e == "whl"));
        let wheel = wheel.ok_or("pip fetched no package")?;
        run(Command::new("python3")
            .args(["-m", "zipfile", "-e"])
            .arg(wheel)
            .arg(folder))
        .map(drop)
    })?;
    Ok(folder.join("onnxruntime/capi/libonnxruntime.so.1.23.2"))
}

/// Triton's load generator, and where its libraries are.
pub(crate) struct PerfAnalyzer {
    pub program: PathBuf,
    /// As in `LD_LIBRARY_PATH`.
    pub libraries: String,
}

/// Fetches `perf_analyzer` from Triton's Python package of the last version that has it, with the two libraries that
/// it needs: one from its Python package, one from Debian's.
pub(crate) fn perf_analyzer() -> Result<PerfAnalyzer, String> {
    if std::env::consts::ARCH != "x86_64" {
        return Err("it is built for x86_64 only".to_owned());
    }
    let folder = cached(
        "perf-analyzer",
        "clients/perf_analyzer.txt",
        |folder, list| {
            std::fs::create_dir_all(folder).map_err(|e| e.to_string())?;
            let pip = ["-m", "pip", "download", "--quiet", "--no-deps"];
            run(Command::new("python3")
                .args(pip)
                .arg("-r")
                .arg(list)
                .arg("-d")
                .arg(folder))?;
            run(Command::new("apt-get")
                .args(["download", "-qq", "libb64-0d"])
                .current_dir(folder))?;
            for file in std::fs::read_dir(folder).map_err(|e| e.to_string())? {
                let path = file.map_err(|e| e.to_string())?.path();
                let extension = path.extension().unwrap_or_default();
                if extension == "whl" {
                    let unzip = ["-m", "zipfile", "-e"];
                    run(Command::new("python3").args(unzip).arg(&path).arg(folder))?;
                } else if extension == "deb" {
                    run(Command::new("dpkg-deb").arg("-x").arg(&path).arg(folder))?;
                }
            }
            let program = folder.join(PERF_ANALYZER);
            run(Command::new("chmod").arg("+x").arg(program)).map(drop)
        },
    )?;
    let libraries = ["nvidia/cuda_runtime/lib", "usr/lib/x86_64-linux-gnu"];
    let libraries = libraries.map(|library| folder.join(library).display().to_string());
    Ok(PerfAnalyzer {
        program: folder.join(PERF_ANALYZER),
        libraries: libraries.join(":"),
    })
}

/// The program in the package.
const PERF_ANALYZER: &str = "tritonclient-2.50.0.data/data/bin/perf_analyzer";
