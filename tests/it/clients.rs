//! The clients that people use, in Python, against a real server.

use crate::support::{Directory, Server, models_folder};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Whether an absent optional part fails the test instead of skipping it.
fn is_required() -> bool {
    std::env::var("ORTUS_TEST_REQUIRE").is_ok_and(|v| v == "all")
}

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// A Python with the pinned clients, made once and kept in the user's cache.
fn python() -> Result<PathBuf, String> {
    let wanted = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/requirements.txt");
    let text = std::fs::read_to_string(&wanted).map_err(|e| e.to_string())?;
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    let home = std::env::var("HOME").map_err(|e| format!("HOME: {e}"))?;
    let cache = std::env::var("XDG_CACHE_HOME").map_or_else(|_| PathBuf::from(home).join(".cache"), PathBuf::from);
    let folder = cache.join("ortus").join(format!("test-clients-{hash:016x}"));
    let (python, whole) = (folder.join("bin/python"), folder.join("whole"));
    if !whole.exists() {
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "-r"]).arg(&wanted))?;
        std::fs::write(&whole, "").map_err(|e| e.to_string())?;
    }
    Ok(python)
}

#[test]
fn tritonclient_curl_and_a_reflecting_client_get_the_golden_answers() {
    let python = match python() {
        Ok(python) => python,
        Err(reason) if is_required() => panic!("the Python clients cannot be installed: {reason}"),
        Err(reason) => {
            println!("NOT RUN: the Python clients cannot be installed: {}", reason.lines().last().unwrap_or_default());
            return;
        }
    };
    let directory = Directory::of_all_models();
    let server = Server::start(directory.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/check.py");
    let answer = run(Command::new(python).arg(script).arg(&server.http).arg(&server.grpc).arg(models_folder()));
    let said = answer.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(said.lines().filter(|l| l.ends_with("golden over 4 clients")).count(), 5, "{said}");
}
