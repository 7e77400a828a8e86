//! Tests of `unread`.

use super::*;
use std::time::Duration;

fn denied() -> Error {
    let cause = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    Error::unavailable("read 'w.bin': denied").with_source(cause)
}

#[test]
fn only_an_error_of_the_file_system_says_that_files_cannot_be_read() {
    let (files, now) = (Fingerprint::default(), Instant::now());
    let judge = |error: Error| UnreadFiles::judge(None, &files, &error, now);
    let unread = judge(denied()).expect("unread");
    assert!(
        unread
            .reason
            .contains("cannot be read: read 'w.bin': denied; the loaded bytes keep")
    );
    assert!(judge(Error::unavailable("changed while it was read")).is_none());
    assert!(judge(Error::invalid("not an ONNX model").with_source(denied())).is_none());
}

#[test]
fn unread_files_are_tried_again_at_increasing_intervals_and_at_once_when_they_change() {
    let (files, now) = (Fingerprint::default(), Instant::now());
    let after = |seconds| now + Duration::from_secs(seconds);
    let first = UnreadFiles::judge(None, &files, &denied(), now).expect("unread");
    assert!(first.waits(&files, now) && !first.waits(&files, after(1)));
    let second = UnreadFiles::judge(Some(&first), &files, &denied(), now).expect("unread");
    assert!(second.waits(&files, after(1)) && !second.waits(&files, after(2)));

    let changed = Fingerprint(vec![crate::registry::catalog::FileStamp {
        file: "model.onnx".into(),
        file_bytes: 1,
        modified_ns: 0,
        inode: 1,
        changed_ns: 1,
    }]);
    assert!(!second.waits(&changed, now));
}
