//! Faults of a store: it refuses writes, is full, read-only or damaged.

use crate::support::optional::{is_long, or_not_run};
use crate::support::ortus_program;
use crate::support::registry::{Registry, S3, files};
use ortus::testing::conformance::{self, SuiteSize};
use ortus::testing::graphs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_suite_holds_on_an_s3_server() {
    let Some(s3) = or_not_run("an S3 server", S3::start()) else {
        return;
    };
    let commits = if is_long() { 100 } else { 25 };
    let scale = SuiteSize {
        writers: 8,
        commits,
        blob_bytes: 20 << 20,
    };
    conformance::run("s3://bucket/some/folder", &s3.env(), scale);
}

#[test]
fn a_store_that_cannot_be_written_refuses_and_changes_nothing() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    let before = registry.does(&["history", "m", "--json"]);
    // A limit on the size of files stands for a full disk; the process survives it.
    let file = registry.0.path().join("large.onnx");
    std::fs::write(&file, graphs::marked(1.0, 1 << 20)).expect("written");
    let push = format!(
        "trap '' XFSZ; ulimit -f 1024; exec {} push m {} --no-probe --allow-signature-change --registry {}",
        ortus_program().to_str().expect("text"),
        file.display(),
        registry.url()
    );
    let output = Command::new("bash")
        .arg("-c")
        .arg(push)
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        (output.status.code(), said.lines().count()),
        (Some(1), 1),
        "{said}"
    );
    assert!(said.contains("in the store"), "{said}");
    assert_eq!(registry.does(&["history", "m", "--json"]), before);
    registry.does(&["audit", "verify"]);

    // A file in the place of the store's folder.
    let other = Registry::new();
    std::fs::write(other.store(), "a file").expect("written");
    assert!(other.refuses(&["list"]).contains("is not a folder"));
    let third = Registry::new();
    std::fs::create_dir(third.store()).expect("made");
    std::fs::write(third.store().join("ns"), "a file").expect("written");
    assert_eq!(
        third
            .run(&["push", "m", file.to_str().expect("text"), "--no-probe"])
            .0,
        1
    );
}

/// The program, run by a user who may not write to the registry.
fn stranger(registry: &Registry) -> Command {
    let copy = registry.0.path().join("ortus");
    // By a process of its own: a file that this one has open for writing cannot be run meanwhile, and
    // a child of another test may have inherited it.
    let copied = Command::new("cp").arg(ortus_program()).arg(&copy).status();
    assert!(copied.expect("cp runs").success());
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
            .arg(copy);
        command
    } else {
        Command::new(copy)
    };
    command.env("HOME", "/nonexistent").current_dir("/");
    command
}

#[test]
fn read_only_access_reads_and_is_refused_to_write_in_one_line() {
    use std::os::unix::fs::PermissionsExt;
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.does(&["promote", "m", "1"]);
    let before = registry.does(&["history", "m", "--json"]);
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("set")
    };
    let mut folders = vec![registry.store()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .expect("listed")
            .map(|e| e.expect("an entry").path());
        folders.extend(entries.filter(|p| p.is_dir()));
        mode(&folder, 0o555);
    }
    mode(registry.0.path(), 0o755);
    let run = |arguments: &[&str]| {
        let output = stranger(&registry)
            .args(arguments)
            .arg("--registry")
            .arg(registry.url())
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned();
        (output.status.code(), said)
    };
    for reads in [
        vec!["list"],
        vec!["history", "m"],
        vec!["audit", "verify"],
        vec!["fleet"],
    ] {
        assert_eq!(run(&reads), (Some(0), String::new()), "{reads:?}");
    }
    let file = registry.0.path().join("model.onnx");
    mode(&file, 0o644);
    let push = ["push", "m", file.to_str().expect("text"), "--no-probe"];
    for writes in [
        &push[..],
        &["promote", "m", "1"],
        &["gc"],
        &["tag", "m", "a=b"],
    ] {
        let (code, said) = run(writes);
        assert_eq!(
            (code, said.lines().count()),
            (Some(1), 1),
            "{writes:?}: {said}"
        );
        assert!(said.to_lowercase().contains("permission"), "{said}");
    }
    assert_eq!(registry.does(&["history", "m", "--json"]), before);
    // The folders must be writable again to be removed by a user who is not root.
    let mut folders = vec![registry.store()];
    while let Some(folder) = folders.pop() {
        mode(&folder, 0o755);
        let entries = std::fs::read_dir(&folder)
            .expect("listed")
            .map(|e| e.expect("an entry").path());
        folders.extend(entries.filter(|p| p.is_dir()));
    }
}

#[test]
fn verifying_names_the_object_of_any_flipped_byte() {
    let registry = Registry::new();
    registry.push("m", 1.0);
    registry.does(&["promote", "m", "1", "--reason", "because"]);
    registry.push("m", 2.0);
    assert!(
        registry
            .does(&["audit", "verify"])
            .starts_with("verified: 3 entries, 6 blobs")
    );
    let mut all = Vec::new();
    files(&registry.store(), &mut all);
    assert_eq!(all.len(), 9, "{all:?}");
    for path in all {
        let good = std::fs::read(&path).expect("read");
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name");
        // No entry follows the last one, so its hash is not checked: only its content is.
        let last = name.ends_with("3.json");
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            std::fs::write(&path, &bad).expect("written");
            let (code, out, err) = registry.run(&["audit", "verify"]);
            let named = err.contains(name)
                || name.strip_suffix(".json").is_some_and(|n| {
                    // A changed entry is found by itself or by the hash in the next one.
                    let number: u64 = n.parse().expect("a number");
                    err.contains(&format!("entry {number}"))
                        || err.contains(&format!("{:020}", number + 1))
                });
            assert!(
                (code == 1 && named) || (last && code == 0 && at == good.len() / 2),
                "{name} at {at}: {out} {err}"
            );
            std::fs::write(&path, &good).expect("written back");
        }
        let gone = path.with_extension("gone");
        std::fs::rename(&path, &gone).expect("moved");
        let (code, _, err) = registry.run(&["audit", "verify"]);
        assert!(code == 1 || last, "{name} is gone: {err}");
        std::fs::rename(&gone, &path).expect("moved back");
    }
    registry.does(&["audit", "verify"]);
}
