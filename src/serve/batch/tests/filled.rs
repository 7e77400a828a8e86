//! Batches that are filled up to the sizes in which answers are the same bit for bit.

use super::*;
use crate::core::model::optional::OptionalTensor;
use crate::onnx::batchability::invariance::InvariantSizes;

fn filling(sizes: &[usize]) -> BatchOptions {
    BatchOptions {
        sizes: Some(InvariantSizes::of(sizes)),
        ..options()
    }
}

#[tokio::test]
async fn runs_have_the_sizes_and_answers_have_their_own_rows() {
    let (batcher, runs) = batcher(Script::Echo, filling(&[2, 4]));
    for rows in [1, 2, 3, 4, 7, 0] {
        let values: Vec<f32> = (0..rows).map(|row| row as f32).collect();
        let answer = batcher.ask(submission(&values, LONG)).await;
        let answer = answer.expect("served").outputs.remove(0);
        assert_eq!(floats(&answer), values);
    }
    // More rows than all sizes, or none, run as they are.
    assert_eq!(*runs.lock(), [2, 2, 4, 4, 7, 0]);
    assert_eq!(batcher.shared.metrics.batch_fill_rows.get(), 2);
}

#[tokio::test]
async fn merged_requests_are_filled_up_together_and_have_no_more_rows_than_the_largest_size() {
    let (batcher, runs, token) = gated(filling(&[2, 4]));
    let first = batcher.ask(submission(&[0.0], LONG));
    let rest = async {
        until_running(&runs, 1).await;
        let ask = |values: &'static [f32]| batcher.ask(submission(values, LONG));
        let tokens = async {
            for _ in 0..4 {
                token.send(()).expect("the lane listens");
            }
        };
        let (a, b, c, d, ()) = tokio::join!(
            ask(&[1.0]),
            ask(&[2.0, 3.0]),
            ask(&[4.0, 5.0]),
            ask(&[6.0]),
            tokens
        );
        [a, b, c, d].map(|answer| floats(&answer.expect("served").outputs[0]))
    };
    let (_, rest) = tokio::join!(first, rest);
    assert_eq!(rest, [vec![1.0], vec![2.0, 3.0], vec![4.0, 5.0], vec![6.0]]);
    assert_eq!(*runs.lock(), [2, 4, 4]);
}

#[tokio::test]
async fn a_request_with_an_optional_input_is_not_filled_up() {
    let (batcher, runs) = batcher(Script::Echo, filling(&[2, 4]));
    let mut asked = submission(&[1.0], LONG);
    asked.inputs.optional = vec![OptionalTensor {
        name: "k".to_owned(),
        tensor: Tensor::from_f32(vec![1], &[2.0]).expect("fits"),
    }];
    batcher.ask(asked).await.expect("served");
    assert_eq!(*runs.lock(), [1]);
}
