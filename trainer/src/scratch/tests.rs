//! Tests of `scratch`.

use super::*;

#[test]
fn folders_of_ended_processes_are_removed_and_those_of_running_ones_stay() {
    let below = tempfile::tempdir().expect("a folder");
    let make = |name: String| {
        let path = below.path().join(name);
        std::fs::create_dir_all(path.join("inside")).expect("made");
        path
    };

    let (dead, own, other) = (
        make(format!("{NAME}4194999")),
        make(format!("{NAME}{}", std::process::id())),
        make("another".to_owned()),
    );

    sweep(below.path());
    assert!(!dead.exists() && own.exists() && other.exists());
}
