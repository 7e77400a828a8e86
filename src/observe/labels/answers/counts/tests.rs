//! Tests of `counts`.

use super::*;
use crate::core::model::{Signature, Version};

/// Rows in format 1. They are never edited.
const GOLDEN: &str = include_str!("../golden/rows-1.json");

fn subject(version: u64) -> Arc<WatchSubject> {
    Arc::new(WatchSubject {
        model: ModelName::parse("m").expect("legal"),
        version: Version::new(version).expect("legal"),
        digest: Digest([1; 32]),
        signature: Signature::default(),
        features: Vec::new(),
        baseline: None,
        task: None,
        slices: Vec::new(),
        rules: Default::default(),
    })
}

#[test]
fn rows_of_each_hour_and_version_are_added_up_and_written_when_they_change() {
    let (mut rows, one, two) = (RunRows::default(), subject(1), subject(2));
    for (hour, subject, count) in [(5, &one, 3), (5, &two, 4), (5, &one, 1), (6, &one, 2)] {
        rows.add(hour, subject, count);
    }
    let written = rows.take_changed();
    let hours: Vec<u64> = written.iter().map(|(hour, _)| *hour).collect();
    assert_eq!(hours, [5, 6]);
    assert_eq!(String::from_utf8_lossy(&written[0].1), GOLDEN.trim_end());
    let read = read(&written[0].1).expect("reads");
    assert_eq!((read[0].1, read[1].1), (4, 4));
    assert_eq!(
        (read[0].0.1, read[1].0.1),
        (1, 2),
        "equal bytes, two versions"
    );

    assert!(rows.take_changed().is_empty());
    rows.failed(6);
    assert_eq!(rows.take_changed().len(), 1);
}

#[test]
fn damaged_and_future_rows_are_refused() {
    for (text, part) in [
        (GOLDEN.replace("\"format\":1", "\"format\":2"), "format 2"),
        (GOLDEN[..20].to_owned(), "damaged"),
        (GOLDEN.replace("sha256:", "md5:"), "sha256"),
    ] {
        let error = read(text.as_bytes()).expect_err("must be refused");
        assert!(error.message.contains(part), "{error}");
    }
}

#[test]
fn a_run_keeps_the_rows_of_two_days() {
    let (mut rows, subject) = (RunRows::default(), subject(1));
    for hour in 0..100 {
        rows.add(hour, &subject, 1);
        rows.take_changed();
    }
    assert_eq!(rows.hours.len(), HOURS_MAX);
}
