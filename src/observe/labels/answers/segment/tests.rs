//! Tests of `segment`.

use super::*;
use crate::core::hash::Digest;
use crate::core::model::task::Classification;
use crate::core::model::{ModelName, Signature, Version};

/// A segment in format 1. It is never edited.
const GOLDEN: &[u8] = include_bytes!("../golden/answers-1.answers");

fn subject(task: Task, slices: &[&str]) -> Arc<WatchSubject> {
    Arc::new(WatchSubject {
        model: ModelName::parse("m").expect("legal"),
        version: Version::new(3).expect("legal"),
        digest: Digest([3; 32]),
        signature: Signature::default(),
        features: Vec::new(),
        baseline: None,
        task: Some(task),
        slices: slices.iter().map(|s| (*s).to_owned()).collect(),
        rules: Default::default(),
    })
}

fn classes() -> Task {
    Task::Classification(Classification {
        scores: 0,
        is_single: false,
        label: None,
        classes: ["no", "yes"].map(str::to_owned).to_vec(),
    })
}

fn id(n: u128) -> Uuid {
    Uuid::from_u128(0x019a_a0b2_0000_7abc_8def_0000_0000_0000 + n)
}

/// Three predictions of two versions, not in the order of their ids.
fn sample() -> SegmentBuilder {
    let mut segment = SegmentBuilder::default();
    let (classifier, values) = (
        subject(classes(), &["colour", "size"]),
        subject(Task::Regression(0), &[]),
    );
    let answers = [
        Some(RowAnswer::Class(1, vec![0.25, 0.75])),
        None,
        Some(RowAnswer::Class(0, vec![1.0, 0.0])),
    ];
    let parts = [
        ["red", "blue", "red"].map(str::to_owned).to_vec(),
        // A slice whose column has fewer rows.
        vec!["small".to_owned()],
    ];
    let value = [Some(RowAnswer::Value(-2.5)), Some(RowAnswer::Value(1e300))];
    assert!(segment.add(&classifier, id(9), &answers, &parts));
    assert!(segment.add(&values, id(1), &value, &[]));
    assert!(segment.add(&classifier, id(200), &answers[..1], &[]));
    segment
}

#[test]
fn predictions_are_found_as_they_were_added() {
    let written = sample().write();
    let segment = AnswerSegment::read(&written.into()).expect("reads");
    let found = |n| segment.find(id(n)).expect("sound");

    let first = found(9).expect("there");
    assert_eq!(
        (first.model.as_str(), first.version, first.answers.len()),
        ("m", 3, 3)
    );
    assert_eq!(first.digest, Digest([3; 32]).to_string());
    assert_eq!(
        first.answers[0],
        Some(RowAnswer::Class(1, vec![0.25, 0.75]))
    );
    assert_eq!(first.answers[1], None);
    assert_eq!(first.slices, ["colour", "size"]);
    assert_eq!(first.parts[0], ["red", "blue", "red"]);
    assert_eq!(first.parts[1], ["small", "", ""]);
    assert_eq!(first.task, classes());

    let values = found(1).expect("there");
    assert_eq!(values.answers[1], Some(RowAnswer::Value(1e300)));
    assert!(found(200).is_some());
    for absent in [0, 2, 10, 201] {
        assert!(found(absent).is_none(), "{absent}");
    }
}

#[test]
fn a_model_without_a_task_has_no_answers_to_keep() {
    let subject = WatchSubject {
        task: None,
        ..(*subject(classes(), &[])).clone()
    };
    let mut segment = SegmentBuilder::default();
    assert!(!segment.add(&Arc::new(subject), id(1), &[], &[]));
    assert_eq!(segment.predictions(), 0);
}

#[test]
fn the_golden_file_reads_and_writes_back_to_the_byte() {
    let segment = AnswerSegment::read(&Bytes::from_static(GOLDEN)).expect("reads");
    assert!(segment.find(id(9)).expect("sound").is_some());
    assert_eq!(sample().write(), GOLDEN);
}

#[test]
fn damaged_and_future_segments_are_refused_without_a_panic() {
    let refused = |bytes: &[u8], part: &str| {
        let error = AnswerSegment::read(&Bytes::copy_from_slice(bytes)).err();
        let error = error.unwrap_or_else(|| panic!("{part}: must be refused"));
        assert!(error.message.contains(part), "{error} lacks {part:?}");
    };

    let mut future = GOLDEN.to_vec();
    future[8] = 2;
    refused(&future, "format 2");
    refused(&[], "does not begin");
    refused(b"ortusans", "does not begin");
    refused(&GOLDEN[1..], "does not begin");
    for at in 12..GOLDEN.len() {
        let mut flipped = GOLDEN.to_vec();
        flipped[at] ^= 0x55;
        refused(&flipped, "damaged");
        refused(&GOLDEN[..at], "damaged");
    }
}

#[test]
fn damage_below_a_right_checksum_is_refused_without_a_panic() {
    let body = GOLDEN.len() - CHECK_BYTES;
    for at in HEAD_AT..body {
        for change in [0x01, 0x80, 0xff] {
            let mut changed = GOLDEN[..body].to_vec();
            changed[at] ^= change;
            let check = checksum(&changed).to_le_bytes();
            changed.extend_from_slice(&check);
            // Whatever is found, nothing panics.
            if let Ok(segment) = AnswerSegment::read(&changed.into()) {
                for n in [1, 9, 200] {
                    let _ = segment.find(id(n));
                }
            }
        }
    }
}

#[test]
fn a_prediction_of_one_row_and_two_classes_takes_less_than_forty_bytes() {
    let mut segment = SegmentBuilder::default();
    let subject = subject(classes(), &[]);
    let answer = [Some(RowAnswer::Class(1, vec![0.25, 0.75]))];
    for n in 0..10_000 {
        segment.add(&subject, id(n), &answer, &[]);
    }
    let bytes = segment.write().len();
    assert!(bytes < 10_000 * 40, "{bytes}");
}
