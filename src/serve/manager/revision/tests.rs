//! Tests of `revision`.

use super::*;
use crate::registry::catalog::FileStamp;
use std::time::Duration;

fn files(changed_ns: i128) -> Fingerprint {
    Fingerprint(vec![FileStamp {
        file: "model.onnx".into(),
        file_bytes: 1,
        modified_ns: 0,
        inode: 1,
        changed_ns,
    }])
}

fn judge(before: Option<Revision>, at: i128, bytes: &str, in_place: InPlace) -> (Revision, bool) {
    let broken = Error::precondition("external data 'w.bin' is missing");
    let used = match bytes {
        "broken" => Err(&broken),
        bytes => Ok(Some(Digest::of(bytes.as_bytes()))),
    };
    Revision::judge(before, files(at), used, in_place)
}

#[test]
fn new_bytes_are_refused_once_or_are_due() {
    let now = Instant::now();
    let (refused, is_new) = judge(None, 1, "b", InPlace::Refuse);
    assert!(is_new && !refused.is_due(now));
    let (again, is_new) = judge(Some(refused), 2, "b", InPlace::Refuse);
    assert!(!is_new && !again.is_due(now) && again.files == files(2));
    let (other, is_new) = judge(Some(again), 3, "c", InPlace::Refuse);
    assert!(is_new && !other.is_due(now));

    let (due, is_new) = judge(None, 1, "b", InPlace::Swap);
    assert!(!is_new && due.is_due(now) && due.refused.is_none());
}

#[test]
fn a_newcomer_that_fails_is_tried_again_if_that_may_help_and_with_other_bytes() {
    let now = Instant::now();
    let (mut revision, _) = judge(None, 1, "b", InPlace::Swap);
    let declared = ModelConfig::default();
    revision.declared = Some(declared.clone());
    revision.refuse(&Error::unavailable("no space"), now);
    assert!(!revision.is_due(now) && revision.is_due(now + Duration::from_secs(1)));
    revision.refuse(&Error::precondition("golden case 1"), now);
    assert!(!revision.is_due(now + Duration::from_secs(1_000_000)));
    let reason = &revision.refused.as_ref().unwrap().reason;
    assert!(reason.contains("refused: golden case 1; the loaded version"));

    let (touched, _) = judge(Some(revision.clone()), 2, "b", InPlace::Swap);
    assert!(!touched.is_due(now), "the same bytes");
    let (other, _) = judge(Some(revision.clone()), 3, "c", InPlace::Swap);
    assert!(other.is_due(now));

    revision.declare(&declared);
    assert!(!revision.is_due(now), "the same config.pbtxt");
    let corrected = ModelConfig {
        batch_rows_max: Some(4),
        ..declared
    };
    revision.declare(&corrected);
    assert!(revision.is_due(now));
}

#[test]
fn files_that_are_no_model_are_judged_each_time_they_change() {
    let now = Instant::now();
    let (mut broken, _) = judge(None, 1, "broken", InPlace::Swap);
    broken.refuse(&Error::invalid("not an ONNX model"), now);
    let (again, _) = judge(Some(broken), 2, "broken", InPlace::Swap);
    assert!(again.is_due(now));
}

#[test]
fn a_file_that_is_gone_is_named_and_told_once() {
    let (gone, is_new) = judge(None, 1, "broken", InPlace::Refuse);
    let reason = &gone.refused.as_ref().unwrap().reason;
    assert!(
        is_new
            && reason.contains("external data 'w.bin' is missing; the loaded bytes keep serving")
    );
    let (again, is_new) = judge(Some(gone), 2, "broken", InPlace::Refuse);
    assert!(!is_new && again.files == files(2));
    let (other, is_new) = judge(Some(again), 3, "b", InPlace::Refuse);
    assert!(is_new && other.refused.unwrap().reason == CHANGED_IN_PLACE);
}
