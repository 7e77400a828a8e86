//! Tests of `pending`.

use super::*;
use crate::core::hash::Digest;
use crate::core::model::task::Task;
use crate::observe::labels::line::FORMAT;
use crate::observe::quality::answer::{Label, RowAnswer};

fn line(n: u128, row: u32, label: f64, seconds: i64) -> LabelLine {
    LabelLine {
        format: FORMAT,
        prediction_id: Uuid::from_u128(n),
        row,
        label: Label::Number(label),
        time: DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds),
        joined: None,
    }
}

fn found(n: u128, rows: usize) -> HashMap<Uuid, FoundPrediction> {
    let prediction = FoundPrediction {
        model: "m".to_owned(),
        version: 2,
        digest: Digest([2; 32]).to_string(),
        task: Task::Regression(0),
        answers: vec![Some(RowAnswer::Value(1.0)); rows],
        slices: vec!["colour".to_owned()],
        parts: vec![vec!["red".to_owned(); rows]],
    };
    HashMap::from([(Uuid::from_u128(n), prediction)])
}

#[test]
fn own_labels_are_searched_for_at_once_and_those_of_others_later() {
    let mut pending = Pending::default();
    pending.add(line(1, 0, 1.0, 100), true);
    pending.add(line(2, 0, 1.0, 100), false);
    let wanted = |seconds| {
        let now = DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds);
        let ids = pending.wanted(now).into_iter();
        ids.map(|id| id.as_u128()).collect::<Vec<_>>()
    };
    assert_eq!(wanted(100), [1]);
    assert_eq!(wanted(129), [1]);
    assert_eq!(wanted(130), [1, 2]);
    // The clock was set back: the label seems to be of the future.
    assert_eq!(wanted(50), [1, 2]);
}

#[test]
fn labels_of_rows_that_a_found_prediction_does_not_have_are_dropped_and_told() {
    let mut pending = Pending::default();
    for row in 0..4 {
        pending.add(line(1, row, 1.0, 100), true);
    }
    pending.add(line(5, 0, 1.0, 100), true);
    let all = pending.join(&found(1, 3));
    assert_eq!(all.joined.len(), 3);
    assert_eq!(all.unfit.len(), 1);
    assert_eq!(pending.len(), 4, "three are joined, one is still unknown");
    let joined = all.joined[0].joined.as_ref().expect("joined");
    assert_eq!(joined.slices["colour"], "red");

    all.joined.iter().for_each(|line| pending.settle(line));
    assert_eq!(pending.len(), 1);
}

#[test]
fn of_two_labels_of_a_row_the_later_one_is_joined_in_whatever_order_they_come() {
    for times in [[10, 20], [20, 10]] {
        let mut pending = Pending::default();
        for time in times {
            pending.add(line(1, 0, time as f64, time), true);
        }
        let all = pending.join(&found(1, 1));
        assert_eq!(all.joined.len(), 1);
        assert_eq!(all.joined[0].label, Label::Number(20.0));
    }
}

#[test]
fn beyond_the_limit_the_oldest_are_dropped_and_counted() {
    let mut pending = Pending::default();
    let most = PENDING_MAX as u128;
    for n in 0..most + 10 {
        pending.add(line(n, 0, 1.0, 0), true);
    }
    assert_eq!((pending.len(), pending.take_forgotten()), (PENDING_MAX, 10));
    assert!(pending.get(&(Uuid::from_u128(9), 0)).is_none());
    assert!(pending.get(&(Uuid::from_u128(10), 0)).is_some());
}
