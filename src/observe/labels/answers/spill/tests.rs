//! Tests of `spill`.

use super::*;
use crate::observe::labels::answers::name::AnswerObject;
use crate::observe::labels::answers::tests::subject;
use crate::observe::quality::answer::RowAnswer;
use uuid::Uuid;

/// A moment in the middle of an hour.
const NOON: u64 = 490_053 * HOUR_MS + 1_000_000;

fn add(spill: &mut Spill, ms: u64, now: Instant) -> bool {
    let subject = subject();
    let answered = Answered {
        subject: &subject,
        prediction: Uuid::from_u64_pair(ms << 16 | 7 << 12, 2 << 62),
        inputs: &[],
        optional: &[],
        outputs: &[],
        answers: &[Some(RowAnswer::Value(1.0))],
        parts: &[],
    };
    spill.add(&answered, now)
}

fn spans(spill: &mut Spill) -> Vec<TimeSpan> {
    let mut found = Vec::new();
    while let Some(closed) = spill.next() {
        if let Some(AnswerObject::Segment(span)) = AnswerObject::of(&closed.key) {
            found.push(span);
        }
        spill.written(&closed.key);
    }
    found
}

#[test]
fn a_segment_is_closed_by_its_age_and_its_name_has_the_span() {
    let (mut spill, start) = (Spill::new(Duration::from_secs(30), 1 << 20), Instant::now());
    assert!(add(&mut spill, NOON, start));
    assert!(add(&mut spill, NOON + 10, start + Duration::from_secs(29)));
    spill.close(start + Duration::from_secs(29), false);
    assert!(spans(&mut spill).is_empty());
    spill.close(start + Duration::from_secs(30), false);
    let to_ms = NOON + 10;
    assert_eq!(
        spans(&mut spill),
        [TimeSpan {
            from_ms: NOON,
            to_ms
        }]
    );
    assert_eq!(spill.bytes(), 0);
}

#[test]
fn a_clock_that_jumps_back_opens_a_segment_of_that_hour() {
    let (mut spill, now) = (Spill::new(Duration::from_secs(30), 1 << 20), Instant::now());
    for ms in [NOON, NOON - 5_000, NOON - 2 * HOUR_MS, NOON + 1] {
        assert!(add(&mut spill, ms, now));
    }
    spill.close(now, true);
    let found = spans(&mut spill);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0], TimeSpan::at(NOON - 2 * HOUR_MS));
    assert_eq!((found[1].from_ms, found[1].to_ms), (NOON - 5_000, NOON + 1));

    // Many jumps do not open segments without end.
    for hours in 0..10 {
        add(&mut spill, NOON - hours * HOUR_MS, now);
        spill.close(now, false);
        assert!(spill.open.len() <= OPEN_MAX + 1);
    }
}

#[test]
fn what_a_stalled_store_does_not_take_is_lost_with_its_span() {
    let (mut spill, now) = (Spill::new(Duration::from_secs(30), 100), Instant::now());
    let taken = (0..10).filter(|n| add(&mut spill, NOON + n, now)).count();
    assert!((1..10).contains(&taken), "{taken}");
    assert!(spill.bytes() < 100 + 40);

    spill.lose(LossReason::Queue, TimeSpan::at(NOON + 7), 5);
    let lost = spill.take_lost();
    let from_ms = NOON + taken as u64;
    let to_ms = NOON + 9;
    let store = (
        LossReason::Store,
        TimeSpan { from_ms, to_ms },
        10 - taken as u64,
    );
    assert_eq!(
        lost,
        [(LossReason::Queue, TimeSpan::at(NOON + 7), 5), store]
    );
    assert!(spill.take_lost().is_empty());

    // When the store takes them, there is room again.
    spill.close(now, true);
    assert_eq!(spans(&mut spill).len(), 1);
    assert!(add(&mut spill, NOON, now));
}

#[test]
fn spans_of_losses_are_bounded() {
    let mut spill = Spill::new(Duration::from_secs(30), 100);
    for hour in 0..2_000 {
        spill.lose(LossReason::Queue, TimeSpan::at(hour * HOUR_MS), 1);
    }
    let lost = spill.take_lost();
    assert_eq!(lost.len(), LOST_MAX);
    assert_eq!(
        lost[LOST_MAX - 1].1,
        TimeSpan::at(1_999 * HOUR_MS),
        "the newest"
    );
}
