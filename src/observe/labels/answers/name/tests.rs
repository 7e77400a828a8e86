//! Tests of `name`.

use super::*;

#[test]
fn keys_are_read_as_they_were_written() {
    let span = TimeSpan {
        from_ms: 1_764_192_000_123,
        to_ms: 1_764_192_030_000,
    };
    let key = segment_key(span);
    assert!(key.starts_with("answers/2025-11-26T21/"), "{key}");
    assert_eq!(AnswerObject::of(&key), Some(AnswerObject::Segment(span)));
    for reason in [LossReason::Queue, LossReason::Store] {
        let key = lost_key(span, reason);
        assert_eq!(
            AnswerObject::of(&key),
            Some(AnswerObject::Lost(span, reason))
        );
    }
    let run = Uuid::new_v4();
    let key = rows_key(span.from_ms / HOUR_MS, run);
    assert_eq!(AnswerObject::of(&key), Some(AnswerObject::Rows(run)));
    let hour = hour_of(&key).expect("an hour").timestamp_millis();
    assert_eq!(hour as u64, span.from_ms / HOUR_MS * HOUR_MS);

    for other in [
        "answers/x",
        "answers/2025-11-26T21/1-2.answers",
        "a/1-x-y.answers",
        "",
    ] {
        assert_eq!(AnswerObject::of(other), None, "{other}");
    }
}
