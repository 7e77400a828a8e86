//! Tests of `scratch`.

use super::*;

#[test]
fn what_the_dead_left_goes_and_what_the_living_have_stays() {
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
