//! Lanes that keep the rows of their runs.

use super::*;
use crate::core::model::optional::OptionalTensor;

/// A change takes a second, and runs of up to 8 rows one millisecond.
fn keeping() -> BatchOptions {
    let mut cost = BatchCost::default();
    for rows in [1, 2, 4, 8] {
        cost.note(rows, MS);
    }
    BatchOptions {
        shape_change: Some(MS * 1_000),
        cost,
        ..options()
    }
}

#[tokio::test]
async fn batches_are_filled_up_to_the_rows_of_the_run_before_and_answers_have_their_own_rows() {
    let (batcher, runs) = batcher(Script::Echo, keeping());
    for rows in [3, 1, 2, 3, 0] {
        let values: Vec<f32> = (0..rows).map(|row| row as f32).collect();
        let answer = batcher.ask(submission(&values, LONG)).await;
        let answer = answer.expect("served").outputs.remove(0);
        assert_eq!(floats(&answer), values);
    }
    // The first run chooses.
    let first = runs.lock()[0];
    assert!((3..=4).contains(&first), "{first}");
    assert_eq!(runs.lock()[1..4], [first; 3]);
    let metrics = &batcher.shared.metrics;
    assert_eq!(metrics.batch_shape_changes.get(), 1);
    let shapes = batcher.explain().shapes.expect("kept");
    assert_eq!((shapes.rows, shapes.changes), (vec![first], 1));
}

#[tokio::test]
async fn a_request_of_more_rows_changes_them() {
    let (batcher, runs) = batcher(Script::Echo, keeping());
    for rows in [2, 5, 1] {
        batcher
            .ask(submission(&vec![1.0; rows], LONG))
            .await
            .expect("served");
    }
    let runs = runs.lock().clone();
    assert!(runs[1] >= 5 && runs[2] == runs[1], "{runs:?}");
    assert_eq!(batcher.shared.metrics.batch_shape_changes.get(), 2);
}

#[tokio::test]
async fn more_rows_than_a_run_keeps_wait_for_the_next_run() {
    let (batcher, runs, token) = gated(keeping());
    let first = batcher.ask(submission(&[0.0, 0.5], LONG));
    let rest = async {
        until_running(&runs, 1).await;
        let tokens = async {
            for _ in 0..4 {
                token.send(()).expect("the lane listens");
            }
        };
        let ask = |value: f32| batcher.ask(submission(&[value], LONG));
        let (a, b, c, ()) = tokio::join!(ask(1.0), ask(2.0), ask(3.0), tokens);
        [a, b, c].map(|answer| floats(&answer.expect("served").outputs[0]))
    };
    let (_, rest) = tokio::join!(first, rest);
    assert_eq!(rest, [vec![1.0], vec![2.0], vec![3.0]]);
    assert_eq!(*runs.lock(), [2, 2, 2]);
    let batches = batcher.explain().batches;
    let reasons: Vec<_> = batches.iter().map(|batch| batch.why.as_str()).collect();
    assert!(
        reasons.contains(&"the lane keeps the rows of its runs"),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn requests_that_are_not_merged_run_as_they_are() {
    let (batcher, runs) = batcher(Script::Echo, keeping());
    batcher
        .ask(submission(&[1.0, 2.0], LONG))
        .await
        .expect("served");
    let mut asked = submission(&[1.0], LONG);
    asked.inputs.optional = vec![OptionalTensor {
        name: "k".to_owned(),
        tensor: Tensor::from_f32(vec![1], &[2.0]).expect("fits"),
    }];
    batcher.ask(asked).await.expect("served");
    batcher.hold_merging();
    batcher.ask(submission(&[1.0], LONG)).await.expect("served");
    batcher.release_merging();
    batcher.ask(submission(&[1.0], LONG)).await.expect("served");
    assert_eq!(*runs.lock(), [2, 1, 1, 2]);
    // Back to two rows is a change as well.
    assert_eq!(batcher.shared.metrics.batch_shape_changes.get(), 2);
}
