//! Kept verdicts: read back, never for another model, and limited in number.

use super::*;
use crate::onnx::first_run::{FirstRunMeasures, GeneratedRuns};

fn passed() -> Passed {
    Passed {
        measured: FirstRunMeasures {
            load_ms: 1.0,
            one_row_us: Some(2.5),
            largest_us: None,
            rss_bytes: 4,
            batchable: true,
        },
        golden: None,
        generated: GeneratedRuns {
            size: Some(16),
            ..GeneratedRuns::default()
        },
    }
}

#[test]
fn a_verdict_is_read_back_for_its_model_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("new/v");
    let (mine, other) = (Digest::of(b"mine"), Digest::of(b"other"));
    assert_eq!(read(&path, &mine), None);
    keep(&path, &mine, &passed());
    assert_eq!(read(&path, &mine), Some(passed()));
    assert_eq!(read(&path, &other), None);
}

#[test]
fn a_corrupt_verdict_is_ignored_and_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("v");
    let mine = Digest::of(b"mine");
    for text in ["", "{}", "null", "{\"model\":\"x\""] {
        std::fs::write(&path, text).expect("written");
        assert_eq!(read(&path, &mine), None, "{text}");
    }
    keep(&path, &mine, &passed());
    assert_eq!(read(&path, &mine), Some(passed()));
}

#[test]
fn the_oldest_verdicts_beyond_the_limit_are_deleted() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = SystemTime::now() - std::time::Duration::from_secs(3600);
    for number in 0..VERDICTS_MAX {
        let file = std::fs::File::create(folder.path().join(number.to_string())).expect("made");
        let age = std::time::Duration::from_secs(number as u64);
        file.set_modified(old + age).expect("dated");
    }
    let mine = Digest::of(b"mine");
    keep(&folder.path().join("new"), &mine, &passed());
    let left = std::fs::read_dir(folder.path()).expect("listed").count();
    assert_eq!(left, VERDICTS_MAX);
    assert!(!folder.path().join("0").exists());
    assert!(folder.path().join("1").exists());
    assert_eq!(read(&folder.path().join("new"), &mine), Some(passed()));
}
