//! What is remembered of refused bytes.

use super::refusals::REFUSED_MAX;
use super::*;

fn name(text: &str) -> ModelName {
    ModelName::parse(text).unwrap()
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let all = fs::read_dir(folder).unwrap();
    all.map(|e| e.unwrap().path()).collect()
}

#[test]
fn refused_bytes_are_remembered_by_directory_until_they_are_accepted() {
    let state = tempfile::tempdir().unwrap();
    let open = |directory: &str| Refusals::open(Some(state.path()), Path::new(directory));
    let (m, n) = (name("m"), name("n"));
    let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
    let mut first = open("/models");
    assert_eq!(files(state.path()).len(), 0, "nothing was refused");
    first.add(&m, version(1), one);
    first.add(&m, version(2), one);
    first.add(&n, version(1), one);
    first.add(&m, version(1), other);

    let mut next = open("/models");
    assert!(next.contains(&m, version(1), one) && next.contains(&m, version(1), other));
    assert!(!next.contains(&m, version(3), one) && !next.contains(&n, version(1), other));
    assert!(!open("/elsewhere").contains(&m, version(1), one));

    next.accept(&m, version(1), one);
    next.forget(&m, Some(version(2)));
    let last = open("/models");
    assert!(!last.contains(&m, version(1), one) && !last.contains(&m, version(2), one));
    assert!(last.contains(&m, version(1), other) && last.contains(&n, version(1), one));
    next.forget(&m, None);
    assert!(!open("/models").contains(&m, version(1), other));
}

#[test]
fn refused_bytes_are_known_by_every_name_of_the_directory() {
    let (state, place) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let at = |name: &str| place.path().join(name);
    let knows = |directory: &str, bytes: Digest| {
        let refusals = Refusals::open(Some(state.path()), &at(directory));
        refusals.contains(&name("m"), version(1), bytes)
    };
    for folder in ["one", "two"] {
        fs::create_dir(at(folder)).unwrap();
    }
    std::os::unix::fs::symlink("one", at("link")).unwrap();
    let (first, second) = (Digest::of(b"1"), Digest::of(b"2"));

    Refusals::open(Some(state.path()), &at("link")).add(&name("m"), version(1), first);
    assert!(knows("link", first) && knows("one", first) && knows("two/../one", first));
    assert!(!knows("two", first));
    Refusals::open(Some(state.path()), &at("one")).add(&name("m"), version(1), second);
    assert!(knows("link", second));

    // A link that leads to other models now is the same directory to those who configured it.
    fs::remove_file(at("link")).unwrap();
    std::os::unix::fs::symlink("two", at("link")).unwrap();
    assert!(knows("link", first));
}

#[test]
fn servers_of_one_directory_add_to_what_the_other_has_stored() {
    let state = tempfile::tempdir().unwrap();
    let open = || Refusals::open(Some(state.path()), Path::new("models"));
    let (mut one, mut two) = (open(), open());
    one.add(&name("m"), version(1), Digest::of(b"1"));
    two.add(&name("n"), version(1), Digest::of(b"1"));
    assert!(open().contains(&name("m"), version(1), Digest::of(b"1")));
    assert!(two.contains(&name("m"), version(1), Digest::of(b"1")));
}

#[test]
fn the_oldest_refusals_are_forgotten_beyond_the_limit() {
    let mut refusals = Refusals::default();
    let digest = Digest::of(b"1");
    for number in 1..=REFUSED_MAX as u64 + 1 {
        refusals.add(&name("m"), version(number), digest);
    }
    assert!(!refusals.contains(&name("m"), version(1), digest));
    assert!(refusals.contains(&name("m"), version(2), digest));
}

#[test]
fn a_full_state_file_can_be_read_again() {
    let longest = name(&"m".repeat(crate::core::model::NAME_BYTES_MAX));
    let line = |number: usize| serde_json::json!({"model": longest.as_str(), "version": i64::MAX as u64 - number as u64, "digest": Digest::of(b"1").to_string()});
    let state = tempfile::tempdir().unwrap();
    let open = || Refusals::open(Some(state.path()), Path::new("models"));
    open().add(&longest, version(1), Digest::of(b"1"));
    let all: Vec<_> = (0..REFUSED_MAX).map(line).collect();
    let full = serde_json::json!({"format": 1, "directory": "models", "refused": all});
    fs::write(&files(state.path())[0], full.to_string()).unwrap();

    open().add(&longest, version(1), Digest::of(b"1"));
    let last = open();
    assert!(last.contains(&longest, version(1), Digest::of(b"1")));
    assert!(!last.contains(&longest, version(i64::MAX as u64), Digest::of(b"1")));
    assert!(last.contains(&longest, version(i64::MAX as u64 - 1), Digest::of(b"1")));
}

#[test]
fn a_state_file_that_cannot_be_used_costs_the_memory_and_nothing_else() {
    let (m, digest) = (name("m"), Digest::of(b"1"));
    for spoilt in [
        "",
        "{}",
        "[1]",
        "{\"format\": 2, \"directory\": \"\", \"refused\": []}",
    ] {
        let state = tempfile::tempdir().unwrap();
        let open = || Refusals::open(Some(state.path()), Path::new("models"));
        open().add(&m, version(1), digest);
        fs::write(&files(state.path())[0], spoilt).unwrap();
        let mut refusals = open();
        assert!(!refusals.contains(&m, version(1), digest), "{spoilt}");
        refusals.add(&m, version(2), digest);
        assert!(open().contains(&m, version(2), digest), "{spoilt}");
        assert_eq!(files(state.path()).len(), 1);
    }

    let place = tempfile::NamedTempFile::new().unwrap();
    for folder in [None, Some(place.path())] {
        let mut refusals = Refusals::open(folder, Path::new("models"));
        refusals.add(&m, version(1), digest);
        assert!(refusals.contains(&m, version(1), digest));
        refusals.forget(&m, None);
        assert!(!refusals.contains(&m, version(1), digest));
    }
}
